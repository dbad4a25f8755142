//! Patterns that would need gigabytes, in the file and in requests: they are refused, and nobody else has to wait.

#![cfg(test)]

mod common;

use std::time::Duration;

use async_tungstenite::tungstenite::Message;
use common::siege::{Siege, Socket, answer, in_time, say, selector};
use common::{Output, Sandbox};
use futures_lite::StreamExt;
use serde_json::{Value, json};

/// The memory for reading three messages of 14 MB, in KiB. Their compiled patterns alone once needed four million.
const IN_FLIGHT: u64 = 256 << 10;

/// Patterns with few or many characters; each of them is too large.
fn greedy() -> Vec<String> {
    vec![
        "a{0,1000}{0,1000}".to_owned(),
        r"(?:\pL{1,100}){1,100}".to_owned(),
        "((((a{50}){50}){50}){50})".to_owned(),
        "x".repeat(100_000),
        r"(?i)\w|".repeat(10_000),
    ]
}

fn is_short(output: &Output) {
    let said = output.stdout.len() + output.stderr.len();
    assert!(said < 2_000, "a refusal does not repeat the pattern\n{output}");
}

#[test]
fn a_file_or_a_command_with_such_a_pattern_is_refused() {
    let sandbox = Sandbox::with_file(
        "patterns",
        "services:\n  a: {type: process, binary: sleep, args: ['1000']}\n",
    );
    sandbox.ok(&["start"]);
    for pattern in greedy() {
        let refused = sandbox.harness(&["logs", "--grep", &pattern]).code(2);
        assert!(refused.stderr.contains("the regular expression"), "{refused}");
        is_short(&refused);
        // JSON is also YAML, and keeps every backslash.
        let pattern = json!(pattern);
        for part in [
            format!("health_check: {{log: {pattern}}}"),
            format!("dependencies: [{{service: b, condition: log, pattern: {pattern}}}]"),
        ] {
            sandbox.write(
                "bad.yaml",
                &format!(
                    "services:\n  a:\n    type: process\n    binary: sleep\n    {part}\n  \
                     b: {{type: process, binary: sleep}}\n"
                ),
            );
            let refused = sandbox.harness(&["-c", "bad.yaml", "validate"]).code(2);
            assert!(refused.stderr.contains("the regular expression"), "{refused}");
        }
    }
    sandbox.ok(&["logs", "--grep", r"^\d+ (ERROR|WARN) .*took \w+$"]);
}

fn search(id: u64, pattern: &str, follow: bool) -> Value {
    json!({"v": 1, "id": id, "request": {"logs": {
        "project": selector(), "services": ["calm"], "follow": follow,
        "tail": null, "since": null, "until": null, "grep": pattern}}})
}

/// The error in an answer.
fn refusal(answer: &Value) -> &str {
    answer["error"]["message"]
        .as_str()
        .unwrap_or_else(|| panic!("{answer}"))
}

#[test]
fn many_at_once_by_the_wire_hold_nobody_up() {
    let siege = Siege::new("patterns_wire");
    smol::block_on(async {
        let mut sockets: Vec<Socket> = Vec::new();
        for _ in 0..3 {
            sockets.push(siege.session().await);
        }
        // 14 MB each, three at once.
        let long = "(?:a|b)".repeat(2 << 20);
        for socket in &mut sockets {
            say(socket, &search(1, &long, false)).await;
        }
        siege.goes_on_within(IN_FLIGHT);
        for socket in &mut sockets {
            let refused = answer(socket, 1).await;
            assert!(refusal(&refused).contains("bytes"), "{refused}");
        }
        // Short patterns with large repetitions, a hundred at once.
        for (id, most) in (2..102).zip(10..) {
            let pattern = format!(r"(?i)(?:\w{{1,{most}}}){{1,90}}");
            say(&mut sockets[0], &search(id, &pattern, false)).await;
        }
        siege.goes_on_within(IN_FLIGHT);
        for _ in 2..102 {
            let refused = next_answer(&mut sockets[0]).await;
            assert!(refused["error"].is_object(), "{refused}");
        }
        // A project that was never validated.
        let start = start(&siege, &"a".repeat(8 << 20));
        say(&mut sockets[1], &json!({"v": 1, "id": 9, "request": start})).await;
        let refused = answer(&mut sockets[1], 9).await;
        assert!(
            refusal(&refused).starts_with("calm: the regular expression has"),
            "{refused}"
        );
    });
    siege.goes_on_within(IN_FLIGHT);
}

/// A request to start the siege's project with a service that waits for a line.
fn start(siege: &Siege, pattern: &str) -> Value {
    let loaded = harness_config::load(&harness_config::LoadOptions {
        cwd: siege.sandbox.project(),
        ..harness_config::LoadOptions::default()
    });
    let mut project = loaded.unwrap().project;
    let check = harness_model::spec::HealthCheck {
        http: Default::default(),
        probe: harness_model::spec::Probe::Log(pattern.to_owned()),
        interval: Duration::from_secs(1),
        timeout: Duration::from_secs(1),
        retries: 1,
        start_period: Duration::ZERO,
    };
    let calm = project
        .services
        .iter_mut()
        .find(|(name, _)| name.as_str() == "calm");
    calm.unwrap().1.health_check = Some(check);
    json!({"start": {
        "project": project, "services": ["calm"], "no_deps": false, "prune": false, "dry_run": false,
        "rollback_on_failure": false, "detach": true, "project_named": false, "environment": {}}})
}

/// The next message that is not an event, about any request.
async fn next_answer(socket: &mut Socket) -> Value {
    in_time("an answer", async {
        loop {
            if let Message::Text(text) = socket.next().await.unwrap().unwrap() {
                let message: Value = serde_json::from_str(&text).unwrap();
                if message.get("event").is_none() {
                    return message;
                }
            }
        }
    })
    .await
}

#[test]
fn a_client_has_four_searches_at_a_time_and_others_have_theirs() {
    let siege = Siege::new("patterns_places");
    smol::block_on(async {
        let mut socket = siege.session().await;
        for id in 1..=5 {
            say(&mut socket, &search(id, "never", true)).await;
        }
        let refused = next_answer(&mut socket).await;
        assert!(
            refusal(&refused).contains("already runs 4 log searches"),
            "{refused}"
        );
        let id = (1..=5).find(|id| refused["id"] != *id).unwrap();
        siege.sandbox.ok(&["logs", "--grep", "never"]);
        // When one has ended, there is room for another.
        say(&mut socket, &json!({"v": 1, "id": id, "cancel": {}})).await;
        let cancelled = answer(&mut socket, id).await;
        assert!(cancelled["error"].is_object(), "{cancelled}");
        say(&mut socket, &search(6, "never", false)).await;
        let done = answer(&mut socket, 6).await;
        assert!(done["response"].is_object(), "{done}");
    });
    siege.is_over();
}
