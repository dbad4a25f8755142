//! The umask of a service is that of the shell that started it, or its own, through restarts, checks, hooks and `exec`.

#![cfg(test)]

mod common;

use common::{PATIENCE, Sandbox, eventually, proc};

const FILE: &str = r#"
version: "1.0"
name: masks
services:
  plain:
    type: process
    binary: sh
    args: [-c, 'umask >> plain; exec sleep 1000']
    restart: always
    health_check: {command: [sh, -c, 'umask > checked']}
    hooks:
      before_start: [sh, -c, 'umask > prepared']
  own:
    type: process
    binary: sh
    args: [-c, 'umask >> own; exec sleep 1000']
    umask: 0007
    restart: always
"#;

/// `harness` as a shell with this umask starts it.
fn with_umask(sandbox: &Sandbox, umask: &str, words: &str) {
    let line = format!("umask {umask}; exec {} {words}", env!("CARGO_BIN_EXE_harness"));
    sandbox.command("sh", &["-c", &line]).wait(PATIENCE).code(0);
}

fn exec(sandbox: &Sandbox, service: &str) -> String {
    let said = sandbox.ok(&["exec", service, "--", "sh", "-c", "umask"]);
    said.stdout.trim().to_owned()
}

#[test]
fn it_is_that_of_the_caller_or_its_own_through_restarts() {
    let sandbox = Sandbox::with_file("umask_kept", FILE);
    // The daemon's is another one.
    with_umask(&sandbox, "0022", "daemon start");
    with_umask(&sandbox, "0027", "start");
    assert_eq!(sandbox.read("plain"), "0027\n");
    assert_eq!(sandbox.read("own"), "0007\n");
    assert_eq!(sandbox.read("checked"), "0027\n");
    assert_eq!(sandbox.read("prepared"), "0027\n");
    assert_eq!(exec(&sandbox, "plain"), "0027");
    assert_eq!(exec(&sandbox, "own"), "0007");

    // What restarts by itself, also under a later daemon, keeps it.
    proc::kill(sandbox.pid("plain"));
    eventually("a second start", || {
        (sandbox.read("plain") == "0027\n0027\n").then_some(())
    });
    with_umask(&sandbox, "0077", "daemon restart");
    for service in ["plain", "own"] {
        sandbox.await_state(
            service,
            if service == "plain" {
                "running/healthy"
            } else {
                "running/none"
            },
        );
        proc::kill(sandbox.pid(service));
    }
    eventually("a third start", || {
        (sandbox.read("plain") == "0027\n0027\n0027\n").then_some(())
    });
    eventually("a second start", || {
        (sandbox.read("own") == "0007\n0007\n").then_some(())
    });

    // It is no part of the spec, and the next order brings its own.
    let pids = sandbox.pids();
    with_umask(&sandbox, "0002", "start");
    assert_eq!(sandbox.pids(), pids);
    with_umask(&sandbox, "0002", "restart");
    assert!(
        sandbox.read("plain").ends_with("\n0002\n"),
        "{}",
        sandbox.read("plain")
    );
    assert_eq!(sandbox.read("own"), "0007\n0007\n0007\n");
}

#[test]
fn a_changed_key_replaces_the_service() {
    let sandbox = Sandbox::with_file("umask_changed", FILE);
    sandbox.ok(&["start"]);
    sandbox.replace("services.yaml", "umask: 0007", "umask: \"0070\"");
    sandbox.ok(&["start"]).tells("umask changed");
    assert_eq!(sandbox.read("own"), "0007\n0070\n");
}

#[test]
fn what_is_no_umask_is_refused_at_its_place() {
    for (value, said) in [
        ("999", "`999` is not a umask"),
        ("u=rwx", "`u=rwx` is not a umask"),
        ("01000", "`01000` is not a umask"),
        ("-1", "`-1` is not a umask"),
    ] {
        let sandbox = Sandbox::with_file(
            "umask_bad",
            &FILE.replace("umask: 0007", &format!("umask: {value}")),
        );
        let refused = sandbox.harness(&["validate"]).code(2);
        assert!(refused.stderr.contains(said), "{refused}");
        assert!(refused.stderr.contains("services.yaml:17:12"), "{refused}");
    }
    let container = "services:\n  a: {type: docker, image: x, umask: 022}\n";
    let sandbox = Sandbox::with_file("umask_container", container);
    sandbox
        .harness(&["validate"])
        .code(2)
        .tells("a docker service has no `umask`");
}
