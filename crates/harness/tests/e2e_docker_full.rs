//! An engine with a full disk: what needs space fails, and says so; everything else continues.

#![cfg(test)]
#![cfg(feature = "docker-tests")]

mod common;

use common::docker::DockerSandbox;
use common::engine::PrivateEngine;

const SERVICES: &str = r#"services:
  before: {type: docker, image: harness-test/program, restart: always}
  plain: {type: process, binary: sleep, args: ["1000"]}
  built: {type: docker, build: built}
  made: {type: docker, image: harness-test/program}
"#;

/// What is said of it, and what to do.
const FULL: [&str; 2] = ["no space left on device", "`docker system df` shows what uses it"];

/// Less than the build needs, and more than anything else needs.
const SOME_ROOM: u64 = 20 << 20;

#[test]
fn a_full_disk_of_the_engine_is_named_and_holds_up_nothing_else() {
    let Some(engine) = PrivateEngine::start_on_disk("400m", &[]) else {
        return;
    };
    let sandbox = DockerSandbox::on(&engine, "full", SERVICES);
    sandbox.write(
        "built/Dockerfile",
        "FROM harness-test/program\nRUN head -c 30000000 /dev/zero > /large\n",
    );
    sandbox.ok(&["start", "before", "plain"]);
    let before = sandbox.id("before").unwrap();
    let error_of = |service: &str| {
        sandbox.service(service)["error"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    };
    let others_go_on = || {
        assert_eq!(sandbox.id("before"), Some(before.clone()));
        assert_eq!(sandbox.state("before"), "running/none");
        assert_eq!(sandbox.state("plain"), "running/none");
    };

    engine.fill_disk(0);
    let start = sandbox.harness(&["start"]).code(18);
    for service in ["built", "made"] {
        for said in FULL {
            assert!(
                error_of(service).contains(said),
                "{service}: {}",
                error_of(service)
            );
        }
        // One report of each.
        let reports = start.stderr.matches(&format!("✗ {service} failed: ")).count();
        assert_eq!(reports, 1, "{start}");
    }
    others_go_on();

    // A step of the build writes more than fits: its error message is in the report.
    engine.empty_disk();
    engine.fill_disk(SOME_ROOM);
    let start = sandbox.harness(&["start", "built"]).code(18);
    assert!(start.stderr.to_lowercase().contains(FULL[0]), "{start}");
    others_go_on();

    engine.empty_disk();
    sandbox.ok(&["start"]);
    others_go_on();
    for service in ["built", "made"] {
        assert_eq!(sandbox.state(service), "running/none", "{service}");
    }
    sandbox.ok(&["stop", "--all"]);
    assert!(sandbox.containers().is_empty() && sandbox.networks().is_empty());
}
