//! Whether cgroups (version 2) may be used here, and what can be done with one.
//!
//! A process cannot leave its cgroup unless it may write to another one, and `cgroup.kill` reaches everything in the
//! cgroup at once. If no cgroup may be used, [`crate::tree`] and the shim walk the descendants instead.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};

/// The cgroup below which the caller may create its own cgroups, if there is one.
///
/// This is the caller's own cgroup, if it is writable and nobody else manages it: systemd has delegated it
/// (`user.delegate` or `trusted.delegate` is 1), it belongs to a user other than root, or no systemd runs.
pub fn delegated_base() -> Option<PathBuf> {
    let base = own()?;
    let usable = is_ours(&base) && can_kill(&base) && can_create(&base);
    usable.then_some(base)
}

/// The cgroup (version 2) of the caller, wherever that hierarchy is mounted, even beside those of version 1. `None`
/// if it is not mounted, or if the mount does not reach up to the caller's cgroup.
pub fn own() -> Option<PathBuf> {
    let mountinfo = fs::read("/proc/self/mountinfo").ok()?;
    let (root, mount_point) = mountinfo.split(|&b| b == b'\n').find_map(cgroup2_mount)?;
    let own = fs::read_to_string("/proc/self/cgroup").ok()?;
    let own = own.lines().find_map(|line| line.strip_prefix("0::"))?;
    let relative = Path::new(own).strip_prefix(&root).ok()?;
    Some(mount_point.join(relative))
}

/// The root within the hierarchy and the mount point, if the line of mountinfo is a cgroup2 mount.
fn cgroup2_mount(line: &[u8]) -> Option<(PathBuf, PathBuf)> {
    let mut fields = line.split(|&b| b == b' ');
    let root = unescape(fields.nth(3)?);
    let mount_point = unescape(fields.next()?);
    let mut optional_and_rest = fields.skip_while(|field| *field != b"-");
    (optional_and_rest.nth(1)? == b"cgroup2").then_some((root, mount_point))
}

/// Resolves the octal escapes (`\040` for a space) of `/proc` files.
fn unescape(field: &[u8]) -> PathBuf {
    let mut out = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&byte, tail)) = rest.split_first() {
        let octal = tail.get(..3).filter(|_| byte == b'\\').and_then(|digits| {
            let text = std::str::from_utf8(digits).ok()?;
            u8::from_str_radix(text, 8).ok()
        });
        match octal {
            Some(value) => {
                out.push(value);
                rest = &tail[3..];
            }
            None => {
                out.push(byte);
                rest = tail;
            }
        }
    }
    PathBuf::from(OsString::from_vec(out))
}

fn is_ours(base: &Path) -> bool {
    if !Path::new("/run/systemd/system").exists() {
        return true;
    }
    let uid = rustix::process::geteuid().as_raw();
    let owned = uid != 0 && fs::metadata(base).is_ok_and(|metadata| metadata.uid() == uid);
    owned
        || ["user.delegate", "trusted.delegate"].iter().any(|name| {
            let mut value = [0; 8];
            rustix::fs::getxattr(base, *name, &mut value).is_ok_and(|len| value.get(..len) == Some(b"1"))
        })
}

fn can_kill(base: &Path) -> bool {
    // The root of the hierarchy has no `cgroup.kill`, but its children have one on the same kernels.
    base.join("cgroup.kill").exists() || !base.join("cgroup.type").exists()
}

fn can_create(base: &Path) -> bool {
    let probe = base.join(format!("harness-probe-{}", std::process::id()));
    let made = fs::create_dir(&probe).is_ok();
    let killable = probe.join("cgroup.kill").exists();
    let removed = fs::remove_dir(&probe).is_ok();
    made && killable && removed
}

/// Creates a cgroup, and its parents if needed, so that a process can be forked into it.
pub(crate) fn create(cgroup: &Path) -> io::Result<OwnedFd> {
    fs::create_dir_all(cgroup)?;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(rustix::fs::open(cgroup, flags, Mode::empty())?)
}

/// Moves a process into a cgroup.
pub(crate) fn enter(cgroup: &Path, pid: u32) -> io::Result<()> {
    fs::write(cgroup.join("cgroup.procs"), pid.to_string())
}

/// Kills every process in a cgroup and below it.
///
/// # Errors
/// When there is no such cgroup, or the kernel is older than 5.14.
pub fn kill(cgroup: &Path) -> io::Result<()> {
    fs::write(cgroup.join("cgroup.kill"), "1")
}

/// The processes in a cgroup and below it, without threads and zombies.
///
/// # Errors
/// When it cannot be read. A cgroup that does not exist has no processes.
pub fn processes(cgroup: &Path) -> io::Result<Vec<u32>> {
    let text = match fs::read_to_string(cgroup.join("cgroup.procs")) {
        Ok(text) => text,
        Err(error) if is_absent(&error) => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut pids: Vec<u32> = text.lines().filter_map(|line| line.parse().ok()).collect();
    for child in children(cgroup)? {
        pids.extend(processes(&child)?);
    }
    Ok(pids)
}

/// Removes an empty cgroup, and the ones that the service made below it.
///
/// # Errors
/// When a process is still in it, or it cannot be removed. It is no error if it does not exist.
pub fn remove(cgroup: &Path) -> io::Result<()> {
    for child in children(cgroup)? {
        remove(&child)?;
    }
    match fs::remove_dir(cgroup) {
        Err(error) if !is_absent(&error) => Err(error),
        _ => Ok(()),
    }
}

fn children(cgroup: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(cgroup) {
        Ok(entries) => entries,
        Err(error) if is_absent(&error) => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            found.push(entry.path());
        }
    }
    Ok(found)
}

/// Reading an open file of a cgroup that was removed fails with ENODEV.
fn is_absent(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(libc::ENODEV)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_are_told_apart() {
        let line = br"41 31 0:38 / /sys/fs/a\040b rw,relatime shared:9 - cgroup2 cgroup2 rw";
        assert_eq!(cgroup2_mount(line), Some(("/".into(), "/sys/fs/a b".into())));
        assert_eq!(cgroup2_mount(b"31 23 0:28 / /sys rw - tmpfs tmpfs rw"), None);
        assert_eq!(cgroup2_mount(b""), None);
    }

    #[test]
    fn a_usable_base_is_left_as_it_was() {
        if let Some(base) = delegated_base() {
            let probe = base.join(format!("harness-probe-{}", std::process::id()));
            assert!(base.is_dir() && !probe.exists());
        }
    }
}
