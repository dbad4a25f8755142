//! Merges several sources into one, in the order of time.
//!
//! A line may go out when every source that is still reading has shown its next line. A source that has caught up is
//! not waited for: what it sends later also comes later.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use async_channel::{Receiver, Sender};
use async_io::Timer;
use futures_lite::Stream;
use harness_model::{ServiceName, WallTime};

use super::source::Batch;
use super::{LogItem, LogsError};

/// After a silence, output is collected for this long, so that services that write at the same moment are put in
/// order.
const SETTLE: Duration = Duration::from_millis(5);

/// How many bytes a tail may hold in any case. A larger tail may hold [`TAIL_LINE`] bytes for each of its lines.
const TAIL: usize = 16 << 20;
const TAIL_LINE: u64 = 64 << 10;

pub(super) struct Merge {
    inputs: Vec<Input>,
    /// More inputs may come, even when all current ones have ended.
    endless: bool,
    /// Merged items that nobody has taken yet.
    out: VecDeque<LogItem>,
    /// How many of the last lines are wanted; set until the current end has been reached.
    tail: Option<u64>,
    /// The lines in `out` and their bytes, while there is a tail. A piece that continues another line is not counted.
    kept: u64,
    kept_bytes: usize,
}

struct Input {
    service: ServiceName,
    receiver: Pin<Box<Receiver<Batch>>>,
    pending: VecDeque<LogItem>,
    state: State,
    /// Whether it has caught up once. A tail is complete when all inputs have.
    present: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Reading,
    CaughtUp,
    Ended,
}

/// The state of all inputs together.
enum Standing {
    /// The next item can be chosen.
    Ready,
    /// Everything there is was returned, and more may come.
    Quiet,
    /// All have ended, and nothing more will come.
    Ended,
}

impl Merge {
    pub(super) fn new(tail: Option<u64>, endless: bool) -> Self {
        Self {
            inputs: Vec::new(),
            endless,
            out: VecDeque::new(),
            tail,
            kept: 0,
            kept_bytes: 0,
        }
    }

    /// A new input for a service; `None` if it has one already.
    pub(super) fn input(&mut self, service: &ServiceName) -> Option<Sender<Batch>> {
        if self.inputs.iter().any(|input| input.service == *service) {
            return None;
        }
        let (sender, receiver) = async_channel::bounded(1);
        self.inputs.push(Input {
            service: service.clone(),
            receiver: Box::pin(receiver),
            pending: VecDeque::new(),
            state: State::Reading,
            present: false,
        });
        Some(sender)
    }

    /// The next items, up to about `max_bytes`; `None` when all inputs have ended.
    pub(super) async fn next(&mut self, max_bytes: usize) -> Result<Option<Vec<LogItem>>, LogsError> {
        let mut bytes = 0;
        loop {
            match self.standing().await? {
                Standing::Ready => {
                    if self.inputs.iter().all(|i| i.present || i.state == State::Ended) {
                        self.tail = None;
                    }
                    let merged = self.merge(max_bytes.saturating_sub(bytes));
                    if self.tail.is_none() {
                        bytes += merged;
                    }
                    if bytes >= max_bytes {
                        return Ok(Some(self.take(max_bytes)));
                    }
                }
                standing => {
                    self.tail = None;
                    if !self.out.is_empty() {
                        return Ok(Some(self.take(max_bytes)));
                    }
                    if matches!(standing, Standing::Ended) {
                        return Ok(None);
                    }
                    self.news().await?;
                    Timer::after(SETTLE).await;
                }
            }
        }
    }

    fn take(&mut self, max_bytes: usize) -> Vec<LogItem> {
        let mut bytes = 0;
        let count = self
            .out
            .iter()
            .take_while(|item| {
                let fits = bytes < max_bytes;
                bytes += size(item);
                fits
            })
            .count();
        self.out.drain(..count).collect()
    }

    /// Waits until the state of the inputs is clear.
    async fn standing(&mut self) -> Result<Standing, LogsError> {
        poll_fn(|context| {
            for input in &mut self.inputs {
                input.receive(context)?;
            }
            let any = |state| {
                self.inputs
                    .iter()
                    .any(|i| i.pending.is_empty() && i.state == state)
            };
            Poll::Ready(Ok(if any(State::Reading) {
                return Poll::Pending;
            } else if self.inputs.iter().any(|input| !input.pending.is_empty()) {
                Standing::Ready
            } else if self.endless || any(State::CaughtUp) {
                Standing::Quiet
            } else {
                Standing::Ended
            }))
        })
        .await
    }

    /// Waits until an input that has caught up sends something.
    async fn news(&mut self) -> Result<(), LogsError> {
        poll_fn(|context| {
            let mut news = false;
            for input in &mut self.inputs {
                let was = input.state;
                input.receive(context)?;
                news |= !input.pending.is_empty() || input.state != was;
            }
            if news { Poll::Ready(Ok(())) } else { Poll::Pending }
        })
        .await
    }

    /// Moves items to `out` in the order of time, until an input has no more or there are enough. Returns how many
    /// bytes they have.
    fn merge(&mut self, max_bytes: usize) -> usize {
        let mut bytes = 0;
        while bytes < max_bytes {
            let Some((first, limit)) = self.first() else {
                return bytes;
            };
            let Some(input) = self.inputs.get_mut(first) else {
                return bytes;
            };
            // The other inputs wait until this one has passed the earliest of their items.
            while bytes < max_bytes
                && input.pending.front().is_some_and(|item| time(item) <= limit)
                && let Some(item) = input.pending.pop_front()
            {
                bytes += size(&item);
                if self.tail.is_some() {
                    self.kept += begun(&item);
                    self.kept_bytes += size(&item);
                }
                self.out.push_back(item);
            }
            let drained = input.pending.is_empty() && input.state == State::Reading;
            if let Some(tail) = self.tail {
                self.keep_last(tail);
            }
            if drained {
                return bytes;
            }
        }
        bytes
    }

    /// Drops everything before the last lines.
    fn keep_last(&mut self, lines: u64) {
        let most = TAIL.max(usize::try_from(lines.saturating_mul(TAIL_LINE)).unwrap_or(usize::MAX));
        while self.kept > lines || self.kept_bytes > most {
            let Some(item) = self.out.pop_front() else { return };
            self.kept = self.kept.saturating_sub(begun(&item));
            self.kept_bytes = self.kept_bytes.saturating_sub(size(&item));
        }
    }

    /// The input with the earliest item, and the time up to which it may go.
    fn first(&self) -> Option<(usize, WallTime)> {
        let (mut first, mut limit) = (None, WallTime(u64::MAX));
        for (index, input) in self.inputs.iter().enumerate() {
            let Some(head) = input.pending.front().map(time) else {
                continue;
            };
            match first {
                Some((_, earliest)) if head >= earliest => limit = limit.min(head),
                _ => {
                    limit = first.map_or(limit, |(_, earliest)| limit.min(earliest));
                    first = Some((index, head));
                }
            }
        }
        first.map(|(index, _)| (index, limit))
    }
}

impl Input {
    /// Takes what the source has sent, unless some of its earlier items are still to be merged.
    fn receive(&mut self, context: &mut Context<'_>) -> Result<(), LogsError> {
        while self.pending.is_empty() && self.state != State::Ended {
            match self.receiver.as_mut().poll_next(context) {
                Poll::Ready(Some(Batch::Items(items))) => {
                    self.pending = items.into();
                    self.state = State::Reading;
                }
                Poll::Ready(Some(Batch::CaughtUp)) => {
                    self.state = State::CaughtUp;
                    self.present = true;
                }
                Poll::Ready(Some(Batch::Failed(error))) => return Err(error),
                Poll::Ready(None) => self.state = State::Ended,
                Poll::Pending => return Ok(()),
            }
        }
        Ok(())
    }
}

/// The time of an item. A gap has the time of what comes before it.
fn time(item: &LogItem) -> WallTime {
    match item {
        LogItem::Line(line) => line.time,
        LogItem::Gap { .. } => WallTime(0),
    }
}

/// How many lines begin with this item.
fn begun(item: &LogItem) -> u64 {
    u64::from(matches!(item, LogItem::Line(line) if !line.continues))
}

fn size(item: &LogItem) -> usize {
    match item {
        LogItem::Line(line) => line.text.len() + 32,
        LogItem::Gap { .. } => 32,
    }
}
