//! A connection to the engine that a test can cut, because all tests share the engine itself.

use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

/// A socket between the daemon and the engine that can be cut.
pub(crate) struct Cable {
    path: PathBuf,
    open: Arc<Mutex<Vec<UnixStream>>>,
    cut: Arc<AtomicBool>,
}

impl Cable {
    /// Connects it to the tests' engine.
    pub(crate) fn plug(path: PathBuf) -> Self {
        let listener = UnixListener::bind(&path).unwrap();
        listener.set_nonblocking(true).unwrap();
        let cable = Self {
            path,
            open: Default::default(),
            cut: Default::default(),
        };
        let (open, cut) = (cable.open.clone(), cable.cut.clone());
        std::thread::spawn(move || {
            while !cut.load(Ordering::SeqCst) {
                let Ok((near, _)) = listener.accept() else {
                    std::thread::sleep(std::time::Duration::from_millis(2));
                    continue;
                };
                near.set_nonblocking(false).unwrap();
                let far = UnixStream::connect(super::docker::socket()).unwrap();
                for (from, to) in [(&near, &far), (&far, &near)] {
                    let (mut from, mut to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
                    std::thread::spawn(move || {
                        let _ = std::io::copy(&mut from, &mut to);
                        let _ = to.shutdown(std::net::Shutdown::Write);
                    });
                }
                open.lock().unwrap().extend([near, far]);
            }
        });
        cable
    }

    /// Removes it, with every connection through it.
    pub(crate) fn cut(self) {
        self.cut.store(true, Ordering::SeqCst);
        let _ = std::fs::remove_file(&self.path);
        for stream in self.open.lock().unwrap().drain(..) {
            let _ = stream.shutdown(std::net::Shutdown::Both);
        }
    }
}
