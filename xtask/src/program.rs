//! Runs other programs.

#![expect(
    clippy::disallowed_methods,
    reason = "a task is a script: it runs programs on this terminal, and needs no layer for that"
)]

use std::ffi::OsStr;
use std::fs::File;
use std::io::{PipeReader, Read, Write};
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use crate::error::TaskError;
use crate::root;

/// How long to wait for output that a program wrote before its end.
const DRAIN: Duration = Duration::from_secs(2);

/// A program to run in the root of the workspace. The developer sees its command before it runs.
pub(crate) struct Program {
    command: Command,
    words: String,
}

impl Program {
    /// A program, by its name or path.
    pub(crate) fn new(program: impl AsRef<OsStr>) -> Self {
        let words = short(program.as_ref());
        let mut command = Command::new(program);
        command.current_dir(root());
        Self { command, words }
    }

    /// The cargo that runs this task.
    pub(crate) fn cargo() -> Self {
        let mut cargo = Self::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        cargo.words = "cargo".to_owned();
        // `cargo run` sets variables about this task's package. If build scripts look at them, they run again, and
        // half of the workspace is compiled again, whenever somebody alternates between a task and plain cargo.
        for (name, _) in std::env::vars_os() {
            let name = name.to_string_lossy();
            if name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_") {
                cargo.command.env_remove(&*name);
            }
        }
        cargo
    }

    /// Adds arguments.
    pub(crate) fn args<A: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = A>) -> Self {
        for arg in args {
            self.words.push(' ');
            self.words.push_str(&short(arg.as_ref()));
            self.command.arg(arg);
        }
        self
    }

    /// Sets a variable of its environment.
    pub(crate) fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// Runs it on this terminal. It must end with 0.
    pub(crate) fn run(mut self) -> Result<(), TaskError> {
        eprintln!("$ {}", self.words);
        let status = self.command.status().map_err(spawn_error(&self.words))?;
        self.succeeded(status)
    }

    /// Removes everything from its environment except PATH.
    pub(crate) fn only_path(mut self) -> Self {
        self.command.env_clear();
        self.env("PATH", std::env::var_os("PATH").unwrap_or_default())
    }

    /// Sets the folder to run it in.
    pub(crate) fn directory(mut self, folder: impl AsRef<Path>) -> Self {
        self.command.current_dir(folder);
        self
    }

    /// Runs it and returns its output, without showing anything except its errors. It must end with 0.
    pub(crate) fn output(mut self) -> Result<String, TaskError> {
        let done = self
            .command
            .stdin(Stdio::null())
            .output()
            .map_err(spawn_error(&self.words))?;
        if done.status.success() {
            return Ok(String::from_utf8_lossy(&done.stdout).into_owned());
        }
        Err(TaskError::Refused {
            command: self.words,
            status: done.status,
            said: String::from_utf8_lossy(&done.stderr).trim().to_owned(),
        })
    }

    /// Runs it without showing anything. It must end with 0.
    pub(crate) fn run_quietly(self) -> Result<(), TaskError> {
        self.output().map(drop)
    }

    /// Runs it with all of its output in a file, so that nothing reaches this terminal.
    pub(crate) fn logged(mut self, log: &Path) -> Result<(), TaskError> {
        let file = File::create(log).map_err(TaskError::file("create", log))?;
        let both = file.try_clone().map_err(TaskError::file("open", log))?;
        let command = self.command.stdin(Stdio::null()).stdout(file).stderr(both);
        let status = command.status().map_err(spawn_error(&self.words))?;
        self.succeeded(status)
    }

    /// Runs it without showing anything. Returns whether it ended with 0.
    pub(crate) fn succeeds(mut self) -> bool {
        let quiet = self
            .command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        quiet.status().is_ok_and(|status| status.success())
    }

    /// Runs it on this terminal and copies its output to a file. The file is complete at the end, even if something
    /// is left running that keeps the output open. The program must end with 0.
    pub(crate) fn run_recorded(mut self, copy: &Path) -> Result<(), TaskError> {
        eprintln!("$ {}", self.words);
        let file = File::create(copy).map_err(TaskError::file("create", copy))?;
        let (reader, writer) = std::io::pipe().map_err(spawn_error(&self.words))?;
        let both = writer.try_clone().map_err(spawn_error(&self.words))?;
        let mut child = self
            .command
            .stdin(Stdio::null())
            .stdout(writer)
            .stderr(both)
            .spawn()
            .map_err(spawn_error(&self.words))?;
        // The command also holds the other end of the pipe.
        self.command.stdout(Stdio::null()).stderr(Stdio::null());
        let (drained, wait) = mpsc::channel();
        std::thread::spawn(move || {
            tee(reader, file);
            // The receiver may have given up.
            let _ = drained.send(());
        });
        let status = child.wait().map_err(spawn_error(&self.words))?;
        // If it is late, somebody else keeps the pipe open. The search for leftovers reports that.
        let _ = wait.recv_timeout(DRAIN);
        self.succeeded(status)
    }

    fn succeeded(self, status: ExitStatus) -> Result<(), TaskError> {
        if status.success() {
            return Ok(());
        }
        Err(TaskError::Failed {
            command: self.words,
            status,
        })
    }
}

/// Whether a program is in PATH.
pub(crate) fn in_path(name: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(name).is_file())
}

fn tee(mut from: PipeReader, mut file: File) {
    let mut chunk = [0; 16 * 1024];
    while let Ok(read @ 1..) = from.read(&mut chunk) {
        // The tests go on, even if their output cannot be shown.
        let _ = std::io::stdout().write_all(&chunk[..read]);
        let _ = file.write_all(&chunk[..read]);
    }
}

/// A word as a developer would type it.
fn short(word: &OsStr) -> String {
    let path = Path::new(word);
    let here = std::env::current_dir().ok();
    match here.and_then(|here| path.strip_prefix(here).ok().map(Path::to_owned)) {
        Some(inside) if inside.as_os_str().is_empty() => ".".to_owned(),
        Some(inside) => inside.display().to_string(),
        None => path.display().to_string(),
    }
}

fn spawn_error(words: &str) -> impl FnOnce(std::io::Error) -> TaskError {
    let command = words.to_owned();
    |source| TaskError::Spawn { command, source }
}
