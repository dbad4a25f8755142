//! Direct children: streams, stdin, signals, timeouts, and what dropping does.

#![cfg(test)]

use std::fs;
use std::time::Duration;

use command_executor::process::SpawnError;
use command_executor::run::OUTPUT_TAIL;
use command_executor::{Command, ProcessEvent, Running, StdinMode};
use harness_shim::identity::ProcessId;
use smol::io::AsyncWriteExt;

mod support;
use support::*;

const TEN_MB: usize = 10 * 1024 * 1024;

#[test]
fn a_chatty_child_neither_freezes_nor_loses_a_byte() {
    let script = "head -c 10485760 /dev/zero & head -c 10485760 /dev/zero >&2 & wait";
    let mut running = Running::spawn(sh(script)).unwrap();
    let (stdout, stderr, status) = block_on(collect(&mut running));
    assert_eq!(
        (stdout.len(), stderr.len(), status.code()),
        (TEN_MB, TEN_MB, Some(0))
    );
}

#[test]
fn a_run_keeps_the_tail_and_counts_the_rest() {
    let ran = block_on(run_for(
        sh("head -c 10485760 /dev/zero; echo end; echo err >&2; exit 3"),
        DEADLINE,
    ));
    assert_eq!(ran.status.unwrap().code(), Some(3));
    assert_eq!(ran.stdout.bytes.len(), OUTPUT_TAIL);
    assert_eq!(ran.stdout.dropped as usize, TEN_MB + 4 - OUTPUT_TAIL);
    assert!(ran.stdout.bytes.ends_with(b"\0end\n"));
    assert_eq!(ran.stderr.text(), "err\n");
}

#[test]
fn waiting_alone_drains_a_chatty_child() {
    let mut running = Running::spawn(sh("head -c 10485760 /dev/zero")).unwrap();
    assert!(block_on(running.wait()).unwrap().success());
    assert!(
        block_on(running.wait()).unwrap().success(),
        "asked twice, told twice"
    );
}

#[test]
fn stdin_is_forwarded_while_output_is_read() {
    let mut running = Running::spawn(Command::new("cat").stdin(StdinMode::Piped)).unwrap();
    let mut stdin = running.take_stdin().unwrap();
    let data: Vec<u8> = (0..TEN_MB).map(|i| (i % 251) as u8).collect();
    let sent = data.clone();
    let write = async move {
        stdin.write_all(&sent).await.unwrap();
        stdin.close().await.unwrap();
    };
    let ((), (stdout, _, status)) = block_on(smol::future::zip(write, collect(&mut running)));
    assert!(status.success());
    assert!(stdout == data, "what came back is what was sent");
}

#[test]
fn without_stdin_a_process_reads_the_end() {
    for mode in [StdinMode::Null, StdinMode::Piped] {
        let output = block_on(run(Command::new("cat").stdin(mode)));
        assert!(output.status.success());
    }
}

#[test]
fn environment_and_directory_are_those_of_the_command() {
    let dir = tempfile::tempdir().unwrap();
    let command = sh("pwd; env")
        .cwd(dir.path())
        .clear_env()
        .env("PATH", "/usr/bin:/bin")
        .env("A", "b c");
    let output = block_on(run(command));
    let mut lines: Vec<String> = output.stdout.lines().map(str::to_owned).collect();
    assert_eq!(
        lines.remove(0),
        fs::canonicalize(dir.path()).unwrap().display().to_string()
    );
    assert!(lines.contains(&"A=b c".to_owned()), "{lines:?}");
    assert!(!lines.iter().any(|line| line.starts_with("HOME=")), "{lines:?}");
}

#[test]
fn a_signal_shows_in_the_exit_status() {
    use std::os::unix::process::ExitStatusExt;
    let mut running = Running::spawn(sh("echo up; exec sleep 60")).unwrap();
    let status = block_on(async {
        while !matches!(running.next_event().await.unwrap(), Some(ProcessEvent::Stdout(_))) {}
        running.signal(15).unwrap();
        running.wait().await.unwrap()
    });
    assert_eq!(status.signal(), Some(15));
    running.signal(15).unwrap();
    assert!(running.signal(0).is_err());
}

#[test]
fn a_timeout_kills_the_whole_group_and_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("pid");
    let script = format!("sleep 60 & echo $! > {}; echo begun; wait", file.display());
    let ran = block_on(run_for(sh(&script), Duration::from_millis(500)));
    assert_eq!((ran.status, ran.stdout.text().as_ref()), (None, "begun\n"));
    let grandchild = pid_in(&file);
    eventually("the grandchild is gone", || !runs(grandchild));
}

#[test]
fn a_timeout_reaches_a_child_in_a_session_of_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("pid");
    let script = format!("setsid sh -c 'echo $$ > {}; exec sleep 60'; wait", file.display());
    let ran = block_on(run_for(sh(&script), Duration::from_millis(500)));
    assert_eq!(ran.status, None);
    let escapee = pid_in(&file);
    eventually("the escapee is gone", || !runs(escapee));
}

#[test]
fn the_exit_is_told_although_a_grandchild_holds_the_pipe() {
    let mut running = Running::spawn(sh("sleep 60 & echo $!")).unwrap();
    let (stdout, _, status) = block_on(collect(&mut running));
    assert!(status.success());
    let grandchild = String::from_utf8(stdout).unwrap().trim().parse().unwrap();
    assert!(runs(grandchild));
    drop(running);
    eventually("the rest of the group goes with the handle", || !runs(grandchild));
}

#[test]
fn dropping_kills_the_group_and_detaching_does_not() {
    let spawn = || {
        let mut running = Running::spawn(sh("sleep 60 & echo $!; wait")).unwrap();
        let grandchild = block_on(async {
            loop {
                if let Some(ProcessEvent::Stdout(bytes)) = running.next_event().await.unwrap() {
                    return String::from_utf8(bytes).unwrap().trim().parse::<u32>().unwrap();
                }
            }
        });
        (running, grandchild)
    };
    let (kept, kept_grandchild) = spawn();
    let (dropped, grandchild) = spawn();
    let (kept_pid, pid) = (kept.id(), dropped.id());
    kept.detach();
    drop(dropped);
    eventually("both are gone", || !runs(pid) && !runs(grandchild));
    eventually("no zombie stays", || !fs::exists(format!("/proc/{pid}")).unwrap());
    assert!(runs(kept_pid) && runs(kept_grandchild));

    for pid in [kept_pid, kept_grandchild] {
        ProcessId::of(pid).unwrap().signal(9).unwrap();
    }
    eventually("a detached child is reaped", || {
        !fs::exists(format!("/proc/{kept_pid}")).unwrap()
    });
}

#[test]
fn what_cannot_be_started_is_named() {
    let missing = Running::spawn(Command::new("no-such-program")).unwrap_err();
    assert!(matches!(missing, SpawnError::NotFound { .. }), "{missing:?}");
    assert!(missing.to_string().contains("no-such-program"));

    let missing = Running::spawn(Command::new("/no/such/program")).unwrap_err();
    assert!(missing.to_string().contains("/no/such/program"), "{missing}");

    let nowhere = Running::spawn(Command::new("true").cwd("/no/such/dir")).unwrap_err();
    assert!(matches!(nowhere, SpawnError::WorkingDir { .. }), "{nowhere:?}");
    assert!(nowhere.to_string().contains("/no/such/dir"));
}

#[test]
fn nothing_comes_after_the_exit() {
    let mut running = Running::spawn(Command::new("true")).unwrap();
    let events = block_on(async {
        [
            running.next_event().await.unwrap(),
            running.next_event().await.unwrap(),
        ]
    });
    assert!(matches!(events[0], Some(ProcessEvent::Exited(status)) if status.success()));
    assert_eq!(events[1], None);
}
