//! A log on another machine: it rotates, and it notes what its disk refused.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures_lite::future::block_on;
use harness_shim::log::{GapCause, Record};
use service_orchestration::mirror::{
    CopyError, Destination, LogLimits, Mirror, Numbered, Position, ReadItem, Source, Stream,
};

use super::{Cut, kill, parts, read, sent};
use crate::rng::Rng;

/// What the source has ever written. An item has its number, and the lines before it.
struct There {
    items: Vec<Item>,
    /// The first number that it still has.
    kept: u64,
    lines: u64,
}

#[derive(Clone)]
enum Item {
    Record(Record, u64),
    /// So many lines could not be written there.
    Note(u64, u64),
}

impl There {
    fn grow(&mut self, rng: &mut Rng) {
        for _ in 0..rng.below(30) {
            let seq = self.items.len() as u64;
            if rng.percent(5) {
                let lines = rng.below(4);
                self.items.push(Item::Note(lines, self.lines));
                self.lines += lines;
                continue;
            }
            let mut text = format!("<{seq}{}", "x".repeat(usize::try_from(rng.below(20)).unwrap()));
            if rng.percent(70) {
                text.push('\n');
                self.lines += 1;
            }
            let before = self.lines - u64::from(text.ends_with('\n'));
            let stream = rng.pick(&[Stream::Stdout, Stream::Stderr]);
            let time_ns = 1_000 + seq;
            let data = text.into_bytes();
            let record = Record {
                seq,
                time_ns,
                stream,
                data,
            };
            self.items.push(Item::Record(record, before));
        }
        if rng.percent(20) {
            self.kept += rng.below(self.items.len() as u64 - self.kept + 1);
        }
    }

    /// What a reader there finds from this position on. It may begin a little earlier.
    fn from(&self, position: Position, rng: &mut Rng) -> Vec<ReadItem> {
        let mut out = Vec::new();
        let earlier = position.seq - rng.below(5).min(position.seq);
        let first = earlier.max(self.kept);
        if first > position.seq {
            let before = self.items.get(usize::try_from(first).unwrap());
            let before = match before {
                Some(Item::Record(_, before) | Item::Note(_, before)) => *before,
                None => self.lines,
            };
            // A reader finds out only when something follows.
            if before_end(first, self) {
                let cause = GapCause::Rotated;
                let lines = before - position.lines;
                out.push(ReadItem::Gap { lines, cause });
            }
        }
        for (item, seq) in self.items.iter().zip(0..).skip(usize::try_from(first).unwrap()) {
            // A gap has no number by which it could be known.
            if matches!(item, Item::Note(..)) && seq < position.seq {
                continue;
            }
            out.push(match item {
                Item::Record(record, _) => ReadItem::Record(record.clone()),
                Item::Note(lines, _) => ReadItem::Gap {
                    lines: *lines,
                    cause: GapCause::Dropped,
                },
            });
        }
        out
    }
}

fn before_end(seq: u64, there: &There) -> bool {
    seq < there.items.len() as u64
}

/// One link to the source, which may break.
struct Link {
    there: There,
    rng: std::sync::Mutex<Rng>,
    whole: bool,
    /// From where it was asked.
    asked: std::sync::Mutex<Option<Position>>,
}

impl Source<Numbered> for Link {
    type Message = Vec<ReadItem>;
    type Error = Cut;

    fn ask(&self, from: Position) -> impl futures_lite::Stream<Item = Result<Vec<ReadItem>, Cut>> + Send {
        let mut rng = self.rng.lock().unwrap();
        *self.asked.lock().unwrap() = Some(from);
        let items = self.there.from(from, &mut rng);
        let most = if self.whole {
            items.len()
        } else {
            usize::try_from(rng.below(items.len() as u64 + 1)).unwrap()
        };
        let messages = parts(&items[..most], &mut rng);
        sent(messages, !self.whole)
    }

    fn size(message: &Vec<ReadItem>) -> usize {
        message.len() * 50
    }

    fn records(messages: &[Vec<ReadItem>]) -> Vec<&ReadItem> {
        messages.iter().flatten().collect()
    }
}

pub fn play(rng: &mut Rng) -> Result<(), String> {
    let dir = tempfile::tempdir().unwrap();
    let destination = Destination {
        run_dir: dir.path().to_owned(),
        limits: LogLimits {
            max_size: 300 + rng.below(2000),
            max_files: u32::try_from(2 + rng.below(100)).unwrap(),
        },
    };
    let mut there = There {
        items: Vec::new(),
        kept: 0,
        lines: 0,
    };
    let mut lost = BTreeSet::new();
    let daemons = 1 + rng.below(6);
    for daemon in 0..=daemons {
        let mirror = Arc::new(Mirror::new(Numbered::open(&destination).unwrap()));
        let last = daemon == daemons;
        for _ in 0..=rng.below(3) {
            there.grow(rng);
            there = copy(&mirror, there, rng, false, &mut lost)?;
        }
        if last {
            // It ends with something, or the end of what it says would not be known.
            let seq = there.items.len() as u64;
            let record = Record {
                seq,
                time_ns: 1_000 + seq,
                stream: Stream::Stdout,
                data: b"end\n".to_vec(),
            };
            there.items.push(Item::Record(record, there.lines));
            there.lines += 1;
            there = copy(&mirror, there, rng, true, &mut lost)?;
            mirror.finish();
        } else {
            drop(mirror);
            kill(&destination, rng);
        }
    }
    check(&destination, &there, &lost)
}

fn copy(
    mirror: &Arc<Mirror<Numbered>>,
    there: There,
    rng: &mut Rng,
    whole: bool,
    lost: &mut BTreeSet<u64>,
) -> Result<There, String> {
    let link = Link {
        there,
        rng: std::sync::Mutex::new(Rng::new(rng.next())),
        whole,
        asked: std::sync::Mutex::default(),
    };
    match block_on(mirror.copy(&link)) {
        Ok(()) | Err(CopyError::Source(Cut)) => {}
        Err(CopyError::Log(error)) => return Err(error.to_string()),
    }
    let asked = link.asked.into_inner().unwrap().ok_or("it was not asked")?;
    lost.extend(asked.seq..link.there.kept);
    Ok(link.there)
}

fn check(destination: &Destination, there: &There, lost: &BTreeSet<u64>) -> Result<(), String> {
    let (items, lines) = read(destination);
    let mut found = BTreeMap::new();
    let mut last = None;
    for item in &items {
        let ReadItem::Record(record) = item else { continue };
        if last.is_some_and(|last| record.seq <= last) {
            return Err(format!("record {} comes again", record.seq));
        }
        last = Some(record.seq);
        match there.items.get(usize::try_from(record.seq).unwrap()) {
            Some(Item::Record(same, _)) if same == record => {}
            _ => return Err(format!("record {} is not the one of the source", record.seq)),
        }
        found.insert(record.seq, record);
    }
    let Some(first) = found.keys().next().copied() else {
        return Err("nothing was copied".to_owned());
    };
    for (item, seq) in there.items.iter().zip(0..) {
        let wanted = matches!(item, Item::Record(..)) && seq >= first && !lost.contains(&seq);
        if wanted && !found.contains_key(&seq) {
            return Err(format!("record {seq} is missing"));
        }
    }
    if lines == there.lines {
        Ok(())
    } else {
        Err(format!("it counts {lines} lines instead of {}", there.lines))
    }
}
