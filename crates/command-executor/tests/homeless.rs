//! Runs with a directory that was removed, moved or copied, or that lost a file. They are found, managed as far as
//! possible, and never doubled; and no stranger is taken for one of them.

#![cfg(test)]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use command_executor::host::{Adoption, Survivor};
use command_executor::supervised::{
    AdoptError, Adopted, Ended, LaunchError, LaunchSpec, Outcome, ProcessId, StopPolicy, Trace,
};
use command_executor::{Host, Local, shim_binary};

mod support;
use support::*;

/// How long a shim may take in these tests to say who it is.
const PROMPT: Duration = Duration::from_millis(100);

/// A host for this home that runs its own copy of the shim, as a daemon does.
fn installed(dir: &Path) -> Local {
    Local::new(shim_binary::install(&shim(), &dir.join("bin")).unwrap(), dir)
}

/// The supervisors of this home.
fn surveyed(dir: &Path) -> Vec<Survivor> {
    answered(block_on(installed(dir).survey())).unwrap()
}

/// A script that writes a file when it is asked to end, and also has a child.
fn polite(dir: &Path) -> String {
    let dir = dir.display();
    format!("trap 'echo asked > {dir}/asked; exit 7' TERM; sleep 300 & echo $$ > {dir}/up; wait")
}

fn launch(supervisor: &Local, dir: &Path, run_dir: &Path) -> (Service, LaunchSpec) {
    fs::create_dir_all(run_dir.parent().unwrap()).unwrap();
    let spec = sh_spec(run_dir, &polite(dir));
    let service = block_on(start(supervisor, run_dir, &spec)).unwrap();
    pid_in(&dir.join("up"));
    (service, spec)
}

fn marked(spec: &LaunchSpec) -> usize {
    harness_shim::tree::find_by_run_id(&spec.run_id).unwrap().len()
}

/// What is known of a run apart from its directory.
#[derive(Default)]
struct Known {
    trace: Option<Trace>,
    supervisors: Vec<ProcessId>,
}

fn known(service: &Service, dir: &Path, trace: bool, search: bool) -> Known {
    let mut supervisors = match search {
        true => surveyed(dir).into_iter().map(|found| found.supervisor).collect(),
        false => Vec::new(),
    };
    supervisors.retain(|supervisor| *supervisor == service.trace().identity.shim);
    assert_eq!(supervisors.len(), usize::from(search));
    Known {
        trace: trace.then(|| service.trace()),
        supervisors,
    }
}

fn adopt_by(run_dir: &Path, known: Known) -> Result<Adopted, AdoptError> {
    let run = Adoption {
        trace: known.trace,
        supervisors: known.supervisors,
        patience: PROMPT,
        ..Adoption::of(run_dir)
    };
    answered(block_on(host().adopt(run)))
}

/// Checks that it is asked before it is stopped, and that nothing is left then.
fn stops_in_order(service: &Service, spec: &LaunchSpec, dir: &Path, what: &str) -> Ended {
    block_on(service.stop(StopPolicy::default())).unwrap();
    let ended = block_on(service.wait()).unwrap();
    assert!(dir.join("asked").exists(), "{what}: it was asked");
    assert_eq!(marked(spec), 0, "{what}");
    assert!(!service.trace().identity.shim.is_alive(), "{what}");
    ended
}

#[test]
fn a_lost_file_costs_nothing() {
    let files: [&[&str]; 6] = [
        &["lock"],
        &["identity"],
        &["control.sock"],
        &["lock", "identity"],
        &["identity", "control.sock"],
        &["lock", "identity", "control.sock"],
    ];
    for lost in files {
        for (trace, search) in [(false, false), (true, false), (false, true)] {
            if lost.contains(&"lock") && lost.contains(&"identity") && !trace && !search {
                // Nothing in it leads to anybody.
                continue;
            }
            let what = format!("{lost:?}, remembered: {trace}, searched: {search}");
            let dir = tempfile::tempdir().unwrap();
            let run_dir = dir.path().join("projects/p/s/1");
            let (service, spec) = launch(&installed(dir.path()), dir.path(), &run_dir);
            for file in lost {
                fs::remove_file(run_dir.join(file)).unwrap();
            }
            let known = known(&service, dir.path(), trace, search);
            let identity = service.trace().identity.clone();
            drop(service);
            let adopted = adopt_by(&run_dir, known).unwrap();
            let Adopted::Running(service) = adopted else {
                panic!("{what}: {adopted:?}")
            };
            assert_eq!(service.trace().identity.shim, identity.shim, "{what}");
            assert_eq!(service.trace().identity.main, identity.main, "{what}");
            assert!(run_dir.join("identity").exists(), "{what}: it is written again");
            let ended = stops_in_order(&service, &spec, dir.path(), &what);
            assert!(
                matches!(&ended, Ended::Exited(record) if record.outcome == Outcome::Exited(7)),
                "{what}: {ended:?}"
            );
        }
    }
}

#[test]
fn a_lost_directory_leaves_a_run_that_can_be_stopped() {
    for lost in ["projects/p/s/1", "projects/p/s", "projects/p"] {
        for moved in [false, true] {
            for (trace, search) in [(true, false), (false, true)] {
                let what = format!("{lost}, moved: {moved}, remembered: {trace}, searched: {search}");
                let dir = tempfile::tempdir().unwrap();
                let run_dir = dir.path().join("projects/p/s/1");
                let (service, spec) = launch(&installed(dir.path()), dir.path(), &run_dir);
                assert!(service.is_in_place());
                let gone = dir.path().join(lost);
                match moved {
                    false => fs::remove_dir_all(&gone).unwrap(),
                    true => fs::rename(&gone, dir.path().join("elsewhere")).unwrap(),
                }
                assert!(!service.is_in_place());
                let known = known(&service, dir.path(), trace, search);
                drop(service);
                let adopted = adopt_by(&run_dir, known).unwrap();
                let Adopted::Homeless(service) = adopted else {
                    panic!("{what}: {adopted:?}")
                };
                let ended = stops_in_order(&service, &spec, dir.path(), &what);
                match ended {
                    Ended::Exited(record) => assert!(moved && record.outcome == Outcome::Exited(7), "{what}"),
                    // There was no place to record it.
                    Ended::SupervisorDied { .. } => assert!(!moved, "{what}"),
                }
                assert!(!run_dir.exists(), "{what}: nothing is made again");
            }
        }
    }
}

#[test]
fn who_launched_it_can_stop_it_when_all_is_gone_and_a_stranger_lies_there() {
    for group in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        let run_dir = dir.path().join("projects/p/s/1");
        let supervisor = installed(dir.path());
        let (service, spec) = launch(&supervisor, dir.path(), &run_dir);
        fs::remove_dir_all(&run_dir).unwrap();
        // Another one takes exactly the same place.
        let other_spec = LaunchSpec {
            run_id: format!("{}-other", spec.run_id),
            ..sh_spec(&run_dir, "exec sleep 300")
        };
        let other = block_on(start(&supervisor, &run_dir, &other_spec)).unwrap();
        let policy = StopPolicy {
            mode: match group {
                true => command_executor::supervised::StopMode::Group,
                false => command_executor::supervised::StopMode::Mixed,
            },
            ..StopPolicy::default()
        };
        block_on(service.stop(policy)).unwrap();
        block_on(service.wait()).unwrap();
        assert!(dir.path().join("asked").exists());
        assert_eq!(marked(&spec), 0);
        assert!(
            is_alive(&other) && other.trace().identity.main.is_alive(),
            "it is another one"
        );
        block_on(other.kill()).unwrap();
        block_on(other.wait()).unwrap();
    }
}

#[test]
fn one_that_does_not_listen_is_killed_without_its_directory() {
    let dir = tempfile::tempdir().unwrap();
    let run_dir = dir.path().join("projects/p/s/1");
    fs::create_dir_all(run_dir.parent().unwrap()).unwrap();
    let escapee = dir.path().join("escapee");
    let script = format!(
        "trap '' TERM; (setsid sh -c 'trap \"\" TERM; echo $$ > {}; while :; do sleep 0.1; done' &); while :; do sleep 0.1; done",
        escapee.display()
    );
    let spec = sh_spec(&run_dir, &script);
    let service = block_on(start(&installed(dir.path()), &run_dir, &spec)).unwrap();
    let escapee = pid_in(&escapee);
    fs::remove_dir_all(dir.path().join("projects")).unwrap();
    block_on(service.stop(StopPolicy::default())).unwrap();
    block_on(service.kill()).unwrap();
    block_on(service.wait()).unwrap();
    assert!(!runs(escapee));
    assert_eq!(marked(&spec), 0);
}

#[test]
fn what_a_dead_shim_left_is_found_without_its_directory() {
    for lost in [
        &["projects/p/s/1"][..],
        &["projects"],
        &["projects/p/s/1/lock", "projects/p/s/1/identity"],
    ] {
        let dir = tempfile::tempdir().unwrap();
        let run_dir = dir.path().join("projects/p/s/1");
        let (service, spec) = launch(&installed(dir.path()), dir.path(), &run_dir);
        let known = known(&service, dir.path(), true, false);
        let shim = service.trace().identity.shim.clone();
        drop(service);
        for path in lost {
            let path = dir.path().join(path);
            match path.is_dir() {
                true => fs::remove_dir_all(path).unwrap(),
                false => fs::remove_file(path).unwrap(),
            }
        }
        assert!(shim.signal(9).unwrap());
        eventually("the shim is gone", || !shim.is_alive());
        assert!(marked(&spec) > 0);
        let adopted = adopt_by(&run_dir, known).unwrap();
        assert!(
            matches!(adopted, Adopted::SupervisorDied { killed, .. } if killed > 0),
            "{adopted:?}"
        );
        assert_eq!(marked(&spec), 0);
    }
}

#[test]
fn a_copy_of_a_directory_is_not_the_run() {
    let dir = tempfile::tempdir().unwrap();
    let run_dir = dir.path().join("projects/p/s/1");
    let (service, spec) = launch(&installed(dir.path()), dir.path(), &run_dir);
    let copy = dir.path().join("copy");
    fs::create_dir(&copy).unwrap();
    for file in ["lock", "identity"] {
        fs::copy(run_dir.join(file), copy.join(file)).unwrap();
    }
    for known in [Known::default(), known(&service, dir.path(), true, true)] {
        let refused = adopt_by(&copy, known).unwrap_err();
        assert!(matches!(refused, AdoptError::Copied { .. }), "{refused:?}");
        assert!(
            refused
                .to_string()
                .contains(&format!("runs in {}", run_dir.display())),
            "{refused}"
        );
    }
    assert!(service.trace().identity.main.is_alive());
    stops_in_order(&service, &spec, dir.path(), "the original");
}

/// Removes the directory at any instant of a launch. Either the launch fails and nothing of it runs, or it runs and
/// is known.
#[test]
fn a_launch_into_a_directory_that_is_taken_away_leaves_nothing() {
    for damage in ["removed", "moved", "emptied", "lock"] {
        let dir = tempfile::tempdir().unwrap();
        let supervisor = installed(dir.path());
        // The first launch starts the zygote and takes longer.
        let warm = dir.path().join("warm");
        block_on(async {
            let service = start(&supervisor, &warm, &sh_spec(&warm, "exit 0"))
                .await
                .unwrap();
            service.wait().await.unwrap()
        });
        let (mut failed, mut began) = (0, 0);
        for round in 0..20_u64 {
            let run_dir = dir.path().join(format!("projects/p/{round}/1"));
            fs::create_dir_all(run_dir.parent().unwrap()).unwrap();
            let spec = sh_spec(&run_dir, "exec sleep 300");
            let over = AtomicBool::new(false);
            let launched = std::thread::scope(|scope| {
                scope.spawn(|| {
                    while !run_dir.exists() && !over.load(Ordering::Relaxed) {
                        std::hint::spin_loop();
                    }
                    // The instant is the input of the test.
                    std::thread::sleep(Duration::from_micros(round * 120));
                    // It may be gone already.
                    let _ = match damage {
                        "removed" => fs::remove_dir_all(run_dir.parent().unwrap()),
                        "moved" => fs::rename(&run_dir, dir.path().join(format!("projects/p/{round}/moved"))),
                        "lock" => fs::remove_file(run_dir.join("lock")),
                        _ => {
                            for file in ["lock", "identity", "control.sock", "exit.tmp"] {
                                let _ = fs::remove_file(run_dir.join(file));
                            }
                            Ok(())
                        }
                    };
                });
                let launched = block_on(start(&supervisor, &run_dir, &spec));
                over.store(true, Ordering::Relaxed);
                launched
            });
            let what = format!("{damage}, round {round}");
            match launched {
                Ok(service) => {
                    began += 1;
                    block_on(service.stop(StopPolicy::default())).unwrap();
                    block_on(service.wait()).unwrap();
                }
                Err(error) => {
                    failed += 1;
                    assert!(!matches!(error, LaunchError::Cleanup { .. }), "{what}: {error:?}");
                }
            }
            assert_eq!(marked(&spec), 0, "{what}");
            let left = surveyed(dir.path());
            assert!(left.is_empty(), "{what}: {left:?}");
        }
        eprintln!("{damage}: {failed} launches failed, {began} began");
    }
}

#[test]
fn strangers_are_no_shims() {
    let dir = tempfile::tempdir().unwrap();
    let run_dir = dir.path().join("projects/p/s/1");
    let supervisor = installed(dir.path());
    let (service, spec) = launch(&supervisor, dir.path(), &run_dir);
    let copy = fs::read_dir(dir.path().join("bin"))
        .unwrap()
        .next()
        .unwrap()
        .unwrap();
    let copy = copy.file_name().into_string().unwrap();
    // It has the right arguments and any name. But only a copy of the shim with the right digest counts.
    fs::write(dir.path().join("supervise"), "sleep 300 & wait").unwrap();
    let posing = |program: PathBuf| {
        #[expect(clippy::disallowed_methods, reason = "a stranger has to run")]
        std::process::Command::new(program)
            .arg("supervise")
            .arg(&run_dir)
            .current_dir(dir.path())
            .stdin(fs::File::open(run_dir.join("lock")).unwrap())
            .spawn()
            .unwrap()
    };
    let mut strangers = Vec::new();
    for name in ["sh", copy.as_str(), "harness-shim", "harness-shim-00"] {
        let program = dir.path().join(format!("strange/{name}"));
        fs::create_dir_all(program.parent().unwrap()).unwrap();
        fs::copy("/bin/sh", &program).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o700)).unwrap();
        strangers.push(posing(program));
    }
    eventually("they run", || {
        let is_up = |pid: u32| {
            fs::read(format!("/proc/{pid}/cmdline"))
                .is_ok_and(|line| line.windows(9).any(|word| word == b"supervise"))
        };
        strangers.iter().all(|stranger| is_up(stranger.id()))
    });
    let found: Vec<_> = surveyed(dir.path());
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0].supervisor, service.trace().identity.shim);
    // The same goes for a process that only names a directory that is gone.
    fs::remove_dir_all(dir.path().join("projects")).unwrap();
    let known = Known {
        trace: None,
        supervisors: surveyed(dir.path())
            .into_iter()
            .map(|found| found.supervisor)
            .collect(),
    };
    let Adopted::Homeless(found) = adopt_by(&run_dir, known).unwrap() else {
        panic!("it runs")
    };
    assert_eq!(found.trace().identity.main, service.trace().identity.main);
    stops_in_order(&found, &spec, dir.path(), "among strangers");
    for mut stranger in strangers {
        assert!(stranger.try_wait().unwrap().is_none(), "a stranger was ended");
        stranger.kill().unwrap();
        stranger.wait().unwrap();
    }
}
