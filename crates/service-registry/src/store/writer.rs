//! The thread that owns the file and commits what has been collected.

use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use async_channel::{Receiver, Sender};

use super::StoreError;
use super::batch::Batch;
use super::file::File;

/// How long writes are collected before a commit, if nobody waits for it. So a project with a thousand services that
/// start together costs dozens of commits and not thousands.
const GATHER: Duration = Duration::from_millis(20);

/// The pause before a failed write is tried again.
const RETRY: Duration = Duration::from_millis(500);

type Answer = Result<(), StoreError>;

/// What the writer has to do. It is shared with everybody who submits.
#[derive(Default)]
pub(super) struct Queue {
    state: Mutex<State>,
    bell: Condvar,
}

#[derive(Default)]
struct State {
    pending: Batch,
    /// When `pending` is to be written, if nobody asks earlier.
    due: Option<Instant>,
    waiting: Vec<Sender<Answer>>,
    closing: bool,
    last_error: Option<StoreError>,
    commits: u64,
}

struct Work {
    batch: Batch,
    waiting: Vec<Sender<Answer>>,
    last: bool,
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing that can panic runs between two related changes of the state.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn submit(&self, add: impl FnOnce(&mut Batch)) {
        let mut state = self.lock();
        add(&mut state.pending);
        if state.due.is_none() {
            state.due = Some(Instant::now() + GATHER);
            self.bell.notify_one();
        }
    }

    pub(super) fn ask_for_write(&self) -> Receiver<Answer> {
        let (sender, receiver) = async_channel::bounded(1);
        let mut state = self.lock();
        // Once it is closed, nobody answers any more. The dropped sender shows that.
        if !state.closing {
            state.waiting.push(sender);
            self.bell.notify_one();
        }
        receiver
    }

    pub(super) fn close(&self) {
        self.lock().closing = true;
        self.bell.notify_one();
    }

    pub(super) fn last_error(&self) -> Option<StoreError> {
        self.lock().last_error.clone()
    }

    pub(super) fn commits(&self) -> u64 {
        self.lock().commits
    }

    /// Waits for something to do.
    fn take(&self) -> Work {
        let mut state = self.lock();
        loop {
            let left = state.due.map(|due| due.saturating_duration_since(Instant::now()));
            if state.closing || !state.waiting.is_empty() || left == Some(Duration::ZERO) {
                state.due = None;
                return Work {
                    batch: std::mem::take(&mut state.pending),
                    waiting: std::mem::take(&mut state.waiting),
                    last: state.closing,
                };
            }
            state = match left {
                None => self.bell.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(left) => {
                    self.bell
                        .wait_timeout(state, left)
                        .unwrap_or_else(PoisonError::into_inner)
                        .0
                }
            };
        }
    }

    fn done(&self, batch: Batch, answer: &Answer) {
        let mut state = self.lock();
        match answer {
            Ok(()) => {
                state.commits += u64::from(!batch.is_empty());
                state.last_error = None;
            }
            Err(error) => {
                state.pending.put_back(batch);
                state.last_error = Some(error.clone());
                state.due = Some(Instant::now() + RETRY);
            }
        }
    }
}

pub(super) fn spawn(file: File, queue: Arc<Queue>) -> io::Result<JoinHandle<()>> {
    std::thread::Builder::new()
        .name("state-store".to_owned())
        .spawn(move || run(file, &queue))
}

fn run(mut file: File, queue: &Queue) {
    loop {
        let work = queue.take();
        let answer = if work.batch.is_empty() {
            Ok(())
        } else {
            file.write(&work.batch)
        };
        if let Err(error) = &answer
            && queue.last_error().is_none()
        {
            // Log this only once for a row of failures: the next attempt comes half a second later.
            let cause = std::error::Error::source(error)
                .map(ToString::to_string)
                .unwrap_or_default();
            tracing::warn!(%error, cause, "cannot write the state store; the changes stay in memory, trying again");
        }
        queue.done(work.batch, &answer);
        for waiting in work.waiting {
            // Whoever no longer waits needs no answer.
            let _ = waiting.try_send(answer.clone());
        }
        if work.last {
            return;
        }
    }
}
