//! Unpacks a recorded home where it was recorded. Its store contains paths, and pages with checksums, so the paths
//! cannot be changed, and the home must be in its old place. One test at a time uses that place. A recorded home is a
//! folder of plain files. `TREE` lists the entries, one on each line: `dir MODE PATH`, `file MODE PATH`,
//! `blocks MODE LENGTH NUMBERS PATH` for a file with only these blocks not zero, `empty MODE PATH` for a file without
//! its content (the copy of the shim), and `socket MODE PATH`. `recorded.json` is what its own version said about the
//! services. `tls/` is left out, because keys should not be in a repository: today's daemon makes new ones.

use std::fs;
use std::ops::Deref;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::common::{Sandbox, within};

/// The boot id that recorded homes have, instead of the real one.
pub(crate) const BOOT: &str = "00000000-1111-4222-8333-444444444444";
/// The file that lists the entries.
pub(crate) const TREE: &str = "TREE";
/// The file with what its own version said about it.
pub(crate) const SAID: &str = "recorded.json";
/// The size of the blocks of files that are mostly zeros.
pub(crate) const BLOCK: usize = 4096;

/// Where the recorded homes are kept.
pub(crate) fn kept() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/homes")
}

/// The commits whose homes are kept.
pub(crate) fn homes() -> Vec<String> {
    let entries = fs::read_dir(kept()).unwrap();
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert!(!names.is_empty());
    names
}

/// The place of the home of a commit; only one test at a time has it.
pub(crate) struct Place {
    /// Bound while the place is held. It is released when the process ends, however it ends.
    _held: UnixListener,
}

impl Place {
    /// Waits until the place is free, and makes an empty sandbox there.
    pub(crate) fn take(commit: &str) -> (Self, Sandbox) {
        let name = format!("harness-recorded-{commit}");
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let held = within(Duration::from_secs(300), "another test leaves the place", || {
            UnixListener::bind_addr(&address).ok()
        });
        let root = Path::new("/tmp").join(&name);
        // Remove what a killed test has left there.
        match fs::remove_dir_all(&root) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                panic!("cannot remove {}: {error}; remove it by hand", root.display())
            }
            _ => {}
        }
        let root = tempfile::Builder::new()
            .prefix(&name)
            .rand_bytes(0)
            .tempdir_in("/tmp");
        let mut sandbox = Sandbox::in_folder(&name, root.unwrap());
        // The times of recorded lines are compared as text.
        sandbox.set_env("TZ", "UTC");
        (Self { _held: held }, sandbox)
    }
}

/// A recorded home in its place.
pub(crate) struct Recorded {
    pub(crate) commit: String,
    said: Value,
    // Dropped before the place is released.
    sandbox: Sandbox,
    _place: Place,
}

impl Deref for Recorded {
    type Target = Sandbox;
    fn deref(&self) -> &Sandbox {
        &self.sandbox
    }
}

impl Recorded {
    /// The home of this commit, as if the machine had been rebooted since then.
    pub(crate) fn lay_out(commit: &str) -> Self {
        let (place, sandbox) = Place::take(commit);
        let from = kept().join(commit);
        let tree = fs::read_to_string(from.join(TREE)).unwrap();
        let mut folders = Vec::new();
        for line in tree.lines() {
            let (kind, rest) = line.split_once(' ').unwrap();
            let (mode, rest) = rest.split_once(' ').unwrap();
            let mode = fs::Permissions::from_mode(u32::from_str_radix(mode, 8).unwrap());
            let path = rest.rsplit(' ').next().unwrap();
            let (kept, to) = (from.join(path), sandbox.root().join(path));
            match kind {
                "dir" => fs::create_dir_all(&to).unwrap(),
                "file" => fs::write(&to, fs::read(kept).unwrap()).unwrap(),
                "empty" => fs::write(&to, "").unwrap(),
                "blocks" => fs::write(&to, spread(&fs::read(kept).unwrap(), rest)).unwrap(),
                "socket" => drop(UnixListener::bind(&to).unwrap()),
                other => panic!("{other} in {TREE}"),
            }
            match kind {
                "dir" => folders.push((to, mode)),
                _ => fs::set_permissions(&to, mode).unwrap(),
            }
        }
        for (folder, mode) in folders {
            fs::set_permissions(folder, mode).unwrap();
        }
        let said = serde_json::from_slice(&fs::read(from.join(SAID)).unwrap()).unwrap();
        Self {
            commit: commit.to_owned(),
            said,
            sandbox,
            _place: place,
        }
    }

    /// What `status` said about a service.
    pub(crate) fn recorded(&self, service: &str) -> &Value {
        &self.said["status"][service]
    }

    /// What `logs` said about a service: how many lines, and their [`digest`].
    pub(crate) fn recorded_log(&self, service: &str) -> (usize, &str) {
        let log = &self.said["logs"][service];
        let lines = usize::try_from(log["lines"].as_u64().unwrap()).unwrap();
        (lines, log["digest"].as_str().unwrap())
    }

    /// Changes the recorded processes to this boot. Their pids do not exist then.
    pub(crate) fn move_to_this_boot(&self) {
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
        let tree = fs::read_to_string(kept().join(&self.commit).join(TREE)).unwrap();
        let paths = tree.lines().filter_map(|line| line.rsplit(' ').next());
        for path in paths.filter(|path| path.ends_with("/identity")) {
            let path = self.root().join(path);
            let text = fs::read_to_string(&path).unwrap();
            // No process has such a late start time.
            let words: Vec<String> = text.lines().map(|line| late(line, boot.trim())).collect();
            fs::write(&path, words.join("\n") + "\n").unwrap();
        }
    }
}

/// Changes `shim` and `main` of an identity to a process of that boot that cannot exist.
fn late(line: &str, boot: &str) -> String {
    let words: Vec<&str> = line.split(' ').collect();
    match words[..] {
        [who @ ("shim" | "main"), pid, _, _, space] => {
            format!("{who} {pid} {} {boot} {space}", u64::MAX >> 1)
        }
        _ => line.to_owned(),
    }
}

/// Puts blocks at their places; `rest` is `LENGTH NUMBERS PATH`.
fn spread(blocks: &[u8], rest: &str) -> Vec<u8> {
    let words: Vec<&str> = rest.split(' ').collect();
    let mut whole = vec![0; words[0].parse().unwrap()];
    for (block, number) in blocks.chunks(BLOCK).zip(words[1].split(',')) {
        let at = number.parse::<usize>().unwrap() * BLOCK;
        whole[at..at + block.len()].copy_from_slice(block);
    }
    whole
}

/// A digest of lines of `logs --json`, to compare them.
pub(crate) fn digest(lines: &[[Value; 4]]) -> String {
    let mut hash = Sha256::new();
    for line in lines {
        hash.update(serde_json::to_vec(line).unwrap());
        hash.update(b"\n");
    }
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}
