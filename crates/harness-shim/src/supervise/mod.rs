//! The supervisor: starts one process, and then serves it in one thread until all of its descendants are gone.
//!
//! | module | what is in it |
//! |---|---|
//! | `start` | from the inherited descriptors to a running program |
//! | `spawn` | the fork, and writing the identity before the program runs |
//! | `event_loop` | waiting for output, clients, children and deadlines |
//! | `stopping` | the phases from running to gone |
//! | `family` | the processes of the tree: reaping, signalling, killing |
//! | `buffer` | the memory that output is read into |
//! | `clients` | connections to the control socket |
//! | `stdin` | input that waits until the process reads it |

mod buffer;
mod clients;
mod event_loop;
pub(crate) mod family;
mod spawn;
mod start;
mod stdin;
mod stopping;

use std::ffi::OsStr;
use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::ExitCode;
use std::time::SystemTime;

use crate::atomic_file::Reserved;
use crate::handshake::Handshake;
use crate::launch::{Failure, Step};
use crate::run_dir::{CONTROL_SOCKET, EXIT, ExitRecord, Outcome, SHIM_ERR};

/// Supervises what the spec of this run directory says, until it ends. Fd 0 is the lock, and fd 1 the handshake pipe.
pub(crate) fn run(run_dir: &OsStr) -> ExitCode {
    begin(run_dir, start::Inherited::take())
}

/// The same, with a lock and a handshake pipe that were passed in another way.
pub(crate) fn run_with(run_dir: &OsStr, lock: File, handshake: File) -> ExitCode {
    begin(run_dir, Ok(start::Inherited { lock, handshake }))
}

fn begin(run_dir: &OsStr, inherited: io::Result<start::Inherited>) -> ExitCode {
    let begun_ns = now_ns();
    // Nobody reads its stderr.
    std::panic::set_hook(Box::new(|panic| complain(format_args!("{panic}"))));
    let inherited = inherited.and_then(|inherited| inherited.enter(Path::new(run_dir)));
    let inherited = match inherited {
        Ok(inherited) => inherited,
        Err(error) => {
            complain_in(Path::new(run_dir), format_args!("{error}"));
            return ExitCode::FAILURE;
        }
    };
    // From now on the run directory is the working directory: its path may be long, or be renamed.
    let start::Inherited { lock, mut handshake } = inherited;
    let exit_file = match Reserved::new(Path::new(EXIT)) {
        Ok(file) => file,
        Err(error) => {
            complain(format_args!("cannot create the exit record: {error}"));
            let Failure { step, errno } = Failure::at(Step::Log)(error);
            shake(&mut handshake, &failed(step, errno));
            return ExitCode::FAILURE;
        }
    };
    let record = match start::start() {
        Ok((supervisor, identity)) => {
            shake(&mut handshake, &identity);
            drop(handshake);
            supervisor.serve()
        }
        Err(Failure { step, errno }) => {
            let record = ExitRecord {
                background: None,
                outcome: Outcome::SpawnFailed {
                    operation: step.word().to_owned(),
                    errno,
                },
                started_at_ns: begun_ns,
                ended_at_ns: now_ns(),
                stop_requested: false,
                killed: false,
                dropped_log_bytes: 0,
                dropped_log_lines: 0,
            };
            // The record exists before the starter hears of it.
            let written = exit_file.write(&record.to_text());
            let _ = std::fs::remove_file(CONTROL_SOCKET);
            shake(&mut handshake, &failed(step, errno));
            drop(lock);
            return finish(written);
        }
    };
    let written = exit_file.write(&record.to_text());
    let _ = std::fs::remove_file(CONTROL_SOCKET);
    drop(lock);
    finish(written)
}

fn finish(written: io::Result<()>) -> ExitCode {
    match written {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(format_args!("cannot write the exit record: {error}"));
            ExitCode::FAILURE
        }
    }
}

fn failed(step: Step, errno: i32) -> Handshake {
    Handshake::Failed {
        operation: step.word().to_owned(),
        errno,
    }
}

fn shake(to: &mut impl Write, handshake: &Handshake) {
    // If the starter died meanwhile, its successor reads the same from the run directory.
    let _ = to.write_all(format!("{handshake}\n").as_bytes());
}

/// Writes a message to `shim.err`, which is made for the first message.
fn complain(message: fmt::Arguments<'_>) {
    // The working directory is the run directory.
    complain_in(Path::new("."), message);
}

fn complain_in(run_dir: &Path, message: fmt::Arguments<'_>) {
    let mut options = OpenOptions::new();
    let file = options.append(true).create(true).mode(0o600);
    // If this fails, there is nobody to tell.
    if let Ok(mut file) = file.open(run_dir.join(SHIM_ERR)) {
        let _ = file.write_all(format!("harness-shim: {message}\n").as_bytes());
    }
}

/// Nanoseconds since the Unix epoch.
fn now_ns() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |d| u64::try_from(d.as_nanos()).unwrap_or(u64::MAX))
}
