//! Which engine is used, and the messages about an engine that cannot be used.

#![cfg(test)]
#![cfg(feature = "docker-tests")]

mod common;

use std::fs;
use std::net::{Shutdown, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

use common::docker::{DockerSandbox, socket};
use common::{Sandbox, eventually};

const SERVICES: &str = "services:\n  app: {type: docker, image: harness-test/program}\n";

#[test]
fn an_engine_that_cannot_be_used_is_refused_by_name_and_processes_run() {
    for (variable, value, why) in [
        (
            "DOCKER_HOST",
            "ssh://me@far",
            "DOCKER_HOST `ssh://me@far` is not supported",
        ),
        (
            "DOCKER_HOST",
            "tcp://192.0.2.7:2375",
            "`tcp://192.0.2.7:2375` is on another machine",
        ),
        (
            "DOCKER_CONTEXT",
            "nowhere",
            "DOCKER_CONTEXT names the Docker context `nowhere`, which is not in",
        ),
        (
            "DOCKER_HOST",
            "tcp://127.0.0.1:9",
            "the Docker engine at tcp://127.0.0.1:9 does not answer",
        ),
    ] {
        let mut sandbox = Sandbox::with_file(
            "refused_host",
            "name: refused-host\nservices:\n  app: {type: docker, image: x}\n  plain: {type: process, binary: sleep, args: [1000]}\n",
        );
        sandbox.set_env("DOCKER_HOST", "");
        sandbox.set_env(variable, value);
        let start = sandbox.harness(&["start"]).code(18);
        assert!(start.stderr.contains(why), "{value}: {start}");
        assert_eq!(sandbox.state("plain"), "running/none");
    }
}

/// The programs, in a place where every user may run them.
fn programs(sandbox: &Sandbox) -> std::path::PathBuf {
    let built = Path::new(env!("CARGO_BIN_EXE_harness")).parent().unwrap();
    let to = sandbox.root().join("bin");
    fs::create_dir(&to).unwrap();
    for name in ["harness", "harness-executor-daemon", "harness-shim"] {
        fs::copy(built.join(name), to.join(name)).unwrap();
    }
    to
}

#[test]
fn an_engine_of_others_is_explained() {
    let mut sandbox = Sandbox::with_file(
        "permission",
        "name: permission\nservices:\n  app: {type: docker, image: x}\n  plain: {type: process, binary: sleep, args: [1000]}\n",
    );
    let bin = programs(&sandbox);
    let socket = sandbox.root().join("docker.sock");
    let _listener = UnixListener::bind(&socket).unwrap();
    fs::set_permissions(&socket, fs::Permissions::from_mode(0o600)).unwrap();
    for folder in ["project", "user", "tmp"] {
        let folder = sandbox.root().join(folder);
        fs::set_permissions(folder, fs::Permissions::from_mode(0o777)).unwrap();
    }
    let home = sandbox.root().join("user/home");
    sandbox.set_env("HARNESS_HOME", home.to_str().unwrap());
    sandbox.set_env("DOCKER_HOST", format!("unix://{}", socket.display()));
    let as_nobody = |args: &[&str]| {
        let harness = bin.join("harness");
        let mut all = vec!["--reuid", "65534", "--regid", "65534", "--clear-groups"];
        all.push(harness.to_str().unwrap());
        all.extend(args);
        sandbox.command("setpriv", &all).wait(common::PATIENCE)
    };
    let start = as_nobody(&["start"]);
    as_nobody(&["daemon", "stop", "--services"]).code(0);
    let said = format!("no permission to use the Docker engine at {}", socket.display());
    assert!(
        start.stderr.contains(&said) && start.stderr.contains("log in again"),
        "{start}"
    );
    assert!(start.stderr.contains("plain    running"), "{start}");
    start.code(18);
}

#[test]
fn the_context_in_use_leads_to_the_engine() {
    let mut sandbox = DockerSandbox::new("context", SERVICES);
    let folder = sandbox.root().join("docker");
    let meta = folder.join("contexts/meta/0123abcd");
    fs::create_dir_all(&meta).unwrap();
    fs::write(folder.join("config.json"), r#"{"currentContext": "tests"}"#).unwrap();
    let context = serde_json::json!({
        "Name": "tests",
        "Metadata": {},
        "Endpoints": {"docker": {"Host": format!("unix://{}", socket().display()), "SkipTLSVerify": false}},
    });
    fs::write(meta.join("meta.json"), context.to_string()).unwrap();
    sandbox.set_env("DOCKER_HOST", "");
    sandbox.set_env("DOCKER_CONFIG", folder.to_str().unwrap());
    sandbox.ok(&["start"]);
    assert_eq!(sandbox.containers().len(), 1);
    sandbox.ok(&["stop", "--all"]);
}

/// A port of this machine that leads to the engine.
fn plug() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    // Ends with the test program.
    std::thread::spawn(move || {
        for near in listener.incoming().flatten() {
            let far = UnixStream::connect(socket()).unwrap();
            let (mut from, mut to) = (near.try_clone().unwrap(), far.try_clone().unwrap());
            std::thread::spawn(move || {
                let _ = std::io::copy(&mut from, &mut to);
                let _ = to.shutdown(Shutdown::Write);
            });
            let (mut from, mut to) = (far, near);
            std::thread::spawn(move || {
                let _ = std::io::copy(&mut from, &mut to);
                let _ = to.shutdown(Shutdown::Write);
            });
        }
    });
    port
}

#[test]
fn an_engine_at_a_port_of_this_machine_is_used() {
    let mut sandbox = DockerSandbox::new("port", SERVICES);
    sandbox.set_env("DOCKER_HOST", format!("tcp://127.0.0.1:{}", plug()));
    sandbox.ok(&["start"]);
    sandbox
        .ok(&["exec", "app", "--", "echo", "inside"])
        .says("inside");
    eventually("it has said so", || {
        let logs = sandbox.ok(&["logs", "app"]);
        logs.stdout.contains("app | ready").then_some(())
    });
    sandbox.ok(&["stop", "--all"]);
    assert!(sandbox.containers().is_empty() && sandbox.networks().is_empty());
}

#[test]
fn a_daemon_with_another_engine_goes_on_with_what_runs_on_the_former() {
    let mut sandbox = DockerSandbox::new("moved", SERVICES);
    sandbox.ok(&["start"]);
    let id = sandbox.id("app");
    let other = sandbox.root().join("other.sock");
    sandbox.use_engine_at(&other);
    sandbox.ok(&["daemon", "restart"]);
    sandbox.await_state("app", "running/none");
    assert_eq!(sandbox.id("app"), id);
    sandbox.ok(&["exec", "app", "--", "true"]);
    sandbox.ok(&["stop", "--all"]);
    assert!(sandbox.containers().is_empty() && sandbox.networks().is_empty());
    let said = format!("no Docker engine: there is no {}", other.display());
    let start = sandbox.harness(&["start"]).code(18);
    assert!(start.stderr.contains(&said), "{start}");
}
