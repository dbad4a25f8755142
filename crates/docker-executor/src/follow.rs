//! Following a container to its end: its output, its exit, and what happens to it behind our back.
//!
//! ```text
//!        ┌──── engine away: try again ────┐
//!        ▼                                │
//!  copy output ─ or ─ wait for exit ──▶ inspect ──running──▶ (again)
//!                                         ├─ gone ──────▶ Lost
//!                                         └─ ended ─────▶ rest of the output ▶ Exit
//!  then: end recorded ▶ container removed ▶ network removed if unused ▶ lock released ▶ told
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
use service_orchestration::words::chain;

use crate::bridge;
use crate::instance::Container;
use crate::output::Output;
use crate::prompt;
use crate::pump::Pump;
use crate::record::ContainerRecord;
use crate::stamp;

/// The pause before an engine that is away is asked again.
const AGAIN: Duration = Duration::from_millis(300);

/// How long the engine may pause in telling the output of a container that has ended, before it is asked for the rest.
const DRAIN: Duration = Duration::from_secs(10);

/// How long it may pause in telling the rest, and how long cleaning up may take.
const REST: Duration = Duration::from_secs(60);

/// Follows a container to its end and tells it. `lock` says that its output is being written, for as long as it is
/// held.
pub(crate) async fn follow(container: Arc<Container>, lock: File) {
    let (run_dir, limits) = (container.run_dir.clone(), container.log_limits);
    let pump = unblock(move || Pump::open(&run_dir, limits)).await;
    let output = match pump {
        Ok(pump) => Some(Arc::new(Output::new(pump))),
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
    // It is set once: by this.
    let _ = container.ended.set(ended).await;
}

async fn until_ended(container: &Container, output: Option<&Arc<Output>>) -> (Ended, Option<WallTime>) {
    let mut away = false;
    let mut life = container.engine.life();
    loop {
        // What came of it meanwhile is asked first: following it may take for ever.
        let drained = !away && attend(container, output).await;
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
                if !drained && let Some(output) = output {
                    rest(container, output).await;
                }
                let at = state.finished_at.as_deref().and_then(stamp::parse).map(WallTime);
                let went = away || life != container.engine.life();
                let with_it = went && !container.engine.keeps_containers().await;
                return (ended(&state, with_it), at);
            }
            Err(error) if error.is_not_found() => {
                let why = "its container was removed by somebody else".to_owned();
                return (Ended::Lost(why), None);
            }
            Err(error) => {
                if !std::mem::replace(&mut away, true) {
                    tracing::warn!(container = container.name, %error, "cannot tell whether a container runs");
                    container.contact.away(chain(&error));
                }
                Timer::after(AGAIN).await;
            }
        }
    }
}

/// Looks at the container whenever the engine has told something of it, for ever.
async fn heed<T>(container: &Container) -> T {
    while container.news.recv().await.is_ok() {
        match container.inspect().await {
            Ok(state) if is_running(&state) => container.found(&state),
            // Its end, and an engine that is away, are seen by who waits for them.
            _ => {}
        }
    }
    futures_lite::future::pending().await
}

/// Copies output until there is a reason to look at the container; whether all of it was copied.
async fn attend(container: &Container, output: Option<&Arc<Output>>) -> bool {
    let Ok(docker) = container.engine.docker().await else {
        return false;
    };
    let copied = async {
        match output {
            Some(output) => {
                let copied = async { output.copy(&docker, &container.id, true).await.is_ok() };
                copied.or(show(container, output, &docker)).await
            }
            None => futures_lite::future::pending().await,
        }
    };
    let exit = async {
        let options = WaitContainerOptions {
            condition: "not-running".to_owned(),
        };
        let mut answer = std::pin::pin!(docker.wait_container(&container.id, Some(options)));
        // An exit with another code than 0 is an error here.
        if matches!(
            answer.next().await,
            Some(Ok(_) | Err(Error::DockerContainerWaitError { .. }))
        ) {
            match output {
                Some(output) => output.is_quiet_for(DRAIN).await,
                None => return false,
            }
        }
        false
    };
    bridge::within(copied.or(exit)).await
}

/// Shows prompts of a service that is typed to, for ever.
async fn show(container: &Container, output: &Arc<Output>, docker: &Docker) -> bool {
    let opened = container
        .attached
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .take();
    if let Some(attached) = opened {
        prompt::follow(output, attached, true).await;
    } else if container.is_interactive
        && let Ok(attached) = prompt::attach(docker, &container.id).await
    {
        prompt::follow(output, attached, false).await;
    }
    futures_lite::future::pending().await
}

/// Copies what is left of the output of a container that has ended, for as long as the engine tells any.
async fn rest(container: &Container, output: &Arc<Output>) {
    let copied = async {
        let Ok(docker) = container.engine.docker().await else {
            return;
        };
        while let Err(error) = bridge::within(output.copy(&docker, &container.id, false)).await {
            tracing::warn!(container = container.name, %error, "cannot copy the end of a container's output");
            if matches!(error, Error::DockerResponseServerError { .. }) {
                return;
            }
            Timer::after(AGAIN).await;
        }
    };
    let stuck = async {
        output.is_quiet_for(REST).await;
        tracing::error!(
            container = container.name,
            "the end of a container's output is lost: the engine does not tell it"
        );
    };
    copied.or(stuck).await;
}

async fn late(container: &Container, limit: Duration) {
    Timer::after(limit).await;
    tracing::error!(
        container = container.name,
        "the engine does not remove a container and what belongs to it"
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

/// How it ended, in our words. `engine_went` tells that the engine was away when it did, and takes containers with it:
/// they get its stop signal and may well exit with 0, which then does not say that their work was done.
fn ended(state: &ContainerState, engine_went: bool) -> Ended {
    let exit = exit_status(state.exit_code.unwrap_or(-1));
    if state.oom_killed == Some(true) {
        return Ended::OutOfMemory(exit);
    }
    if engine_went {
        return Ended::Lost(format!("the Docker engine went away, and it with it ({exit})"));
    }
    Ended::Exit(exit)
}

/// The engine tells a death by signal as 128 and its number.
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
    let run_dir = container.run_dir.clone();
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
