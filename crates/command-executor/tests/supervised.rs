//! Services under the real shim: launch, stop, adopt, and what happens when the shim is killed.

#![cfg(test)]

use std::time::Duration;

use command_executor::supervised::{
    Adopted, Ended, ExitRecord, LaunchError, LaunchSpec, Outcome, Scope, Stdin, StopPolicy,
};

use command_executor::Local;

mod support;
use support::*;

fn record(ended: Ended) -> ExitRecord {
    match ended {
        Ended::Exited(record) => record,
        other => panic!("{other:?}"),
    }
}

fn outcome(service: &Service) -> Outcome {
    record(block_on(service.wait()).unwrap()).outcome
}

#[test]
fn exit_codes_and_signals_are_recorded() {
    let dir = tempfile::tempdir().unwrap();
    for (script, expected) in [
        ("exit 0", Outcome::Exited(0)),
        ("exit 3", Outcome::Exited(3)),
        ("kill -9 $$", Outcome::Signaled(9)),
    ] {
        let run_dir = dir.path().join(script.replace(' ', "-"));
        let service = block_on(start(&host(), &run_dir, &sh_spec(&run_dir, script))).unwrap();
        assert_eq!(outcome(&service), expected, "{script}");
        let adopted = block_on(adopt(&run_dir)).unwrap();
        assert!(matches!(adopted, Adopted::Ended(record) if record.outcome == expected));
    }
}

#[test]
fn a_missing_program_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let spec = LaunchSpec::new("/no/such/program", "/", "test-missing");
    let error = block_on(start(&host(), dir.path().join("run"), &spec)).unwrap_err();
    assert!(error.to_string().contains("/no/such/program"), "{error}");
    let LaunchError::Spawn { source, .. } = error else {
        panic!("{error:?}")
    };
    assert_eq!(source.kind(), std::io::ErrorKind::NotFound);

    let nowhere = LaunchSpec::new("/bin/true", "/no/such/dir", "test-nowhere");
    let error = block_on(start(&host(), dir.path().join("run2"), &nowhere)).unwrap_err();
    assert!(
        matches!(&error, LaunchError::Spawn { operation, .. } if operation == "cwd"),
        "{error:?}"
    );
}

#[test]
fn a_missing_shim_is_named_and_nothing_was_started() {
    let dir = tempfile::tempdir().unwrap();
    let run_dir = dir.path().join("run");
    let supervisor = Local::new("/no/such/shim", dir.path());
    let error = block_on(start(&supervisor, &run_dir, &sh_spec(&run_dir, "exit 0"))).unwrap_err();
    assert!(error.to_string().contains("/no/such/shim"), "{error}");
    assert!(matches!(
        block_on(adopt(&run_dir)).unwrap(),
        Adopted::NeverStarted
    ));
    assert!(matches!(
        block_on(adopt(dir.path().join("none"))).unwrap(),
        Adopted::NeverStarted
    ));
}

#[test]
fn a_shim_that_says_nothing_is_reported() {
    let dir = tempfile::tempdir().unwrap();
    let run_dir = dir.path().join("run");
    let error = block_on(start(
        &Local::new("/bin/false", dir.path()),
        &run_dir,
        &sh_spec(&run_dir, "exit 0"),
    ));
    assert!(
        matches!(error, Err(LaunchError::SupervisorDied { .. })),
        "{error:?}"
    );
}

#[test]
fn stop_means_gone_for_everybody_who_waits() {
    let dir = tempfile::tempdir().unwrap();
    let run_dir = dir.path().join("run");
    let child = dir.path().join("child");
    let script = format!(
        "trap 'exit 5' TERM; sleep 60 & echo $! > {}; wait",
        child.display()
    );
    let service = block_on(start(&host(), &run_dir, &sh_spec(&run_dir, &script))).unwrap();
    let child = pid_in(&child);
    let clone = service.clone();
    let stop = async {
        service.stop(StopPolicy::default()).await.unwrap();
        service.wait().await.unwrap()
    };
    let (one, two) = block_on(smol::future::zip(stop, clone.wait()));
    assert_eq!(one, two.unwrap());
    let record = record(one);
    assert_eq!(
        (record.outcome, record.stop_requested),
        (Outcome::Exited(5), true)
    );
    assert!(!runs(child) && !runs(service.trace().identity.main.pid));
    block_on(service.stop(StopPolicy::default())).unwrap();
    block_on(service.kill()).unwrap();
}

#[test]
fn what_ignores_the_signal_is_killed_after_its_grace() {
    let dir = tempfile::tempdir().unwrap();
    let run_dir = dir.path().join("run");
    let up = dir.path().join("up");
    let script = format!(
        "trap '' TERM; echo $$ > {}; while :; do sleep 1; done",
        up.display()
    );
    let service = block_on(start(&host(), &run_dir, &sh_spec(&run_dir, &script))).unwrap();
    assert_eq!(pid_in(&up), service.trace().identity.main.pid);
    let policy = StopPolicy {
        grace: Duration::from_millis(200),
        ..StopPolicy::default()
    };
    block_on(service.stop(policy)).unwrap();
    let record = record(block_on(service.wait()).unwrap());
    assert!(record.killed);
}

#[test]
fn a_forgotten_service_is_adopted_again() {
    let dir = tempfile::tempdir().unwrap();
    let run_dir = dir.path().join("run");
    let mut spec = sh_spec(&run_dir, "read -r line; test \"$line\" = go && exit 42");
    spec.stdin = Stdin::Keep;
    let service = block_on(start(&host(), &run_dir, &spec)).unwrap();
    let identity = service.trace().identity.clone();
    drop(service);

    let Adopted::Running(adopted) = block_on(adopt(&run_dir)).unwrap() else {
        panic!("it runs")
    };
    assert_eq!(adopted.trace().identity, identity);
    assert!(is_alive(&adopted) && runs(identity.main.pid));
    block_on(adopted.send_stdin(b"go\n".to_vec())).unwrap();
    assert_eq!(outcome(&adopted), Outcome::Exited(42));
    assert!(block_on(adopted.send_stdin(b"x".to_vec())).is_err());
}

#[test]
fn stdin_is_carried_whole_and_closed() {
    let dir = tempfile::tempdir().unwrap();
    let (run_dir, copy) = (dir.path().join("run"), dir.path().join("copy"));
    let mut spec = sh_spec(&run_dir, &format!("exec cat > {}", copy.display()));
    spec.stdin = Stdin::Keep;
    let service = block_on(start(&host(), &run_dir, &spec)).unwrap();
    let data: Vec<u8> = (0..1_000_000).map(|i| (i % 251) as u8).collect();
    block_on(service.send_stdin(data.clone())).unwrap();
    block_on(service.close_stdin()).unwrap();
    assert_eq!(outcome(&service), Outcome::Exited(0));
    assert!(std::fs::read(&copy).unwrap() == data);
}

#[test]
fn signals_reach_the_main_process() {
    let dir = tempfile::tempdir().unwrap();
    let (run_dir, up) = (dir.path().join("run"), dir.path().join("up"));
    let script = format!(
        "trap 'exit 9' USR1; echo 1 > {}; while :; do sleep 0.05; done",
        up.display()
    );
    let service = block_on(start(&host(), &run_dir, &sh_spec(&run_dir, &script))).unwrap();
    pid_in(&up);
    block_on(service.signal(10, Scope::Main)).unwrap();
    assert_eq!(outcome(&service), Outcome::Exited(9));
}

/// Launches processes, one of which escapes, and returns the service and the pids of all of them.
fn launch_tree(dir: &std::path::Path) -> (Service, Vec<u32>) {
    let (run_dir, child, escapee) = (dir.join("run"), dir.join("child"), dir.join("escapee"));
    let script = format!(
        "sleep 300 & echo $! > {}; (setsid sh -c 'echo $$ > {}; exec sleep 300' &); wait",
        child.display(),
        escapee.display()
    );
    let service = block_on(start(&host(), &run_dir, &sh_spec(&run_dir, &script))).unwrap();
    let pids = vec![
        service.trace().identity.main.pid,
        pid_in(&child),
        pid_in(&escapee),
    ];
    (service, pids)
}

#[test]
fn a_killed_shim_is_told_and_its_tree_is_gone() {
    let dir = tempfile::tempdir().unwrap();
    let (service, pids) = launch_tree(dir.path());
    assert!(pids.iter().all(|pid| runs(*pid)));
    assert!(service.trace().identity.shim.signal(9).unwrap());
    let Ended::SupervisorDied { killed, main } = block_on(service.wait()).unwrap() else {
        panic!("no record can be there")
    };
    assert_eq!((killed, main), (pids.len(), None), "it ran until it was killed");
    assert!(!pids.iter().any(|pid| runs(*pid)));
}

/// Runs where the kernel tells how a process ended that is not our child (6.15 and later), or where its zombie is
/// left.
#[test]
fn a_main_process_that_ends_with_its_shim_has_its_exit_code_told() {
    let dir = tempfile::tempdir().unwrap();
    let (run_dir, up, over) = (
        dir.path().join("run"),
        dir.path().join("up"),
        dir.path().join("over"),
    );
    // The rest ignores SIGTERM. The shim waits for its end before it records anything.
    let script = format!(
        "sh -c 'trap \"\" TERM; echo $$ > {}; while :; do sleep 0.1; done' & while ! test -e {}; do sleep 0.01; done; exit 23",
        up.display(),
        over.display()
    );
    let service = block_on(start(&host(), &run_dir, &sh_spec(&run_dir, &script))).unwrap();
    let rest = pid_in(&up);
    // If it ends before anybody knows it, only its parent learns how.
    std::fs::write(&over, "").unwrap();
    let main = service.trace().identity.main.clone();
    eventually("the main process has ended", || !main.is_alive());
    assert!(service.trace().identity.shim.signal(9).unwrap());
    let ended = block_on(service.wait()).unwrap();
    assert!(!runs(rest));
    let Ended::SupervisorDied { main, .. } = ended else {
        panic!("no record can be there: {ended:?}")
    };
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let mut numbers = release
        .split(['.', '-'])
        .map(|number| number.parse::<u32>().unwrap_or(0));
    if (numbers.next(), numbers.next()) >= (Some(6), Some(15)) {
        assert_eq!(main, Some(Outcome::Exited(23)));
    } else {
        assert!(main.is_none_or(|main| main == Outcome::Exited(23)));
    }
}

#[test]
fn a_shim_killed_while_nobody_looked_is_told_on_adoption() {
    let dir = tempfile::tempdir().unwrap();
    let (service, pids) = launch_tree(dir.path());
    let (shim, run_dir) = (service.trace().identity.shim, dir.path().join("run"));
    drop(service);
    assert!(shim.signal(9).unwrap());
    eventually("the shim is gone", || !shim.is_alive());
    let adopted = block_on(adopt(&run_dir)).unwrap();
    assert!(
        matches!(
            adopted,
            Adopted::SupervisorDied {
                killed: 3,
                main: None
            }
        ),
        "{adopted:?}"
    );
    assert!(!pids.iter().any(|pid| runs(*pid)));
}

#[test]
fn a_shim_that_does_not_answer_can_be_killed() {
    let dir = tempfile::tempdir().unwrap();
    let (service, pids) = launch_tree(dir.path());
    assert!(service.trace().identity.shim.signal(19).unwrap());
    block_on(service.kill()).unwrap();
    assert!(matches!(
        block_on(service.wait()).unwrap(),
        Ended::SupervisorDied { .. }
    ));
    assert!(!pids.iter().any(|pid| runs(*pid)));
}

#[test]
fn another_boot_is_told_apart() {
    let dir = tempfile::tempdir().unwrap();
    let run_dir = dir.path().join("run");
    let service = block_on(start(&host(), &run_dir, &sh_spec(&run_dir, "sleep 300"))).unwrap();
    let main = service.trace().identity.main.clone();
    service.trace().identity.shim.signal(9).unwrap();
    eventually("the shim is gone", || !is_alive(&service));
    let mut identity = service.trace().identity.clone();
    identity.shim.boot_id = "00000000-0000-0000-0000-000000000000".to_owned();
    identity.main.boot_id = identity.shim.boot_id.clone();
    harness_shim::run_dir::RunDir::open(&run_dir)
        .unwrap()
        .write_identity(&identity)
        .unwrap();
    assert!(matches!(block_on(adopt(&run_dir)).unwrap(), Adopted::Rebooted));
    assert!(main.is_alive(), "a pid of another boot is nobody's to kill");
    block_on(service.wait()).unwrap();
    assert!(!main.is_alive(), "the run id finds it");
}

#[test]
fn a_launch_that_is_dropped_half_way_is_found_by_adoption() {
    let dir = tempfile::tempdir().unwrap();
    for round in 0..20 {
        let run_dir = dir.path().join(round.to_string());
        let spec = sh_spec(&run_dir, "exec sleep 300");
        block_on(async {
            let launch = async { drop(start(&host(), &run_dir, &spec).await.unwrap()) };
            let cancelled = async {
                smol::Timer::after(Duration::from_micros(round * 150)).await;
            };
            smol::future::or(launch, cancelled).await;
        });
        match block_on(adopt(&run_dir)).unwrap() {
            Adopted::Running(service) => {
                block_on(service.kill()).unwrap();
                assert_eq!(outcome(&service), Outcome::Signaled(9));
            }
            // The launch was cancelled before it began.
            Adopted::NeverStarted => {}
            other => panic!("round {round}: {other:?}"),
        }
    }
}

#[test]
fn stopping_what_ends_by_itself_is_success() {
    let dir = tempfile::tempdir().unwrap();
    for round in 0..60 {
        let run_dir = dir.path().join(round.to_string());
        let script = format!("sleep 0.00{}; exit 0", round % 10);
        let service = block_on(start(&host(), &run_dir, &sh_spec(&run_dir, &script))).unwrap();
        block_on(smol::Timer::after(Duration::from_micros(round * 200)));
        block_on(service.stop(StopPolicy::default())).unwrap();
        block_on(service.wait()).unwrap();
    }
}

#[test]
fn adoption_never_misses_an_exit() {
    let dir = tempfile::tempdir().unwrap();
    for round in 0..30 {
        let run_dir = dir.path().join(round.to_string());
        let script = format!("sleep 0.0{}; exit 7", round % 10);
        let service = block_on(start(&host(), &run_dir, &sh_spec(&run_dir, &script))).unwrap();
        drop(service);
        let outcome = match block_on(adopt(&run_dir)).unwrap() {
            Adopted::Running(service) => outcome(&service),
            Adopted::Ended(record) => record.outcome,
            other => panic!("round {round}: {other:?}"),
        };
        assert_eq!(outcome, Outcome::Exited(7), "round {round}");
    }
}

#[test]
fn a_run_directory_is_used_once() {
    let dir = tempfile::tempdir().unwrap();
    let run_dir = dir.path().join("run");
    let spec = sh_spec(&run_dir, "exit 0");
    let service = block_on(start(&host(), &run_dir, &spec)).unwrap();
    let again = block_on(start(&host(), &run_dir, &spec));
    assert!(matches!(again, Err(LaunchError::RunDir(_))), "{again:?}");
    block_on(service.wait()).unwrap();
}
