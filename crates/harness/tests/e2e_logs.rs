//! No line is lost or mixed, readers do not slow a service, and lines that rotation removed are counted.

#![cfg(test)]

mod common;

use std::time::Duration;

use common::{PATIENCE, Sandbox, eventually, within};
use rustix::process::Signal;

/// 200 MB in two million numbered lines, every tenth on stderr.
const FLOOD: &str = r#"
version: "1.0"
services:
  flood:
    type: process
    oneshot: true
    binary: perl
    args: [-e, 'my $x = "x" x 91; for my $i (1 .. 2_000_000) { printf "%08d%s\n", $i, $x } print STDERR "flooded\n"']
    startup_timeout: 120
    logs: {max_size: 300MB, max_files: 2}
"#;

#[test]
fn two_hundred_megabytes_neither_stall_nor_lose_a_line() {
    let sandbox = Sandbox::with_file("flood", FLOOD);
    let start = sandbox.ok(&["start"]);
    assert!(start.elapsed < Duration::from_secs(60), "stalled\n{start}");
    let logs = sandbox
        .spawn(&["logs", "flood"])
        .wait(Duration::from_secs(180))
        .code(0);
    let mut number = 0_u32;
    let mut flooded = false;
    for line in logs.stdout.lines() {
        let text = line
            .strip_prefix("flood | ")
            .unwrap_or_else(|| panic!("`{line}` after {number}"));
        if text == "flooded" {
            flooded = true;
            continue;
        }
        number += 1;
        assert_eq!(text.len(), 99, "`{line}` after {number}");
        assert_eq!(text[..8].parse(), Ok(number), "`{line}`");
    }
    assert_eq!(number, 2_000_000);
    assert!(flooded, "stderr is there as well");
    assert_eq!(logs.stderr, "", "nothing is missing");
    // The end is found without reading everything.
    let tail = sandbox.ok(&["logs", "flood", "-n", "3", "--grep", "x"]);
    assert_eq!(tail.stdout.lines().count(), 3, "{tail}");
    assert!(tail.stdout.contains("02000000"), "{tail}");
}

#[test]
fn a_reader_that_stands_still_slows_nobody() {
    let sandbox = Sandbox::with_file("slow_reader", &FLOOD.replace("300MB", "16MB"));
    sandbox.write("go", "");
    let reader = sandbox.spawn(&["start", "-d"]);
    reader.wait(PATIENCE).code(0);
    let reader = sandbox.spawn(&["logs", "-f", "flood"]);
    eventually("it reads", || (!reader.stdout().is_empty()).then_some(()));
    reader.signal(Signal::STOP);
    sandbox.ok(&["wait", "--for", "completed", "--timeout", "60"]);
    // It continues where it was, and is told what it has missed.
    reader.signal(Signal::CONT);
    within(Duration::from_secs(60), "the reader caught up", || {
        reader
            .stdout()
            .lines()
            .rev()
            .take(5)
            .any(|line| line.starts_with("flood | 02000000"))
            .then_some(())
    });
    let (stdout, stderr) = (reader.stdout(), reader.stderr());
    let shown = stdout
        .lines()
        .filter(|line| line.len() == "flood | ".len() + 99)
        .count();
    let (gaps, missing) = missing(&stderr);
    let sum = shown + missing;
    assert!(
        (2_000_000 - gaps..=2_000_000).contains(&sum),
        "{sum}; shown {shown}\n{stderr}"
    );
    reader.signal(Signal::TERM);
    reader.wait(PATIENCE);
}

/// How many gaps there are, and how many lines they contain. A line that is only partly in a gap does not count.
fn missing(text: &str) -> (usize, usize) {
    let gap = |line: &str| {
        let rest = line.strip_prefix("-- ")?;
        assert!(rest.contains("dropped before they could be read"), "{line}");
        rest.split(' ').next()?.parse::<usize>().ok()
    };
    let gaps: Vec<usize> = text.lines().filter_map(gap).collect();
    (gaps.len(), gaps.iter().sum())
}

#[test]
fn rotation_leaves_a_counted_gap() {
    let sandbox = Sandbox::with_file(
        "rotation",
        r#"
version: "1.0"
services:
  chatty:
    type: process
    oneshot: true
    binary: perl
    args: [-e, 'printf "line %06d %s\n", $_, "y" x 50 for 1 .. 20000']
    logs: {max_size: 64KiB, max_files: 3}
"#,
    );
    sandbox.ok(&["start"]);
    let logs = sandbox.ok(&["logs"]);
    let numbers: Vec<usize> = logs
        .stdout
        .lines()
        .filter_map(|line| line.strip_prefix("chatty | line ")?.get(..6)?.parse().ok())
        .collect();
    let first = *numbers.first().unwrap_or_else(|| panic!("{logs}"));
    assert_eq!(
        numbers,
        (first..=20_000).collect::<Vec<_>>(),
        "the newest are kept, without holes"
    );
    let line = "line 000001 ".len() + 50 + "\n".len();
    assert!(
        numbers.len() * line <= 3 * 64 * 1024,
        "{} lines kept",
        numbers.len()
    );
    let (gaps, missing) = missing(&logs.stderr);
    assert_eq!(gaps, 1, "{}", logs.stderr);
    assert!(
        (first - 2..first).contains(&missing),
        "{missing} missing before {first}"
    );
}

#[test]
fn following_goes_on_across_restarts_without_loss() {
    let sandbox = Sandbox::with_file(
        "follow",
        r#"
version: "1.0"
services:
  crasher:
    type: process
    binary: sh
    args:
      - -c
      - |
        i=$(cat last 2>/dev/null || echo 0)
        end=$((i + 40))
        while [ $i -lt $end ]; do i=$((i + 1)); echo "n $i"; done
        echo $i > last
        [ $i -ge 200 ] && exec sleep 1000
        exit 1
    restart: always
  other:
    type: process
    binary: sleep
    args: [1000]
"#,
    );
    sandbox.ok(&["start", "other"]);
    let follower = sandbox.spawn(&["logs", "-f", "crasher", "other"]);
    let late = {
        sandbox.ok(&["start", "-d"]);
        eventually("two lives are over", || {
            (sandbox.read("last").trim().parse::<u32>().ok()? >= 80).then_some(())
        });
        sandbox.spawn(&["logs", "-f", "crasher"])
    };
    let wanted: Vec<String> = (1..=200).map(|n| format!("n {n}")).collect();
    for reader in [&follower, &late] {
        let lines = || -> Vec<String> {
            let text = reader.stdout();
            text.lines()
                .filter_map(|line| Some(line.split_once("| ")?.1.to_owned()))
                .collect()
        };
        eventually("the last line", || {
            lines().contains(&"n 200".to_owned()).then_some(())
        });
        assert_eq!(lines(), wanted);
    }
    // And across a requested restart.
    std::fs::remove_file(sandbox.project().join("last")).unwrap();
    sandbox.ok(&["restart", "crasher"]);
    eventually("it starts over", || {
        (follower.stdout().matches("| n 1\n").count() == 2).then_some(())
    });
    follower.signal(Signal::TERM);
    follower.wait(PATIENCE);
}

#[test]
fn lines_are_chosen_and_told_apart() {
    let sandbox = Sandbox::with_file(
        "chosen",
        r#"
version: "1.0"
services:
  first:
    type: process
    oneshot: true
    binary: sh
    args: [-c, 'echo alpha one; echo beta two >&2; printf "no newline"']
  second:
    type: process
    oneshot: true
    binary: sh
    args: [-c, 'echo gamma three; printf "\377\376 bytes\n"']
    dependencies: [first]
"#,
    );
    sandbox.ok(&["start"]);
    let all = sandbox.ok(&["logs"]);
    let lines: Vec<&str> = all.stdout.lines().collect();
    assert_eq!(lines.len(), 5, "{all}");
    assert!(
        lines[..3].iter().all(|line| line.starts_with("first  | ")),
        "{all}"
    );
    assert!(lines[..3].contains(&"first  | no newline"), "{all}");
    assert_eq!(lines[3], "second | gamma three", "in the order of time\n{all}");

    assert_eq!(
        sandbox
            .ok(&["logs", "--grep", "^[ab]", "first"])
            .stdout
            .lines()
            .count(),
        2
    );
    assert_eq!(
        sandbox.ok(&["logs", "-n", "1", "second"]).stdout.lines().count(),
        1
    );
    assert_eq!(sandbox.ok(&["logs", "--since", "1h"]).stdout.lines().count(), 5);
    assert_eq!(sandbox.ok(&["logs", "--until", "1h"]).stdout, "");
    sandbox.harness(&["logs", "--grep", "("]).code(2);

    let json = sandbox.ok(&["--json", "logs", "first"]);
    let lines: Vec<serde_json::Value> = json
        .stdout
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let beta = lines
        .iter()
        .find(|line| line["line"] == "beta two")
        .unwrap_or_else(|| panic!("{json}"));
    assert_eq!(
        (&beta["stream"], &beta["service"]),
        (&"stderr".into(), &"first".into()),
        "{json}"
    );
    let last = lines
        .iter()
        .find(|line| line["line"] == "no newline")
        .unwrap_or_else(|| panic!("{json}"));
    assert!(
        last["time"].as_str().is_some_and(|time| time.starts_with("20")),
        "{json}"
    );

    // After the project is stopped, and nothing runs, the lines are still there.
    sandbox.ok(&["stop", "--all"]);
    assert_eq!(sandbox.ok(&["logs"]).stdout, all.stdout);
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let sandbox = Sandbox::with_file("head", &FLOOD.replace("2_000_000", "200_000"));
    sandbox.ok(&["start"]);
    let script = format!("{} logs | head -n 2; echo done", env!("CARGO_BIN_EXE_harness"));
    let output = sandbox.command("sh", &["-c", &script]).wait(PATIENCE).code(0);
    assert_eq!(output.stdout.lines().count(), 3, "{output}");
    assert_eq!(output.stderr, "", "{output}");
}
