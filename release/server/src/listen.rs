//! Connections: how many there may be, and how long they may take to say what they want.
//!
//! Whoever opens a connection and says nothing, or one byte a second, holds one place of [`MAX_CONNECTIONS`] for [`PATIENCE`](crate::PATIENCE) at most. Requests
//! with a body have as long again for that. Answers may take long: bundles are large and wake calls wait. But whoever reads nothing of an answer for
//! as long is given up, too.

use std::{
    future::Future,
    io,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::{Semaphore, watch},
    time::{Sleep, sleep},
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
        let accept = async {
            let place = places.clone().acquire_owned().await.map_err(io::Error::other)?;
            Ok::<_, io::Error>((listener.accept().await?.0, place))
        };
        // Also while there is no place: an interrupt does not wait for one.
        let accepted = tokio::select! {
            accepted = accept => accepted,
            () = &mut stop => break,
        };
        let (connection, place) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // No file is left, or the other side is gone already: neither ends the server.
                tracing::warn!(%error, "a connection was not accepted");
                sleep(Duration::from_millis(20)).await;
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
                .serve_connection(TokioIo::new(Patient { connection, patience, given_up: None }), service);
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

/// A connection that breaks off where the other side takes nothing of what it is told for `patience`.
struct Patient {
    connection: TcpStream,
    patience: Duration,
    /// Runs while something waits to be written.
    given_up: Option<Pin<Box<Sleep>>>,
}

impl Patient {
    fn wait<T>(&mut self, written: Poll<io::Result<T>>, cx: &mut Context<'_>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.given_up = None;
            return written;
        }
        let patience = self.patience;
        ready!(self.given_up.get_or_insert_with(|| Box::pin(sleep(patience))).as_mut().poll(cx));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "nothing of the answer was read")))
    }
}

impl AsyncRead for Patient {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, to: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.connection).poll_read(cx, to)
    }
}

impl AsyncWrite for Patient {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.connection).poll_write(cx, bytes);
        self.wait(written, cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.connection).poll_write_vectored(cx, parts);
        self.wait(written, cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.connection.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.connection).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.connection).poll_shutdown(cx)
    }
}
