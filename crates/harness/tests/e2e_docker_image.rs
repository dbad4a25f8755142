//! Images that exist, are missing or are built, and missing engines.

#![cfg(test)]
#![cfg(feature = "docker-tests")]

mod common;

use common::Sandbox;
use common::docker::{DockerSandbox, project, request};

#[test]
fn an_image_that_is_nowhere_is_named() {
    let sandbox = DockerSandbox::new(
        "missing",
        "services:\n  app: {type: docker, image: \"127.0.0.1:9/no-such-image:1\"}\n",
    );
    let start = sandbox.harness(&["start"]).code(18);
    assert!(
        start
            .stderr
            .contains("image `127.0.0.1:9/no-such-image:1` is not on this machine and could not be pulled"),
        "{start}"
    );
    assert!(sandbox.networks().is_empty());
}

#[test]
fn an_image_for_another_platform_is_none() {
    // No registry listens on this port.
    let image = format!("127.0.0.1:9/{}", project("platform"));
    let tag = format!("/images/harness-test%2Fprogram/tag?repo={image}&tag=1");
    assert_eq!(request("POST", &tag, None).0, 201);
    let sandbox = DockerSandbox::new(
        "platform",
        &format!("services:\n  app: {{type: docker, image: \"{image}:1\", platform: linux/s390x}}\n"),
    );
    let start = sandbox.harness(&["start"]).code(18);
    let said = format!("image `{image}:1` for linux/s390x is not on this machine and could not be pulled");
    assert!(start.stderr.contains(&said), "{start}");
    sandbox.replace("services.yaml", "linux/s390x", "linux");
    sandbox.ok(&["start"]);
    sandbox.ok(&["stop", "--all"]);
    let untag = format!("/images/{}:1?force=1", image.replace('/', "%2F"));
    assert_eq!(request("DELETE", &untag, None).0, 200);
}

#[test]
fn an_image_is_built_from_its_context() {
    let sandbox = DockerSandbox::new(
        "built",
        "services:\n  app:\n    type: docker\n    build: {context: ctx, dockerfile: sub/App.dockerfile, args: {WHO: world}, target: second}\n",
    );
    sandbox.write(
        "ctx/sub/App.dockerfile",
        "FROM harness-test/base AS first\nARG WHO\nCOPY . /ctx/\nRUN echo \"hello $WHO\" > /greeting\nFROM first AS second\nCMD [\"sh\", \"-c\", \"cat /greeting; cd /ctx; find . -type f | sort; sleep 1000\"]\nFROM first AS third\nRUN false\n",
    );
    sandbox.write("ctx/.dockerignore", "*.log\nsub\nskipped/\n!kept.log\n");
    sandbox.write("ctx/a.log", "x");
    sandbox.write("ctx/kept.log", "x");
    sandbox.write("ctx/skipped/b", "x");
    sandbox.write("ctx/folder/c", "x");
    sandbox.ok(&["start"]);
    let logs = common::eventually("it tells", || {
        let logs = sandbox.ok(&["logs"]).stdout;
        logs.contains("./kept.log").then_some(logs)
    });
    for line in ["hello world", "./folder/c", "./kept.log"] {
        assert!(logs.contains(line), "{line}: {logs}");
    }
    for line in ["a.log", "skipped"] {
        assert!(!logs.contains(line), "{line}: {logs}");
    }
    sandbox.ok(&["stop", "--all"]);
    request(
        "DELETE",
        &format!("/images/{}-app?force=1", project("built")),
        None,
    );
}

#[test]
fn a_build_that_fails_says_why() {
    let sandbox = DockerSandbox::new(
        "failing",
        "services:\n  app: {type: docker, build: ctx}\n  lost: {type: docker, build: nowhere}\n  empty: {type: docker, build: bare}\n",
    );
    sandbox.write(
        "ctx/Dockerfile",
        "FROM harness-test/base\nRUN echo about-to-fail && exit 42\n",
    );
    sandbox.write("bare/file", "x");
    let start = sandbox.harness(&["start"]).code(18);
    for words in [
        "building the image failed",
        "returned a non-zero code: 42",
        "| about-to-fail",
        "cannot read the context ",
        "nowhere: No such file",
        "there is no Dockerfile in",
    ] {
        assert!(start.stderr.contains(words), "{words}: {start}");
    }
}

#[test]
fn without_an_engine_processes_work_and_containers_say_why() {
    let mut sandbox = Sandbox::with_file(
        "no_engine",
        "name: noengine\nservices:\n  app: {type: docker, image: x}\n  plain: {type: process, binary: sleep, args: [1000]}\n",
    );
    let socket = sandbox.root().join("no.sock");
    sandbox.set_env("DOCKER_HOST", format!("unix://{}", socket.display()));
    let start = sandbox.harness(&["start"]).code(18);
    assert!(
        start
            .stderr
            .contains(&format!("no Docker engine: there is no {}", socket.display())),
        "{start}"
    );
    assert_eq!(sandbox.state("plain"), "running/none");
    drop(std::os::unix::net::UnixListener::bind(&socket).unwrap());
    sandbox.harness(&["start"]).code(18).tells("is not running");
}
