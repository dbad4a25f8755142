//! Starts shims and waits for what they do.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use harness_shim::control::{self, Reply, Request};
use harness_shim::handshake::Handshake;
use harness_shim::log::{Lines, ReadItem, Reader, Stream};
use harness_shim::run_dir::{ExitRecord, LaunchSpec, LockState, Outcome, RunDir, StopPolicy};
use harness_shim::tree;

pub const LONG: Duration = Duration::from_secs(20);

/// The shim's program: the example of the same build.
pub fn shim_program() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let path = test
        .parent()
        .unwrap()
        .parent()
        .unwrap()
        .join("examples/shim_under_test");
    assert!(
        path.exists(),
        "{} is not built: run the tests without --test",
        path.display()
    );
    path
}

pub fn run_id() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!(
        "test-{}-{}",
        std::process::id(),
        NEXT.fetch_add(1, Ordering::Relaxed)
    )
}

/// A spec of `sh -c script` with an environment of its own.
pub fn sh(script: &str) -> LaunchSpec {
    let mut spec = LaunchSpec::new("/bin/sh", "/", run_id());
    spec.args = vec!["-c".into(), script.into()];
    spec.env = vec![("PATH".into(), "/usr/local/bin:/usr/bin:/bin".into())];
    spec.stop = quick(5000);
    spec
}

pub fn perl(script: &str) -> LaunchSpec {
    let mut spec = sh("");
    spec.program = "perl".into();
    spec.args = vec!["-e".into(), script.into()];
    spec
}

pub fn quick(grace_ms: u64) -> StopPolicy {
    StopPolicy {
        grace: Duration::from_millis(grace_ms),
        ..StopPolicy::default()
    }
}

/// A started shim. It is killed with all its descendants when this is dropped.
pub struct Run {
    pub dir: RunDir,
    pub shim: Child,
    pub handshake: Handshake,
    pub run_id: String,
    _home: Option<tempfile::TempDir>,
}

impl Run {
    pub fn start(spec: &LaunchSpec) -> Self {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("run");
        let mut run = Self::start_in(&path, spec);
        run._home = Some(home);
        run
    }

    pub fn start_in(path: &Path, spec: &LaunchSpec) -> Self {
        let dir = RunDir::create(path).unwrap();
        dir.write_spec(spec).unwrap();
        Self::start_prepared(dir, spec.run_id.clone())
    }

    pub fn start_prepared(dir: RunDir, run_id: String) -> Self {
        let lock = dir.take_lock().unwrap();
        let mut shim = Command::new(shim_program())
            .arg("supervise")
            .arg(dir.path())
            .stdin(lock)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = Vec::new();
        shim.stdout.take().unwrap().read_to_end(&mut line).unwrap();
        let handshake = Handshake::parse(&line)
            .unwrap_or_else(|| panic!("handshake {line:?}, shim says {:?}", dir.shim_messages()));
        Self {
            dir,
            shim,
            handshake,
            run_id,
            _home: None,
        }
    }

    pub fn pid(&self) -> u32 {
        match &self.handshake {
            Handshake::Started { pid, .. } => *pid,
            other => panic!("{other:?}: {}", self.dir.shim_messages()),
        }
    }

    pub fn ask(&self, request: &Request) -> Reply {
        control::request(&mut control::connect(&self.dir).unwrap(), request).unwrap()
    }

    pub fn stop(&self, policy: StopPolicy) {
        assert_eq!(self.ask(&Request::Stop(policy)), Reply::Ok);
    }

    /// Waits for the shim's end and returns the exit record.
    pub fn ended(&mut self) -> ExitRecord {
        until("the shim ends", || self.shim.try_wait().unwrap().is_some());
        assert_eq!(self.dir.lock_state().unwrap(), LockState::Free);
        assert!(!self.dir.path().join("control.sock").exists());
        assert_eq!(tree::find_by_run_id(&self.run_id).unwrap(), []);
        let record = self.dir.read_exit().unwrap();
        record.unwrap_or_else(|| panic!("no exit record: {}", self.dir.shim_messages()))
    }

    pub fn outcome(&mut self) -> Outcome {
        self.ended().outcome
    }

    /// The lines that were logged so far, of both streams.
    pub fn lines(&self) -> Vec<(Stream, String)> {
        lines(&self.dir)
    }

    pub fn stdout(&self) -> Vec<String> {
        let lines = self.lines().into_iter();
        lines
            .filter(|(stream, _)| *stream == Stream::Stdout)
            .map(|(_, line)| line)
            .collect()
    }

    /// Waits until its stdout has this line.
    pub fn says(&self, text: &str) {
        until(&format!("it says {text}"), || {
            self.stdout().iter().any(|line| line == text)
        });
    }
}

pub fn lines(dir: &RunDir) -> Vec<(Stream, String)> {
    let mut reader = Reader::open(dir.log_dir()).unwrap();
    let (mut cutter, mut out) = (Lines::new(), Vec::new());
    let mut sink = |line: harness_shim::log::Line| {
        out.push((line.stream, String::from_utf8_lossy(&line.bytes).into_owned()));
    };
    loop {
        match reader.next().unwrap() {
            ReadItem::Record(record) => cutter.push(&record, &mut sink),
            ReadItem::Gap { .. } => {}
            ReadItem::End => break,
        }
    }
    cutter.flush(&mut sink);
    out
}

impl Drop for Run {
    fn drop(&mut self) {
        let _ = self.shim.kill();
        let _ = self.shim.wait();
        let _ = tree::kill_all(&self.run_id, None);
    }
}

/// Polls for a condition.
pub fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + LONG;
    while !condition() {
        assert!(Instant::now() < deadline, "not in {LONG:?}: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

pub fn is_root() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        eprintln!("skipped: needs root");
    }
    root
}
