//! Programs that make themselves daemons are said to, with how they are run in the foreground.

#![cfg(test)]

mod common;

use common::{Sandbox, proc};

/// Goes into the background the way daemons do, under the name of the file, and writes the pid of what runs there.
const DAEMON: &str = r"#!/usr/bin/perl
use POSIX qw(setsid);
my ($name, $times) = @ARGV;
for my $n (1 .. $times) {
    my $child = fork // die;
    next if $child;
    setsid();
    exit 0 if fork // die;
    $0 = $name;
    open my $comm, '>', '/proc/self/comm' or die; print $comm $name; close $comm;
    open my $f, '>', qq{.pid.$n} or die; print $f $$; close $f; rename qq{.pid.$n}, qq{pid.$n};
    close STDIN; close STDOUT; close STDERR;
    sleep 1 while 1;
}
for my $n (1 .. $times) { select undef, undef, undef, 0.01 until -e qq{pid.$n}; }
exit 0;
";

fn sandbox(name: &str, program: &str, more: &str) -> Sandbox {
    let sandbox = Sandbox::with_file(
        name,
        &format!(
            "name: back\nservices:\n  web:\n    type: process\n    binary: perl\n    args: [daemon.pl, {program}, 2]\n{more}"
        ),
    );
    sandbox.write("daemon.pl", DAEMON);
    sandbox
}

fn are_gone(sandbox: &Sandbox) {
    for file in ["pid.1", "pid.2"] {
        assert!(!proc::is_alive(sandbox.read(file).parse().unwrap()));
    }
}

#[test]
fn a_known_daemon_is_said_how_to_be_run() {
    for (program, remedy) in [
        ("nginx", "run it in the foreground: `nginx -g 'daemon off;'`"),
        (
            "redis-server",
            "run it in the foreground: `redis-server --daemonize no`",
        ),
        (
            "mydaemon",
            "look for an option like `--foreground` or `--no-daemon`",
        ),
    ] {
        let sandbox = sandbox(&format!("back_{program}"), program, "");
        let start = sandbox.harness(&["start"]).code(18);
        let told = format!("{}{}", start.stdout, start.stderr);
        assert!(
            told.contains("exited 0 and went into the background after "),
            "{start}"
        );
        assert!(
            told.contains(&format!("{program} was stopped with it; ")) && told.contains(remedy),
            "{start}"
        );
        assert_eq!(sandbox.state("web"), "failed/none");
        let status = sandbox.service("web");
        assert!(
            status["error"]
                .as_str()
                .unwrap()
                .contains("went into the background"),
            "{status}"
        );
        assert_eq!(status["exit_code"], 0);
        sandbox.ok(&["why", "web"]).says(remedy);
        are_gone(&sandbox);
    }
}

#[test]
fn a_oneshot_is_done_all_the_same_and_its_event_says_so() {
    let sandbox = sandbox("back_oneshot", "helper", "    oneshot: true\n");
    sandbox.ok(&["start"]);
    assert_eq!(sandbox.state("web"), "completed/none");
    sandbox
        .ok(&["events", "--since", "1h"])
        .says("went into the background");
    are_gone(&sandbox);
}

#[test]
fn what_stays_in_the_session_of_its_program_is_no_daemon() {
    let sandbox = Sandbox::with_file(
        "back_pipeline",
        "name: back\nservices:\n  tee:\n    type: process\n    binary: bash\n    args: [-c, 'exec > >(cat); sleep 1000 & echo done']\n",
    );
    sandbox.ok(&["start"]);
    assert_eq!(sandbox.state("tee"), "completed/none");
}

#[test]
fn one_that_is_asked_to_stop_is_just_stopped() {
    let sandbox = Sandbox::with_file(
        "back_stopped",
        "name: back\nservices:\n  a:\n    type: process\n    binary: bash\n    args: [-c, 'trap \"exit 0\" TERM; setsid sleep 1000 & echo ready; while :; do sleep 0.05; done']\n    health_check: {log: ready}\n",
    );
    sandbox.ok(&["start"]);
    sandbox.ok(&["stop", "--all"]);
    assert_eq!(sandbox.state("a"), "stopped/none");
    assert!(sandbox.service("a")["error"].is_null());
}
