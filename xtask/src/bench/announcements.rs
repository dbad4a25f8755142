//! A socket on which the programs of a bench report that they run.

use std::io;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::error::TaskError;

/// The message of a program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Announcement {
    /// The name that the program was given.
    pub(crate) name: String,
    /// Its pid.
    pub(crate) pid: i32,
    /// When it began, in ns of the bench's clock.
    pub(crate) begun: u64,
    /// When others could use it, in ns of the bench's clock.
    pub(crate) ready: u64,
}

/// A socket on which programs announce themselves.
pub(crate) struct Announcements {
    socket: UnixDatagram,
    path: PathBuf,
}

impl Announcements {
    /// Opens the socket in a folder.
    ///
    /// # Errors
    /// When the system refuses to open it.
    pub(crate) fn open(folder: &Path, name: &str) -> Result<Self, TaskError> {
        let path = folder.join(name);
        let socket = UnixDatagram::bind(&path).map_err(TaskError::file("listen at", &path))?;
        Ok(Self { socket, path })
    }

    /// The path of the socket.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The next announcement.
    ///
    /// # Errors
    /// When none comes in time.
    pub(crate) fn next(&self, patience: Duration) -> Result<Announcement, TaskError> {
        let read = || -> io::Result<Announcement> {
            let mut text = [0; 256];
            self.socket.set_read_timeout(Some(patience))?;
            let length = self.socket.recv(&mut text)?;
            parse(&String::from_utf8_lossy(&text[..length]))
                .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "not an announcement"))
        };
        read().map_err(TaskError::file("receive from a program at", &self.path))
    }

    /// The next announcement of the program with this name. Others are skipped.
    ///
    /// # Errors
    /// When none comes in time.
    pub(crate) fn next_of(&self, name: &str, patience: Duration) -> Result<Announcement, TaskError> {
        let deadline = Instant::now() + patience;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let heard = self.next(left.max(Duration::from_millis(1)))?;
            if heard.name == name {
                return Ok(heard);
            }
        }
    }
}

fn parse(text: &str) -> Option<Announcement> {
    let mut words = text.split(' ');
    Some(Announcement {
        name: words.next()?.to_owned(),
        pid: words.next()?.parse().ok()?,
        begun: words.next()?.parse().ok()?,
        ready: words.next()?.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_announcement_names_the_program_and_its_times() {
        let told = parse("s7 4711 100 250").unwrap();
        assert_eq!(
            (told.name.as_str(), told.pid, told.begun, told.ready),
            ("s7", 4711, 100, 250)
        );
        assert_eq!(parse("s7 x 100 250"), None);
        assert_eq!(parse("s7 1"), None);
    }
}
