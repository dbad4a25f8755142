//! What `harness` says and does when something goes wrong: services that die, checks that never pass, ports that are
//! taken, words that are misspelt.

#![cfg(test)]

mod common;

use std::net::TcpListener;
use std::time::Duration;

use common::{PATIENCE, Sandbox, eventually, proc};

/// A service that fails at start, one that it blocks, and one that it does not block.
const BROKEN: &str = r#"
version: "1.0"
name: broken
services:
  db:
    type: process
    binary: sleep
    args: [1000]
  api:
    type: process
    binary: sh
    args: [-c, 'echo connecting >&2; echo "FATAL: no such role" >&2; exit 3']
    dependencies: [db]
    health_check: {command: "false"}
  worker:
    type: process
    binary: sleep
    args: [1000]
    dependencies: [api]
"#;

#[test]
fn a_service_that_exits_at_start_is_explained() {
    let sandbox = Sandbox::with_file("exits_at_start", BROKEN);
    let start = sandbox.harness(&["start"]).code(18);
    for words in [
        "✗ api failed: exited 3 after ",
        "last lines  | connecting",
        "| FATAL: no such role",
        "blocked     worker",
        "still up    db",
        "harness logs api · harness why api",
    ] {
        assert!(start.stderr.contains(words), "no `{words}`\n{start}");
    }
    let api = sandbox.service("api");
    assert_eq!(api["status"], "failed", "{api}");
    assert_eq!(api["exit_code"], 3, "{api}");
    assert_eq!(api["pid"], serde_json::Value::Null, "{api}");
    assert_eq!(sandbox.state("worker"), "pending/none");
    assert_eq!(sandbox.state("db"), "running/none");

    // The blocked service names the root cause.
    let why = sandbox.ok(&["why", "worker"]);
    let why = why.says("worker is pending: it waits for api");
    why.says("exited 3").says("FATAL: no such role");

    // Programs get the same information.
    let report = sandbox.harness(&["--json", "start"]).code(18).json();
    assert_eq!(report["failures"][0]["service"], "api", "{report}");
    assert_eq!(report["failures"][0]["exit"]["code"], 3, "{report}");
    assert_eq!(report["failures"][0]["blocked"][0], "worker", "{report}");
    assert_eq!(report["error"]["exit_code"], 18, "{report}");
    // A service has the same keys in every list.
    let graph = sandbox.ok(&["--json", "graph"]).json();
    for service in ["api", "worker", "db"] {
        let status = sandbox.service(service);
        for list in [&report["services"], &graph["nodes"]] {
            let mut listed = list.as_array().unwrap().iter();
            let one = listed.find(|one| one["name"] == service).unwrap();
            for (key, value) in status.as_object().unwrap() {
                let is_there = key == "uptime_s" || one.get(key) == Some(value);
                assert!(is_there, "{key} of {service} in {list}");
            }
        }
    }
}

#[test]
fn a_health_check_that_never_passes_ends_at_the_startup_timeout() {
    // A port where nobody can listen while this socket exists.
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = nobody.local_addr().unwrap().port();
    drop(nobody);
    let file = format!(
        r#"
version: "1.0"
services:
  api:
    type: process
    binary: sh
    args: [-c, 'echo still warming up; exec sleep 1000']
    startup_timeout: 1
    health_check:
      tcp: "127.0.0.1:{port}"
"#
    );
    let sandbox = Sandbox::with_file("never_healthy", &file);
    let start = sandbox.harness(&["start"]).code(18);
    assert!(start.elapsed < Duration::from_secs(20), "{start}");
    for words in [
        "✗ api failed: not healthy within 1s: connection refused",
        "last probe  tcp 127.0.0.1:",
        "connection refused",
        "| still warming up",
    ] {
        assert!(start.stderr.contains(words), "no `{words}`\n{start}");
    }
    // It runs on, and is well as soon as its check says so.
    assert_eq!(sandbox.state("api"), "running/unhealthy");
    assert!(sandbox.ok(&["why", "api"]).stdout.contains("connection refused"));
    let pid = sandbox.pid("api");
    let _late = TcpListener::bind(("127.0.0.1", port)).unwrap();
    sandbox.await_state("api", "running/healthy");
    assert_eq!(sandbox.pid("api"), pid);
    sandbox.ok(&["start"]).says("nothing changed");
}

#[test]
fn a_killed_service_is_restarted_by_policy_and_everybody_tells() {
    let sandbox = Sandbox::with_file(
        "killed",
        r#"
version: "1.0"
services:
  api:
    type: process
    binary: sleep
    args: [1000]
    restart: on-failure
  batch:
    type: process
    binary: sleep
    args: [1000]
"#,
    );
    sandbox.ok(&["start"]);
    let (api, batch) = (sandbox.pid("api"), sandbox.pid("batch"));
    proc::kill(api);
    let again = eventually("api runs again", || {
        let service = sandbox.service("api");
        let pid = service["pid"].as_u64().filter(|pid| *pid != u64::from(api))?;
        (service["status"] == "running").then_some((pid, service))
    });
    assert_eq!(again.1["restarts"], 1, "{}", again.1);
    sandbox.ok(&["events", "api"]).says("killed by SIGKILL");
    sandbox.ok(&["why", "api"]).says("killed by SIGKILL");

    // Without a policy it stays dead, and that is reported.
    proc::kill(batch);
    sandbox.await_state("batch", "failed/none");
    let service = sandbox.service("batch");
    assert_eq!(service["signal"], 9, "{service}");
    assert_eq!(service["exit_code"], serde_json::Value::Null, "{service}");
    sandbox.ok(&["status"]).says("batch: killed by SIGKILL");
}

#[test]
fn restarts_end_at_max_restarts() {
    let sandbox = Sandbox::with_file(
        "max_restarts",
        r#"
version: "1.0"
services:
  api:
    type: process
    binary: sh
    args: [-c, 'echo try >> tries; exit 7']
    restart: {policy: on-failure, max_restarts: 2}
"#,
    );
    let start = sandbox.harness(&["start"]).code(18);
    start.tells("exited 7 after").tells("(attempt 3 of 3)");
    assert_eq!(sandbox.read("tries"), "try\ntry\ntry\n");
    let service = sandbox.service("api");
    assert_eq!(service["status"], "failed", "{service}");
    assert_eq!(service["restarts"], 2, "{service}");
}

#[test]
fn a_port_held_by_a_stranger_is_named_before_anything_starts() {
    let stranger = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = stranger.local_addr().unwrap().port();
    let file = format!(
        r#"
version: "1.0"
services:
  first:
    type: process
    binary: sh
    args: [-c, 'touch first-ran; exec sleep 1000']
  db:
    type: process
    binary: sleep
    args: [1000]
    dependencies: [first]
    ports:
      - {port}
"#
    );
    let sandbox = Sandbox::with_file("port_held", &file);
    let start = sandbox.harness(&["start"]).code(1);
    let start = start
        .tells(&format!("✗ db: port {port} is held by "))
        .tells(&format!("pid {}", std::process::id()))
        .tells("not harness")
        .tells("services.yaml:14 `ports: - ")
        .tells("Nothing was started.");
    assert!(!sandbox.project().join("first-ran").exists(), "{start}");

    // The same file starts when the other process is gone, and its own service does not count as another process.
    drop(stranger);
    sandbox.ok(&["start"]);
    sandbox.ok(&["start"]).says("nothing changed");
}

#[test]
fn exit_codes_are_as_promised() {
    let sandbox = Sandbox::with_file(
        "exit_codes",
        r#"
version: "1.0"
services:
  database:
    type: process
    binary: sleep
    args: [1000]
"#,
    );
    // 2: a bad file, and bad words.
    sandbox.write(
        "bad.yaml",
        "version: \"1.0\"\nservices:\n  a:\n    type: process\n    binray: sleep\n    args: 5s\n",
    );
    let bad = sandbox.harness(&["-c", "bad.yaml", "start"]).code(2);
    let bad = bad
        .tells("bad.yaml:5:5")
        .tells("did you mean `binary`?")
        .tells("bad.yaml:6:");
    bad.tells("nothing started");
    assert!(sandbox.daemon_json().is_none(), "a bad file needs no daemon");
    sandbox.harness(&["start", "--no-such-flag"]).code(2);
    sandbox.harness(&["stop"]).code(2).tells("stop --all");

    // 3: nothing runs.
    sandbox.harness(&["status"]).code(3);
    sandbox.ok(&["start"]);
    sandbox.ok(&["stop", "--all"]);
    sandbox.harness(&["exec", "database", "--", "true"]).code(3);
    sandbox.harness(&["attach", "database"]).code(3);

    // 4: no such service.
    let typo = sandbox.harness(&["why", "databse"]).code(4);
    typo.tells("did you mean `database`?");
    sandbox
        .harness(&["start", "databse"])
        .code(4)
        .tells("did you mean `database`?");
    sandbox.harness(&["stop", "databse"]).code(4);
    sandbox.harness(&["logs", "databse"]).code(4);
}

#[test]
fn timeouts_end_17_and_leave_the_services_at_it() {
    let sandbox = Sandbox::with_file(
        "timeout",
        r#"
version: "1.0"
services:
  slow:
    type: process
    binary: sleep
    args: [1000]
    health_check:
      command: test -e ready
"#,
    );
    let start = sandbox.harness(&["start", "--timeout", "500ms"]).code(17);
    start.tells("start did not finish within 0.5s").tells("slow");
    assert_eq!(sandbox.state("slow"), "starting/starting");
    sandbox.harness(&["wait", "--timeout", "200ms"]).code(17);
    let wait = sandbox.spawn(&["wait", "slow"]);
    sandbox.write("ready", "");
    wait.wait(PATIENCE).code(0);
    assert_eq!(sandbox.state("slow"), "running/healthy");
}

#[test]
fn a_program_that_does_not_exist_is_named() {
    let sandbox = Sandbox::with_file(
        "no_program",
        r#"
version: "1.0"
services:
  ghost:
    type: process
    binary: no-such-program-anywhere
  place:
    type: process
    binary: sleep
    args: [1000]
    working_dir: ./no-such-folder
"#,
    );
    let start = sandbox.harness(&["start"]).code(18);
    let start = start.tells("✗ ghost failed: ").tells("no-such-program-anywhere");
    start.tells("✗ place failed: ").tells("no-such-folder");
}

#[test]
fn a_failure_takes_back_what_the_start_began_if_asked() {
    let sandbox = Sandbox::with_file("rollback", BROKEN);
    sandbox.ok(&["start", "db"]);
    let db = sandbox.pid("db");
    sandbox.replace("services.yaml", "dependencies: [db]", "dependencies: [db, cache]");
    let path = sandbox.project().join("services.yaml");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(
        &path,
        text + "  cache:\n    type: process\n    binary: sleep\n    args: [1000]\n",
    )
    .unwrap();
    sandbox
        .harness(&["start", "--rollback-on-failure"])
        .code(18)
        .tells("✗ api failed");
    assert_eq!(sandbox.pid("db"), db, "it ran before, so it keeps running");
    assert_eq!(sandbox.service("cache")["status"], "stopped");
}

#[test]
fn an_unhealthy_service_is_restarted_and_its_dependents_say_so() {
    let sandbox = Sandbox::with_file(
        "unhealthy",
        r#"
version: "1.0"
services:
  api:
    type: process
    binary: sh
    args: [-c, 'echo up >> starts; touch well; exec sleep 1000']
    health_check: {command: "test -e well", interval: 50ms, retries: 2}
  front:
    type: process
    binary: sleep
    args: [1000]
    dependencies: [api]
  phoenix:
    type: process
    binary: sh
    args: [-c, 'touch alive; exec sleep 1000']
    restart: always
    health_check: {command: "test -e alive", interval: 50ms, retries: 2}
"#,
    );
    sandbox.ok(&["start"]);
    let (api, phoenix) = (sandbox.pid("api"), sandbox.pid("phoenix"));
    std::fs::remove_file(sandbox.project().join("well")).unwrap();
    sandbox.await_state("api", "running/unhealthy");
    assert_eq!(sandbox.pid("api"), api, "without a policy it is not restarted");
    let front = eventually("front says that api is unhealthy", || {
        let front = sandbox.service("front");
        front["error"]
            .as_str()
            .is_some_and(|e| e.contains("api"))
            .then_some(front)
    });
    assert_eq!(front["status"], "running", "{front}");
    sandbox.write("well", "");
    sandbox.await_state("api", "running/healthy");

    std::fs::remove_file(sandbox.project().join("alive")).unwrap();
    eventually("phoenix rose", || {
        let service = sandbox.service("phoenix");
        let pid = service["pid"].as_u64()?;
        (pid != u64::from(phoenix) && service["health"] == "healthy").then_some(())
    });
    sandbox.ok(&["events", "phoenix"]).says("unhealthy");
}

#[test]
fn a_missing_env_file_is_fine_to_validate_and_not_to_start() {
    let sandbox = Sandbox::with_file(
        "missing_env_file",
        "name: envfile\nservices:\n  api:\n    type: process\n    binary: sleep\n    args: [1000]\n    env_file: missing.env\n",
    );
    sandbox.ok(&["validate"]);
    let start = sandbox.harness(&["start"]).code(2);
    assert!(start.stderr.contains("services.yaml:7:15"), "{start}");
    assert!(start.stderr.contains("missing.env"), "{start}");
    sandbox.write("missing.env", "A=1\n");
    sandbox.ok(&["start"]);
}

#[test]
fn a_type_that_cannot_be_run_yet_is_refused_before_anything_starts() {
    let sandbox = Sandbox::with_file(
        "package_refused",
        "name: mixed\nnetworks: {lan: {type: lan, nodes: [{host: far}]}}\nservices:\n  web:\n    type: package\n    network: lan\n    package: web.tar.gz\n  plain:\n    type: process\n    binary: sleep\n    args: [1000]\n",
    );
    sandbox.ok(&["validate"]);
    let start = sandbox.harness(&["start"]).code(2);
    assert!(
        start
            .stderr
            .contains("web: services of type `package` cannot be run yet"),
        "{start}"
    );
    assert!(start.stderr.contains("nothing was started"), "{start}");
    assert!(
        sandbox
            .processes()
            .iter()
            .all(|p| !p.command.contains("supervise")),
        "{start}"
    );
    sandbox.ok(&["start", "plain"]);
}
