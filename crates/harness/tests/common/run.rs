//! Programs that a test starts and waits for, with a deadline.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// How a program ended, and its output.
#[derive(Debug)]
pub(crate) struct Output {
    /// Its command line.
    pub(crate) command: String,
    /// Its exit code; none if a signal ended it.
    pub(crate) code: Option<i32>,
    /// What it wrote to stdout.
    pub(crate) stdout: String,
    /// What it wrote to stderr.
    pub(crate) stderr: String,
    /// How long it ran.
    pub(crate) elapsed: Duration,
}

impl Output {
    /// It must have ended with this code.
    #[track_caller]
    pub(crate) fn code(self, wanted: i32) -> Self {
        assert_eq!(self.code, Some(wanted), "{self}");
        self
    }

    /// Stdout must contain this.
    #[track_caller]
    pub(crate) fn says(self, text: &str) -> Self {
        assert!(self.stdout.contains(text), "no `{text}` on stdout\n{self}");
        self
    }

    /// Stderr must contain this.
    #[track_caller]
    pub(crate) fn tells(self, text: &str) -> Self {
        assert!(self.stderr.contains(text), "no `{text}` on stderr\n{self}");
        self
    }

    /// Stdout as one JSON document.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("not JSON: {error}\n{self}"))
    }
}

impl std::fmt::Display for Output {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (command, code, elapsed) = (&self.command, self.code, self.elapsed);
        let (stdout, stderr) = (end(&self.stdout), end(&self.stderr));
        write!(
            f,
            "`{command}` ended with {code:?} after {elapsed:?}\n-- stdout\n{stdout}\n-- stderr\n{stderr}"
        )
    }
}

/// A program that runs. Killed when dropped.
pub(crate) struct Running {
    command: String,
    child: Child,
    // Files and not pipes: the program continues even if nobody reads them, and a process that keeps them open does
    // not make the test wait.
    stdout: File,
    stderr: File,
    started: Instant,
}

/// A program with its own environment.
#[expect(
    clippy::disallowed_methods,
    reason = "a test starts the program it tests, as a shell would"
)]
pub(super) fn command(
    program: &str,
    args: &[&str],
    cwd: &Path,
    env: &BTreeMap<String, String>,
) -> std::process::Command {
    let mut command = std::process::Command::new(program);
    command.args(args).current_dir(cwd);
    for (name, _) in std::env::vars_os() {
        // Variables for Harness in the developer's shell must not affect the tests.
        if name.to_string_lossy().starts_with("HARNESS_") {
            command.env_remove(name);
        }
    }
    command.envs(env);
    command
}

impl Running {
    pub(super) fn start(program: &str, args: &[&str], cwd: &Path, env: &BTreeMap<String, String>) -> Self {
        let stdout = tempfile::tempfile().unwrap();
        let stderr = tempfile::tempfile().unwrap();
        let child = command(program, args, cwd, env)
            .stdin(Stdio::piped())
            .stdout(stdout.try_clone().unwrap())
            .stderr(stderr.try_clone().unwrap())
            .spawn()
            .unwrap_or_else(|error| panic!("{program}: {error}"));
        Self {
            command: format!("{program} {}", args.join(" ")),
            child,
            stdout,
            stderr,
            started: Instant::now(),
        }
    }

    /// Its pid.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Whether it has ended.
    pub(crate) fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Writes to its stdin, which stays open until it is waited for.
    pub(crate) fn type_in(&mut self, bytes: &[u8]) {
        let stdin = self.child.stdin.as_mut().expect("stdin is open");
        stdin.write_all(bytes).and_then(|()| stdin.flush()).unwrap();
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, signal).unwrap();
    }

    /// What it wrote to stdout so far.
    pub(crate) fn stdout(&self) -> String {
        text(&self.stdout)
    }

    /// What it wrote to stderr so far.
    pub(crate) fn stderr(&self) -> String {
        text(&self.stderr)
    }

    /// Waits for its end; fails the test when that takes longer.
    #[track_caller]
    pub(crate) fn wait(mut self, limit: Duration) -> Output {
        match self.end(limit) {
            Some(output) => output,
            None => {
                let (stdout, stderr) = (self.stdout(), self.stderr());
                let (stdout, stderr) = (end(&stdout), end(&stderr));
                let command = &self.command;
                panic!("`{command}` runs for longer than {limit:?}\n-- stdout\n{stdout}\n-- stderr\n{stderr}")
            }
        }
    }

    /// Waits for its end; kills it when that takes longer.
    pub(crate) fn wait_or_kill(mut self, limit: Duration) -> Option<Output> {
        self.end(limit)
    }

    fn end(&mut self, limit: Duration) -> Option<Output> {
        drop(self.child.stdin.take());
        let deadline = Instant::now() + limit;
        let status = loop {
            match self.child.try_wait().unwrap() {
                Some(status) => break status,
                None if Instant::now() > deadline => return None,
                None => std::thread::sleep(Duration::from_millis(5)),
            }
        };
        Some(Output {
            command: self.command.clone(),
            code: status.code(),
            stdout: self.stdout(),
            stderr: self.stderr(),
            elapsed: self.started.elapsed(),
        })
    }
}

/// The end of an output, for a message: some tests read hundreds of megabytes.
fn end(text: &str) -> &str {
    let start = text.len().saturating_sub(8 * 1024);
    let start = (start..text.len()).find(|at| text.is_char_boundary(*at));
    &text[start.unwrap_or(0)..]
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended already; then both fail, which is fine.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn text(file: &File) -> String {
    // Read by offset: the position is shared with the program that writes.
    let mut bytes = Vec::new();
    let mut chunk = vec![0; 64 * 1024];
    loop {
        match file.read_at(&mut chunk, bytes.len() as u64).unwrap() {
            0 => return String::from_utf8_lossy(&bytes).into_owned(),
            read => bytes.extend_from_slice(&chunk[..read]),
        }
    }
}
