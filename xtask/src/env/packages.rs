//! The programs that the engine and its images need, from Debian's packages.

use std::path::Path;

use super::error::EnvError;
use crate::program::in_path;
use crate::requirements;

/// A program, and the package that contains it.
type Needed = (&'static str, &'static str);

const ENGINE: [Needed; 7] = [
    ("dockerd", "docker.io"),
    ("docker", "docker.io"),
    ("iptables", "iptables"),
    ("ip", "iproute2"),
    ("mount", "mount"),
    ("setsid", "util-linux"),
    ("timeout", "coreutils"),
];

const IMAGES: [Needed; 1] = [("mmdebstrap", "mmdebstrap")];

/// Installs what is needed to start an engine.
pub(crate) fn engine() -> Result<(), EnvError> {
    provide("starting a Docker engine", &ENGINE)
}

/// Installs what is needed to make the base image.
pub(crate) fn images() -> Result<(), EnvError> {
    provide("making the base image", &IMAGES)
}

fn provide(purpose: &'static str, needed: &[Needed]) -> Result<(), EnvError> {
    if !rustix::process::geteuid().is_root() {
        return Err(EnvError::NeedsRoot { purpose });
    }
    let missing: Vec<&Needed> = needed.iter().filter(|(program, _)| !in_path(program)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let mut packages: Vec<&str> = missing.iter().map(|(_, package)| *package).collect();
    packages.dedup();
    if !Path::new("/etc/debian_version").exists() {
        let programs: Vec<&str> = missing.iter().map(|(program, _)| *program).collect();
        return Err(EnvError::NeedsDebian {
            programs: programs.join(", "),
            packages: packages.join(", "),
        });
    }
    Ok(requirements::install(&packages)?)
}
