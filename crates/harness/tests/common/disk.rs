//! A small disk for a daemon's home, to fill it or make it read-only. Needs root, to mount it.

use std::fs::{self, OpenOptions};
use std::io::Write;

use tempfile::TempDir;

use super::{PATIENCE, Sandbox};

/// A sandbox with its home on a separate disk.
pub(crate) struct SmallDisk {
    // Dropped first: its daemon must be gone before the disk is.
    pub(crate) sandbox: Sandbox,
    disk: Mounted,
}

struct Mounted(TempDir);

impl SmallDisk {
    /// `None`, with a message that says why, if nothing can be mounted.
    pub(crate) fn new(name: &str, services: &str) -> Option<Self> {
        let sandbox = Sandbox::with_file(name, services);
        let disk = Mounted(tempfile::Builder::new().prefix("hd").tempdir().unwrap());
        let at = disk.0.path().to_str().unwrap();
        let mount = sandbox.command("mount", &["-t", "tmpfs", "-o", "size=24m,mode=0700", "tmpfs", at]);
        let mount = mount.wait(PATIENCE);
        if mount.code != Some(0) {
            eprintln!("skipped: cannot mount a small disk: {}", mount.stderr.trim());
            return None;
        }
        // All paths of the sandbox stay valid, even when the disk is gone.
        std::os::unix::fs::symlink(at, sandbox.home()).unwrap();
        Some(Self { sandbox, disk })
    }

    /// Fills it completely.
    pub(crate) fn fill(&self) {
        let path = self.disk.0.path().join("filler");
        let mut file = OpenOptions::new().create(true).append(true).open(path).unwrap();
        for size in [1 << 20, 4096] {
            while file.write_all(&vec![0; size]).is_ok() {}
        }
    }

    /// Frees the space again.
    pub(crate) fn make_room(&self) {
        fs::remove_file(self.disk.0.path().join("filler")).unwrap();
    }

    /// Mounts it again as `ro` or `rw`. A process that has just ended may keep it busy for a moment.
    pub(crate) fn remount(&self, how: &str) {
        let at = self.disk.0.path().to_str().unwrap();
        let how = format!("remount,{how}");
        super::eventually("it is mounted once more", || {
            let mount = self.sandbox.command("mount", &["-o", &how, at]).wait(PATIENCE);
            (mount.code == Some(0)).then_some(())
        });
    }
}

impl Drop for Mounted {
    #[expect(
        clippy::disallowed_methods,
        reason = "a test starts the program it needs, as a shell would"
    )]
    fn drop(&mut self) {
        // Lazily, so that it is unmounted even if something still uses it.
        let umount = std::process::Command::new("umount")
            .arg("-l")
            .arg(self.0.path())
            .output();
        if let Err(error) = umount {
            eprintln!("cannot unmount {}: {error}", self.0.path().display());
        }
    }
}
