//! One run that uses secrets everywhere, and afterwards a search for them everywhere: in every file of the home, in
//! the output of every verb, in every argument list of the machine, and in what the daemon prints and leaves when it
//! dies.

#![cfg(test)]

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use common::{Output, PATIENCE, Running, Sandbox, eventually, proc};
use rustix::process::Signal;

/// Texts that must not appear. None appears by chance, and the escapes of JSON and shells do not change them.
const SECRETS: [&str; 8] = [
    "quagga-listed-7140352918",
    "quagga-password-3388127",
    "quagga-token-9921750",
    "quagga-quoted-1",
    "quagga-back-2",
    "quagga-first-line-6120",
    "quagga-second-line-6121",
    "quagga-url-4451",
];

/// How services write secrets: whole, in two writes, across the end of a line that is cut, as one long line, and
/// again and again.
const KEEPER: &str = r#"
echo "whole: $PIN, $DB_PASSWORD, $API_TOKEN and $ODD_SECRET"
echo "$TLS_PRIVATE_KEY" >&2
begin=${PIN%?????????}
printf 'in two: %s' "$begin"
sleep 0.3
printf '%s\n' "${PIN#"$begin"}"
head -c 65530 /dev/zero | tr '\0' x; printf '%s' "$PIN"; head -c 5000 /dev/zero | tr '\0' y; echo
head -c 71000 /dev/zero | tr '\0' z; echo "$DB_PASSWORD"
echo all said
while :; do echo "again $PIN"; sleep 0.1; done
"#;

const FILE: &str = r#"
version: "1.0"
name: everywhere
secrets: [PIN]
services:
  keeper:
    type: process
    binary: sh
    args: [keeper.sh]
    env: &all
      PIN: ${PIN}
      DB_PASSWORD: ${DB_PASSWORD}
      ODD_SECRET: ${ODD_SECRET}
      TLS_PRIVATE_KEY: ${TLS_PRIVATE_KEY}
      URL: "postgres://app:${DB_PASSWORD}@localhost/db"
    env_file: keeper.env
    ports: [0]
    files: [{template: keeper.in, target: made/keeper.conf}]
    health_check: {command: [sh, -c, 'echo "probe sees $PIN and $API_TOKEN"; test -n "$PIN"'], interval: 1}
    hooks:
      before_start: [sh, -c, 'echo "before: $PIN"']
      after_healthy: [sh, -c, 'echo "after: $API_TOKEN" >&2']
      before_stop: [sh, -c, 'echo "stopping: $DB_PASSWORD"']
      after_stop: [sh, -c, 'echo "stopped: $ODD_SECRET"; exit 1']
  behind:
    type: process
    binary: sleep
    args: [1000]
    env: {KEEPER_TOKEN: "${API_TOKEN_OF_SHELL}"}
    dependencies: [keeper]
  failing:
    type: process
    binary: sh
    args: [-c, 'echo "no login with $PIN, $DB_PASSWORD, $ODD_SECRET" >&2; echo "$TLS_PRIVATE_KEY"; exit 3']
    env: *all
    restart: {policy: on-failure, max_restarts: 1}
  missing:
    type: process
    binary: ./no-such-program
    env: *all
  refused:
    type: process
    binary: sleep
    args: [1001]
    env: *all
    hooks:
      before_start: [sh, -c, 'echo "the hook refuses $PIN, $ODD_SECRET" >&2; exit 5']
  unhealthy:
    type: process
    binary: sleep
    args: [1002]
    env: *all
    startup_timeout: 1
    health_check: {command: [sh, -c, 'echo "no answer to $PIN, $ODD_SECRET" >&2; echo "$TLS_PRIVATE_KEY"; exit 1']}
"#;

/// All output, with its source.
#[derive(Default)]
struct Told(Vec<(String, String)>);

impl Told {
    fn take(&mut self, output: &Output) {
        let text = format!("{}\n{}", output.stdout, output.stderr);
        self.0.push((output.command.clone(), text));
    }

    fn run(&mut self, sandbox: &Sandbox, args: &[&str]) -> Output {
        let output = sandbox.harness(args);
        self.take(&output);
        output
    }

    fn are_free_of_secrets(&self) {
        for (who, text) in &self.0 {
            let lines: Vec<&str> = text.lines().filter(|line| has_secret(line.as_bytes())).collect();
            let shown: Vec<String> = lines.iter().map(|line| around_secret(line)).collect();
            assert!(shown.is_empty(), "`{who}` says\n{}", shown.join("\n"));
        }
    }
}

fn has_secret(bytes: &[u8]) -> bool {
    SECRETS.iter().any(|secret| contains(bytes, secret.as_bytes()))
}

/// Searches for the first byte, which is rare, and then compares the rest.
fn contains(mut haystack: &[u8], needle: &[u8]) -> bool {
    while let Some(at) = haystack.iter().position(|byte| *byte == needle[0]) {
        if haystack[at..].starts_with(needle) {
            return true;
        }
        haystack = &haystack[at + 1..];
    }
    false
}

/// The part of a line, which may be long, around a secret.
fn around_secret(line: &str) -> String {
    let at = SECRETS.iter().find_map(|secret| line.find(secret)).unwrap_or(0);
    let from: Vec<char> = line.chars().collect();
    let at = line[..at].chars().count();
    from[at.saturating_sub(100)..from.len().min(at + 100)]
        .iter()
        .collect()
}

/// Every file below a folder.
fn walk(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            found.extend(walk(&path));
        } else if entry.file_type().is_ok_and(|kind| kind.is_file()) {
            found.push(path);
        }
    }
    found
}

/// Reads all argument lists of the machine, again and again.
struct Watcher {
    stop: std::sync::Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<(u64, Vec<String>)>>,
}

impl Watcher {
    fn new() -> Self {
        let stop = std::sync::Arc::new(AtomicBool::new(false));
        let until = std::sync::Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let (mut rounds, mut found) = (0, Vec::new());
            while !until.load(Ordering::Relaxed) {
                for entry in fs::read_dir("/proc").unwrap().flatten() {
                    let command = fs::read(entry.path().join("cmdline")).unwrap_or_default();
                    if has_secret(&command) {
                        found.push(String::from_utf8_lossy(&command).replace('\0', " "));
                    }
                }
                rounds += 1;
                std::thread::sleep(Duration::from_millis(2));
            }
            (rounds, found)
        });
        Self {
            stop,
            thread: Some(thread),
        }
    }

    fn end(mut self) -> (u64, Vec<String>) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().unwrap().join().unwrap()
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// A sandbox with all secrets set, and a daemon that logs as much as possible.
fn sandbox(name: &str) -> Sandbox {
    let mut sandbox = Sandbox::with_file(name, FILE);
    let [pin, password, token, quoted, back, first, second, _] = SECRETS;
    sandbox.set_env("PIN", pin);
    sandbox.set_env("DB_PASSWORD", password);
    sandbox.set_env("API_TOKEN_OF_SHELL", token);
    // No backslash that `echo` would interpret.
    sandbox.set_env("ODD_SECRET", format!("{quoted}\"{back}\\#end"));
    sandbox.set_env("TLS_PRIVATE_KEY", format!("{first}\n{second}"));
    sandbox.set_env("HARNESS_LOG", "trace");
    sandbox.write("keeper.sh", KEEPER);
    sandbox.write("keeper.env", &format!("API_TOKEN={token}\n"));
    sandbox.write("keeper.in", "pin=${PIN}\ntoken=${API_TOKEN_OF_SHELL}\n");
    sandbox
}

fn daemon(sandbox: &Sandbox) -> Running {
    let daemon = sandbox.command(env!("CARGO_BIN_EXE_harness-executor-daemon"), &[]);
    eventually("the daemon is ready", || sandbox.daemon_pid());
    daemon
}

#[test]
fn no_secret_is_anywhere_but_where_it_is_promised_to_be() {
    let sandbox = sandbox("secrets_everywhere");
    let watcher = Watcher::new();
    let mut told = Told::default();
    // In the foreground, so that all its output is captured.
    let first_daemon = daemon(&sandbox);

    told.run(&sandbox, &["validate"]).code(0);
    told.run(&sandbox, &["start", "--dry-run"]).code(0);
    let started = told.run(&sandbox, &["start", "--report", "report"]).code(18);
    for name in ["failing", "missing", "refused", "unhealthy"] {
        assert!(started.stderr.contains(name), "{started}");
    }
    told.run(&sandbox, &["start", "keeper", "behind"]).code(0);
    eventually("keeper has said all", || {
        let logs = sandbox.harness(&["logs", "keeper"]);
        logs.stdout.contains("all said").then_some(())
    });
    it_reached_its_services(&sandbox);
    every_verb(&sandbox, &mut told);
    a_check_with_a_password_in_its_url(&sandbox, &mut told);

    // Another daemon, which knows the secrets only from the disk.
    told.run(&sandbox, &["daemon", "stop"]).code(0);
    told.take(&first_daemon.wait(PATIENCE));
    let second_daemon = daemon(&sandbox);
    every_verb(&sandbox, &mut told);
    told.run(&sandbox, &["restart", "keeper"]).code(0);
    told.run(&sandbox, &["stop", "--all"]);
    told.run(&sandbox, &["events", "--all-projects"]).code(0);
    told.run(&sandbox, &["logs"]).code(0);
    told.run(&sandbox, &["daemon", "logs", "-n", "100000"]).code(0);
    told.run(&sandbox, &["daemon", "stop", "--services"]).code(0);
    told.take(&second_daemon.wait(PATIENCE));

    told.are_free_of_secrets();
    let (rounds, found) = watcher.end();
    assert!(rounds > 20, "argument lists were read {rounds} times only");
    assert!(found.is_empty(), "in argument lists: {found:#?}");
    for file in walk(&sandbox.project().join("report")) {
        assert!(!has_secret(&fs::read(&file).unwrap()), "{}", file.display());
    }
    only_where_promised(&sandbox);
}

fn it_reached_its_services(sandbox: &Sandbox) {
    let conf = sandbox.project().join("made/keeper.conf");
    let [pin, _, token, ..] = SECRETS;
    assert_eq!(
        sandbox.read("made/keeper.conf"),
        format!("pin={pin}\ntoken={token}\n")
    );
    assert_eq!(fs::metadata(conf).unwrap().permissions().mode() & 0o777, 0o600);
    let environ = fs::read(format!("/proc/{}/environ", sandbox.pid("keeper"))).unwrap();
    for secret in &SECRETS[..7] {
        assert!(
            contains(&environ, secret.as_bytes()),
            "{secret} is not in its environment"
        );
    }
    // Shown on purpose, only to the caller.
    let shown = sandbox.ok(&["exec", "keeper", "--", "sh", "-c", "echo $PIN"]);
    assert_eq!(shown.stdout.trim(), pin);
}

fn every_verb(sandbox: &Sandbox, told: &mut Told) {
    for args in [
        &["start", "keeper"][..],
        &["-v", "status"],
        &["--json", "status"],
        &["service", "list"],
        &["service", "show", "keeper"],
        &["--json", "service", "show", "keeper"],
        &["--json", "service", "show", "failing"],
        &["service", "show", "unhealthy"],
        &["why", "keeper"],
        &["why", "behind"],
        &["why", "failing"],
        &["--json", "why", "failing"],
        &["why", "missing"],
        &["--json", "why", "refused"],
        &["why", "unhealthy"],
        &["--json", "why", "unhealthy"],
        &["env"],
        &["--json", "env"],
        &["env", "--format", "dotenv"],
        &["graph"],
        &["graph", "--format", "dot"],
        &["--json", "graph"],
        &["events"],
        &["--json", "events"],
        &["logs"],
        &["--json", "logs"],
        &["logs", "keeper", "-t", "-n", "40"],
        &["logs", "keeper", "--grep", "quagga"],
        &["wait", "keeper"],
        &["wait", "failing", "--timeout", "1"],
        &["exec", "keeper", "--", "sh", "-c", "test -n \"$PIN\" && exit 7"],
        &["run", "behind", "--", "true"],
        &["run", "failing", "--", "true"],
        &["--json", "start", "failing"],
        &["--json", "start", "missing", "refused"],
        &["start", "keeper", "behind"],
        &["daemon", "status"],
        &["--json", "daemon", "status"],
        &["doctor"],
    ] {
        told.run(sandbox, args);
    }
    for args in [
        &["logs", "-f", "keeper"][..],
        &["attach", "--no-stdin", "keeper"],
        &["--json", "logs", "-f", "keeper", "-n", "3"],
    ] {
        let follower = sandbox.spawn(args);
        eventually("it says something new", || {
            (follower.stdout().matches("again •••").count() > 3).then_some(())
        });
        // Not SIGINT or SIGQUIT: if a shell runs the tests in the background, everything ignores these.
        follower.signal(Signal::TERM);
        told.take(&follower.wait(PATIENCE));
    }
}

/// It is refused, and the message does not show the password either, whether it is written directly or comes from a
/// variable.
fn a_check_with_a_password_in_its_url(sandbox: &Sandbox, told: &mut Told) {
    let written = SECRETS[7];
    for password in [written, "${DB_PASSWORD}"] {
        sandbox.write(
            "checked.yaml",
            &format!(
                "name: checked\nservices:\n  app:\n    type: process\n    binary: sleep\n    args: [1000]\n    \
                 health_check: {{http: \"http://admin:{password}@localhost:1/health\"}}\n"
            ),
        );
        for args in [
            &["-c", "checked.yaml", "validate"][..],
            &["-c", "checked.yaml", "--json", "validate"],
            &["-c", "checked.yaml", "start"],
        ] {
            let output = told.run(sandbox, args).code(2);
            let said = format!("{}{}", output.stdout, output.stderr);
            assert!(said.contains("cannot be probed"), "{output}");
        }
    }
}

/// Checks that only those files of the home contain secrets that DAEMON.md names.
fn only_where_promised(sandbox: &Sandbox) {
    let home = sandbox.home();
    assert_eq!(fs::metadata(&home).unwrap().permissions().mode() & 0o777, 0o700);
    let mut carriers = BTreeMap::<String, usize>::new();
    for file in walk(&home) {
        if !has_secret(&fs::read(&file).unwrap_or_default()) {
            continue;
        }
        let name = file.strip_prefix(&home).unwrap();
        let words: Vec<&str> = name.iter().map(|word| word.to_str().unwrap()).collect();
        let kind = match words[..] {
            ["state"] => "state",
            ["projects", _, "project.json"] => "project.json",
            ["projects", _, _, "record.json"] => "record.json",
            ["projects", _, _, _, "lock"] => "lock",
            ["projects", _, _, _, "log", segment] if segment.ends_with(".seg") => "log segment",
            _ => panic!("a secret is in {}", name.display()),
        };
        let mode = fs::metadata(&file).unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{}", name.display());
        *carriers.entry(kind.to_owned()).or_default() += 1;
    }
    for kind in ["state", "record.json", "lock", "log segment"] {
        assert!(
            carriers.contains_key(kind),
            "the search finds nothing: {carriers:?}"
        );
    }
    // It really logged as much as possible.
    let log = fs::read_to_string(home.join("logs/daemon.log")).unwrap();
    assert!(
        log.contains("\"TRACE\"") || log.contains("\"DEBUG\""),
        "{}",
        &log[..400]
    );
}

/// A program that may leave core files of any size.
#[expect(
    clippy::disallowed_methods,
    reason = "a test starts the program it tests; only its parent is told whether it left a core"
)]
fn with_cores(sandbox: &Sandbox, program: &str, args: &[&str]) -> Child {
    let mut command = std::process::Command::new("sh");
    command
        .args(["-c", "ulimit -c unlimited && exec \"$0\" \"$@\"", program])
        .args(args)
        .current_dir(sandbox.project())
        .env("HARNESS_HOME", sandbox.home())
        .env("HARNESS_PORT", "0")
        .env("HOME", sandbox.root().join("user"))
        .env("TMPDIR", sandbox.root().join("tmp"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command.spawn().unwrap()
}

/// Ends it with a signal, sent again and again: a handler of SIGSEGV treats the first one as a fault of its own
/// program.
fn ended(mut child: Child, signal: Signal) -> ExitStatus {
    let deadline = Instant::now() + PATIENCE;
    loop {
        proc::signal(child.id(), signal);
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
        if Instant::now() > deadline {
            child.kill().unwrap();
            panic!("it does not end");
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The core files below a folder, without empty ones.
fn cores(sandbox: &Sandbox) -> Vec<PathBuf> {
    let mut files = walk(sandbox.root());
    files.retain(|file| {
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        (name == "core" || name.starts_with("core.")) && fs::metadata(file).is_ok_and(|meta| meta.len() > 0)
    });
    files
}

#[test]
fn a_daemon_that_crashes_leaves_no_core() {
    // If no program leaves a core on this machine, a daemon without a core proves nothing.
    let control = Sandbox::new("secrets_core_control");
    let other = with_cores(&control, "sleep", &["1000"]);
    eventually("it runs", || {
        proc::command(other.id()).starts_with("sleep").then_some(())
    });
    if !ended(other, Signal::ABORT).core_dumped() {
        eprintln!("skipped: this machine makes no core files");
        return;
    }
    for signal in [Signal::ABORT, Signal::SEGV, Signal::BUS] {
        let sandbox = sandbox("secrets_core");
        let daemon = with_cores(&sandbox, env!("CARGO_BIN_EXE_harness-executor-daemon"), &[]);
        eventually("the daemon is ready", || sandbox.daemon_pid());
        assert_eq!(sandbox.daemon_pid(), Some(daemon.id()));
        sandbox.ok(&["start", "keeper"]);
        let limits = fs::read_to_string(format!("/proc/{}/limits", daemon.id())).unwrap();
        assert!(limits.contains("Max core file size        unlimited"), "{limits}");
        let status = ended(daemon, signal);
        assert_eq!(status.signal(), Some(signal.as_raw()));
        assert!(!status.core_dumped(), "{signal:?} left a core");
        assert_eq!(cores(&sandbox), Vec::<PathBuf>::new());
        sandbox.ok(&["stop", "--all"]);
    }
}
