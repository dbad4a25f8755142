//! Processes on a terminal, with a supervisor.

#![cfg(test)]

use command_executor::{Command, ProcessEvent, Running, WindowSize};
use smol::io::AsyncWriteExt;

mod support;
use support::*;

/// Reads until the terminal has shown this text.
async fn shown(running: &mut Running, wanted: &str) {
    let mut seen = String::new();
    while !seen.contains(wanted) {
        match running.next_event().await.unwrap() {
            Some(ProcessEvent::Stdout(bytes)) => seen.push_str(&String::from_utf8_lossy(&bytes)),
            other => panic!("{other:?} before `{wanted}` in `{seen}`"),
        }
    }
}

#[test]
fn a_terminal_echoes_is_resized_and_ends() {
    let executor = host();
    let script = "trap 'stty size' WINCH; test -t 0 && test -t 1 && test -t 2 && echo all; stty size; \
                  while :; do read -r line && break; done; echo got $line; exit 7";
    let mut running = executor
        .spawn(sh(script).tty(WindowSize { cols: 91, rows: 33 }))
        .unwrap();
    let status = block_on(async {
        shown(&mut running, "all\r\n33 91").await;
        running.resize(WindowSize { cols: 120, rows: 40 }).unwrap();
        shown(&mut running, "40 120").await;
        running.take_stdin().unwrap().write_all(b"hello\n").await.unwrap();
        shown(&mut running, "got hello").await;
        running.wait().await.unwrap()
    });
    assert_eq!(status.code(), Some(7));
}

#[test]
fn nothing_of_a_terminals_last_words_is_lost() {
    let executor = host();
    for _ in 0..20 {
        let mut running = executor.spawn(sh("seq 2000").tty(WindowSize::default())).unwrap();
        let (output, _, status) = block_on(collect(&mut running));
        assert!(status.success());
        let text = String::from_utf8(output).unwrap();
        assert_eq!(text.lines().count(), 2000);
        assert!(text.ends_with("1999\r\n2000\r\n"));
    }
}

#[test]
fn dropping_kills_what_runs_on_a_terminal() {
    let executor = host();
    let mut running = executor
        .spawn(sh("trap '' HUP; sleep 60 & echo up; wait").tty(WindowSize::default()))
        .unwrap();
    block_on(shown(&mut running, "up"));
    let family = harness_shim::tree::descendants(running.id()).unwrap();
    assert!(family.len() >= 2, "{family:?}");
    drop(running);
    eventually("all are gone", || {
        !family.iter().any(|process| process.is_alive())
    });
}

#[test]
fn a_command_runs_as_another_user() {
    if !std::fs::read_to_string("/proc/self/status")
        .unwrap()
        .contains("Uid:\t0")
    {
        eprintln!("skipped: only root can switch users");
        return;
    }
    let executor = host();
    let output = block_on(run_at(
        &executor,
        Command::new("id").arg("-un").user("nobody").cwd("/"),
    ));
    assert_eq!(output.stdout, "nobody\n", "{}", output.stderr);
}
