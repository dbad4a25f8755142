//! Launches that take long, and say so.
#![allow(
    missing_docs,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test"
)]

mod machine_support;

use machine_support::{Bench, name, plain, probed};
use service_orchestration::machine::*;

fn progress(bench: &mut Bench, service: &str, doing: &str) {
    let generation = bench.view(service).generation;
    bench.give(Event::Progressed {
        service: name(service),
        generation,
        doing: doing.to_owned(),
    });
}

#[test]
fn a_launch_that_goes_on_has_time() {
    let mut bench = Bench::new(&[("db", probed("1"))]);
    bench.start(false, false, &[]);
    for done in 0..5 {
        bench.wait(50_000);
        progress(&mut bench, "db", &format!("pulling {done}"));
        assert_eq!(bench.view("db").doing, Some(format!("pulling {done}")));
        assert_eq!(bench.outcome(), None);
    }
    bench.launched("db");
    assert_eq!(bench.view("db").doing, None);
    bench.wait(1_000);
    bench.probe("db", ProbeOutcome::Healthy);
    assert_eq!(bench.outcome(), Some(Outcome::Done));
}

#[test]
fn one_that_stalls_fails_with_what_it_was_at_and_is_stopped() {
    let mut bench = Bench::new(&[("db", plain("1"))]);
    bench.start(false, false, &[]);
    progress(&mut bench, "db", "pulling image x");
    assert_eq!(bench.deeds(), "+db");
    bench.wait(61_000);
    assert_eq!(bench.deeds(), "-db");
    // What it says on its way out moves nothing any more.
    progress(&mut bench, "db", "pulling on");
    assert_eq!(bench.view("db").doing, None);
    let generation = bench.view("db").generation;
    bench.give(Event::LaunchFailed {
        service: name("db"),
        generation,
        reason: "given up".to_owned(),
    });
    let roots = bench.roots();
    assert_eq!(roots[0].reason, "not launched within 60s: pulling image x");
}
