//! The time for large files grows in proportion to their size. Each of these took minutes, or all memory, when the
//! code compared each part with everything before it.

#![cfg(test)]

mod common;

use std::time::{Duration, Instant};

use common::{Folder, good, mistakes};
use harness_config::LoadOptions;

/// Enough for a busy machine, which needs some seconds.
const PATIENCE: Duration = Duration::from_secs(30);

fn in_time<T>(options: &LoadOptions, load: impl Fn(&LoadOptions) -> T) -> T {
    let started = Instant::now();
    let loaded = load(options);
    let took = started.elapsed();
    assert!(took < PATIENCE, "it took {took:?}");
    loaded
}

fn joined(count: usize, separator: &str, one: impl Fn(usize) -> String) -> String {
    (0..count).map(one).collect::<Vec<_>>().join(separator)
}

#[test]
fn many_ports_in_one_line() {
    let ports = joined(20_000, ", ", |n| format!("{}", n + 1));
    let text = format!("services:\n  a: {{type: process, binary: sh, ports: [{ports}]}}\n");
    let loaded = in_time(&Folder::new(&text).options(), good);
    assert_eq!(loaded.project.services["a"].ports.len(), 20_000);
}

#[test]
fn many_nodes_and_dependencies() {
    let nodes = joined(12_000, "\n", |n| format!("    - {{host: h{n}}}"));
    let services = joined(6_000, "\n", |n| format!("  s{n}: {{type: process, binary: sh}}"));
    let dependencies = joined(6_000, ", ", |n| format!("s{n}"));
    let text = format!(
        "networks:\n  n:\n    type: lan\n    nodes:\n{nodes}\nservices:\n{services}\n  \
         a: {{type: process, binary: sh, dependencies: [{dependencies}]}}\n"
    );
    let loaded = in_time(&Folder::new(&text).options(), good);
    assert_eq!(loaded.project.services["a"].dependencies.len(), 6_000);
}

#[test]
fn two_large_files() {
    let env = |letter: char| {
        let variables = joined(25_000, "\n", |n| format!("      {letter}{n}: v"));
        format!("services:\n  a:\n    type: process\n    binary: sh\n    env:\n{variables}\n")
    };
    let folder = Folder::new(&env('J'));
    folder.write("more.yaml", &env('K'));
    let options = LoadOptions {
        files: vec!["services.yaml".into(), "more.yaml".into()],
        ..folder.options()
    };
    let loaded = in_time(&options, good);
    assert_eq!(loaded.project.services["a"].env.len(), 50_000);
}

#[test]
fn many_mistakes() {
    let services = joined(4_000, "\n", |n| {
        format!("  s{n}: {{type: process, binary: sh, dependencies: [t{n}]}}")
    });
    let diagnostics = in_time(
        &Folder::new(&format!("services:\n{services}\n")).options(),
        mistakes,
    );
    assert_eq!(diagnostics.len(), 500);
    let first = diagnostics.iter().next().unwrap().help.clone().unwrap();
    assert!(first.len() < 500, "{first}");
}
