//! Reads the logs of services with real files and real shims.

#![cfg(test)]

use std::time::Duration;

use harness_model::WallTime;
use harness_shim::log::Stream::{Stderr, Stdout};
use harness_shim::log::Writer;
use harness_shim::run_dir::RunDir;
use service_orchestration::health::LogMatcher;
use service_orchestration::logs::{self, LiveOutput, LogQuery, Output};
use service_registry::ChangeKind;

mod logs_support;
use command_executor::logs::{MAX_LINE, Stream};
use command_executor::supervised::LogLimits;
use logs_support::*;

fn grep(pattern: &str) -> Option<LogMatcher> {
    Some(LogMatcher::new(pattern).unwrap())
}

/// Two services that write in turns, one of them over two generations.
fn in_turns() -> Lab {
    let lab = Lab::new();
    lab.write_lines("a", 1, &[(10, "1"), (30, "3")]);
    lab.write_lines("b", 1, &[(20, "2"), (40, "4"), (41, "5"), (80, "8")]);
    lab.write_lines("a", 2, &[(60, "6"), (70, "7"), (90, "9")]);
    lab
}

const ALL: [&str; 9] = ["a 1", "b 2", "a 3", "b 4", "b 5", "a 6", "a 7", "b 8", "a 9"];

#[test]
fn services_and_generations_are_merged_by_time() {
    let lab = in_turns();
    assert_eq!(lab.read(&["a", "b"], LogQuery::default()), ALL);
    assert_eq!(
        lab.read(&["a"], LogQuery::default()),
        ["a 1", "a 3", "a 6", "a 7", "a 9"]
    );
    assert!(lab.read(&["never-ran"], LogQuery::default()).is_empty());
    let mut reading = lab.open(&["a"], LogQuery::default());
    block_on(reading.rest());
    assert_eq!(
        reading.lines().map(|line| line.generation).collect::<Vec<_>>(),
        [1, 1, 2, 2, 2]
    );
}

#[test]
fn a_tail_is_of_the_merged_lines() {
    let lab = in_turns();
    for count in 0..=10_usize {
        let query = LogQuery {
            tail: Some(count as u64),
            ..LogQuery::default()
        };
        assert_eq!(
            lab.read(&["a", "b"], query),
            ALL[ALL.len().saturating_sub(count)..],
            "{count}"
        );
    }
}

#[test]
fn filters_come_before_the_tail() {
    let lab = in_turns();
    let query = LogQuery {
        since: Some(WallTime(20)),
        until: Some(WallTime(80)),
        grep: grep("[2468]"),
        ..LogQuery::default()
    };
    assert_eq!(lab.read(&["a", "b"], query.clone()), ["b 2", "b 4", "a 6"]);
    let query = LogQuery {
        tail: Some(2),
        ..query
    };
    assert_eq!(lab.read(&["a", "b"], query), ["b 4", "a 6"]);
    let last = LogQuery {
        tail: Some(1),
        grep: grep("^[1-3]$"),
        ..LogQuery::default()
    };
    assert_eq!(lab.read(&["a", "b"], last), ["a 3"]);
}

#[test]
fn an_unfinished_line_is_told_and_streams_are_told_apart() {
    let lab = Lab::new();
    lab.write(
        "a",
        1,
        &[
            (1, Stdout, "half"),
            (2, Stderr, "err\n"),
            (3, Stdout, " whole\nrest"),
        ],
    );
    let mut reading = lab.open(&["a"], LogQuery::default());
    block_on(reading.rest());
    let found: Vec<_> = reading
        .lines()
        .map(|l| (l.stderr, l.partial, l.text.as_slice()))
        .collect();
    assert_eq!(
        found,
        [
            (true, false, &b"err"[..]),
            (false, false, b"half whole"),
            (false, true, b"rest")
        ]
    );
}

#[test]
fn secrets_are_hidden_and_cannot_be_searched_for() {
    let lab = Lab::new();
    lab.write_lines("a", 1, &[(1, "before"), (2, &format!("password={SECRET}!"))]);
    let all = lab.read(&["a"], LogQuery::default());
    assert_eq!(all, ["a before", "a password=•••!"]);
    let probing = LogQuery {
        grep: grep("correct"),
        ..LogQuery::default()
    };
    assert!(lab.read(&["a"], probing).is_empty());
}

/// Long lines come in pieces, and records end anywhere.
#[test]
fn a_secret_at_the_cut_of_a_long_line_or_record_is_hidden() {
    let lab = Lab::new();
    let (begin, end) = SECRET.split_at(5);
    let long = |before: usize| format!("{}{SECRET}", "x".repeat(before));
    let cut: Vec<String> = (0..=SECRET.len()).map(|step| long(MAX_LINE - step)).collect();
    let mut records: Vec<(u64, Stream, &str)> = Vec::new();
    for line in &cut {
        records.extend([(1, Stream::Stdout, line.as_str()), (1, Stream::Stdout, "\n")]);
    }
    records.extend([
        (2, Stream::Stdout, begin),
        (3, Stream::Stderr, "between\n"),
        (4, Stream::Stdout, end),
        (5, Stream::Stdout, " after\n"),
    ]);
    lab.write("a", 1, &records);
    let mut reading = lab.open(&["a"], LogQuery::default());
    block_on(reading.rest());
    let text: Vec<u8> = reading.lines().flat_map(|line| line.text.clone()).collect();
    let text = String::from_utf8(text).unwrap();
    assert_eq!(
        text.matches("•••").count(),
        cut.len() + 1,
        "all of them, as marks"
    );
    assert!(text.ends_with("••• after"), "{}", &text[text.len() - 40..]);
    for part in [begin, end] {
        assert!(!text.contains(part), "`{part}` is seen");
    }
    let last = block_on(logs::last_lines(&lab.run_dir("a", 1), 20, &redactor())).unwrap();
    let last = String::from_utf8_lossy(&last.lines.concat()).into_owned();
    for part in [begin, end] {
        assert!(!last.contains(part), "`{part}` is seen in the last lines");
    }
}

#[test]
fn a_secret_over_two_reads_is_hidden_from_who_is_attached() {
    let lab = Lab::new();
    let (begin, end) = SECRET.split_at(5);
    block_on(async {
        let script = format!(
            "echo up; read a; printf 'my {begin}'; read b; printf '{end} and {first}'; read c; echo at end",
            first = &SECRET[..1]
        );
        let service = lab.launch("a", 1, &script, ROOMY).await;
        let mut reading = lab.open(&["a"], follow());
        reading.until_lines(1).await;
        let mut live = LiveOutput::open(&lab.run_dir("a", 1), &redactor()).await.unwrap();
        let mut seen = String::new();
        for expected in [
            // The beginning of a secret is shown as long as it is too short to be worth hiding. What follows is
            // hidden.
            format!("my {}", &SECRET[..3]),
            format!("my {}••• and {}", &SECRET[..3], &SECRET[..1]),
        ] {
            service.send_stdin(b"go\n".to_vec()).await.unwrap();
            while seen.len() < expected.len() {
                match live.next().await.unwrap() {
                    Some(Output::Stdout(bytes)) => seen.push_str(&String::from_utf8(bytes).unwrap()),
                    other => panic!("{other:?} after `{seen}`"),
                }
            }
            assert_eq!(seen, expected);
        }
        service.send_stdin(b"go\n".to_vec()).await.unwrap();
        service.wait().await.unwrap();
    });
}

#[test]
fn what_was_rotated_away_is_counted() {
    let lab = Lab::new();
    let log = LogLimits {
        max_size: 16 << 10,
        max_files: 2,
    };
    block_on(lab.run(
        "a",
        1,
        "i=0; while [ $i -lt 50 ]; do seq 1000; i=$((i+1)); done",
        log,
    ));
    let mut reading = lab.open(&["a"], LogQuery::default());
    block_on(reading.rest());
    assert!(reading.missing() > 0);
    // A line that the gap cuts in two may be counted on both sides.
    let total = reading.missing() + reading.lines().count() as u64;
    assert!((50_000..=50_001).contains(&total), "{total}");
}

#[test]
fn a_follower_goes_on_over_restarts_without_loss_or_repetition() {
    let lab = Lab::new();
    let mut reading = lab.open(&["a"], follow());
    block_on(async {
        let mut expected = 0;
        for generation in 1..=4 {
            let first = expected + 1;
            expected += 1000;
            // The last lines come just before the end.
            let script = format!(
                "seq {first} {}; sleep 0.02; seq {} {expected}",
                first + 499,
                first + 500
            );
            if generation % 2 == 0 {
                lab.run("a", generation, &script, ROOMY).await;
                reading.until_lines(expected).await;
            } else {
                // The reader comes late: generations pile up.
                lab.run("a", generation, &script, ROOMY).await;
            }
        }
        assert_eq!(reading.numbers(), (1..=4000).collect::<Vec<u64>>());
        reading.nothing_comes().await;
        assert_eq!(reading.lines().count(), 4000);
    });
}

#[test]
fn a_generation_seen_while_it_is_made_is_read_whole() {
    let lab = Lab::new();
    lab.write_lines("a", 1, &[(1, "1")]);
    let mut reading = lab.open(&["a"], follow());
    block_on(async {
        reading.until_lines(1).await;
        // Do what a launch does, and look after each step.
        std::fs::create_dir(lab.run_dir("a", 2)).unwrap();
        lab.publish("a", ChangeKind::State);
        reading.nothing_comes().await;
        std::fs::remove_dir(lab.run_dir("a", 2)).unwrap();
        let run_dir = RunDir::create(lab.run_dir("a", 2)).unwrap();
        lab.publish("a", ChangeKind::State);
        reading.nothing_comes().await;
        let lock = run_dir.take_lock().unwrap();
        let mut log = Writer::open(run_dir.log_dir(), ROOMY, 0).unwrap();
        log.append(Stdout, b"2\n", now());
        lab.publish("a", ChangeKind::State);
        reading.until_lines(2).await;
        log.append(Stdout, b"3\n", now());
        reading.until_lines(3).await;
        drop(lock);
    });
    assert_eq!(reading.numbers(), [1, 2, 3]);
}

#[test]
fn a_tail_is_followed_by_what_comes() {
    let lab = in_turns();
    let mut reading = lab.open(
        &["a", "b"],
        LogQuery {
            tail: Some(2),
            ..follow()
        },
    );
    block_on(async {
        reading.until_lines(2).await;
        lab.run("b", 2, "echo 10; echo 11", ROOMY).await;
        reading.until_lines(4).await;
    });
    assert_eq!(reading.texts(), ["b 8", "a 9", "b 10", "b 11"]);
}

#[test]
fn services_that_are_registered_later_are_followed_too() {
    let lab = Lab::new();
    let mut reading = lab.open_with(&[], true, follow());
    block_on(async {
        let wait = async {
            reading.until_lines(1).await;
        };
        let come = async {
            smol::Timer::after(Duration::from_millis(20)).await;
            lab.publish("late", ChangeKind::Registered);
            lab.run("late", 1, "echo here", ROOMY).await;
        };
        smol::future::zip(wait, come).await;
    });
    assert_eq!(reading.texts(), ["late here"]);
}

#[test]
fn following_ends_when_the_wanted_time_has_passed() {
    let lab = Lab::new();
    let until = Some(WallTime(now() + 200_000_000));
    let mut running = lab.open(&["a"], LogQuery { until, ..follow() });
    let mut never_ran = lab.open(&["b"], LogQuery { until, ..follow() });
    block_on(async {
        lab.launch("a", 1, "echo early; exec sleep 60", ROOMY).await;
        running.rest().await;
        never_ran.rest().await;
    });
    assert_eq!(running.texts(), ["a early"]);
    assert!(never_ran.items.is_empty());
}

#[test]
fn a_flood_is_followed_without_loss() {
    let lab = Lab::new();
    let mut reading = lab.open(&["a"], follow());
    let count = 500_000;
    block_on(async {
        let flood = format!("seq {count}");
        smol::future::zip(lab.run("a", 1, &flood, ROOMY), reading.until_lines(count)).await;
    });
    assert!(reading.numbers() == (1..=count as u64).collect::<Vec<_>>());
}

#[test]
fn what_is_there_of_services_that_never_pause_is_told() {
    let lab = Lab::new();
    let small = LogLimits {
        max_size: 256 << 10,
        max_files: 4,
    };
    block_on(async {
        for service in ["a", "b"] {
            lab.launch(service, 1, "exec yes", small).await;
            lab.open(&[service], follow()).until_lines(1000).await;
        }
        for follow in [false, true] {
            for tail in [None, Some(3)] {
                let query = LogQuery {
                    follow,
                    tail,
                    ..LogQuery::default()
                };
                let mut reading = lab.open(&["a", "b"], query);
                if follow {
                    reading.until_lines(1000).await;
                } else {
                    reading.rest().await;
                    assert!(reading.lines().count() >= 3);
                }
            }
        }
        let mut live = LiveOutput::open(&lab.run_dir("a", 1), &redactor()).await.unwrap();
        while !matches!(live.next().await.unwrap(), Some(Output::Stdout(_))) {}
    });
}

#[test]
fn a_reader_that_stands_still_slows_no_service() {
    let lab = Lab::new();
    let mut reading = lab.open(&["a"], follow());
    let count = 200_000;
    block_on(async {
        let service = lab
            .launch("a", 1, &format!("echo 0; read go; seq {count}"), ROOMY)
            .await;
        reading.until_lines(1).await;
        service.send_stdin(b"go\n".to_vec()).await.unwrap();
        service.wait().await.unwrap();
        reading.until_lines(count + 1).await;
    });
    assert!(reading.numbers() == (0..=count as u64).collect::<Vec<_>>());
}

#[test]
fn live_output_is_uncut_and_begins_now() {
    let lab = Lab::new();
    block_on(async {
        let script = "echo old; read a; printf 'name? '; read b; echo \"hi $b\" >&2; exit 3";
        let service = lab.launch("a", 1, script, ROOMY).await;
        let mut reading = lab.open(&["a"], follow());
        reading.until_lines(1).await;
        let mut live = LiveOutput::open(&lab.run_dir("a", 1), &redactor()).await.unwrap();
        service.send_stdin(b"go\n".to_vec()).await.unwrap();
        assert_eq!(
            live.next().await.unwrap(),
            Some(Output::Stdout(b"name? ".to_vec()))
        );
        service.send_stdin(b"you\n".to_vec()).await.unwrap();
        assert_eq!(
            live.next().await.unwrap(),
            Some(Output::Stderr(b"hi you\n".to_vec()))
        );
        assert_eq!(live.next().await.unwrap(), None);
        service.wait().await.unwrap();
    });
}
