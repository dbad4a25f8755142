//! An engine: each stream has times of its own, the pieces of a long line all have the time of its first one, and it
//! tells everything since a second again.

use std::sync::{Arc, Mutex};

use futures_lite::future::block_on;
use harness_model::WallTime;
use service_orchestration::mirror::{
    CopyError, Destination, LogLimits, Mirror, ReadItem, Source, Stream, Timed, TimedRecord,
};

use super::{Cut, kill, parts, read, sent};
use crate::rng::Rng;

const SECOND: u64 = 1_000_000_000;

/// What happens besides cuts and kills.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The mirror keeps everything.
    Whole,
    /// The mirror rotates.
    Rotating,
    /// Somebody shows unfinished lines.
    Ahead,
}

#[derive(Clone, Debug)]
struct Told {
    time_ns: u64,
    stream: Stream,
    text: String,
}

const STREAMS: [Stream; 2] = [Stream::Stdout, Stream::Stderr];

/// A container that writes.
struct There {
    told: Vec<Told>,
    now: u64,
    /// The time of the last record of a stream, and of its unfinished line.
    last: [u64; 2],
    open: [Option<u64>; 2],
    pieces: bool,
}

impl There {
    fn new(kind: Kind) -> Self {
        let now = match kind {
            // What is shown ahead has the time of this machine.
            Kind::Ahead => WallTime::now().0,
            _ => 1000 * SECOND,
        };
        Self {
            told: Vec::new(),
            now,
            last: [0; 2],
            open: [None; 2],
            pieces: kind != Kind::Ahead,
        }
    }

    fn grow(&mut self, rng: &mut Rng) {
        for _ in 0..rng.below(20) {
            let at = usize::try_from(rng.below(2)).unwrap();
            self.now += match rng.below(10) {
                0 if self.pieces => rng.below(3 * SECOND),
                1..=3 if self.pieces => rng.below(SECOND / 100),
                _ => 1 + rng.below(50),
            };
            let late = if self.pieces { rng.below(SECOND / 2) } else { 0 };
            let own = (self.now - late).max(self.last[at] + 2);
            let time_ns = self.open[at].unwrap_or(own);
            self.last[at] = self.last[at].max(time_ns);
            // The other stream never has the same time.
            let time_ns = time_ns / 2 * 2 + at as u64;
            let number = self.told.len();
            let text = if self.pieces && rng.percent(30) {
                let text = if rng.percent(50) { "piece" } else { "same" };
                self.open[at] = Some(time_ns);
                text.to_owned()
            } else {
                self.open[at] = None;
                format!("{number}\n")
            };
            self.told.push(Told {
                time_ns,
                stream: STREAMS[at],
                text,
            });
        }
    }

    fn text(&self, stream: Stream) -> String {
        let own = self.told.iter().filter(|told| told.stream == stream);
        own.map(|told| told.text.as_str()).collect()
    }
}

struct Engine<'a> {
    told: &'a [Told],
    rng: Mutex<Rng>,
    whole: bool,
}

impl Source<Timed> for Engine<'_> {
    type Message = Vec<Told>;
    type Error = Cut;

    fn ask(&self, from: WallTime) -> impl futures_lite::Stream<Item = Result<Vec<Told>, Cut>> + Send {
        let mut rng = self.rng.lock().unwrap();
        let told = self.told.iter().filter(|told| told.time_ns >= from.0);
        let told: Vec<Told> = told.cloned().collect();
        let most = if self.whole {
            told.len()
        } else {
            usize::try_from(rng.below(told.len() as u64 + 1)).unwrap()
        };
        sent(parts(&told[..most], &mut rng), !self.whole)
    }

    fn size(message: &Vec<Told>) -> usize {
        message.len() * 50
    }

    fn records(messages: &[Vec<Told>]) -> Vec<TimedRecord<'_>> {
        let told = messages.iter().flatten();
        told.map(|told| TimedRecord {
            time_ns: told.time_ns,
            stream: told.stream,
            bytes: told.text.as_bytes(),
        })
        .collect()
    }
}

pub fn play(rng: &mut Rng, kind: Kind) -> Result<(), String> {
    let dir = tempfile::tempdir().unwrap();
    let limits = match kind {
        Kind::Rotating => LogLimits {
            max_size: 400 + rng.below(600),
            max_files: u32::try_from(2 + rng.below(3)).unwrap(),
        },
        Kind::Whole | Kind::Ahead => LogLimits {
            max_size: 500 + rng.below(2000),
            max_files: 10_000,
        },
    };
    let destination = Destination {
        run_dir: dir.path().to_owned(),
        limits,
    };
    let mut there = There::new(kind);
    let daemons = 1 + rng.below(6);
    for daemon in 0..=daemons {
        let mirror = Arc::new(Mirror::new(Timed::open(&destination).unwrap()));
        for _ in 0..=rng.below(3) {
            there.grow(rng);
            if kind == Kind::Ahead {
                there.now = there.now.max(WallTime::now().0);
            }
            copy(&mirror, &there, rng, false)?;
            if kind == Kind::Ahead && rng.percent(50) {
                copy(&mirror, &there, rng, true)?;
                show(&mirror, &mut there, rng, daemon == 0);
            }
            // Whoever reads the log sees no more than was written, in its order.
            check(&destination, &there, false)?;
        }
        if daemon == daemons {
            copy(&mirror, &there, rng, true)?;
            copy(&mirror, &there, rng, true)?;
            mirror.finish();
        } else {
            drop(mirror);
            kill(&destination, rng);
        }
    }
    check(&destination, &there, kind != Kind::Rotating)
}

/// Somebody is attached and sees the beginning of the next line. The engine tells the line when it is complete.
fn show(mirror: &Mirror<Timed>, there: &mut There, rng: &mut Rng, from_start: bool) {
    let at = usize::try_from(rng.below(2)).unwrap();
    let stream = STREAMS[at];
    let own = || there.told.iter().filter(|told| told.stream == stream);
    let before = own().next_back().map_or("", |told| told.text.as_str());
    let completed = from_start.then(|| own().count() as u64);
    let line = format!("name {}> joe\n", there.told.len());
    let mut shown = 0;
    for _ in 0..=rng.below(2) {
        shown = (shown + 1 + usize::try_from(rng.below(4)).unwrap()).min(line.len() - 1);
        mirror.with(|log| log.show(stream, &line.as_bytes()[..shown], before.as_bytes(), completed));
    }
    // It ends a moment later.
    there.now = there.now.max(WallTime::now().0 + 1);
    let time_ns = there.now.max(there.last[at] + 2) / 2 * 2 + at as u64;
    there.last[at] = time_ns;
    there.told.push(Told {
        time_ns,
        stream,
        text: line,
    });
}

fn copy(mirror: &Arc<Mirror<Timed>>, there: &There, rng: &mut Rng, whole: bool) -> Result<(), String> {
    let engine = Engine {
        told: &there.told,
        rng: Mutex::new(Rng::new(rng.next())),
        whole,
    };
    match block_on(mirror.copy(&engine)) {
        Ok(()) | Err(CopyError::Source(Cut)) => Ok(()),
        Err(CopyError::Log(error)) => Err(error.to_string()),
    }
}

/// The text of each stream is the one of the source: all of it, or what is left of it.
fn check(destination: &Destination, there: &There, whole: bool) -> Result<(), String> {
    let (items, _) = read(destination);
    for stream in STREAMS {
        let mut text = String::new();
        for item in &items {
            match item {
                ReadItem::Record(record) if record.stream == stream => {
                    text.push_str(std::str::from_utf8(&record.data).unwrap());
                }
                _ => {}
            }
        }
        let wanted = there.text(stream);
        let fits = if whole {
            text == wanted
        } else {
            wanted.contains(&text)
        };
        if !fits {
            return Err(format!("{stream:?} is {text:?} instead of {wanted:?}"));
        }
    }
    Ok(())
}
