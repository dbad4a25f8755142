//! Commands with a supervisor: nothing that comes from a command outlives its handle, and nothing else is touched.

#![cfg(test)]

use std::fs;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::Duration;

use command_executor::{Command, Host, Local, ProcessEvent, Running, StdinMode, run_until};
use harness_shim::identity::ProcessId;
use harness_shim::tree::RUN_ID_VARIABLE;
use smol::io::AsyncWriteExt;

mod support;
use support::*;

/// Ways to escape from a command. Each writes its pid to the file in `$1`.
const ESCAPES: [&str; 5] = [
    "sleep 1000 & echo $! > $1",
    "setsid sh -c 'echo $$ > $0; exec sleep 1000' $1 &",
    "setsid sh -c 'setsid sh -c \"echo \\$\\$ > \\$0; exec sleep 1000\" $0 &' $1",
    "env -i /bin/sh -c 'trap \"\" TERM HUP INT; echo $$ > $0; while :; do sleep 1000; done' $1 &",
    "(env -i setsid -f /bin/sh -c 'echo $$ > $0; exec sleep 1000' $1 &)",
];

/// A command that escapes in this way, and then does something else.
fn escaping(escape: &str, then: &str, file: &Path, run_id: &str) -> Command {
    Command::new("sh")
        .args([
            "-c",
            &format!("{escape}\nuntil [ -s $1 ]; do sleep 0.01; done\n{then}"),
            "sh",
        ])
        .arg(file)
        .env(RUN_ID_VARIABLE, run_id)
}

fn run_id(name: &str) -> String {
    format!("test-{}-{name}", std::process::id())
}

/// Whether it is gone. This compares the whole identity, so that a reused pid is not mistaken for it.
fn gone(process: &ProcessId) -> bool {
    !process.is_alive()
}

#[test]
fn a_timeout_ends_whatever_a_command_has_become() {
    for (number, escape) in ESCAPES.into_iter().enumerate() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("pid");
        let command = escaping(escape, "sleep 1000", &file, &run_id(&format!("timeout-{number}")));
        let escaped = async {
            let file = file.clone();
            smol::unblock(move || ProcessId::of(pid_in(&file)).unwrap()).await
        };
        let (found, ran) = block_on(async {
            let running = host().exec(command).await.unwrap();
            let (sender, receiver) = smol::channel::bounded::<()>(1);
            let run = run_until(running, async move {
                let _ = receiver.recv().await;
            });
            let watch = async {
                let found = escaped.await;
                sender.send(()).await.unwrap();
                found
            };
            smol::future::zip(watch, run).await
        });
        let ran = ran.unwrap();
        assert_eq!(ran.status, None, "{escape}");
        assert!(gone(&found), "gone when it returns: {escape}");
    }
}

#[test]
fn what_a_command_leaves_behind_lives_until_it_is_let_go() {
    for (number, escape) in ESCAPES.into_iter().enumerate() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("pid");
        let command = escaping(
            escape,
            "echo done; exit 3",
            &file,
            &run_id(&format!("rest-{number}")),
        );
        let running = block_on(host().exec(command)).unwrap();
        let ran = block_on(run_until(running, smol::future::pending())).unwrap();
        assert_eq!(ran.status.unwrap().code(), Some(3), "{escape}");
        assert_eq!(ran.stdout.text(), "done\n");
        let escaped = ProcessId::of(pid_in(&file)).unwrap();
        assert!(escaped.is_alive(), "{escape}");
        let rest = ran.rest.unwrap();
        match number % 2 {
            0 => block_on(rest.end()).unwrap(),
            _ => {
                drop(rest);
                eventually("it goes with its handle", || gone(&escaped));
            }
        }
        assert!(gone(&escaped), "{escape}");
    }
}

/// A job that shares things that prove nothing with a command, such as its parent.
struct Stranger(Child);

impl Stranger {
    fn beside() -> Self {
        #[expect(clippy::disallowed_methods, reason = "a stranger is nobody's command")]
        let mut stranger = std::process::Command::new("sleep");
        let stranger = stranger.arg("1000").process_group(0).stdout(Stdio::null());
        Self(stranger.spawn().unwrap())
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        let alive = self.0.try_wait().unwrap().is_none();
        self.0.kill().unwrap();
        self.0.wait().unwrap();
        assert!(alive || std::thread::panicking(), "a stranger was killed");
    }
}

#[test]
fn a_supervisor_that_is_killed_or_stopped_leaves_nothing() {
    for (number, signal) in [libc_kill(), libc_stop()].into_iter().enumerate() {
        let _stranger = Stranger::beside();
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("pid");
        // Escapes in a way that can be found only by the run id, once its supervisor is dead.
        let command = escaping(
            ESCAPES[1],
            "sleep 1000",
            &file,
            &run_id(&format!("dead-{number}")),
        );
        let running = host().spawn(command).unwrap();
        let escaped = ProcessId::of(pid_in(&file)).unwrap();
        ProcessId::of(running.id()).unwrap().signal(signal).unwrap();
        block_on(running.end()).unwrap();
        assert!(gone(&escaped), "signal {signal}");
    }
}

const fn libc_kill() -> i32 {
    9
}

const fn libc_stop() -> i32 {
    19
}

#[test]
fn a_command_has_a_session_of_its_own_and_no_terminal() {
    let script = "cut -d' ' -f 6 /proc/self/stat; echo $$; (: < /dev/tty) 2>&1 || echo none";
    let said = block_on(run_at(&host(), sh(script))).stdout;
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines[0], lines[1], "{said}");
    assert_eq!(lines.last(), Some(&"none"), "{said}");
}

#[test]
fn streams_signals_and_codes_pass_through_the_supervisor() {
    let mut running = host()
        .spawn(sh("cat; echo err >&2; exit 7").stdin(StdinMode::Piped))
        .unwrap();
    let mut stdin = running.take_stdin().unwrap();
    let write = async move {
        stdin.write_all(&vec![b'x'; 1 << 20]).await.unwrap();
        stdin.close().await.unwrap();
    };
    let ((), (stdout, stderr, status)) = block_on(smol::future::zip(write, collect(&mut running)));
    assert_eq!(
        (stdout.len(), &stderr[..], status.code()),
        (1 << 20, &b"err\n"[..], Some(7))
    );

    let mut running = host().spawn(sh("echo up; exec sleep 1000")).unwrap();
    block_on(until_output(&mut running));
    running.signal(10).unwrap();
    assert_eq!(block_on(running.wait()).unwrap().signal(), Some(10));
    running.signal(10).unwrap();

    // A signal for the group reaches every process in it.
    let script = "trap 'echo parent; exit 1' USR1; sh -c 'trap \"echo child; exit\" USR1; echo up; \
                  while :; do sleep 0.05; done' & wait; wait";
    let mut running = host().spawn(sh(script)).unwrap();
    block_on(until_output(&mut running));
    running.signal_group(10).unwrap();
    let (stdout, _, _) = block_on(collect(&mut running));
    let said = String::from_utf8(stdout).unwrap();
    assert!(said.contains("parent"), "{said}");
}

async fn until_output(running: &mut Running) {
    while !matches!(running.next_event().await.unwrap(), Some(ProcessEvent::Stdout(_))) {}
}

#[test]
fn what_cannot_be_started_says_so_as_it_did() {
    let ran = block_on(run_at(&host(), Command::new("no-such-program")));
    assert_eq!(ran.status.code(), Some(127));
    assert!(ran.stderr.contains("no-such-program"), "{}", ran.stderr);
    let ran = block_on(run_at(&host(), Command::new("/etc/passwd")));
    assert_eq!(ran.status.code(), Some(126));
}

#[test]
fn a_detached_command_lives_on_and_leaves_no_zombie() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("pid");
    let command = escaping(ESCAPES[0], "exit 0", &file, &run_id("detached"));
    let mut running = host().spawn(command).unwrap();
    assert!(block_on(running.wait()).unwrap().success());
    let (supervisor, left) = (running.id(), ProcessId::of(pid_in(&file)).unwrap());
    running.detach();
    std::thread::sleep(Duration::from_millis(50));
    assert!(left.is_alive() && runs(supervisor));
    left.signal(libc_kill()).unwrap();
    eventually("the supervisor ends with the last of it", || {
        !fs::exists(format!("/proc/{supervisor}")).unwrap()
    });
}

#[test]
fn the_commands_of_a_home_are_ended_by_the_next_that_has_it() {
    let dir = tempfile::tempdir().unwrap();
    let at = |home: &str| Local::new(shim(), &dir.path().join(home));
    let (one, other) = (dir.path().join("one"), dir.path().join("other"));
    let escaping = |file: &Path| escaping(ESCAPES[0], "sleep 1000", file, "");
    let first = at("home").spawn(escaping(&one)).unwrap();
    let second = at("homer").spawn(escaping(&other)).unwrap();
    let (ours, theirs) = (
        ProcessId::of(pid_in(&one)).unwrap(),
        ProcessId::of(pid_in(&other)).unwrap(),
    );
    block_on(at("home").end_leftovers()).unwrap();
    assert!(gone(&ours) && theirs.is_alive());
    drop((first, second));
    eventually("the other one ends with its handle", || gone(&theirs));
}
