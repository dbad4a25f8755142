//! Asks a container to end: its stop signal, the grace period, SIGKILL.

use std::sync::atomic::Ordering;
use std::time::Duration;

use async_io::Timer;
use bollard::query_parameters::KillContainerOptions;
use futures_lite::FutureExt;

use crate::container::running::Container;
use crate::container::stop_policy::StopPolicy;
use crate::engine::EngineError;

/// The pause before a signal that did not reach the engine is sent again.
const AGAIN: Duration = Duration::from_millis(300);

const SIGKILL: i32 = 9;

impl Container {
    /// Asks it to end, and kills it when its grace period is over. If the engine is away, this waits for it. So when
    /// it is asked for again, there is nothing to do: a second signal could cut short what the first one began.
    pub(crate) async fn stop(&self) {
        if self.is_stopping.swap(true, Ordering::Relaxed) {
            return;
        }
        let StopPolicy {
            signal,
            origin,
            grace,
        } = self.stop;
        tracing::info!(
            container = self.name,
            signal = self.stop.shown(),
            of = origin,
            grace_s = grace.as_secs_f32(),
            "stopping a container"
        );
        self.send_surely(signal.0).await;
        if !self.ends_within(grace).await {
            tracing::warn!(
                container = self.name,
                signal = self.stop.shown(),
                "a container did not end in time: killing it"
            );
            self.kill().await;
        }
    }

    /// Kills it.
    pub(crate) async fn kill(&self) {
        self.send_surely(SIGKILL).await;
    }

    /// Sends its main process a signal.
    pub(crate) async fn send(&self, signal: i32) -> Result<(), EngineError> {
        let options = KillContainerOptions {
            signal: signal.to_string(),
        };
        self.engine
            .ask("signal", &self.what(), |docker| async move {
                docker.kill_container(&self.id, Some(options)).await
            })
            .await
    }

    /// Resumes it if it is paused: nothing in it gets a signal before that.
    async fn unpause(&self) {
        if !self.contact.is_paused() {
            return;
        }
        let what = self.what();
        let unpaused = self.engine.ask("unpause", &what, |docker| async move {
            docker.unpause_container(&self.id).await
        });
        match unpaused.await {
            Ok(()) => tracing::info!(container = self.name, "unpaused a container in order to stop it"),
            Err(error) => tracing::warn!(container = self.name, %error, "cannot unpause a container"),
        }
    }

    /// Sends a signal as soon as the engine can be reached. If the container has ended, it needs none.
    async fn send_surely(&self, signal: i32) {
        self.unpause().await;
        while let Err(error) = self.send(signal).await {
            if self.ended.is_initialized() || error.is_not_found() || error.is_conflict() {
                return;
            }
            tracing::warn!(container = self.name, %error, "cannot signal a container");
            Timer::after(AGAIN).await;
            self.unpause().await;
        }
    }

    /// Waits at most this long for its end. Returns whether it has ended.
    async fn ends_within(&self, limit: Duration) -> bool {
        let ended = async {
            self.ended.wait().await;
            true
        };
        let late = async {
            Timer::after(limit).await;
            false
        };
        ended.or(late).await
    }
}
