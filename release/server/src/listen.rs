//! Connections: how many there may be, and how long they may take to say what they want.
//!
//! Whoever opens a connection and says nothing, or one byte a second, holds one place of [`MAX_CONNECTIONS`] for [`PATIENCE`](crate::PATIENCE) at most. Requests
//! with a body have as long again for that. Answers may take long: bundles are large and wake calls wait.

use std::{future::Future, io, pin::pin, sync::Arc, time::Duration};

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    net::TcpListener,
    sync::{Semaphore, watch},
};

/// Connections at a time; more wait in the queue of the system.
pub(crate) const MAX_CONNECTIONS: usize = 10_000;
/// Bytes of the head of a request.
const HEAD_LEN: usize = 16 << 10;
/// Seconds that connections have to come to an end.
const END_S: u64 = 5;

/// Serves `app` until `stop`. The head of a request, also of the next one of a connection that is kept, may take `patience`.
pub(crate) async fn serve(
    listener: TcpListener,
    app: Router,
    patience: Duration,
    stop: impl Future<Output = ()>,
) -> io::Result<()> {
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let (stopping, stopped) = watch::channel(false);
    let mut stop = pin!(stop);
    loop {
        let Ok(place) = places.clone().acquire_owned().await else { return Ok(()) };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = &mut stop => break,
        };
        let connection = match accepted {
            Ok((connection, _)) => connection,
            Err(error) => {
                // No file is left, or the other side is gone already: neither ends the server.
                tracing::warn!(%error, "a connection was not accepted");
                tokio::time::sleep(Duration::from_millis(20)).await;
                continue;
            }
        };
        // A head and a body are two writes: without this the second waits for the device to acknowledge the first, 40 ms a file.
        if let Err(error) = connection.set_nodelay(true) {
            tracing::debug!(%error, "a connection that cannot be told not to wait");
        }
        let (service, mut stopped) = (TowerToHyperService::new(app.clone()), stopped.clone());
        tokio::spawn(async move {
            let serving = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(patience)
                .max_buf_size(HEAD_LEN)
                .serve_connection(TokioIo::new(connection), service);
            let mut serving = pin!(serving);
            let ended = tokio::select! {
                ended = &mut serving => ended,
                _ = stopped.changed() => {
                    serving.as_mut().graceful_shutdown();
                    serving.await
                }
            };
            if let Err(error) = ended {
                tracing::debug!(%error, "a connection broke off");
            }
            drop(place);
        });
    }
    let _ = stopping.send(true);
    let all = u32::try_from(MAX_CONNECTIONS).unwrap_or(u32::MAX);
    let _ = tokio::time::timeout(Duration::from_secs(END_S), places.acquire_many(all)).await;
    Ok(())
}
