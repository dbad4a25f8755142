//! Repeatable randomness: everything random in a test comes from one seed, which is printed when the test fails.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

/// Rounds of all tests together, unless `HARNESS_CHAOS_ROUNDS` says otherwise.
const ROUNDS: u64 = 120;

/// The random source of one test. Prints the seed if the test panics.
pub(crate) struct Dice {
    test: &'static str,
    seed: u64,
    state: u64,
    /// What was done, to print if the test fails.
    story: Vec<String>,
}

impl Dice {
    /// From `HARNESS_CHAOS_SEED`, else from a new seed.
    pub(crate) fn new(test: &'static str) -> Self {
        let seed = match std::env::var("HARNESS_CHAOS_SEED") {
            Ok(text) => text.parse().expect("HARNESS_CHAOS_SEED is a number"),
            Err(_) => RandomState::new().hash_one(test) >> 16,
        };
        // Tests that share a seed still differ.
        let own = test.bytes().fold(seed, |state, byte| {
            (state ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        eprintln!("{test}: HARNESS_CHAOS_SEED={seed}");
        Self {
            test,
            seed,
            state: own,
            story: Vec::new(),
        }
    }

    /// How many rounds this test plays: this percentage of a `share`-th of all rounds.
    pub(crate) fn rounds(&self, hundredths: u64, share: u64) -> u64 {
        let all = match std::env::var("HARNESS_CHAOS_ROUNDS") {
            Ok(text) => text.parse().expect("HARNESS_CHAOS_ROUNDS is a number"),
            Err(_) => ROUNDS,
        };
        (all * hundredths / 100 / share).max(1)
    }

    /// A number below `limit`.
    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        // SplitMix64.
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % limit.max(1)
    }

    /// True once in this many times, at random.
    pub(crate) fn one_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }

    /// One of these.
    pub(crate) fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[usize::try_from(self.below(of.len() as u64)).unwrap()]
    }

    /// A time shorter than `limit`.
    pub(crate) fn instant(&mut self, limit: Duration) -> Duration {
        Duration::from_micros(self.below(u64::try_from(limit.as_micros()).unwrap()))
    }

    /// Waits for a random time below `limit`. The time is the input of the test, so this sleep does not wait for
    /// anything.
    pub(crate) fn wait(&mut self, limit: Duration) {
        std::thread::sleep(self.instant(limit));
    }

    /// Notes what is done now.
    pub(crate) fn note(&mut self, what: impl Into<String>) {
        self.story.push(what.into());
    }
}

impl Drop for Dice {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let last = self.story.len().saturating_sub(12);
            let story = self.story[last..].join("\n  ");
            eprintln!(
                "{}: failed with HARNESS_CHAOS_SEED={} after {} steps, the last of them:\n  {story}",
                self.test,
                self.seed,
                self.story.len()
            );
        }
    }
}
