//! Hooks belong to their generation: they end with it, together with everything they left behind, and `after_stop`
//! has run before anything follows, whatever dies in between.

#![cfg(test)]

mod common;

use std::time::Duration;

use common::{Output, Sandbox, eventually, proc, seen_within};

/// Leaves a process behind, in each possible way, and notes its pid.
const LEAVE: &str = r#"
case $1 in
  stay) echo $$ >> left; exec sleep 7807;;
  background) sh -c 'echo $$ >> left; exec sleep 7807' & ;;
  setsid) setsid sh -c 'echo $$ >> left; exec sleep 7807' & ;;
  fork) (setsid sh -c '(sh -c "echo \$\$ >> left; exec sleep 7807" &)' &) ;;
  bare) env -i setsid /bin/sh -c 'echo $$ >> left; exec /bin/sleep 7807' & ;;
esac
"#;

/// `step.sh WHAT SECONDS`: notes its pid, when it begins and when it ends. It does its work in another session, like
/// a script that calls a tool. It notes `overlap` if another one still runs.
const STEP: &str = r#"
for pid in $(cat pids 2> /dev/null); do
  test -e /proc/$pid && echo overlap >> order
done
setsid -w sh -c 'echo $$ >> pids; echo "$1 begin" >> order; sleep $2; echo "$1 end" >> order' step "$@"
"#;

fn sandbox(name: &str, services: &str) -> Sandbox {
    let sandbox = Sandbox::with_file(name, &format!("services:\n{services}"));
    sandbox.write("leave.sh", LEAVE);
    sandbox.write("step.sh", STEP);
    sandbox
}

fn pids(sandbox: &Sandbox, file: &str) -> Vec<u32> {
    let text = sandbox.read(file);
    text.split_whitespace().map(|pid| pid.parse().unwrap()).collect()
}

fn living(sandbox: &Sandbox, file: &str) -> usize {
    let pids = pids(sandbox, file);
    pids.into_iter().filter(|pid| proc::is_alive(*pid)).count()
}

fn order(sandbox: &Sandbox) -> Vec<String> {
    sandbox.read("order").lines().map(str::to_owned).collect()
}

fn kill_daemon(sandbox: &Sandbox) {
    let pid = sandbox.daemon_pid().expect("a daemon runs");
    proc::kill(pid);
    eventually("the daemon is dead", || (!proc::is_alive(pid)).then_some(()));
}

fn await_step(sandbox: &Sandbox, step: &str) {
    eventually(step, || {
        order(sandbox).iter().any(|line| line == step).then_some(())
    });
}

fn count(sandbox: &Sandbox, step: &str) -> usize {
    order(sandbox).iter().filter(|line| *line == step).count()
}

#[test]
fn nothing_of_after_healthy_outlives_a_restart_or_a_stop() {
    let ways = ["stay", "background", "setsid", "fork", "bare"];
    let services: String = ways
        .iter()
        .map(|way| {
            format!(
                "  {way}:\n    type: process\n    binary: sleep\n    args: [1000]\n    \
                 hooks: {{after_healthy: sh leave.sh {way}}}\n"
            )
        })
        .collect();
    let sandbox = sandbox("after_healthy", &services);
    sandbox.ok(&["start"]);
    for round in 1..=3 {
        eventually("every hook has left something", || {
            (pids(&sandbox, "left").len() == ways.len() * round).then_some(())
        });
        // What hooks leave stays as long as their service.
        assert_eq!(living(&sandbox, "left"), ways.len(), "round {round}");
        if round < 3 {
            sandbox.ok(&["restart"]);
        }
    }
    sandbox.ok(&["stop", "--all"]);
    assert_eq!(living(&sandbox, "left"), 0);
}

#[test]
fn what_before_start_leaves_lives_as_long_as_its_service() {
    let sandbox = sandbox(
        "before_start_leaves",
        r#"
  stopped: {type: process, binary: sleep, args: [1000], hooks: {before_start: sh leave.sh setsid}}
  crashing:
    type: process
    binary: sh
    args: [-c, 'while test ! -e crash; do sleep 0.02; done; exit 3']
    hooks: {before_start: sh leave.sh bare}
  refused:
    type: process
    binary: sleep
    args: [1000]
    hooks: {before_start: [sh, -c, 'sh leave.sh fork; while test $$(wc -l < left) -lt 3; do sleep 0.02; done; exit 6']}
"#,
    );
    sandbox.ok(&["start", "stopped", "crashing"]);
    eventually("both hooks have left something", || {
        (living(&sandbox, "left") == 2).then_some(())
    });
    sandbox.harness(&["start", "refused"]).code(18).tells("exited 6");
    assert_eq!((pids(&sandbox, "left").len(), living(&sandbox, "left")), (3, 2));
    sandbox.write("crash", "");
    sandbox.await_state("crashing", "failed/none");
    assert_eq!(living(&sandbox, "left"), 1);
    sandbox.ok(&["stop", "--all"]);
    assert_eq!(living(&sandbox, "left"), 0);
}

#[test]
fn a_migration_ends_with_the_stop_and_never_runs_twice_at_once() {
    let sandbox = sandbox(
        "migration",
        r#"
  api:
    type: process
    binary: sleep
    args: [1000]
    hooks: {before_start: sh step.sh migration 7807}
"#,
    );
    let mut begun = 0;
    let mut begins_again = || {
        begun += 1;
        eventually("the migration runs", || {
            (count(&sandbox, "migration begin") == begun).then_some(())
        });
    };
    for round in 1..=4 {
        sandbox.ok(&["start", "-d"]);
        begins_again();
        if round == 2 {
            let restart = sandbox.spawn(&["restart", "api"]);
            begins_again();
            drop(restart);
        }
        sandbox.ok(&["stop", "--all"]);
        assert_eq!(living(&sandbox, "pids"), 0, "round {round}");
    }
    assert_eq!(count(&sandbox, "overlap"), 0, "{:?}", order(&sandbox));
    assert_eq!(count(&sandbox, "migration end"), 0, "{:?}", order(&sandbox));
}

#[test]
fn a_migration_has_the_startup_timeout_or_its_own() {
    let sandbox = sandbox(
        "migration_time",
        r#"
  slow:
    type: process
    binary: sleep
    args: [1000]
    startup_timeout: 1
    hooks: {before_start: {command: sh step.sh slow 1.5, timeout: 20}}
  hung:
    type: process
    binary: sleep
    args: [1000]
    startup_timeout: 0.5
    hooks: {before_start: sh step.sh hung 7807}
"#,
    );
    sandbox.ok(&["start", "slow"]);
    assert_eq!(order(&sandbox), ["slow begin", "slow end"]);
    sandbox
        .harness(&["start", "hung"])
        .code(18)
        .tells("before_start hook failed: did not end within 0.5s");
    assert_eq!(living(&sandbox, "pids"), 0);
}

/// Notes that it is up, in a folder that it creates.
const UP: &str = r#"'mkdir -p data; echo up >> order; touch data/there; exec sleep 1000'"#;

#[test]
fn the_next_start_and_the_stop_wait_for_after_stop() {
    let sandbox = sandbox(
        "after_stop",
        &format!(
            r#"
  api:
    type: process
    binary: sh
    args: [-c, {UP}]
    shutdown_timeout: 0.2
    hooks: {{after_stop: [sh, -c, 'sh step.sh after_stop 1.5; rm -rf data']}}
"#
        ),
    );
    sandbox.ok(&["start"]);
    await_step(&sandbox, "up");
    sandbox.ok(&["restart"]);
    eventually("it is up again", || (count(&sandbox, "up") == 2).then_some(()));
    eventually("its data is there", || {
        sandbox.project().join("data/there").exists().then_some(())
    });
    assert_eq!(
        order(&sandbox),
        ["up", "after_stop begin", "after_stop end", "up"]
    );
    // It takes longer than the service may take to stop, and it is not cut off.
    sandbox.ok(&["stop", "--all"]);
    assert_eq!(order(&sandbox)[4..], ["after_stop begin", "after_stop end"]);
    assert!(!sandbox.project().join("data").exists());
    assert_eq!(living(&sandbox, "pids"), 0);
}

#[test]
fn after_stop_follows_every_end() {
    let sandbox = sandbox(
        "every_end",
        r#"
  crashing:
    type: process
    binary: sh
    args: [-c, 'echo up >> order; exit 3']
    restart: {policy: on-failure, max_restarts: 2}
    hooks: {after_stop: sh step.sh crashed 0.2}
  job:
    type: process
    binary: "true"
    oneshot: true
    hooks: {after_healthy: sh step.sh done 0.2, after_stop: sh step.sh over 0.2}
    dependencies: [{service: crashing, condition: none}]
  after:
    type: process
    binary: sh
    args: [-c, 'echo after >> order; exec sleep 1000']
    dependencies: [job]
  missing:
    type: process
    binary: ./not-there
    hooks: {after_stop: sh step.sh missing 0}
"#,
    );
    sandbox
        .harness(&["start", "crashing"])
        .code(18)
        .tells("exited 3")
        .tells("(attempt 3 of 3)");
    let round = ["up", "crashed begin", "crashed end"];
    assert_eq!(order(&sandbox), [round, round, round].concat());
    sandbox.write("order", "");
    sandbox.ok(&["start", "after"]);
    await_step(&sandbox, "after");
    assert_eq!(
        order(&sandbox),
        ["done begin", "done end", "over begin", "over end", "after"]
    );
    // A service that was never launched has no `after_stop`.
    sandbox.harness(&["start", "missing"]).code(18);
    sandbox.ok(&["stop", "--all"]);
    assert_eq!(count(&sandbox, "missing begin"), 0);
}

#[test]
fn an_after_stop_that_hangs_is_killed_in_its_time_and_told() {
    let sandbox = sandbox(
        "after_stop_hangs",
        r#"
  hangs:
    type: process
    binary: sleep
    args: [1000]
    hooks: {after_stop: {command: sh step.sh hangs 7807, timeout: 500ms}}
  leaves:
    type: process
    binary: sleep
    args: [1000]
    hooks: {after_stop: sh leave.sh bare}
  fails:
    type: process
    binary: sleep
    args: [1000]
    hooks:
      before_stop: [sh, -c, 'echo "not now" >&2; exit 4']
      after_stop: [sh, -c, 'exit 5']
"#,
    );
    sandbox.ok(&["start"]);
    sandbox.ok(&["restart"]);
    eventually("all run again", || (sandbox.pids().len() == 3).then_some(()));
    assert_eq!(living(&sandbox, "pids") + living(&sandbox, "left"), 0);
    sandbox.ok(&["stop", "--all"]);
    assert_eq!(living(&sandbox, "pids") + living(&sandbox, "left"), 0);
    assert_eq!(count(&sandbox, "hangs begin"), 2);
    let error = |service: &str| {
        sandbox.service(service)["error"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    };
    assert_eq!(error("hangs"), "after_stop hook failed: did not end within 0.5s");
    assert_eq!(
        error("fails"),
        "before_stop hook failed: exited 4: not now; after_stop hook failed: exited 5"
    );
    assert_eq!(error("leaves"), "");
    sandbox
        .ok(&["why", "hangs"])
        .says("after_stop hook failed after 0.5s: did not end within 0.5s");
    sandbox.ok(&["why", "leaves"]).says("after_stop hook ended after");
    let why = sandbox.json(&["why", "hangs"]);
    let events = why["events"].as_array().unwrap();
    let kinds = events.iter().filter(|event| event["kind"] == "hook").count();
    assert_eq!(kinds, 2, "{why}");
}

#[test]
fn every_hook_survives_the_death_of_its_daemon_as_it_should() {
    let sandbox = sandbox(
        "hooks_daemon_dies",
        r#"
  api:
    type: process
    binary: sh
    args: [-c, 'echo up >> order; exec sleep 1000']
    hooks:
      before_start: sh step.sh before_start 2
      after_healthy: sh step.sh after_healthy 2
      before_stop: sh step.sh before_stop 2
      after_stop: sh step.sh after_stop 2
"#,
    );
    let killed_in = |step: &str| {
        await_step(&sandbox, &format!("{step} begin"));
        kill_daemon(&sandbox);
        sandbox.ok(&["daemon", "start"]);
    };
    sandbox.ok(&["start", "-d"]);
    killed_in("before_start");
    // Before the end of a service, a hook that a killed daemon ran is ended, and a hook that the service waits for
    // runs again.
    await_step(&sandbox, "up");
    killed_in("after_healthy");
    // The two before it are from `before_start`. There is a fourth if the daemon died before it had recorded the
    // health.
    let of_the_killed_daemon = pids(&sandbox, "pids")[2];
    assert!(!proc::is_alive(of_the_killed_daemon));
    let stop = sandbox.spawn(&["stop", "--all"]);
    killed_in("before_stop");
    drop(stop);
    killed_in("after_stop");
    sandbox.await_state("api", "stopped/none");
    let mut steps = order(&sandbox);
    let all = steps.len();
    // It depends on the killed daemon whether the service was already recorded as healthy.
    steps.dedup_by(|next, this| next == this && this == "after_healthy begin");
    assert_eq!(
        steps,
        [
            "before_start begin",
            "before_start begin",
            "before_start end",
            "up",
            "after_healthy begin",
            "before_stop begin",
            "before_stop begin",
            "before_stop end",
            "after_stop begin",
            "after_stop begin",
            "after_stop end",
        ]
    );
    // It is done: no later daemon runs it again.
    kill_daemon(&sandbox);
    sandbox.ok(&["daemon", "start"]);
    sandbox.await_state("api", "stopped/none");
    assert_eq!(order(&sandbox).len(), all);
}

#[test]
fn what_ends_while_no_daemon_runs_has_its_after_stop_before_it_is_started_again() {
    let sandbox = sandbox(
        "hooks_no_daemon",
        r#"
  again:
    type: process
    binary: sh
    args: [-c, 'echo up >> order; while test ! -e crash; do sleep 0.02; done; rm crash; exit 3']
    restart: always
    hooks: {after_stop: sh step.sh after_stop 0.5}
  replaced:
    type: process
    binary: sleep
    args: [1000]
    hooks: {after_stop: [sh, -c, 'sleep 1; echo old >> replaced']}
  removed:
    type: process
    binary: sleep
    args: [1000]
    hooks: {after_stop: [sh, -c, 'echo $$$$ >> removing; sleep 1; echo removed >> removed']}
"#,
    );
    sandbox.ok(&["start"]);
    await_step(&sandbox, "up");
    let again = sandbox.pid("again");
    kill_daemon(&sandbox);
    sandbox.write("crash", "");
    eventually("it crashes", || (!proc::is_alive(again)).then_some(()));
    sandbox.ok(&["daemon", "start"]);
    eventually("it is up again", || (count(&sandbox, "up") == 2).then_some(()));
    assert_eq!(
        order(&sandbox),
        ["up", "after_stop begin", "after_stop end", "up"]
    );

    // Hooks run as in the file that the service was launched with, whatever the file says when it ends.
    sandbox.replace("services.yaml", "echo old", "echo new");
    sandbox.replace("services.yaml", "  removed:", "  later:");
    let start = sandbox.spawn(&["start", "--prune"]);
    eventually("the pruned one has been stopped", || {
        (pids(&sandbox, "removing").len() == 1).then_some(())
    });
    kill_daemon(&sandbox);
    drop(start);
    sandbox.ok(&["start", "--prune"]);
    eventually("the old hooks have run", || {
        let both = sandbox.read("replaced") == "old\n" && sandbox.read("removed") == "removed\n";
        both.then_some(())
    });
    assert!(!sandbox.status().contains_key("removed"));
    assert_eq!(sandbox.read("removed"), "removed\n");
    sandbox.ok(&["stop", "--all"]);
    assert_eq!(sandbox.read("replaced"), "old\nnew\n");
}

#[test]
fn a_stop_while_after_stop_of_a_crash_runs_waits_for_it() {
    let sandbox = sandbox(
        "stop_in_after_stop",
        r#"
  api:
    type: process
    binary: sh
    args: [-c, 'echo up >> order; exit 3']
    restart: always
    hooks: {after_stop: sh step.sh after_stop 1.5}
"#,
    );
    let start = sandbox.spawn(&["start", "-d"]);
    await_step(&sandbox, "after_stop begin");
    sandbox.ok(&["stop", "--all"]);
    assert_eq!(order(&sandbox), ["up", "after_stop begin", "after_stop end"]);
    drop(start);
    let more = seen_within(Duration::from_millis(500), || order(&sandbox).len() > 3);
    assert!(!more, "{:?}", order(&sandbox));
}

#[test]
fn mistakes_in_hooks_are_told() {
    let sandbox = sandbox(
        "hooks_mistakes",
        r#"
  api:
    type: process
    binary: sleep
    args: [1000]
    hooks:
      before_start: {timeout: 5}
      after_healthy: {command: "true", timeout: 0}
      before_stop: {command: "true", time: 5}
      after_stop:
"#,
    );
    let output: Output = sandbox.harness(&["validate"]).code(2);
    output
        .tells("`before_start` needs `command`")
        .tells("`timeout` must be longer than zero")
        .tells("unknown key `time`")
        .tells("`after_stop` has no value")
        .tells("4 mistakes");
}

#[test]
fn a_lost_or_damaged_note_of_a_debt_costs_that_hook_alone() {
    let sandbox = sandbox(
        "debt_lost",
        r#"
  lost: {type: process, binary: sleep, args: [1000], hooks: {after_stop: [sh, -c, 'echo lost >> order']}}
  damaged: {type: process, binary: sleep, args: [1000], hooks: {after_stop: [sh, -c, 'echo damaged >> order']}}
  kept: {type: process, binary: sleep, args: [1000], hooks: {after_stop: [sh, -c, 'echo kept >> order']}}
"#,
    );
    sandbox.ok(&["start"]);
    let note = |service: &str| {
        sandbox
            .home()
            .join(format!("projects/project/{service}/after_stop.json"))
    };
    let spoil = || {
        std::fs::remove_file(note("lost")).unwrap();
        std::fs::write(note("damaged"), "{").unwrap();
    };
    spoil();
    // The daemon that launched them knows which hooks are due.
    sandbox.ok(&["restart"]);
    let mut ran = order(&sandbox);
    ran.sort_unstable();
    assert_eq!(ran, ["damaged", "kept", "lost"]);
    spoil();
    let pids = sandbox.pids();
    kill_daemon(&sandbox);
    pids.values()
        .for_each(|pid| proc::kill(u32::try_from(*pid).unwrap()));
    sandbox.ok(&["daemon", "start"]);
    for service in ["lost", "damaged", "kept"] {
        sandbox.await_state(service, "failed/none");
    }
    assert_eq!(order(&sandbox)[3..], ["kept"]);
    // A damaged file is not in the way.
    sandbox.ok(&["start"]);
    sandbox.ok(&["stop", "--all"]);
    assert_eq!(order(&sandbox).len(), 7);
    assert!(!note("damaged").exists());
}

#[test]
fn what_cannot_be_owed_is_not_launched() {
    let sandbox = sandbox(
        "debt_refused",
        r#"
  api: {type: process, binary: sh, args: [-c, 'touch ran; exec sleep 1000'], hooks: {after_stop: "true"}}
  other: {type: process, binary: sleep, args: [1000]}
"#,
    );
    sandbox.ok(&["start", "other"]);
    let note = sandbox.home().join("projects/project/api/after_stop.json");
    // A file cannot replace this.
    std::fs::create_dir_all(note.join("in the way")).unwrap();
    sandbox
        .harness(&["start", "api"])
        .code(18)
        .tells("record that its after_stop hook must run")
        .tells("after_stop.json");
    assert!(!sandbox.project().join("ran").exists());
    std::fs::remove_dir_all(&note).unwrap();
    sandbox.ok(&["start", "api"]);
    sandbox.ok(&["stop", "--all"]);
    assert!(!note.exists());
}
