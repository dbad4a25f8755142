//! The base of every end-to-end test: its own home and project folder, the real `harness`, and the check afterwards
//! that nothing is left running.
//!
//! With `HARNESS_TEST_LOGS` set to a folder (`cargo xtask test` does that), the daemon's log and the output of
//! every service end up there.

#![allow(dead_code, reason = "each test program uses its part of it")]

pub(crate) mod cable;
pub(crate) mod disk;
pub(crate) mod docker;
pub(crate) mod engine;
mod logs;
pub(crate) mod proc;
mod run;
pub(crate) mod siege;
pub(crate) mod terminal;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

pub(crate) use run::{Output, Running};

/// How long a test waits for a `harness` to end.
pub(crate) const PATIENCE: Duration = Duration::from_secs(90);

/// A test's own home, project folder and environment. When it is dropped, the daemon and everything that it runs are
/// stopped. What is left after that is killed and fails the test.
pub(crate) struct Sandbox {
    name: String,
    root: TempDir,
    env: BTreeMap<String, String>,
}

impl Sandbox {
    /// `name` is the name of the test; logs are kept under it.
    pub(crate) fn new(name: &str) -> Self {
        // Paths of Unix sockets are short.
        Self::in_folder(name, tempfile::Builder::new().prefix("hx").tempdir().unwrap())
    }

    /// The same in a folder that is there already.
    pub(crate) fn in_folder(name: &str, root: TempDir) -> Self {
        // Services may run as other users, who must be able to enter; the daemon itself protects the home.
        fs::set_permissions(root.path(), fs::Permissions::from_mode(0o755)).unwrap();
        for folder in ["project", "user", "tmp"] {
            fs::create_dir(root.path().join(folder)).unwrap();
        }
        let at = |folder: &str| root.path().join(folder).to_str().unwrap().to_owned();
        let env = [
            ("HARNESS_HOME", at("home")),
            ("HARNESS_PORT", "0".to_owned()),
            ("HOME", at("user")),
            // Services inherit it, so that everything they leave behind can be recognized.
            ("TMPDIR", at("tmp")),
            ("NO_COLOR", "1".to_owned()),
        ];
        let env = env.into_iter().map(|(k, v)| (k.to_owned(), v)).collect();
        Self {
            name: name.to_owned(),
            root,
            env,
        }
    }

    /// A sandbox with this services.yaml.
    pub(crate) fn with_file(name: &str, services: &str) -> Self {
        let sandbox = Self::new(name);
        sandbox.write("services.yaml", services);
        sandbox
    }

    /// A sandbox with a copy of the files of `examples/<example>`.
    pub(crate) fn with_example(name: &str, example: &str) -> Self {
        let sandbox = Self::new(name);
        let from = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../../examples")
            .join(example);
        for entry in fs::read_dir(&from).unwrap() {
            let entry = entry.unwrap();
            if entry.file_type().unwrap().is_file() {
                fs::copy(entry.path(), sandbox.project().join(entry.file_name())).unwrap();
            }
        }
        sandbox
    }

    /// The folder of everything.
    pub(crate) fn root(&self) -> &Path {
        self.root.path()
    }

    /// The daemon's home.
    pub(crate) fn home(&self) -> PathBuf {
        self.root.path().join("home")
    }

    /// The folder with the services.yaml, in which `harness` runs.
    pub(crate) fn project(&self) -> PathBuf {
        self.root.path().join("project")
    }

    /// Sets a variable of the environment of every later `harness`.
    pub(crate) fn set_env(&mut self, name: &str, value: impl Into<String>) {
        self.env.insert(name.to_owned(), value.into());
    }

    /// Writes a file of the project.
    pub(crate) fn write(&self, file: &str, text: &str) -> PathBuf {
        let path = self.project().join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path
    }

    /// Replaces a text in a file of the project. The text must occur exactly once.
    pub(crate) fn replace(&self, file: &str, from: &str, to: &str) {
        let path = self.project().join(file);
        let text = fs::read_to_string(&path).unwrap();
        assert_eq!(text.matches(from).count(), 1, "`{from}` in {}", path.display());
        fs::write(&path, text.replace(from, to)).unwrap();
    }

    /// A file of the project.
    pub(crate) fn read(&self, file: &str) -> String {
        fs::read_to_string(self.project().join(file)).unwrap_or_default()
    }

    /// Runs `harness ARGS` in the project folder until it ends. Fails the test after [`PATIENCE`].
    pub(crate) fn harness(&self, args: &[&str]) -> Output {
        self.spawn(args).wait(PATIENCE)
    }

    /// The same in another folder.
    pub(crate) fn harness_in(&self, folder: &Path, args: &[&str]) -> Output {
        Running::start(env!("CARGO_BIN_EXE_harness"), args, folder, &self.env).wait(PATIENCE)
    }

    /// The same, and it must end with 0.
    pub(crate) fn ok(&self, args: &[&str]) -> Output {
        self.harness(args).code(0)
    }

    /// Starts `harness ARGS` in the project folder.
    pub(crate) fn spawn(&self, args: &[&str]) -> Running {
        self.command(env!("CARGO_BIN_EXE_harness"), args)
    }

    /// Starts any program in the project folder, with the sandbox's environment.
    pub(crate) fn command(&self, program: &str, args: &[&str]) -> Running {
        Running::start(program, args, &self.project(), &self.env)
    }

    /// Starts `harness ARGS` in the project folder, on its own terminal with colours.
    pub(crate) fn on_terminal(&self, args: &[&str]) -> terminal::OnTerminal {
        let program = env!("CARGO_BIN_EXE_harness");
        let mut command = run::command(program, args, &self.project(), &self.env);
        command.env_remove("NO_COLOR").env("TERM", "xterm-256color");
        terminal::OnTerminal::start(format!("{program} {}", args.join(" ")), command)
    }

    /// The output of `harness --json ARGS`, which must end with 0.
    pub(crate) fn json(&self, args: &[&str]) -> Value {
        let mut all = vec!["--json"];
        all.extend(args);
        self.ok(&all).json()
    }

    /// The `services` of `status --json`, by name.
    pub(crate) fn status(&self) -> BTreeMap<String, Value> {
        let status = self.json(&["status"]);
        let services = status["services"].as_array().expect("status has services");
        services
            .iter()
            .map(|service| (service["name"].as_str().unwrap().to_owned(), service.clone()))
            .collect()
    }

    /// One service in `status --json`.
    pub(crate) fn service(&self, name: &str) -> Value {
        self.status()
            .remove(name)
            .unwrap_or_else(|| panic!("status has no service {name}"))
    }

    /// The pid of a running service.
    pub(crate) fn pid(&self, name: &str) -> u32 {
        let service = self.service(name);
        let pid = service["pid"]
            .as_u64()
            .unwrap_or_else(|| panic!("{name} has no pid: {service}"));
        u32::try_from(pid).unwrap()
    }

    /// The pids of all running services.
    pub(crate) fn pids(&self) -> BTreeMap<String, u64> {
        Self::pids_in(&self.json(&["status"]))
    }

    /// The same from the output of another `status --json`.
    pub(crate) fn pids_in(status: &Value) -> BTreeMap<String, u64> {
        let services = status["services"].as_array().expect("status has services");
        let running =
            |service: &Value| Some((service["name"].as_str()?.to_owned(), service["pid"].as_u64()?));
        services.iter().filter_map(running).collect()
    }

    /// `STATUS/HEALTH` of a service.
    pub(crate) fn state(&self, name: &str) -> String {
        let service = self.service(name);
        let word = |key: &str| service[key].as_str().unwrap_or("null").to_owned();
        format!("{}/{}", word("status"), word("health"))
    }

    /// Waits until a service is in this `STATUS/HEALTH`.
    pub(crate) fn await_state(&self, name: &str, wanted: &str) {
        let mut last = String::new();
        eventually(&format!("{name} is {wanted}"), || {
            last = self.state(name);
            (last == wanted).then_some(())
        });
    }

    /// What the daemon writes about itself in `daemon.json`; `None` when none runs.
    pub(crate) fn daemon_json(&self) -> Option<Value> {
        let text = fs::read(self.home().join("daemon.json")).ok()?;
        serde_json::from_slice(&text).ok()
    }

    /// The daemon's pid, if one runs.
    pub(crate) fn daemon_pid(&self) -> Option<u32> {
        let pid = u32::try_from(self.daemon_json()?["pid"].as_u64()?).ok()?;
        proc::is_alive(pid).then_some(pid)
    }

    /// The daemon's port, if one runs.
    pub(crate) fn daemon_port(&self) -> Option<u16> {
        u16::try_from(self.daemon_json()?["port"].as_u64()?).ok()
    }

    /// Every process of this sandbox except the daemon and its zygote: shims, services and their descendants.
    pub(crate) fn processes(&self) -> Vec<proc::Process> {
        let daemon = self.daemon_pid();
        let mut found = proc::mentioning(self.root());
        found.retain(|process| Some(process.pid) != daemon && !process.is_zygote());
        found
    }

    /// Ends the daemon and its services, kills what is left after that, and returns it.
    fn clear(&self) -> Vec<proc::Process> {
        if self.daemon_pid().is_some() {
            let stop = self
                .spawn(&["daemon", "stop", "--services"])
                .wait_or_kill(Duration::from_secs(60));
            if stop.as_ref().is_none_or(|output| output.code != Some(0)) {
                eprintln!("{}: `daemon stop --services` failed: {stop:?}", self.name);
            }
        }
        // A process that is just ending does not count as left behind.
        let deadline = Instant::now() + Duration::from_secs(3);
        let mut left = proc::mentioning(self.root());
        while !left.is_empty() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(20));
            left = proc::mentioning(self.root());
        }
        for process in &left {
            proc::kill(process.pid);
        }
        left
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        let left = self.clear();
        logs::keep(&self.name, &self.home());
        if left.is_empty() {
            return;
        }
        let list: Vec<String> = left.iter().map(|p| format!("{} {}", p.pid, p.command)).collect();
        let message = format!("{}: left running:\n  {}", self.name, list.join("\n  "));
        if std::thread::panicking() {
            eprintln!("{message}");
        } else {
            panic!("{message}");
        }
    }
}

/// Asks until there is an answer; fails the test after 30 seconds.
pub(crate) fn eventually<T>(what: &str, ask: impl FnMut() -> Option<T>) -> T {
    within(Duration::from_secs(30), what, ask)
}

/// Asks until there is an answer; fails the test when the time is over.
pub(crate) fn within<T>(limit: Duration, what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < deadline, "not within {limit:?}: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Whether something becomes true within this time.
pub(crate) fn seen_within(limit: Duration, mut is_so: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + limit;
    while !is_so() {
        if Instant::now() > deadline {
            return false;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    true
}
