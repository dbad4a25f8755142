//! FIFOs, devices and so on instead of any file that a command reads: reported at once, with the path.

#![cfg(test)]

mod common;

use std::fs;
use std::path::Path;
use std::time::Duration;

use common::{Output, Sandbox};
use rustix::fs::{CWD, FileType, Mode, mknodat};

const FILE: &str =
    "version: \"1.0\"\nservices:\n  app:\n    type: process\n    binary: sleep\n    args: [1000]\n";

/// Much longer than any of these takes, and shorter than a person would wait.
const AT_ONCE: Duration = Duration::from_secs(60);

fn fifo(path: &Path) {
    mknodat(CWD, path, FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
}

fn at_once(sandbox: &Sandbox, args: &[&str]) -> Output {
    sandbox.spawn(args).wait(AT_ONCE)
}

#[test]
fn a_pipe_in_the_place_of_a_file_hangs_nobody() {
    let sandbox = Sandbox::with_file("special_read", FILE);
    fifo(&sandbox.project().join("pipe"));
    for verb in ["validate", "start", "restart"] {
        at_once(&sandbox, &["-c", "pipe", verb])
            .code(2)
            .tells("pipe")
            .tells("it is a pipe (FIFO), not a regular file");
    }
    at_once(&sandbox, &["-c", "pipe", "validate"]).tells("next: save the content as a regular file first");
    at_once(&sandbox, &["-c", "/dev/zero", "validate"])
        .code(2)
        .tells("it is a device");
    let substituted = format!(
        "{} -c <(cat services.yaml) validate",
        env!("CARGO_BIN_EXE_harness")
    );
    let output = sandbox.command("bash", &["-c", &substituted]).wait(AT_ONCE);
    output.code(2).tells("/dev/fd/").tells("it is a pipe");

    fifo(&sandbox.project().join(".env"));
    at_once(&sandbox, &["validate"])
        .code(2)
        .tells(".env")
        .tells("it is a pipe");
    at_once(&sandbox, &["start"])
        .code(2)
        .tells(".env")
        .tells("it is a pipe");
    fs::remove_file(sandbox.project().join(".env")).unwrap();

    for (more, code) in [
        ("    env_file: pipe\n", 2),
        ("    files: [{template: pipe, target: out}]\n", 2),
        ("  more: {type: compose, file: pipe}\n", 2),
        ("    binary: ./pipe\n", 18),
    ] {
        let file = match more.contains("binary") {
            true => FILE.replace("    binary: sleep\n", more),
            false => format!("{FILE}{more}"),
        };
        sandbox.write("services.yaml", &file);
        fs::set_permissions(
            sandbox.project().join("pipe"),
            std::os::unix::fs::PermissionsExt::from_mode(0o700),
        )
        .unwrap();
        let output = at_once(&sandbox, &["start"]).code(code);
        let said = format!("{}{}", output.stdout, output.stderr);
        assert!(
            said.contains("pipe") && said.contains("regular file"),
            "{more}: {output}"
        );
    }
    assert!(sandbox.processes().is_empty(), "{:?}", sandbox.processes());
}

#[test]
fn init_waits_for_no_pipe() {
    let sandbox = Sandbox::new("special_init");
    for name in ["Procfile", "compose.yaml"] {
        fifo(&sandbox.project().join(name));
        let from = if name == "Procfile" { "procfile" } else { "compose" };
        at_once(&sandbox, &["init", "--from", from])
            .code(1)
            .tells(name)
            .tells("it is a pipe");
        fs::remove_file(sandbox.project().join(name)).unwrap();
    }
    sandbox.write("Procfile", "web: echo \0\n");
    at_once(&sandbox, &["init", "--from", "procfile"]).tells("line 1 is not");
    assert!(!sandbox.project().join("services.yaml").exists());
}

#[test]
fn a_home_with_pipes_in_it_hangs_nobody() {
    let sandbox = Sandbox::with_file("special_home", FILE);
    sandbox.ok(&["start"]);
    let pid = sandbox.pid("app");
    sandbox.ok(&["daemon", "stop"]);
    for name in [
        "daemon.json",
        "tls/ca.pem",
        "tls/client.key",
        "logs/daemon.log",
        "daemon.lock",
    ] {
        let path = sandbox.home().join(name);
        let aside = sandbox.root().join("aside");
        let was_there = fs::rename(&path, &aside).is_ok();
        fifo(&path);
        let output = at_once(&sandbox, &["status"]);
        if name == "daemon.json" {
            // A daemon writes its address to a new file.
            assert_eq!(output.code, Some(0), "{output}");
        } else {
            let told = output.stderr.contains("it is a pipe") && output.stderr.contains(name);
            assert!(output.code != Some(0) && told, "{name}: {output}");
        }
        at_once(&sandbox, &["daemon", "stop"]);
        let _ = fs::remove_file(&path);
        if was_there {
            fs::rename(&aside, &path).unwrap();
        }
    }
    assert_eq!(sandbox.pid("app"), pid);
}

#[test]
fn a_nul_is_a_mistake_with_its_place() {
    let sandbox = Sandbox::with_file("special_nul", &FILE.replace("[1000]", "[\"10\\0\"]"));
    for verb in ["validate", "start"] {
        at_once(&sandbox, &[verb])
            .code(2)
            .tells("services.yaml:6:12")
            .tells("NUL");
    }
    sandbox.write("services.yaml", &format!("{FILE}    env: {{A: \"${{B}}\"}}\n"));
    fs::write(sandbox.project().join(".env"), "B=\0x\n").unwrap();
    at_once(&sandbox, &["validate"])
        .code(2)
        .tells(".env:1:1")
        .tells("NUL");
}
