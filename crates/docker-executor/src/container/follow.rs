//! Follows a container to its end: its output, its exit, and what others do to it.
//!
//! ```text
//!        ┌──── engine away: try again ────┐
//!        ▼                                │
//!  copy output ─ or ─ wait for exit ──▶ inspect ──running──▶ (again)
//!                                         ├─ gone ──────▶ Lost
//!                                         └─ ended ─────▶ rest of the output ▶ Exit
//!
//! It always asks for the rest: when the last output of a container ends without a newline, an engine often leaves it
//! out of the stream that is followed, and still ends the stream as if it were complete.
//!
//!  then: end recorded ▶ container removed ▶ network removed if unused ▶ lock released ▶ reported
//! ```

use std::fs::File;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use async_io::Timer;
use blocking::unblock;
use bollard::Docker;
use bollard::errors::Error;
use bollard::models::{ContainerState, ContainerStateStatusEnum};
use bollard::query_parameters::WaitContainerOptions;
use futures_lite::{FutureExt, StreamExt};
use harness_model::{ExitStatus, WallTime};
use service_orchestration::machine::Ended;
use service_orchestration::mirror::{CopyError, Mirror, Timed};
use service_orchestration::words::chain;

use crate::container::record::ContainerRecord;
use crate::container::running::Container;
use crate::engine::EngineError;
use crate::engine::bridge;
use crate::engine::stamp;
use crate::output::log::EngineLog;
use crate::output::prompt;

/// The pause before asking again while the engine is away.
const AGAIN: Duration = Duration::from_millis(300);

/// How long the output of an ended container may pause before the engine is asked for the rest.
const DRAIN: Duration = Duration::from_secs(10);

/// How long the rest of the output may pause, and how long cleaning up may take.
const REST: Duration = Duration::from_secs(60);

/// How many times the rest is asked for. Nothing is added to it any more, so more than two are only for an engine
/// with trouble.
const PASSES: u32 = 10;

/// Follows a container to its end and reports the end. As long as `lock` is held, it says that the container's output
/// is being written.
pub(crate) async fn follow(container: Arc<Container>, lock: File) {
    let destination = container.output.clone();
    let log = unblock(move || Timed::open(&destination)).await;
    let output = match log {
        Ok(log) => Some(Arc::new(Mirror::new(log))),
        Err(error) => {
            tracing::error!(container = container.name, %error, "cannot keep the output of a container");
            None
        }
    };
    let (ended, at) = until_ended(&container, output.as_ref())
        .or(heed(&container))
        .await;
    if let Some(output) = output {
        unblock(move || output.finish()).await;
    }
    clean_up(&container, &ended, at).await;
    drop(lock);
    // Only this sets it, and only once.
    let _ = container.ended.set(ended).await;
}

async fn until_ended(
    container: &Container,
    output: Option<&Arc<Mirror<Timed>>>,
) -> (Ended, Option<WallTime>) {
    let mut away = false;
    let mut life = container.engine.life();
    loop {
        // After the engine was away, first ask what became of the container: following it may take forever.
        if !away {
            attend(container, output).await;
        }
        match container.inspect().await {
            Ok(state) if is_running(&state) => {
                if std::mem::take(&mut away) {
                    tracing::info!(
                        container = container.name,
                        "the engine is back, and the container runs"
                    );
                }
                container.found(&state);
                life = container.engine.life();
                // The engine ends the stream a moment before it knows of the end.
                Timer::after(Duration::from_millis(20)).await;
            }
            Ok(state) => {
                let at = state.finished_at.as_deref().and_then(stamp::parse).map(WallTime);
                let went = away || life != container.engine.life();
                let with_it = went && !container.engine.keeps_containers().await;
                // If the engine goes away after this point, that has nothing to do with the container's end.
                if let Some(output) = output {
                    rest(container, output).await;
                }
                return (ended(&state, with_it), at);
            }
            Err(error) if error.is_not_found() => {
                let why = "its container was removed by somebody else".to_owned();
                return (Ended::Lost(why), None);
            }
            Err(error) => {
                if !std::mem::replace(&mut away, true) {
                    tracing::warn!(container = container.name, %error, "cannot find out whether a container runs");
                    container.contact.away(chain(&error));
                }
                Timer::after(AGAIN).await;
            }
        }
    }
}

/// Looks at the container, forever, whenever the engine has reported something about it.
async fn heed<T>(container: &Container) -> T {
    while container.news.recv().await.is_ok() {
        match container.inspect().await {
            Ok(state) if is_running(&state) => container.found(&state),
            // Others watch for its end and for an engine that is away.
            _ => {}
        }
    }
    futures_lite::future::pending().await
}

/// Copies output until there is a reason to look at the container.
async fn attend(container: &Container, output: Option<&Arc<Mirror<Timed>>>) {
    let Ok(docker) = container.engine.docker().await else {
        return;
    };
    let copied = async {
        match output {
            Some(output) => {
                // Whatever ends the copy, the container is looked at next.
                let copied = async { drop(output.copy(&log(&docker, container, true)).await) };
                copied.or(show(container, output, &docker)).await;
            }
            None => futures_lite::future::pending().await,
        }
    };
    let exit = async {
        let options = WaitContainerOptions {
            condition: "not-running".to_owned(),
        };
        let mut answer = std::pin::pin!(docker.wait_container(&container.id, Some(options)));
        // An exit with a code other than 0 is an error here.
        if matches!(
            answer.next().await,
            Some(Ok(_) | Err(Error::DockerContainerWaitError { .. }))
        ) && let Some(output) = output
        {
            output.is_quiet_for(DRAIN).await;
        }
    };
    bridge::within(copied.or(exit)).await;
}

/// What the engine has of a container's output.
fn log<'a>(docker: &'a Docker, container: &'a Container, follow: bool) -> EngineLog<'a> {
    EngineLog {
        docker,
        id: &container.id,
        follow,
    }
}

/// Shows prompts for as long as they are wanted, and never ends.
async fn show(container: &Container, output: &Arc<Mirror<Timed>>, docker: &Docker) {
    if let Some(limit) = container.prompts {
        let over = async {
            Timer::after(limit).await;
        };
        show_all(container, output, docker).or(over).await;
    }
    futures_lite::future::pending().await
}

async fn show_all(container: &Container, output: &Arc<Mirror<Timed>>, docker: &Docker) {
    let opened = container
        .attached
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .take();
    if let Some(attached) = opened {
        prompt::follow(output, attached, true).await;
    } else if let Ok(attached) = prompt::attach(docker, &container.id).await {
        prompt::follow(output, attached, false).await;
    }
}

/// Copies what is left of the output of an ended container, until the engine returns nothing new. While the engine is
/// away this waits, because the engine keeps the container's last output.
async fn rest(container: &Container, output: &Arc<Mirror<Timed>>) {
    let (mut passes, mut away) = (0, false);
    while passes < PASSES {
        let before = output.written();
        let copied = async {
            let docker = container.engine.docker().await.map_err(Failed::Engine)?;
            let source = log(&docker, container, false);
            let copied = bridge::within(output.copy(&source));
            copied.await.map_err(Failed::Copy)
        };
        let stuck = async {
            output.is_quiet_for(REST).await;
            Err(Failed::Stuck)
        };
        let failed = match copied.or(stuck).await {
            Ok(()) if output.written() == before => return,
            Ok(()) => {
                passes += 1;
                continue;
            }
            Err(failed) => failed,
        };
        // If this gets no answer, the engine is away and has not refused.
        match container.inspect().await {
            Ok(_) if failed.may_pass() => passes += 1,
            Err(error) if !error.is_not_found() => {
                if !std::mem::replace(&mut away, true) {
                    tracing::warn!(container = container.name, %error, "cannot read the end of a container's output yet");
                    container.contact.away(chain(&error));
                }
            }
            _ => {
                tracing::error!(container = container.name, %failed, "the end of a container's output is lost");
                return;
            }
        }
        Timer::after(AGAIN).await;
    }
    tracing::error!(
        container = container.name,
        "the end of a container's output may be missing"
    );
}

/// Why the rest of the output could not be copied.
#[derive(Debug, thiserror::Error)]
enum Failed {
    #[error(transparent)]
    Engine(EngineError),
    #[error(transparent)]
    Copy(CopyError<Error>),
    #[error("the engine does not return it")]
    Stuck,
}

impl Failed {
    /// Whether another try may succeed although the engine answers.
    fn may_pass(&self) -> bool {
        match self {
            Self::Stuck => false,
            Self::Copy(CopyError::Source(Error::DockerResponseServerError { status_code, .. })) => {
                !matches!(status_code, 404 | 409)
            }
            Self::Engine(_) | Self::Copy(_) => true,
        }
    }
}

async fn late(container: &Container, limit: Duration) {
    Timer::after(limit).await;
    tracing::error!(
        container = container.name,
        "the engine does not remove a container with its volumes and networks"
    );
}

/// Whether it may still do something.
pub(crate) fn is_running(state: &ContainerState) -> bool {
    use ContainerStateStatusEnum as S;
    matches!(
        state.status,
        Some(S::RUNNING | S::PAUSED | S::RESTARTING | S::REMOVING)
    )
}

/// Whether it was never started.
pub(crate) fn is_created(state: &ContainerState) -> bool {
    state.status == Some(ContainerStateStatusEnum::CREATED)
}

/// How it ended, in our terms. `engine_went` says that the engine was away at that time and takes its containers with
/// it. They get their stop signal and may exit with 0, but that does not mean that their work was done.
fn ended(state: &ContainerState, engine_went: bool) -> Ended {
    let exit = exit_status(state.exit_code.unwrap_or(-1));
    if state.oom_killed == Some(true) {
        return Ended::OutOfMemory(exit);
    }
    if engine_went {
        return Ended::Lost(format!(
            "the Docker engine went away, and the container ended with it ({exit})"
        ));
    }
    Ended::Exit(exit)
}

/// The engine reports a death by signal as 128 plus the number of the signal.
pub(crate) fn exit_status(code: i64) -> ExitStatus {
    match i32::try_from(code).unwrap_or(-1) {
        code @ 129..=159 => ExitStatus::Signal(code - 128),
        code => ExitStatus::Code(code),
    }
}

async fn clean_up(container: &Container, ended: &Ended, at: Option<WallTime>) {
    let engine = container.engine.known_address();
    let mut record = ContainerRecord::new(container.id.clone(), container.name.clone(), engine);
    record.image_health.clone_from(&container.image_health);
    record.ended = Some((ended.clone(), at));
    let run_dir = container.output.run_dir.clone();
    if let Err(error) = unblock(move || record.write(&run_dir)).await {
        tracing::error!(container = container.name, %error, "cannot record how a container ended");
    }
    let cleaned = async {
        if let Err(error) = container.remove().await {
            tracing::warn!(container = container.name, %error, "cannot remove a container");
        }
        container
            .networks
            .remove_unused(&container.engine, &container.owner, &container.project)
            .await;
    };
    cleaned.or(late(container, REST)).await;
}
