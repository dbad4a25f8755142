//! The daemon does not grow when the same things are repeated: starts and stops, restarts, reads, commands, followers
//! that come and go. `HARNESS_SOAK=n` does n times as many rounds.

#![cfg(test)]

mod common;

use std::time::Duration;

use common::{Sandbox, eventually, proc};
use futures_lite::FutureExt;
use harness_core::{ConnectOptions, Home, Session, connect};
use harness_wire::client::{Client, Item};
use harness_wire::message::Request;
use serde_json::{Value, json};

/// How much the daemon may grow after it has warmed up, in KiB. Not zero: it remembers the last 10,000 events, and
/// these are the first few hundred.
const GROWTH: u64 = 6 << 10;

const FILE: &str = r#"
version: "1.0"
name: growth
services:
  one: {type: process, binary: sh, args: [-c, 'echo up; exec sleep 100000'], health_check: {log: up}}
  two: {type: process, binary: sleep, args: ["100000"], dependencies: [one]}
"#;

fn request(text: Value) -> Request {
    serde_json::from_value(text).unwrap()
}

/// Runs this with a client on a new connection.
fn with_client<F: Future<Output = ()>>(sandbox: &Sandbox, use_it: impl FnOnce(Client) -> F) {
    let options = ConnectOptions {
        home: Home::at(sandbox.home()),
        port: None,
        autostart: false,
        on_autostart: Box::new(|_| {}),
    };
    smol::block_on(async {
        let Session { client, driver, .. } = connect(&options).await.unwrap();
        let lost = async {
            driver.await;
            panic!("the connection is lost");
        };
        let expired = async {
            async_io::Timer::after(Duration::from_secs(180)).await;
            panic!("not in time");
        };
        use_it(client).or(lost).or(expired).await;
    });
}

fn soak() -> usize {
    std::env::var("HARNESS_SOAK").map_or(1, |times| times.parse().unwrap())
}

/// Runs this many rounds of everything.
fn work(sandbox: &Sandbox, rounds: usize) {
    let project = json!({"named": "growth"});
    for _ in 0..rounds {
        sandbox.ok(&["stop", "--all"]);
        sandbox.ok(&["start", "-d"]);
        sandbox.ok(&["wait", "--timeout", "60"]);
    }
    with_client(sandbox, |client| async move {
        let status = json!({"status": {"project": project, "services": []}});
        for _ in 0..rounds * 200 {
            client.request(request(status.clone())).await.unwrap();
        }
        let exec = json!({"exec": {"project": project, "service": "one", "command": ["true"], "terminal": null, "stdin": false, "env": {}, "user": null, "working_dir": null}});
        for _ in 0..rounds * 20 {
            client.request(request(exec.clone())).await.unwrap();
        }
        let logs = json!({"logs": {"project": project, "services": [], "follow": true, "tail": null, "since": null, "until": null, "grep": null}});
        for _ in 0..rounds * 10 {
            let mut call = client.open(request(logs.clone())).await.unwrap();
            while !matches!(call.next().await.unwrap(), Item::Data { .. }) {}
        }
    });
    // The same from clients that come and go.
    for _ in 0..rounds * 5 {
        with_client(sandbox, |client| async move {
            let follow = json!({"events": {"project": null, "services": [], "follow": true, "since": null}});
            let mut call = client.open(request(follow)).await.unwrap();
            while !matches!(call.next().await.unwrap(), Item::Event(_)) {}
        });
    }
}

#[test]
fn the_daemon_does_not_grow_with_what_it_has_done() {
    let sandbox = Sandbox::with_file("growth", FILE);
    sandbox.ok(&["start"]);
    let daemon = sandbox.daemon_pid().unwrap();
    work(&sandbox, 10);
    let (files, memory) = (proc::descriptors(daemon), proc::resident(daemon));
    work(&sandbox, 30 * soak());
    let after = proc::resident(daemon);
    eprintln!("{memory} KiB, then {after} KiB");
    assert!(after < memory + GROWTH, "from {memory} to {after} KiB");
    eventually("every descriptor is given back", || {
        (proc::descriptors(daemon) <= files + 2).then_some(())
    });
    let threads = std::fs::read_dir(format!("/proc/{daemon}/task")).unwrap().count();
    assert!(threads < 64, "{threads} threads");
}
