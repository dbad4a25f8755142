//! Capture of 1 GiB of lines of 100 bytes, compared with `cat > file` of the same on the same file system. What was
//! captured is compared with what was written, byte by byte.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Instant;

use crate::bench::home::Home;
use crate::bench::program::{self, LINE, line};
use crate::bench::stats::Unit;
use crate::bench::table::{Row, Target};
use crate::bench::{Bench, alternate, command};
use crate::error::TaskError;

const GIB: u64 = 1 << 30;
const LINES: u64 = GIB / LINE as u64 + 1;

/// The beginning of a segment, and the lengths of the headers (see DAEMON.md).
const MAGIC: &[u8] = b"HRNSLOG\n";
const SEGMENT_HEADER: usize = 36;
const RECORD_HEADER: usize = 24;

/// Measures 1 GiB.
pub(crate) fn measure(bench: &Bench) -> Result<Vec<Row>, TaskError> {
    let room = rustix::fs::statvfs(&bench.temporary)
        .map_err(|source| TaskError::file("look at", &bench.temporary)(source.into()))?;
    if room.f_bavail * room.f_frsize < 4 * GIB {
        let path = bench.temporary.display();
        return Err(TaskError::Bench(format!("less than 4 GiB are free at {path}")));
    }
    let (baseline, measured) = alternate(bench.runs, || copy(bench), || capture(bench))?;
    Ok(vec![Row {
        figure: "capture of 1 GiB of lines (over `cat > file`)".to_owned(),
        unit: Unit::Seconds,
        measured,
        baseline: Some(baseline),
        target: Target::Ratio(1.5),
    }])
}

fn copy(bench: &Bench) -> Result<f64, TaskError> {
    let path = bench.temporary.join("copy");
    let file = File::create(&path).map_err(TaskError::file("create", &path))?;
    let begun = Instant::now();
    let mut writer = command(&bench.own)
        .args([program::WORD, "lines", &LINES.to_string()])
        .env("TMPDIR", &bench.temporary)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(TaskError::file("run", &bench.own))?;
    let mut cat = command("cat");
    cat.stdout(file).env("TMPDIR", &bench.temporary);
    if let Some(lines) = writer.stdout.take() {
        cat.stdin(lines);
    }
    let status = cat.status().map_err(TaskError::file("run", "cat"))?;
    // Close this process's end of the pipe, in case cat did not read everything.
    drop(cat);
    let written = writer.wait().map_err(TaskError::file("wait for", &bench.own))?;
    let took = begun.elapsed().as_secs_f64();
    let length = fs::metadata(&path)
        .map_err(TaskError::file("look at", &path))?
        .len();
    fs::remove_file(&path).map_err(TaskError::file("remove", &path))?;
    if status.success() && written.success() && length == LINES * LINE as u64 {
        return Ok(took);
    }
    Err(TaskError::Bench(format!("`cat > file` wrote {length} bytes")))
}

/// From the start of `harness start` until it returns, when the service has completed. Each run has a home of its
/// own, so that its gigabyte does not meet that of another run.
fn capture(bench: &Bench) -> Result<f64, TaskError> {
    let service = format!(
        "  lines: {{type: process, oneshot: true, binary: {:?}, args: [{}, lines, \"{LINES}\"], \
         logs: {{max_size: 64MiB, max_files: 64}}, startup_timeout: 600}}\n",
        bench.own,
        program::WORD
    );
    let home = Home::with_daemon(bench, "logs", &service)?;
    let took = home.run(&["start"])?;
    captured(&home, LINES)?;
    Ok(took)
}

/// Checks that the log of the service `lines` contains these lines, each once and in order.
pub(super) fn captured(home: &Home, lines: u64) -> Result<(), TaskError> {
    let mut next = Expected::default();
    for segment in segments(&home.path().join("projects/bench/lines"))? {
        let bytes = fs::read(&segment).map_err(TaskError::file("read", &segment))?;
        let mut records = bytes
            .strip_prefix(MAGIC)
            .and_then(|_| bytes.get(SEGMENT_HEADER..))
            .ok_or_else(|| TaskError::Bench(format!("{} is not a segment", segment.display())))?;
        while let Some((payload, rest)) = record(records) {
            next.take(payload)?;
            records = rest;
        }
    }
    if next.lines == lines && next.part == 0 {
        return Ok(());
    }
    Err(TaskError::Bench(format!(
        "{} of {lines} lines were captured",
        next.lines
    )))
}

/// The bytes of the first record, and what follows it.
fn record(records: &[u8]) -> Option<(&[u8], &[u8])> {
    let length = records.get(16..20)?.try_into().ok()?;
    let rest = records.get(RECORD_HEADER..)?;
    rest.split_at_checked(u32::from_le_bytes(length) as usize)
}

/// The segments of a service with a single run, oldest first.
fn segments(service: &Path) -> Result<Vec<PathBuf>, TaskError> {
    let mut all = Vec::new();
    for generation in list(service)? {
        let log = generation.join("log");
        if log.is_dir() {
            all.extend(list(&log)?);
        }
    }
    all.sort();
    Ok(all)
}

fn list(folder: &Path) -> Result<Vec<PathBuf>, TaskError> {
    let entries = fs::read_dir(folder).map_err(TaskError::file("read", folder))?;
    Ok(entries.flatten().map(|entry| entry.path()).collect())
}

/// Checks lines as they come: they must be in order, with nothing in between.
#[derive(Default)]
struct Expected {
    lines: u64,
    part: usize,
}

impl Expected {
    fn take(&mut self, mut bytes: &[u8]) -> Result<(), TaskError> {
        while !bytes.is_empty() {
            let wanted = line(self.lines);
            let rest = &wanted[self.part..];
            let (now, later) = bytes.split_at(rest.len().min(bytes.len()));
            if rest[..now.len()] != *now {
                return Err(TaskError::Bench(format!(
                    "line {} was captured wrong",
                    self.lines
                )));
            }
            self.part += now.len();
            if self.part == LINE {
                self.part = 0;
                self.lines += 1;
            }
            bytes = later;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_followed_across_records() {
        let text: Vec<u8> = (0..7).flat_map(line).collect();
        let mut next = Expected::default();
        for chunk in text.chunks(33) {
            next.take(chunk).unwrap();
        }
        assert_eq!((next.lines, next.part), (7, 0));
        assert!(next.take(&line(8)).is_err(), "line 7 is missing");
    }

    #[test]
    fn records_are_cut_at_their_lengths() {
        let mut bytes = vec![0; RECORD_HEADER];
        bytes[16] = 3;
        bytes.extend(b"abcdef");
        assert_eq!(record(&bytes), Some((&b"abc"[..], &b"def"[..])));
        bytes[16] = 7;
        assert_eq!(record(&bytes), None);
        assert_eq!(record(&[]), None);
    }
}
