//! Hooks of containers run on this machine while there is no container, and in the container while there is one.

#![cfg(test)]
#![cfg(feature = "docker-tests")]

mod common;

use common::docker::{DockerSandbox, Image};
use common::eventually;

const SERVICES: &str = r#"services:
  app:
    type: docker
    image: harness-test/base
    working_dir: /tmp
    entrypoint: [sh, -c]
    command: ['cat /given/seed > /tmp/order; trap "exit 0" TERM; touch /tmp/up; while :; do sleep 0.02; done']
    env: {NAME: app, PATH: "/usr/bin:/bin"}
    volumes: ["./given:/given"]
    health_check: {command: [test, -e, /tmp/up]}
    hooks:
      before_start: [./prepare.sh, "$NAME"]
      after_healthy: [sh, -c, 'echo "after_healthy $NAME in $(pwd)" >> order; cp order /given/seen']
      before_stop: [sh, -c, 'echo before_stop >> order; cp order /given/seen']
      after_stop: [sh, -c, 'echo "after_stop $NAME in $(pwd)" >> given/seen']
"#;

#[test]
fn hooks_run_here_and_inside() {
    let sandbox = DockerSandbox::new("hooks", SERVICES);
    let script = sandbox.write(
        "prepare.sh",
        "#!/bin/sh\necho \"before_start $NAME\" > given/seed\n",
    );
    std::fs::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    sandbox.write("given/.keep", "");
    sandbox.ok(&["start"]);
    eventually("the hook after it", || {
        sandbox.read("given/seen").contains("after_healthy").then_some(())
    });
    sandbox.ok(&["stop", "--all"]);
    let project = sandbox.project().canonicalize().unwrap();
    assert_eq!(
        sandbox.read("given/seen"),
        format!(
            "before_start app\nafter_healthy app in /tmp\nbefore_stop\nafter_stop app in {}\n",
            project.display()
        )
    );
    assert!(!sandbox.project().join("order").exists());
}

#[test]
fn a_failing_hook_says_where_and_why() {
    let sandbox = DockerSandbox::new(
        "hook_fails",
        r#"services:
  before:
    type: docker
    image: harness-test/program
    hooks: {before_start: [sh, -c, 'echo "no disk for you" >&2; exit 6']}
  after:
    type: docker
    image: harness-test/program
    hooks: {after_healthy: [sh, -c, 'echo "not content: $(cat /etc/hostname)" >&2; exit 7']}
"#,
    );
    sandbox
        .harness(&["start", "before"])
        .code(18)
        .tells("before_start hook failed: exited 6: no disk for you");
    assert!(sandbox.id("before").is_none());
    sandbox.ok(&["start", "after"]);
    let host = std::fs::read_to_string("/etc/hostname").unwrap_or_default();
    eventually("the failure is reported, and changes nothing", || {
        let after = sandbox.service("after");
        let error = after["error"].to_string();
        let inside = !error.contains(&format!("not content: {}\"", host.trim()));
        (error.contains("after_healthy hook failed: exited 7: not content: ") && inside)
            .then(|| assert_eq!(after["status"], "running"))
    });
}

#[test]
fn a_hook_of_a_killed_daemon_does_not_run_on() {
    let sandbox = DockerSandbox::new(
        "hook_killed",
        r#"services:
  here:
    type: docker
    image: harness-test/program
    hooks: {before_start: [sh, -c, 'echo begin >> begun; test -e go || sleep 777; echo end >> begun']}
  inside:
    type: docker
    image: harness-test/base
    entrypoint: [sleep, "1000"]
    volumes: ["./given:/given"]
    hooks: {after_healthy: [sh, -c, 'echo begin >> /given/begun; test -e /given/go || sleep 778; echo end >> /given/begun']}
"#,
    );
    sandbox.ok(&["start", "-d"]);
    eventually("both hooks run", || {
        let begun = |file: &str| sandbox.read(file).contains("begin");
        (begun("begun") && begun("given/begun")).then_some(())
    });
    sandbox.kill_daemon();
    sandbox.write("go", "");
    sandbox.ok(&["daemon", "start"]);
    sandbox.await_state("here", "running/none");
    // The interrupted hook was begun again, and its first run never ended.
    assert_eq!(sandbox.read("begun"), "begin\nbegin\nend\n");
    // The hook inside ended with its daemon. Its container was already ready, so the hook is not begun again.
    sandbox.write("given/go", "");
    let left = sandbox.harness(&[
        "exec",
        "inside",
        "--",
        "sh",
        "-c",
        "grep -lxz 77[8] /proc/[0-9]*/cmdline 2>/dev/null",
    ]);
    assert_eq!(left.stdout, "", "{left}");
    assert_eq!(sandbox.read("given/begun"), "begin\n");
}

#[test]
fn what_is_inherited_and_rendered_fits_the_container() {
    let _image = Image::of("fits", "of-image");
    let mut sandbox = DockerSandbox::new(
        "fits",
        r#"services:
  all: {type: docker, image: harness-test/program, command: [env], inherit_env: true, oneshot: true}
  none: {type: docker, image: harness-test/program, command: [env], oneshot: true}
  files:
    type: docker
    image: harness-test/base
    oneshot: true
    working_dir: /srv/app
    entrypoint: [cat, conf/app.conf]
    files: [{template: app.tpl, target: conf/app.conf}]
  of-image:
    type: docker
    build: of-image
    oneshot: true
    entrypoint: [cat, /opt/there/app.conf]
    files: [{template: app.tpl, target: app.conf}]
"#,
    );
    sandbox.set_env("FROM_CALLER", "yes");
    sandbox.write("app.tpl", "rendered for ${none.host}\n");
    sandbox.write(
        "of-image/Dockerfile",
        "FROM harness-test/base\nWORKDIR /opt/there\n",
    );
    sandbox.ok(&["start"]);
    let said = |service: &str| sandbox.ok(&["logs", service]).stdout;
    let all = said("all");
    assert!(all.contains("FROM_CALLER=yes"), "{all}");
    // PATH and HOME are the image's own.
    let user = sandbox.root().join("user");
    assert!(!all.contains(user.to_str().unwrap()), "{all}");
    assert!(!said("none").contains("FROM_CALLER"), "{}", said("none"));
    for service in ["files", "of-image"] {
        assert!(said(service).contains("rendered for none"), "{}", said(service));
    }
}
