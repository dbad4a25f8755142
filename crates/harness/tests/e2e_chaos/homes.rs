//! A home is damaged at any instant while its services run; the daemon may also die, before or after that.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use crate::chaos::dice::Dice;
use crate::common::{PATIENCE, Sandbox, eventually, proc, within};

const NAMES: [&str; 3] = ["one", "two", "three"];

/// Each notes if another instance of it already runs.
const WITNESS: &str = r#"
old=$(cat "w.$1" 2>/dev/null)
test -n "$old" && kill -0 "$old" 2>/dev/null && echo "$1" >> doubles
echo $$ > "w.$1"
trap 'exit 0' TERM
while :; do sleep 0.05; done
"#;

const FILE: &str = r#"
version: "1.0"
name: damaged
services:
  one: {type: process, binary: sh, args: [witness.sh, one], restart: always, shutdown_timeout: 3}
  two: {type: process, binary: sh, args: [witness.sh, two], dependencies: [one], shutdown_timeout: 3}
  three: {type: process, binary: sh, args: [witness.sh, three], restart: on-failure, shutdown_timeout: 3}
"#;

/// The paths that one attack removes.
fn victims(dice: &mut Dice, sandbox: &Sandbox) -> Vec<PathBuf> {
    let home = sandbox.home();
    let service = home.join("projects/damaged").join(dice.pick(&NAMES));
    match dice.below(8) {
        0 => vec![home],
        1 => fs::read_dir(&home)
            .map(|entries| entries.flatten().map(|entry| entry.path()).collect())
            .unwrap_or_default(),
        2 => vec![home.join("projects")],
        3 => vec![home.join("projects"), home.join("state")],
        4 => vec![service],
        5 => vec![home.join("state")],
        part => {
            let newest = fs::read_dir(&service).into_iter().flatten().flatten();
            let newest = newest.filter_map(|entry| entry.file_name().to_str()?.parse::<u64>().ok());
            let run_dir = service.join(newest.max().unwrap_or(1).to_string());
            let file = dice.pick(&["lock", "identity", "control.sock"]);
            match part {
                6 => vec![run_dir],
                _ => vec![run_dir.join(file)],
            }
        }
    }
}

fn remove(path: &PathBuf) {
    // Whatever happens there at this time: the instant is the input of the test.
    let _ = match path.is_dir() {
        true => fs::remove_dir_all(path),
        false => fs::remove_file(path),
    };
}

/// Each runs once, under one supervisor, and nothing else runs.
fn each_runs_once(sandbox: &Sandbox) -> bool {
    let processes = sandbox.processes();
    let shims: BTreeSet<u32> = processes
        .iter()
        .filter(|process| process.command.contains(" supervise "))
        .map(|process| process.pid)
        .collect();
    let witness = |name: &str| {
        let of = processes.iter().filter(|process| {
            process.command.contains(&format!("witness.sh {name}"))
                && proc::parent(process.pid).is_some_and(|parent| shims.contains(&parent))
        });
        of.count()
    };
    shims.len() == NAMES.len() && NAMES.iter().all(|name| witness(name) == 1)
}

#[test]
fn homes_damaged_at_any_instant_orphan_and_double_nothing() {
    let mut dice = Dice::new("chaos_homes");
    let sandbox = Sandbox::with_file("chaos_homes", FILE);
    sandbox.write("witness.sh", WITNESS);
    // An unrelated process with arguments that look like ours.
    let mut stranger = sandbox.command("sh", &["-c", "exec sleep 100000", "supervise", "stranger"]);
    let stranger_pid = stranger.pid();
    let home = sandbox.home();
    for round in 0..dice.rounds(8, 1) {
        let order = dice.pick(&[&["start"][..], &["restart"][..], &["stop", "--all"][..]]);
        let running = sandbox.spawn(order);
        dice.wait(Duration::from_millis(800));
        let (daemon, first) = (sandbox.daemon_pid(), dice.one_in(2));
        let kill = || {
            if let Some(daemon) = daemon {
                proc::kill(daemon);
                eventually("the daemon is gone", || (!proc::is_alive(daemon)).then_some(()));
            }
        };
        let dies = dice.one_in(2);
        if dies && first {
            kill();
        }
        let victims = victims(&mut dice, &sandbox);
        victims.iter().for_each(remove);
        if dies && !first {
            dice.wait(Duration::from_millis(300));
            kill();
        }
        dice.note(format!(
            "{round}: {order:?}, dies: {dies}, first: {first}, lost: {victims:?}"
        ));
        // It may have lost its daemon, or its home.
        running.wait(PATIENCE);
        within(Duration::from_secs(90), "all are up again, once", || {
            let started = sandbox.harness(&["start"]).code == Some(0);
            (started && each_runs_once(&sandbox)).then_some(())
        });
        assert_eq!(sandbox.read("doubles"), "", "two at a time");
        assert!(!stranger.has_ended(), "the stranger was ended");
    }
    sandbox.ok(&["daemon", "stop", "--services"]);
    eventually("nothing is left", || {
        let left = sandbox.processes();
        left.iter()
            .all(|process| process.pid == stranger_pid)
            .then_some(())
    });
    assert!(home.exists());
    stranger.signal(rustix::process::Signal::KILL);
    stranger.wait(PATIENCE);
}
