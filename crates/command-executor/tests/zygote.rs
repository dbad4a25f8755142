//! The process from which supervisors are forked. A forked supervisor must look like one that was executed, and
//! nothing may be lost, doubled or left behind when the zygote is killed, stopped, or no longer needed.

#![cfg(test)]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use command_executor::Local;
use command_executor::supervised::{Adopted, Ended, LaunchSpec, Outcome, ProcessId, StopPolicy};
use rustix::process::{Pid, Signal, kill_process};
use smol::future::zip;

mod support;
use support::*;

fn launch(supervisor: &Local, run_dir: &Path, script: &str) -> Service {
    block_on(start(supervisor, run_dir, &sh_spec(run_dir, script))).unwrap()
}

fn words(pid: u32) -> Vec<String> {
    let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap();
    let line = String::from_utf8(line).unwrap();
    line.trim_end_matches('\0')
        .split('\0')
        .map(str::to_owned)
        .collect()
}

fn stat(pid: u32) -> Option<(char, u32)> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, rest) = stat.rsplit_once(") ")?;
    let mut fields = rest.split(' ');
    Some((fields.next()?.chars().next()?, fields.next()?.parse().ok()?))
}

fn parent(pid: u32) -> u32 {
    stat(pid).unwrap().1
}

/// The zygote of a service's shim; `None` if this test spawned the shim.
fn zygote(service: &Service) -> Option<u32> {
    let parent = parent(service.trace().identity.shim.pid);
    (parent != std::process::id()).then_some(parent)
}

fn signal(pid: u32, signal: Signal) {
    kill_process(Pid::from_raw(pid.cast_signed()).unwrap(), signal).unwrap();
}

fn stop(service: &Service) {
    block_on(async {
        service.stop(StopPolicy::default()).await.unwrap();
        service.wait().await.unwrap();
    });
}

/// A script that records each of its starts before it waits.
fn counted(dir: &Path) -> (PathBuf, String) {
    let file = dir.join("starts");
    let script = format!("echo x >> {}; exec sleep 1000", file.display());
    (file, script)
}

#[test]
fn a_forked_supervisor_is_as_one_that_was_executed() {
    let dir = tempfile::tempdir().unwrap();
    let supervisor = host();
    let services: Vec<Service> = (0..3)
        .map(|number| {
            launch(
                &supervisor,
                &dir.path().join(number.to_string()),
                "exec sleep 1000",
            )
        })
        .collect();
    let zygotes: Vec<_> = services.iter().map(zygote).collect();
    assert!(zygotes[0].is_some() && zygotes.iter().all(|zygote| *zygote == zygotes[0]));
    let zygote = zygotes[0].unwrap();
    assert_eq!(words(zygote), [shim().to_str().unwrap(), "zygote"]);

    // Without a working zygote, the shim is executed.
    signal(zygote, Signal::STOP);
    let executed = launch(&supervisor, &dir.path().join("executed"), "exec sleep 1000");
    assert_eq!(self::zygote(&executed), None);
    let expected = executed.trace().identity.shim.pid;
    for (number, service) in services.iter().enumerate() {
        let pid = service.trace().identity.shim.pid;
        let run_dir = dir.path().join(number.to_string());
        let run_dir = run_dir.to_str().unwrap();
        assert_eq!(words(pid), [shim().to_str().unwrap(), "supervise", run_dir]);
        for file in ["comm", "environ", "limits"] {
            let read = |pid| fs::read(format!("/proc/{pid}/{file}")).unwrap();
            assert_eq!(read(pid), read(expected), "{file}");
        }
        let of = |pid: u32| {
            let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
            let kept = |line: &&str| {
                let names = [
                    "Umask",
                    "Uid",
                    "Gid",
                    "Groups",
                    "SigBlk",
                    "SigIgn",
                    "SigCgt",
                    "CapEff",
                    "NoNewPrivs",
                ];
                names.iter().any(|name| line.starts_with(name))
            };
            status.lines().filter(kept).map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(of(pid), of(expected));
        let link = |name: &str| fs::read_link(format!("/proc/{pid}/{name}")).unwrap();
        assert_eq!(link("cwd").to_str().unwrap(), run_dir);
        for stream in 0..3 {
            assert_eq!(link(&format!("fd/{stream}")), Path::new("/dev/null"));
        }
        let descriptors = |pid: u32| fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count();
        // They close the handshake just after it.
        eventually("it has none but its own", || {
            descriptors(pid) == descriptors(expected)
        });
        let session = |pid: u32| rustix::process::getsid(Pid::from_raw(pid.cast_signed())).unwrap();
        assert_eq!(session(pid).as_raw_pid().unsigned_abs(), pid);
    }
    services.iter().chain([&executed]).for_each(stop);
}

#[test]
fn the_zygote_ends_with_its_last_user_and_the_services_go_on() {
    let dir = tempfile::tempdir().unwrap();
    let supervisor = Arc::new(host());
    let other = Arc::clone(&supervisor);
    let service = launch(&supervisor, &dir.path().join("r"), "exec sleep 1000");
    let zygote = zygote(&service).unwrap();
    drop(supervisor);
    assert!(runs(zygote));
    drop(other);
    eventually("the zygote ends", || !runs(zygote));
    assert!(is_alive(&service) && runs(service.trace().identity.main.pid));
    let Adopted::Running(adopted) = block_on(adopt(dir.path().join("r"))).unwrap() else {
        panic!("it runs")
    };
    stop(&adopted);
    assert!(!is_alive(&service));
}

#[test]
fn short_programs_are_heard_of_and_leave_no_zombies() {
    let dir = tempfile::tempdir().unwrap();
    let supervisor = host();
    let kept = launch(&supervisor, &dir.path().join("kept"), "exec sleep 1000");
    let zygote = zygote(&kept).unwrap();
    for number in 0..60 {
        let run_dir = dir.path().join(number.to_string());
        let spec = LaunchSpec::new(
            "/bin/true",
            "/",
            format!("test-short-{}-{number}", std::process::id()),
        );
        let service = block_on(start(&supervisor, &run_dir, &spec)).unwrap();
        let Ended::Exited(record) = block_on(service.wait()).unwrap() else {
            panic!("it died")
        };
        assert_eq!(record.outcome, Outcome::Exited(0));
    }
    let of_zygote = || {
        let pids = fs::read_dir("/proc").unwrap().flatten();
        pids.filter_map(|entry| stat(entry.file_name().to_str()?.parse().ok()?))
            .filter(|(_, parent)| *parent == zygote)
            .count()
    };
    eventually("only the one that runs is left", || of_zygote() == 1);
    stop(&kept);
}

#[test]
fn a_killed_zygote_is_replaced_and_takes_nobody_along() {
    let dir = tempfile::tempdir().unwrap();
    let supervisor = host();
    let first = launch(&supervisor, &dir.path().join("1"), "exec sleep 1000");
    let zygote = zygote(&first).unwrap();
    signal(zygote, Signal::KILL);
    let second = launch(&supervisor, &dir.path().join("2"), "exec sleep 1000");
    assert_ne!(self::zygote(&second), Some(zygote));
    let third = launch(&supervisor, &dir.path().join("3"), "exec sleep 1000");
    assert!(self::zygote(&third).is_some_and(|successor| successor != zygote));
    for service in [&first, &second, &third] {
        assert!(runs(service.trace().identity.main.pid));
        stop(service);
    }
}

/// The zygote holds the request, and with it the lock, but nobody waits for it forever.
#[test]
fn a_held_zygote_is_given_up_and_the_service_starts_once() {
    let dir = tempfile::tempdir().unwrap();
    let supervisor = host();
    let first = launch(&supervisor, &dir.path().join("1"), "exec sleep 1000");
    let zygote = zygote(&first).unwrap();
    signal(zygote, Signal::STOP);
    let (starts, script) = counted(dir.path());
    let second = launch(&supervisor, &dir.path().join("2"), &script);
    eventually("it started", || fs::read_to_string(&starts).is_ok());
    assert!(!runs(zygote));
    assert_eq!(fs::read_to_string(&starts).unwrap(), "x\n");
    stop(&first);
    stop(&second);
}

/// Requests are on their way, taken, or half done when it dies.
#[test]
fn launches_under_way_when_the_zygote_dies_all_come_about_once() {
    for round in 0..5 {
        let dir = tempfile::tempdir().unwrap();
        // It uses its own zygotes, so that other tests keep theirs.
        let own_shim = dir.path().join("shim");
        fs::copy(shim(), &own_shim).unwrap();
        let supervisor = Arc::new(Local::new(own_shim.as_path(), dir.path()));
        let zygotes = || {
            let begins = format!("{}\0zygote\0", own_shim.display());
            let pids = fs::read_dir("/proc").unwrap().flatten();
            let pids = pids.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
            // A process that was just forked has the same name for a moment, but another parent.
            pids.filter(|pid| {
                stat(*pid).is_some_and(|(_, parent)| parent == std::process::id())
                    && fs::read(format!("/proc/{pid}/cmdline"))
                        .is_ok_and(|line| line.starts_with(begins.as_bytes()))
            })
            .collect::<Vec<u32>>()
        };
        let services: Vec<(PathBuf, Service)> = block_on(async {
            let executor = smol::LocalExecutor::new();
            let launches: Vec<_> = (0..24)
                .map(|number| {
                    let (supervisor, of) = (Arc::clone(&supervisor), dir.path().join(number.to_string()));
                    executor.spawn(async move {
                        fs::create_dir(&of).unwrap();
                        let (starts, script) = counted(&of);
                        let run_dir = of.join("r");
                        let spec = sh_spec(&run_dir, &script);
                        (starts, start(&*supervisor, &run_dir, &spec).await.unwrap())
                    })
                })
                .collect();
            let killer = async {
                for kill in 0..4 {
                    smol::Timer::after(Duration::from_millis(1 + 3 * kill + round)).await;
                    for pid in zygotes() {
                        // It may be gone by now.
                        let _ = kill_process(Pid::from_raw(pid.cast_signed()).unwrap(), Signal::KILL);
                    }
                }
            };
            let all = async {
                let mut all = Vec::new();
                for launch in launches {
                    all.push(launch.await);
                }
                all
            };
            executor.run(zip(all, killer)).await.0
        });
        for (starts, service) in &services {
            eventually("it started", || {
                fs::read_to_string(starts).is_ok_and(|text| !text.is_empty())
            });
            assert_eq!(fs::read_to_string(starts).unwrap(), "x\n");
            stop(service);
        }
    }
}

/// There is no cgroup, and the main process is dead too. Then nothing leads to a child without an environment, except
/// that the zygote has become its parent.
#[test]
fn what_a_dead_supervisor_leaves_to_the_zygote_is_killed_and_other_services_are_not() {
    let dir = tempfile::tempdir().unwrap();
    let supervisor = host();
    let child = dir.path().join("child");
    let script = format!(
        "env -i setsid sh -c 'echo $$ > {}; exec /bin/sleep 1000' & wait",
        child.display()
    );
    let run = |name: &str, script: &str| launch(&supervisor, &dir.path().join(name), script);
    let other = run("other", "env -i /bin/sleep 1000 & wait");
    for both_at_once in [true, false] {
        let service = run(&format!("service-{both_at_once}"), &script);
        let left = ProcessId::of(pid_in(&child)).unwrap();
        let (shim, main) = (
            service.trace().identity.shim.clone(),
            service.trace().identity.main.clone(),
        );
        shim.signal(9).unwrap();
        if both_at_once {
            main.signal(9).unwrap();
        }
        let ended = block_on(service.wait()).unwrap();
        assert!(matches!(ended, Ended::SupervisorDied { .. }), "{ended:?}");
        eventually("what it left is gone", || !left.is_alive());
        std::fs::remove_file(&child).unwrap();
    }
    assert!(is_alive(&other));
    assert_eq!(
        harness_shim::tree::descendants(other.trace().identity.shim.pid)
            .unwrap()
            .len(),
        2
    );
    stop(&other);
}
