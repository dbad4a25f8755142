//! Several projects with containers in one daemon.

#![cfg(test)]
#![cfg(feature = "docker-tests")]

mod common;

use common::docker::{DockerSandbox, project};
use common::eventually;
use serde_json::Value;

fn of<'a>(project: &'a str, things: &'a [Value]) -> impl Iterator<Item = &'a Value> {
    things
        .iter()
        .filter(move |thing| thing["Labels"]["harness.project"] == project)
}

#[test]
fn a_project_goes_as_a_whole_while_another_one_starts() {
    let services = |count: u32| -> String {
        let service = |number| format!("  s{number}: {{type: docker, image: harness-test/program}}\n");
        (1..=count).map(service).collect()
    };
    let sandbox = DockerSandbox::new("whole", &format!("services:\n{}", services(2)));
    let (own, other) = (project("whole"), project("other"));
    sandbox.write(
        "other.yaml",
        &format!("name: {other}\nservices:\n{}", services(6)),
    );
    for _ in 0..2 {
        sandbox.ok(&["start"]);
        let start = sandbox.spawn(&["start", "-c", "other.yaml"]);
        eventually("the other one is on its way", || {
            of(&other, &sandbox.containers()).next().map(drop)
        });
        sandbox.ok(&["stop", "--all"]);
        assert_eq!(of(&own, &sandbox.containers()).count(), 0);
        assert_eq!(of(&own, &sandbox.networks()).count(), 0);
        start.wait(common::PATIENCE).code(0);
        sandbox.ok(&["stop", "--all", "-p", &other]);
        assert!(sandbox.containers().is_empty() && sandbox.networks().is_empty());
    }
}
