//! Work on the disk that the actor orders and does not wait for. It is done beside the actor's loop, one piece after
//! the other, in the order in which it was given: a disk that hangs delays nothing that does not need it.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_channel::Sender;
use blocking::unblock;

use super::driver::Tasks;
use crate::layout::remove_discarded;

type Work = Box<dyn FnOnce() -> Option<PathBuf> + Send>;

pub(super) struct Disk {
    work: Sender<Work>,
    /// The pieces that have not been done.
    open: Arc<AtomicUsize>,
}

impl Disk {
    pub(super) fn new(tasks: &Arc<Tasks<'static>>) -> Self {
        let (work, given) = async_channel::unbounded::<Work>();
        let open = Arc::new(AtomicUsize::new(0));
        let (left, removals) = (Arc::clone(&open), Arc::downgrade(tasks));
        tasks
            .spawn(async move {
                while let Ok(work) = given.recv().await {
                    let discarded = unblock(work).await;
                    left.fetch_sub(1, Ordering::Release);
                    // There may be many files to remove, and nobody waits for that.
                    if let (Some(discarded), Some(tasks)) = (discarded, removals.upgrade()) {
                        tasks
                            .spawn(unblock(move || remove_discarded(&discarded)))
                            .detach();
                    }
                }
            })
            .detach();
        Self { work, open }
    }

    /// Does this after everything that was given before. The folder that it returns is removed.
    pub(super) fn does(&self, work: impl FnOnce() -> Option<PathBuf> + Send + 'static) {
        self.open.fetch_add(1, Ordering::Relaxed);
        // The channel is unbounded, and its receiver lives as long as the actor.
        let _ = self.work.try_send(Box::new(work));
    }

    /// Completes when everything that was given so far is done.
    pub(super) fn is_done(&self) -> impl Future<Output = ()> + Send + 'static {
        let done = (self.open.load(Ordering::Acquire) > 0).then(|| {
            let (done, is_done) = async_channel::bounded::<()>(1);
            self.does(move || {
                drop(done);
                None
            });
            is_done
        });
        async move {
            if let Some(done) = done {
                // Nothing is ever sent; it is closed.
                let _ = done.recv().await;
            }
        }
    }
}
