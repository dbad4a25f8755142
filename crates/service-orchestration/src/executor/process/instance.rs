//! A process that runs under a shim at a host.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use command_executor::boot_clock::started_after_boot;
use command_executor::supervised;
use command_executor::{Generation, HostError};
use harness_model::spec;
use harness_model::{ExitStatus, ServiceSpec, WallTime};
use service_registry::record::ProcessTrace;

use super::capacity::Place;
use crate::executor::{Instance, Order, RunTrace, SessionError};
use crate::machine::{Ended, Lost};
use crate::words::chain;

/// How long to wait before looking again at a service that may or may not be gone.
pub(super) const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// A process that a shim supervises.
pub(super) struct ProcessInstance {
    generation: Arc<dyn Generation>,
    trace: supervised::Trace,
    /// Whether its processes are processes of this machine.
    is_here: bool,
    run_dir: PathBuf,
    stop: supervised::StopPolicy,
    is_homeless: bool,
    _place: Place,
}

impl ProcessInstance {
    pub(super) fn new(generation: Arc<dyn Generation>, is_here: bool, order: &Order, place: Place) -> Self {
        Self {
            trace: generation.trace(),
            generation,
            is_here,
            run_dir: order.run_dir.clone(),
            stop: stop_policy(&order.spec),
            is_homeless: false,
            _place: place,
        }
    }

    /// One whose run directory is gone.
    pub(super) fn homeless(
        generation: Arc<dyn Generation>,
        is_here: bool,
        order: &Order,
        place: Place,
    ) -> Self {
        Self {
            is_homeless: true,
            ..Self::new(generation, is_here, order, place)
        }
    }
}

#[async_trait]
impl Instance for ProcessInstance {
    fn pid(&self) -> Option<u32> {
        self.is_here.then_some(self.trace.identity.main.pid)
    }

    fn root_pid(&self) -> Option<u32> {
        self.is_here.then_some(self.trace.identity.shim.pid)
    }

    fn started_at(&self) -> WallTime {
        WallTime(self.trace.identity.started_at_ns)
    }

    fn started_after_boot(&self) -> Option<Duration> {
        self.is_here
            .then(|| started_after_boot(self.trace.identity.main.start_time))
    }

    fn trace(&self) -> Option<RunTrace> {
        Some(link(&self.trace))
    }

    fn is_homeless(&self) -> bool {
        self.is_homeless
    }

    fn is_in_place(&self) -> bool {
        self.generation.is_in_place()
    }

    async fn contact(&self) -> Option<Lost> {
        let lost = self.generation.contact().await;
        lost.map(|lost| Lost::Contact(lost.to_string()))
    }

    async fn wait(&self) -> Ended {
        let mut told = false;
        loop {
            match self.generation.wait().await {
                Ok(end) => return ended(end),
                // If it is not known whether the service is gone, it counts as running: otherwise a second one would
                // be started beside it.
                Err(error) if !std::mem::replace(&mut told, true) => {
                    let run_dir = self.run_dir.display();
                    tracing::error!(%run_dir, error = chain(&error), "cannot find out whether a service is gone");
                }
                Err(_) => {}
            }
            async_io::Timer::after(LOOK_AGAIN).await;
        }
    }

    async fn stop(&self) {
        let run_dir = self.run_dir.display();
        match self.generation.stop(self.stop).await {
            Ok(()) => {}
            // It is asked once more when its host is reached again.
            Err(HostError::NotReached(error)) => tracing::warn!(%run_dir, %error, "cannot stop a service"),
            Err(error) => {
                // A shim that does not answer is dead, or might as well be. Kill what it left.
                tracing::warn!(%run_dir, error = chain(&error), "cannot ask a supervisor to stop its service, killing it instead");
                self.kill().await;
            }
        }
    }

    async fn kill(&self) {
        if let Err(error) = self.generation.kill().await {
            let run_dir = self.run_dir.display();
            tracing::error!(%run_dir, error = chain(&error), "cannot kill a service");
        }
    }

    async fn write_stdin(&self, bytes: &[u8]) -> Result<(), SessionError> {
        self.generation
            .send_stdin(bytes.to_vec())
            .await
            .map_err(|error| SessionError {
                operation: "write to stdin",
                source: std::io::Error::other(error),
            })
    }

    async fn close_stdin(&self) {
        if let Err(error) = self.generation.close_stdin().await {
            tracing::debug!(error = chain(&error), "cannot close stdin");
        }
    }

    async fn resize(&self, columns: u16, rows: u16) {
        if let Err(error) = self
            .generation
            .resize(supervised::TtySize { cols: columns, rows })
            .await
        {
            tracing::debug!(error = chain(&error), "cannot resize a terminal");
        }
    }

    async fn signal(&self, signal: i32) -> Result<(), SessionError> {
        self.generation
            .signal(signal, supervised::Scope::Main)
            .await
            .map_err(|error| SessionError {
                operation: "send the signal",
                source: std::io::Error::other(error),
            })
    }
}

/// What the registry keeps of a run.
fn link(trace: &supervised::Trace) -> RunTrace {
    let process = |id: &supervised::ProcessId| ProcessTrace {
        pid: id.pid,
        start_time: id.start_time,
        boot_id: id.boot_id.clone(),
        pid_ns: id.pid_ns,
    };
    let identity = &trace.identity;
    RunTrace {
        run_id: identity.run_id.clone(),
        shim: process(&identity.shim),
        main: process(&identity.main),
        started_at_ns: identity.started_at_ns,
        cgroup: trace.cgroup.clone(),
    }
}

/// The same in the other direction.
pub(super) fn link_back(trace: &RunTrace) -> supervised::Trace {
    let process = |id: &ProcessTrace| supervised::ProcessId {
        pid: id.pid,
        start_time: id.start_time,
        boot_id: id.boot_id.clone(),
        pid_ns: id.pid_ns,
    };
    supervised::Trace {
        identity: supervised::Identity {
            shim: process(&trace.shim),
            main: process(&trace.main),
            run_id: trace.run_id.clone(),
            started_at_ns: trace.started_at_ns,
        },
        cgroup: trace.cgroup.clone(),
    }
}

pub(super) fn stop_policy(spec: &ServiceSpec) -> supervised::StopPolicy {
    supervised::StopPolicy {
        signal: spec.stop_signal.unwrap_or_default().0,
        mode: match spec.stop_mode {
            spec::StopMode::Mixed => supervised::StopMode::Mixed,
            spec::StopMode::Group => supervised::StopMode::Group,
        },
        grace: spec.shutdown_timeout,
    }
}

pub(super) fn ended(end: supervised::Ended) -> Ended {
    match end {
        supervised::Ended::Exited(record) => match record.outcome {
            supervised::Outcome::Exited(code) => match record.background {
                Some(background) => Ended::Background {
                    exit: ExitStatus::Code(code),
                    program: background.name,
                },
                None => Ended::Exit(ExitStatus::Code(code)),
            },
            supervised::Outcome::Signaled(signal) => Ended::Exit(ExitStatus::Signal(signal)),
            supervised::Outcome::SpawnFailed { operation, errno } => {
                let error = std::io::Error::from_raw_os_error(errno);
                Ended::Lost(format!("{operation}: {error}"))
            }
        },
        supervised::Ended::SupervisorDied { main, .. } => match main {
            Some(supervised::Outcome::Exited(code)) => Ended::Unsupervised(ExitStatus::Code(code)),
            Some(supervised::Outcome::Signaled(signal)) => Ended::Unsupervised(ExitStatus::Signal(signal)),
            Some(supervised::Outcome::SpawnFailed { .. }) | None => Ended::SupervisorDied,
        },
    }
}
