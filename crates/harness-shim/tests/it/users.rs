//! Running as another user. Needs root.

use std::process::{Command, Stdio};

use harness_shim::run_dir::{LaunchSpec, Outcome, TtySize};

use crate::support::{Run, is_root, quick, sh, shim_program};

const WHO: &str = "id -u; id -g; echo $HOME $USER $LOGNAME $SHELL $OTHER";

fn field(user: &str, number: usize) -> String {
    let passwd = std::fs::read_to_string("/etc/passwd").unwrap();
    let line = passwd
        .lines()
        .find(|line| line.starts_with(&format!("{user}:")))
        .unwrap();
    line.split(':').nth(number).unwrap().to_owned()
}

fn expected() -> Vec<String> {
    let (home, shell) = (field("nobody", 5), field("nobody", 6));
    vec![
        field("nobody", 2),
        field("nobody", 3),
        format!("{home} nobody nobody {shell} kept"),
    ]
}

#[test]
fn the_user_its_groups_and_its_home() {
    if !is_root() {
        return;
    }
    let uid = field("nobody", 2);
    for user in ["nobody", uid.as_str()] {
        let mut spec = sh(&format!(
            "{WHO}; grep ^Groups /proc/self/status; kill -0 1 2>/dev/null || echo harmless"
        ));
        spec.env.push(("HOME".into(), "/root".into()));
        spec.env.push(("OTHER".into(), "kept".into()));
        spec.user = Some(user.into());
        let mut run = Run::start(&spec);
        assert_eq!(run.outcome(), Outcome::Exited(0));
        let lines = run.stdout();
        assert_eq!(lines[..3], expected());
        assert_eq!(
            lines[3].split_whitespace().collect::<Vec<_>>(),
            ["Groups:", &field("nobody", 3)]
        );
        assert_eq!(lines[4], "harmless");
    }
}

#[test]
fn another_users_tree_is_stopped_and_its_terminal_is_its_own() {
    if !is_root() {
        return;
    }
    let spec = LaunchSpec {
        user: Some("nobody".into()),
        tty: Some(TtySize { cols: 80, rows: 24 }),
        ..sh("trap '' TERM; echo hello > /dev/tty; echo up > \"$(tty)\"; while :; do sleep 0.01; done")
    };
    let mut run = Run::start(&spec);
    run.says("hello\r");
    run.says("up\r");
    run.stop(quick(100));
    assert_eq!(run.outcome(), Outcome::Signaled(9));
}

#[test]
fn a_directory_closed_to_the_user_fails_the_spawn() {
    if !is_root() {
        return;
    }
    let home = tempfile::tempdir().unwrap();
    let closed = std::os::unix::fs::PermissionsExt::from_mode(0o700);
    std::fs::set_permissions(home.path(), closed).unwrap();
    let spec = LaunchSpec {
        user: Some("nobody".into()),
        cwd: home.path().into(),
        ..sh("exit 0")
    };
    let failed = Outcome::SpawnFailed {
        operation: "cwd".into(),
        errno: libc::EACCES,
    };
    assert_eq!(Run::start(&spec).outcome(), failed);
}

#[test]
fn the_trampoline_switches_too() {
    if !is_root() {
        return;
    }
    // Run it from a place that the user may enter.
    let home = tempfile::tempdir().unwrap();
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(home.path(), open).unwrap();
    let output = Command::new(shim_program())
        .args(["exec", "--user", "nobody", "--cwd", "/", "--", "sh", "-c", WHO])
        .env("OTHER", "kept")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert_eq!(
        String::from_utf8(output.stdout)
            .unwrap()
            .lines()
            .collect::<Vec<_>>(),
        expected()
    );
}
