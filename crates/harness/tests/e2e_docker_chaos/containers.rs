//! Services that are containers, with a process among them, and the attacks of `../chaos` on their daemon.

use std::collections::BTreeMap;
use std::ops::Deref;
use std::time::Duration;

use serde_json::Value;

use crate::chaos::world::{Scene, Start};
use crate::chaos::{floods, oneshots, orders};
use crate::common::docker::{DockerSandbox, project, request};
use crate::common::{Sandbox, proc};

#[test]
fn starts_and_stops_of_containers_survive_a_killed_daemon() {
    orders::starts_and_stops::<Containers>("docker_chaos_orders");
}

#[test]
fn restarts_and_replacements_of_containers_survive_a_killed_daemon() {
    orders::restarts_and_replacements::<Containers>("docker_chaos_replace");
}

#[test]
fn restart_policies_of_containers_survive_a_killed_daemon() {
    orders::restart_policies::<Containers>("docker_chaos_policies");
}

#[test]
fn one_shots_in_containers_end_unseen_with_their_exit_codes() {
    oneshots::end_unseen::<Containers>("docker_chaos_once");
}

#[test]
fn floods_of_containers_are_whole_after_killed_daemons() {
    floods::are_whole::<Containers>("docker_chaos_floods");
}

/// An engine.
struct Containers {
    sandbox: DockerSandbox,
    project: String,
}

impl Deref for Containers {
    type Target = Sandbox;
    fn deref(&self) -> &Sandbox {
        &self.sandbox
    }
}

impl Containers {
    /// `[of a service] [id] [state]` of each.
    fn list(&self) -> Vec<(String, String, String)> {
        let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let containers = self.sandbox.containers();
        containers
            .iter()
            .map(|one| {
                let service = word(&one["Labels"]["harness.service"]);
                (service, word(&one["Id"]), word(&one["State"]))
            })
            .collect()
    }
}

impl Scene for Containers {
    const REST: Duration = Duration::from_secs(90);
    const PACE: u32 = 4;
    const SHARE: u64 = 4;

    fn set(test: &str) -> Self {
        Self {
            sandbox: DockerSandbox::new(test, ""),
            project: project(test),
        }
    }

    fn project_name(&self) -> &str {
        &self.project
    }

    fn runs(&self, service: &str, words: &str) -> String {
        if service == orders::BESIDE {
            return format!("type: process, binary: sh, args: {words}");
        }
        format!(
            "type: docker, image: harness-test/base, entrypoint: sh, command: {words}, working_dir: /, \
             volumes: [\"./w:/w\", \"./witness.sh:/witness.sh:ro\"]"
        )
    }

    fn kill(&self, start: &Start) {
        // A pid has fewer digits than the name of a container.
        if start.who.len() < 12 {
            proc::kill(start.who.parse().unwrap());
        } else {
            request("POST", &format!("/containers/{}/kill", start.who), None);
        }
    }

    /// How many run directories of a service belong to containers that were started. The oldest directories are
    /// removed.
    fn kept(&self, service: &str) -> u64 {
        let folder = self.home().join("projects").join(&self.project).join(service);
        let has_ended = |generation: std::fs::DirEntry| {
            let record = std::fs::read(generation.path().join("container.json")).ok()?;
            let record: Value = serde_json::from_slice(&record).unwrap();
            (!record["ended"].is_null()).then_some(())
        };
        std::fs::read_dir(folder)
            .unwrap()
            .filter_map(|generation| has_ended(generation.unwrap()))
            .count() as u64
    }

    fn check_each_runs_once(&self, starts: &BTreeMap<&'static str, Vec<Start>>) -> Result<(), String> {
        let (pids, containers) = (self.pids(), self.list());
        for (name, starts) in starts {
            let Some((last, pid)) = starts.last().zip(pids.get(*name)) else {
                return Err(format!("{name} does not run"));
            };
            if *name == orders::BESIDE {
                if pid.to_string() != last.who {
                    return Err(format!("{name} runs as {pid} and wrote down {last:?}"));
                }
                continue;
            }
            let mut of_it = containers.iter().filter(|(service, ..)| service == name);
            let is_last =
                |(_, id, state): &(String, String, String)| id.starts_with(&last.who) && state == "running";
            if !(of_it.next().is_some_and(is_last) && of_it.next().is_none()) {
                return Err(format!("{name} wrote down {last:?}, there are {containers:?}"));
            }
        }
        let processes = starts.keys().filter(|name| **name == orders::BESIDE).count();
        match containers.len() + processes == starts.len() && self.sandbox.networks().len() == 1 {
            true => Ok(()),
            false => Err(format!("{containers:?} {:?}", self.sandbox.networks())),
        }
    }

    fn any_runs(&self) -> bool {
        self.list().iter().any(|(.., state)| state == "running")
    }

    fn check_nothing_is_left(&self) -> Result<(), String> {
        let (containers, networks) = (self.list(), self.sandbox.networks());
        let processes = self.processes();
        match containers.is_empty() && networks.is_empty() && processes.is_empty() {
            true => Ok(()),
            false => Err(format!("{containers:?} {networks:?} {processes:?}")),
        }
    }
}
