//! `soak`: runs the long variants of the stress tests again and again, with new seeds, until the time is over.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use clap::Args;

use crate::env::ForTests;
use crate::error::TaskError;
use crate::program::Program;
use crate::session::Session;
use crate::{history, leftovers, test};

/// How long, and with which seeds.
#[derive(Args)]
pub(crate) struct Options {
    /// How many minutes; the round that is running then is the last
    #[arg(long, value_name = "N", default_value_t = 60)]
    minutes: u64,
    /// The seed of the first round, instead of one from the clock; each round adds one
    #[arg(long, value_name = "S")]
    seed: Option<u64>,
    /// Only these test programs
    #[arg(long, value_name = "TEST", num_args = 1..)]
    only: Vec<String>,
}

impl Options {
    fn attacks(&self) -> impl Iterator<Item = &'static Attack> {
        ATTACKS
            .iter()
            .filter(|attack| self.only.is_empty() || self.only.iter().any(|name| name == attack.test))
    }
}

/// A test program with a long variant.
struct Attack {
    package: &'static str,
    test: &'static str,
    /// Whether it needs a Docker engine.
    of_containers: bool,
    /// Whether it runs with the programs of each earlier commit.
    of_upgrades: bool,
    /// The variable for the seed.
    seed: Option<&'static str>,
    /// The variables that make it long.
    long: &'static [(&'static str, &'static str)],
}

static ATTACKS: [Attack; 10] = [
    Attack {
        package: "harness",
        test: "e2e_chaos",
        of_containers: false,
        of_upgrades: false,
        seed: Some("HARNESS_CHAOS_SEED"),
        long: &[("HARNESS_CHAOS_ROUNDS", "500")],
    },
    Attack {
        package: "harness",
        test: "e2e_docker_chaos",
        of_containers: true,
        of_upgrades: false,
        seed: Some("HARNESS_CHAOS_SEED"),
        long: &[("HARNESS_CHAOS_ROUNDS", "500")],
    },
    Attack {
        package: "harness",
        test: "e2e_replace",
        of_containers: false,
        of_upgrades: false,
        seed: None,
        long: &[("HARNESS_TEST_ROUNDS", "100")],
    },
    Attack {
        package: "harness",
        test: "e2e_upgrade",
        of_containers: false,
        of_upgrades: true,
        seed: Some("HARNESS_CHAOS_SEED"),
        long: &[("HARNESS_CHAOS_ROUNDS", "1200")],
    },
    Attack {
        package: "harness",
        test: "e2e_growth",
        of_containers: false,
        of_upgrades: false,
        seed: None,
        long: &[("HARNESS_SOAK", "10")],
    },
    Attack {
        package: "service-orchestration",
        test: "simulation_day",
        of_containers: false,
        of_upgrades: false,
        seed: None,
        long: &[("HARNESS_SOAK", "7")],
    },
    Attack {
        package: "service-orchestration",
        test: "simulation",
        of_containers: false,
        of_upgrades: false,
        seed: Some("HARNESS_SIM_START"),
        long: &[("HARNESS_SOAK", "1")],
    },
    Attack {
        package: "service-orchestration",
        test: "mirror",
        of_containers: false,
        of_upgrades: false,
        seed: Some("HARNESS_MIRROR_START"),
        long: &[("HARNESS_SOAK", "1")],
    },
    Attack {
        package: "harness-fuzz",
        test: "bounded",
        of_containers: false,
        of_upgrades: false,
        seed: Some("HARNESS_FUZZ_SEED"),
        long: &[("HARNESS_FUZZ_RUNS", "200000")],
    },
    Attack {
        package: "command-executor",
        test: "leaks",
        of_containers: false,
        of_upgrades: false,
        seed: None,
        long: &[("HARNESS_SOAK", "1")],
    },
];

impl Attack {
    /// The variables of a round.
    fn env(&self, seed: u64, earlier: Option<&str>) -> Vec<(&'static str, String)> {
        let seed = self.seed.map(|name| (name, seed.to_string()));
        let long = self.long.iter().map(|(name, value)| (*name, (*value).to_owned()));
        let earlier =
            earlier.map(|commit| (history::VARIABLE, history::folder(commit).display().to_string()));
        seed.into_iter().chain(long).chain(earlier).collect()
    }

    /// What it runs with: only the current programs, or those of each earlier commit.
    fn variants(&self) -> Vec<Option<&'static str>> {
        match self.of_upgrades {
            true => history::EARLIER
                .iter()
                .map(|earlier| Some(earlier.commit))
                .collect(),
            false => vec![None],
        }
    }

    fn arguments(&self) -> Vec<&'static str> {
        let mut words = vec!["test", "--package", self.package, "--test", self.test];
        if self.of_containers {
            words.extend(["--features", test::FEATURE]);
        }
        words
    }

    /// The command that repeats a round.
    fn again(&self, seed: u64, earlier: Option<&str>) -> String {
        let env = self.env(seed, earlier).into_iter();
        let mut words: Vec<String> = env.map(|(name, value)| format!("{name}={value}")).collect();
        words.push("cargo".to_owned());
        words.extend(self.arguments().into_iter().map(str::to_owned));
        words.join(" ")
    }

    fn play(
        &self,
        session: &Session,
        containers: Option<&ForTests>,
        seed: u64,
        earlier: Option<&str>,
    ) -> Result<(), TaskError> {
        let mut tests = test::aimed(Program::cargo(), containers)?
            .args(self.arguments())
            // No test may find the developer's own daemon.
            .env("HARNESS_HOME", session.temporary().join("home"))
            .env("TMPDIR", session.temporary());
        for (name, value) in self.env(seed, earlier) {
            tests = tests.env(name, value);
        }
        let played = tests.run_recorded(&session.tests_log());
        let left = leftovers::check(session.temporary());
        played.and(left)
    }
}

/// Plays rounds of all attacks, until the time is over or one of them fails.
pub(crate) fn run(options: &Options) -> Result<(), TaskError> {
    let containers = match ForTests::begin() {
        Ok(engine) => Some(engine),
        Err(error) => {
            eprintln!("the stress tests of containers are left out: {error}");
            None
        }
    };
    let played = build(options, containers.is_some()).and_then(|()| rounds(options, containers.as_ref()));
    let ended = containers.map_or(Ok(()), ForTests::end);
    played.and(ended.map_err(TaskError::from))
}

fn rounds(options: &Options, containers: Option<&ForTests>) -> Result<(), TaskError> {
    let session = Session::begin()?;
    let end = Instant::now() + Duration::from_secs(options.minutes * 60);
    let mut seed = options.seed.unwrap_or_else(from_clock);
    let mut rounds = 0_u64;
    while rounds == 0 || Instant::now() < end {
        let attacks = options
            .attacks()
            .filter(|attack| !attack.of_containers || containers.is_some());
        for (attack, earlier) in
            attacks.flat_map(|attack| attack.variants().into_iter().map(move |of| (attack, of)))
        {
            let from = earlier
                .map(|commit| format!(" from {commit}"))
                .unwrap_or_default();
            println!("== seed {seed}: {}{from}", attack.test);
            if let Err(error) = attack.play(&session, containers, seed, earlier) {
                println!("its output: test-activity/logs/current/tests.log");
                println!("again: {}", attack.again(seed, earlier));
                return Err(error);
            }
        }
        seed = seed.wrapping_add(1);
        rounds += 1;
    }
    println!("{rounds} rounds, all good");
    session.end()
}

/// Build this separately first: the tests' deadlines should not include the time of a compiler. Build whole packages,
/// because some tests need their examples.
fn build(options: &Options, with_containers: bool) -> Result<(), TaskError> {
    for commit in options.attacks().flat_map(Attack::variants).flatten() {
        history::build(commit)?;
    }
    let packages = options.attacks().flat_map(|attack| ["--package", attack.package]);
    Program::cargo().args(["test", "--no-run"]).args(packages).run()?;
    // With the feature, it is a different build of the same package.
    for attack in options
        .attacks()
        .filter(|attack| with_containers && attack.of_containers)
    {
        Program::cargo()
            .args(attack.arguments())
            .args(["--no-run"])
            .run()?;
    }
    Ok(())
}

fn from_clock() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(1, |passed| passed.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_round_can_be_repeated_from_what_is_printed() {
        assert_eq!(
            ATTACKS[0].again(7, None),
            "HARNESS_CHAOS_SEED=7 HARNESS_CHAOS_ROUNDS=500 cargo test --package harness --test e2e_chaos"
        );
    }

    #[test]
    fn every_attack_is_a_test_of_the_workspace() {
        for attack in &ATTACKS {
            let tests = crate::root().join("crates").join(attack.package).join("tests");
            let file = tests.join(attack.test).with_extension("rs");
            let folder = tests.join(attack.test).join("main.rs");
            assert!(file.is_file() || folder.is_file(), "{}", attack.test);
        }
    }
}
