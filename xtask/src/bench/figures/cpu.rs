//! The CPU time of the daemon and the shims while only health checks happen, compared with a loop that makes the same
//! connections.

use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::marker;
use crate::bench::home::Home;
use crate::bench::stats::{Samples, Unit};
use crate::bench::table::{Row, Target};
use crate::bench::{Bench, clock, processes};
use crate::error::TaskError;

const SERVICES: u32 = 100;

/// The seconds between two checks of a service.
const INTERVAL: u32 = 5;

/// How long to measure. It must be long, because the kernel counts in hundredths of a second.
const WINDOW: Duration = Duration::from_secs(40);

/// The time from the end of the start until everything is quiet.
const SETTLE: Duration = Duration::from_secs(6);

/// Measures 100 services with a check every five seconds.
pub(crate) fn measure(bench: &Bench) -> Result<Vec<Row>, TaskError> {
    let listeners = Listeners::open(SERVICES)?;
    let home = Home::with_daemon(bench, "cpu", &services(&listeners.ports))?;
    home.run(&["start"])?;
    std::thread::sleep(SETTLE);
    let accepted = listeners.accepted();
    let begun = Instant::now();
    let before = used(bench, &home);
    std::thread::sleep(WINDOW);
    let spent = used(bench, &home) - before;
    let passed = begun.elapsed().as_secs_f64();
    let probes = listeners.accepted() - accepted;
    let due = f64::from(SERVICES) * passed / f64::from(INTERVAL);
    if (probes as f64) < due * 0.8 {
        return Err(TaskError::Bench(format!(
            "{probes} probes in {passed:.0} s, where {due:.0} were due"
        )));
    }
    let bare = connect(&listeners.ports, probes)?;
    Ok(vec![Row {
        figure: "idle CPU with 100 services, a tcp check each 5 s".to_owned(),
        unit: Unit::Core,
        measured: Samples::one(spent / passed),
        baseline: Some(Samples::one(bare / passed)),
        target: Target::AtMost(0.01),
    }])
}

fn services(ports: &[u16]) -> String {
    let marker = marker();
    let service = |port: &u16| {
        format!(
            "  s{port}: {{type: process, binary: sleep, args: [\"{marker}\"], \
             health_check: {{tcp: {port}, interval: {INTERVAL}}}}}\n"
        )
    };
    ports.iter().map(service).collect()
}

/// The CPU time so far, in seconds.
fn used(bench: &Bench, home: &Home) -> f64 {
    let pids = processes::of_home(&home.path(), &bench.programs);
    pids.into_iter().map(processes::cpu).sum()
}

/// Connects this many times. Returns the CPU time that it took, in seconds.
fn connect(ports: &[u16], times: u64) -> Result<f64, TaskError> {
    let before = clock::thread_cpu();
    for (port, _) in ports.iter().cycle().zip(0..times) {
        TcpStream::connect(("127.0.0.1", *port)).map_err(TaskError::file("connect to", "a service"))?;
    }
    Ok(clock::seconds(before, clock::thread_cpu()))
}

/// A thread that listens in place of the services.
struct Listeners {
    ports: Vec<u16>,
    accepted: Arc<AtomicU64>,
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Listeners {
    fn open(count: u32) -> Result<Self, TaskError> {
        let bind = || {
            let listener = TcpListener::bind("127.0.0.1:0")?;
            listener.set_nonblocking(true)?;
            let port = listener.local_addr()?.port();
            Ok((listener, port))
        };
        let both: std::io::Result<Vec<_>> = (0..count).map(|_| bind()).collect();
        let (listeners, ports) = both
            .map_err(TaskError::file("listen at", "a port"))?
            .into_iter()
            .unzip();
        let accepted = Arc::new(AtomicU64::new(0));
        let over = Arc::new(AtomicBool::new(false));
        let (counter, end) = (Arc::clone(&accepted), Arc::clone(&over));
        let thread = std::thread::spawn(move || accept(listeners, &counter, &end));
        Ok(Self {
            ports,
            accepted,
            over,
            thread: Some(thread),
        })
    }

    fn accepted(&self) -> u64 {
        self.accepted.load(Ordering::Relaxed)
    }
}

fn accept(listeners: Vec<TcpListener>, accepted: &AtomicU64, over: &AtomicBool) {
    let mut set: Vec<PollFd<'_>> = listeners
        .iter()
        .map(|one| PollFd::new(one, PollFlags::IN))
        .collect();
    let second = Timespec {
        tv_sec: 1,
        tv_nsec: 0,
    };
    while !over.load(Ordering::Relaxed) {
        if poll(&mut set, Some(&second)).is_err() {
            continue;
        }
        for (fd, listener) in set.iter().zip(&listeners) {
            if fd.revents().contains(PollFlags::IN) && listener.accept().is_ok() {
                accepted.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

impl Drop for Listeners {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // It does not panic.
            let _ = thread.join();
        }
    }
}
