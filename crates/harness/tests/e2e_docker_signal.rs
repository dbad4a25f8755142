//! Containers are stopped with the signal that their image names, unless the file names one.

#![cfg(test)]
#![cfg(feature = "docker-tests")]

mod common;

use common::docker::{DockerSandbox, Image, project};
use common::eventually;

/// Prints which signal it got and ends; for some signals it only prints.
const PROGRAM: &str = r#"FROM harness-test/base
COPY app /app
CMD ["perl", "/app"]
"#;
const APP: &str = r#"$| = 1;
for my $name (qw(HUP INT QUIT TERM USR1 USR2 NUM37)) {
    $SIG{$name} = sub { print "got $name\n"; exit 0 };
}
print "ready\n";
sleep 1 while 1;
"#;

/// Services, and the signals that their images name.
struct Signals<'a>(&'a [(&'a str, Option<&'a str>)]);

impl Signals<'_> {
    /// Must be dropped after the containers that use them.
    fn images(&self, name: &str) -> Vec<Image> {
        self.0
            .iter()
            .map(|(service, _)| Image::of(name, service))
            .collect()
    }

    fn write(&self, sandbox: &DockerSandbox, name: &str) {
        for (service, signal) in self.0 {
            let line = signal.map_or_else(String::new, |signal| format!("STOPSIGNAL {signal}\n"));
            // No two images share layers: removing an image would also remove layers that others are just built on.
            let project = project(name);
            sandbox.write(
                &format!("{service}/app"),
                &format!("# {service} of {project}\n{APP}"),
            );
            sandbox.write(&format!("{service}/Dockerfile"), &format!("{PROGRAM}{line}"));
        }
    }
}

fn await_ready(sandbox: &DockerSandbox, services: &[&str]) {
    for service in services {
        eventually("its handlers are set", || {
            let logs = sandbox.ok(&["logs", service]).stdout;
            logs.contains("ready").then_some(())
        });
    }
}

#[test]
fn an_image_names_its_stop_signal_and_the_file_wins() {
    const NAME: &str = "stop_signals";
    let signals = Signals(&[
        ("int", Some("SIGINT")),
        ("usr", Some("SIGUSR1")),
        ("real-time", Some("SIGRTMIN+3")),
        ("number", Some("3")),
        ("plain", None),
        ("file", Some("SIGUSR1")),
    ]);
    let _images = signals.images(NAME);
    let sandbox = DockerSandbox::new(
        NAME,
        r#"services:
  int: {type: docker, build: int}
  usr: {type: docker, build: usr}
  real-time: {type: docker, build: real-time}
  number: {type: docker, build: number}
  plain: {type: docker, build: plain}
  file: {type: docker, build: file, stop_signal: HUP}
"#,
    );
    signals.write(&sandbox, NAME);
    sandbox.ok(&["start"]);
    let got = [
        ("int", "INT", "2"),
        ("usr", "USR1", "10"),
        ("real-time", "NUM37", "37"),
        ("number", "QUIT", "3"),
        ("plain", "TERM", "15"),
        ("file", "HUP", "1"),
    ];
    for (service, _, number) in got {
        // `docker stop`, and an engine that ends, use the same signal.
        let config = &sandbox.inspect(service)["Config"];
        assert_eq!(config["StopSignal"], number, "{service}");
    }
    await_ready(&sandbox, &got.map(|(service, ..)| service));
    sandbox.ok(&["stop", "--all"]);
    for (service, signal, _) in got {
        sandbox.ok(&["logs", service]).says(&format!("got {signal}"));
    }
    let log = sandbox.ok(&["daemon", "logs", "-n", "1000"]).stdout;
    for (signal, of) in [
        ("SIGINT", "its image"),
        ("SIGHUP", "its file"),
        ("SIGTERM", "default"),
        ("37", "its image"),
    ] {
        let told = format!("\"signal\":\"{signal}\",\"of\":\"{of}\"");
        assert!(log.contains(&told), "{told}: {log}");
    }
}

#[test]
fn an_adopted_container_is_stopped_by_the_same_signal() {
    const NAME: &str = "adopted_signal";
    let signals = Signals(&[("int", Some("SIGINT")), ("usr", Some("SIGUSR1"))]);
    let _images = signals.images(NAME);
    let sandbox = DockerSandbox::new(
        NAME,
        "services:\n  int: {type: docker, build: int}\n  usr: {type: docker, build: usr}\n",
    );
    signals.write(&sandbox, NAME);
    sandbox.ok(&["start"]);
    await_ready(&sandbox, &["int", "usr"]);
    sandbox.kill_daemon();
    sandbox.ok(&["daemon", "start"]);
    sandbox.ok(&["stop", "--all"]);
    sandbox.ok(&["logs", "int"]).says("got INT");
    sandbox.ok(&["logs", "usr"]).says("got USR1");
}

#[test]
fn who_passes_over_the_signal_of_its_image_is_killed() {
    const NAME: &str = "passed_over";
    let signals = Signals(&[("deaf", Some("SIGWINCH"))]);
    let _images = signals.images(NAME);
    let sandbox = DockerSandbox::new(
        NAME,
        "services:\n  deaf: {type: docker, build: deaf, shutdown_timeout: 1}\n",
    );
    signals.write(&sandbox, NAME);
    sandbox.ok(&["start"]);
    await_ready(&sandbox, &["deaf"]);
    sandbox.ok(&["stop", "--all"]);
    assert_eq!(sandbox.service("deaf")["signal"], 9);
    let log = sandbox.ok(&["daemon", "logs", "-n", "1000"]).stdout;
    assert!(log.contains("did not end in time: killing it"), "{log}");
}
