//! Daemon, supervisors and services are killed at once, and each service comes back once.

use std::fmt::Write as _;

use crate::common::{Sandbox, eventually, proc};

const SERVICES: usize = 8;

/// Services in four rows of two; each has arguments of its own to identify it.
fn file() -> String {
    let mut file = "version: \"1.0\"\nname: chaos\nservices:\n".to_owned();
    for number in 0..SERVICES {
        let after = match number.checked_sub(2) {
            Some(before) => format!(", dependencies: [s{before}]"),
            None => String::new(),
        };
        let script = format!("echo up; exec sleep 5000{number}");
        writeln!(
            file,
            "  s{number}: {{type: process, binary: sh, args: [-c, '{script}'], restart: always, \
             health_check: {{log: up}}{after}}}"
        )
        .unwrap();
    }
    file
}

/// How many processes of this service there are.
fn running(sandbox: &Sandbox, number: usize) -> usize {
    // The shell before it has the same words at the end of its arguments.
    let words = format!("sleep 5000{number}");
    let processes = sandbox.processes();
    processes
        .iter()
        .filter(|process| process.command.ends_with(&words))
        .count()
}

fn each_runs_once(sandbox: &Sandbox, when: &str) {
    for number in 0..SERVICES {
        assert_eq!(
            running(sandbox, number),
            1,
            "s{number} {when}: {:?}",
            sandbox.processes()
        );
    }
}

#[test]
fn shims_services_and_the_daemon_killed_together_come_back_once() {
    let sandbox = Sandbox::with_file("chaos_all", &file());
    sandbox.ok(&["start"]);
    for round in 0..4_usize {
        let pids: Vec<u32> = sandbox
            .pids()
            .values()
            .map(|pid| u32::try_from(*pid).unwrap())
            .collect();
        let daemon = sandbox.daemon_pid().unwrap();
        let shims: Vec<u32> = pids.iter().filter_map(|pid| proc::parent(*pid)).collect();
        for (number, (pid, shim)) in pids.iter().zip(&shims).enumerate() {
            if number == SERVICES / 2 {
                proc::kill(daemon);
            }
            match (number + round) % 3 {
                0 => proc::kill(*pid),
                1 => proc::kill(*shim),
                _ => {}
            }
        }
        eventually("the daemon is gone", || (!proc::is_alive(daemon)).then_some(()));
        sandbox.ok(&["start"]);
        eventually("every service is healthy again", || {
            sandbox
                .status()
                .values()
                .all(|service| service["status"] == "running" && service["health"] == "healthy")
                .then_some(())
        });
        each_runs_once(&sandbox, &format!("after round {round}"));
    }
    sandbox.ok(&["stop", "--all"]);
    assert_eq!(sandbox.processes().len(), 0, "{:?}", sandbox.processes());
}
