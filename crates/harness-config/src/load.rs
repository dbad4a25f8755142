//! From file names to a project: reading, and the order in which the other rooms work.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use harness_model::{ProjectName, ProjectSpec, SecretString, ServiceName};

use crate::diagnostics::Diagnostics;

/// What to load, and what it may depend on. Nothing else of the process's surroundings is looked at.
#[derive(Debug, Clone, Default)]
pub struct LoadOptions {
    /// The files, the first one being the base; empty: [`find_config`] from `cwd`.
    pub files: Vec<PathBuf>,
    /// The chosen profiles.
    pub profiles: BTreeSet<String>,
    /// The project's name, whatever the file says.
    pub project: Option<ProjectName>,
    /// The environment that `${VAR}` takes its values from.
    pub environment: BTreeMap<String, String>,
    /// What `~` stands for.
    pub home: Option<PathBuf>,
    /// Where relative `files` start from; absolute.
    pub cwd: PathBuf,
}

/// A project that may be started.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// What the files say.
    pub project: ProjectSpec,
    /// What is probably not what was meant.
    pub warnings: Diagnostics,
    /// Every service of the files, those of other profiles included.
    pub all_services: BTreeSet<ServiceName>,
}

/// Why there is no project.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// A file cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// There is no services.yaml here or above.
    #[error("no services.yaml in {} or any folder above it", from.display())]
    NotFound {
        /// Where the search began.
        from: PathBuf,
    },
    /// The files are wrong.
    #[error("{0}")]
    Invalid(Diagnostics),
}

/// The file names that are looked for, in this order.
const CONFIG_NAMES: [&str; 2] = ["services.yaml", "services.yml"];

/// The services.yaml (or services.yml) in a folder or the nearest one above it.
pub fn find_config(start: &Path) -> Option<PathBuf> {
    start
        .ancestors()
        .flat_map(|folder| CONFIG_NAMES.map(|name| folder.join(name)))
        .find(|path| path.is_file())
}

/// Reads and validates a project.
///
/// # Errors
/// When no file is found, one cannot be read, or anything in them is wrong: then with every mistake.
pub fn load(options: &LoadOptions) -> Result<Loaded, LoadError> {
    Err(LoadError::NotFound {
        from: options.cwd.clone(),
    })
}

/// Reads the file templates of a project (`FileSpec::content`) and substitutes `${VAR}` in them: done at start,
/// since validating needs no file to exist.
///
/// # Errors
/// When a template cannot be read, or something in it is wrong.
pub fn load_files(
    project: &mut ProjectSpec,
    environment: &BTreeMap<String, String>,
) -> Result<(), LoadError> {
    let _ = (project, environment);
    Ok(())
}

/// What of the CLI's environment the daemon needs to start this project's services: what every program needs, and
/// what their `inherit_env` asks for.
pub fn inherited_environment(
    project: &ProjectSpec,
    environment: &BTreeMap<String, String>,
) -> BTreeMap<String, SecretString> {
    let _ = (project, environment);
    BTreeMap::new()
}
