//! Services are started, stopped and replaced, and crash, and the daemon is killed, at any instant while hooks run.
//! Hooks and services record what they see of each other.

use std::fmt::Write as _;
use std::time::Duration;

use crate::chaos::dice::Dice;
use crate::common::{Sandbox, eventually, proc};

/// `around.sh SERVICE WHAT SECONDS WAY`. The beginning of a generation, and what follows it, look for everything that
/// was noted before: it must be gone.
const AROUND: &str = r#"
name=$1 what=$2
case $what in before_start | after_stop)
  for pid in $(cat w/$name.pids 2> /dev/null); do
    if read -r line 2> /dev/null < /proc/$pid/stat; then
      case $line in
        *") Z "* | *") X "*) ;;
        *) echo "$what beside $(tr '\0' ' ' < /proc/$pid/cmdline)" >> w/$name.story;;
      esac
    fi
  done;;
esac
echo $$ >> w/$name.pids
echo "$what begin" >> w/$name.story
note="echo \$\$ >> w/$name.pids; exec /bin/sleep 7807"
case $4 in
  background) sh -c "$note" & ;;
  setsid) setsid sh -c "$note" & ;;
  fork) (setsid sh -c "(sh -c '$note' &)" &) ;;
  bare) env -i setsid /bin/sh -c "$note" & ;;
esac
sleep $3
echo "$what end" >> w/$name.story
if test $what = up; then
  while test ! -e w/$name.crash; do sleep 0.05; done
  rm -f w/$name.crash
  exit 3
fi
"#;

const SERVICES: [&str; 3] = ["always", "behind", "once"];
const WAYS: [&str; 6] = ["none", "none", "background", "setsid", "fork", "bare"];

/// Writes a file with hooks of other lengths that leave other processes.
fn write_edition(sandbox: &Sandbox, dice: &mut Dice) {
    let mut file = "name: chaos\nservices:\n".to_owned();
    for name in SERVICES {
        let mut hooks = Vec::new();
        for hook in ["before_start", "after_healthy", "before_stop", "after_stop"] {
            // This hook is always there, so that each end is recorded.
            if hook != "after_stop" && dice.one_in(3) {
                continue;
            }
            let seconds = dice.pick(&["0", "0", "0.1", "0.4", "1", "7807"]);
            let way = dice.pick(&WAYS);
            let timeout = dice.pick(&["300ms", "900ms"]);
            // A hook that is cut off does not reach its end, and the ends are counted below.
            let timeout = if hook == "after_stop" && seconds != "7807" {
                "60"
            } else {
                timeout
            };
            let seconds = if hook == "after_stop" && seconds == "7807" {
                "0.2"
            } else {
                seconds
            };
            hooks.push(format!(
                "{hook}: {{command: sh around.sh {name} {hook} {seconds} {way}, timeout: {timeout}}}"
            ));
        }
        let keys = match name {
            "always" => "restart: always",
            "behind" => "restart: on-failure, dependencies: [always]",
            _ => "restart: \"no\"",
        };
        let way = dice.pick(&WAYS);
        writeln!(
            file,
            "  {name}: {{type: process, binary: sh, args: [around.sh, {name}, up, \"0\", {way}], \
             shutdown_timeout: 0.3, {keys}, hooks: {{{}}}}}",
            hooks.join(", ")
        )
        .unwrap();
    }
    sandbox.write("services.yaml", &file);
}

/// Each start was followed by its `after_stop` before the next start, and nothing ran beside something it must not
/// run beside.
fn check_story(sandbox: &Sandbox, name: &str) {
    let story = sandbox.read(&format!("w/{name}.story"));
    let mut owed = false;
    for line in story.lines() {
        match line {
            "up begin" => {
                assert!(!owed, "{name} is up again before after_stop has run:\n{story}");
                owed = true;
            }
            "after_stop end" => owed = false,
            line => assert!(!line.contains(" beside "), "{name}: {line}\n{story}"),
        }
    }
    assert!(!owed, "{name} was stopped without its after_stop:\n{story}");
}

#[test]
fn hooks_end_with_their_generation_and_after_stop_follows_it() {
    let mut dice = Dice::new("chaos_hooks");
    let sandbox = Sandbox::new("chaos_hooks");
    sandbox.write("around.sh", AROUND);
    std::fs::create_dir(sandbox.project().join("w")).unwrap();
    write_edition(&sandbox, &mut dice);
    for round in 0..dice.rounds(4, 1) {
        for _ in 0..4 {
            if dice.one_in(4) {
                write_edition(&sandbox, &mut dice);
            }
            let service = dice.pick(&SERVICES);
            let (restart, stop) = (["restart", service], ["stop", service]);
            let args = dice.pick(&[
                &["start", "-d"][..],
                &["start", "-d"],
                &["start"],
                &["restart"],
                &restart,
                &stop,
                &["stop", "--all"],
            ]);
            dice.note(format!("{round}: {args:?}"));
            let running = sandbox.spawn(args);
            dice.wait(Duration::from_millis(1500));
            if dice.one_in(3) {
                let crashing = dice.pick(&SERVICES);
                dice.note(format!("{round}: {crashing} crashes"));
                sandbox.write(&format!("w/{crashing}.crash"), "");
                dice.wait(Duration::from_millis(500));
            }
            if dice.one_in(2)
                && let Some(daemon) = sandbox.daemon_pid()
            {
                dice.note(format!("{round}: the daemon is killed"));
                proc::kill(daemon);
                eventually("the daemon is dead", || (!proc::is_alive(daemon)).then_some(()));
            }
            drop(running);
        }
        dice.note(format!("{round}: all is stopped"));
        sandbox.ok(&["stop", "--all"]);
        let left = sandbox.processes();
        assert!(left.is_empty(), "{left:?}");
        SERVICES.iter().for_each(|name| check_story(&sandbox, name));
        for name in SERVICES {
            // Perhaps no process is left to remove it.
            let _ = std::fs::remove_file(sandbox.project().join(format!("w/{name}.crash")));
        }
    }
}
