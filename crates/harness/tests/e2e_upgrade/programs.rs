//! The programs of two versions, one after the other in the same folder, as an installation does it.

use std::fs;
use std::path::{Path, PathBuf};

use crate::common::{Sandbox, proc};

const NAMES: [&str; 3] = ["harness", "harness-executor-daemon", "harness-shim"];

/// A folder that programs are installed into.
pub(crate) struct Programs {
    folder: PathBuf,
    today: PathBuf,
}

impl Programs {
    /// Installs the earlier ones.
    pub(crate) fn install_earlier(sandbox: &Sandbox) -> Self {
        let folder = sandbox.root().join("bin");
        fs::create_dir(&folder).unwrap();
        let today = Path::new(env!("CARGO_BIN_EXE_harness"))
            .parent()
            .unwrap()
            .to_owned();
        let programs = Self { folder, today };
        match std::env::var_os("HARNESS_EARLIER") {
            Some(earlier) => programs.install(Path::new(&earlier)),
            None => {
                programs.install(&programs.today);
                // A shim with another digest.
                let shim = programs.folder.join("harness-shim");
                let mut bytes = fs::read(&shim).unwrap();
                bytes.extend_from_slice(b"earlier");
                fs::remove_file(&shim).unwrap();
                fs::copy(programs.today.join("harness-shim"), &shim).unwrap();
                fs::write(&shim, bytes).unwrap();
            }
        }
        programs
    }

    /// Installs today's programs instead.
    pub(crate) fn install_today(&self) {
        self.install(&self.today);
    }

    fn install(&self, from: &Path) {
        for name in NAMES {
            let new = self.folder.join("new");
            // On another disk, copy it.
            if fs::hard_link(from.join(name), &new).is_err() {
                fs::copy(from.join(name), &new).unwrap();
            }
            fs::rename(&new, self.folder.join(name)).unwrap();
            // If both are links to the same file, renaming one over the other keeps both.
            let _ = fs::remove_file(&new);
        }
    }

    /// The `harness` that is installed.
    pub(crate) fn harness(&self) -> String {
        self.folder.join("harness").display().to_string()
    }

    /// Whether a process runs today's daemon.
    pub(crate) fn is_today(&self, pid: u32) -> bool {
        let runs = fs::metadata(format!("/proc/{pid}/exe")).unwrap();
        let installed = fs::metadata(self.folder.join("harness-executor-daemon")).unwrap();
        use std::os::unix::fs::MetadataExt;
        (runs.dev(), runs.ino()) == (installed.dev(), installed.ino())
    }
}

/// The program that the supervisor of a process runs.
pub(crate) fn shim_of(pid: u32) -> PathBuf {
    let shim = proc::parent(pid).unwrap();
    fs::read_link(format!("/proc/{shim}/exe")).unwrap()
}
