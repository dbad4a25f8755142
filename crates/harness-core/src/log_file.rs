//! The daemon's own log: JSON lines with a session id, rotated.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// The size at which the log is rotated.
const MAX_SIZE: u64 = 8 * 1024 * 1024;

/// How many rotated files to keep. `daemon.log.1` is the newest.
const KEPT: u32 = 3;

/// Writes trace events to this file. `HARNESS_LOG` sets the filter (`info` by default).
pub(crate) fn init(path: &Path) -> io::Result<()> {
    let log = Log(Arc::new(Mutex::new(Rotating::open(path)?)));
    let filter = EnvFilter::try_from_env("HARNESS_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    let json = tracing_subscriber::fmt::layer()
        .json()
        .flatten_event(true)
        .with_current_span(false)
        .with_span_list(false)
        .with_writer(log);
    // A second daemon in one process (in a test) uses the log of the first.
    let _ = tracing_subscriber::registry().with(filter).with(json).try_init();
    Ok(())
}

#[derive(Clone)]
struct Log(Arc<Mutex<Rotating>>);

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;
    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

impl Write for Log {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .write_line(line)?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Opens or creates a log. Refuses a pipe, because it would block the daemon as soon as it is full.
fn open(path: &Path) -> io::Result<File> {
    // Opening a pipe only for writing would wait for a reader.
    let file = OpenOptions::new()
        .read(true)
        .append(true)
        .create(true)
        .mode(0o600)
        .open(path)?;
    if file.metadata()?.file_type().is_fifo() {
        let message = "it is a pipe (FIFO), not a regular file";
        return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
    }
    Ok(file)
}

struct Rotating {
    path: PathBuf,
    file: File,
    size: u64,
    /// The run of the daemon that a line belongs to. Several runs share the file.
    session: String,
}

impl Rotating {
    fn open(path: &Path) -> io::Result<Self> {
        let file = open(path)?;
        let size = file.metadata()?.len();
        let time = harness_model::WallTime::now().as_secs();
        let session = format!("{time:x}-{}", std::process::id());
        Ok(Self {
            path: path.to_owned(),
            file,
            size,
            session,
        })
    }

    fn write_line(&mut self, line: &[u8]) -> io::Result<()> {
        if self.size >= MAX_SIZE && self.rotate().is_err() {
            // A log that is too long is better than none. Try again after another `MAX_SIZE` bytes.
            self.size = 0;
        }
        // The formatter writes one object per line. The session becomes its first key.
        let mut out = Vec::with_capacity(line.len() + 40);
        match line.strip_prefix(b"{") {
            Some(rest) => {
                out.extend_from_slice(format!("{{\"session\":\"{}\",", self.session).as_bytes());
                out.extend_from_slice(rest);
            }
            None => out.extend_from_slice(line),
        }
        self.file.write_all(&out)?;
        self.size += out.len() as u64;
        Ok(())
    }

    fn rotate(&mut self) -> io::Result<()> {
        let numbered = |n: u32| {
            let mut name = self.path.clone().into_os_string();
            name.push(format!(".{n}"));
            PathBuf::from(name)
        };
        for n in (1..KEPT).rev() {
            // Some of them may not exist yet.
            let _ = std::fs::rename(numbered(n), numbered(n + 1));
        }
        match std::fs::rename(&self.path, numbered(1)) {
            // Somebody removed the file. Create a new one all the same.
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        self.file = open(&self.path)?;
        self.size = 0;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn full(path: &Path) -> Rotating {
        let mut log = Rotating::open(path).unwrap();
        log.size = MAX_SIZE;
        log
    }

    #[test]
    fn lines_get_the_session_and_full_files_are_put_aside() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("daemon.log");
        let mut log = Rotating::open(&path).unwrap();
        for n in 0..6 {
            log.size = MAX_SIZE;
            log.write_line(format!("{{\"n\":{n}}}\n").as_bytes()).unwrap();
        }
        let line = std::fs::read_to_string(&path).unwrap();
        assert_eq!(line, format!("{{\"session\":\"{}\",\"n\":5}}\n", log.session));
        assert!(
            std::fs::read_to_string(dir.path().join("daemon.log.3"))
                .unwrap()
                .contains("\"n\":2")
        );
        assert!(!dir.path().join("daemon.log.4").exists());
    }

    #[test]
    fn a_log_that_was_taken_away_or_cannot_be_put_aside_goes_on() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("daemon.log");
        let mut log = full(&path);
        std::fs::remove_file(&path).unwrap();
        log.write_line(b"{}\n").unwrap();
        assert!(path.exists());
        // A folder in the way cannot be replaced by a file.
        std::fs::create_dir(dir.path().join("daemon.log.1")).unwrap();
        std::fs::create_dir(dir.path().join("daemon.log.2")).unwrap();
        std::fs::write(dir.path().join("daemon.log.2/x"), "").unwrap();
        std::fs::create_dir(dir.path().join("daemon.log.3")).unwrap();
        std::fs::write(dir.path().join("daemon.log.3/x"), "").unwrap();
        log.size = MAX_SIZE;
        log.write_line(b"{\"still\":1}\n").unwrap();
        assert!(std::fs::read_to_string(&path).unwrap().contains("still"));
    }
}
