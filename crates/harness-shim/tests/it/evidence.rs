//! Tests the table of `harness_shim::tree` row by row: what proves that a process belongs to a run. Beside each
//! process of the run there are strangers that have everything except the proof.

use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

use harness_shim::identity::ProcessId;
use harness_shim::tree::{self, RUN_ID_VARIABLE};

use crate::support::{run_id, until};

/// A shell and what it started. Each line of its output names one process to watch.
struct Scene {
    shell: Child,
    ours: Vec<ProcessId>,
    strangers: Vec<ProcessId>,
}

impl Scene {
    /// Runs a script that prints `ours PID` or `stranger PID` this many times.
    fn play(script: &str, run_id: &str, actors: usize) -> Self {
        let mut shell = Command::new("setsid")
            .args(["bash", "-c", script, "bash", run_id])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .unwrap();
        let lines = BufReader::new(shell.stdout.take().unwrap()).lines();
        let (mut ours, mut strangers) = (Vec::new(), Vec::new());
        for line in lines.take(actors) {
            let line = line.unwrap();
            let (whose, pid) = line.split_once(' ').unwrap();
            let process = ProcessId::of(pid.parse().unwrap()).unwrap();
            match whose {
                "ours" => ours.push(process),
                "stranger" => strangers.push(process),
                other => panic!("{other}"),
            }
        }
        assert_eq!(ours.len() + strangers.len(), actors);
        Self {
            shell,
            ours,
            strangers,
        }
    }

    fn end(mut self, killed: usize, expected: usize) {
        assert_eq!(killed, expected);
        let alive = |all: &[ProcessId]| all.iter().filter(|process| process.is_alive()).count();
        let (left, strangers) = (alive(&self.ours), alive(&self.strangers));
        for process in self.ours.iter().chain(&self.strangers) {
            let _ = process.signal(libc::SIGKILL);
        }
        let _ = self.shell.kill();
        self.shell.wait().unwrap();
        assert_eq!(left, 0, "everything of the run is gone");
        assert_eq!(strangers, self.strangers.len(), "no stranger was touched");
    }
}

fn kill(run_id: &str) -> usize {
    tree::kill_all(run_id, None).unwrap()
}

/// A shell function that waits until the named process executes `sleep`.
const SLEEPS: &str = r#"
    say() { until [ "$(cat /proc/$2/comm)" = sleep ]; do :; done; echo "$1 $2"; }
"#;

#[test]
fn the_run_id_proves_and_the_session_of_a_dead_leader_does_not() {
    let id = run_id();
    let script = format!(
        r#"{SLEEPS}
        {RUN_ID_VARIABLE}="$1" sleep 1000 & say ours $!
        nohup sleep 1000 > /dev/null 2>&1 & say stranger $!
        sleep 1000 & say stranger $!
        "#
    );
    let mut scene = Scene::play(&script, &id, 3);
    // The shell that led their session is gone and reaped.
    scene.shell.wait().unwrap();
    scene.end(kill(&id), 1);
}

#[test]
fn a_shared_process_group_proves_nothing() {
    let id = run_id();
    let script = format!(
        r#"{SLEEPS}
        set -m
        (env {RUN_ID_VARIABLE}="$1" sleep 1000 & say ours $!
         sleep 1000 & say stranger $!
         env -i sleep 1000 & say stranger $!
         wait) &
        wait
        "#
    );
    let scene = Scene::play(&script, &id, 3);
    scene.end(kill(&id), 1);
}

#[test]
fn what_descends_from_it_belongs_to_it_whatever_it_has_become() {
    let id = run_id();
    let script = format!(
        r#"{SLEEPS}
        export -f say
        env {RUN_ID_VARIABLE}="$1" bash -c '
            env -i sleep 1000 & say ours $!
            env -i setsid sleep 1000 & say ours $!
            env -i setsid bash -c "sleep 1000 & echo \$! ; wait" | {{ read pid; say ours $pid; echo "ours $$"; wait; }}
            wait' &
        env -i bash -c 'sleep 1000 & echo "stranger $!"; wait' &
        wait
        "#
    );
    let scene = Scene::play(&script, &id, 5);
    // The three sleepers, and the shells around them.
    let killed = kill(&id);
    assert!(killed >= 5, "{killed}");
    scene.end(killed, killed);
}

#[test]
fn a_name_an_argument_and_another_variable_prove_nothing() {
    let id = run_id();
    let script = format!(
        r#"
        id="$1"; shift
        env {RUN_ID_VARIABLE}="$id" sleep 1000 & echo "ours $!"
        bash -c 'echo "stranger $$"; exec -a "{RUN_ID_VARIABLE}=$0" sleep 1000' "$id" &
        OTHER="{RUN_ID_VARIABLE}=$id" bash -c 'echo "stranger $$"; exec sleep 1000' &
        {RUN_ID_VARIABLE}="$id-2" bash -c 'echo "stranger $$"; exec sleep 1000' &
        {RUN_ID_VARIABLE}="x$id" bash -c 'echo "stranger $$"; exec sleep 1000' &
        wait
        "#
    );
    let scene = Scene::play(&script, &id, 5);
    until("the environment is that of the run", || {
        !tree::find_by_run_id(&id).unwrap().is_empty()
    });
    scene.end(kill(&id), 1);
}

#[test]
fn a_main_process_is_known_by_pid_and_start_time_together() {
    let id = run_id();
    let script = format!(
        r#"{SLEEPS}
        env -i sleep 1000 & say stranger $!
        env -i bash -c 'sleep 1000 & echo "ours $!"; echo "ours $$"; wait' &
        wait
        "#
    );
    let scene = Scene::play(&script, &id, 3);
    let main = scene.ours[1].clone();
    let former = ProcessId {
        start_time: scene.strangers[0].start_time - 1,
        ..scene.strangers[0].clone()
    };
    assert_eq!(tree::kill_all(&id, Some(&former)).unwrap(), 0);
    let elsewhere = ProcessId {
        boot_id: "another".to_owned(),
        ..main.clone()
    };
    assert_eq!(tree::kill_all(&id, Some(&elsewhere)).unwrap(), 0);
    scene.end(tree::kill_all(&id, Some(&main)).unwrap(), 2);
}

/// A stranger has an environment of 40 GB, and one of our processes has its run id after a large environment. The
/// stranger must cost neither memory nor time, and ours must be found.
#[test]
fn an_environment_of_any_size_is_looked_at_in_little_memory() {
    let id = run_id();
    let script = format!(
        r#"{SLEEPS}
        env {RUN_ID_VARIABLE}="$1" sleep 1000 & say ours $!
        pad=$(head -c 120000 /dev/zero | tr '\0' x)
        env -i A="$pad" B="$pad" C="$pad" D="$pad" E="$pad" F="$pad" G="$pad" \
            {RUN_ID_VARIABLE}="$1" sleep 1000 & say ours $!
        perl -e '
            use Config;
            $| = 1;
            my ($mmap, $prctl) = $Config{{archname}} =~ /aarch64/ ? (222, 167) : (9, 157);
            my $size = 40 << 30;
            my $area = syscall $mmap, 0, $size, 1, 0x4022, -1, 0;
            open my $stat, "<", "/proc/self/stat" or die;
            my @stat = split " ", (<$stat> =~ /.*\)(.*)/)[0];
            # Fields 26 and so on of proc_pid_stat(5), of which the first one here is 3.
            my @map = map {{ $stat[$_ - 3] }} 26, 27, 45, 46, 47, 47, 28, 48, 49;
            my $map = pack "Q11 Q L l", @map, $area, $area + $size - 4096, 0, 0, -1;
            # PR_SET_MM, PR_SET_MM_MAP
            syscall($prctl, 35, 14, $map, length $map, 0) == 0 or die "$!";
            print "stranger $$\n";
            sleep 1000' &
        wait
        "#
    );
    let scene = Scene::play(&script, &id, 3);
    let before = peak_memory_kb();
    let killed = kill(&id);
    let grown = peak_memory_kb() - before;
    assert!(grown < 64 * 1024, "{grown} KiB more");
    scene.end(killed, 2);
}

/// The most memory that this process has ever used, in KiB.
fn peak_memory_kb() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}
