//! What a probe's connection says about the service, in one line, and its time limit.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use command_executor::HostError;
use command_executor::host::{ConnectError, Connection, Endpoint};
use command_executor::local;
use command_executor::patience::pass;
use futures_lite::future;
use rustix::io::Errno;

use crate::machine::ProbeOutcome;

/// A connection that is being made.
pub type Connecting =
    Pin<Box<dyn Future<Output = Result<Box<dyn Connection>, HostError<ConnectError>>> + Send>>;

/// Connects to an address from the place of a service. The caller decides how, because only the executor knows that
/// place.
pub type Connector = Arc<dyn Fn(Endpoint) -> Connecting + Send + Sync>;

/// Connects from this machine.
pub(super) fn from_here() -> Connector {
    Arc::new(|to| Box::pin(async move { local::connect(&to).await.map_err(HostError::Failed) }))
}

/// What it says about the service that there is no connection. It says nothing if its host is not reached.
pub(super) fn unconnected(error: &HostError<ConnectError>) -> ProbeOutcome {
    match error {
        HostError::NotReached(_) => ProbeOutcome::Unknown(error.to_string()),
        HostError::Failed(ConnectError::Io(error)) => io_outcome(error),
        HostError::Failed(_) => ProbeOutcome::Unhealthy(error.to_string()),
    }
}

/// What an I/O error says about the service. It says nothing if this machine has run out of something.
pub(super) fn io_outcome(error: &io::Error) -> ProbeOutcome {
    let line = io_line(error);
    match Errno::from_io_error(error) {
        Some(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM) => ProbeOutcome::Unknown(line),
        _ => ProbeOutcome::Unhealthy(line),
    }
}

/// `connection refused`: the system's text, without the error number.
pub(super) fn io_line(error: &io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or(&text);
    let mut chars = text.chars();
    match chars.next() {
        Some(first) => first.to_lowercase().chain(chars).collect(),
        None => error.kind().to_string(),
    }
}

/// Runs `work`, or returns `no answer within 5s` when the time is over. Then `work` is dropped, together with its
/// connections.
pub(super) async fn within(timeout: Duration, work: impl Future<Output = ProbeOutcome>) -> ProbeOutcome {
    let late = async {
        pass(timeout).await;
        ProbeOutcome::Unhealthy(format!("no answer within {}", short(timeout)))
    };
    future::or(work, late).await
}

/// `5s`, `1.5s`, `500ms`.
fn short(duration: Duration) -> String {
    if duration < Duration::from_secs(1) {
        format!("{}ms", duration.as_millis())
    } else {
        format!("{}s", duration.as_millis() as f64 / 1000.0)
    }
}

#[cfg(test)]
mod tests {
    use command_executor::NotReached;

    use super::*;

    #[test]
    fn a_host_that_is_not_reached_is_not_held_against_the_service() {
        let silent = NotReached {
            host: "node1".into(),
            why: "no answer".into(),
            sent: true,
        };
        assert_eq!(
            unconnected(&silent.into()),
            ProbeOutcome::Unknown("node1 was not reached: no answer".into())
        );
        assert_eq!(
            unconnected(&HostError::Failed(ConnectError::Unresolved("db".into()))),
            ProbeOutcome::Unhealthy("the name db cannot be resolved".into())
        );
    }

    #[test]
    fn a_lack_of_this_machine_is_not_held_against_the_service() {
        let outcome = |errno: Errno| io_outcome(&io::Error::from(errno));
        assert_eq!(
            outcome(Errno::CONNREFUSED),
            ProbeOutcome::Unhealthy("connection refused".into())
        );
        assert_eq!(
            outcome(Errno::HOSTUNREACH),
            ProbeOutcome::Unhealthy("no route to host".into())
        );
        assert_eq!(
            outcome(Errno::MFILE),
            ProbeOutcome::Unknown("too many open files".into())
        );
        let plain = io::Error::from(io::ErrorKind::ConnectionRefused);
        assert_eq!(
            io_outcome(&plain),
            ProbeOutcome::Unhealthy("connection refused".into())
        );
    }

    #[test]
    fn durations_are_short() {
        for (millis, text) in [(5000, "5s"), (1500, "1.5s"), (500, "500ms"), (60_000, "60s")] {
            assert_eq!(short(Duration::from_millis(millis)), text);
        }
    }
}
