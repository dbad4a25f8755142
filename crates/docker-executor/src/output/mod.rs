//! Copies a container's output from the engine to its log.
//!
//! Reading and writing happen at the same time: while some messages are being written, which blocks on the disk, the
//! next ones are collected. So a flood is written in few large pieces, and the lines of a quiet container at once.

pub(crate) mod prompt;
pub(crate) mod pump;

use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_io::Timer;
use blocking::{Task, unblock};
use bollard::Docker;
use bollard::container::LogOutput;
use bollard::errors::Error;
use bollard::query_parameters::LogsOptions;
use futures_lite::future::pending;
use futures_lite::{FutureExt, StreamExt};

use crate::output::pump::Pump;

/// How many bytes are collected while others are being written. The engine waits when there are more.
const COLLECTED: usize = 1 << 20;

/// Counted for each message in addition to its bytes.
const OVERHEAD: usize = 64;

/// A container's log, and how far it has got.
pub(crate) struct Output {
    pump: Mutex<Pump>,
    /// The number of messages that the engine has sent.
    told: AtomicU64,
    /// The number of those that were new to the log.
    written: AtomicU64,
}

/// What a copy does next.
enum Step {
    Told(Option<Result<LogOutput, Error>>),
    Written,
}

impl Output {
    pub(crate) fn new(pump: Pump) -> Self {
        Self {
            pump: Mutex::new(pump),
            told: AtomicU64::new(0),
            written: AtomicU64::new(0),
        }
    }

    /// Records what could not be written, if that is possible now. Blocks on the disk.
    pub(crate) fn finish(&self) {
        self.with(Pump::finish);
    }

    /// The number of written messages that were new to the log.
    pub(crate) fn written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }

    /// Waits until the engine has sent nothing for at least this long, and at most twice as long.
    pub(crate) async fn is_quiet_for(&self, limit: Duration) {
        loop {
            let before = self.told.load(Ordering::Relaxed);
            Timer::after(limit).await;
            if self.told.load(Ordering::Relaxed) == before {
                return;
            }
        }
    }

    /// Copies until the engine ends the stream. With `follow`, that is when the container has ended and everything
    /// was sent; otherwise it copies what exists now. If this is cancelled, the next copy finds everything that is
    /// missing.
    pub(crate) async fn copy(self: &Arc<Self>, docker: &Docker, id: &str, follow: bool) -> Result<(), Error> {
        let own = Arc::clone(self);
        let (since, turn) = unblock(move || own.with(Pump::resume)).await;
        let options = LogsOptions {
            follow,
            stdout: true,
            stderr: true,
            since: i32::try_from(since).unwrap_or(i32::MAX),
            timestamps: true,
            tail: "all".to_owned(),
            ..LogsOptions::default()
        };
        let mut messages = pin!(docker.logs(id, Some(options)));
        let mut collected = Vec::new();
        let mut bytes = 0;
        let mut writing: Option<Task<()>> = None;
        loop {
            if writing.is_none() && !collected.is_empty() {
                bytes = 0;
                writing = Some(self.write(turn, std::mem::take(&mut collected)));
            }
            let told = async {
                if bytes < COLLECTED {
                    Step::Told(messages.next().await)
                } else {
                    pending().await
                }
            };
            let written = async {
                match &mut writing {
                    Some(task) => task.await,
                    None => pending().await,
                }
                Step::Written
            };
            match told.or(written).await {
                Step::Told(Some(Ok(message))) => {
                    self.told.fetch_add(1, Ordering::Relaxed);
                    bytes += message.as_ref().len() + OVERHEAD;
                    collected.push(message);
                }
                Step::Told(ended) => {
                    if let Some(writing) = writing {
                        writing.await;
                    }
                    self.write(turn, collected).await;
                    return ended.map_or(Ok(()), |ended| ended.map(drop));
                }
                Step::Written => writing = None,
            }
        }
    }

    fn write(self: &Arc<Self>, turn: u64, messages: Vec<LogOutput>) -> Task<()> {
        let own = Arc::clone(self);
        unblock(move || {
            let new = own.with(|pump| pump.write(turn, &messages));
            own.written.fetch_add(new, Ordering::Relaxed);
        })
    }

    /// Uses the pump. Blocks on the disk.
    pub(crate) fn with<T>(&self, with: impl FnOnce(&mut Pump) -> T) -> T {
        with(&mut self.pump.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use harness_shim::run_dir::LogLimits;

    use super::*;

    #[test]
    fn it_is_not_quiet_while_there_is_progress() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join(harness_shim::run_dir::LOG_DIR)).unwrap();
        let output = Output::new(Pump::open(dir.path(), LogLimits::default()).unwrap());
        let telling = async {
            for _ in 0..40 {
                output.told.fetch_add(1, Ordering::Relaxed);
                Timer::after(Duration::from_millis(10)).await;
            }
            output.told.store(u64::MAX, Ordering::Relaxed);
            pending().await
        };
        let quiet = output.is_quiet_for(Duration::from_millis(100));
        futures_lite::future::block_on(telling.or(quiet));
        assert_eq!(output.told.load(Ordering::Relaxed), u64::MAX);
    }
}
