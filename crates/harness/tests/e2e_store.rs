//! The daemon's store under attack: it is damaged while services run, and its daemon is killed during commits.

#![cfg(test)]

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::hash::{BuildHasher, RandomState};
use std::path::PathBuf;
use std::time::Duration;

use common::{PATIENCE, Sandbox, eventually, proc};
use service_registry::ServiceRecord;
use service_registry::store::Store;

const FILE: &str = r#"
version: "1.0"
name: stored
services:
  one: {type: process, binary: sleep, args: [1001], restart: always}
  two: {type: process, binary: sleep, args: [1002], restart: unless-stopped, dependencies: [one]}
  three: {type: process, binary: sleep, args: [1003], env: {MARK: "a mark that stands in the store"}}
"#;

/// Rounds of kills during commits, unless `HARNESS_STORE_ROUNDS` says otherwise.
const ROUNDS: u64 = 15;

fn kill_daemon(sandbox: &Sandbox) {
    if let Some(daemon) = sandbox.daemon_pid() {
        proc::kill(daemon);
        eventually("the daemon is gone", || (!proc::is_alive(daemon)).then_some(()));
    }
}

fn set_aside(sandbox: &Sandbox) -> Vec<PathBuf> {
    let entries = fs::read_dir(sandbox.home()).unwrap().flatten();
    let mut found: Vec<PathBuf> = entries
        .map(|entry| entry.path())
        .filter(|path| path.display().to_string().contains("/state.damaged-"))
        .collect();
    found.sort();
    found
}

fn flip(bytes: &mut [u8], at: impl Iterator<Item = usize>) {
    for at in at {
        bytes[at] ^= 0x40;
    }
}

/// Damages the bytes of a store so that the daemon must notice it.
type Damage = fn(&mut Vec<u8>);

/// Every way to damage one, by name.
fn damages() -> [(&'static str, Damage); 6] {
    [
        ("cut in its middle", |bytes| bytes.truncate(bytes.len() / 2)),
        ("cut within its header", |bytes| bytes.truncate(100)),
        ("flipped in its magic number", |bytes| flip(bytes, 0..4)),
        ("flipped wherever the mark stands", |bytes| {
            let mark = b"a mark that stands in the store";
            let places: Vec<usize> = (0..bytes.len() - mark.len())
                .filter(|at| bytes[*at..].starts_with(mark))
                .collect();
            assert!(!places.is_empty(), "the mark is not in the store");
            flip(bytes, places.into_iter());
        }),
        ("flipped all over", |bytes| {
            let length = bytes.len();
            flip(bytes, (0..length).step_by(512));
        }),
        ("replaced by something else", |bytes| {
            *bytes = b"no database at all\n".repeat(500);
        }),
    ]
}

#[test]
fn a_damaged_store_is_set_aside_by_name_and_services_are_adopted() {
    for (how, damage) in damages() {
        eprintln!("{how}");
        let sandbox = Sandbox::with_file("store_damaged", FILE);
        sandbox.ok(&["start"]);
        let pids = sandbox.pids();
        assert_eq!(pids.len(), 3);
        sandbox.ok(&["daemon", "status"]);
        let doctor = sandbox.harness(&["doctor"]);
        assert!(
            doctor.stdout.contains("no damaged store was set aside"),
            "{doctor}"
        );
        kill_daemon(&sandbox);
        let state = sandbox.home().join("state");
        let mut bytes = fs::read(&state).unwrap();
        damage(&mut bytes);
        fs::write(&state, &bytes).unwrap();

        // Any verb starts the next one.
        assert_eq!(sandbox.pids(), pids, "{how}: the same processes are adopted");
        let aside = set_aside(&sandbox);
        assert_eq!(aside.len(), 1, "{how}: {aside:?}");
        let name = aside[0].to_str().unwrap();
        let kept = fs::read(&aside[0]).unwrap();
        assert_eq!(kept.len(), bytes.len(), "{how}: it is kept as it was");
        sandbox.ok(&["daemon", "logs", "-n", "1000"]).says(name);
        sandbox.ok(&["daemon", "status"]).says(name);
        let status = sandbox.json(&["daemon", "status"]);
        assert_eq!(status["damaged_stores"][0], name, "{status}");
        sandbox
            .harness(&["doctor"])
            .says(name)
            .says("then remove the file");

        // They are managed as before, by this daemon and the next.
        sandbox.ok(&["restart", "one"]);
        sandbox.ok(&["daemon", "restart"]);
        assert_eq!(set_aside(&sandbox), aside, "{how}: the new store is good");
        let now = sandbox.pids();
        assert_ne!(now["one"], pids["one"], "{how}");
        assert_eq!(now["three"], pids["three"], "{how}");
        sandbox.ok(&["stop", "--all"]);
        assert_eq!(sandbox.processes().len(), 0, "{how}: {:?}", sandbox.processes());
        fs::remove_file(&aside[0]).unwrap();
        let status = sandbox.ok(&["daemon", "status"]);
        assert!(!status.stdout.contains("damaged"), "{status}");
    }
}

#[test]
fn an_empty_or_missing_store_is_filled_from_the_run_directories() {
    for is_missing in [false, true] {
        let sandbox = Sandbox::with_file("store_empty", FILE);
        sandbox.ok(&["start"]);
        let pids = sandbox.pids();
        kill_daemon(&sandbox);
        let state = sandbox.home().join("state");
        fs::remove_file(&state).unwrap();
        if !is_missing {
            fs::write(&state, "").unwrap();
        }
        assert_eq!(sandbox.pids(), pids);
        sandbox.ok(&["stop", "--all"]);
        assert_eq!(sandbox.processes().len(), 0, "{:?}", sandbox.processes());
    }
}

/// SplitMix64, with one seed that is printed when the test fails.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % limit
    }
}

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable} is a number")))
}

/// The last request for a service, and whether the command line got its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Last {
    Up,
    Down,
    /// The daemon was killed before it answered: both states are right.
    Unanswered,
}

#[test]
fn a_daemon_killed_amid_commits_loses_nothing_that_was_acknowledged() {
    let seed = number("HARNESS_STORE_SEED").unwrap_or_else(|| RandomState::new().hash_one("store") >> 16);
    eprintln!("HARNESS_STORE_SEED={seed}");
    let mut random = Random(seed);
    // Each has its own loop of requests, so that commits of several clients overlap; no policy restarts them.
    let names = ["a", "b", "c"];
    let mut file = "version: \"1.0\"\nname: commits\nservices:\n".to_owned();
    for name in names {
        file.push_str(&format!(
            "  {name}: {{type: process, binary: sleep, args: [1000]}}\n"
        ));
    }
    let sandbox = Sandbox::with_file("store_commits", &file);
    sandbox.ok(&["start"]);
    let mut last: BTreeMap<&str, Last> = names.map(|name| (name, Last::Up)).into();
    for round in 0..number("HARNESS_STORE_ROUNDS").unwrap_or(ROUNDS) {
        let seeds = names.map(|_| random.below(u64::MAX));
        let kill_after = Duration::from_micros(20_000 + random.below(400_000));
        let before = last.clone();
        let daemon = sandbox.daemon_pid().expect("a daemon runs");
        std::thread::scope(|scope| {
            let sandbox = &sandbox;
            let loops: Vec<_> = names
                .iter()
                .zip(seeds)
                .map(|(name, seed)| {
                    let begin = before[name];
                    scope.spawn(move || (*name, orders_until_it_dies(sandbox, daemon, name, seed, begin)))
                })
                .collect();
            // The instant is the input of this test, so this sleep does not wait for anything.
            std::thread::sleep(kill_after);
            proc::kill(daemon);
            for one in loops {
                let (name, now) = one.join().unwrap();
                last.insert(name, now);
            }
        });
        eventually("the daemon is gone", || (!proc::is_alive(daemon)).then_some(()));
        let context = format!("round {round} of HARNESS_STORE_SEED={seed}: {last:?}");

        // Acknowledged requests are in the store, not only in the run directories.
        let stored = wanted_by_the_store(&sandbox);
        for name in names {
            let fits = match last[name] {
                Last::Up => stored.get(name) == Some(&true),
                Last::Down => stored.get(name) == Some(&false),
                Last::Unanswered => stored.contains_key(name),
            };
            assert!(fits, "the store has {stored:?}; {context}");
        }
        // Interrupted requests are continued, which takes a moment; acknowledged ones show at once.
        let first = sandbox.status();
        assert_eq!(set_aside(&sandbox), Vec::<PathBuf>::new(), "{}", context);
        for name in names {
            let status = first[name]["status"].as_str().unwrap();
            let fits = match last[name] {
                Last::Up => status == "running",
                Last::Down => status == "stopped",
                Last::Unanswered => true,
            };
            assert!(fits, "{name} is {status}; {}", context);
        }
        let mut now = first;
        eventually(&format!("all come to rest; {}", context), || {
            now = sandbox.status();
            names
                .iter()
                .all(|name| ["running", "stopped"].contains(&now[*name]["status"].as_str().unwrap()))
                .then_some(())
        });
        let up: Vec<&str> = names
            .into_iter()
            .filter(|name| now[*name]["status"] == "running")
            .collect();
        for name in names {
            let is = if up.contains(&name) { Last::Up } else { Last::Down };
            last.insert(name, is);
        }
        // Each runs once, or not at all.
        let sleeping = || {
            let mut processes = sandbox.processes();
            processes.retain(|process| process.command.ends_with("sleep 1000"));
            processes.len()
        };
        eventually(&format!("{} of them run; {}", up.len(), context), || {
            (sleeping() == up.len()).then_some(())
        });
    }
    sandbox.ok(&["stop", "--all"]);
    assert_eq!(sandbox.processes().len(), 0, "{:?}", sandbox.processes());
}

/// Which services should run according to the store. It reads a copy, because reading a store repairs it.
fn wanted_by_the_store(sandbox: &Sandbox) -> BTreeMap<String, bool> {
    let copy = sandbox.root().join("state");
    fs::copy(sandbox.home().join("state"), &copy).unwrap();
    let contents = Store::load(&copy).unwrap();
    let wanted = |service: &ServiceRecord| (service.name.as_str().to_owned(), service.wanted);
    contents.services.iter().map(wanted).collect()
}

/// A few requests of one client for one service; ends with the first that fails.
fn orders_until_it_dies(sandbox: &Sandbox, daemon: u32, name: &str, seed: u64, begin: Last) -> Last {
    let mut random = Random(seed);
    let mut last = begin;
    // Few, so that when the daemon dies, some clients have all their answers and others do not.
    for _ in 0..=random.below(6) {
        // A request may have started the next daemon, but that one belongs to the next round.
        if sandbox.daemon_pid() != Some(daemon) {
            return last;
        }
        let (args, done) = match random.below(3) {
            0 => (&["stop", name][..], Last::Down),
            1 => (&["restart", name][..], Last::Up),
            _ => (&["start", "--no-deps", name][..], Last::Up),
        };
        let output = sandbox.spawn(args).wait(PATIENCE);
        if output.code != Some(0) {
            eventually(
                &format!("a request fails only when the daemon ends\n{output}"),
                || (!proc::is_alive(daemon)).then_some(()),
            );
            return Last::Unanswered;
        }
        last = done;
    }
    last
}
