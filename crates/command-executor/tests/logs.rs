//! Following the log of a real run.

#![cfg(test)]

use command_executor::logs::{LogFrom, Stream};
use command_executor::supervised::{LogLimits, Stdin, TtySize};

mod support;
use support::follower::{FollowItem, LogFollower};
use support::*;

#[derive(Debug, Default)]
struct Seen {
    lines: Vec<String>,
    missing: u64,
    /// Whether the last line is an unfinished one.
    ends_within_a_line: bool,
}

async fn all(mut follower: LogFollower) -> Seen {
    let mut seen = Seen::default();
    loop {
        match follower.next().await.unwrap() {
            FollowItem::Line(line) => {
                seen.ends_within_a_line = line.partial;
                seen.lines.push(String::from_utf8(line.bytes).unwrap());
            }
            FollowItem::Gap { lines, .. } => seen.missing += lines,
            FollowItem::End => return seen,
        }
    }
}

#[test]
fn a_follower_keeps_up_across_rotation() {
    let dir = tempfile::tempdir().unwrap();
    let run_dir = dir.path().join("run");
    let mut spec = sh_spec(
        &run_dir,
        "i=0; while [ $i -lt 40 ]; do seq $((i*100+1)) $((i*100+100)); i=$((i+1)); sleep 0.01; done",
    );
    spec.log = LogLimits {
        max_size: 4096,
        max_files: 50,
    };
    let _service = block_on(start(&host(), &run_dir, &spec)).unwrap();
    let seen = block_on(all(LogFollower::new(&run_dir, LogFrom::Start).unwrap()));
    assert_eq!(seen.missing, 0);
    let expected: Vec<String> = (1..=4000).map(|n| n.to_string()).collect();
    assert!(seen.lines == expected, "{} lines", seen.lines.len());
    let segments = std::fs::read_dir(run_dir.join("log")).unwrap().count();
    assert!(segments > 3, "{segments} segments: it rotated");
}

#[test]
fn what_was_rotated_away_is_counted() {
    let dir = tempfile::tempdir().unwrap();
    let run_dir = dir.path().join("run");
    let mut spec = sh_spec(
        &run_dir,
        "i=0; while [ $i -lt 50 ]; do seq 1000; i=$((i+1)); done",
    );
    spec.log = LogLimits {
        max_size: 16 * 1024,
        max_files: 2,
    };
    let service = block_on(start(&host(), &run_dir, &spec)).unwrap();
    block_on(service.wait()).unwrap();
    let seen = block_on(all(LogFollower::open(&run_dir).unwrap()));
    assert!(seen.missing > 0);
    // A line that the gap cuts in two may be counted on both sides.
    let total = seen.missing + seen.lines.len() as u64;
    assert!((50_000..=50_001).contains(&total), "{total}");
    assert_eq!(seen.lines.last().unwrap(), "1000");
}

#[test]
fn a_tail_is_exact_and_an_unfinished_line_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let run_dir = dir.path().join("run");
    let service = block_on(start(
        &host(),
        &run_dir,
        &sh_spec(&run_dir, "seq 5000; printf half"),
    ))
    .unwrap();
    block_on(service.wait()).unwrap();
    let seen = block_on(all(LogFollower::existing(&run_dir, LogFrom::Tail(3))));
    assert_eq!(seen.lines, ["4998", "4999", "5000", "half"]);
    assert!(seen.ends_within_a_line);
    assert!(
        block_on(all(LogFollower::existing(&run_dir, LogFrom::Since(u64::MAX))))
            .lines
            .is_empty()
    );
}

#[test]
fn streams_are_told_apart() {
    let dir = tempfile::tempdir().unwrap();
    let run_dir = dir.path().join("run");
    let service = block_on(start(
        &host(),
        &run_dir,
        &sh_spec(&run_dir, "echo out; echo err >&2"),
    ))
    .unwrap();
    block_on(service.wait()).unwrap();
    let mut lines = Vec::new();
    let mut follower = LogFollower::existing(&run_dir, LogFrom::Start);
    while let FollowItem::Line(line) = block_on(follower.next()).unwrap() {
        lines.push(line);
    }
    lines.sort_by_key(|line| line.stream == Stream::Stderr);
    let found: Vec<_> = lines
        .iter()
        .map(|line| (line.stream, line.bytes.as_slice()))
        .collect();
    assert_eq!(found, [(Stream::Stdout, &b"out"[..]), (Stream::Stderr, b"err")]);
}

#[test]
fn a_follower_ends_when_the_shim_is_killed() {
    let dir = tempfile::tempdir().unwrap();
    let run_dir = dir.path().join("run");
    let service = block_on(start(
        &host(),
        &run_dir,
        &sh_spec(&run_dir, "echo up; exec sleep 300"),
    ))
    .unwrap();
    let mut follower = LogFollower::new(&run_dir, LogFrom::Start).unwrap();
    let first = block_on(follower.next()).unwrap();
    assert!(matches!(first, FollowItem::Line(line) if line.bytes == b"up"));
    let kill = async {
        smol::Timer::after(std::time::Duration::from_millis(50)).await;
        service.trace().identity.shim.signal(9).unwrap();
    };
    let ((), end) = block_on(smol::future::zip(kill, follower.next()));
    assert_eq!(end.unwrap(), FollowItem::End);
    assert_eq!(block_on(follower.next()).unwrap(), FollowItem::End);
    block_on(service.wait()).unwrap();
}

#[test]
fn three_hundred_followers_are_no_problem() {
    let dir = tempfile::tempdir().unwrap();
    let run_dir = dir.path().join("run");
    let mut spec = sh_spec(&run_dir, "read -r line; seq 100");
    spec.stdin = Stdin::Keep;
    let service = block_on(start(&host(), &run_dir, &spec)).unwrap();
    let followers: Vec<_> = (0..300)
        .map(|_| LogFollower::new(&run_dir, LogFrom::Start).unwrap())
        .collect();
    let executor = smol::LocalExecutor::new();
    let tasks: Vec<_> = followers
        .into_iter()
        .map(|follower| executor.spawn(all(follower)))
        .collect();
    block_on(executor.run(async {
        service.send_stdin(b"go\n".to_vec()).await.unwrap();
        for task in tasks {
            assert_eq!(task.await.lines.len(), 100);
        }
    }));
    block_on(service.wait()).unwrap();
}

#[test]
fn a_cancelled_read_loses_neither_a_line_nor_the_end() {
    let dir = tempfile::tempdir().unwrap();
    let run_dir = dir.path().join("run");
    let script = "i=0; while [ $i -lt 100 ]; do echo $i; i=$((i+1)); sleep 0.002; done";
    let service = block_on(start(&host(), &run_dir, &sh_spec(&run_dir, script))).unwrap();
    let mut follower = LogFollower::new(&run_dir, LogFrom::Start).unwrap();
    let mut lines = 0;
    block_on(async {
        loop {
            let next = async { Some(follower.next().await.unwrap()) };
            let cancelled = async {
                smol::Timer::after(std::time::Duration::from_micros(300)).await;
                None
            };
            match smol::future::or(next, cancelled).await {
                Some(FollowItem::Line(_)) => lines += 1,
                Some(FollowItem::Gap { .. }) => panic!("nothing was rotated"),
                Some(FollowItem::End) => return,
                None => {}
            }
        }
    });
    assert_eq!(lines, 100);
    block_on(service.wait()).unwrap();
}

#[test]
fn a_service_on_a_terminal_is_typed_to_and_resized() {
    let dir = tempfile::tempdir().unwrap();
    let run_dir = dir.path().join("run");
    let script =
        "trap 'stty size' WINCH; echo ready; while :; do read -r line && break; done; echo got $line";
    let mut spec = sh_spec(&run_dir, script);
    spec.tty = Some(TtySize { cols: 80, rows: 24 });
    let service = block_on(start(&host(), &run_dir, &spec)).unwrap();
    let mut follower = LogFollower::new(&run_dir, LogFrom::Start).unwrap();
    let mut until = |wanted: &str| {
        block_on(async {
            loop {
                match follower.next().await.unwrap() {
                    FollowItem::Line(line) if String::from_utf8_lossy(&line.bytes).contains(wanted) => return,
                    FollowItem::End => panic!("no `{wanted}`"),
                    _ => {}
                }
            }
        })
    };
    until("ready");
    block_on(service.resize(TtySize { cols: 101, rows: 44 })).unwrap();
    until("44 101");
    block_on(service.send_stdin(b"hello\n".to_vec())).unwrap();
    until("got hello");
    block_on(service.wait()).unwrap();
}
