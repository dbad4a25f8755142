//! A project whose services (witnesses, `witness.sh`) record what happens to them, and the checks of these records.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::ops::Deref;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::dice::Dice;
use crate::common::{PATIENCE, Sandbox, eventually, proc, within};

/// Where the witnesses run.
pub(crate) trait Scene: Deref<Target = Sandbox> {
    /// How long services may take to come to rest after an attack.
    const REST: Duration;
    /// How many times longer things take than for processes. Attacks fall within that time.
    const PACE: u32;
    /// This kind of scene plays one `SHARE`-th of all rounds.
    const SHARE: u64;

    /// A sandbox for a test.
    fn set(test: &str) -> Self;

    /// What the project is called.
    fn project_name(&self) -> &str;

    /// The keys of a service that runs `sh` with these arguments, in YAML's flow style.
    fn runs(&self, service: &str, words: &str) -> String;

    /// Kills the instance that recorded that start.
    fn kill(&self, start: &Start);

    /// How many of a service's last instances still have their logs.
    fn kept(&self, service: &str) -> u64;

    /// Each of these services runs once, as the instance of its last start, and nothing else runs.
    fn check_each_runs_once(&self, starts: &BTreeMap<&'static str, Vec<Start>>) -> Result<(), String>;

    /// Whether anything of any service runs.
    fn any_runs(&self) -> bool;

    /// Nothing is left of any service, nor of what was made for it.
    fn check_nothing_is_left(&self) -> Result<(), String>;
}

/// One service of the project.
#[derive(Debug, Clone)]
pub(crate) struct Service {
    pub(crate) name: &'static str,
    /// What its witness does: the arguments after its name.
    pub(crate) does: String,
    /// Further keys, in YAML's flow style.
    pub(crate) keys: &'static str,
}

/// A start that a witness recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Start {
    /// Its pid, or the first twelve digits of its container's id.
    pub(crate) who: String,
    pub(crate) edition: u64,
}

/// The common state of all services.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Together {
    Up,
    Down,
}

/// A sandbox with witnesses.
pub(crate) struct World<S> {
    pub(crate) scene: S,
    pub(crate) services: Vec<Service>,
    pub(crate) edition: u64,
}

impl<S: Scene> World<S> {
    pub(crate) fn new(test: &str, services: Vec<Service>) -> Self {
        let scene = S::set(test);
        scene.write("witness.sh", include_str!("witness.sh"));
        std::fs::create_dir(scene.project().join("w")).unwrap();
        let mut world = Self {
            scene,
            services,
            edition: 0,
        };
        world.next_edition();
        world
    }

    /// Writes a new version of the file, so that every service counts as changed.
    pub(crate) fn next_edition(&mut self) {
        self.edition += 1;
        let mut file = format!(
            "version: \"1.0\"\nname: {}\nservices:\n",
            self.scene.project_name()
        );
        for Service { name, does, keys } in &self.services {
            let words: Vec<String> = does.split(' ').map(|word| format!("\"{word}\"")).collect();
            let words = format!("[witness.sh, {name}, {}]", words.join(", "));
            let (runs, edition) = (self.scene.runs(name, &words), self.edition);
            writeln!(
                file,
                "  {name}: {{{runs}, env: {{EDITION: \"{edition}\"}}, {keys}}}"
            )
            .unwrap();
        }
        self.scene.write("services.yaml", &file);
    }

    /// This time, multiplied by the pace of the scene.
    pub(crate) fn within(&self, millis: u64) -> Duration {
        Duration::from_millis(millis) * S::PACE
    }

    /// The starts that a service recorded.
    pub(crate) fn starts(&self, name: &str) -> Vec<Start> {
        let text = self.scene.read(&format!("w/{name}.starts"));
        text.lines()
            .map(|line| {
                let words: Vec<&str> = line.split(' ').collect();
                Start {
                    who: words[1].to_owned(),
                    edition: words[2].parse().unwrap(),
                }
            })
            .collect()
    }

    /// The last start of a service.
    pub(crate) fn last(&self, name: &str) -> Start {
        self.starts(name).pop().unwrap()
    }

    /// How many starts each service recorded.
    pub(crate) fn counts(&self) -> BTreeMap<&'static str, usize> {
        let count = |service: &Service| (service.name, self.starts(service.name).len());
        self.services.iter().map(count).collect()
    }

    /// The number of ends that services recorded themselves.
    pub(crate) fn exits(&self) -> usize {
        let lines = |service: &Service| {
            let text = self.scene.read(&format!("w/{}.exits", service.name));
            text.lines().count()
        };
        self.services.iter().map(lines).sum()
    }

    /// Kills the daemon, if one runs, and waits until it is gone.
    pub(crate) fn kill_daemon(&self) {
        if let Some(daemon) = self.scene.daemon_pid() {
            proc::kill(daemon);
            eventually("the daemon is gone", || (!proc::is_alive(daemon)).then_some(()));
        }
    }

    /// Runs `harness ARGS`, and kills the daemon at a random time within `limit` after that. Sometimes the next
    /// daemon is killed as well, while it takes over. Returns whether the command succeeded.
    pub(crate) fn kill_amid(&self, dice: &mut Dice, args: &[&str], limit: Duration) -> bool {
        let running = self.scene.spawn(args);
        dice.wait(limit);
        self.kill_daemon();
        let output = running.wait(PATIENCE);
        while dice.one_in(4) {
            dice.note("  and the next daemon, in its recovery");
            let status = self.scene.spawn(&["status"]);
            dice.wait(Duration::from_millis(500));
            self.kill_daemon();
            status.wait(PATIENCE);
        }
        output.code == Some(0)
    }

    /// Brings all services up, or all down.
    pub(crate) fn bring(&self, to: Together) {
        match to {
            Together::Up => self.scene.ok(&["start"]),
            Together::Down => self.scene.ok(&["stop", "--all"]),
        };
        self.settle(Some(to));
    }

    /// Waits until all services are at rest, all up or all down, only by reading their state, and checks their
    /// records. `wanted` names the only acceptable state.
    pub(crate) fn settle(&self, wanted: Option<Together>) -> Together {
        let deadline = Instant::now() + S::REST;
        loop {
            let status = self.scene.status();
            let is = self.together(&status);
            if let Some(is) = is.filter(|is| wanted.is_none_or(|wanted| wanted == *is)) {
                self.check(is);
                return is;
            }
            assert!(
                Instant::now() < deadline,
                "not {} within {:?}: {status:#?}\nstarts: {:?}\nleft: {:#?}\nevents: {}",
                wanted.map_or("together".to_owned(), |wanted| format!("{wanted:?}")),
                S::REST,
                self.counts(),
                self.scene.check_nothing_is_left(),
                self.scene.ok(&["events"]),
            );
            std::thread::sleep(Duration::from_millis(30));
        }
    }

    fn together(&self, status: &BTreeMap<String, Value>) -> Option<Together> {
        let is_up = |service: &Value| service["status"] == "running" && service["health"] != "starting";
        let is_down = |service: &Value| service["status"] == "stopped" && service["pid"].is_null();
        if status.values().all(is_up) && status.len() == self.services.len() {
            Some(Together::Up)
        } else if status.values().all(is_down) {
            Some(Together::Down)
        } else {
            None
        }
    }

    /// What must be true of services at rest: each runs once or not at all, as `status` says.
    fn check(&self, is: Together) {
        self.check_never_doubled();
        match is {
            Together::Down => self.check_nothing_is_left(),
            // A program runs a moment before its first line does, and the daemon does not know at once that one has
            // died.
            Together::Up => comes_true(S::REST, "each runs once, as what it last started as", || {
                let starts = self.services.iter().map(|s| (s.name, self.starts(s.name)));
                self.scene.check_each_runs_once(&starts.collect())
            }),
        }
    }

    /// Two instances of a service have never run at the same time.
    pub(crate) fn check_never_doubled(&self) {
        assert_eq!(self.scene.read("w/doubles"), "", "two at a time");
    }

    /// Nothing of any service is left.
    pub(crate) fn check_nothing_is_left(&self) {
        comes_true(S::REST, "nothing is left", || self.scene.check_nothing_is_left());
    }
}

/// Waits until a check finds no mistake; if it never does, prints the last mistake.
fn comes_true(patience: Duration, what: &str, check: impl Fn() -> Result<(), String>) {
    let mut last = String::new();
    within(patience, what, || match check() {
        Ok(()) => Some(()),
        Err(wrong) => {
            if wrong != last {
                eprintln!("not yet {what}: {wrong}");
                last = wrong;
            }
            None
        }
    });
}
