//! Notices when the home, or something in it, is removed while the daemon runs.
//!
//! | what is gone | what the daemon does |
//! |---|---|
//! | `daemon.json` | writes it again |
//! | `daemon.lock` alone | ends, and services keep running: the next daemon finds them, and there must not be two daemons |
//! | `daemon.lock`, and what the next daemon needs to find services: the run directory of a running one, or `state` and `projects/` | treats the home as removed, because somebody is emptying it |
//! | the home itself | stops all services and ends: nobody could find either of them any more |
//!
//! A home is emptied one file after the other. So when the lock is gone, the daemon watches for a while what else
//! goes.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, Instant};

use async_io::Timer;
use service_orchestration::layout::Layout;
use service_orchestration::words::chain;
use service_registry::Registry;

use crate::daemon_info::DaemonInfo;
use crate::home::Home;
use crate::lock::DaemonLock;

/// How often to look at the home.
const TICK: Duration = Duration::from_secs(2);

/// How often to look once the lock is gone.
const CLOSELY: Duration = Duration::from_millis(50);

/// If nothing else goes within this time, only the lock was removed.
const ALONE: Duration = Duration::from_secs(1);

/// The same, if something else is gone that services do not need: certificates, logs, shims, or only the store.
const WITH_OTHERS: Duration = Duration::from_secs(10);

/// What is gone, without which the daemon cannot continue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lost {
    /// Its home was removed, or another folder is in its place.
    Home,
    /// The content of its home was removed.
    Contents,
    /// Its lock file was removed.
    Lock,
}

/// Looks at the home of a running daemon.
pub(crate) struct HomeWatch {
    home: Home,
    /// Kept open, so that no other folder gets its inode number.
    folder: io::Result<File>,
    lock: DaemonLock,
    info: DaemonInfo,
    registry: Registry,
    layout: Layout,
}

impl HomeWatch {
    /// Watches the home for the daemon that has this lock.
    pub(crate) fn new(
        home: Home,
        lock: DaemonLock,
        info: DaemonInfo,
        registry: Registry,
        layout: Layout,
    ) -> Self {
        Self {
            folder: File::open(home.path()),
            home,
            lock,
            info,
            registry,
            layout,
        }
    }

    /// Returns when something is gone without which the daemon cannot continue. Calls `otherwise` after each look
    /// that found everything in place.
    pub(crate) async fn until_lost(&self, otherwise: impl Fn()) -> Lost {
        loop {
            Timer::after(TICK).await;
            // These are a few small reads of data that the kernel has in memory. A thread for them would cost more.
            match self.look() {
                Some(Lost::Lock) => return self.with_the_lock().await,
                Some(lost) => return lost,
                None => otherwise(),
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

    /// Finds out what is gone in addition to the lock.
    async fn with_the_lock(&self) -> Lost {
        let began = Instant::now();
        loop {
            if self.home_is_gone() {
                return Lost::Home;
            }
            if self.services_are_lost() {
                return Lost::Contents;
            }
            let others = [
                self.home.tls(),
                self.home.bin(),
                self.home.state(),
                self.home.logs(),
            ];
            let patience = match others.iter().any(|path| is_absent(path)) {
                true => WITH_OTHERS,
                false => ALONE,
            };
            // Another daemon has started here, and takes over what it finds.
            if !is_absent(&self.home.daemon_lock()) || began.elapsed() >= patience {
                return Lost::Lock;
            }
            Timer::after(CLOSELY).await;
        }
    }

    /// Whether the files are gone that the next daemon needs to find services.
    fn services_are_lost(&self) -> bool {
        let services = self.registry.projects().into_iter();
        let mut services = services.flat_map(|project| self.registry.services(&project.name));
        let is_lost = services.any(|service| {
            let run_dir = self
                .layout
                .generation(&service.project, &service.name, service.generation);
            service.pid.is_some() && is_absent(&run_dir)
        });
        is_lost || (is_absent(&self.home.state()) && is_absent(self.layout.projects()))
    }

    /// Whether the home is certainly gone. A disk that does not answer does not count.
    fn home_is_gone(&self) -> bool {
        let Ok(was) = &self.folder else { return false };
        match (was.metadata(), fs::metadata(self.home.path())) {
            (Ok(was), Ok(is)) => (was.dev(), was.ino()) != (is.dev(), is.ino()),
            (_, Err(error)) => error.kind() == io::ErrorKind::NotFound,
            (Err(_), _) => false,
        }
    }
}

fn is_absent(path: &Path) -> bool {
    fs::symlink_metadata(path).is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
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
        let opened = blocking_on(Registry::open(home.state()));
        let layout = Layout::new(home.path());
        HomeWatch::new(home.clone(), lock, info, opened.unwrap().registry, layout)
    }

    fn blocking_on<T>(future: impl Future<Output = T>) -> T {
        async_io::block_on(future)
    }

    /// Removes everything in the home, but not the home itself.
    fn empty(home: &Home, but: &[&str]) {
        for entry in fs::read_dir(home.path()).unwrap() {
            let entry = entry.unwrap();
            if but.contains(&entry.file_name().to_str().unwrap()) {
                continue;
            }
            match entry.file_type().unwrap().is_dir() {
                true => fs::remove_dir_all(entry.path()).unwrap(),
                false => fs::remove_file(entry.path()).unwrap(),
            }
        }
    }

    #[test]
    fn what_goes_with_the_lock_decides() {
        for (kept, lost) in [
            (&[][..], Lost::Contents),
            (&["logs", "tls"], Lost::Contents),
            (&["projects", "state", "logs", "tls", "bin"], Lost::Lock),
        ] {
            let dir = tempfile::tempdir().unwrap();
            let home = Home::at(dir.path().join("h"));
            let watch = watch(&home);
            for folder in ["projects", "tls", "bin"] {
                fs::create_dir(home.path().join(folder)).unwrap();
            }
            empty(&home, kept);
            assert_eq!(blocking_on(watch.until_lost(|| {})), lost, "{kept:?}");
        }
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
