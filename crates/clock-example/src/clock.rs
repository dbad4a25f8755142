//! One running clock.
//!
//! A clock is its record in the run directory: when it began and how often it ticks. A thread of the daemon writes the
//! ticks that are due to the log there, each as one record. So the number of records is the number of ticks, and whoever
//! continues the clock writes what is missing, each tick once.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_lock::OnceCell;
use async_trait::async_trait;
use harness_model::{ExitStatus, WallTime};
use harness_shim::log::{LogError, ReadItem, Reader, Stream, Writer};
use harness_shim::run_dir::{LogLimits, RunDir, RunDirError};
use serde::{Deserialize, Serialize};
use service_orchestration::executor::{Instance, SessionError};
use service_orchestration::machine::Ended;

/// The name of the record in the run directory.
const RECORD: &str = "clock.json";

/// Why a clock cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClockError {
    /// Its run directory cannot be used.
    #[error(transparent)]
    RunDir(#[from] RunDirError),
    /// Its log cannot be used.
    #[error(transparent)]
    Log(#[from] LogError),
    /// Its record cannot be used.
    #[error("cannot {operation} {}: {source}", path.display())]
    Record {
        operation: &'static str,
        path: PathBuf,
        source: io::Error,
    },
    /// Its thread cannot be started.
    #[error("cannot start a thread for it: {0}")]
    Thread(#[source] io::Error),
}

/// The record of a clock.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct ClockRecord {
    /// When it began.
    pub(crate) began: WallTime,
    /// When it was stopped.
    pub(crate) ended: Option<WallTime>,
}

impl ClockRecord {
    /// The record in a run directory; `None` if there is none, so the clock never began.
    pub(crate) fn read(run_dir: &Path) -> Result<Option<Self>, ClockError> {
        let path = run_dir.join(RECORD);
        let failed = |source| ClockError::Record {
            operation: "read",
            path: path.clone(),
            source,
        };
        match std::fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes)
                .map(Some)
                .map_err(|error| failed(error.into())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(failed(error)),
        }
    }

    /// Replaces the record as a whole.
    fn write(&self, run_dir: &Path) -> Result<(), ClockError> {
        let path = run_dir.join(RECORD);
        let new = path.with_extension("new");
        let written = serde_json::to_vec(self).map_err(io::Error::from);
        let written = written.and_then(|bytes| std::fs::write(&new, bytes));
        let written = written.and_then(|()| std::fs::rename(&new, &path));
        written.map_err(|source| ClockError::Record {
            operation: "write",
            path: path.clone(),
            source,
        })
    }
}

/// How a clock ticks.
#[derive(Debug, Clone)]
pub(crate) struct Beat {
    pub(crate) every: Duration,
    pub(crate) say: String,
    pub(crate) limits: LogLimits,
}

/// How often each running clock has ticked, by its run directory.
#[derive(Debug, Default)]
pub(crate) struct Clocks(Mutex<BTreeMap<PathBuf, Arc<AtomicU64>>>);

impl Clocks {
    /// How often the clock has ticked; `None` if it does not run.
    pub(crate) fn ticks(&self, run_dir: &Path) -> Option<u64> {
        let clocks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        clocks.get(run_dir).map(|ticks| ticks.load(Ordering::Relaxed))
    }

    fn add(&self, run_dir: &Path, ticks: Arc<AtomicU64>) {
        let mut clocks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        clocks.insert(run_dir.to_owned(), ticks);
    }

    fn remove(&self, run_dir: &Path) {
        let mut clocks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        clocks.remove(run_dir);
    }
}

/// A running clock, as its daemon holds it.
pub(crate) struct Clock {
    began: WallTime,
    stop: Sender<()>,
    ended: Arc<OnceCell<Ended>>,
}

impl Clock {
    /// Begins a clock in a new run directory.
    pub(crate) fn begin(run_dir: &Path, beat: Beat, clocks: Arc<Clocks>) -> Result<Self, ClockError> {
        let lock = RunDir::create(run_dir)?.take_lock()?;
        let record = ClockRecord {
            began: WallTime::now(),
            ended: None,
        };
        record.write(run_dir)?;
        Self::run(run_dir, record, beat, lock, clocks)
    }

    /// Continues a clock that a former daemon began.
    pub(crate) fn go_on(
        run_dir: &Path,
        record: ClockRecord,
        beat: Beat,
        clocks: Arc<Clocks>,
    ) -> Result<Self, ClockError> {
        let lock = RunDir::open(run_dir)?.take_lock()?;
        Self::run(run_dir, record, beat, lock, clocks)
    }

    fn run(
        run_dir: &Path,
        record: ClockRecord,
        beat: Beat,
        lock: File,
        clocks: Arc<Clocks>,
    ) -> Result<Self, ClockError> {
        let log_dir = RunDir::at(run_dir).log_dir();
        let written = written(&log_dir)?;
        let writer = Writer::waiting(log_dir, beat.limits)?;
        let (stop, stopped) = mpsc::channel();
        let ended = Arc::new(OnceCell::new());
        let ticks = Arc::new(AtomicU64::new(written));
        clocks.add(run_dir, Arc::clone(&ticks));
        let began = record.began;
        let ticking = Ticking {
            run_dir: run_dir.to_owned(),
            record,
            beat,
            writer,
            ticks,
            clocks,
            _lock: lock,
        };
        let told = Arc::clone(&ended);
        std::thread::Builder::new()
            .name("clock".to_owned())
            .spawn(move || ticking.go(&stopped, &told))
            .map_err(ClockError::Thread)?;
        Ok(Self { began, stop, ended })
    }
}

/// How many ticks the log has: each is a record.
fn written(log_dir: &Path) -> Result<u64, ClockError> {
    let mut reader = match Reader::open(log_dir) {
        Ok(reader) => reader,
        Err(_) if !log_dir.exists() => return Ok(0),
        Err(error) => return Err(error.into()),
    };
    while reader.next()? != ReadItem::End {}
    Ok(reader.next_seq())
}

/// What the thread of a clock works with.
struct Ticking {
    run_dir: PathBuf,
    record: ClockRecord,
    beat: Beat,
    writer: Writer,
    ticks: Arc<AtomicU64>,
    clocks: Arc<Clocks>,
    /// Shows that the clock runs.
    _lock: File,
}

impl Ticking {
    fn go(mut self, stopped: &Receiver<()>, ended: &OnceCell<Ended>) {
        loop {
            let next = self.ticks.load(Ordering::Relaxed) + 1;
            let due = self.due(next);
            let wait = Duration::from_nanos(due.0.saturating_sub(WallTime::now().0));
            match stopped.recv_timeout(wait) {
                Err(RecvTimeoutError::Timeout) => {
                    let line = format!("{} {next}\n", self.beat.say);
                    self.writer.append(Stream::Stdout, line.as_bytes(), due.0);
                    self.ticks.store(next, Ordering::Relaxed);
                }
                Ok(()) => break,
                // The daemon ends. The next one goes on with the clock.
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
        self.record.ended = Some(WallTime::now());
        if let Err(error) = self.record.write(&self.run_dir) {
            tracing::error!(%error, "cannot record that a clock was stopped");
        }
        self.clocks.remove(&self.run_dir);
        // Only this thread sets it.
        let _ = ended.set_blocking(Ended::Exit(ExitStatus::Code(0)));
    }

    /// When a tick is due.
    fn due(&self, tick: u64) -> WallTime {
        let every = u64::try_from(self.beat.every.as_nanos()).unwrap_or(u64::MAX);
        WallTime(self.record.began.0.saturating_add(every.saturating_mul(tick)))
    }
}

fn impossible(operation: &'static str) -> SessionError {
    SessionError {
        operation,
        source: io::ErrorKind::Unsupported.into(),
    }
}

#[async_trait]
impl Instance for Clock {
    fn pid(&self) -> Option<u32> {
        None
    }

    fn root_pid(&self) -> Option<u32> {
        None
    }

    fn started_at(&self) -> WallTime {
        self.began
    }

    async fn wait(&self) -> Ended {
        self.ended.wait().await.clone()
    }

    async fn stop(&self) {
        // A thread that is gone has ended already.
        let _ = self.stop.send(());
    }

    async fn kill(&self) {
        self.stop().await;
    }

    async fn write_stdin(&self, _bytes: &[u8]) -> Result<(), SessionError> {
        Err(impossible("write to a clock"))
    }

    async fn close_stdin(&self) {}

    async fn resize(&self, _columns: u16, _rows: u16) {}

    async fn signal(&self, _signal: i32) -> Result<(), SessionError> {
        Err(impossible("signal a clock"))
    }
}
