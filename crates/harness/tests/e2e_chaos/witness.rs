//! A project of services that bear witness (`witness.sh`), and what their testimony must be.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::common::{PATIENCE, Sandbox, eventually, proc};
use crate::dice::Dice;

/// How long services may take to come to rest after an attack.
const REST: Duration = Duration::from_secs(60);

/// One service of the project.
#[derive(Debug, Clone)]
pub(crate) struct Service {
    pub(crate) name: &'static str,
    /// What its witness does: the words after its name.
    pub(crate) does: String,
    /// The keys beside, in YAML's flow style.
    pub(crate) keys: &'static str,
}

/// A start that a witness wrote down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Start {
    pub(crate) number: u64,
    pub(crate) pid: u32,
    pub(crate) edition: u64,
}

/// How all services are together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Together {
    Up,
    Down,
}

/// A sandbox with witnesses.
pub(crate) struct World {
    pub(crate) sandbox: Sandbox,
    pub(crate) services: Vec<Service>,
    pub(crate) edition: u64,
}

impl World {
    pub(crate) fn new(test: &str, services: Vec<Service>) -> Self {
        let sandbox = Sandbox::new(test);
        sandbox.write("witness.sh", include_str!("witness.sh"));
        std::fs::create_dir(sandbox.project().join("w")).unwrap();
        let mut world = Self {
            sandbox,
            services,
            edition: 0,
        };
        world.next_edition();
        world
    }

    /// Writes the file anew, so that every service counts as changed.
    pub(crate) fn next_edition(&mut self) {
        self.edition += 1;
        let mut file = "version: \"1.0\"\nname: chaos\nservices:\n".to_owned();
        for Service { name, does, keys } in &self.services {
            let words: Vec<&str> = does.split(' ').collect();
            writeln!(
                file,
                "  {name}: {{type: process, binary: sh, args: [witness.sh, {name}, {}], \
                 env: {{EDITION: \"{}\"}}, {keys}}}",
                quoted(&words),
                self.edition,
            )
            .unwrap();
        }
        self.sandbox.write("services.yaml", &file);
    }

    /// The starts that a service wrote down.
    pub(crate) fn starts(&self, name: &str) -> Vec<Start> {
        let text = self.sandbox.read(&format!("w/{name}.starts"));
        text.lines()
            .map(|line| {
                let numbers: Vec<u64> = line.split(' ').map(|word| word.parse().unwrap()).collect();
                Start {
                    number: numbers[0],
                    pid: u32::try_from(numbers[1]).unwrap(),
                    edition: numbers[2],
                }
            })
            .collect()
    }

    /// How many starts every service wrote down.
    pub(crate) fn counts(&self) -> BTreeMap<&'static str, usize> {
        let count = |service: &Service| (service.name, self.starts(service.name).len());
        self.services.iter().map(count).collect()
    }

    /// The lines that services wrote down at their own ends.
    pub(crate) fn exits(&self) -> usize {
        let lines = |service: &Service| {
            let text = self.sandbox.read(&format!("w/{}.exits", service.name));
            text.lines().count()
        };
        self.services.iter().map(lines).sum()
    }

    /// Runs `harness ARGS`, and kills the daemon at an instant within `limit` after its begin. Now and then the
    /// next daemon is killed as well, while it takes over. Returns whether the command line was told success.
    pub(crate) fn kill_amid(&self, dice: &mut Dice, args: &[&str], limit: Duration) -> bool {
        let running = self.sandbox.spawn(args);
        dice.wait(limit);
        kill_daemon(&self.sandbox);
        let output = running.wait(PATIENCE);
        while dice.one_in(4) {
            dice.note("  and the next daemon, in its recovery");
            let status = self.sandbox.spawn(&["status"]);
            dice.wait(Duration::from_millis(400));
            kill_daemon(&self.sandbox);
            status.wait(PATIENCE);
        }
        output.code == Some(0)
    }

    /// Waits until all services have come to rest, all up or all down, with nothing but looks at them, and checks
    /// what they say. `wanted` names the only rest that will do.
    pub(crate) fn settle(&self, wanted: Option<Together>) -> Together {
        let deadline = Instant::now() + REST;
        loop {
            let status = self.sandbox.status();
            let is = self.together(&status);
            if let Some(is) = is.filter(|is| wanted.is_none_or(|wanted| wanted == *is)) {
                self.check(is);
                return is;
            }
            assert!(
                Instant::now() < deadline,
                "not {} within {REST:?}: {status:#?}\nstarts: {:?}\nprocesses: {:#?}\nevents: {}",
                wanted.map_or("together".to_owned(), |wanted| format!("{wanted:?}")),
                self.counts(),
                self.sandbox.processes(),
                self.sandbox.ok(&["events"]),
            );
            std::thread::sleep(Duration::from_millis(30));
        }
    }

    fn together(&self, status: &BTreeMap<String, Value>) -> Option<Together> {
        let is_up = |service: &Value| service["status"] == "running" && service["health"] != "starting";
        // What was never started has not been stopped.
        let is_down = |service: &Value| service["status"] == "stopped" || service["status"] == "pending";
        let known = |is: fn(&Value) -> bool| status.values().all(is);
        if known(is_up) && status.len() == self.services.len() {
            Some(Together::Up)
        } else if known(is_down) && status.values().all(|service| service["pid"].is_null()) {
            // Pending is waiting for its turn as well: then somebody else still runs or is going to.
            let waits = |service: &Value| service["status"] == "pending";
            (!status.values().any(waits)).then_some(Together::Down)
        } else {
            None
        }
    }

    /// What must be true of services at rest: each runs once or not at all, as `status` says.
    fn check(&self, is: Together) {
        self.check_never_doubled();
        match is {
            Together::Down => self.check_nothing_runs(),
            Together::Up => {
                // A program runs a moment before its first line does, and one that has just died is not known to
                // be dead yet.
                eventually("each runs as what it last started as", || {
                    let pids = self.sandbox.pids();
                    let mut names = self.services.iter().map(|service| service.name);
                    names
                        .all(|name| {
                            let last = self.starts(name).pop();
                            last.is_some_and(|last| pids.get(name) == Some(&u64::from(last.pid)))
                        })
                        .then_some(())
                });
                self.check_processes(self.services.len());
            }
        }
    }

    /// No two instances of a service have ever lived at a time.
    pub(crate) fn check_never_doubled(&self) {
        assert_eq!(self.sandbox.read("w/doubles"), "", "two at a time");
    }

    /// Nothing of any service is left.
    pub(crate) fn check_nothing_runs(&self) {
        eventually("nothing is left running", || {
            self.sandbox.processes().is_empty().then_some(())
        });
    }

    /// So many witnesses live, each under one supervisor, and no other.
    pub(crate) fn check_processes(&self, wanted: usize) {
        let mut seen = (BTreeSet::new(), 0);
        eventually("one witness and one supervisor for each service", || {
            let processes = self.sandbox.processes();
            let with = |words: &str| {
                let lines = processes.iter().filter(|process| process.command.contains(words));
                lines.map(|process| process.pid).collect::<Vec<u32>>()
            };
            let shims = with(" supervise ");
            // A witness forks: only the child of a supervisor is one.
            let mut witnesses = with("witness.sh");
            witnesses.retain(|pid| proc::parent(*pid).is_some_and(|parent| shims.contains(&parent)));
            let parents: BTreeSet<u32> = witnesses.iter().filter_map(|pid| proc::parent(*pid)).collect();
            seen = (parents, shims.len());
            (witnesses.len() == wanted && seen.0.len() == wanted && shims.len() == wanted).then_some(())
        });
    }
}

/// Kills the daemon, if one runs, and waits until it is gone.
pub(crate) fn kill_daemon(sandbox: &Sandbox) {
    if let Some(daemon) = sandbox.daemon_pid() {
        proc::kill(daemon);
        eventually("the daemon is gone", || (!proc::is_alive(daemon)).then_some(()));
    }
}

fn quoted(words: &[&str]) -> String {
    let words: Vec<String> = words.iter().map(|word| format!("\"{word}\"")).collect();
    words.join(", ")
}
