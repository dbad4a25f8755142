//! Two starts at once, the second with another file: the first start follows what it now waits for.

#![cfg(test)]
#![allow(unreachable_pub, reason = "a test")]

mod machine_support;

use harness_model::spec::Condition;
use machine_support::{Bench, on, plain};
use service_orchestration::machine::*;

/// In the first start, `api` waits for `db`. With the second file it also waits for `cache`, which waits for a line
/// that `db` never logs.
fn two_files() -> Bench {
    let mut bench = Bench::new(&[
        ("db", plain("1")),
        ("api", on(plain("1"), "db", Condition::Started)),
        ("web", on(plain("1"), "api", Condition::Started)),
    ]);
    bench.start(false, false, &[]);
    let line = Condition::Log("ready".into());
    let cache = on(plain("1"), "db", line);
    let api = on(
        on(plain("1"), "db", Condition::Started),
        "cache",
        Condition::Started,
    );
    bench.redefine("cache", cache);
    bench.redefine("api", api);
    bench.start(false, false, &["api"]);
    bench.launched("db");
    bench
}

#[test]
fn an_earlier_start_does_not_hang_on_a_dependency_that_a_later_file_brought() {
    let mut bench = two_files();
    bench.wait(61_000);
    for start in ["the first", "the second"] {
        let roots = bench.roots();
        assert_eq!(roots.len(), 1, "{start}: {roots:?}");
        assert_eq!(roots[0].service.as_str(), "db", "{start}: {roots:?}");
        assert_eq!(roots[0].reason, "did not log /ready/ within 60s", "{start}");
    }
    assert_eq!(bench.outcome(), None);
}

#[test]
fn an_earlier_start_ends_well_when_the_new_dependency_comes() {
    let mut bench = two_files();
    bench.matched("db", "ready");
    assert_eq!(bench.deeds(), "+db +cache");
    bench.launched("cache");
    bench.launched("api");
    bench.launched("web");
    bench.wait(400);
    assert_eq!(bench.outcome(), Some(Outcome::Done));
    assert_eq!(bench.outcome(), Some(Outcome::Done));
}

#[test]
fn what_waits_for_something_blocked_is_not_called_a_circle() {
    let mut bench = Bench::new(&[
        ("z-db", plain("1")),
        ("b-cache", on(plain("1"), "z-db", Condition::Log("ready".into()))),
        ("a-api", on(plain("1"), "b-cache", Condition::Started)),
    ]);
    bench.start(false, false, &[]);
    bench.launched("z-db");
    bench.wait(61_000);
    let roots = bench.roots();
    assert_eq!(roots.len(), 1, "{roots:?}");
    assert_eq!(roots[0].reason, "did not log /ready/ within 60s");
    let blocked: Vec<&str> = roots[0].blocked.iter().map(|name| name.as_str()).collect();
    assert_eq!(blocked, ["a-api", "b-cache"]);
}
