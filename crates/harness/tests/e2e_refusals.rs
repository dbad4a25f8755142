//! What a machine refuses to start or run is said in the words of the file: which user, which limit, which variable, what
//! is wrong with a script.

#![cfg(test)]

mod common;

use std::os::unix::fs::PermissionsExt;

use common::{PATIENCE, Sandbox};

/// What `start` says of a service with these keys.
fn refused(name: &str, keys: &str, files: &[(&str, &str)]) -> String {
    let sandbox = Sandbox::with_file(
        name,
        &format!("name: no\nservices:\n  a:\n    type: process\n{keys}"),
    );
    for (file, text) in files {
        let path = sandbox.write(file, text);
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    let start = sandbox.harness(&["start"]).code(18);
    format!("{}{}", start.stdout, start.stderr)
}

#[test]
fn scripts_say_what_is_wrong_with_their_first_line() {
    for (index, (text, said)) in [
        ("#!/bin/sh\r\necho hi\r\n", "has Windows line ends (CRLF)"),
        ("#!/usr/bin/env bash\r\n", "has Windows line ends (CRLF)"),
        (
            "echo hi\n",
            "is a script without a first line that names its interpreter: begin it with `#!/bin/sh`",
        ),
        ("# a comment\necho hi\n", "begin it with `#!/bin/sh`"),
        ("\x7fELF\0\0\0\0", "is not a program for this machine"),
        (
            "#!/no/such/interpreter\n",
            "is a script for /no/such/interpreter, which does not exist",
        ),
    ]
    .into_iter()
    .enumerate()
    {
        let told = refused(
            &format!("script_{index}"),
            "    binary: ./run\n",
            &[("run", text)],
        );
        assert!(told.contains(said), "{text:?}\n{told}");
    }
    // The same where it is found in PATH.
    let told = refused(
        "script_path",
        "    binary: run\n    env: {PATH: bin}\n",
        &[("bin/run", "#!/bin/sh\r\n")],
    );
    assert!(told.contains("has Windows line ends (CRLF)"), "{told}");
}

#[test]
fn a_limit_that_the_machine_does_not_allow_is_named() {
    let told = refused(
        "limit",
        "    binary: sleep\n    args: [1000]\n    limits: {core: 0, open_files: 9999999999}\n",
        &[],
    );
    assert!(
        told.contains("limits: `open_files: 9999999999` is more than this machine or user allows"),
        "{told}"
    );
    assert!(!told.contains("`core"), "{told}");
}

#[test]
fn the_largest_variables_are_named_where_they_are_too_large() {
    let sandbox = Sandbox::with_file(
        "variables",
        "name: no\nservices:\n  a: {type: process, binary: sleep, args: [1000], inherit_env: true}\n",
    );
    // The daemon keeps the usual limit of the stack, a quarter of which is for arguments and variables.
    sandbox.ok(&["daemon", "start"]);
    let script = format!(
        "ulimit -s unlimited; big=$(head -c 100000 /dev/zero | tr '\\0' x); i=0; while [ $i -lt 40 ]; do \
         export SMALL_$i=$big; i=$((i + 1)); done; export LARGEST=${{big}}1234; exec {} start",
        env!("CARGO_BIN_EXE_harness")
    );
    let start = sandbox.command("bash", &["-c", &script]).wait(PATIENCE).code(18);
    let told = format!("{}{}", start.stdout, start.stderr);
    assert!(
        told.contains(
            "its variables and arguments are larger than the kernel takes: `LARGEST` has 97 KiB, `SMALL_"
        ),
        "{told}"
    );
}

#[test]
fn exec_ends_as_a_shell_does_where_its_command_cannot_be_run() {
    let sandbox = Sandbox::with_file(
        "exec_codes",
        "name: no\nservices:\n  a: {type: process, binary: sleep, args: [1000]}\n",
    );
    sandbox.ok(&["start"]);
    let script = sandbox.write("plain", "echo hi\n");
    let exec = |words: &[&str]| sandbox.harness(&[&["exec", "a", "--"], words].concat());
    exec(&["no-such-program"])
        .code(127)
        .tells("`no-such-program` was not found in PATH");
    exec(&["./no/such"]).code(127).tells("No such file");
    exec(&["/etc/passwd/x"]).code(127);
    exec(&["./plain"])
        .code(126)
        .tells("it is not executable (chmod +x)");
    exec(&["/etc"]).code(126);
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
    exec(&["./plain"])
        .code(126)
        .tells("nor a script that begins with `#!`");
    sandbox.write("dos", "#!/bin/sh\r\n");
    std::fs::set_permissions(
        sandbox.project().join("dos"),
        std::fs::Permissions::from_mode(0o755),
    )
    .unwrap();
    exec(&["./dos"]).code(126).tells("Windows line ends");
    exec(&["sh", "-c", "exit 126"]).code(126);
    let json = sandbox
        .harness(&["--json", "exec", "a", "--", "no-such-program"])
        .code(127);
    assert_eq!(json.json()["error"]["code"], "command_not_found", "{json}");
}
