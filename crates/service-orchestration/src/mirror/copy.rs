//! Reads from a source and writes to a book.
//!
//! Both happen at the same time: while some messages are being written, which blocks on the disk, the next ones are
//! collected. So a flood is written in few large pieces, and the lines of a quiet service at once.

use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_io::Timer;
use blocking::{Task, unblock};
use futures_lite::future::pending;
use futures_lite::{FutureExt, StreamExt};

use super::{Book, LogError, Source};

/// How many bytes are collected while others are being written. The source waits when there are more.
const COLLECTED: usize = 1 << 20;

/// Why a copy ended too early. Another copy continues it.
#[derive(Debug, thiserror::Error)]
pub enum CopyError<E> {
    /// The source stopped.
    #[error(transparent)]
    Source(E),
    /// A record could not be written.
    #[error(transparent)]
    Log(LogError),
}

/// The log of one generation, and how far it has got.
#[derive(Debug)]
pub struct Mirror<B> {
    state: Mutex<State<B>>,
    /// The number of messages that the source has sent.
    told: AtomicU64,
    /// The number of records that were new to the log.
    written: AtomicU64,
}

#[derive(Debug)]
struct State<B> {
    book: B,
    /// The number of the current copy. Output of an earlier copy is not accepted any more.
    turn: u64,
}

/// What a copy does next.
enum Step<T> {
    Told(Option<T>),
    Written(Result<(), LogError>),
}

impl<B: Book> Mirror<B> {
    /// Writes to this book.
    pub fn new(book: B) -> Self {
        Self {
            state: Mutex::new(State { book, turn: 0 }),
            told: AtomicU64::new(0),
            written: AtomicU64::new(0),
        }
    }

    /// Notes in the log what is missing at its end. Call this when nothing more will come. Blocks on the disk.
    pub fn finish(&self) {
        self.with(B::finish);
    }

    /// How many records so far were new to the log.
    pub fn written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }

    /// Waits until the source has sent nothing for at least this long, and at most twice as long.
    pub async fn is_quiet_for(&self, limit: Duration) {
        loop {
            let before = self.told.load(Ordering::Relaxed);
            Timer::after(limit).await;
            if self.told.load(Ordering::Relaxed) == before {
                return;
            }
        }
    }

    /// Uses the book. Blocks on the disk.
    pub fn with<T>(&self, with: impl FnOnce(&mut B) -> T) -> T {
        with(&mut self.state().book)
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State<B>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Copies until the source ends its stream. If this is cancelled, the next copy finds everything that is missing.
    ///
    /// # Errors
    /// When the source stops before its end, or the log cannot be written. Another copy continues this one.
    pub async fn copy<S: Source<B>>(self: &Arc<Self>, source: &S) -> Result<(), CopyError<S::Error>> {
        let own = Arc::clone(self);
        let (from, turn) = unblock(move || own.resume()).await;
        let mut messages = pin!(source.ask(from));
        let mut collected = Vec::new();
        let mut bytes = 0;
        let mut writing: Option<Task<Result<(), LogError>>> = None;
        loop {
            if writing.is_none() && !collected.is_empty() {
                bytes = 0;
                writing = Some(self.write::<S>(turn, std::mem::take(&mut collected)));
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
                    Some(task) => Step::Written(task.await),
                    None => pending().await,
                }
            };
            match told.or(written).await {
                Step::Told(Some(Ok(message))) => {
                    self.told.fetch_add(1, Ordering::Relaxed);
                    bytes += S::size(&message);
                    collected.push(message);
                }
                Step::Told(ended) => {
                    if let Some(writing) = writing {
                        writing.await.map_err(CopyError::Log)?;
                    }
                    let written = self.write::<S>(turn, collected).await;
                    written.map_err(CopyError::Log)?;
                    return match ended {
                        Some(Err(error)) => Err(CopyError::Source(error)),
                        _ => Ok(()),
                    };
                }
                Step::Written(written) => {
                    written.map_err(CopyError::Log)?;
                    writing = None;
                }
            }
        }
    }

    fn resume(&self) -> (B::Point, u64) {
        let mut state = self.state();
        state.turn += 1;
        (state.book.resume(), state.turn)
    }

    fn write<S: Source<B>>(
        self: &Arc<Self>,
        turn: u64,
        messages: Vec<S::Message>,
    ) -> Task<Result<(), LogError>> {
        let own = Arc::clone(self);
        unblock(move || {
            let mut state = own.state();
            if turn == state.turn {
                let new = state.book.write(&S::records(&messages))?;
                own.written.fetch_add(new, Ordering::Relaxed);
            }
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Destination, LogLimits, Timed};
    use super::*;

    #[test]
    fn it_is_not_quiet_while_there_is_progress() {
        let dir = tempfile::tempdir().unwrap();
        let destination = Destination {
            run_dir: dir.path().to_owned(),
            limits: LogLimits::default(),
        };
        let mirror = Mirror::new(Timed::open(&destination).unwrap());
        let telling = async {
            for _ in 0..40 {
                mirror.told.fetch_add(1, Ordering::Relaxed);
                Timer::after(Duration::from_millis(10)).await;
            }
            mirror.told.store(u64::MAX, Ordering::Relaxed);
            pending().await
        };
        let quiet = mirror.is_quiet_for(Duration::from_millis(100));
        futures_lite::future::block_on(telling.or(quiet));
        assert_eq!(mirror.told.load(Ordering::Relaxed), u64::MAX);
    }
}
