//! The HEALTHCHECK of an image counts if the file has no `health_check`.

#![cfg(test)]
#![cfg(feature = "docker-tests")]

mod common;

use common::docker::{DockerSandbox, Image};
use common::eventually;

#[test]
fn postgres_is_healthy_by_its_image() {
    // The last service ends with 0 only if the database was ready when it was launched.
    let sandbox = DockerSandbox::new(
        "by_image",
        r#"services:
  db:
    type: docker
    image: harness-test/postgres
    env: {POSTGRES_PASSWORD: hunter2}
  asks:
    type: docker
    image: harness-test/postgres
    entrypoint: [pg_isready, --host, "${db.ip}"]
    oneshot: true
    dependencies: [{service: db, condition: healthy}]
  asks-by-default:
    type: docker
    image: harness-test/postgres
    entrypoint: [pg_isready, --host, db]
    oneshot: true
    dependencies: [db]
"#,
    );
    let started = sandbox.ok(&["start"]);
    started.tells("db              healthy");
    assert_eq!(sandbox.state("db"), "running/healthy");
    for asked in ["asks", "asks-by-default"] {
        assert!(
            sandbox.state(asked).starts_with("completed/"),
            "{}",
            sandbox.state(asked)
        );
    }
    sandbox
        .ok(&["service", "show", "db"])
        .says("command healthcheck (of its image)");
    // Our prober runs it, and the engine does not run it as well.
    let test = &sandbox.inspect("db")["Config"]["Healthcheck"]["Test"];
    assert_eq!(test[0], "NONE", "{test}");
    sandbox.ok(&["start"]).tells("unchanged");
    // The next daemon knows the check too, and runs it again before it reports the result.
    sandbox.kill_daemon();
    sandbox.ok(&["daemon", "start"]);
    sandbox.await_state("db", "running/healthy");
    sandbox
        .ok(&["service", "show", "db"])
        .says("command healthcheck (of its image)");
}

// Images come first, because they must be dropped after the containers that use them.

#[test]
fn a_failing_healthcheck_of_a_built_image_says_why() {
    let _image = Image::of("says_why", "app");
    let sandbox = DockerSandbox::new(
        "says_why",
        r#"services:
  app:
    type: docker
    build: app
    startup_timeout: 8
    env: {WHO: the-app}
  after: {type: process, binary: sleep, args: ["1000"], dependencies: [app]}
"#,
    );
    sandbox.write(
        "app/Dockerfile",
        "FROM harness-test/program\nHEALTHCHECK --interval=200ms --timeout=2s CMD test -e /tmp/up || { echo \"not yet: $WHO\"; exit 1; }\n",
    );
    sandbox
        .harness(&["start"])
        .code(18)
        .tells("not healthy within 8s")
        .tells("exited 1: not yet: the-app")
        .tells("blocked     after");
    // It runs on, as a process does, and is well as soon as its check says so.
    assert_eq!(sandbox.state("app"), "running/unhealthy");
    assert_eq!(sandbox.state("after"), "pending/none");
    let id = sandbox.id("app");
    sandbox.ok(&["exec", "app", "--", "touch", "/tmp/up"]);
    sandbox.await_state("app", "running/healthy");
    sandbox.await_state("after", "running/none");
    assert_eq!(sandbox.id("app"), id);
    sandbox.ok(&["exec", "app", "--", "rm", "/tmp/up"]);
    sandbox.await_state("app", "running/unhealthy");
    sandbox
        .ok(&["why", "app"])
        .says("command /bin/sh -c test")
        .says("exited 1: not yet: the-app");
}

#[test]
fn an_image_whose_check_may_take_long_gets_the_time() {
    let _images = ["slow", "hurried"].map(|service| Image::of("long", service));
    let sandbox = DockerSandbox::new(
        "long",
        "services:\n  slow: {type: docker, build: slow}\n  hurried: {type: docker, build: hurried, startup_timeout: 50}\n",
    );
    for service in ["slow", "hurried"] {
        sandbox.write(
            &format!("{service}/Dockerfile"),
            "FROM harness-test/program\nHEALTHCHECK --interval=1s --timeout=1s --retries=5 --start-period=200s CMD false\n",
        );
    }
    // Only on a terminal is the remaining time shown.
    let inside = format!("stty cols 200; {} start", env!("CARGO_BIN_EXE_harness"));
    let start = sandbox.command("script", &["-qec", &inside, "/dev/null"]);
    // The latest of `app  starting  0.5s  (56s left)`. A line is filled up to its end, and the next one follows it.
    let left = |service: &str| {
        let (said, name) = (start.stdout(), format!(" {service} "));
        let drawn = said.split(&name).skip(1);
        let told = drawn.filter_map(|rest| {
            let (line, _) = rest.split_once(" left)")?;
            let is_own = ![" slow ", " hurried "].iter().any(|other| line.contains(other));
            is_own.then_some(line.rsplit_once('(')?.1.to_owned())
        });
        told.last()
    };
    eventually("its image gives it more time than the default", || {
        left("slow").filter(|left| left.starts_with("3m "))
    });
    // The file's value counts.
    let hurried = eventually("the other one is shown", || left("hurried"));
    assert!(!hurried.contains('m'), "{hurried}");
    sandbox.ok(&["stop", "--all"]);
    start.wait(common::PATIENCE);
}

#[test]
fn who_becomes_unhealthy_by_its_image_is_restarted() {
    let _image = Image::of("ill", "app");
    let sandbox = DockerSandbox::new(
        "ill",
        r#"services:
  app: {type: docker, build: app, restart: on-failure, command: [sh, -c, "touch /tmp/ok; exec sleep 1000"]}
  on-it: {type: process, binary: sleep, args: ["1000"], dependencies: [app]}
"#,
    );
    sandbox.write(
        "app/Dockerfile",
        "FROM harness-test/base\nHEALTHCHECK --interval=300ms --retries=2 CMD [\"test\", \"-e\", \"/tmp/ok\"]\n",
    );
    sandbox.ok(&["start"]).tells("app      healthy");
    let first = sandbox.id("app").unwrap();
    sandbox.ok(&["exec", "app", "--", "rm", "/tmp/ok"]);
    eventually("it is another one, and healthy", || {
        let now = sandbox.id("app")?;
        (now != first && sandbox.state("app") == "running/healthy").then_some(())
    });
    assert_eq!(sandbox.service("app")["restarts"], 1);
    // The file overrides the image.
    sandbox.replace(
        "services.yaml",
        "restart: on-failure,",
        "health_check: {command: [\"true\"]},",
    );
    sandbox.ok(&["start"]);
    assert_eq!(sandbox.state("app"), "running/healthy");
    sandbox.ok(&["exec", "app", "--", "rm", "/tmp/ok"]);
    let shown = sandbox.ok(&["service", "show", "app"]).stdout;
    assert!(
        shown.contains("command true") && !shown.contains("of its image"),
        "{shown}"
    );
}

#[test]
fn who_has_no_healthcheck_is_never_healthy() {
    let _image = Image::of("never", "none");
    let sandbox = DockerSandbox::new(
        "never",
        r#"services:
  none: {type: docker, build: none, entrypoint: [sleep, "1000"]}
  plain: {type: docker, image: harness-test/program}
  content: {type: process, binary: sleep, args: ["1000"], dependencies: [none, plain]}
"#,
    );
    sandbox.write(
        "none/Dockerfile",
        "FROM harness-test/postgres\nHEALTHCHECK NONE\n",
    );
    sandbox.ok(&["start"]);
    assert_eq!(sandbox.state("none"), "running/none");
    assert_eq!(sandbox.state("content"), "running/none");
    sandbox.ok(&["stop", "--all"]);
    sandbox.replace(
        "services.yaml",
        "[none, plain]",
        "[{service: none, condition: healthy}]",
    );
    // At once, because waiting would not make it healthy.
    sandbox
        .harness(&["start", "--timeout", "50"])
        .code(18)
        .tells("depends on none, which has no health check, and neither has its image");
}
