//! The files of docs/coming-from.md do what those of the other programs do.

#![cfg(test)]

mod common;

use std::path::Path;

use common::{Sandbox, eventually};

fn sandbox(tool: &str) -> Sandbox {
    Sandbox::with_example(&format!("from_{tool}"), &format!("coming-from/{tool}"))
}

fn root() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

#[test]
fn process_compose() {
    let sandbox = sandbox("process-compose");
    sandbox.ok(&["start"]);
    assert_eq!(sandbox.read("schema"), "migrated\n");
    assert_eq!(sandbox.state("migrate"), "completed/none");
    assert_eq!(sandbox.state("api"), "running/healthy");
    assert_eq!(sandbox.state("worker"), "running/none");
    sandbox.ok(&["logs", "api"]).says("hello");
}

#[test]
fn supervisord() {
    let sandbox = sandbox("supervisord");
    sandbox.ok(&["start"]);
    let logs = sandbox.ok(&["logs", "web"]);
    for line in ["mode live", "to the log"] {
        assert!(logs.stdout.contains(line), "{logs}");
    }
    assert_eq!(
        sandbox
            .ok(&["exec", "web", "--", "sh", "-c", "umask; pwd"])
            .stdout,
        "0027\n/tmp\n"
    );
    assert_eq!(sandbox.state("cleaner"), "completed/none");
}

#[test]
fn pm2() {
    let sandbox = sandbox("pm2");
    sandbox.ok(&["start"]);
    assert_eq!(sandbox.state("api"), "running/healthy");
    sandbox
        .ok(&["logs", "api"])
        .says("api in production with --verbose");
    sandbox.ok(&["logs", "nightly"]).says("backed up");
    let pid = sandbox.pid("api");
    common::proc::kill(pid);
    eventually("a restart", || {
        let status = sandbox.service("api");
        (status["pid"].as_u64().is_some_and(|now| now != u64::from(pid))).then_some(())
    });
}

#[test]
fn foreman() {
    let sandbox = sandbox("foreman");
    // The example is what init writes, whatever port there is.
    let written = sandbox.read("services.yaml");
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    std::fs::remove_file(sandbox.project().join("services.yaml")).unwrap();
    sandbox.replace(".env", "3000", &port.to_string());
    sandbox.ok(&["init", "--from", "procfile"]);
    let made = sandbox.read("services.yaml");
    let (first, second) = (port.to_string(), (port + 100).to_string());
    assert_eq!(made.replace(&first, "3000").replace(&second, "3100"), written);
    sandbox.ok(&["start"]);
    sandbox
        .ok(&["logs", "web"])
        .says(&format!("web on {first}, good morning"));
    sandbox.ok(&["logs", "worker"]).says(&format!("worker {second}"));
}

#[test]
fn compose() {
    let sandbox = sandbox("compose");
    sandbox.ok(&["validate"]);
    let plan = sandbox.json(&["config"]);
    assert_eq!(plan["config"]["services"]["shop"]["file"], "compose.yaml");
    std::fs::remove_file(sandbox.project().join("services.yaml")).unwrap();
    sandbox.ok(&["init", "--from", "compose"]);
    sandbox.ok(&["validate"]).says("2 services");
}

#[test]
fn systemd() {
    let sandbox = sandbox("systemd");
    sandbox.ok(&["start"]);
    sandbox.ok(&["logs", "app"]).says("level 3, blue");
    assert_eq!(sandbox.read("schema"), "migrated\n");
    assert_eq!(sandbox.read("prepared"), "prepared\n");
    let said = sandbox.ok(&["exec", "app", "--", "sh", "-c", "umask"]);
    assert_eq!(said.stdout, "0027\n");
    sandbox.ok(&["stop", "--all"]);
    assert!(!sandbox.project().join("prepared").exists());
}

#[test]
fn the_page_names_files_that_are_there_and_keys_that_exist() {
    let page = std::fs::read_to_string(root().join("docs/coming-from.md")).unwrap();
    let links = page.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    let mut count = 0;
    for link in links {
        assert!(root().join("docs").join(link).exists(), "{link}");
        count += 1;
    }
    assert!(count >= 12, "{count}");
}
