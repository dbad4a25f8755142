//! Copies the output of a service from where it runs into its run directory here, each record once.
//!
//! Whoever runs a service mirrors its output: the shim of a local process writes it there by itself, and for everything
//! else an executor uses this. Readers (logs, attach, failure reports, log probes) know only the run directory.
//!
//! ```text
//!  source ──from a point──▶ Mirror ──▶ book: new, or told before? ──▶ segments in the run directory
//!     ▲                                                                   │
//!     └── link lost, daemon killed, stream ended: ask again from the point that the log itself shows
//! ```
//!
//! The point comes from the log and from nothing else. So whatever dies between two records, the next copy neither
//! loses nor doubles one. What the source does not have any more is a gap, which readers see and count.
//!
//! | book | for sources | how it knows what it has |
//! |---|---|---|
//! | [`Numbered`] | whose records have numbers: the log of a shim on another machine | by the number; records keep theirs |
//! | [`Timed`] | whose records have only times: a container engine | by time, stream and bytes |

mod copy;
mod numbered;
mod timed;

use std::path::PathBuf;

pub use command_executor::logs::{LogError, ReadItem, Stream};
pub use harness_shim::log::Position;
pub use harness_shim::run_dir::LogLimits;

pub use copy::{CopyError, Mirror};
pub use numbered::Numbered;
pub use timed::{LONGEST_AHEAD, Timed, TimedRecord};

/// Where the output of one generation goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Destination {
    /// The run directory of the generation.
    pub run_dir: PathBuf,
    /// How much of the output is kept.
    pub limits: LogLimits,
}

/// What a log has of a source, and what is new to it.
pub trait Book: Send + 'static {
    /// Where a source is asked to begin.
    type Point: Send + 'static;
    /// A record of the source.
    type Record<'a>;

    /// The point from which the source has to be asked, so that nothing is missing. Blocks on the disk.
    fn resume(&mut self) -> Self::Point;

    /// Writes those of the records that the log does not have, in the order of the source. Returns how many those
    /// were. Blocks on the disk.
    ///
    /// # Errors
    /// When a record cannot be written and the source must be asked for it again.
    fn write(&mut self, records: &[Self::Record<'_>]) -> Result<u64, LogError>;

    /// Notes in the log what is missing at its end. Called when nothing more will come. Blocks on the disk.
    fn finish(&mut self);
}

/// Output that can be asked for again from a point on.
pub trait Source<B: Book>: Sync {
    /// What arrives at a time: some records.
    type Message: Send + 'static;
    /// Why it stops before its end.
    type Error: Send;

    /// What it has from this point on, in its own order. Records before the point may come again (gaps may not), but
    /// none after it may be left out. What it does not have any more, it leaves out or tells as a gap. The stream ends
    /// when there is nothing more to come.
    fn ask(
        &self,
        from: B::Point,
    ) -> impl futures_lite::Stream<Item = Result<Self::Message, Self::Error>> + Send;

    /// About how much memory a message takes, in bytes.
    fn size(message: &Self::Message) -> usize;

    /// The records in some messages. This is called where they are written.
    fn records(messages: &[Self::Message]) -> Vec<B::Record<'_>>;
}
