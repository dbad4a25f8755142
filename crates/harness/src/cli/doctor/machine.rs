//! Looks at the machine for the checks.

use std::fs;
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, TcpListener};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use harness_model::spec::Protocol;
use harness_shim::cgroup;
use harness_wire::tls::TlsDir;
use rustix::fs::{Access, access};
use rustix::process::{Resource, geteuid, getrlimit};
use service_orchestration::ports::holders;

use super::{Cgroup, Folder, Keys, Linger, Port};

pub(super) fn folder(path: &Path) -> Folder {
    let Ok(meta) = fs::metadata(path) else {
        let above = path.ancestors().skip(1).find(|above| above.exists());
        let makeable = above.is_some_and(|above| access(above, Access::WRITE_OK).is_ok());
        return Folder::Missing { makeable };
    };
    Folder::There {
        mine: meta.uid() == geteuid().as_raw(),
        mode: meta.permissions().mode() & 0o777,
        writable: access(path, Access::WRITE_OK | Access::EXEC_OK).is_ok(),
    }
}

pub(super) fn keys(tls: &Path) -> Keys {
    let Ok(entries) = fs::read_dir(tls) else {
        return Keys::Missing;
    };
    let mut open_to_others: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "key"))
        .filter(|path| fs::metadata(path).is_ok_and(|meta| meta.permissions().mode() & 0o077 != 0))
        .collect();
    open_to_others.sort();
    let expires = TlsDir::new(tls).server_certificate_expiry();
    Keys::There {
        open_to_others,
        expires: expires.map_err(|error| error.to_string()),
    }
}

pub(super) fn port(port: u16) -> Port {
    match TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
        Ok(_) => Port::Free,
        Err(error) if error.kind() == ErrorKind::AddrInUse => Port::Held { by: holder(port) },
        Err(error) => Port::Forbidden {
            why: error.to_string(),
        },
    }
}

/// `nginx (pid 812, user root, not harness)`; `None` if the process cannot be found.
fn holder(port: u16) -> Option<String> {
    let wanted = [(IpAddr::from(Ipv4Addr::LOCALHOST), port, Protocol::Tcp)];
    Some(holders(&wanted).ok()?.first()?.to_string())
}

pub(super) fn open_files() -> (Option<u64>, Option<u64>) {
    let limit = getrlimit(Resource::Nofile);
    (limit.current, limit.maximum)
}

/// The control group, as the daemon's supervisors will see it.
pub(super) fn cgroup() -> Cgroup {
    match (cgroup::delegated_base(), cgroup::own()) {
        (Some(path), _) => Cgroup::There { path, writable: true },
        (None, Some(path)) => Cgroup::There {
            path,
            writable: false,
        },
        (None, None) => Cgroup::NoV2,
    }
}

pub(super) fn linger() -> Linger {
    if !Path::new("/run/systemd/system").exists() {
        return Linger::NoSystemd;
    }
    if geteuid().is_root() {
        return Linger::Root;
    }
    let user = std::env::var("USER").unwrap_or_default();
    if !user.is_empty() && Path::new("/var/lib/systemd/linger").join(user).exists() {
        Linger::On
    } else {
        Linger::Off
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_held_port_is_told_with_its_holder() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let taken = listener.local_addr().unwrap().port();
        let Port::Held { by: Some(by) } = port(taken) else {
            panic!("{:?}", port(taken));
        };
        assert!(by.contains(&format!("(pid {},", std::process::id())), "{by}");
        drop(listener);
        assert_eq!(port(taken), Port::Free);
    }

    /// Version 2 may be mounted next to version 1, and in an unusual place.
    #[test]
    fn cgroups_are_seen_as_the_supervisors_see_them() {
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
        let mounted = mounts.lines().any(|line| line.contains(" - cgroup2 "));
        let found = super::cgroup();
        if !mounted {
            assert_eq!(found, Cgroup::NoV2);
        } else if let Some(path) = cgroup::delegated_base() {
            assert_eq!(found, Cgroup::There { path, writable: true });
        }
    }

    #[test]
    fn keys_that_others_can_read_are_found() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(keys(&dir.path().join("tls")), Keys::Missing);
        let key = dir.path().join("ca.key");
        fs::write(&key, "x").unwrap();
        fs::set_permissions(&key, fs::Permissions::from_mode(0o640)).unwrap();
        let Keys::There {
            open_to_others,
            expires,
        } = keys(dir.path())
        else {
            panic!("there is a folder");
        };
        assert_eq!(open_to_others, vec![key]);
        assert!(expires.is_err());
    }
}
