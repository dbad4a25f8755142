//! Sessions and terminals: nothing of Harness stays in the session where it was started. So a shell that ends, or a
//! terminal that somebody types in, does not affect it, and no unrelated process in that session is touched.

#![cfg(test)]

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use common::{Sandbox, eventually, proc};
use rustix::process::Signal;

const HARNESS: &str = env!("CARGO_BIN_EXE_harness");
const DAEMON: &str = env!("CARGO_BIN_EXE_harness-executor-daemon");

/// A service with an endless probe, and one with an endless hook; each command appends its pid to a file.
const BUSY: &str = r#"
name: busy
services:
  plain:
    type: process
    binary: sleep
    args: [1000]
  probed:
    type: process
    binary: sleep
    args: [1000]
    health_check:
      command: [sh, -c, 'echo $$$$ >> commands; sleep 777']
      timeout: 300
  hooked:
    type: process
    binary: sleep
    args: [1000]
    hooks:
      after_healthy: [sh, -c, 'echo $$$$ >> commands; sleep 777']
"#;

/// Ways to start a daemon from a shell that ends a moment later and leaves a job of the user in its session. The
/// first argument of the shell's command is the file for the job's pid.
fn shells() -> [Vec<String>; 4] {
    let job = "nohup sleep 9999 > /dev/null 2>&1 & echo $! > stranger";
    let start = format!("{HARNESS} start -q -d && {HARNESS} wait plain");
    let exec = format!("{HARNESS} exec plain -- sh -c 'echo $$ >> commands; sleep 777' > /dev/null 2>&1 &");
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    [
        words(&["setsid", "bash", "-c", &format!("{start}; {exec}\n{job}")]),
        words(&["setsid", "sh", "-c", &format!("{job}\n{start}; {exec}")]),
        // A shell on a terminal that gives each job its own process group.
        words(&[
            "script",
            "-qec",
            &format!(
                "bash -c 'set -m; trap \"\" HUP; {}'",
                format!("{job}\n{start}; {exec}\nsleep 0.1").replace('\'', "'\\''")
            ),
            "/dev/null",
        ]),
        // A shell with a parent that leads the session and dies first.
        words(&[
            "setsid",
            "bash",
            "-c",
            "bash -c \"$0\" & exit",
            &format!("{start}; {exec}\n{job}"),
        ]),
    ]
}

fn pid_in(path: &Path) -> u32 {
    eventually(&format!("a pid in {}", path.display()), || {
        fs::read_to_string(path).ok()?.trim().parse().ok()
    })
}

/// How a daemon is replaced by the next one.
#[derive(Debug, Clone, Copy)]
enum Succession {
    Restart,
    Killed,
}

#[test]
fn a_shell_that_is_gone_has_nothing_to_do_with_its_daemons_services() {
    for (number, shell) in shells().into_iter().enumerate() {
        for succession in [Succession::Restart, Succession::Killed] {
            let sandbox = Sandbox::with_file(&format!("gone_shell_{number}_{succession:?}"), BUSY);
            let words: Vec<&str> = shell.iter().map(String::as_str).collect();
            sandbox.command(words[0], &words[1..]).wait(common::PATIENCE);
            let stranger = pid_in(&sandbox.project().join("stranger"));
            eventually("probe, hook and exec are in flight", || {
                (sandbox.read("commands").lines().count() >= 3).then_some(())
            });
            let before = sandbox.pids();
            assert_eq!(before.len(), 3);
            let daemon = sandbox.daemon_pid().unwrap();
            assert_ours_have_no_terminal(&sandbox, stranger);
            match succession {
                Succession::Restart => drop(sandbox.ok(&["daemon", "restart"])),
                Succession::Killed => proc::kill(daemon),
            }
            assert_eq!(sandbox.pids(), before, "{succession:?} of {shell:?}");
            for (name, service) in sandbox.status() {
                assert_eq!(service["restarts"], 0, "{name}: {service}");
            }
            assert!(
                proc::is_alive(stranger),
                "{succession:?} of {shell:?} killed the user's own job"
            );
            sandbox.ok(&["stop", "--all"]);
            assert!(proc::is_alive(stranger));
            proc::kill(stranger);
        }
    }
}

/// Every process of the sandbox, except the one that started the daemon, is in a session that one of them leads, and
/// has no terminal.
fn assert_ours_have_no_terminal(sandbox: &Sandbox, stranger: u32) {
    let ours: Vec<u32> = sandbox
        .processes()
        .into_iter()
        .filter(|process| process.pid != stranger && !process.command.starts_with(&format!("{HARNESS} ")))
        .map(|process| process.pid)
        .chain(sandbox.daemon_pid())
        .collect();
    assert!(ours.len() > 6, "{ours:?}");
    for pid in ours {
        let Some((session, terminal)) = session(pid) else {
            continue;
        };
        assert_eq!(terminal, 0, "{pid} {} has a terminal", proc::command(pid));
        assert_ne!(
            Some(session),
            self::session(stranger).map(|(session, _)| session),
            "{}",
            proc::command(pid)
        );
    }
}

/// The session of a process and its controlling terminal: fields 6 and 7 of proc_pid_stat(5).
fn session(pid: u32) -> Option<(u32, i32)> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, rest) = stat.rsplit_once(") ")?;
    let mut fields = rest.split_whitespace().skip(3);
    Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
}

/// Says in a file whether `/dev/tty` can be opened, for what and by whom.
fn spy(who: &str) -> String {
    format!(
        "(: < /dev/tty) 2> /dev/null && echo {who} reads >> spied; (: > /dev/tty) 2> /dev/null && echo {who} writes >> spied; echo {who} >> tried"
    )
}

#[test]
fn no_service_probe_hook_or_exec_reaches_the_terminal_of_whoever_started_it() {
    let file = format!(
        r#"
name: spies
services:
  spy:
    type: process
    binary: sh
    args: [-c, '{service}; exec sleep 1000']
    user: nobody
    health_check: {{ command: [sh, -c, '{probe}'], interval: 0.2 }}
    hooks:
      before_start: [sh, -c, '{before}']
      after_healthy: [sh, -c, '{after}']
"#,
        service = spy("service"),
        probe = spy("probe"),
        before = spy("before_start"),
        after = spy("after_healthy"),
    );
    // A daemon that a command starts, and one that is started by hand.
    for by_hand in [false, true] {
        let sandbox = Sandbox::with_file(&format!("terminal_{by_hand}"), &file);
        fs::set_permissions(sandbox.project(), fs::Permissions::from_mode(0o777)).unwrap();
        let foreground = by_hand.then(|| sandbox.command("script", &["-qec", DAEMON, "/dev/null"]));
        if by_hand {
            eventually("the daemon is ready", || sandbox.daemon_pid());
            sandbox.ok(&["start"]);
        } else {
            sandbox
                .command("script", &["-qec", &format!("{HARNESS} start"), "/dev/null"])
                .wait(common::PATIENCE)
                .code(0);
        }
        let command = format!("{HARNESS} exec spy -- sh -c '{}'", spy("exec"));
        sandbox
            .command("script", &["-qec", &command, "/dev/null"])
            .wait(common::PATIENCE)
            .code(0);
        eventually("each of them has tried", || {
            let tried = sandbox.read("tried");
            let all = ["service", "probe", "before_start", "after_healthy", "exec"];
            all.iter().all(|who| tried.contains(who)).then_some(())
        });
        assert_eq!(sandbox.read("spied"), "", "by hand: {by_hand}");
        sandbox.ok(&["daemon", "stop", "--services"]);
        if let Some(foreground) = foreground {
            foreground.wait(common::PATIENCE);
        }
    }
}

#[test]
fn an_exec_with_a_terminal_gets_one_of_its_own() {
    let sandbox = Sandbox::with_file("own_terminal", BUSY);
    sandbox.ok(&["start", "-d"]);
    sandbox.ok(&["wait", "plain"]);
    let command = format!("{HARNESS} exec -it plain -- sh -c 'tty > inner; tty < /dev/tty >> inner'");
    sandbox
        .command(
            "script",
            &["-qec", &format!("tty > outer; {command}"), "/dev/null"],
        )
        .wait(common::PATIENCE)
        .code(0);
    let (inner, outer) = (sandbox.read("inner"), sandbox.read("outer"));
    let inner: Vec<&str> = inner.lines().collect();
    assert_eq!(inner.len(), 2, "{inner:?}");
    assert!(inner[0].starts_with("/dev/pts/"), "{inner:?}");
    assert_ne!(inner[0], outer.trim());
}

/// The command of `run` belongs to its caller: it stays in the caller's session, and may use the caller's terminal.
#[test]
fn the_command_of_run_stays_with_its_caller() {
    let sandbox = Sandbox::with_file("run_terminal", BUSY);
    let command = format!("{HARNESS} run plain -- sh -c 'tty > inner; : < /dev/tty && echo asked >> inner'");
    sandbox
        .command(
            "script",
            &["-qec", &format!("tty > outer; {command}"), "/dev/null"],
        )
        .wait(common::PATIENCE);
    let (inner, outer) = (sandbox.read("inner"), sandbox.read("outer"));
    assert_eq!(inner, format!("{}asked\n", outer), "{inner}");
}

fn zygote_of(sandbox: &Sandbox) -> Option<u32> {
    let all = proc::mentioning(sandbox.root());
    all.into_iter()
        .find(|process| process.is_zygote())
        .map(|process| process.pid)
}

/// A zygote that is suspended when its daemon dies keeps the locks of the launches that wait in its socket.
#[test]
fn a_held_zygote_of_a_dead_daemon_is_ended_and_its_launches_come_about() {
    for launches in [1, 4, 30] {
        let services: String = (0..launches)
            .map(|number| format!("  s{number}: {{ type: process, binary: sleep, args: [1000] }}\n"))
            .collect();
        let file = format!(
            "name: held\nservices:\n  first: {{ type: process, binary: sleep, args: [1000] }}\n{services}"
        );
        let sandbox = Sandbox::with_file(&format!("held_zygote_{launches}"), &file);
        sandbox.ok(&["start", "first"]);
        let zygote = zygote_of(&sandbox).unwrap();
        proc::signal(zygote, Signal::STOP);
        sandbox.ok(&["start", "-d"]);
        eventually("launches wait for the zygote", || {
            let dir = sandbox.home().join("projects/held/s0/1/lock");
            dir.exists().then_some(())
        });
        proc::kill(sandbox.daemon_pid().unwrap());
        sandbox.ok(&["start"]);
        assert!(!proc::is_alive(zygote));
        let status = sandbox.status();
        assert_eq!(status.len(), launches + 1);
        for (name, service) in status {
            assert_eq!(service["status"], "running", "{name}: {service}");
        }
        let sleepers = sandbox
            .processes()
            .into_iter()
            .filter(|p| p.command.ends_with("/sleep 1000"))
            .count();
        assert_eq!(sleepers, launches + 1, "each runs once");
        let log = fs::read_to_string(sandbox.home().join("logs/daemon.log")).unwrap();
        assert!(log.contains("zygote of a former daemon"), "it is said");
        sandbox.ok(&["stop", "--all"]);
    }
}

#[test]
fn launches_go_on_when_the_supervisors_program_was_removed() {
    let file = "name: bin\nservices:\n  a: { type: process, binary: sleep, args: [1000], health_check: { command: ['true'] } }\n  \
                b: { type: process, binary: sleep, args: [1000] }\n";
    for what in [
        "bin",
        "the copy",
        "bin and the zygote",
        "bin, and the zygote held",
    ] {
        let sandbox = Sandbox::with_file(&format!("no_bin_{}", what.len()), file);
        sandbox.ok(&["start", "a"]);
        let zygote = zygote_of(&sandbox).unwrap();
        let bin = sandbox.home().join("bin");
        match what {
            "the copy" => fs::read_dir(&bin)
                .unwrap()
                .for_each(|copy| fs::remove_file(copy.unwrap().path()).unwrap()),
            _ => fs::remove_dir_all(&bin).unwrap(),
        }
        match what {
            "bin and the zygote" => proc::kill(zygote),
            "bin, and the zygote held" => proc::signal(zygote, Signal::STOP),
            _ => {}
        }
        sandbox.ok(&["start"]);
        sandbox.ok(&["restart", "a"]);
        sandbox.ok(&["exec", "a", "--", "true"]);
        assert_eq!(sandbox.state("a"), "running/healthy", "{what}");
        // The next daemon adopts what ran under the program that was removed.
        let before = sandbox.pids();
        proc::kill(sandbox.daemon_pid().unwrap());
        assert_eq!(sandbox.pids(), before, "{what}");
        sandbox.ok(&["stop", "--all"]);
    }
}
