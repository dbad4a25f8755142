//! What the tests of this crate share.

#![allow(dead_code, reason = "each test binary uses a part of it")]

pub(crate) mod follower;

use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::{Duration, Instant};

use command_executor::host::Adoption;
use command_executor::patience::pass;
use command_executor::run::Ran;
use command_executor::supervised::{AdoptError, Adopted, LaunchError, LaunchSpec};
use command_executor::{
    Command, Generation, Host, HostError, Local, Managed, ProcessEvent, Running, run_until,
};

/// Far longer than anything here takes, but still a limit.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

/// The real shim, built as an example of this crate.
pub(crate) fn shim() -> PathBuf {
    let me = std::env::current_exe().unwrap();
    let shim = me
        .parent()
        .unwrap()
        .parent()
        .unwrap()
        .join("examples/executor_shim");
    assert!(
        shim.exists(),
        "{} is missing: cargo build --examples",
        shim.display()
    );
    shim
}

/// This machine, with a home of no daemon.
pub(crate) fn host() -> Local {
    Local::new(shim(), Path::new("/no/home"))
}

/// A run under its supervisor.
pub(crate) type Service = Arc<dyn Generation>;

/// The answer of a host that is reached.
pub(crate) fn answered<T, E: std::error::Error>(answer: Result<T, HostError<E>>) -> Result<T, E> {
    answer.map_err(|error| match error {
        HostError::Failed(error) => error,
        HostError::NotReached(error) => panic!("{error}"),
    })
}

/// Launches a run at a host.
pub(crate) async fn start(
    host: &dyn Host,
    run_dir: impl Into<PathBuf>,
    spec: &LaunchSpec,
) -> Result<Service, LaunchError> {
    answered(host.launch(run_dir.into(), spec.clone()).await)
}

/// Finds a run by its directory alone.
pub(crate) async fn adopt(run_dir: impl Into<PathBuf>) -> Result<Adopted, AdoptError> {
    answered(host().adopt(Adoption::of(run_dir)).await)
}

/// Whether the supervisor of a run lives.
pub(crate) fn is_alive(service: &Service) -> bool {
    service.trace().identity.shim.is_alive()
}

pub(crate) fn sh(script: &str) -> Command {
    Command::new("sh").args(["-c", script])
}

/// A spec that runs a script, with a run id of its own.
pub(crate) fn sh_spec(dir: &Path, script: &str) -> LaunchSpec {
    let run_id = format!("test-{}-{}", std::process::id(), dir.display());
    let mut spec = LaunchSpec::new("/bin/sh", "/", run_id);
    spec.args = vec!["-c".into(), script.into()];
    spec.env = vec![("PATH".into(), "/usr/bin:/bin".into())];
    spec
}

/// Runs a future to its end, or fails the test if that takes too long.
pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    smol::block_on(within(future))
}

/// The same inside a future.
pub(crate) async fn within<T>(future: impl Future<Output = T>) -> T {
    smol::future::or(future, async {
        smol::Timer::after(DEADLINE).await;
        panic!("not done within {DEADLINE:?}")
    })
    .await
}

/// Polls until a condition holds.
pub(crate) fn eventually(what: &str, holds: impl Fn() -> bool) {
    let end = Instant::now() + DEADLINE;
    while !holds() {
        assert!(Instant::now() < end, "not within {DEADLINE:?}: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Whether a process runs. A zombie does not.
pub(crate) fn runs(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(')')
        .and_then(|(_, rest)| rest.trim_start().chars().next())
        .is_some_and(|state| !matches!(state, 'Z' | 'X'))
}

/// Reads a pid that a script writes to a file, once it is there completely.
pub(crate) fn pid_in(path: &Path) -> u32 {
    let read = || {
        let text = std::fs::read_to_string(path).ok()?;
        text.strip_suffix('\n')?.parse().ok()
    };
    eventually(&format!("a pid in {}", path.display()), || read().is_some());
    read().unwrap()
}

/// Everything that a process writes, and how it ends.
pub(crate) async fn collect(running: &mut dyn Managed) -> (Vec<u8>, Vec<u8>, std::process::ExitStatus) {
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    loop {
        match running.next_event().await.unwrap() {
            Some(ProcessEvent::Stdout(bytes)) => stdout.extend(bytes),
            Some(ProcessEvent::Stderr(bytes)) => stderr.extend(bytes),
            Some(ProcessEvent::Exited(status)) => return (stdout, stderr, status),
            None => panic!("no exit was told"),
        }
    }
}

/// How a command ended, and the end of its output.
#[derive(Debug)]
pub(crate) struct Output {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// Runs a command without a supervisor until it ends or the time is over.
pub(crate) async fn run_for(command: Command, limit: Duration) -> Ran {
    let running: Box<dyn Managed> = Box::new(Running::spawn(command).unwrap());
    run_until(running, pass(limit)).await.unwrap()
}

/// Runs a command without a supervisor to its end.
pub(crate) async fn run(command: Command) -> Output {
    output(run_for(command, DEADLINE).await)
}

/// Runs a command at a host to its end.
pub(crate) async fn run_at(host: &dyn Host, command: Command) -> Output {
    output(
        run_until(host.exec(command).await.unwrap(), pass(DEADLINE))
            .await
            .unwrap(),
    )
}

fn output(ran: Ran) -> Output {
    Output {
        status: ran.status.expect("it ends in time"),
        stdout: ran.stdout.text().into_owned(),
        stderr: ran.stderr.text().into_owned(),
    }
}
