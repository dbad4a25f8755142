//! A shim killed with -9: everything that it leaves is found, and nothing else is touched.

use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use harness_shim::cgroup;
use harness_shim::identity::ProcessId;
use harness_shim::run_dir::{LaunchSpec, LockState, Outcome, RunDir};
use harness_shim::tree::{self, LeftoversError};

use crate::support::{Run, perl, run_id, sh, until};

/// The main process, a plain child, a double-forked one in its own session, and a child without an environment.
const SCRIPT: &str = r#"
    $| = 1; $SIG{TERM} = 'IGNORE'; require POSIX;
    if (!fork) { print "up $$\n"; sleep 1000; exit }
    my $between = fork;
    if (!$between) { POSIX::setsid(); if (!fork) { print "up $$\n"; sleep 1000 } exit }
    waitpid $between, 0;
    if (!fork) { exec 'env', '-i', 'perl', '-e', '$| = 1; print "up $$\n"; sleep 1000' }
    print "up $$\n"; sleep 1000;
"#;

fn four(run: &Run) -> Vec<ProcessId> {
    until("four are up", || run.stdout().len() == 4);
    let pids = run
        .stdout()
        .into_iter()
        .map(|line| line["up ".len()..].parse().unwrap());
    pids.map(|pid| ProcessId::of(pid).unwrap()).collect()
}

fn kill_shim(run: &mut Run) {
    run.shim.kill().unwrap();
    run.shim.wait().unwrap();
    assert_eq!(run.dir.lock_state().unwrap(), LockState::Free);
}

#[test]
fn the_tree_of_a_dead_shim_is_found_and_killed() {
    for kill_main_too in [false, true] {
        let mut run = Run::start(&perl(SCRIPT));
        let processes = four(&run);
        assert!(matches!(
            tree::kill_leftovers(&run.dir),
            Err(LeftoversError::ShimAlive)
        ));
        // A bystander that has nothing in common with them.
        let mut bystander = Command::new("sleep")
            .arg("60")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .unwrap();
        kill_shim(&mut run);
        let main = ProcessId::of(run.pid()).unwrap();
        if kill_main_too {
            main.signal(libc::SIGKILL).unwrap();
            until("main is gone", || !main.is_alive());
        }
        assert!(processes.iter().filter(|p| p.is_alive()).count() >= 3);
        // When main is dead, only a cgroup would lead to the child without an environment, and this run has none.
        let expected = if kill_main_too { 2 } else { 4 };
        assert_eq!(tree::kill_leftovers(&run.dir).unwrap(), expected);
        let left: Vec<_> = processes.iter().filter(|p| p.is_alive()).collect();
        assert_eq!(left.len(), usize::from(kill_main_too));
        for process in left {
            process.signal(libc::SIGKILL).unwrap();
        }
        assert_eq!(tree::kill_leftovers(&run.dir).unwrap(), 0);
        assert_eq!(run.dir.read_exit().unwrap(), None);
        assert!(bystander.try_wait().unwrap().is_none());
        bystander.kill().unwrap();
        bystander.wait().unwrap();
    }
}

#[test]
fn the_cgroup_of_a_dead_shim_is_killed_and_removed() {
    let Some(base) = cgroup::delegated_base() else {
        eprintln!("skipped: no cgroup may be used here");
        return;
    };
    let cgroup = base.join(format!("harness-shim-{}", run_id()));
    let mut run = Run::start(&LaunchSpec {
        cgroup: Some(cgroup.clone()),
        ..perl(SCRIPT)
    });
    let processes = four(&run);
    kill_shim(&mut run);
    ProcessId::of(run.pid()).unwrap().signal(libc::SIGKILL).unwrap();
    until("main is gone", || {
        processes.iter().filter(|p| p.is_alive()).count() == 3
    });
    assert_eq!(tree::kill_leftovers(&run.dir).unwrap(), 3);
    assert!(processes.iter().all(|p| !p.is_alive()));
    assert!(!cgroup.exists());
}

/// Between the lock and the identity there is nothing to read and nothing to kill.
#[test]
fn a_directory_without_identity_has_no_leftovers() {
    let home = tempfile::tempdir().unwrap();
    let dir = RunDir::create(home.path().join("r")).unwrap();
    dir.write_spec(&sh("exit 0")).unwrap();
    assert_eq!(tree::kill_leftovers(&dir).unwrap(), 0);
}

/// The identity names a pid that now belongs to another process, which leads a session of the same number.
#[test]
fn a_reused_pid_is_left_alone() {
    let mut run = Run::start(&sh("exit 0"));
    assert_eq!(run.outcome(), Outcome::Exited(0));
    let mut stranger = Command::new("setsid").args(["sleep", "60"]).spawn().unwrap();
    let stat = || std::fs::read_to_string(format!("/proc/{}/stat", stranger.id())).unwrap();
    until("it leads a session", || stat().contains("(sleep)"));
    let mut identity = run.dir.read_identity().unwrap().unwrap();
    identity.main.pid = stranger.id();
    identity.shim.pid = stranger.id();
    // Both may have started within one tick of the clock. In reality a pid is reused much later.
    identity.main.start_time -= 1;
    run.dir.write_identity(&identity).unwrap();
    assert!(!identity.main.is_alive());
    assert!(identity.main.open_pidfd().unwrap().is_none());
    assert!(!identity.main.signal(libc::SIGKILL).unwrap());
    assert_eq!(tree::kill_leftovers(&run.dir).unwrap(), 0);
    assert!(stranger.try_wait().unwrap().is_none());
    stranger.kill().unwrap();
    stranger.wait().unwrap();
}

/// A shim that is killed at any instant of its start leaves nothing that its directory does not lead to.
#[test]
fn a_shim_killed_while_starting_leaves_nothing_unfound() {
    for delay in 0..40_u32 {
        let home = tempfile::tempdir().unwrap();
        let dir = RunDir::create(home.path().join("r")).unwrap();
        let spec = sh("sleep 1000");
        dir.write_spec(&spec).unwrap();
        let mut shim = Command::new(crate::support::shim_program())
            .arg("supervise")
            .arg(dir.path())
            .stdin(dir.take_lock().unwrap())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(std::time::Duration::from_micros(u64::from(delay) * 100));
        shim.kill().unwrap();
        shim.wait().unwrap();
        // The child holds the lock too, until it becomes another program or notices that the shim is gone.
        until("the lock is free", || {
            dir.lock_state().unwrap() == LockState::Free
        });
        let running = tree::find_by_run_id(&spec.run_id).unwrap();
        if !running.is_empty() {
            assert!(dir.read_identity().unwrap().is_some());
        }
        tree::kill_leftovers(&dir).unwrap();
        assert_eq!(tree::find_by_run_id(&spec.run_id).unwrap(), []);
    }
}
