//! The last output of a process is shown, with or without a line end. A failure shows the output of the start that
//! failed, never of an earlier one.

#![cfg(test)]

mod common;

use std::os::unix::fs::PermissionsExt;

use common::{Sandbox, eventually};
use serde_json::Value;

/// Each of them fails right after its last output.
const TALKERS: &[(&str, &str, &str)] = &[
    ("unended", "printf 'FATAL: no such role'", "FATAL: no such role"),
    ("after_a_line", "echo connecting; printf 'bye >' >&2", "bye >"),
    ("progress", r"printf '1%%\r99%%\rdisk is full'", "disk is full"),
    (
        "endless",
        "head -c 300000 /dev/zero | tr '\\0' x; printf ' the very end'",
        " the very end",
    ),
];

#[test]
fn output_without_a_line_end_reaches_every_report() {
    let mut file = String::from("services:\n");
    for (name, script, _) in TALKERS {
        let args = serde_json::json!(["-c", format!("{script}; exit 3")]);
        file += &format!("  {name}: {{type: process, binary: sh, args: {args}}}\n");
    }
    let sandbox = Sandbox::with_file("unended_words", &file);
    let start = sandbox.harness(&["start", "--report", "out"]).code(18);
    let json: Value = serde_json::from_str(&sandbox.read("out/report.json")).unwrap();
    let junit = sandbox.read("out/junit.xml");
    let failures = json["failures"].as_array().unwrap();
    for (name, _, words) in TALKERS {
        let failure = failures
            .iter()
            .find(|failure| failure["service"] == *name)
            .unwrap();
        let last = failure["last_lines"].as_array().unwrap().last().unwrap();
        let last = last.as_str().unwrap();
        assert!(last.ends_with(words), "{name}: {last}");
        assert!(last.len() < 10_000, "{name}: {} bytes in a report", last.len());
        assert_eq!(failure["wrote_nothing"], false, "{failure}");
        let in_xml = words.replace('>', "&gt;");
        assert!(junit.contains(&in_xml), "{name}: {junit}");
        assert!(start.stderr.contains(words), "{name}\n{start}");
        sandbox.ok(&["why", name]).says(words);
        let tail = sandbox.ok(&["logs", "-n", "1", name]).stdout;
        assert!(tail.ends_with(&format!("{words}\n")), "{name}");
        assert_eq!(tail.lines().count(), 1, "{name}");
        assert!(
            sandbox
                .read(&format!("out/logs/{name}.log"))
                .ends_with(&format!("{words}\n"))
        );
    }
}

#[test]
fn a_failure_shows_nothing_of_an_earlier_start() {
    let sandbox = Sandbox::with_file(
        "earlier_words",
        r#"
services:
  silent:
    type: process
    binary: sh
    args: [-c, 'test -e again && exit 3; echo all is well; exec sleep 1000']
  unborn:
    type: process
    binary: ./program
    health_check: {log: all is well}
  unprepared:
    type: process
    binary: sh
    args: [-c, 'echo all is well; exec sleep 1000']
    hooks: {before_start: [sh, -c, 'test ! -e again || exit 6']}
  crashing:
    type: process
    binary: sh
    args: [-c, 'test -e again && exit 4; echo all is well; while test ! -e again; do sleep 0.02; done; exit 5']
    restart: on-failure
    max_restarts: 1
"#,
    );
    let program = sandbox.write("program", "#!/bin/sh\necho all is well\nexec sleep 1000\n");
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    sandbox.ok(&["start"]);
    for name in ["silent", "unborn", "unprepared", "crashing"] {
        eventually("each has written its line", || {
            let said = sandbox.ok(&["logs", name]).stdout;
            said.contains("all is well").then_some(())
        });
    }
    std::fs::remove_file(program).unwrap();
    sandbox.write("again", "");
    sandbox.await_state("crashing", "failed/none");
    let restart = sandbox
        .harness(&["restart", "silent", "unborn", "unprepared"])
        .code(18);
    assert!(!restart.stderr.contains("all is well"), "{restart}");
    let start = sandbox.harness(&["start", "--report", "out"]).code(18);
    assert!(!start.stderr.contains("all is well"), "{start}");
    let junit = sandbox.read("out/junit.xml");
    assert!(!junit.contains("all is well"), "{junit}");
    let json: Value = serde_json::from_str(&sandbox.read("out/report.json")).unwrap();
    for failure in json["failures"].as_array().unwrap() {
        // A service that never ran has no output.
        let ran = ["silent", "crashing"]
            .iter()
            .any(|name| failure["service"] == *name);
        assert_eq!(failure["wrote_nothing"], ran, "{failure}");
        assert_eq!(failure["last_lines"], serde_json::json!([]), "{failure}");
    }
    start.tells("last lines  it wrote nothing");
    for name in ["silent", "unborn", "unprepared", "crashing"] {
        let why = sandbox.ok(&["why", name]);
        assert!(!why.stdout.contains("all is well"), "{why}");
    }
    // It is still available on request.
    sandbox.ok(&["logs", "silent"]).says("all is well");
}
