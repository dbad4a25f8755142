//! The trampoline.

use std::process::{Command, Output, Stdio};

use crate::support::shim_program;

fn exec(args: &[&str]) -> Output {
    let mut command = Command::new(shim_program());
    command
        .arg("exec")
        .args(args)
        .env("MARK", "kept")
        .env("PATH", "/usr/bin:/bin")
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

#[test]
fn it_becomes_the_program() {
    let script = "pwd; echo $MARK; ulimit -n; cut -d' ' -f 6 /proc/self/stat; echo $$; umask; exit 4";
    let output = exec(&[
        "--cwd",
        "/usr",
        "--limit",
        "open_files=55",
        "--",
        "sh",
        "-c",
        script,
    ]);
    assert_eq!(output.status.code(), Some(4));
    let text = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines[..3], ["/usr", "kept", "55"]);
    assert_eq!(lines[3], lines[4], "it leads its own session");
    assert_eq!(lines[5], "0022");
}

#[test]
fn what_fails_is_named() {
    let output = exec(&["--", "no-such-program"]);
    assert_eq!(output.status.code(), Some(127));
    let message = String::from_utf8(output.stderr).unwrap();
    assert!(
        message.starts_with("harness-shim: exec no-such-program: No such file"),
        "{message}"
    );
    let cases: [&[&str]; 3] = [
        &["--", "/etc/passwd"],
        &["--cwd", "/no/such", "--", "true"],
        &["--user", "no-such-user", "--", "true"],
    ];
    for args in cases {
        assert_eq!(exec(args).status.code(), Some(126), "{args:?}");
    }
    assert_eq!(exec(&["--what", "--", "true"]).status.code(), Some(2));
}

#[test]
fn signals_have_their_default_action() {
    let output = exec(&["--", "grep", "-E", "^Sig(Blk|Ign)", "/proc/self/status"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(text, "SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\n");
}

#[test]
fn the_version_is_told() {
    let output = Command::new(shim_program()).arg("--version").output().unwrap();
    assert_eq!(
        output.stdout,
        concat!("harness-shim ", env!("CARGO_PKG_VERSION"), "\n").as_bytes()
    );
    assert_eq!(
        Command::new(shim_program()).output().unwrap().status.code(),
        Some(2)
    );
}
