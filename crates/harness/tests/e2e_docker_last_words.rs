//! The last output of containers: everything they wrote before they ended is kept, once, even without a newline, and
//! whatever else dies at that moment.

#![cfg(test)]
#![cfg(feature = "docker-tests")]

mod common;

use common::docker::DockerSandbox;
use common::engine::PrivateEngine;
use common::{eventually, proc};

/// Services and their last output, each followed while it writes that. The engine leaves out most of it.
const TALKERS: [(&str, &str, &str); 8] = [
    ("short", "", "echo one; sleep 0.4; printf last"),
    ("errs", "", "echo one; sleep 0.4; printf last >&2"),
    ("both", "", "sleep 0.4; printf out; printf err >&2"),
    (
        "drops",
        "",
        "sleep 0.3; for i in 1 2 3 4 5 6 7 8 9; do printf $i; sleep 0.02; done",
    ),
    (
        "long",
        "",
        "sleep 0.3; head -c 40000 /dev/zero | tr '\\0' a; sleep 0.2; printf last",
    ),
    // All parts of a line that the engine has split have the time of its beginning.
    (
        "slow",
        "",
        "head -c 20000 /dev/zero | tr '\\0' a; for i in 1 2 3 4 5; do echo $i >&2; sleep 1; done; printf last",
    ),
    ("typed", ", tty: true", "echo one; sleep 0.4; printf last"),
    ("brief", "", "printf last"),
];

fn services(talkers: &[(&str, &str, &str)]) -> String {
    let service = |(name, more, script): &(&str, &str, &str)| {
        format!(
            "  {name}: {{type: docker, image: harness-test/program, oneshot: true{more}, entrypoint: [sh, -c, \"{}\"]}}\n",
            script.replace('\\', "\\\\")
        )
    };
    format!("services:\n{}", talkers.iter().map(service).collect::<String>())
}

/// The output of a service: first stdout, then stderr.
fn said(sandbox: &DockerSandbox, service: &str) -> (String, String) {
    let logs = sandbox.ok(&["--json", "logs", service]).stdout;
    let (mut out, mut err) = (String::new(), String::new());
    for line in logs.lines() {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        let text = if line["stream"] == "stderr" {
            &mut err
        } else {
            &mut out
        };
        text.push_str(line["line"].as_str().unwrap());
        if line["partial"] == false {
            text.push('\n');
        }
    }
    (out.replace('\r', ""), err)
}

fn assert_all_said(sandbox: &DockerSandbox) {
    let text = |out: &str, err: &str| (out.to_owned(), err.to_owned());
    for (service, wanted) in [
        ("short", text("one\nlast", "")),
        ("errs", text("one\n", "last")),
        ("both", text("out", "err")),
        ("drops", text("123456789", "")),
        ("long", text(&format!("{}last", "a".repeat(40_000)), "")),
        (
            "slow",
            text(&format!("{}last", "a".repeat(20_000)), "1\n2\n3\n4\n5\n"),
        ),
        ("typed", text("one\nlast", "")),
        ("brief", text("last", "")),
    ] {
        let found = said(sandbox, service);
        let brief = |text: &str| {
            format!(
                "{} bytes ending {:?}",
                text.len(),
                &text[text.len().saturating_sub(20)..]
            )
        };
        assert!(
            found == wanted,
            "{service}: {} and {}",
            brief(&found.0),
            brief(&found.1)
        );
    }
}

#[test]
fn last_words_are_kept() {
    let sandbox = DockerSandbox::new("last_words", &services(&TALKERS));
    sandbox.ok(&["start"]);
    assert_all_said(&sandbox);
}

#[test]
fn last_words_are_kept_when_the_daemon_dies_at_that_moment() {
    let sandbox = DockerSandbox::new("last_words_kill", &services(&TALKERS));
    sandbox.ok(&["start", "-d"]);
    for pause in [250_u64, 150, 90, 30, 60] {
        std::thread::sleep(std::time::Duration::from_millis(pause));
        sandbox.kill_daemon();
        sandbox.ok(&["daemon", "start"]);
    }
    for (service, ..) in TALKERS {
        sandbox.await_state(service, "completed/none");
    }
    assert_all_said(&sandbox);
}

/// With and without `live-restore`, with the engine's default log driver.
#[test]
fn last_words_are_kept_when_the_engine_dies_at_that_moment() {
    for (name, flags) in [
        ("last_words_engine", vec!["--log-driver=local"]),
        ("last_words_restore", vec!["--live-restore"]),
    ] {
        let mut engine = PrivateEngine::start(&flags);
        let sandbox = DockerSandbox::on(
            &engine,
            name,
            &services(&[
                ("early", "", "echo one; printf last"),
                ("late", "", "echo one; sleep 0.6; printf last; exec sleep 1000"),
            ]),
        );
        sandbox.ok(&["start", "-d"]);
        let id = eventually("late runs", || sandbox.id("late"));
        sandbox.await_state("early", "completed/none");
        let state = || engine.request("GET", &format!("/containers/{id}/json"), None).1["State"].clone();
        let pid = eventually("it has said all", || {
            let pid = u32::try_from(state()["Pid"].as_u64()?).unwrap();
            let command = std::fs::read_to_string(format!("/proc/{pid}/cmdline")).ok()?;
            command.starts_with("sleep").then_some(pid)
        });
        // It ends, and immediately after it the engine.
        proc::kill(pid);
        eventually("the engine has seen its end", || {
            (state()["Running"] != true).then_some(())
        });
        engine.kill();
        engine.up();
        eventually("its end is told", || {
            sandbox.state("late").starts_with("failed").then_some(())
        });
        assert_eq!(said(&sandbox, "early").0, "one\nlast", "{name}");
        assert_eq!(said(&sandbox, "late").0, "one\nlast", "{name}");
        sandbox.ok(&["daemon", "stop", "--services"]);
    }
}

#[test]
fn a_prompt_of_a_container_is_a_line_to_whoever_waits_for_it() {
    let sandbox = DockerSandbox::new(
        "prompt",
        r#"services:
  checked:
    type: docker
    image: harness-test/program
    entrypoint: [sh, -c, 'echo begin; sleep 0.3; printf "ready> "; exec sleep 1000']
    health_check: {log: '^ready> $'}
    startup_timeout: 20
  awaited:
    type: docker
    image: harness-test/program
    entrypoint: [sh, -c, 'printf "login: " >&2; exec sleep 1000']
  after:
    type: process
    binary: sleep
    args: [1000]
    dependencies: [{service: awaited, condition: log, pattern: 'login:'}]
"#,
    );
    sandbox.ok(&["start"]);
    assert_eq!(sandbox.state("checked"), "running/healthy");
    assert_eq!(sandbox.state("after"), "running/none");
    assert_eq!(
        sandbox.ok(&["logs", "-n", "1", "checked"]).stdout,
        "checked | ready> \n"
    );
}
