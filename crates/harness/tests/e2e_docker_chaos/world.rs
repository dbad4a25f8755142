//! A project of containers, and a process among them, that bear witness (`witness.sh` of `e2e_chaos`), and what their
//! testimony must be.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::common::docker::{DockerSandbox, project};
use crate::common::{PATIENCE, eventually, within};
use crate::dice::Dice;

/// How long services may take to come to rest after an attack.
const REST: Duration = Duration::from_secs(90);

/// One service of the project.
#[derive(Debug, Clone)]
pub(crate) struct Service {
    pub(crate) name: &'static str,
    /// `docker` or `process`.
    pub(crate) kind: &'static str,
    /// What its witness does: the words after its name.
    pub(crate) does: String,
    /// The keys beside, in YAML's flow style.
    pub(crate) keys: &'static str,
}

/// A start that a witness wrote down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Start {
    /// Its pid, or the first twelve digits of its container's id.
    pub(crate) who: String,
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
    pub(crate) sandbox: DockerSandbox,
    pub(crate) services: Vec<Service>,
    pub(crate) edition: u64,
    pub(crate) project: String,
}

impl World {
    pub(crate) fn new(test: &str, services: Vec<Service>) -> Self {
        let sandbox = DockerSandbox::new(test, "");
        sandbox.write("witness.sh", include_str!("../e2e_chaos/witness.sh"));
        std::fs::create_dir(sandbox.project().join("w")).unwrap();
        let mut world = Self {
            sandbox,
            services,
            edition: 0,
            project: project(test),
        };
        world.next_edition();
        world
    }

    /// Writes the file anew, so that every service counts as changed.
    pub(crate) fn next_edition(&mut self) {
        self.edition += 1;
        let mut file = format!("name: {}\nservices:\n", self.project);
        for Service {
            name,
            kind,
            does,
            keys,
        } in &self.services
        {
            let words: Vec<String> = does.split(' ').map(|word| format!("\"{word}\"")).collect();
            let words = format!("[witness.sh, {name}, {}]", words.join(", "));
            let run = match *kind {
                "docker" => format!(
                    "image: harness-test/base, entrypoint: sh, command: {words}, working_dir: /, \
                     volumes: [\"./w:/w\", \"./witness.sh:/witness.sh:ro\"]"
                ),
                _ => format!("binary: sh, args: {words}"),
            };
            let edition = self.edition;
            writeln!(
                file,
                "  {name}: {{type: {kind}, {run}, env: {{EDITION: \"{edition}\"}}, {keys}}}"
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
                let words: Vec<&str> = line.split(' ').collect();
                Start {
                    who: words[1].to_owned(),
                    edition: words[2].parse().unwrap(),
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

    /// Kills the daemon, if one runs, and waits until it is gone.
    pub(crate) fn kill_daemon(&self) {
        if self.sandbox.daemon_pid().is_some() {
            self.sandbox.kill_daemon();
        }
    }

    /// Runs `harness ARGS`, and kills the daemon at an instant within `limit` after its begin. Now and then the
    /// next daemon is killed as well, while it takes over. Returns whether the command line was told success.
    pub(crate) fn kill_amid(&self, dice: &mut Dice, args: &[&str], limit: Duration) -> bool {
        let running = self.sandbox.spawn(args);
        dice.wait(limit);
        self.kill_daemon();
        let output = running.wait(PATIENCE);
        while dice.one_in(4) {
            dice.note("  and the next daemon, in its recovery");
            let status = self.sandbox.spawn(&["status"]);
            dice.wait(Duration::from_millis(600));
            self.kill_daemon();
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
                "not {} within {REST:?}: {status:#?}\nstarts: {:?}\ncontainers: {:#?}\nevents: {}",
                wanted.map_or("together".to_owned(), |wanted| format!("{wanted:?}")),
                self.counts(),
                self.sandbox.containers(),
                self.sandbox.ok(&["events"]),
            );
            std::thread::sleep(Duration::from_millis(50));
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

    fn check(&self, is: Together) {
        self.check_never_doubled();
        match is {
            Together::Down => self.check_nothing_is_left(),
            Together::Up => self.check_each_runs_once(),
        }
    }

    /// No two instances of a service have ever lived at a time.
    pub(crate) fn check_never_doubled(&self) {
        assert_eq!(self.sandbox.read("w/doubles"), "", "two at a time");
    }

    /// Nothing of any service is left, in the engine or beside it.
    pub(crate) fn check_nothing_is_left(&self) {
        let mut left = String::new();
        within(REST, "nothing is left", || {
            let (containers, networks) = (self.sandbox.containers(), self.sandbox.networks());
            let processes = self.sandbox.processes();
            let now = format!("{containers:?} {networks:?} {processes:?}");
            if now != left {
                eprintln!("left still: {now}");
                left = now;
            }
            (containers.is_empty() && networks.is_empty() && processes.is_empty()).then_some(())
        });
    }

    /// As `status` says, as what it last started as, and as nothing else.
    fn check_each_runs_once(&self) {
        // A program runs a moment before its first line does, and one that has just died is not known to be dead yet.
        let mut seen = Vec::new();
        let settled = || {
            let (pids, containers) = (self.sandbox.pids(), self.sandbox.containers());
            seen = containers
                .iter()
                .map(|container| {
                    format!(
                        "{} {} {}",
                        container["Names"], container["Id"], container["State"]
                    )
                })
                .collect();
            let runs = |service: &Service| {
                let last = self.starts(service.name).pop()?;
                if service.kind == "process" {
                    return (pids.get(service.name)?.to_string() == last.who).then_some(());
                }
                let of_it = |container: &&Value| container["Labels"]["harness.service"] == service.name;
                let mut of_it = containers.iter().filter(of_it);
                let (one, no_other) = (of_it.next()?, of_it.next().is_none());
                let is_last = one["Id"].as_str()?.starts_with(&last.who);
                (is_last && no_other && one["State"] == "running" && pids.contains_key(service.name))
                    .then_some(())
            };
            self.services
                .iter()
                .all(|service| runs(service).is_some())
                .then_some(())
        };
        eventually("each runs as what it last started as", settled);
        let containers = self
            .services
            .iter()
            .filter(|service| service.kind == "docker")
            .count();
        assert_eq!(seen.len(), containers, "{seen:#?}");
        assert_eq!(self.sandbox.networks().len(), 1);
    }
}
