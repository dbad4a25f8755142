//! Keeps the logs of a test under `$HARNESS_TEST_LOGS`: the daemon's in `harness.log`, those of services in
//! `services/<test>/`.

use std::fs::{self, File, OpenOptions};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use harness_shim::log::{Lines, ReadItem, Reader};
use harness_shim::run_dir::LOG_DIR;

/// How many of the last lines of a service are kept.
const LINES: u64 = 5_000;

/// Copies the logs of a home. Leaves out what it cannot read: the logs are for people, and the test is over.
pub(super) fn keep(test: &str, home: &Path) {
    let Some(folder) = std::env::var_os("HARNESS_TEST_LOGS").map(PathBuf::from) else {
        return;
    };
    if let Err(error) = daemon(test, home, &folder) {
        eprintln!("{test}: cannot keep the daemon's log: {error}");
    }
    for run in run_directories(home) {
        if let Err(error) = service(test, home, &run, &folder) {
            eprintln!("{test}: cannot keep the log of {}: {error}", run.display());
        }
    }
}

fn daemon(test: &str, home: &Path, folder: &Path) -> std::io::Result<()> {
    let Ok(text) = fs::read_to_string(home.join("logs/daemon.log")) else {
        return Ok(());
    };
    // One write: tests end at the same time and share the file.
    let named: String = text
        .lines()
        .filter_map(|line| line.strip_prefix('{'))
        .map(|rest| format!("{{\"test\":\"{test}\",{rest}\n"))
        .collect();
    let mut log = OpenOptions::new()
        .create(true)
        .append(true)
        .open(folder.join("harness.log"))?;
    log.write_all(named.as_bytes())
}

fn service(test: &str, home: &Path, run: &Path, folder: &Path) -> Result<(), Box<dyn std::error::Error>> {
    let name: Vec<_> = run
        .strip_prefix(home.join("projects"))?
        .iter()
        .map(|part| part.to_string_lossy())
        .collect();
    let folder = folder.join("services").join(test);
    fs::create_dir_all(&folder)?;
    let mut out = BufWriter::new(File::create(folder.join(format!("{}.log", name.join("-"))))?);
    let mut reader = Reader::open_tail(run.join(LOG_DIR), LINES)?;
    let mut lines = Lines::new();
    let mut cut = Vec::new();
    loop {
        match reader.next()? {
            ReadItem::Record(record) => lines.push(&record, |line| cut.push(line)),
            ReadItem::Gap { lines, cause } => writeln!(out, "-- {lines} lines are missing: {cause:?}")?,
            ReadItem::End => break,
        }
        for line in cut.drain(..) {
            out.write_all(&line.bytes)?;
            out.write_all(b"\n")?;
        }
    }
    lines.flush(|line| cut.push(line));
    for line in cut {
        out.write_all(&line.bytes)?;
        out.write_all(b"\n")?;
    }
    Ok(out.flush()?)
}

/// `projects/<project>/<service>/<generation>/` below a home.
fn run_directories(home: &Path) -> Vec<PathBuf> {
    let mut folders = vec![home.join("projects")];
    for _ in 0..3 {
        folders = folders
            .iter()
            .flat_map(|folder| fs::read_dir(folder).into_iter().flatten().flatten())
            .map(|entry| entry.path())
            .filter(|path| path.is_dir())
            .collect();
    }
    folders.sort();
    folders
}
