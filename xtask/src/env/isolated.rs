//! Runs the tests in a machine of their own: a container with an engine inside. So neither the tests nor their
//! containers, networks and packet filter rules touch the machine or its engine.
//!
//! ```text
//! engine of the machine (or one of ours)
//!   container: own network, processes, mounts and groups, and everything that an engine needs inside
//!     workspace and toolchain mounted; builds and caches on a volume
//!     cargo xtask test -> an engine inside -> the tests
//! ```

use std::ffi::OsString;
use std::io::IsTerminal;
use std::path::PathBuf;

use super::docker::{Docker, LABEL};
use super::lock::{Changing, Using};
use super::places::Places;
use super::{engine, images};
use crate::error::TaskError;
use crate::program::Program;
use crate::root;

/// The volume for builds and caches, which is kept for the next run. `env down` on the same engine removes it.
const VOLUME: &str = "harness-test-isolated";

/// Where the volume is mounted.
const KEPT: &str = "/kept";

/// The capabilities that an engine and the tests inside need. `--privileged` is not used: it asks for everything that
/// the kernel knows, and fails on a machine that itself lacks something.
const CAPABILITIES: [&str; 8] = [
    "SYS_ADMIN",
    "NET_ADMIN",
    "SYS_PTRACE",
    "SYS_NICE",
    "MKNOD",
    "DAC_READ_SEARCH",
    "SYSLOG",
    "IPC_LOCK",
];

/// Gives the engine inside access to everything: its system calls, /proc/sys, devices.
const UNCONFINED: [&str; 4] = [
    "--security-opt=systempaths=unconfined",
    "--security-opt=seccomp=unconfined",
    "--security-opt=apparmor=unconfined",
    "--device-cgroup-rule=a *:* rwm",
];

/// Runs `cargo xtask test` inside, with these arguments.
///
/// # Errors
/// When the container cannot be made, or the tests fail.
pub(crate) fn test(args: &[String]) -> Result<(), TaskError> {
    let places = Places::here();
    let changing = Changing::begin(&places)?;
    let was_there = engine::find(&places).is_some();
    let engine = match engine::find(&places) {
        Some(engine) => engine,
        None => engine::start(&places)?,
    };
    let image = images::isolated(&engine.docker, &places)?;
    let using = Using::begin(&places, &changing)?;
    drop(changing);
    let ran = run(&engine.docker, image, args);
    let changing = Changing::begin(&places)?;
    using.end();
    if engine.ours && !was_there {
        engine::end(&places)?;
    }
    drop(changing);
    ran
}

fn run(docker: &Docker, image: &str, args: &[String]) -> Result<(), TaskError> {
    let label = format!("{LABEL}=isolated");
    docker
        .program(&["volume", "create", "--label", &label, VOLUME])
        .run_quietly()?;
    let mut command = docker.program(&["run", "--rm", "--init", "--cgroupns=private", "--label", &label]);
    command = command.args(UNCONFINED);
    command = command.args(CAPABILITIES.map(|name| format!("--cap-add={name}")));
    if std::io::stdin().is_terminal() && std::io::stdout().is_terminal() {
        // With this, Ctrl-C reaches the tests.
        command = command.args(["--interactive", "--tty"]);
    }
    let sysroot = PathBuf::from(
        Program::new("rustc")
            .args(["--print", "sysroot"])
            .output()?
            .trim(),
    );
    let workspace = root().to_path_buf();
    let mut path = OsString::from(sysroot.join("bin"));
    path.push(":/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
    let mut mounts = vec![
        mount(&workspace, &workspace, ""),
        mount(&sysroot, &sysroot, ":ro"),
        mount(&PathBuf::from(VOLUME), &PathBuf::from(KEPT), ""),
    ];
    // Crates that are already here need not be fetched.
    let registry = cargo_home().map(|home| home.join("registry"));
    if let Some(registry) = registry.filter(|registry| registry.is_dir()) {
        mounts.push(mount(&registry, &PathBuf::from(KEPT).join("cargo/registry"), ""));
    }
    let variables = [
        ("PATH", path),
        ("HOME", "/root".into()),
        ("CARGO_HOME", format!("{KEPT}/cargo").into()),
        ("CARGO_TARGET_DIR", format!("{KEPT}/target").into()),
        ("XDG_CACHE_HOME", format!("{KEPT}/cache").into()),
    ];
    for mount in mounts {
        command = command.args(["--volume".into(), mount]);
    }
    for (name, value) in variables {
        let mut word = OsString::from(format!("{name}="));
        word.push(value);
        command = command.args(["--env".into(), word]);
    }
    command = command.args(["--workdir".into(), OsString::from(workspace)]);
    command = command.args([image, "cargo", "xtask", "test"]);
    if !args.is_empty() {
        command = command.args(["--"]).args(args);
    }
    command.run()
}

fn mount(from: &std::path::Path, to: &std::path::Path, mode: &str) -> OsString {
    let mut word = OsString::from(from);
    word.push(":");
    word.push(to);
    word.push(mode);
    word
}

fn cargo_home() -> Option<PathBuf> {
    let named = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    named.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cargo")))
}
