//! Ways into a running system: exec, attach, run, env. And what a service gets: files, environment, hooks, a user, a
//! terminal.

#![cfg(test)]

mod common;

use std::os::unix::fs::PermissionsExt;

use common::{PATIENCE, Sandbox, eventually, proc};
use rustix::process::Signal;

#[test]
fn exec_runs_in_the_service_s_place() {
    let sandbox = Sandbox::with_file(
        "exec",
        r#"
version: "1.0"
services:
  db:
    type: process
    binary: sleep
    args: [1000]
    ports: [{name: main, port: 0}]
  app:
    type: process
    binary: sleep
    args: [1000]
    working_dir: ./app
    env: {COLOUR: green}
    dependencies: [db]
"#,
    );
    sandbox.write("app/here", "in app");
    sandbox.ok(&["start"]);
    let port = sandbox.service("db")["ports"][0]["port"].as_u64().unwrap();
    assert_ne!(port, 0);
    let script = "cat here; echo \" $COLOUR $HARNESS_DB_PORT\"; echo oops >&2; exit 7";
    let output = sandbox
        .harness(&["exec", "app", "--", "sh", "-c", script])
        .code(7);
    assert_eq!(output.stdout, format!("in app green {port}\n"));
    assert_eq!(output.stderr, "oops\n");

    // All bytes go in unchanged.
    let mut cat = sandbox.spawn(&["exec", "-i", "app", "--", "sh", "-c", "wc -c; echo end"]);
    cat.type_in(&vec![0xfe; 300_000]);
    let cat = cat.wait(PATIENCE).code(0);
    assert_eq!(
        cat.stdout.split_whitespace().collect::<Vec<_>>(),
        ["300000", "end"]
    );

    // Options, a terminal, an end by a signal, and a missing program.
    let env = sandbox.ok(&[
        "exec",
        "-e",
        "A=b c",
        "-w",
        "/",
        "app",
        "--",
        "sh",
        "-c",
        "echo $A; pwd",
    ]);
    assert_eq!(env.stdout, "b c\n/\n");
    sandbox
        .ok(&[
            "exec",
            "-t",
            "app",
            "--",
            "sh",
            "-c",
            "test -t 1 && echo terminal",
        ])
        .says("terminal");
    sandbox
        .harness(&["exec", "app", "--", "sh", "-c", "kill -9 $$"])
        .code(137);
    let missing = sandbox.harness(&["exec", "app", "--", "no-such-program-here"]);
    assert!(
        missing.code != Some(0) && missing.stderr.contains("no-such-program-here"),
        "{missing}"
    );
    assert_eq!(sandbox.pids().len(), 2, "the services did not notice");
}

#[test]
fn an_interrupted_exec_leaves_nothing() {
    let sandbox = Sandbox::with_file(
        "exec_interrupted",
        "version: \"1.0\"\nservices:\n  app: {type: process, binary: sleep, args: [1000]}\n",
    );
    sandbox.ok(&["start"]);
    let before = sandbox.processes().len();
    let exec = sandbox.spawn(&["exec", "app", "--", "sh", "-c", "echo $$; sleep 1001 & wait"]);
    let pid: u32 = eventually("it runs", || exec.stdout().trim().parse().ok());
    exec.signal(Signal::TERM);
    exec.wait(PATIENCE);
    eventually("the signal reached it", || (!proc::is_alive(pid)).then_some(()));
    // And when the CLI is killed, its command ends as well.
    let exec = sandbox.spawn(&["exec", "app", "--", "sh", "-c", "echo $$; sleep 1001 & wait"]);
    let pid: u32 = eventually("it runs", || exec.stdout().trim().parse().ok());
    exec.signal(Signal::KILL);
    exec.wait(PATIENCE);
    eventually("nobody is left", || {
        (!proc::is_alive(pid) && sandbox.processes().len() == before).then_some(())
    });
}

#[test]
fn attach_reaches_stdin_and_a_terminal() {
    let sandbox = Sandbox::with_file(
        "attach",
        r#"
version: "1.0"
services:
  echo:
    type: process
    binary: sh
    args: [-c, 'while read -r line; do echo "got $line"; test "$line" = quit && exit 4; done; echo eof']
    stdin: true
  closed:
    type: process
    binary: sh
    args: [-c, 'read -r line || echo "no stdin" > closed-said; exec sleep 1000']
  screen:
    type: process
    binary: sh
    args: [-c, 'test -t 0 && test -t 1 && stty size > screen-said; exec sleep 1000']
    tty: true
    stdin: true
"#,
    );
    sandbox.ok(&["start"]);
    eventually("no stdin is an empty one", || {
        (sandbox.read("closed-said") == "no stdin\n").then_some(())
    });
    eventually("a terminal with a size", || {
        (sandbox.read("screen-said") == "24 80\n").then_some(())
    });

    let mut attached = sandbox.spawn(&["attach", "echo"]);
    attached.type_in(b"hello\n");
    eventually("its answer", || {
        attached.stdout().contains("got hello\n").then_some(())
    });
    // Detaching leaves it running.
    attached.signal(Signal::INT);
    let attached = attached.wait(PATIENCE).code(130);
    attached.tells("echo keeps running");
    assert_eq!(sandbox.state("echo"), "running/none");

    let mut attached = sandbox.spawn(&["attach", "echo"]);
    attached.type_in(b"again\nquit\n");
    eventually("its last answer", || {
        attached.stdout().contains("got quit\n").then_some(())
    });
    attached.wait(PATIENCE).code(4);
    assert_eq!(sandbox.service("echo")["exit_code"], 4);
}

#[test]
fn files_are_rendered_and_secrets_kept() {
    let mut sandbox = Sandbox::with_file(
        "files",
        r#"
version: "1.0"
secrets: [PIN]
services:
  db:
    type: process
    binary: sleep
    args: [1000]
    ports: [0]
  app:
    type: process
    binary: sh
    args: [-c, 'cat made/app.conf > seen; exec sleep 1000']
    files:
      - {template: app.conf.in, target: made/app.conf}
      - {template: secret.in, target: made/secret}
"#,
    );
    sandbox.set_env("PIN", "4711-topsecret");
    sandbox.write(
        "app.conf.in",
        "port=${db.port}\nwho=${WHO:-nobody}\ncost=$$5 $PLAIN\n",
    );
    sandbox.write("secret.in", "pin=${PIN}\n");
    sandbox.ok(&["start"]);
    let port = &sandbox.service("db")["ports"][0]["port"];
    let wanted = format!("port={port}\nwho=nobody\ncost=$5 $PLAIN\n");
    assert_eq!(
        eventually("it saw", || Some(sandbox.read("seen")).filter(|s| !s.is_empty())),
        wanted
    );
    assert_eq!(sandbox.read("made/secret"), "pin=4711-topsecret\n");
    let mode = |file: &str| {
        std::fs::metadata(sandbox.project().join(file))
            .unwrap()
            .permissions()
            .mode()
            & 0o777
    };
    assert_eq!(mode("made/secret"), 0o600);
    assert_eq!(mode("made/app.conf"), 0o644);

    // A changed template changes the spec.
    let db = sandbox.pid("db");
    sandbox.write("app.conf.in", "changed\n");
    let start = sandbox.ok(&["start"]);
    assert!(
        format!("{}{}", start.stdout, start.stderr).contains("app      replaced: "),
        "{start}"
    );
    eventually("it saw the change", || {
        (sandbox.read("seen") == "changed\n").then_some(())
    });
    assert_eq!(sandbox.pid("db"), db);
}

#[test]
fn hooks_run_around_a_life() {
    let sandbox = Sandbox::with_file(
        "hooks",
        r#"
version: "1.0"
services:
  app:
    type: process
    binary: sh
    args: [-c, 'trap "echo down >> order; exit 0" TERM; echo up >> order; touch up; while :; do sleep 0.02; done']
    env: {NAME: app}
    health_check: {command: "test -e up"}
    hooks:
      before_start: [sh, -c, 'echo "before_start $NAME" >> order']
      after_healthy: [sh, -c, 'echo after_healthy >> order']
      before_stop: [sh, -c, 'echo before_stop >> order']
      after_stop: [sh, -c, 'echo after_stop >> order']
  refused:
    type: process
    binary: sh
    args: [-c, 'touch refused-ran; exec sleep 1000']
    hooks:
      before_start: [sh, -c, 'echo "no disk for you" >&2; exit 6']
"#,
    );
    sandbox.ok(&["start", "app"]);
    eventually("the hook after it", || {
        sandbox.read("order").contains("after_healthy").then_some(())
    });
    sandbox.ok(&["stop", "--all"]);
    assert_eq!(
        sandbox.read("order"),
        "before_start app\nup\nafter_healthy\nbefore_stop\ndown\nafter_stop\n"
    );
    let refused = sandbox.harness(&["start", "refused"]).code(18);
    refused.tells("before_start").tells("no disk for you");
    assert!(!sandbox.project().join("refused-ran").exists());
}

#[test]
fn run_has_the_addresses_passes_the_code_and_leaves_nothing() {
    let sandbox = Sandbox::with_file(
        "run",
        r#"
version: "1.0"
services:
  db:
    type: process
    binary: sleep
    args: [1000]
    ports: [0]
  cache:
    type: process
    binary: sh
    args: [-c, 'echo cache is warm; exec sleep 1000']
"#,
    );
    let script = "echo $HARNESS_DB_IP:$HARNESS_DB_PORT; exit 5";
    let run = sandbox.harness(&["run", "--", "sh", "-c", script]).code(5);
    let (ip, port) = run
        .stdout
        .trim()
        .split_once(':')
        .unwrap_or_else(|| panic!("{run}"));
    assert!(
        ip == "127.0.0.1" && port.parse::<u16>().is_ok_and(|port| port > 0),
        "{run}"
    );
    assert!(run.stderr.contains("✗ sh exited 5"), "{run}");
    assert_eq!(sandbox.processes().len(), 0, "{:?}", sandbox.processes());
    sandbox.ok(&["run", "--", "true"]);
    sandbox.harness(&["run", "--", "no-such-program-here"]).code(127);
    assert_eq!(sandbox.processes().len(), 0, "{:?}", sandbox.processes());

    // A service that ran before keeps running.
    sandbox.ok(&["start", "db"]);
    let db = sandbox.pid("db");
    sandbox.ok(&["run", "--", "true"]);
    assert_eq!(
        sandbox.pids().into_iter().collect::<Vec<_>>(),
        [("db".to_owned(), u64::from(db))]
    );

    // The same variables in the formats for shells and files.
    let port = sandbox.service("db")["ports"][0]["port"].to_string();
    sandbox
        .ok(&["env"])
        .says(&format!("export HARNESS_DB_PORT='{port}'"));
    sandbox
        .ok(&["env", "--format", "dotenv"])
        .says(&format!("HARNESS_DB_PORT={port}\n"));
    assert_eq!(
        sandbox.ok(&["env", "--format", "json"]).json()["HARNESS_DB_PORT"],
        port
    );

    // A run that is interrupted cleans up as well.
    sandbox.ok(&["stop", "--all"]);
    let run = sandbox.spawn(&["run", "--", "sh", "-c", "echo here; exec sleep 1002"]);
    eventually("it runs", || run.stdout().contains("here").then_some(()));
    run.signal(Signal::TERM);
    run.wait(PATIENCE);
    assert_eq!(sandbox.processes().len(), 0, "{:?}", sandbox.processes());
}

#[test]
fn a_service_runs_as_its_user_with_a_clean_environment() {
    let mut sandbox = Sandbox::with_file(
        "user",
        r#"
version: "1.0"
services:
  plain:
    type: process
    binary: sh
    args: [-c, 'env > plain-env; ulimit -n > plain-limit; exec sleep 1000']
    inherit_env: [WANTED]
    limits: {open_files: 77}
  other:
    type: process
    binary: sh
    args: [-c, 'echo "$(id -un) $HOME $USER"; exec sleep 1000']
    user: nobody
    working_dir: /
    health_check: {log: "^nobody "}
"#,
    );
    sandbox.set_env("WANTED", "yes");
    sandbox.set_env("UNWANTED", "no");
    let root = rustix::process::geteuid().is_root();
    sandbox.ok(if root { &["start"] } else { &["start", "plain"] });
    let env = eventually("its environment", || {
        Some(sandbox.read("plain-env")).filter(|e| e.contains("PATH="))
    });
    assert!(env.contains("WANTED=yes") && !env.contains("UNWANTED"), "{env}");
    assert!(!env.contains("HARNESS_HOME"), "{env}");
    eventually("its limit", || {
        (sandbox.read("plain-limit") == "77\n").then_some(())
    });
    if root {
        sandbox.ok(&["exec", "other", "--", "id", "-un"]).says("nobody");
        let pid = sandbox.pid("other");
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        assert!(!status.contains("Uid:\t0"), "{status}");
    }
}
