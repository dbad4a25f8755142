//! Services of other users: numbers without a name, and output that is opened anew.

#![cfg(test)]

mod common;

use common::Sandbox;

/// Whether this process may become other users; says so where it may not.
fn is_root() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        eprintln!("skipped: only root can become another user");
    }
    root
}

/// A oneshot of each of these users.
fn file(users: &[&str], script: &str) -> String {
    let mut text = "name: users\nservices:\n".to_owned();
    for (index, user) in users.iter().enumerate() {
        text += &format!(
            "  s{index}: {{type: process, oneshot: true, user: {user}, working_dir: /, binary: sh, args: [-c, '{script}']}}\n"
        );
    }
    text
}

#[test]
fn a_number_without_a_name_is_a_user() {
    if !is_root() {
        return;
    }
    let script = "echo \"$(id -u) $(id -g) $(id -G) $HOME $USER\"";
    let sandbox = Sandbox::with_file(
        "users_nameless",
        &file(&["71234", "\"71235\"", "0", "nobody"], script),
    );
    sandbox.ok(&["start"]);
    for (service, said) in [
        ("s0", "71234 71234 71234 / 71234"),
        ("s1", "71235 71235 71235 / 71235"),
        ("s2", "0 0 0 /root root"),
        ("s3", "65534 65534 65534 /nonexistent nobody"),
    ] {
        sandbox.ok(&["logs", service]).says(said);
    }
}

#[test]
fn a_group_may_stand_behind_the_user() {
    if !is_root() {
        return;
    }
    let script = "echo \"$(id -u) $(id -g) $(id -G) $HOME $USER\"";
    let users = ["\"71234:71235\"", "nobody:root", "\"0:daemon\"", "\"71234:0\""];
    let sandbox = Sandbox::with_file("users_group", &file(&users, script));
    sandbox.ok(&["start"]);
    for (service, said) in [
        ("s0", "71234 71235 71235 / 71234"),
        ("s1", "65534 0 0 /nonexistent nobody"),
        ("s2", "0 1 1 /root root"),
        ("s3", "71234 0 0 / 71234"),
    ] {
        sandbox.ok(&["logs", service]).says(said);
    }
}

#[test]
fn a_user_or_group_that_is_not_there_is_named() {
    if !is_root() {
        return;
    }
    for (user, said) in [
        ("no-such-user", "there is no user `no-such-user` on this machine"),
        (
            "root:no-such-group",
            "no such user or group as `root:no-such-group`",
        ),
        ("\"no-such-user:0\"", "no such user or group as `no-such-user:0`"),
        ("\"0:\"", "no such user or group as `0:`"),
    ] {
        let sandbox = Sandbox::with_file("users_unknown", &file(&[user], "true"));
        let failed = sandbox.harness(&["start"]).code(18);
        let told = format!("{}{}", failed.stdout, failed.stderr);
        assert!(told.contains(said), "{failed}");
    }
}

#[test]
fn the_standard_streams_can_be_opened_by_their_names() {
    if !is_root() {
        return;
    }
    let script = "echo out > /dev/stdout; echo err > /dev/stderr; echo appended >> /proc/self/fd/1; cat < /dev/stdin; echo done";
    let sandbox = Sandbox::with_file("users_streams", &file(&["nobody", "71234", "0"], script));
    sandbox.ok(&["start"]);
    for service in ["s0", "s1", "s2"] {
        let logs = sandbox.ok(&["logs", service]).stdout;
        for line in ["out", "err", "appended", "done"] {
            assert!(logs.lines().any(|said| said.ends_with(line)), "{logs}");
        }
        assert!(!logs.contains("denied"), "{logs}");
    }
}

#[test]
fn they_can_in_commands_of_a_service_too() {
    if !is_root() {
        return;
    }
    let services = "name: users\nservices:\n  a:\n    type: process\n    user: nobody\n    working_dir: /\n    binary: sleep\n    args: [1000]\n    health_check: {command: [sh, -c, 'echo fine > /dev/stdout']}\n";
    let sandbox = Sandbox::with_file("users_exec", services);
    sandbox.ok(&["start"]);
    let script = "echo out > /dev/stdout; echo err > /dev/stderr";
    let said = sandbox.ok(&["exec", "a", "--", "sh", "-c", script]);
    assert_eq!((said.stdout.trim(), said.stderr.trim()), ("out", "err"));
    sandbox
        .ok(&["exec", "-u", "71234", "a", "--", "sh", "-c", script])
        .says("out");
}
