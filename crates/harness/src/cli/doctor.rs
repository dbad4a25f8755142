//! Checks whether this machine has what harness needs.
//!
//! Each check is a function that turns what was found into a verdict with a remedy, so that tests can call
//! it. Only [`examine`] and the module `machine` look at the machine.

mod machine;

use std::path::{Path, PathBuf};
use std::time::Duration;

use harness_model::WallTime;
use serde::Serialize;

use super::backend::{DEFAULT_PORT, DaemonInfo, Home, VERSION};
use super::render::age;

/// How a check ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Verdict {
    /// All is well.
    Ok,
    /// It works, but less well than it could.
    Warn,
    /// It does not work.
    Fail,
}

/// One check and its result.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Check {
    /// What was checked.
    pub(crate) name: &'static str,
    /// The result.
    pub(crate) verdict: Verdict,
    /// What was found.
    pub(crate) finding: String,
    /// What to do about it.
    pub(crate) remedy: Option<String>,
}

/// The daemon, as far as it could be reached.
#[derive(Debug)]
pub(crate) enum DaemonSeen {
    /// None runs.
    None,
    /// One answers.
    Running(DaemonInfo),
    /// One runs, but we cannot connect to it.
    Unreachable(String),
}

/// Runs all checks.
pub(crate) fn examine(home: &Home, daemon: &DaemonSeen, port: Option<u16>) -> Vec<Check> {
    let port = port.unwrap_or(DEFAULT_PORT);
    vec![
        versions(daemon),
        folder(home.path(), &machine::folder(home.path())),
        store(&home.damaged_stores()),
        certificates(home.tls().as_path(), &machine::keys(&home.tls()), WallTime::now()),
        port_check(port, daemon, &machine::port(port)),
        limits(machine::open_files()),
        cgroups(&machine::cgroup()),
        linger(machine::linger()),
    ]
}

fn check(name: &'static str, verdict: Verdict, finding: impl Into<String>, remedy: Option<String>) -> Check {
    Check {
        name,
        verdict,
        finding: finding.into(),
        remedy,
    }
}

fn versions(daemon: &DaemonSeen) -> Check {
    let name = "versions";
    match daemon {
        DaemonSeen::None => check(
            name,
            Verdict::Ok,
            format!("harness {VERSION}; no daemon runs"),
            None,
        ),
        DaemonSeen::Running(info) if info.version == VERSION => {
            let finding = format!(
                "harness {VERSION}, daemon the same (pid {}, port {})",
                info.pid, info.port
            );
            check(name, Verdict::Ok, finding, None)
        }
        DaemonSeen::Running(info) => check(
            name,
            Verdict::Warn,
            format!("harness {VERSION}, but the daemon is {}", info.version),
            Some("harness daemon restart (services keep running)".to_owned()),
        ),
        DaemonSeen::Unreachable(why) => check(
            name,
            Verdict::Fail,
            why.clone(),
            Some("harness daemon logs · harness daemon restart".to_owned()),
        ),
    }
}

/// The state of a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Folder {
    Missing { makeable: bool },
    There { mine: bool, mode: u32, writable: bool },
}

fn folder(path: &Path, found: &Folder) -> Check {
    let (name, shown) = ("home", path.display());
    let elsewhere = || Some("set HARNESS_HOME to a folder of your own".to_owned());
    match found {
        Folder::Missing { makeable: true } => check(
            name,
            Verdict::Ok,
            format!("{shown}: does not exist yet, the first start creates it"),
            None,
        ),
        Folder::Missing { makeable: false } => check(
            name,
            Verdict::Fail,
            format!("{shown} cannot be created"),
            elsewhere(),
        ),
        Folder::There { mine: false, .. } => check(
            name,
            Verdict::Fail,
            format!("{shown} belongs to another user"),
            elsewhere(),
        ),
        Folder::There { writable: false, .. } => check(
            name,
            Verdict::Fail,
            format!("{shown} cannot be written"),
            elsewhere(),
        ),
        Folder::There { mode, .. } if mode & 0o077 != 0 => check(
            name,
            Verdict::Warn,
            format!("{shown} is open to others (mode {mode:o})"),
            Some(format!("chmod 700 {shown}; the next daemon does this too")),
        ),
        Folder::There { .. } => check(name, Verdict::Ok, format!("{shown}, only you have access"), None),
    }
}

fn store(damaged: &[PathBuf]) -> Check {
    let name = "store";
    if damaged.is_empty() {
        return check(name, Verdict::Ok, "no damaged store was set aside", None);
    }
    let files: Vec<String> = damaged.iter().map(|path| path.display().to_string()).collect();
    check(
        name,
        Verdict::Warn,
        format!("damaged and set aside: {}", files.join(" ")),
        Some(
            "harness status -p PROJECT shows what was recovered from the run directories; start what \
                should run, check the disk, then remove the file"
                .to_owned(),
        ),
    )
}

/// The state of the keys and certificates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Keys {
    Missing,
    There {
        open_to_others: Vec<PathBuf>,
        expires: Result<WallTime, String>,
    },
}

/// When less than this is left, the daemon renews a certificate at its start.
const RENEWED_BELOW: Duration = Duration::from_secs(30 * 86_400);

fn certificates(tls: &Path, keys: &Keys, now: WallTime) -> Check {
    let name = "certificates";
    let again = || {
        Some(format!(
            "harness daemon stop; rm -r {}; harness daemon start makes new ones",
            tls.display()
        ))
    };
    match keys {
        Keys::Missing => check(name, Verdict::Ok, "none yet, the first start creates them", None),
        Keys::There { open_to_others, .. } if !open_to_others.is_empty() => {
            let files: Vec<String> = open_to_others
                .iter()
                .map(|path| path.display().to_string())
                .collect();
            let files = files.join(" ");
            let remedy = format!(
                "chmod 600 {files}; if others may have read them: {}",
                again().unwrap_or_default()
            );
            check(
                name,
                Verdict::Fail,
                format!("keys that others can read: {files}"),
                Some(remedy),
            )
        }
        Keys::There {
            expires: Err(why), ..
        } => check(name, Verdict::Fail, why.clone(), again()),
        Keys::There {
            expires: Ok(expires), ..
        } if *expires <= now => check(
            name,
            Verdict::Fail,
            format!("expired {} ago", age(now.since(*expires).as_secs())),
            Some("harness daemon restart renews them".to_owned()),
        ),
        Keys::There {
            expires: Ok(expires), ..
        } => {
            let left = expires.since(now);
            let finding = format!("valid for {}, only you can read the keys", age(left.as_secs()));
            if left < RENEWED_BELOW {
                check(
                    name,
                    Verdict::Warn,
                    finding,
                    Some("harness daemon restart renews them".to_owned()),
                )
            } else {
                check(name, Verdict::Ok, finding, None)
            }
        }
    }
}

/// The state of a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Port {
    Free,
    Held { by: Option<String> },
    Forbidden { why: String },
}

fn port_check(port: u16, daemon: &DaemonSeen, found: &Port) -> Check {
    let name = "port";
    let other = || Some("--port PORT or HARNESS_PORT selects another port".to_owned());
    match (daemon, found) {
        (DaemonSeen::Running(info), _) => check(
            name,
            Verdict::Ok,
            format!("{}, where the daemon listens", info.port),
            None,
        ),
        (_, Port::Free) => check(name, Verdict::Ok, format!("{port} is free"), None),
        (_, Port::Held { by: Some(by) }) => {
            check(name, Verdict::Fail, format!("{port} is held by {by}"), other())
        }
        (_, Port::Held { by: None }) => check(
            name,
            Verdict::Fail,
            format!("{port} is held by a process that cannot be seen from here"),
            other(),
        ),
        (_, Port::Forbidden { why }) => check(
            name,
            Verdict::Fail,
            format!("{port} cannot be used: {why}"),
            other(),
        ),
    }
}

/// Services and their logs soon use up fewer open files than this.
const ENOUGH_FILES: u64 = 4_096;

fn limits((soft, hard): (Option<u64>, Option<u64>)) -> Check {
    let name = "limits";
    let shown = |limit: Option<u64>| limit.map_or("unlimited".to_owned(), |limit| limit.to_string());
    let finding = format!("{} open files (at most {})", shown(soft), shown(hard));
    // The daemon raises its own soft limit to the hard one.
    match hard {
        Some(hard) if hard < ENOUGH_FILES => check(
            name,
            Verdict::Warn,
            finding,
            Some(
                "ulimit -n 65536 before the daemon starts; permanently: /etc/security/limits.conf, or \
                LimitNOFILE in its unit"
                    .to_owned(),
            ),
        ),
        _ => check(name, Verdict::Ok, finding, None),
    }
}

/// The state of this process's control group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Cgroup {
    NoV2,
    There { path: PathBuf, writable: bool },
}

fn cgroups(found: &Cgroup) -> Check {
    let name = "cgroups";
    let tree =
        "processes are followed from parent to child instead, which also finds those that try to escape";
    match found {
        Cgroup::NoV2 => check(
            name,
            Verdict::Warn,
            format!("no cgroup v2; {tree}"),
            Some("boot with systemd.unified_cgroup_hierarchy=1".to_owned()),
        ),
        Cgroup::There {
            path,
            writable: false,
        } => check(
            name,
            Verdict::Warn,
            format!("{} is not delegated to you; {tree}", path.display()),
            Some(
                "run the daemon with its systemd unit, which delegates one: harness daemon install"
                    .to_owned(),
            ),
        ),
        Cgroup::There { path, writable: true } => check(
            name,
            Verdict::Ok,
            format!("v2, {} is delegated to you", path.display()),
            None,
        ),
    }
}

/// What happens to processes at logout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Linger {
    NoSystemd,
    Root,
    On,
    Off,
}

fn linger(found: Linger) -> Check {
    let name = "linger";
    match found {
        Linger::NoSystemd => check(
            name,
            Verdict::Ok,
            "no systemd here: logging out ends nothing",
            None,
        ),
        Linger::Root => check(
            name,
            Verdict::Ok,
            "root's processes keep running after logout",
            None,
        ),
        Linger::On => check(name, Verdict::Ok, "on: services keep running after logout", None),
        Linger::Off => check(
            name,
            Verdict::Warn,
            "off: with KillUserProcesses=yes, logging out ends the daemon and its services",
            Some("loginctl enable-linger".to_owned()),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(version: &str) -> DaemonInfo {
        DaemonInfo {
            pid: 7,
            port: 9443,
            version: version.into(),
            boot_id: String::new(),
            started_at: WallTime(0),
        }
    }

    #[test]
    fn whatever_is_not_well_has_a_remedy() {
        let day = 86_400_000_000_000;
        let keys = |open: &[&str], expires| Keys::There {
            open_to_others: open.iter().map(PathBuf::from).collect(),
            expires,
        };
        let tls = Path::new("/h/tls");
        let held = Port::Held {
            by: Some("nginx (pid 812)".into()),
        };
        let bad = [
            versions(&DaemonSeen::Running(info("9.9.9"))),
            versions(&DaemonSeen::Unreachable("no".into())),
            folder(
                Path::new("/h"),
                &Folder::There {
                    mine: true,
                    mode: 0o755,
                    writable: true,
                },
            ),
            folder(
                Path::new("/h"),
                &Folder::There {
                    mine: false,
                    mode: 0o700,
                    writable: true,
                },
            ),
            folder(Path::new("/h"), &Folder::Missing { makeable: false }),
            store(&["/h/state.damaged-9".into()]),
            certificates(
                tls,
                &keys(&["/h/tls/ca.key"], Ok(WallTime(400 * day))),
                WallTime(0),
            ),
            certificates(tls, &keys(&[], Ok(WallTime(20 * day))), WallTime(0)),
            certificates(tls, &keys(&[], Ok(WallTime(20 * day))), WallTime(21 * day)),
            certificates(tls, &keys(&[], Err("damaged".into())), WallTime(0)),
            port_check(9443, &DaemonSeen::None, &held),
            port_check(9443, &DaemonSeen::None, &Port::Held { by: None }),
            limits((Some(1024), Some(2048))),
            cgroups(&Cgroup::NoV2),
            cgroups(&Cgroup::There {
                path: "/x".into(),
                writable: false,
            }),
            linger(Linger::Off),
        ];
        for check in bad {
            assert_ne!(check.verdict, Verdict::Ok, "{check:?}");
            assert!(check.remedy.is_some(), "{check:?}");
        }
    }

    #[test]
    fn what_is_well_has_none() {
        let day = 86_400_000_000_000;
        let keys = Keys::There {
            open_to_others: vec![],
            expires: Ok(WallTime(300 * day)),
        };
        let held = Port::Held { by: None };
        let good = [
            versions(&DaemonSeen::Running(info(VERSION))),
            versions(&DaemonSeen::None),
            folder(
                Path::new("/h"),
                &Folder::There {
                    mine: true,
                    mode: 0o700,
                    writable: true,
                },
            ),
            store(&[]),
            certificates(Path::new("/h/tls"), &keys, WallTime(0)),
            certificates(Path::new("/h/tls"), &Keys::Missing, WallTime(0)),
            port_check(9443, &DaemonSeen::Running(info(VERSION)), &held),
            port_check(9443, &DaemonSeen::None, &Port::Free),
            limits((None, None)),
            limits((Some(1024), Some(4096))),
            linger(Linger::On),
        ];
        for check in good {
            assert_eq!((check.verdict, &check.remedy), (Verdict::Ok, &None), "{check:?}");
        }
    }
}
