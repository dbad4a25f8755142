//! A run that ends: first the corpus as it is, then a number of mutations of it. A watchdog notices hangs.
//!
//! `HARNESS_FUZZ_SEED` repeats a run, and `HARNESS_FUZZ_RUNS` sets its length.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::Target;
use crate::mutate::{Rng, mutate};

/// The number of mutations, unless set otherwise.
const RUNS: u64 = 20_000;
/// Without `HARNESS_FUZZ_RUNS` a run ends after this time, however far it has got.
const TIME: Duration = Duration::from_secs(6);
/// One input may take this much processor time,
const HANG: Duration = Duration::from_secs(5);
/// and this much time on a machine that is busy with other things.
const STUCK: Duration = Duration::from_secs(120);

/// The state of the run, as the watchdog sees it.
#[derive(Default)]
struct Now {
    input: Vec<u8>,
    since: Option<Instant>,
    /// The processor time of the worker before this input.
    processor: Duration,
    /// The file in which the kernel reports that time.
    clock: PathBuf,
    runs: u64,
    done: bool,
}

/// Checks the files of `corpus`, then mutations of them. An input that fails or hangs is written to `failures`.
///
/// # Panics
/// When a property does not hold for an input, or an input takes more than five seconds of processor time.
pub fn bounded(target: &'static Target, corpus: &Path, failures: &Path) {
    let seeds = read_corpus(corpus);
    assert!(!seeds.is_empty(), "no corpus in {}", corpus.display());
    let seed = number("HARNESS_FUZZ_SEED").unwrap_or_else(random_seed);
    let runs = number("HARNESS_FUZZ_RUNS");
    say(&format!(
        "{}: HARNESS_FUZZ_SEED={seed}, {} inputs in the corpus",
        target.name,
        seeds.len()
    ));

    let now = Arc::new(Mutex::new(Now::default()));
    let worker = {
        let now = Arc::clone(&now);
        thread::spawn(move || work(target, &seeds, seed, runs, &now))
    };
    loop {
        thread::sleep(Duration::from_millis(20));
        let state = now.lock().unwrap_or_else(PoisonError::into_inner);
        if state.done || worker.is_finished() {
            break;
        }
        let used = on_processor(&state.clock).saturating_sub(state.processor);
        if used > HANG || state.since.is_some_and(|since| since.elapsed() > STUCK) {
            let path = keep(target, &state.input, failures);
            panic!(
                "{} hangs (processor time {used:?}); its input is in {} (HARNESS_FUZZ_SEED={seed})",
                target.name,
                path.display()
            );
        }
    }
    let failed = worker.join().map_or(true, |passed| !passed);
    let state = now.lock().unwrap_or_else(PoisonError::into_inner);
    if failed {
        let path = keep(target, &state.input, failures);
        panic!(
            "{} failed at execution {}; its input is in {} (HARNESS_FUZZ_SEED={seed})",
            target.name,
            state.runs,
            path.display()
        );
    }
    say(&format!("{}: {} executions", target.name, state.runs));
}

/// Runs the checks. Returns whether every input passed.
fn work(target: &Target, seeds: &[Vec<u8>], seed: u64, runs: Option<u64>, now: &Mutex<Now>) -> bool {
    let started = Instant::now();
    let clock = std::fs::canonicalize("/proc/thread-self")
        .unwrap()
        .join("schedstat");
    let mut rng = Rng::new(seed);
    let mut mutations = 0;
    let mut verbatim = seeds.iter();
    loop {
        let input = match verbatim.next() {
            Some(input) => input.clone(),
            None if mutations >= runs.unwrap_or(RUNS) => break,
            None if runs.is_none() && started.elapsed() > TIME => break,
            None => {
                mutations += 1;
                mutate(&mut rng, seeds, target.words)
            }
        };
        {
            let mut state = now.lock().unwrap_or_else(PoisonError::into_inner);
            state.input.clone_from(&input);
            state.since = Some(Instant::now());
            state.processor = on_processor(&clock);
            state.clock.clone_from(&clock);
            state.runs += 1;
        }
        if catch_unwind(AssertUnwindSafe(|| (target.check)(&input))).is_err() {
            return false;
        }
    }
    let mut state = now.lock().unwrap_or_else(PoisonError::into_inner);
    state.done = true;
    true
}

/// How long a thread has run on a processor; zero before it began.
fn on_processor(clock: &Path) -> Duration {
    let text = std::fs::read_to_string(clock).unwrap_or_default();
    let nanos = text.split(' ').next().and_then(|nanos| nanos.parse().ok());
    Duration::from_nanos(nanos.unwrap_or(0))
}

/// The inputs in a folder, ordered by name.
fn read_corpus(folder: &Path) -> Vec<Vec<u8>> {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return Vec::new();
    };
    let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    paths.iter().map(|path| std::fs::read(path).unwrap()).collect()
}

fn keep(target: &Target, input: &[u8], failures: &Path) -> PathBuf {
    std::fs::create_dir_all(failures).unwrap();
    let path = failures.join(format!("{}-{}.input", target.name, std::process::id()));
    std::fs::write(&path, input).unwrap();
    path
}

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    match text.parse() {
        Ok(number) => Some(number),
        Err(_) => panic!("{variable} is not a number: {text}"),
    }
}

fn random_seed() -> u64 {
    let time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    u64::from(time.subsec_nanos()) ^ time.as_secs() << 30 ^ u64::from(std::process::id()) << 20
}

#[expect(
    clippy::print_stderr,
    reason = "the seed is for whoever reads the test's output"
)]
fn say(text: &str) {
    eprintln!("{text}");
}
