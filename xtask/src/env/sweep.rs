//! What an engine leaves that did not end properly: processes, mounts, control groups.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::error::EnvError;
use super::places::Places;
use crate::error::TaskError;
use crate::program::Program;

/// The programs of an engine, with their names in the kernel.
const PROGRAMS: [&str; 2] = ["dockerd", "containerd"];

/// The program above each container, which may outlive the others.
const SHIM: &str = "containerd-shim";

/// How long a killed process may take until it is gone.
const PATIENCE: Duration = Duration::from_secs(10);

/// Ends and unmounts everything.
///
/// # Errors
/// When something stays mounted. Removing the folder would then remove what is mounted there.
pub(crate) fn everything(places: &Places) -> Result<(), EnvError> {
    let programs = running(places, &[&PROGRAMS[..], &[SHIM]].concat());
    kill(programs);
    kill_contained(places);
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    for mount in below(&mounts, &[&places.run, &places.cache]) {
        Program::new("umount")
            .args(["--lazy".as_ref(), mount.as_os_str()])
            .run_quietly()?;
    }
    for group in groups(places) {
        remove_groups(&group);
    }
    Ok(())
}

/// Prepares for another engine after one was killed. Otherwise the new engine might use a containerd that is dying
/// with the old one, or mistake another process with the same pid for a containerd.
///
/// # Errors
/// When a file cannot be removed.
pub(crate) fn after_a_kill(places: &Places) -> Result<(), EnvError> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let left: Vec<Pid> = running(places, &PROGRAMS);
        if left.is_empty() {
            break;
        }
        if Instant::now() > deadline {
            let [pid, ..] = left[..] else { break };
            return Err(EnvError::Stuck {
                pid: pid.as_raw_nonzero().get(),
            });
        }
        kill(left);
        std::thread::sleep(Duration::from_millis(20));
    }
    for file in ["docker.pid", "exec/containerd/containerd.pid"].map(|name| places.run(name)) {
        if file.exists() {
            fs::remove_file(&file).map_err(TaskError::file("remove", file))?;
        }
    }
    Ok(())
}

/// The processes of these programs that name the engine's folder. A zombie does not name anything any more.
fn running(places: &Places, programs: &[&str]) -> Vec<Pid> {
    let needle = format!("{}/", places.run.display());
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| Pid::from_raw(entry.file_name().to_str()?.parse().ok()?));
    let is_one = |pid: &Pid| {
        let folder = PathBuf::from(format!("/proc/{}", pid.as_raw_nonzero()));
        let read = |file: &str| {
            String::from_utf8_lossy(&fs::read(folder.join(file)).unwrap_or_default()).into_owned()
        };
        programs.contains(&read("comm").trim()) && read("cmdline").contains(&needle)
    };
    pids.filter(is_one).collect()
}

/// Kills the processes in its containers.
pub(crate) fn kill_contained(places: &Places) {
    kill(contained(places));
}

fn kill(pids: Vec<Pid>) {
    for pid in pids {
        // It may be gone by now.
        let _ = kill_process(pid, Signal::KILL);
    }
}

/// The processes in its containers.
fn contained(places: &Places) -> Vec<Pid> {
    let mut folders = groups(places);
    let mut pids = Vec::new();
    while let Some(folder) = folders.pop() {
        let members = fs::read_to_string(folder.join("cgroup.procs")).unwrap_or_default();
        pids.extend(members.lines().filter_map(|pid| Pid::from_raw(pid.parse().ok()?)));
        folders.extend(inside(&folder));
    }
    pids
}

/// Its control groups: one in each hierarchy of version 1, or the one of version 2.
fn groups(places: &Places) -> Vec<PathBuf> {
    let root = Path::new("/sys/fs/cgroup");
    let Some(name) = places.cgroup().file_name().map(PathBuf::from) else {
        return Vec::new();
    };
    let hierarchies = std::iter::once(root.to_owned()).chain(inside(root));
    hierarchies
        .map(|hierarchy| hierarchy.join(&name))
        .filter(|group| group.is_dir())
        .collect()
}

fn inside(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .map(|entry| entry.path())
        .filter(|path| path.is_dir() && !path.is_symlink())
        .collect()
}

/// Removes inner groups first. A group that still contains a dying process stays, and is removed the next time.
fn remove_groups(group: &Path) {
    for inner in inside(group) {
        remove_groups(&inner);
    }
    let _ = fs::remove_dir(group);
}

/// The mount points inside these folders, the last one first.
fn below(mountinfo: &str, folders: &[&Path]) -> Vec<PathBuf> {
    let points = mountinfo.lines().filter_map(|line| line.split(' ').nth(4));
    let points = points.map(|point| PathBuf::from(point.replace("\\040", " ")));
    let mut found: Vec<PathBuf> = points
        .filter(|point| {
            folders
                .iter()
                .any(|folder| point.starts_with(folder) && point != folder)
        })
        .collect();
    found.reverse();
    found
}

/// The last lines of a log, for an error message.
pub(crate) fn last_lines(log: &Path) -> String {
    let text = fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().collect();
    let last = lines.get(lines.len().saturating_sub(20)..).unwrap_or_default();
    last.iter().map(|line| format!("  {line}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_of_the_folders_are_found_inner_ones_first_and_no_neighbours() {
        let text = "36 35 98:0 / /run/t rw shared:1 - tmpfs tmpfs rw\n\
            37 36 98:1 / /run/t/exec/netns/x rw - nsfs nsfs rw\n\
            38 35 98:2 / /run/tt rw - tmpfs tmpfs rw\n\
            39 35 98:3 / /var/c\\040d/engine/overlay2/m rw - overlay overlay rw\n";
        let found = below(text, &[Path::new("/run/t"), Path::new("/var/c d")]);
        let expected = ["/var/c d/engine/overlay2/m", "/run/t/exec/netns/x"];
        assert_eq!(found, expected.map(PathBuf::from));
    }
}
