//! One inotify instance for the whole process: a user may have few of them (128 by default), and there may be
//! a follower for each service and reader. A thread of its own, started with the first follower and asleep
//! otherwise, wakes those whose directory has changed.

use std::collections::HashMap;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};

use async_channel::{Receiver, Sender};
use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};

use harness_shim::run_dir::{LOCK, LOG_DIR};

/// Segments are begun and grow.
const LOG_CHANGES: WatchFlags = WatchFlags::CREATE.union(WatchFlags::MODIFY);

/// The lock is closed when its holder ends, however it ends.
const RUN_CHANGES: WatchFlags = WatchFlags::CLOSE_WRITE;

/// Who waits for changes of a directory, by watch descriptor. The kernel gives the same one for the same
/// directory, and never gives one again.
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
    watched: Vec<i32>,
}

/// What has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    /// Something was written.
    Written,
    /// The lock is being closed. The kernel tells so just before it releases it.
    LockClosing,
}

impl Watch {
    /// Watches a run directory and its log.
    pub(super) fn new(run_dir: &Path) -> io::Result<Self> {
        let notifier = notifier()?;
        let (wake, woken) = async_channel::bounded(1);
        let mut watch = Self {
            shared: Arc::new(Shared {
                wake,
                closing: AtomicBool::new(false),
            }),
            woken,
            watched: Vec::new(),
        };
        // On an error, dropping the watch takes back what was added.
        let mut watchers = notifier.watchers();
        for (dir, changes) in [
            (run_dir.join(LOG_DIR), LOG_CHANGES),
            (run_dir.to_path_buf(), RUN_CHANGES),
        ] {
            match inotify::add_watch(&notifier.fd, dir, changes) {
                Ok(descriptor) => {
                    watch.watched.push(descriptor);
                    watchers
                        .entry(descriptor)
                        .or_default()
                        .push(Arc::downgrade(&watch.shared));
                }
                Err(error) => {
                    drop(watchers);
                    return Err(error.into());
                }
            }
        }
        drop(watchers);
        Ok(watch)
    }

    /// Waits for a change since the last call, or since the beginning.
    pub(super) async fn changed(&self) -> Change {
        // The sender is held by `self.shared`, so the channel is never closed.
        let _ = self.woken.recv().await;
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
        for descriptor in &self.watched {
            let Some(waiting) = watchers.get_mut(descriptor) else {
                continue;
            };
            waiting.retain(|one| !std::ptr::eq(one.as_ptr(), Arc::as_ptr(&self.shared)));
            if waiting.is_empty() {
                watchers.remove(descriptor);
                // It fails when the directory is gone, and its watch with it.
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
    fn watchers(&self) -> MutexGuard<'_, Watchers> {
        self.watchers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self) {
        let mut buffer = [const { MaybeUninit::uninit() }; 16 * 1024];
        let mut reader = inotify::Reader::new(&self.fd, &mut buffer);
        loop {
            // Reading a valid inotify descriptor fails only when a signal interrupts it.
            let Ok(event) = reader.next() else { continue };
            let closing = event
                .file_name()
                .is_some_and(|name| name.to_bytes() == LOCK.as_bytes());
            let mut watchers = self.watchers();
            if event.events().contains(ReadFlags::QUEUE_OVERFLOW) {
                // What was lost may have been anybody's, and a closed lock.
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
        // Full: it is being woken already, and will see this change too.
        let _ = shared.wake.try_send(());
    }
}
