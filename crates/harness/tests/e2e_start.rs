//! Start is idempotent, replaces exactly what changed, and does what its options say.

#![cfg(test)]

mod common;

use common::{PATIENCE, Sandbox, eventually, proc};

/// Three sleepers in a row and a one-shot beside them.
const FILE: &str = r#"
version: "1.0"
name: shop
services:
  db:
    type: process
    binary: sleep
    args: [1000]
  api:
    type: process
    binary: sleep
    args: [1000]
    env: {LOG_LEVEL: info}
    dependencies: [db]
  web:
    type: process
    binary: sleep
    args: [1000]
    dependencies: [api]
  schema:
    type: process
    oneshot: true
    binary: sh
    args: [-c, 'echo "$REVISION" >> schema-runs']
    env: {REVISION: 1}
"#;

#[test]
fn a_second_start_changes_nothing() {
    let sandbox = Sandbox::with_file("second_start", FILE);
    sandbox.ok(&["start"]).says("4/4 up in ").says("critical path: ");
    let pids = sandbox.pids();
    sandbox.ok(&["start"]).says("4/4 up, nothing changed");
    assert_eq!(sandbox.pids(), pids);
    assert_eq!(sandbox.read("schema-runs"), "1\n", "a completed one-shot is done");

    // The environment of another shell changes nothing either, because it is not part of the spec.
    let elsewhere = sandbox.command(
        "sh",
        &[
            "-c",
            &format!(
                "LANG=C.UTF-8 TZ=UTC XDG_STUFF=1 {} start",
                env!("CARGO_BIN_EXE_harness")
            ),
        ],
    );
    elsewhere.wait(common::PATIENCE).code(0).says("nothing changed");
    assert_eq!(sandbox.pids(), pids);
}

#[test]
fn a_changed_service_alone_is_replaced() {
    let sandbox = Sandbox::with_file("replaced", FILE);
    sandbox.ok(&["start"]);
    let before = sandbox.pids();
    sandbox.replace("services.yaml", "LOG_LEVEL: info", "LOG_LEVEL: debug");
    let start = sandbox.ok(&["start"]);
    let told = format!("{}{}", start.stdout, start.stderr);
    assert!(told.contains("replaced: env LOG_LEVEL changed"), "{start}");
    let after = sandbox.pids();
    assert_ne!(after["api"], before["api"], "{start}");
    assert_eq!(after["db"], before["db"], "{start}");
    assert_eq!(after["web"], before["web"], "{start}");
    assert_eq!(sandbox.read("schema-runs"), "1\n");
    sandbox.ok(&["start"]).says("nothing changed");
}

#[test]
fn a_oneshot_reruns_when_changed_failed_or_the_project_was_stopped() {
    let sandbox = Sandbox::with_file("oneshot", FILE);
    sandbox.ok(&["start"]);
    sandbox.replace("services.yaml", "REVISION: 1", "REVISION: 2");
    sandbox.ok(&["start"]);
    assert_eq!(sandbox.read("schema-runs"), "1\n2\n", "changed");
    sandbox.ok(&["stop", "--all"]);
    sandbox.ok(&["start"]);
    assert_eq!(sandbox.read("schema-runs"), "1\n2\n2\n", "stopped");
    sandbox.replace("services.yaml", "schema-runs'", "schema-runs; test -e fixed'");
    sandbox.harness(&["start"]).code(18);
    sandbox.write("fixed", "");
    sandbox.ok(&["start"]);
    assert_eq!(sandbox.read("schema-runs"), "1\n2\n2\n2\n2\n", "failed");
    assert_eq!(sandbox.state("schema"), "completed/none");
}

#[test]
fn what_left_the_file_runs_on_until_pruned() {
    let sandbox = Sandbox::with_file("prune", FILE);
    sandbox.ok(&["start"]);
    let web = sandbox.pid("web");
    let text = FILE.replace(
        "  web:\n    type: process\n    binary: sleep\n    args: [1000]\n    dependencies: [api]\n",
        "",
    );
    sandbox.write("services.yaml", &text);
    sandbox.ok(&["start"]).tells("no longer in the file: web");
    assert_eq!(sandbox.pid("web"), web);
    assert_eq!(sandbox.service("web")["in_file"], false);
    sandbox.ok(&["status"]).says("not in file: web");
    sandbox.ok(&["start", "--prune"]);
    assert!(!proc::is_alive(web));
    assert_eq!(sandbox.pids().len(), 2);
}

#[test]
fn a_dry_run_tells_and_does_nothing() {
    let sandbox = Sandbox::with_file("dry_run", FILE);
    let plan = sandbox.ok(&["start", "--dry-run"]);
    assert_eq!(
        plan.stdout,
        "db       start\napi      start  after db\nschema   start\nweb      start  after api\n"
    );
    assert_eq!(sandbox.read("schema-runs"), "");
    assert_eq!(
        sandbox
            .harness(&["--json", "status"])
            .stdout
            .matches("\"running\"")
            .count(),
        0
    );

    sandbox.ok(&["start"]);
    let pids = sandbox.pids();
    sandbox.replace("services.yaml", "LOG_LEVEL: info", "LOG_LEVEL: debug");
    let plan = sandbox.ok(&["start", "--dry-run"]);
    plan.says("replace: env LOG_LEVEL changed").says("unchanged");
    assert_eq!(sandbox.pids(), pids);
    // The dry run did not keep its plan.
    sandbox.replace("services.yaml", "LOG_LEVEL: debug", "LOG_LEVEL: info");
    sandbox.ok(&["start"]).says("nothing changed");
    assert_eq!(sandbox.pids(), pids);
}

#[test]
fn services_are_chosen_with_and_without_what_they_need() {
    let sandbox = Sandbox::with_file("chosen", FILE);
    // Its dependencies are not started, but still required.
    let alone = sandbox.harness(&["start", "--no-deps", "web"]).code(18);
    alone.tells("✗ web failed: depends on api, which is not running");
    assert_eq!(sandbox.pids().len(), 0);
    sandbox.ok(&["start", "db"]);
    sandbox.ok(&["start", "--no-deps", "api"]);
    assert!(sandbox.pids().contains_key("api"));
    sandbox.ok(&["stop", "--all"]);
    sandbox.ok(&["start", "api"]);
    assert_eq!(sandbox.pids().keys().collect::<Vec<_>>(), ["api", "db"]);
    assert_eq!(sandbox.read("schema-runs"), "");
}

#[test]
fn a_detached_start_returns_at_once_and_goes_on() {
    let sandbox = Sandbox::with_file(
        "detach",
        r#"
version: "1.0"
services:
  slow:
    type: process
    binary: sleep
    args: [1000]
    health_check: {command: "test -e ready"}
  after:
    type: process
    binary: sleep
    args: [1000]
    dependencies: [slow]
"#,
    );
    sandbox.ok(&["start", "-d"]).says("2 of 2 starting");
    assert!(!sandbox.pids().contains_key("after"));
    sandbox.write("ready", "");
    sandbox.ok(&["wait"]);
    assert_eq!(sandbox.state("slow"), "running/healthy");
    assert_eq!(sandbox.state("after"), "running/none");
}

#[test]
fn an_order_waits_for_what_is_unhealthy_for_a_moment() {
    let sandbox = Sandbox::with_file(
        "relapse",
        r#"
name: relapse
services:
  db:
    type: process
    binary: sh
    args: [-c, 'touch well; exec sleep 1000']
    startup_timeout: 30
    health_check: {command: "test -e well", interval: 20ms, retries: 2}
  child: {type: process, binary: sleep, args: [1000], dependencies: [db]}
"#,
    );
    sandbox.ok(&["start", "db"]);
    let (db, well) = (sandbox.pid("db"), sandbox.project().join("well"));
    let orders: &[&[&str]] = &[
        &["start", "child"],
        &["start", "--no-deps", "child"],
        &["restart", "child"],
        &["run", "child", "--", "true"],
    ];
    for order in orders {
        std::fs::remove_file(&well).unwrap();
        sandbox.await_state("db", "running/unhealthy");
        let mut ordered = sandbox.spawn(order);
        eventually("it says what it waits for", || {
            assert!(!ordered.has_ended(), "{order:?} gave up: {}", ordered.stderr());
            let child = sandbox.status().remove("child")?;
            (child["status"] == "pending").then_some(())
        });
        std::fs::write(&well, "").unwrap();
        ordered.wait(PATIENCE).code(0);
        sandbox.ok(&["stop", "child"]);
    }
    assert_eq!(sandbox.pid("db"), db);

    // The wait is not endless: the caller's timeout and the service's own end it, and the message gives the reason.
    std::fs::remove_file(&well).unwrap();
    sandbox.await_state("db", "running/unhealthy");
    let late = sandbox
        .harness(&["start", "--timeout", "300ms", "child"])
        .code(17);
    late.tells("db (unhealthy: command test -e well: exited 1)");
    sandbox.ok(&["stop", "child"]);
    sandbox.replace("services.yaml", "startup_timeout: 30", "startup_timeout: 1");
    std::fs::write(&well, "").unwrap();
    sandbox.ok(&["start", "db"]);
    std::fs::remove_file(&well).unwrap();
    sandbox.await_state("db", "running/unhealthy");
    let failed = sandbox.harness(&["start", "child"]).code(18);
    failed.tells("✗ db failed: unhealthy").tells("child");
}

#[test]
fn restart_replaces_the_processes_of_what_it_names() {
    let sandbox = Sandbox::with_file(
        "restart",
        r#"
version: "1.0"
services:
  db:
    type: process
    binary: sleep
    args: [1000]
    restart: on-failure
  follower:
    type: process
    binary: sleep
    args: [1000]
    dependencies: [{service: db, restart: true}]
  bystander:
    type: process
    binary: sleep
    args: [1000]
    dependencies: [db]
"#,
    );
    sandbox.ok(&["start"]);
    let before = sandbox.pids();
    sandbox.ok(&["restart", "bystander"]);
    let after = sandbox.pids();
    assert_ne!(after["bystander"], before["bystander"]);
    assert_eq!(
        (after["db"], after["follower"]),
        (before["db"], before["follower"])
    );

    // A dependent with `restart: true` restarts with its dependency, the other one does not.
    let before = after;
    sandbox.ok(&["restart", "db"]);
    sandbox.ok(&["wait"]);
    let after = sandbox.pids();
    assert_ne!(after["db"], before["db"]);
    assert_ne!(after["follower"], before["follower"]);
    assert_eq!(after["bystander"], before["bystander"]);

    // The same when the policy restarts it.
    let before = after;
    proc::kill(u32::try_from(before["db"]).unwrap());
    let after = eventually("both have come back", || {
        let pids = sandbox.pids();
        let came_back = |name: &str| pids.get(name).is_some_and(|pid| *pid != before[name]);
        (came_back("db") && came_back("follower")).then_some(pids)
    });
    assert_eq!(after["bystander"], before["bystander"]);
}

#[test]
fn profiles_choose_services() {
    let sandbox = Sandbox::with_file(
        "profiles",
        r#"
version: "1.0"
services:
  app:
    type: process
    binary: sleep
    args: [1000]
  debugger:
    type: process
    binary: sleep
    args: [1000]
    profiles: [debug]
"#,
    );
    sandbox.ok(&["start"]);
    assert_eq!(sandbox.pids().keys().collect::<Vec<_>>(), ["app"]);
    let app = sandbox.pid("app");
    sandbox.ok(&["start", "--profile", "debug"]);
    assert_eq!(sandbox.pids().keys().collect::<Vec<_>>(), ["app", "debugger"]);
    assert_eq!(sandbox.pid("app"), app);
}

#[test]
fn several_files_are_merged_in_order() {
    let sandbox = Sandbox::with_file(
        "merged",
        r#"
version: "1.0"
services:
  app:
    type: process
    binary: sh
    args: [-c, 'echo "$A $B" > said; exec sleep 1000']
    env: {A: base, B: base}
"#,
    );
    sandbox.write("dev.yaml", "services:\n  app:\n    env: {B: dev}\n  extra:\n    type: process\n    binary: sleep\n    args: [1000]\n");
    sandbox.ok(&["-c", "services.yaml", "-c", "dev.yaml", "start"]);
    eventually("it said so", || {
        (sandbox.read("said") == "base dev\n").then_some(())
    });
    assert_eq!(sandbox.pids().len(), 2);
    // A variable in the CLI's environment overrides the .env beside the file.
    sandbox.write(
        "dev.yaml",
        "services:\n  app:\n    env: {B: \"${WHO:-nobody} ${FROM:-nowhere}\"}\n",
    );
    sandbox.write(".env", "WHO=dotenv\nFROM=dotenv\n");
    let script = format!(
        "WHO=shell {} -c services.yaml -c dev.yaml start",
        env!("CARGO_BIN_EXE_harness")
    );
    sandbox
        .command("sh", &["-c", &script])
        .wait(common::PATIENCE)
        .code(0);
    eventually("it said so", || {
        (sandbox.read("said") == "base shell dotenv\n").then_some(())
    });
}

#[test]
fn a_report_for_ci_is_written() {
    let sandbox = Sandbox::with_file(
        "report",
        r#"
version: "1.0"
services:
  good:
    type: process
    binary: sh
    args: [-c, 'echo hello from good; exec sleep 1000']
  bad:
    type: process
    binary: sh
    args: [-c, 'echo "<&> broken"; exit 9']
"#,
    );
    sandbox.harness(&["start", "--report", "report"]).code(18);
    let files: Vec<String> = walk(&sandbox.project().join("report"));
    let all: Vec<String> = files
        .iter()
        .map(|file| std::fs::read_to_string(file).unwrap())
        .collect();
    let junit = files
        .iter()
        .position(|file| file.ends_with(".xml"))
        .map(|at| &all[at])
        .expect("a JUnit file");
    assert!(
        junit.contains("tests=\"2\"") && junit.contains("failures=\"1\""),
        "{junit}"
    );
    assert!(
        junit.contains("exited 9 after") && !junit.contains("<&>"),
        "{junit}"
    );
    let json = files
        .iter()
        .position(|file| file.ends_with(".json"))
        .map(|at| &all[at])
        .expect("a JSON file");
    let json: serde_json::Value = serde_json::from_str(json).unwrap();
    assert_eq!(json["failures"][0]["service"], "bad", "{json}");
    assert!(
        all.iter().any(|text| text.contains("hello from good")),
        "{files:?}"
    );
}

#[test]
fn a_report_is_written_when_the_time_is_over_too() {
    let sandbox = Sandbox::with_file(
        "late_report",
        r#"
version: "1.0"
services:
  good:
    type: process
    binary: sh
    args: [-c, 'echo hello from good; exec sleep 1000']
  slow:
    type: process
    binary: sh
    args: [-c, 'echo warming up; exec sleep 1000']
    health_check: {command: [sh, -c, 'echo not warm; exit 4']}
  after:
    type: process
    binary: sleep
    args: [1000]
    dependencies: [slow]
"#,
    );
    let start = sandbox.harness(&["start", "--timeout", "3", "--report", "out"]);
    start
        .code(17)
        .tells("report in out")
        .tells("did not finish within 3.0s");
    let junit = sandbox.read("out/junit.xml");
    for words in [
        "tests=\"3\" failures=\"1\" errors=\"0\" skipped=\"1\"",
        "not ready within 3.0s: slow",
        "last probe: ",
        "not warm",
        "not ready: pending",
    ] {
        assert!(junit.contains(words), "no `{words}` in {junit}");
    }
    let json: serde_json::Value = serde_json::from_str(&sandbox.read("out/report.json")).unwrap();
    assert_eq!(json["failures"][0]["service"], "slow", "{json}");
    assert_eq!(sandbox.read("out/logs/slow.log"), "warming up\n");
    assert_eq!(sandbox.read("out/logs/good.log"), "hello from good\n");
}

fn walk(folder: &std::path::Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(walk(&path));
        } else {
            found.push(path.display().to_string());
        }
    }
    found
}
