//! Checks that each row of the tables of promises in DAEMON.md names tests that exist.

#![cfg(test)]

use std::fs;
use std::path::{Path, PathBuf};

/// Below these headings, the last column of each table row names the tests that check the row.
const HEADINGS: [&str; 2] = ["## When something is lost", "## Who is promised what"];

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The cells of the table rows below a heading, without the header row and the line below it.
fn rows<'a>(document: &'a str, heading: &str) -> Vec<Vec<&'a str>> {
    let (_, section) = document
        .split_once(heading)
        .unwrap_or_else(|| panic!("no `{heading}`"));
    let section = section.split("\n## ").next().unwrap_or_default();
    let mut rows = Vec::new();
    let mut in_table = false;
    for line in section.lines() {
        let is_row = line.starts_with('|');
        let is_rule = line.starts_with("|---");
        if is_row && in_table {
            rows.push(line.trim_matches('|').split('|').map(str::trim).collect());
        }
        in_table = is_row && (in_table || is_rule);
    }
    rows
}

/// The sources of a test program of this crate: `tests/NAME.rs`, or every file of `tests/NAME/`.
fn sources(program: &str) -> String {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    if let Ok(source) = fs::read_to_string(tests.join(format!("{program}.rs"))) {
        return source;
    }
    let folder = fs::read_dir(tests.join(program)).unwrap_or_else(|_| panic!("no test program {program}"));
    folder
        .map(|file| fs::read_to_string(file.unwrap().path()).unwrap())
        .collect()
}

#[test]
fn every_row_is_held_by_a_test_that_exists() {
    let document = fs::read_to_string(repository().join("DAEMON.md")).unwrap();
    for heading in HEADINGS {
        let rows = rows(&document, heading);
        assert!(rows.len() >= 5, "{heading}: {} rows", rows.len());
        for row in rows {
            let held_by = row.last().copied().unwrap_or_default();
            let tests: Vec<&str> = held_by.split('`').skip(1).step_by(2).collect();
            assert!(!tests.is_empty(), "{heading}: no test checks {row:?}");
            for test in tests {
                let (program, name) = test
                    .split_once("::")
                    .unwrap_or_else(|| panic!("`{test}` is not PROGRAM::TEST"));
                assert!(
                    sources(program).contains(&format!("\nfn {name}(")),
                    "{heading}: `{test}` does not exist"
                );
            }
        }
    }
}

#[test]
fn a_row_without_a_test_would_be_seen() {
    let document =
        "## A\n\ntext\n\n| what | held by |\n|---|---|\n| one | `a::b` |\n| two | |\n\n## B\n| x | y |\n";
    assert_eq!(rows(document, "## A"), [vec!["one", "`a::b`"], vec!["two", ""]]);
}
