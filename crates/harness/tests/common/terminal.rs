//! A `harness` on its own terminal, as a person would use it.

use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

/// A program on a pseudo-terminal. Killed when dropped.
pub(crate) struct OnTerminal {
    command: String,
    child: Child,
    said: Arc<Mutex<Vec<u8>>>,
    reader: Option<std::thread::JoinHandle<()>>,
}

impl OnTerminal {
    /// Starts a command whose stdin, stdout and stderr are a terminal.
    pub(super) fn start(words: String, mut command: std::process::Command) -> Self {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let master = openpt(flags).unwrap();
        grantpt(&master).and_then(|()| unlockpt(&master)).unwrap();
        let size = Winsize {
            ws_col: 200,
            ws_row: 50,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        tcsetwinsize(&master, size).unwrap();
        let slave: OwnedFd = ioctl_tiocgptpeer(&master, flags).unwrap();
        let end = || Stdio::from(slave.try_clone().unwrap());
        let child = command.stdin(end()).stdout(end()).stderr(end()).spawn();
        // Otherwise its copies of the other end would keep the terminal open.
        drop(command);
        let child = child.unwrap_or_else(|error| panic!("{words}: {error}"));
        let said = Arc::new(Mutex::new(Vec::new()));
        let heard = Arc::clone(&said);
        let reader = std::thread::spawn(move || {
            let (mut master, mut piece) = (File::from(master), vec![0; 16 * 1024]);
            // It fails when the other end is closed.
            while let Ok(read @ 1..) = master.read(&mut piece) {
                heard.lock().unwrap().extend_from_slice(&piece[..read]);
            }
        });
        Self {
            command: words,
            child,
            said,
            reader: Some(reader),
        }
    }

    /// The output on the terminal so far, with line breaks as they were before the terminal made two characters of
    /// each.
    pub(crate) fn said(&self) -> Vec<u8> {
        let said = self.said.lock().unwrap();
        let mut out = Vec::with_capacity(said.len());
        for (at, byte) in said.iter().enumerate() {
            if !(*byte == b'\r' && said.get(at + 1) == Some(&b'\n')) {
                out.push(*byte);
            }
        }
        out
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, signal).unwrap();
    }

    /// Waits for its end, and returns its exit code with all output on the terminal.
    pub(crate) fn wait(mut self, limit: Duration) -> (Option<i32>, Vec<u8>) {
        let deadline = Instant::now() + limit;
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            let said = String::from_utf8_lossy(&self.said()).into_owned();
            assert!(Instant::now() < deadline, "`{}` runs on\n{said}", self.command);
            std::thread::sleep(Duration::from_millis(5));
        };
        self.reader.take().unwrap().join().unwrap();
        (status.code(), self.said())
    }
}

impl Drop for OnTerminal {
    fn drop(&mut self) {
        // It may have ended already; then both fail, which is fine.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
