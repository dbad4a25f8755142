//! The verbs that need only files, run with the real program.

#![cfg(test)]
#![expect(
    clippy::disallowed_methods,
    reason = "a test runs the program as its users do, and fails where it does not run"
)]

use std::path::Path;
use std::process::{Command, Output, Stdio};

/// Runs the program in a folder, with a home that it must not touch.
fn harness(folder: &Path, words: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_harness"))
        .args(words)
        .current_dir(folder)
        .env_remove("NO_COLOR")
        .env_remove("HARNESS_PORT")
        .env("HARNESS_HOME", folder.join("home"))
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn err(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn code(output: &Output) -> Option<i32> {
    output.status.code()
}

#[test]
fn without_words_it_shows_the_help_whatever_the_environment_says() {
    for port in [None, Some("9443")] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_harness"));
        command.env_remove("HARNESS_PORT").stdin(Stdio::null());
        if let Some(port) = port {
            command.env("HARNESS_PORT", port);
        }
        let shown = command.output().unwrap();
        assert_eq!(code(&shown), Some(2));
        assert!(
            err(&shown).contains("Start with: harness init"),
            "{}",
            err(&shown)
        );
        assert!(!err(&shown).contains("__complete"), "{}", err(&shown));
    }
}

#[test]
fn a_home_that_cannot_be_is_an_error_with_a_remedy() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_harness"));
    command.arg("status").env("HARNESS_HOME", "/proc/home-of-harness");
    let refused = command.stdin(Stdio::null()).output().unwrap();
    assert_eq!(code(&refused), Some(1), "{}", err(&refused));
    assert!(
        err(&refused).contains("next: set HARNESS_HOME"),
        "{}",
        err(&refused)
    );
}

#[test]
fn init_writes_a_valid_file_and_never_overwrites() {
    let dir = tempfile::tempdir().unwrap();
    let first = harness(dir.path(), &["init"]);
    assert_eq!(code(&first), Some(0), "{}", err(&first));
    assert!(out(&first).contains("next: harness start"), "{}", out(&first));
    let file = dir.path().join("services.yaml");
    let text = std::fs::read_to_string(&file).unwrap();
    assert!(text.starts_with("# yaml-language-server: $schema="), "{text}");

    let valid = harness(dir.path(), &["validate"]);
    assert_eq!(code(&valid), Some(0), "{}", err(&valid));
    assert!(out(&valid).starts_with("services.yaml: "), "{}", out(&valid));
    assert!(out(&valid).trim_end().ends_with(": ok"), "{}", out(&valid));

    std::fs::write(&file, "mine").unwrap();
    let second = harness(dir.path(), &["init"]);
    assert_eq!(code(&second), Some(2));
    assert!(!err(&second).contains("/./"), "{}", err(&second));
    assert!(err(&second).contains("  next: "), "{}", err(&second));
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "mine");
    assert!(
        !dir.path().join("home").exists(),
        "a file verb must not make a home"
    );
}

#[test]
fn init_starts_from_a_procfile_when_told_to() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("Procfile"), "web: sleep 60\n").unwrap();
    let unasked = harness(dir.path(), &["init"]);
    assert_eq!(code(&unasked), Some(2));
    assert!(err(&unasked).contains("--from procfile"), "{}", err(&unasked));
    assert!(!dir.path().join("services.yaml").exists());

    let told = harness(dir.path(), &["init", "--from", "procfile"]);
    assert_eq!(code(&told), Some(0), "{}", err(&told));
    let valid = harness(dir.path(), &["validate", "--json"]);
    let json: serde_json::Value = serde_json::from_str(&out(&valid)).unwrap();
    assert_eq!(json["services"], serde_json::json!(["web"]));
}

#[test]
fn every_mistake_is_told_with_its_place() {
    let dir = tempfile::tempdir().unwrap();
    let text = "version: \"1.0\"\nservices:\n  api:\n    type: process\n    binary: sh\n    retires: 3\n    stdin: maybe\n";
    std::fs::write(dir.path().join("services.yaml"), text).unwrap();
    let words = harness(dir.path(), &["validate"]);
    assert_eq!(code(&words), Some(2));
    assert!(err(&words).contains("services.yaml:6:5"), "{}", err(&words));
    assert!(!err(&words).contains('\u{1b}'), "no colours without a terminal");
    assert_eq!(out(&words), "");

    let json = harness(dir.path(), &["validate", "--json"]);
    let json: serde_json::Value = serde_json::from_str(&out(&json)).unwrap();
    assert_eq!(json["error"]["exit_code"], 2);
    assert_eq!(json["error"]["diagnostics"][0]["line"], 6, "{json}");
}

#[test]
fn quiet_says_nothing_when_all_is_well() {
    let dir = tempfile::tempdir().unwrap();
    harness(dir.path(), &["init"]);
    let valid = harness(dir.path(), &["-q", "validate"]);
    assert_eq!(
        (code(&valid), out(&valid), err(&valid)),
        (Some(0), String::new(), String::new())
    );
}

#[test]
fn without_a_file_the_next_step_is_told() {
    let dir = tempfile::tempdir().unwrap();
    for verb in ["validate", "start"] {
        let output = harness(dir.path(), &[verb]);
        assert_eq!(code(&output), Some(2), "{verb}: {}", err(&output));
        assert!(err(&output).contains("harness init"), "{verb}: {}", err(&output));
    }
    assert!(
        !dir.path().join("home").exists(),
        "no daemon is started for a missing file"
    );
}

#[test]
fn schema_and_completions_are_printed() {
    let dir = tempfile::tempdir().unwrap();
    let schema = harness(dir.path(), &["schema"]);
    let schema: serde_json::Value = serde_json::from_str(&out(&schema)).unwrap();
    assert!(schema.is_object());
    for shell in ["bash", "zsh", "fish"] {
        let script = harness(dir.path(), &["completions", shell]);
        assert_eq!(code(&script), Some(0));
        assert!(out(&script).contains("__complete-services"), "{shell}");
    }
}

#[test]
fn the_bash_completion_knows_the_services_of_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let text = "version: \"1.0\"\nservices:\n  clock: {type: process, binary: sh}\n  clerk: {type: process, binary: sh}\n";
    std::fs::write(dir.path().join("services.yaml"), text).unwrap();
    let names = harness(dir.path(), &["__complete-services"]);
    assert_eq!(out(&names), "clerk\nclock\n", "{}", err(&names));
    if !Path::new("/bin/bash").exists() {
        return;
    }
    let script = out(&harness(dir.path(), &["completions", "bash"]));
    let ask = "COMP_WORDS=(harness logs cl); COMP_CWORD=2; _harness_with_services harness cl logs; echo \"${COMPREPLY[@]}\"";
    let bin = Path::new(env!("CARGO_BIN_EXE_harness")).parent().unwrap();
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    let bash = Command::new("/bin/bash")
        .args(["--norc", "-c", &format!("{script}\n{ask}")])
        .current_dir(dir.path())
        .env("PATH", path)
        .env("HARNESS_HOME", dir.path().join("home"))
        .output()
        .unwrap();
    assert_eq!(out(&bash).trim(), "clerk clock", "{}", err(&bash));
}

#[test]
fn wrong_usage_is_2_also_for_programs() {
    let dir = tempfile::tempdir().unwrap();
    let output = harness(dir.path(), &["strat", "--json"]);
    assert_eq!(code(&output), Some(2));
    assert!(
        err(&output).contains("start"),
        "the message names the likely verb: {}",
        err(&output)
    );
    let json: serde_json::Value = serde_json::from_str(&out(&output)).unwrap();
    assert_eq!(json["error"]["code"], "usage");

    let bare = harness(dir.path(), &["stop"]);
    assert_eq!(code(&bare), Some(2));
    assert!(err(&bare).contains("stop --all"), "{}", err(&bare));
}

#[test]
fn without_a_daemon_its_status_is_3_and_stopping_it_is_success() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(code(&harness(dir.path(), &["daemon", "status"])), Some(3));
    assert_eq!(code(&harness(dir.path(), &["daemon", "stop"])), Some(0));
    let unit = harness(dir.path(), &["daemon", "install"]);
    assert!(out(&unit).contains("KillMode=process"));
    assert!(!dir.path().join("home").exists());
}
