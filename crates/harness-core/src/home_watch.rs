//! Noticing that the home was taken from under a daemon.
//!
//! | gone | what follows |
//! |---|---|
//! | `daemon.json` | it is written again |
//! | `daemon.lock` | the daemon ends and services run on: the next one finds them, and two would not do |
//! | the home itself | services are stopped and the daemon ends: nobody could find either any more |

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use async_io::Timer;
use service_orchestration::words::chain;

use crate::daemon_info::DaemonInfo;
use crate::home::Home;
use crate::lock::DaemonLock;

/// How often it is looked at.
const TICK: Duration = Duration::from_secs(2);

/// What a daemon cannot go on without.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lost {
    /// Its home was removed, or another folder is in its place.
    Home,
    /// Its lock file was.
    Lock,
}

/// Looks at the home of a running daemon.
pub(crate) struct HomeWatch {
    home: Home,
    folder: io::Result<(u64, u64)>,
    lock: DaemonLock,
    info: DaemonInfo,
}

impl HomeWatch {
    /// For the daemon that has this lock.
    pub(crate) fn new(home: Home, lock: DaemonLock, info: DaemonInfo) -> Self {
        Self {
            folder: identify(home.path()),
            home,
            lock,
            info,
        }
    }

    /// Returns when something is gone that the daemon cannot go on without.
    pub(crate) async fn until_lost(&self) -> Lost {
        loop {
            Timer::after(TICK).await;
            // A few small reads of what the kernel has in memory: a thread for them would cost more.
            if let Some(lost) = self.look() {
                return lost;
            }
        }
    }

    fn look(&self) -> Option<Lost> {
        if self.home_is_gone() {
            return Some(Lost::Home);
        }
        if !self.lock.is_in_place(&self.home) {
            return Some(Lost::Lock);
        }
        let said = DaemonInfo::read(&self.home);
        if !matches!(&said, Ok(Some(info)) if *info == self.info) {
            match self.info.write(&self.home) {
                Ok(()) => tracing::warn!("daemon.json was removed or changed, and is written again"),
                Err(error) => tracing::warn!(error = chain(&error), "daemon.json was removed or changed"),
            }
        }
        None
    }

    /// Only what is certain counts: a disk that does not answer is no missing home.
    fn home_is_gone(&self) -> bool {
        let Ok(was) = &self.folder else { return false };
        match identify(self.home.path()) {
            Ok(is) => is != *was,
            Err(error) => error.kind() == io::ErrorKind::NotFound,
        }
    }
}

fn identify(path: &Path) -> io::Result<(u64, u64)> {
    fs::metadata(path).map(|meta| (meta.dev(), meta.ino()))
}

#[cfg(test)]
mod tests {
    use harness_model::WallTime;

    use super::*;

    fn watch(home: &Home) -> HomeWatch {
        home.ensure().unwrap();
        let info = DaemonInfo {
            pid: 7,
            port: 7,
            version: "0".to_owned(),
            boot_id: "b".to_owned(),
            started_at: WallTime(7),
        };
        info.write(home).unwrap();
        let lock = DaemonLock::take(home).unwrap().unwrap();
        HomeWatch::new(home.clone(), lock, info)
    }

    #[test]
    fn what_the_daemon_says_is_said_again() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::at(dir.path().join("h"));
        let watch = watch(&home);
        assert_eq!(watch.look(), None);
        for damage in [None, Some("{"), Some(r#"{"format":2}"#)] {
            match damage {
                None => fs::remove_file(home.daemon_json()).unwrap(),
                Some(text) => fs::write(home.daemon_json(), text).unwrap(),
            }
            assert_eq!(watch.look(), None);
            assert_eq!(
                DaemonInfo::read(&home).unwrap(),
                Some(watch.info.clone()),
                "{damage:?}"
            );
        }
    }

    #[test]
    fn a_lost_lock_and_a_lost_home_are_told_apart() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::at(dir.path().join("h"));
        let watch = watch(&home);
        fs::remove_file(home.daemon_lock()).unwrap();
        assert_eq!(watch.look(), Some(Lost::Lock));
        fs::rename(home.path(), dir.path().join("moved")).unwrap();
        assert_eq!(watch.look(), Some(Lost::Home));
        fs::create_dir(home.path()).unwrap();
        assert_eq!(watch.look(), Some(Lost::Home));
    }
}
