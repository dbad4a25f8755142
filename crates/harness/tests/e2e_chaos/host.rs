//! Services that are processes of this machine, and the attacks of `../chaos` on their daemon.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Deref;
use std::time::Duration;

use crate::chaos::world::{Scene, Start};
use crate::chaos::{floods, oneshots, orders};
use crate::common::{Sandbox, proc};

#[test]
fn starts_and_stops_survive_a_killed_daemon() {
    orders::starts_and_stops::<Host>("chaos_start_stop");
}

#[test]
fn restarts_and_replacements_survive_a_killed_daemon() {
    orders::restarts_and_replacements::<Host>("chaos_replace");
}

#[test]
fn restart_policies_survive_a_killed_daemon() {
    orders::restart_policies::<Host>("chaos_policies");
}

#[test]
fn one_shots_end_unseen_with_their_exit_codes() {
    oneshots::end_unseen::<Host>("chaos_oneshots");
}

#[test]
fn floods_are_whole_after_killed_daemons() {
    floods::are_whole::<Host>("chaos_floods");
}

/// This machine.
pub(crate) struct Host(Sandbox);

impl Deref for Host {
    type Target = Sandbox;
    fn deref(&self) -> &Sandbox {
        &self.0
    }
}

impl Scene for Host {
    const REST: Duration = Duration::from_secs(60);
    const PACE: u32 = 1;
    const SHARE: u64 = 1;

    fn set(test: &str) -> Self {
        Self(Sandbox::new(test))
    }

    fn project_name(&self) -> &str {
        "chaos"
    }

    fn runs(&self, _: &str, words: &str) -> String {
        format!("type: process, binary: sh, args: {words}")
    }

    fn kill(&self, start: &Start) {
        proc::kill(start.who.parse().unwrap());
    }

    /// How many run directories belong to instances that ended; for others a killed daemon had only made the
    /// directory. One instance may have ended before it recorded its start.
    fn kept(&self, service: &str) -> u64 {
        let folder = self
            .home()
            .join("projects")
            .join(self.project_name())
            .join(service);
        let generations = std::fs::read_dir(folder).unwrap();
        let ended =
            generations.filter(|generation| generation.as_ref().unwrap().path().join("exit").exists());
        (ended.count() as u64).saturating_sub(1)
    }

    /// The expected witnesses run, each under one supervisor, and no others.
    fn check_each_runs_once(&self, starts: &BTreeMap<&'static str, Vec<Start>>) -> Result<(), String> {
        let pids = self.pids();
        for (name, starts) in starts {
            let (runs, last) = (pids.get(*name).map(u64::to_string), starts.last());
            if runs.as_ref() != last.map(|last| &last.who) {
                return Err(format!("{name} runs as {runs:?} and wrote down {last:?}"));
            }
        }
        let processes = self.processes();
        let with = |words: &str| {
            let lines = processes.iter().filter(|process| process.command.contains(words));
            lines.map(|process| process.pid).collect::<Vec<u32>>()
        };
        let shims = with(" supervise ");
        // A witness forks: only the child of a supervisor is a witness.
        let mut witnesses = with("witness.sh");
        witnesses.retain(|pid| proc::parent(*pid).is_some_and(|parent| shims.contains(&parent)));
        let parents: BTreeSet<u32> = witnesses.iter().filter_map(|pid| proc::parent(*pid)).collect();
        let wanted = starts.len();
        match witnesses.len() == wanted && parents.len() == wanted && shims.len() == wanted {
            true => Ok(()),
            false => Err(format!("{witnesses:?} run, and the supervisors {shims:?}")),
        }
    }

    fn any_runs(&self) -> bool {
        !self.processes().is_empty()
    }

    fn check_nothing_is_left(&self) -> Result<(), String> {
        let left = self.processes();
        match left.is_empty() {
            true => Ok(()),
            false => Err(format!("{left:?}")),
        }
    }
}
