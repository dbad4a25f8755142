//! The tcp check: `host:port` must accept a connection.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use command_executor::host::Endpoint;

use super::outcome::{Connector, from_here, unconnected, within};
use super::{ProbeConfigError, Prober};
use crate::machine::ProbeOutcome;

/// A probe that connects; made by [`tcp`].
#[derive(Clone)]
pub struct TcpProbe {
    address: Endpoint,
    connect: Connector,
}

impl TcpProbe {
    /// Connects in this way, instead of from this machine.
    #[must_use]
    pub fn through(mut self, connect: Connector) -> Self {
        self.connect = connect;
        self
    }
}

impl fmt::Debug for TcpProbe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TcpProbe({})", self.address)
    }
}

/// A probe that connects to `host:port` (`[::1]:80` for IPv6; `localhost` tries v4 and v6) and closes the connection.
///
/// # Errors
/// When the address is not `host:port`.
pub fn tcp(address: &str) -> Result<TcpProbe, ProbeConfigError> {
    let parsed = Endpoint::parse(address).ok_or_else(|| ProbeConfigError::InvalidAddress {
        address: address.to_owned(),
    })?;
    Ok(TcpProbe {
        address: parsed,
        connect: from_here(),
    })
}

#[async_trait]
impl Prober for TcpProbe {
    async fn probe(&self, timeout: Duration) -> ProbeOutcome {
        let attempt = async {
            match (self.connect)(self.address.clone()).await {
                Ok(_connection) => ProbeOutcome::Healthy,
                Err(error) => unconnected(&error),
            }
        };
        within(timeout, attempt).await
    }
}
