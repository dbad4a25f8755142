//! Probes: one question to a service and its answer, asked from the service's own place.
//!
//! A [`Prober`] asks once, within a timeout, and returns the answer in one line. It keeps nothing between two probes:
//! no connection, no task, no counter. [`crate::machine`] decides when to probe and what an answer means for a
//! service.
//!
//! ```text
//!                 permit             connect, ask                  the answer
//! machine: Probe -------> in flight --------------> answered ----> Healthy | Unhealthy("answered 503 …")
//!   (ProbeLimiter, fair)      |                        ^
//!                             +-- timeout: dropped ----+           Unhealthy("no answer within 5s")
//!                             +-- no fd, no memory, …              Unknown("too many open files")
//! ```
//!
//! The kinds of probes are [`http`], [`tcp`], [`command`] and [`LogMatcher`], each in its own file. A new kind is a
//! new [`Prober`]. The futures run on any executor, and dropping one closes its connection.

mod command;
mod http;
mod limiter;
mod log;
mod outcome;
mod tcp;
mod tls;

use std::time::Duration;

use async_trait::async_trait;

use crate::machine::ProbeOutcome;

pub use command::{CommandAnswer, CommandProbe, CommandRunner, command};
pub use http::{HttpProbe, http};
pub use limiter::{ProbeLimiter, ProbePermit};
pub use log::LogMatcher;
pub use outcome::{Connecting, Connector};
pub use tcp::{TcpProbe, tcp};
pub use tls::Trust;

/// Asks a service how it is.
#[async_trait]
pub trait Prober: Send + Sync {
    /// Asks once, and answers after `timeout` at the latest. Dropping the future ends the probe.
    async fn probe(&self, timeout: Duration) -> ProbeOutcome;
}

/// Why a probe cannot be made from what the file says.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ProbeConfigError {
    /// The URL does not begin with `http://`.
    #[error("the health check URL `{url}` has no scheme; write `http://{url}`")]
    MissingScheme {
        /// As written, without its query and without credentials.
        url: String,
    },
    /// The URL has another scheme than http and https.
    #[error("the health check URL `{url}` must begin with `http://` or `https://`")]
    UnknownScheme {
        /// As written, without its query and without credentials.
        url: String,
    },
    /// The URL contains a user or password, which would show in every failure report.
    #[error("a health check URL must not contain a user or password; use a `command` instead")]
    Credentials,
    /// It is not a valid URL.
    #[error("the health check URL `{url}` is not valid: {reason}")]
    InvalidUrl {
        /// As written, without its query and without credentials.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A method or header that no request can have.
    #[error("the health check cannot send {what}")]
    InvalidRequest {
        /// What: `the header X`.
        what: String,
    },
    /// It is not `host:port`.
    #[error("the health check address `{address}` is not `host:port`")]
    InvalidAddress {
        /// The address as written.
        address: String,
    },
}
