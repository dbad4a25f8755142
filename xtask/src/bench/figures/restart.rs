//! From kill -9 of a service until its successor runs, compared with the simplest supervisor: a loop that waits for a
//! child and spawns it again. The successor itself reports when it begins. Each service is killed only once, because
//! the first restart is immediate and later ones are not.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use super::PATIENCE;
use crate::bench::announcements::Announcements;
use crate::bench::bare::Bare;
use crate::bench::home::Home;
use crate::bench::stats::Unit;
use crate::bench::table::{Row, Target};
use crate::bench::{Bench, alternate, clock, program};
use crate::error::TaskError;

const SERVICES: u32 = 100;

/// The pause between two kills, so that each finds a machine that has finished with the previous one.
const PAUSE: Duration = Duration::from_millis(20);

/// Measures 100 services, with one kill each.
pub(crate) fn measure(bench: &Bench) -> Result<Vec<Row>, TaskError> {
    let home = Home::new(bench, "restart")?;
    let heard = Announcements::open(home.root(), "harness.sock")?;
    home.write_services(&services(&bench.own, heard.path()))?;
    home.run(&["start"])?;
    let mut pids = BTreeMap::new();
    for _ in 0..SERVICES {
        let service = heard.next(PATIENCE)?;
        pids.insert(service.name, service.pid);
    }
    let bare = Announcements::open(home.root(), "bare.sock")?;
    let (baseline, measured) = alternate(
        SERVICES,
        || respawn(bench, &bare),
        || {
            let (name, pid) = pids
                .pop_first()
                .ok_or_else(|| TaskError::Bench("two services have the same name".to_owned()))?;
            std::thread::sleep(PAUSE);
            let killed = kill(pid)?;
            let successor = heard.next_of(&name, PATIENCE)?;
            Ok(clock::seconds(killed, successor.begun))
        },
    )?;
    Ok(vec![Row {
        figure: "kill -9 of a service until its successor runs".to_owned(),
        unit: Unit::Seconds,
        measured,
        baseline: Some(baseline),
        target: Target::AtMost(0.008),
    }])
}

fn services(own: &Path, socket: &Path) -> String {
    let service = |number| {
        format!(
            "  s{number}: {{type: process, binary: {own:?}, restart: always, \
             args: [{}, announce, {socket:?}, s{number}]}}\n",
            program::WORD
        )
    };
    (1..=SERVICES).map(service).collect()
}

fn respawn(bench: &Bench, heard: &Announcements) -> Result<f64, TaskError> {
    let socket = heard.path().display().to_string();
    let spawn = || {
        let arguments = vec![program::WORD, "announce", &socket, "bare"];
        Bare::spawn(&bench.own, [arguments], &bench.temporary)
    };
    let mut first = spawn()?;
    let service = heard.next(PATIENCE)?;
    std::thread::sleep(PAUSE);
    let killed = kill(service.pid)?;
    first.wait_first();
    let _second = spawn()?;
    let successor = heard.next(PATIENCE)?;
    Ok(clock::seconds(killed, successor.begun))
}

/// Kills a process. Returns when.
fn kill(pid: i32) -> Result<u64, TaskError> {
    let now = clock::now();
    let pid = Pid::from_raw(pid).ok_or_else(|| TaskError::Bench(format!("{pid} is not a pid")))?;
    kill_process(pid, Signal::KILL)
        .map_err(|source| TaskError::Bench(format!("cannot kill a service: {source}")))?;
    Ok(now)
}
