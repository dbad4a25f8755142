//! One inotify instance for the whole process: a user may have only few of them (128 by default), and there may be a
//! follower for each service and reader. A separate thread starts with the first follower and sleeps most of the
//! time. It wakes the followers of a directory that has changed.

use std::collections::HashMap;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::Duration;

use async_channel::{Receiver, Sender};
use futures_lite::future;
use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};

use harness_shim::run_dir::{LOCK, LOG_DIR};

use crate::patience::pass;

/// New segments appear, and segments grow.
const LOG_CHANGES: WatchFlags = WatchFlags::CREATE.union(WatchFlags::MODIFY);

/// The lock is closed when its holder ends in any way. The log's directory is made for the first output.
const RUN_CHANGES: WatchFlags = WatchFlags::CLOSE_WRITE.union(WatchFlags::CREATE);

/// How often to look at a log that cannot be watched.
const BLIND: Duration = Duration::from_millis(200);

/// Who waits for changes of a directory, by watch descriptor. The kernel returns the same descriptor for the same
/// directory, and never uses one again for another.
type Watchers = HashMap<i32, Vec<Weak<Shared>>>;

struct Notifier {
    fd: OwnedFd,
    watchers: Mutex<Watchers>,
}

/// What the thread and a follower share.
#[derive(Debug)]
struct Shared {
    wake: Sender<()>,
    closing: AtomicBool,
}

/// Wakes when a run directory changes.
#[derive(Debug)]
pub(super) struct Watch {
    shared: Arc<Shared>,
    woken: Receiver<()>,
    run_dir: i32,
    /// The watch of the log's directory, or the path where that directory will be.
    log: Mutex<Result<i32, PathBuf>>,
    /// The log exists, but the system does not allow it to be watched.
    blind: AtomicBool,
}

/// What has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    /// Something was written.
    Written,
    /// The lock is being closed. The kernel reports that just before it releases the lock.
    LockClosing,
}

impl Watch {
    /// Watches a run directory and its log.
    pub(super) fn new(run_dir: &Path) -> io::Result<Self> {
        let notifier = notifier()?;
        let (wake, woken) = async_channel::bounded(1);
        let shared = Arc::new(Shared {
            wake,
            closing: AtomicBool::new(false),
        });
        // Watch the run directory first, so that the creation of the log is noticed.
        let watch = Self {
            run_dir: notifier.add(run_dir, RUN_CHANGES, &shared)?,
            log: Mutex::new(Err(run_dir.join(LOG_DIR))),
            blind: AtomicBool::new(false),
            shared,
            woken,
        };
        watch.watch_log(notifier)?;
        Ok(watch)
    }

    /// Watches the log once it exists.
    fn watch_log(&self, notifier: &Notifier) -> io::Result<()> {
        let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        let Err(path) = &*log else { return Ok(()) };
        match notifier.add(path, LOG_CHANGES, &self.shared) {
            Ok(descriptor) => *log = Ok(descriptor),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Waits for a change since the last call, or since the beginning.
    pub(super) async fn changed(&self) -> Change {
        // `self.shared` holds the sender, so the channel is never closed.
        let woken = async {
            let _ = self.woken.recv().await;
        };
        if self.blind.load(Ordering::Relaxed) {
            future::or(woken, pass(BLIND)).await;
        } else {
            woken.await;
        }
        // The system may have no watches left by now.
        let watched = notifier().and_then(|notifier| self.watch_log(notifier));
        self.blind.store(watched.is_err(), Ordering::Relaxed);
        if self.shared.closing.swap(false, Ordering::Relaxed) {
            Change::LockClosing
        } else {
            Change::Written
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let Ok(notifier) = notifier() else { return };
        let mut watchers = notifier.watchers();
        let log = self.log.get_mut().unwrap_or_else(PoisonError::into_inner);
        for descriptor in log.iter().chain([&self.run_dir]) {
            let Some(waiting) = watchers.get_mut(descriptor) else {
                continue;
            };
            waiting.retain(|one| !std::ptr::eq(one.as_ptr(), Arc::as_ptr(&self.shared)));
            if waiting.is_empty() {
                watchers.remove(descriptor);
                // This fails when the directory is gone, and its watch with it.
                let _ = inotify::remove_watch(&notifier.fd, *descriptor);
            }
        }
    }
}

fn notifier() -> io::Result<&'static Notifier> {
    static NOTIFIER: OnceLock<Notifier> = OnceLock::new();
    static STARTING: Mutex<()> = Mutex::new(());
    if let Some(notifier) = NOTIFIER.get() {
        return Ok(notifier);
    }
    let _one_at_a_time = STARTING.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(notifier) = NOTIFIER.get() {
        return Ok(notifier);
    }
    let fd = inotify::init(CreateFlags::CLOEXEC)?;
    let thread = std::thread::Builder::new().name("log-watch".to_owned());
    thread.spawn(|| NOTIFIER.wait().run())?;
    Ok(NOTIFIER.get_or_init(|| Notifier {
        fd,
        watchers: Mutex::default(),
    }))
}

impl Notifier {
    fn add(&self, dir: &Path, changes: WatchFlags, shared: &Arc<Shared>) -> io::Result<i32> {
        // Take the lock already here. Otherwise an event might come before anybody is registered to wait for it.
        let mut watchers = self.watchers();
        let descriptor = inotify::add_watch(&self.fd, dir, changes)?;
        watchers
            .entry(descriptor)
            .or_default()
            .push(Arc::downgrade(shared));
        Ok(descriptor)
    }

    fn watchers(&self) -> MutexGuard<'_, Watchers> {
        self.watchers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self) {
        let mut buffer = [const { MaybeUninit::uninit() }; 16 * 1024];
        let mut reader = inotify::Reader::new(&self.fd, &mut buffer);
        loop {
            // Reading a valid inotify descriptor fails only when a signal interrupts it.
            let Ok(event) = reader.next() else { continue };
            let closing = event.events().contains(ReadFlags::CLOSE_WRITE)
                && event
                    .file_name()
                    .is_some_and(|name| name.to_bytes() == LOCK.as_bytes());
            let mut watchers = self.watchers();
            if event.events().contains(ReadFlags::QUEUE_OVERFLOW) {
                // A lost event may have been for anybody, and may have been a closed lock.
                watchers
                    .values()
                    .flatten()
                    .for_each(|waiting| wake(waiting, true));
            } else if let Some(waiting) = watchers.get(&event.wd()) {
                waiting.iter().for_each(|waiting| wake(waiting, closing));
            }
            if event.events().contains(ReadFlags::IGNORED) {
                watchers.remove(&event.wd());
            }
        }
    }
}

fn wake(waiting: &Weak<Shared>, closing: bool) {
    if let Some(shared) = waiting.upgrade() {
        if closing {
            shared.closing.store(true, Ordering::Relaxed);
        }
        // If the channel is full, the follower is being woken already and will see this change too.
        let _ = shared.wake.try_send(());
    }
}
