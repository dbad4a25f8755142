//! The output of one service: its generations one after the other, including later ones.
//!
//! A generation is read to its end before the next one. The registry announces the next generation once it runs. Only
//! when that one is on disk is the former one known to be over, and then it is read once more.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_channel::Sender;
use async_io::Timer;
use blocking::unblock;
use command_executor::logs::{FollowError, Line, Lines, LogFrom, Read, ReadItem, RecordFollower};
use futures_lite::FutureExt;
use harness_model::{ServiceName, WallTime};
use service_registry::{ChangeKind, Item, Subscription};

use super::cut::Cutter;
use super::{LogItem, LogsError, Shared};
use crate::health::LogMatcher;

/// Smaller batches are cut on this thread: moving them to another thread costs more.
const SMALL: usize = 16 << 10;

/// How long to wait for the end of a line before it is shown as far as it goes.
const UNFINISHED: Duration = Duration::from_millis(200);

/// What a source sends to the merge.
pub(super) enum Batch {
    /// Lines and gaps in order.
    Items(Vec<LogItem>),
    /// It has sent everything that exists so far.
    CaughtUp,
    /// It cannot go on.
    Failed(LogsError),
}

/// Why a source stops.
enum Stop {
    /// There is nothing more to send, or nobody to send it to.
    Done,
    Failed(LogsError),
}

/// What a source was waiting for.
enum Next {
    Changed,
    Unfinished,
    Passed,
}

pub(super) struct Source {
    shared: Arc<Shared>,
    service: ServiceName,
    changes: Subscription,
    out: Sender<Batch>,
    /// The generation that is being read or was read last; 0 before the first.
    generation: u64,
    /// Where to begin in the first generation.
    from: LogFrom,
    /// It has sent everything up to the moment when the logs were asked for, and has said so.
    present: bool,
}

impl Source {
    pub(super) fn new(shared: Arc<Shared>, service: ServiceName, out: Sender<Batch>) -> Self {
        Self {
            changes: shared.changes.subscribe(None),
            generation: 0,
            present: false,
            from: shared
                .query
                .since
                .map_or(LogFrom::Start, |since| LogFrom::Since(since.0)),
            shared,
            service,
            out,
        }
    }

    pub(super) async fn run(mut self) {
        if let Err(Stop::Failed(error)) = self.tell_all().await {
            // If nobody reads the stream any more, nobody needs to know.
            let _ = self.out.send(Batch::Failed(error)).await;
        }
    }

    async fn tell_all(&mut self) -> Result<(), Stop> {
        self.skip_to_tail().await?;
        loop {
            match self.newer() {
                Some(generation) => {
                    self.generation = generation;
                    self.tell_generation().await?;
                    if self.shared.query.since.is_none() {
                        self.from = LogFrom::Start;
                    }
                }
                None if self.shared.query.follow => {
                    self.caught_up().await?;
                    self.changed().await?;
                }
                None => return Ok(()),
            }
        }
    }

    /// For the last lines of all services, begins where the last lines of this service begin.
    async fn skip_to_tail(&mut self) -> Result<(), Stop> {
        let query = &self.shared.query;
        let Some(wanted) = query.tail else { return Ok(()) };
        if query.grep.is_some() || query.since.is_some() || query.until.is_some() {
            return Ok(());
        }
        let mut missing = wanted;
        let mut generations = self.generations();
        while let Some(generation) = generations.pop() {
            self.from = LogFrom::Tail(missing);
            self.generation = generation.saturating_sub(1);
            let found = count_lines(self.run_dir(generation), missing, &self.shared).await;
            match found {
                Ok(found) => missing = missing.saturating_sub(found),
                Err(error) if error.is_not_found() => {}
                Err(error) => return Err(self.failed(error)),
            }
            if missing == 0 {
                break;
            }
        }
        Ok(())
    }

    /// Sends one generation until it is over for good.
    async fn tell_generation(&mut self) -> Result<(), Stop> {
        let mut records = loop {
            match self.open() {
                Ok(records) => break records,
                // It is just being made, or it was pruned.
                Err(error) if error.is_not_found() => {
                    if !self.shared.query.follow || self.newer().is_some() {
                        return Ok(());
                    }
                    self.caught_up().await?;
                    self.changed().await?;
                }
                Err(error) => return Err(self.failed(error)),
            }
        };
        let mut cutter = Cutter::new(Arc::clone(&self.shared), self.service.clone(), self.generation);
        let mut last_look = !self.shared.query.follow;
        // Since when an unfinished line has been waiting for its end.
        let mut waits_since = None;
        loop {
            match records.read(self.shared.batch).await {
                Ok(Read::Items(items)) => {
                    cutter = self.tell(cutter, items).await?;
                    if cutter.past_until {
                        self.send(cutter.flush()).await?;
                        return Err(Stop::Done);
                    }
                    if cutter.past_opened && !self.present {
                        self.caught_up().await?;
                    }
                }
                Ok(Read::CaughtUp) => {
                    if !self.present {
                        self.send(cutter.unfinished()).await?;
                    }
                    self.caught_up().await?;
                    waits_since = cutter
                        .has_unfinished()
                        .then(|| waits_since.unwrap_or_else(Instant::now));
                    match self.next(&mut records, waits_since).await {
                        Next::Changed => {}
                        Next::Unfinished => {
                            waits_since = None;
                            self.send(cutter.unfinished()).await?;
                        }
                        Next::Passed => {
                            self.send(cutter.flush()).await?;
                            return Err(Stop::Done);
                        }
                    }
                }
                Ok(Read::Over) => {
                    self.send(cutter.flush()).await?;
                    if last_look {
                        return Ok(());
                    }
                    if self.newer().is_some() {
                        last_look = true;
                        continue;
                    }
                    self.caught_up().await?;
                    self.changed().await?;
                }
                Err(error) if error.is_not_found() => return self.send(cutter.flush()).await,
                Err(error) => return Err(self.failed(error)),
            }
        }
    }

    /// Waits for more records, for the moment when the line that is unfinished since `since` has to be shown, or for
    /// the end of what is wanted.
    async fn next(&self, records: &mut RecordFollower, since: Option<Instant>) -> Next {
        let passed = async {
            self.until().await;
            Next::Passed
        };
        let changed = async {
            records.changed().await;
            Next::Changed
        };
        let unfinished = async {
            match since {
                Some(since) => Timer::at(since + UNFINISHED).await,
                None => futures_lite::future::pending().await,
            };
            Next::Unfinished
        };
        passed.or(unfinished).or(changed).await
    }

    fn open(&self) -> Result<RecordFollower, FollowError> {
        let run_dir = self.run_dir(self.generation);
        if self.shared.query.follow {
            RecordFollower::new(run_dir, self.from)
        } else {
            Ok(RecordFollower::existing(run_dir, self.from))
        }
    }

    /// Cuts and sends a batch.
    async fn tell(&self, mut cutter: Cutter, items: Vec<ReadItem>) -> Result<Cutter, Stop> {
        let size: usize = items
            .iter()
            .map(|item| match item {
                ReadItem::Record(record) => record.data.len(),
                _ => 0,
            })
            .sum();
        let cut = move || {
            let out = cutter.cut(items);
            (cutter, out)
        };
        let grep = self.shared.query.grep.as_ref();
        let (cutter, out) = match grep.is_some_and(|grep| !grep.is_quick(size)) {
            true => {
                let turn = LogMatcher::turn().await;
                unblock(move || {
                    let _turn = turn;
                    cut()
                })
                .await
            }
            false if size < SMALL => cut(),
            false => unblock(cut).await,
        };
        self.send(out).await?;
        Ok(cutter)
    }

    async fn send(&self, items: Vec<LogItem>) -> Result<(), Stop> {
        if items.is_empty() {
            return Ok(());
        }
        self.out.send(Batch::Items(items)).await.map_err(|_| Stop::Done)
    }

    async fn caught_up(&mut self) -> Result<(), Stop> {
        // Later generations are wanted from their start.
        self.from = LogFrom::Start;
        self.present = true;
        self.out.send(Batch::CaughtUp).await.map_err(|_| Stop::Done)
    }

    /// Waits for a change of the service, unless nothing that comes later is wanted.
    async fn changed(&mut self) -> Result<(), Stop> {
        let until = self.until();
        let passed = async {
            until.await;
            Err(Stop::Done)
        };
        let changed = async {
            loop {
                match self.changes.next().await {
                    Item::Missed(_) => return Ok(()),
                    Item::Change(change)
                        if change.project == self.shared.project
                            && change.service.as_ref() == Some(&self.service) =>
                    {
                        if change.kind == ChangeKind::Removed {
                            // Its folder is gone, so whatever comes under this name is new.
                            self.generation = 0;
                        }
                        return Ok(());
                    }
                    Item::Change(_) => {}
                }
            }
        };
        changed.or(passed).await
    }

    /// Waits for the end of what is wanted; forever if it has no end.
    fn until(&self) -> impl Future<Output = ()> + use<> {
        let until = self.shared.query.until;
        async move {
            match until {
                Some(until) => {
                    let left = until.since(WallTime::now());
                    // What was written just before the end may still arrive.
                    Timer::after(left + Duration::from_millis(20)).await;
                }
                None => futures_lite::future::pending().await,
            }
        }
    }

    fn generations(&self) -> Vec<u64> {
        self.shared
            .layout
            .generations(&self.shared.project, &self.service)
    }

    /// The next generation, if it is on disk.
    fn newer(&self) -> Option<u64> {
        self.generations()
            .into_iter()
            .find(|generation| *generation > self.generation)
    }

    fn run_dir(&self, generation: u64) -> PathBuf {
        self.shared
            .layout
            .generation(&self.shared.project, &self.service, generation)
    }

    fn failed(&self, source: FollowError) -> Stop {
        Stop::Failed(LogsError {
            service: self.service.clone(),
            generation: self.generation,
            source,
        })
    }
}

/// Counts the lines at the end of a log: at least `wanted`, if the log has that many.
async fn count_lines(run_dir: PathBuf, wanted: u64, shared: &Shared) -> Result<u64, FollowError> {
    let mut records = RecordFollower::existing(run_dir, LogFrom::Tail(wanted));
    let (mut lines, mut found) = (Lines::new(), 0);
    let mut count = |line: Line| found += u64::from(!line.continues);
    'all: while let Read::Items(items) = records.read(shared.batch).await? {
        for item in items {
            if let ReadItem::Record(record) = item {
                lines.push(&record, &mut count);
                if record.time_ns >= shared.opened.0 {
                    break 'all;
                }
            }
        }
    }
    lines.flush(&mut count);
    Ok(found)
}
