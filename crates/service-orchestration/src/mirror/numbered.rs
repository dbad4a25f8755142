//! Sources whose records have numbers, as every log of a shim has: `0, 1, 2, …` for the whole run.
//!
//! A record keeps its number here, so the number of the next record is all that a copy has to ask with. Where the
//! source lost something, numbers are left out here too, and readers find the gap as they would find it there.
//!
//! Nothing is dropped when the disk is full: the source still has it, so the copy fails and a later one asks again.

use harness_shim::log::Writer;
use harness_shim::run_dir::LOG_DIR;

use super::{Book, Destination, LogError, Position, ReadItem, Stream};

/// The log of a generation, filled from records with numbers.
#[derive(Debug)]
pub struct Numbered {
    writer: Writer,
    /// How many lines the source said are missing before its next record.
    missing: Option<u64>,
    /// The time of the last record that was told, in nanoseconds since the Unix epoch.
    last: u64,
}

impl Numbered {
    /// Begins or continues the log of a run directory. Blocks on the disk.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn open(destination: &Destination) -> Result<Self, LogError> {
        let dir = destination.run_dir.join(LOG_DIR);
        Ok(Self {
            writer: Writer::waiting(dir, destination.limits)?,
            missing: None,
            last: 0,
        })
    }

    /// Goes on at a later record, after what is missing.
    fn skip_to(&mut self, seq: u64, time_ns: u64) -> Result<(), LogError> {
        let lines = self.writer.position().lines;
        let lines = lines.saturating_add(self.missing.unwrap_or(0));
        self.writer.skip_to(Position { seq, lines }, time_ns)?;
        self.missing = None;
        Ok(())
    }
}

impl Book for Numbered {
    type Point = Position;
    type Record<'a> = &'a ReadItem;

    fn resume(&mut self) -> Position {
        // The source tells again of a gap that nothing followed.
        self.missing = None;
        self.writer.position()
    }

    fn write(&mut self, records: &[&ReadItem]) -> Result<u64, LogError> {
        let mut new = 0;
        let mut run: Vec<(Stream, &[u8], u64)> = Vec::new();
        for item in records {
            match item {
                ReadItem::Record(record) => {
                    let next = self.writer.position().seq.saturating_add(run.len() as u64);
                    if record.seq < next {
                        self.missing = None;
                        continue;
                    }
                    if record.seq > next || self.missing.is_some() {
                        self.writer.append_or_fail(&std::mem::take(&mut run))?;
                        self.skip_to(record.seq, record.time_ns)?;
                    }
                    run.push((record.stream, &record.data, record.time_ns));
                    self.last = record.time_ns;
                    new += 1;
                }
                ReadItem::Gap { lines, .. } => {
                    self.missing = Some(self.missing.unwrap_or(0).saturating_add(*lines));
                }
                ReadItem::End => {}
            }
        }
        self.writer.append_or_fail(&run)?;
        Ok(new)
    }

    fn finish(&mut self) {
        if self.missing.is_some() {
            // What the source noted at its end took a number there.
            let seq = self.writer.position().seq.saturating_add(1);
            if let Err(error) = self.skip_to(seq, self.last) {
                tracing::error!(%error, "cannot note in a log that its end is missing");
            }
        }
    }
}

#[cfg(test)]
mod tests;
