//! The tcp check: `host:port` must accept a connection.

use std::time::Duration;

use async_trait::async_trait;

use super::connect::{HostPort, connect, within};
use super::{ProbeConfigError, Prober};
use crate::machine::ProbeOutcome;

/// A probe that connects; made by [`tcp`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TcpProbe {
    address: HostPort,
}

/// A probe that connects to `host:port` (`[::1]:80` for IPv6; `localhost` tries v4 and v6) and closes the connection.
///
/// # Errors
/// When the address is not `host:port`.
pub fn tcp(address: &str) -> Result<TcpProbe, ProbeConfigError> {
    let parsed = HostPort::parse(address).ok_or_else(|| ProbeConfigError::InvalidAddress {
        address: address.to_owned(),
    })?;
    Ok(TcpProbe { address: parsed })
}

#[async_trait]
impl Prober for TcpProbe {
    async fn probe(&self, timeout: Duration) -> ProbeOutcome {
        let attempt = async {
            match connect(&self.address).await {
                Ok(_connection) => ProbeOutcome::Healthy,
                Err(error) => error.into_outcome(),
            }
        };
        within(timeout, attempt).await
    }
}
