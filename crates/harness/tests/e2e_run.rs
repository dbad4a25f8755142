//! `run`: what it started is stopped again, however it ends.

#![cfg(test)]

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use common::{PATIENCE, Running, Sandbox, eventually, proc};
use rustix::process::Signal;

/// `kept` runs before. `run` starts `app`, which is healthy when a file exists.
const FILE: &str = r#"
name: runs
services:
  kept: {type: process, binary: sleep, args: [1000]}
  app:
    type: process
    binary: sleep
    args: [1000]
    health_check: {command: "test -e ready", interval: 50ms}
"#;

/// A command that writes its pid, and leaves a child behind.
const COMMAND: &str = "sleep 777 & echo $! > child; echo $$ > command; wait";

/// The phases in which a run can be ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Starting,
    Running,
}

fn pid_in(file: &Path) -> Option<u32> {
    fs::read_to_string(file).ok()?.trim().parse().ok()
}

/// Begins a run and waits until it has reached this phase.
fn begin(sandbox: &Sandbox, phase: Phase, options: &[&str]) -> (Running, u32) {
    let at = |file: &str| sandbox.project().join(file);
    for file in ["ready", "command", "child"] {
        let _ = fs::remove_file(at(file));
    }
    if phase == Phase::Running {
        sandbox.write("ready", "");
    }
    let mut words = vec!["run"];
    words.extend(options);
    words.extend(["app", "--", "sh", "-c", COMMAND]);
    let run = sandbox.spawn(&words);
    let app = eventually("app is launched", || {
        let known = sandbox.harness(&["--json", "status"]);
        let app = (known.code == Some(0)).then(|| sandbox.service("app"))?;
        app["pid"].as_u64()
    });
    if phase == Phase::Running {
        eventually("the command runs", || pid_in(&at("command")));
    }
    (run, u32::try_from(app).unwrap())
}

fn gone(what: &str, pid: u32) {
    eventually(&format!("{what} is gone"), || {
        (!proc::is_alive(pid)).then_some(())
    });
}

#[test]
fn whatever_signal_ends_a_run_what_it_started_is_stopped() {
    let sandbox = Sandbox::with_file("run_signals", FILE);
    sandbox.ok(&["start", "kept"]);
    let kept = sandbox.pid("kept");
    for phase in [Phase::Starting, Phase::Running] {
        for signal in [Signal::INT, Signal::TERM, Signal::HUP, Signal::QUIT, Signal::KILL] {
            let (run, app) = begin(&sandbox, phase, &[]);
            run.signal(signal);
            let output = run.wait(PATIENCE);
            let case = format!("{signal:?} while {phase:?}\n{output}");
            gone(&format!("app, after {case}"), app);
            match (phase, signal) {
                (_, Signal::KILL) => assert_eq!(output.code, None, "{case}"),
                (Phase::Starting, _) => assert_eq!(output.code, Some(130), "{case}"),
                // The command's own end is reported.
                (Phase::Running, signal) => assert_eq!(output.code, Some(128 + signal.as_raw()), "{case}"),
            }
            sandbox.await_state("app", "stopped/none");
            for file in ["command", "child"] {
                // The command itself handles signals, and is responsible for what it leaves behind.
                if let Some(pid) = pid_in(&sandbox.project().join(file)) {
                    proc::kill(pid);
                }
            }
        }
    }
    assert_eq!(sandbox.pid("kept"), kept, "it was up before, so it stays");
}

#[test]
fn when_the_time_is_over_the_command_ends_and_what_was_started_goes() {
    let sandbox = Sandbox::with_file("run_timeout", FILE);
    let (run, app) = begin(&sandbox, Phase::Starting, &["--timeout", "3s"]);
    let late = run.wait(PATIENCE).code(17);
    let late = late.tells("error: not everything was up within 3.0s; still waiting for: app (starting");
    late.tells("stopping what was started");
    gone("app", app);

    // The command and its child are ended, even if they ignore SIGTERM.
    for command in [
        COMMAND,
        "trap '' TERM; sleep 777 & echo $! > child; echo $$ > command; while :; do wait; done",
    ] {
        for file in ["command", "child"] {
            let _ = fs::remove_file(sandbox.project().join(file));
        }
        sandbox.write("ready", "");
        let words = ["run", "--timeout", "3s", "--", "sh", "-c", command];
        let late = sandbox.harness(&words).code(17);
        let late = late.tells("`sh` was still running after 3.0s and was ended");
        assert!(late.elapsed < Duration::from_secs(60), "{late}");
        for file in ["command", "child"] {
            let pid = pid_in(&sandbox.project().join(file)).unwrap();
            assert!(!proc::is_alive(pid), "{file} is left by {command}");
        }
        assert_eq!(sandbox.processes().len(), 0, "{:?}", sandbox.processes());
    }
    // A command that ends in time is not delayed.
    sandbox.ok(&["run", "--timeout", "80s", "--", "true"]);
}

#[test]
fn a_second_interrupt_leaves_the_rest_to_the_daemon() {
    let sandbox = Sandbox::with_file(
        "run_impatient",
        r#"
services:
  slow:
    type: process
    binary: sh
    args: [-c, 'trap "touch stopping; while ! test -e go; do sleep 0.02; done; exit 0" TERM; touch up; while :; do sleep 0.02; done']
    health_check: {command: "test -e up"}
    shutdown_timeout: 60
"#,
    );
    let run = sandbox.spawn(&["run", "--", "sleep", "777"]);
    eventually("the command runs", || {
        let mut below = sandbox.processes().into_iter();
        below.find(|process| process.command == "sleep 777")
    });
    let slow = sandbox.pid("slow");
    run.signal(Signal::TERM);
    eventually("it is being stopped", || {
        sandbox.project().join("stopping").exists().then_some(())
    });
    run.signal(Signal::INT);
    let output = run.wait(Duration::from_secs(30));
    output
        .code(143)
        .tells("the daemon continues to stop what was started");
    assert!(proc::is_alive(slow));
    sandbox.write("go", "");
    gone("slow", slow);
    sandbox.await_state("slow", "stopped/none");
}

#[test]
fn a_run_outlives_its_daemon() {
    let sandbox = Sandbox::with_file("run_daemon_lost", FILE);
    for how in ["restarted", "stopped", "killed"] {
        let (run, app) = {
            let at = |file: &str| sandbox.project().join(file);
            let _ = fs::remove_file(at("end"));
            sandbox.write("ready", "");
            let run = sandbox.spawn(&[
                "run",
                "app",
                "--",
                "sh",
                "-c",
                "touch begun; while ! test -e end; do sleep 0.02; done",
            ]);
            eventually("the command runs", || at("begun").exists().then_some(()));
            let _ = fs::remove_file(at("begun"));
            (run, sandbox.pid("app"))
        };
        match how {
            "restarted" => drop(sandbox.ok(&["daemon", "restart"])),
            "stopped" => drop(sandbox.ok(&["daemon", "stop"])),
            _ => {
                let daemon = sandbox.daemon_pid().unwrap();
                proc::kill(daemon);
                gone("the daemon", daemon);
            }
        }
        assert!(
            proc::is_alive(app),
            "{how}: services keep running for the command"
        );
        sandbox.write("end", "");
        run.wait(PATIENCE).code(0);
        assert!(!proc::is_alive(app), "{how}");
    }
}

#[test]
fn what_a_run_started_goes_when_its_start_or_its_command_fails() {
    let sandbox = Sandbox::with_file(
        "run_failures",
        r#"
services:
  good: {type: process, binary: sleep, args: [1000]}
  bad: {type: process, binary: sh, args: [-c, "exit 3"], dependencies: [good]}
"#,
    );
    sandbox
        .harness(&["run", "--", "true"])
        .code(18)
        .tells("✗ bad failed");
    assert_eq!(sandbox.processes().len(), 0, "{:?}", sandbox.processes());
    let script = sandbox.project().join("script");
    let words = script.display().to_string();
    for (text, code, said) in [
        (
            "true\n",
            126,
            "neither a program for this machine nor a script that begins with `#!`",
        ),
        (
            "#!/no/such/shell\ntrue\n",
            127,
            "is a script for /no/such/shell, which does not exist",
        ),
        ("#!/bin/sh\r\ntrue\r\n", 126, "has Windows line ends (CRLF)"),
    ] {
        sandbox.write("script", text);
        fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
        let failed = sandbox.harness(&["run", "good", "--", &words]).code(code);
        assert!(failed.stderr.contains(said), "{failed}");
        assert_eq!(sandbox.processes().len(), 0, "{:?}", sandbox.processes());
    }
    sandbox.harness(&["run", "good", "--", "/no/such"]).code(127);
    sandbox
        .harness(&["run", "good", "--", "no-such-program"])
        .code(127);
    sandbox.harness(&["run", "good", "--", "/"]).code(126);
    assert_eq!(sandbox.processes().len(), 0, "{:?}", sandbox.processes());
    let failed = sandbox
        .harness(&["run", "good", "--", "sh", "-c", "exit 5"])
        .code(5);
    failed.tells("1 service stopped");
    assert_eq!(sandbox.processes().len(), 0, "{:?}", sandbox.processes());
}
