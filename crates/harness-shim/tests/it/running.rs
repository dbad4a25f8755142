//! Starting, failing to start, and ending.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use harness_shim::control::{self, Reply, Request, Scope};
use harness_shim::handshake::Handshake;
use harness_shim::identity::ProcessId;
use harness_shim::log::Stream;
use harness_shim::run_dir::{LaunchSpec, LockState, Outcome, Resource, RunDir, Stdin};

use crate::support::{Run, lines, run_id, sh, shim_program, until};

#[test]
fn exit_codes_are_recorded() {
    for code in [0, 3, 255] {
        let mut run = Run::start(&sh(&format!("exit {code}")));
        let record = run.ended();
        assert_eq!(record.outcome, Outcome::Exited(code));
        assert!(!record.stop_requested && !record.killed);
        assert!(record.started_at_ns < record.ended_at_ns);
    }
}

#[test]
fn death_by_signal_is_recorded() {
    let mut run = Run::start(&sh("kill -ABRT $$"));
    assert_eq!(run.outcome(), Outcome::Signaled(6));
}

fn fails(spec: &LaunchSpec, operation: &str, errno: i32) {
    let mut run = Run::start(spec);
    let expected = Handshake::Failed {
        operation: operation.into(),
        errno,
    };
    assert_eq!(run.handshake, expected);
    assert_eq!(
        run.outcome(),
        Outcome::SpawnFailed {
            operation: operation.into(),
            errno
        }
    );
}

#[test]
fn a_failed_spawn_says_which_step() {
    fails(
        &LaunchSpec {
            program: "/no/such/program".into(),
            ..sh("")
        },
        "exec",
        libc::ENOENT,
    );
    fails(
        &LaunchSpec {
            program: "no-such-program".into(),
            ..sh("")
        },
        "exec",
        libc::ENOENT,
    );
    fails(
        &LaunchSpec {
            program: "/etc/passwd".into(),
            ..sh("")
        },
        "exec",
        libc::EACCES,
    );
    fails(
        &LaunchSpec {
            cwd: "/no/such/dir".into(),
            ..sh("")
        },
        "cwd",
        libc::ENOENT,
    );
    fails(
        &LaunchSpec {
            cwd: "/etc/passwd".into(),
            ..sh("")
        },
        "cwd",
        libc::ENOTDIR,
    );
    fails(
        &LaunchSpec {
            user: Some("no-such-user".into()),
            ..sh("")
        },
        "user",
        libc::ENOENT,
    );
    let text = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(text.path(), "echo no interpreter named\n").unwrap();
    std::fs::set_permissions(text.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let program = text.into_temp_path();
    fails(
        &LaunchSpec {
            program: program.to_path_buf(),
            ..sh("")
        },
        "exec",
        libc::ENOEXEC,
    );
}

#[test]
fn a_damaged_spec_is_a_failed_spawn() {
    let home = tempfile::tempdir().unwrap();
    let dir = RunDir::create(home.path().join("r")).unwrap();
    std::fs::write(
        dir.path().join("spec"),
        "harness-spec 1\nprogram /bin/true\nwhat is this\n",
    )
    .unwrap();
    let mut run = Run::start_prepared(dir, run_id());
    assert_eq!(
        run.outcome(),
        Outcome::SpawnFailed {
            operation: "spec".into(),
            errno: 0
        }
    );
    assert!(
        run.dir.shim_messages().contains("line 3"),
        "{}",
        run.dir.shim_messages()
    );
}

#[test]
fn only_the_lock_of_the_directory_is_accepted() {
    let home = tempfile::tempdir().unwrap();
    let dir = RunDir::create(home.path().join("r")).unwrap();
    dir.write_spec(&sh("exit 0")).unwrap();
    let output = Command::new(shim_program())
        .arg("supervise")
        .arg(dir.path())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(!output.status.success() && output.stdout.is_empty());
    assert!(dir.shim_messages().contains("not the lock"));
    assert_eq!(dir.read_exit().unwrap(), None);
}

#[test]
fn the_process_finds_a_clean_world() {
    let script = r#"
        umask; cat; echo "$HARNESS_RUN_ID|$ONLY|$PATH|$HOME"; pwd
        for fd in /proc/self/fd/*; do echo "fd ${fd##*/}"; done
        grep -E '^Sig(Blk|Ign)' /proc/self/status
        ulimit -n; ulimit -c
        cut -d' ' -f 5,6 /proc/self/stat; echo "$$"
    "#;
    let mut spec = sh(script);
    spec.env.push(("ONLY".into(), "a=b\nc".into()));
    spec.cwd = "/usr".into();
    spec.limits = vec![(Resource::OpenFiles, 77), (Resource::Core, 0)];
    let mut run = Run::start(&spec);
    let pid = run.pid();
    assert_eq!(run.outcome(), Outcome::Exited(0));
    let lines = run.stdout();
    let first = format!("{}|a=b", run.run_id);
    let expected: Vec<&str> = vec!["0022", &first, "c|/usr/local/bin:/usr/bin:/bin|", "/usr"];
    assert_eq!(lines[..4], expected);
    // The descriptors 0 to 2, and the one of the shell's listing of /proc/self/fd.
    let fds: Vec<_> = lines.iter().filter_map(|l| l.strip_prefix("fd ")).collect();
    assert!(
        fds.len() <= 4 && fds.iter().all(|fd| fd.parse::<u32>().unwrap() <= 3),
        "{fds:?}"
    );
    for mask in ["SigBlk", "SigIgn"] {
        assert!(lines.contains(&format!("{mask}:\t0000000000000000")), "{lines:?}");
    }
    let end = &lines[lines.len() - 4..];
    assert_eq!(end, ["77", "0", &format!("{pid} {pid}"), &pid.to_string()]);
}

#[test]
fn identity_and_lock_hold_while_it_runs() {
    let mut run = Run::start(&sh("echo up; exec sleep 1000"));
    run.says("up");
    let identity = run.dir.read_identity().unwrap().unwrap();
    assert_eq!(identity.main, ProcessId::of(run.pid()).unwrap());
    assert_eq!(identity.shim, ProcessId::of(run.shim.id()).unwrap());
    assert_eq!(identity.run_id, run.run_id);
    assert_eq!(run.dir.lock_state().unwrap(), LockState::Held);
    assert!(run.dir.take_lock().is_err());
    assert_eq!(run.dir.read_exit().unwrap(), None);
    assert_eq!(run.ask(&Request::Ping), Reply::Ok);
    let mode = |name: &str| {
        std::fs::metadata(run.dir.path().join(name))
            .unwrap()
            .permissions()
            .mode()
            & 0o777
    };
    assert_eq!(
        [mode(""), mode("lock"), mode("control.sock")],
        [0o700, 0o600, 0o600]
    );
    assert_eq!(
        run.ask(&Request::Signal {
            signal: 9,
            scope: Scope::Main
        }),
        Reply::Ok
    );
    let record = run.ended();
    assert_eq!(record.outcome, Outcome::Signaled(9));
    assert!(!record.stop_requested && !record.killed);
    assert!(!identity.main.is_alive());
}

/// A shell starts the shim, and then hangs up on its whole process group and kills it, including itself.
#[test]
fn the_death_of_the_starter_disturbs_nobody() {
    let home = tempfile::tempdir().unwrap();
    let dir = RunDir::create(home.path().join("r")).unwrap();
    dir.write_spec(&LaunchSpec {
        stdin: Stdin::Keep,
        ..sh("read line; echo got $line; exit 7")
    })
    .unwrap();
    let script = r#"
        exec 5<&0
        "$SHIM" supervise "$DIR" <&5 >"$DIR/../out" 5<&- &
        exec 5<&- </dev/null
        until grep -q started "$DIR/../out"; do :; done
        kill -HUP 0; kill -INT 0; kill -TERM 0; kill -KILL 0
    "#;
    let status = Command::new("sh")
        .args(["-c", script])
        .env("SHIM", shim_program())
        .env("DIR", dir.path())
        .stdin(dir.take_lock().unwrap())
        .process_group(0)
        .status()
        .unwrap();
    assert!(!status.success());
    assert_eq!(dir.lock_state().unwrap(), LockState::Held);
    let mut client = control::connect(&dir).unwrap();
    let reply = control::request(&mut client, &Request::Stdin(b"it\n".to_vec())).unwrap();
    assert_eq!(reply, Reply::Ok);
    until("the shim ends", || dir.lock_state().unwrap() == LockState::Free);
    assert_eq!(dir.read_exit().unwrap().unwrap().outcome, Outcome::Exited(7));
    assert_eq!(lines(&dir), [(Stream::Stdout, "got it".to_owned())]);
}

/// Measures the time from the exit of a lone process to the exit record and the end of the shim.
#[test]
fn the_end_is_noticed_at_once() {
    let mut fastest = Duration::MAX;
    for _ in 0..10 {
        let mut run = Run::start(&sh("exec sleep 1000"));
        let main = ProcessId::of(run.pid()).unwrap();
        let begun = Instant::now();
        main.signal(libc::SIGKILL).unwrap();
        run.shim.wait().unwrap();
        fastest = fastest.min(begun.elapsed());
        assert_eq!(run.outcome(), Outcome::Signaled(9));
    }
    // This takes about a millisecond. The bound is wide because other tests run at the same time.
    assert!(fastest < Duration::from_millis(20), "{fastest:?}");
    eprintln!("from kill to the end of the shim: {fastest:?}");
}
