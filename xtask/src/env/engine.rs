//! The engine of the tests: finds it, starts it and ends it.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, test_kill_process};

use super::before::Before;
use super::docker::Docker;
use super::error::EnvError;
use super::firewall::Firewall;
use super::places::Places;
use super::{packages, storage, sweep};
use crate::error::TaskError;
use crate::program::Program;

/// How long an engine may take to answer. If it was killed and had many containers, it looks at each of them.
const START: Duration = Duration::from_secs(90);

/// How long it may take to end when nothing runs on it any more.
const END: Duration = Duration::from_secs(30);

/// The address of Docker's own service.
const USUAL: &str = "unix:///var/run/docker.sock";

/// An engine that answers.
pub(crate) struct Engine {
    /// The connection to it.
    pub(crate) docker: Docker,
    /// Whether this task started it, now or earlier.
    pub(crate) ours: bool,
    /// Its version.
    pub(crate) version: String,
}

/// The engine that tests would use: the one that `DOCKER_HOST` names, or the one that was started for them, or the
/// machine's own.
pub(crate) fn find(places: &Places) -> Option<Engine> {
    let named = std::env::var("DOCKER_HOST").ok().filter(|host| !host.is_empty());
    let own = places.host();
    let candidates = [named, Some(own.clone()), Some(USUAL.to_owned())];
    candidates
        .into_iter()
        .flatten()
        .find_map(|host| answering(&host, host == own))
}

fn answering(host: &str, ours: bool) -> Option<Engine> {
    // If there is no socket, asking would only take time.
    if host
        .strip_prefix("unix://")
        .is_some_and(|path| !Path::new(path).exists())
    {
        return None;
    }
    let docker = Docker::at(host);
    let version = docker.version()?;
    Some(Engine {
        docker,
        ours,
        version,
    })
}

/// Starts an engine for the tests, unless installing it has already started the machine's own.
///
/// # Errors
/// When it cannot run here, or does not start.
pub(crate) fn start(places: &Places) -> Result<Engine, EnvError> {
    packages::engine()?;
    // On some machines an installed service starts at once; then one runs now.
    if let Some(engine) = find(places) {
        return Ok(engine);
    }
    places.make_run()?;
    let firewall = Firewall::probe();
    Before::record(places, firewall)?;
    let driver = storage::probe(places)?;
    if alive(places).is_none() {
        sweep::after_a_kill(places)?;
    }
    // The machine's own settings must not apply to this engine.
    let settings = places.run("daemon.json");
    fs::write(&settings, "{}").map_err(TaskError::file("write", &settings))?;
    eprintln!("starting dockerd at {} (storage: {driver})", places.host());
    dockerd(places, firewall, driver, &settings)?.logged(&places.run("dockerd.log"))?;
    wait_until_it_answers(places)
}

/// The command line of the engine.
fn dockerd(places: &Places, firewall: Firewall, driver: &str, settings: &Path) -> Result<Program, EnvError> {
    let flag = |name: &str, path: &Path| format!("--{name}={}", path.display());
    // It outlives whoever starts it, so it must not look like a part of them.
    let mut command = Program::new("setsid")
        .only_path()
        .args(["--fork", "dockerd"])
        .args([
            flag("config-file", settings),
            format!("--host={}", places.host()),
            flag("pidfile", &places.run("docker.pid")),
            flag("exec-root", &places.run("exec")),
            flag("data-root", &places.cached("engine")),
            format!("--storage-driver={driver}"),
            // The engine finds its containers again by this, even if it was killed. systemd may not be there to make
            // groups.
            "--exec-opt=native.cgroupdriver=cgroupfs".to_owned(),
            flag("cgroup-parent", &places.cgroup()),
            // If the machine's containerd is used, this separates us from everything else it runs.
            "--containerd-namespace=harness-test".to_owned(),
            "--containerd-plugins-namespace=harness-test-plugins".to_owned(),
        ]);
    match firewall {
        Firewall::Default => {}
        Firewall::Legacy => command = command.env("PATH", path_with_legacy(places)?),
        Firewall::None => command = command.args(["--iptables=false", "--ip-masq=false"]),
    }
    Ok(command.directory("/"))
}

/// The PATH with an additional first folder, in which `iptables` is the one that works.
fn path_with_legacy(places: &Places) -> Result<std::ffi::OsString, EnvError> {
    let folder = places.run("bin");
    fs::create_dir_all(&folder).map_err(TaskError::file("create", &folder))?;
    for name in ["iptables", "ip6tables"] {
        let link = folder.join(name);
        let _ = fs::remove_file(&link);
        symlink(format!("/usr/sbin/{name}-legacy"), &link).map_err(TaskError::file("create", link))?;
    }
    let mut path = folder.into_os_string();
    path.push(":");
    path.push(std::env::var_os("PATH").unwrap_or_default());
    Ok(path)
}

fn wait_until_it_answers(places: &Places) -> Result<Engine, EnvError> {
    let log = places.run("dockerd.log");
    let begun = Instant::now();
    // Before the pid file exists, it is unknown whether the engine lives.
    let mut pid = None;
    while begun.elapsed() < START {
        if let Some(engine) = answering(&places.host(), true) {
            return Ok(engine);
        }
        let now = alive(places);
        if now.is_none() && (pid.is_some() || begun.elapsed() > END) {
            let last = sweep::last_lines(&log);
            return Err(EnvError::EngineEnded { log, last });
        }
        pid = now;
        std::thread::sleep(Duration::from_millis(50));
    }
    Err(slow(places, pid, "answer", START))
}

/// The engine that was started for the tests, if it lives.
pub(crate) fn alive(places: &Places) -> Option<Pid> {
    let pid = fs::read_to_string(places.run("docker.pid")).ok()?;
    let pid = Pid::from_raw(pid.trim().parse().ok()?)?;
    let words = fs::read(format!("/proc/{}/cmdline", pid.as_raw_nonzero())).ok()?;
    let own = places.host();
    let is_ours = String::from_utf8_lossy(&words).contains(&own);
    (is_ours && test_kill_process(pid).is_ok()).then_some(pid)
}

/// Ends the engine that was started for the tests, with everything on it, and restores the machine.
///
/// # Errors
/// When it does not end.
pub(crate) fn end(places: &Places) -> Result<(), EnvError> {
    // If it was killed, it is started again, because it knows which networks and mounts belong to it. But then it
    // would give each container time to end, as if somebody had asked it to stop. So kill the containers first.
    if alive(places).is_none() {
        sweep::kill_contained(places);
    }
    let engine = match answering(&places.host(), true) {
        Some(engine) => Ok(engine),
        None if alive(places).is_some() => wait_until_it_answers(places),
        None => start(places),
    };
    match engine {
        Ok(engine) => {
            if let Err(error) = engine.docker.clear(true) {
                eprintln!("{error}; restarting the engine, so that it counts again what is on its networks");
                if let Some(pid) = alive(places) {
                    terminate(places, pid)?;
                }
                start(places)?.docker.clear(true)?;
            }
        }
        Err(error) => eprintln!("the engine cannot be used, ending it without it: {error}"),
    }
    if let Some(pid) = alive(places) {
        terminate(places, pid)?;
    }
    sweep::everything(places)?;
    // If another engine has come up meanwhile, it needs the chains and the bridge, which have the same names.
    if let Some(before) = Before::of(places).filter(|_| answering(USUAL, false).is_none()) {
        before.put_back(Firewall::probe());
    }
    fs::remove_dir_all(&places.run).map_err(TaskError::file("remove", &places.run))?;
    Ok(())
}

fn terminate(places: &Places, pid: Pid) -> Result<(), EnvError> {
    for (signal, patience) in [(Signal::TERM, END), (Signal::KILL, Duration::from_secs(5))] {
        // It may be gone by now, which is fine.
        let _ = kill_process(pid, signal);
        let deadline = Instant::now() + patience;
        while Instant::now() < deadline {
            if alive(places).is_none() {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
    Err(slow(places, Some(pid), "end", END))
}

fn slow(places: &Places, pid: Option<Pid>, what: &'static str, patience: Duration) -> EnvError {
    EnvError::EngineSlow {
        pid: pid.map_or(0, |pid| pid.as_raw_nonzero().get()),
        what,
        seconds: patience.as_secs(),
        log: places.run("dockerd.log"),
    }
}
