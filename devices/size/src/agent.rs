//! One poll of an agent, and one inference of what then serves.

use std::{sync::Arc, time::SystemTime};

use fleetfoot::{Agent, AgentConfig, Kernels, Session, agent::Outcome, transport};

/// A checksum of the first output of the version that serves after one poll; or the number of an error, 1 where there is none.
pub(crate) fn poll(store: &str, root: &str, repository: &str, model: &str) -> Result<u32, u16> {
    let root = std::fs::read(root).map_err(|_| 1u16)?;
    let transport = transport::open(repository).map_err(|_| 1u16)?;
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs() as i64);
    let mut agent = Agent::open(AgentConfig::new(store, model, &root, transport), now).map_err(|e| e.code())?;
    if let Outcome::Failed(error) = agent.poll(now) {
        return Err(error.code());
    }
    let serving = agent.serving().ok_or(1u16)?;
    let mut session = Session::new(Arc::clone(&serving.model), Kernels::detect()).map_err(|e| e.code())?;
    session.run().map_err(|e| e.code())?;
    let sum = super::checksum(0, session.output(0).map_err(|e| e.code())?);
    agent.close(now).map_err(|e| e.code())?;
    Ok(sum)
}
