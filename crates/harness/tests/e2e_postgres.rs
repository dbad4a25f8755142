//! `examples/postgres`: a real PostgreSQL under load, from the first start until everything is gone.
//!
//! Needs PostgreSQL's programs (Debian: postgresql), and fails without them: `cargo xtask test` installs them.

#![cfg(test)]

mod common;

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::Duration;

use common::{PATIENCE, Sandbox, eventually, proc};

const UP: [(&str, &str); 5] = [
    ("initdb", "completed/none"),
    ("db", "running/healthy"),
    ("schema", "completed/none"),
    ("load", "completed/none"),
    ("app", "running/healthy"),
];

/// A copy of the example with its own data folder.
fn example(test: &str) -> Sandbox {
    let programs =
        std::fs::read_dir("/usr/lib/postgresql").is_ok_and(|mut versions| versions.next().is_some());
    let in_path = std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default())
        .any(|folder| folder.join("postgres").is_file());
    assert!(
        programs || in_path,
        "PostgreSQL is not installed; on Debian: apt-get install postgresql"
    );
    let mut sandbox = Sandbox::with_example(test, "postgres");
    // If the test runs as root, the user postgres creates the cluster.
    let data = sandbox.root().join("pg");
    std::fs::create_dir(&data).unwrap();
    std::fs::set_permissions(&data, std::fs::Permissions::from_mode(0o777)).unwrap();
    sandbox.set_env("PGDATA", data.join("data").to_str().unwrap());
    sandbox
}

fn data_folder(sandbox: &Sandbox) -> PathBuf {
    sandbox.root().join("pg/data")
}

fn port(sandbox: &Sandbox) -> u16 {
    let db = sandbox.service("db");
    let port = db["ports"][0]["port"]
        .as_u64()
        .unwrap_or_else(|| panic!("db has no port: {db}"));
    u16::try_from(port).unwrap()
}

/// The answer of the database to a statement.
fn query(sandbox: &Sandbox, statement: &str) -> String {
    let words = ["exec", "db", "--", "psql", "-XtAc", statement];
    sandbox.ok(&words).stdout.trim().to_owned()
}

#[track_caller]
fn assert_gone(sandbox: &Sandbox, port: u16) {
    let processes = sandbox.processes();
    assert!(processes.is_empty(), "left running: {processes:?}");
    assert!(!proc::is_listening(port), "port {port} is still listened on");
    let sockets = proc::sockets_below(sandbox.root());
    assert!(sockets.is_empty(), "left bound: {sockets:?}");
    let pid_file = data_folder(sandbox).join("postmaster.pid");
    assert!(!pid_file.exists(), "PostgreSQL did not clean up after itself");
}

#[test]
fn it_comes_up_is_left_alone_is_replaced_in_part_and_goes() {
    let sandbox = example("postgres");
    sandbox.ok(&["start"]);
    for (service, state) in UP {
        assert_eq!(sandbox.state(service), state, "{service}");
    }
    assert_eq!(query(&sandbox, "SELECT count(*) FROM tag"), "3");
    let port_before = port(&sandbox);
    assert!(proc::is_listening(port_before));
    let before = sandbox.pids();
    assert_eq!(before.keys().collect::<Vec<_>>(), ["app", "db"]);

    // Nothing changed, so nothing is replaced, and no one-shot runs again.
    sandbox.ok(&["start"]);
    assert_eq!(sandbox.pids(), before);
    assert_eq!(port(&sandbox), port_before);

    // One service changed, so only that one is replaced.
    sandbox.replace("services.yaml", "PGAPPNAME: app", "PGAPPNAME: renamed");
    let again = sandbox.ok(&["start"]);
    assert!(
        again.stdout.contains("PGAPPNAME") || again.stderr.contains("PGAPPNAME"),
        "{again}"
    );
    let after = sandbox.pids();
    assert_ne!(after["app"], before["app"]);
    assert_eq!(after["db"], before["db"]);
    let clients = "SELECT count(*) > 0 FROM pg_stat_activity WHERE application_name = 'renamed'";
    eventually("the new application is connected", || {
        (query(&sandbox, clients) == "t").then_some(())
    });

    sandbox.ok(&["stop", "--all"]);
    assert_gone(&sandbox, port_before);
    for (service, _) in UP {
        assert_eq!(sandbox.state(service), "stopped/none", "{service}");
    }

    // And the same again, with the existing data.
    sandbox.ok(&["start"]);
    for (service, state) in UP {
        assert_eq!(sandbox.state(service), state, "{service}");
    }
    assert_eq!(query(&sandbox, "SELECT count(*) FROM tag"), "3");
}

#[test]
fn run_ends_with_the_code_of_its_command_and_leaves_nothing() {
    let sandbox = example("postgres_run");
    let script = r#"echo "$HARNESS_DB_PORT"
        psql -XtA -h "$HARNESS_DB_IP" -p "$HARNESS_DB_PORT" -U postgres -c "SELECT 'tags: ' || count(*) FROM tag"
        exit 5"#;
    let run = sandbox
        .harness(&["run", "--", "sh", "-c", script])
        .code(5)
        .says("tags: 3");
    let port = run.stdout.lines().find_map(|line| line.trim().parse().ok());
    assert_gone(&sandbox, port.expect("the command was told the port"));
}

#[test]
fn it_stops_cleanly_under_load() {
    let sandbox = example("postgres_load");
    sandbox.ok(&["start"]);
    // A very busy client that harness does not know, and that `stop` does not end first.
    let port = port(&sandbox).to_string();
    let words = [
        "-h",
        "127.0.0.1",
        "-p",
        &port,
        "-U",
        "postgres",
        "-c",
        "4",
        "-T",
        "300",
        "-n",
        "postgres",
    ];
    let mut client = sandbox.command("pgbench", &words);
    let busy =
        "SELECT count(*) >= 4 FROM pg_stat_activity WHERE application_name = 'pgbench' AND state = 'active'";
    eventually("the client is at work", || {
        assert!(!client.has_ended(), "{}", client.stderr());
        (query(&sandbox, busy) == "t").then_some(())
    });

    let stop = sandbox.ok(&["stop", "db"]);

    assert!(
        stop.elapsed < Duration::from_secs(20),
        "it was killed at the end of its grace\n{stop}"
    );
    let logs = sandbox.ok(&["logs", "db", "-n", "200"]);
    let (log, _) = logs.stdout.rsplit_once('\n').unwrap_or_default();
    assert!(log.contains("received fast shutdown request"), "{logs}");
    assert!(log.ends_with("database system is shut down"), "{logs}");
    assert_eq!(sandbox.service("db")["exit_code"], 0);
    client.wait(PATIENCE);
    sandbox.ok(&["stop", "--all"]);
    assert_gone(&sandbox, port.parse().unwrap());

    // The next start finds a cluster that needs no recovery.
    sandbox.ok(&["start", "db"]);
    let logs = sandbox.ok(&["logs", "db"]);
    assert!(!logs.stdout.contains("automatic recovery in progress"), "{logs}");
}
