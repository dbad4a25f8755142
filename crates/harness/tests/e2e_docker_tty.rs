//! Containers with input: terminals, prompts, the end of input.

#![cfg(test)]
#![cfg(feature = "docker-tests")]

mod common;

use common::docker::DockerSandbox;
use common::{PATIENCE, eventually};

/// Asks twice, and ends with 3.
const ASK: &str = r#"'stty -echo 2>/dev/null; printf "name> "; read n; echo "hello $n"; printf "again> "; read m; echo "bye $m"; exit 3'"#;

fn asks_and_is_answered(name: &str, key: &str) {
    let sandbox = DockerSandbox::new(
        name,
        &format!(
            "services:\n  ask: {{type: docker, image: harness-test/base, {key}: true, entrypoint: [sh, -c, {ASK}]}}\n"
        ),
    );
    sandbox.ok(&["start"]);
    let logs = || sandbox.ok(&["logs", "ask"]).stdout.replace('\r', "");
    // Its question is visible without attaching.
    eventually("it asks", || logs().contains("name> ").then_some(()));
    let mut attached = sandbox.spawn(&["attach", "ask"]);
    attached.type_in(b"joe\n");
    eventually("it asks again", || logs().contains("again> ").then_some(()));
    assert_eq!(logs(), "ask | name> hello joe\nask | again> \n");
    attached.signal(rustix::process::Signal::KILL);
    attached.wait(PATIENCE);
    // The next daemon has each line once, and the question can still be answered.
    sandbox.kill_daemon();
    sandbox.ok(&["daemon", "start"]);
    assert_eq!(sandbox.state("ask"), "running/none");
    assert_eq!(logs(), "ask | name> hello joe\nask | again> \n");
    let mut attached = sandbox.spawn(&["attach", "ask"]);
    attached.type_in(b"ann\n");
    let attached = attached.wait(PATIENCE).code(3);
    assert!(attached.stdout.contains("bye ann"), "{attached}");
    sandbox.await_state("ask", "failed/none");
    assert_eq!(logs(), "ask | name> hello joe\nask | again> bye ann\n");
}

#[test]
fn a_terminals_prompts_are_seen_and_answered() {
    asks_and_is_answered("tty_asks", "tty");
}

#[test]
fn the_prompts_of_who_has_a_stdin_are_seen_and_answered() {
    asks_and_is_answered("stdin_asks", "stdin");
}

#[test]
fn a_terminal_has_a_size_an_interrupt_and_an_end_of_input() {
    let sandbox = DockerSandbox::new(
        "tty_keys",
        "services:\n  app: {type: docker, image: harness-test/program, command: [tty], tty: true}\n  echo: {type: docker, image: harness-test/program, command: [echo], tty: true}\n",
    );
    sandbox.ok(&["start"]);
    // `script` provides a terminal; its size changes after the first one was reported.
    let inside = format!(
        "stty rows 33 cols 101; T=$(tty); (until test -e go; do sleep 0.05; done; stty -F $T rows 40 cols 90) & exec {} attach app",
        env!("CARGO_BIN_EXE_harness")
    );
    let mut attached = sandbox.command("script", &["-qec", &inside, "/dev/null"]);
    eventually("the first size", || {
        attached.stdout().contains("tty 33 101").then_some(())
    });
    sandbox.write("go", "");
    eventually("the second size", || {
        attached.stdout().contains("tty 40 90").then_some(())
    });
    attached.type_in(&[3]);
    attached.wait(PATIENCE).code(130);
    sandbox.ok(&["logs", "app"]).says("interrupted");
    // Ctrl-D is the end of its input.
    let mut attached = sandbox.spawn(&["attach", "echo"]);
    attached.type_in(b"one\ntwo\n");
    eventually("it answers", || {
        attached.stdout().contains("got: two").then_some(())
    });
    attached.type_in(&[4]);
    attached.wait(PATIENCE).code(0);
    let said = sandbox.ok(&["logs", "echo"]).stdout;
    assert!(
        said.contains("got: two") && said.contains("end of input"),
        "{said}"
    );
    sandbox.await_state("echo", "completed/none");
}

#[test]
fn a_flood_through_a_terminal_is_whole_across_daemons() {
    let sandbox = DockerSandbox::new(
        "tty_flood",
        r#"services:
  chat: {type: docker, image: harness-test/program, command: [chat, 3000, 1], tty: true, oneshot: true}
"#,
    );
    sandbox.ok(&["start", "-d"]);
    let numbers = || -> Vec<u32> {
        let logs = sandbox.ok(&["logs", "chat"]).stdout;
        let number = |line: &str| line.rsplit_once("line ")?.1.trim().parse().ok();
        logs.lines().filter_map(number).collect()
    };
    eventually("it talks", || (numbers().len() > 50).then_some(()));
    for _ in 0..2 {
        sandbox.kill_daemon();
        sandbox.ok(&["daemon", "start"]);
    }
    sandbox.await_state("chat", "completed/none");
    assert_eq!(numbers(), (1..=3000).collect::<Vec<u32>>());
}

#[test]
fn a_line_longer_than_the_engines_pieces_is_whole() {
    let sandbox = DockerSandbox::new(
        "tty_long",
        r#"services:
  long:
    type: docker
    image: harness-test/base
    tty: true
    oneshot: true
    entrypoint: [perl, -e, 'print "a" x 50000, "\n"; print "end\n"']
"#,
    );
    sandbox.ok(&["start"]);
    let logs = sandbox.ok(&["logs", "long"]).stdout.replace('\r', "");
    let lengths: Vec<usize> = logs.lines().map(str::len).collect();
    assert_eq!(lengths, ["long | ".len() + 50_000, "long | end".len()]);
}
