//! What both kinds of sources share: how a copy is cut off, and how a daemon is killed.

pub mod numbered;
pub mod timed;

use std::fs::OpenOptions;
use std::path::{Path, PathBuf};

use futures_lite::stream::{self, Stream};
use harness_shim::log::{ReadItem, Reader};
use service_orchestration::mirror::Destination;

use crate::rng::Rng;

/// The link to the source broke.
#[derive(Debug)]
pub struct Cut;

/// What a copy is sent before the link breaks, or all of it.
pub fn sent<M: Send>(messages: Vec<M>, cut: bool) -> impl Stream<Item = Result<M, Cut>> + Send {
    let end = cut.then_some(Err(Cut));
    stream::iter(messages.into_iter().map(Ok).chain(end))
}

/// Parts of random sizes.
pub fn parts<T: Clone>(items: &[T], rng: &mut Rng) -> Vec<Vec<T>> {
    let mut parts = Vec::new();
    let mut rest = items;
    while !rest.is_empty() {
        let size = usize::try_from(1 + rng.below(8)).unwrap().min(rest.len());
        let (part, after) = rest.split_at(size);
        parts.push(part.to_vec());
        rest = after;
    }
    parts
}

/// Leaves the log as if the daemon had been killed at some moment while it wrote the last segment.
pub fn kill(destination: &Destination, rng: &mut Rng) {
    let Some(last) = segments(&log(destination)).pop() else {
        return;
    };
    let file = OpenOptions::new().write(true).open(last).unwrap();
    let size = file.metadata().unwrap().len();
    let size = if rng.percent(50) {
        size
    } else {
        size - rng.below(size.min(300) + 1)
    };
    file.set_len(size).unwrap();
}

pub fn log(destination: &Destination) -> PathBuf {
    destination.run_dir.join(harness_shim::run_dir::LOG_DIR)
}

fn segments(log: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(log) else {
        return Vec::new();
    };
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

/// Everything in a log, and how many lines it counts.
pub fn read(destination: &Destination) -> (Vec<ReadItem>, u64) {
    let mut reader = Reader::open(log(destination)).unwrap();
    let mut items = Vec::new();
    loop {
        match reader.next().unwrap() {
            ReadItem::End => return (items, reader.lines_seen()),
            item => items.push(item),
        }
    }
}
