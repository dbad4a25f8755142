//! A service that runs, or may run, but cannot be managed: its supervisor does not say who it is, or runs in another
//! pid namespace. It counts as running, so that no second one is started beside it, until the run directory says that
//! it is gone or the supervisor can be managed after all.

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use command_executor::host::Adoption;
use command_executor::supervised::{self, AdoptError, Adopted};
use command_executor::{Generation, Host, HostError};
use harness_model::WallTime;

use super::capacity::Place;
use super::instance::{LOOK_AGAIN, ProcessInstance, ended, stop_policy};
use crate::executor::{Instance, Known, LaunchError, Order, SessionError};
use crate::machine::Ended;
use crate::words::chain;

/// Stands for the unknown holder of a run directory's lock.
pub(super) struct UnreachedInstance {
    host: Arc<dyn Host>,
    run_dir: PathBuf,
    stop: supervised::StopPolicy,
    seen_at: WallTime,
}

impl UnreachedInstance {
    pub(super) fn new(host: Arc<dyn Host>, order: &Order, why: &HostError<AdoptError>) -> Self {
        tracing::error!(run_dir = %order.run_dir.display(), error = chain(why), "cannot manage a service");
        Self {
            host,
            run_dir: order.run_dir.clone(),
            stop: stop_policy(&order.spec),
            seen_at: WallTime::now(),
        }
    }

    async fn found(&self) -> Result<Adopted, HostError<AdoptError>> {
        self.host.adopt(Adoption::of(&self.run_dir)).await
    }

    async fn reached(&self) -> Result<Arc<dyn Generation>, SessionError> {
        let source = match self.found().await {
            Ok(Adopted::Running(supervised) | Adopted::Homeless(supervised)) => return Ok(supervised),
            Ok(_) => std::io::ErrorKind::NotConnected.into(),
            Err(error) => std::io::Error::other(error),
        };
        Err(SessionError {
            operation: "reach its supervisor",
            source,
        })
    }

    fn refused(&self, operation: &str, error: &(dyn std::error::Error + 'static)) {
        tracing::error!(run_dir = %self.run_dir.display(), operation, error = chain(error), "cannot manage a service");
    }
}

/// What a run directory says for certain. `place` counts what is taken over.
pub(super) fn known(adopted: Adopted, is_here: bool, order: &Order, place: impl FnOnce() -> Place) -> Known {
    match adopted {
        Adopted::Running(run) => Known::Running(Arc::new(ProcessInstance::new(run, is_here, order, place()))),
        Adopted::Homeless(run) => {
            Known::Running(Arc::new(ProcessInstance::homeless(run, is_here, order, place())))
        }
        Adopted::Ended(record) => Known::Ended {
            at: Some(WallTime(record.ended_at_ns)),
            ended: ended(supervised::Ended::Exited(record)),
        },
        Adopted::SupervisorDied { killed, main } => Known::Ended {
            ended: ended(supervised::Ended::SupervisorDied { killed, main }),
            at: None,
        },
        Adopted::Rebooted => Known::Ended {
            ended: Ended::Rebooted,
            at: None,
        },
        Adopted::NeverStarted => Known::Never(Box::new(LaunchError::NeverStarted)),
    }
}

/// Whether something of a generation runs or may run after this error, so that a second one must not be started
/// beside it.
pub(super) fn may_run(error: &HostError<AdoptError>) -> bool {
    matches!(
        error,
        HostError::Failed(
            AdoptError::OtherNamespace { .. }
                | AdoptError::Unreadable(_)
                | AdoptError::Machine(_)
                | AdoptError::Watch(_)
                | AdoptError::Wait(_)
        )
    )
}

/// Whether the host, or the supervisor there, does not say what runs. It may say so later.
pub(super) fn is_silent(error: &HostError<AdoptError>) -> bool {
    matches!(
        error,
        HostError::NotReached(_) | HostError::Failed(AdoptError::NoIdentity { .. })
    )
}

/// What has become of a former daemon's launch, once that is known.
pub(super) async fn settled(host: Arc<dyn Host>, order: &Order, place: Place) -> Known {
    let mut told = false;
    loop {
        match host.adopt(Adoption::of(&order.run_dir)).await {
            Ok(adopted) => return known(adopted, host.is_here(), order, || place),
            Err(error) if is_silent(&error) => {
                if !std::mem::replace(&mut told, true) {
                    let run_dir = order.run_dir.display();
                    tracing::error!(%run_dir, error = chain(&error), "cannot find out whether a service runs");
                }
                async_io::Timer::after(LOOK_AGAIN).await;
            }
            Err(error) => return Known::Running(Arc::new(UnreachedInstance::new(host, order, &error))),
        }
    }
}

#[async_trait]
impl Instance for UnreachedInstance {
    fn pid(&self) -> Option<u32> {
        None
    }

    fn root_pid(&self) -> Option<u32> {
        None
    }

    fn started_at(&self) -> WallTime {
        self.seen_at
    }

    async fn wait(&self) -> Ended {
        loop {
            match self.found().await {
                Ok(Adopted::Running(supervised) | Adopted::Homeless(supervised)) => {
                    if let Ok(end) = supervised.wait().await {
                        return ended(end);
                    }
                }
                Ok(Adopted::Ended(record)) => return ended(supervised::Ended::Exited(record)),
                Ok(Adopted::SupervisorDied { killed, main }) => {
                    return ended(supervised::Ended::SupervisorDied { killed, main });
                }
                Ok(Adopted::Rebooted) => return Ended::Rebooted,
                Ok(Adopted::NeverStarted) => return Ended::Lost("it never started".to_owned()),
                Err(error @ HostError::Failed(AdoptError::RunDir(_))) => return Ended::Lost(chain(&error)),
                // This was logged when the service was found.
                Err(_) => {}
            }
            async_io::Timer::after(LOOK_AGAIN).await;
        }
    }

    async fn stop(&self) {
        match self.reached().await {
            Ok(supervised) => {
                if let Err(error) = supervised.stop(self.stop).await {
                    self.refused("stop", &error);
                }
            }
            Err(error) => self.refused("stop", &error),
        }
    }

    async fn kill(&self) {
        match self.reached().await {
            Ok(supervised) => {
                if let Err(error) = supervised.kill().await {
                    self.refused("kill", &error);
                }
            }
            Err(error) => self.refused("kill", &error),
        }
    }

    async fn write_stdin(&self, _: &[u8]) -> Result<(), SessionError> {
        Err(SessionError {
            operation: "write to stdin",
            source: std::io::ErrorKind::NotConnected.into(),
        })
    }

    async fn close_stdin(&self) {}

    async fn resize(&self, _: u16, _: u16) {}

    async fn signal(&self, signal: i32) -> Result<(), SessionError> {
        let supervised = self.reached().await?;
        supervised
            .signal(signal, supervised::Scope::Main)
            .await
            .map_err(|error| SessionError {
                operation: "send the signal",
                source: std::io::Error::other(error),
            })
    }
}
