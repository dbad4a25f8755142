//! What is told to a host and what it answers.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::Generation;
use crate::supervised::{ProcessId, StopPolicy, Trace};

/// How long a supervisor that is just starting may take to say who it is.
const IDENTITY: Duration = Duration::from_secs(10);

/// A run to find.
#[derive(Debug, Clone)]
pub struct Adoption {
    /// Its run directory on this machine.
    pub run_dir: PathBuf,
    /// What was remembered of it.
    pub trace: Option<Trace>,
    /// The surveyed supervisors that may belong to it.
    pub supervisors: Vec<ProcessId>,
    /// How long a supervisor that is just starting may take to say who it is.
    pub patience: Duration,
}

impl Adoption {
    /// A run of which nothing is known but its directory.
    pub fn of(run_dir: impl Into<PathBuf>) -> Self {
        Self {
            run_dir: run_dir.into(),
            trace: None,
            supervisors: Vec::new(),
            patience: IDENTITY,
        }
    }
}

/// A supervisor that a survey found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Survivor {
    /// The last parts of the path of its run directory, below the home: `projects/shop/db/3`.
    pub run: PathBuf,
    /// Whether its run directory does not lead to it any more.
    pub is_lost: bool,
    /// The process of the supervisor.
    pub supervisor: ProcessId,
}

/// A run that was taken over without its directory.
#[derive(Debug, Clone)]
pub struct TakenOver {
    /// The run.
    pub generation: Arc<dyn Generation>,
    /// How it was to be stopped, according to its launch.
    pub stop: StopPolicy,
}

/// A file to write.
#[derive(Clone)]
pub struct PutFile {
    /// Where: an absolute path. Missing folders are made.
    pub target: PathBuf,
    /// Its content.
    pub content: Vec<u8>,
    /// Its mode. The umask is applied to it.
    pub mode: u32,
    /// The user that it is for: a name or a numeric id. `None`: the user of the host's own processes.
    pub owner: Option<String>,
    /// Files that it must not replace, under whatever name.
    pub keep: Vec<PathBuf>,
}

impl fmt::Debug for PutFile {
    /// Does not show the content, which may be secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PutFile")
            .field("target", &self.target)
            .field("bytes", &self.content.len())
            .field("mode", &self.mode)
            .field("owner", &self.owner)
            .finish_non_exhaustive()
    }
}

/// A program to find.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Search {
    /// The program. With a slash, it is a path, relative to the folder. Without one, it is looked up in `path`.
    pub program: String,
    /// The folders to look in, separated by colons. They are relative to the folder too.
    pub path: String,
    /// The folder that it is to run in, which must exist.
    pub folder: PathBuf,
    /// Whether the folder must be reached without following a link that others could have made. It matters only to
    /// root.
    pub is_guarded: bool,
}

/// What a path leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileKind {
    /// A regular file.
    File,
    /// A folder.
    Folder,
    /// Anything else.
    Other,
}

/// What is at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stat {
    /// What it is.
    pub kind: FileKind,
    /// Its permissions: the lower twelve bits of its mode.
    pub mode: u32,
    /// The numeric id of its owner.
    pub owner: u32,
    /// Its size in bytes.
    pub size: u64,
}
