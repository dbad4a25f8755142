//! Which project a request is about, and what there is to say of that.

use std::path::PathBuf;

use harness_model::{ProjectName, ServiceName};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Which project a request is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ProjectSelector {
    /// `-p NAME`.
    Named(ProjectName),
    /// What the place of the caller means: the project of this file alone; without a file, that whose file is in this
    /// very folder, and for those who only look the only one there is.
    Near {
        /// The file found upwards or given with `-c`, absolute, its links followed; the daemon does not read it.
        config: Option<PathBuf>,
        /// The folder in which the file is called, which is not that of the file if its name there is a link; without a
        /// file, the caller's. Absolute, its links followed.
        directory: PathBuf,
        /// What the file calls its project; `None`: that cannot be told.
        #[serde(default)]
        name: Option<ProjectName>,
        /// The caller's folder, where the file was found in one above it. What was started nearer and runs may be meant
        /// then, which is refused.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        from: Option<PathBuf>,
    },
}

/// Arguments of `select`: which project is meant, before anything is asked of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SelectRequest {
    /// Which.
    pub project: ProjectSelector,
    /// What for.
    pub purpose: Purpose,
}

/// What a project is selected for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Purpose {
    /// To see how it is.
    Look,
    /// To change something of it, or to let a program go on by what it is.
    Change,
    /// To start it from the file.
    Start {
        /// Its name was given with `-p`.
        named: bool,
        /// Nothing is to change: a moved project stays bound to its former file.
        dry_run: bool,
    },
}

/// The project that is meant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Selected {
    /// Its name.
    pub project: ProjectName,
    /// Its files, as of now; the first one identifies it.
    pub files: Vec<PathBuf>,
    /// What people should hear of the choice.
    pub remarks: Vec<Remark>,
}

/// What people should hear of the choice of a project.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Remark {
    /// Its former file is gone: it belongs to the file asked about from now on.
    Moved {
        /// The file that is gone.
        from: PathBuf,
        /// Its file from now on.
        to: PathBuf,
    },
    /// A start takes it over from another file, as `-p` says.
    TakenOver {
        /// The other file.
        from: PathBuf,
        /// Its file from now on.
        to: PathBuf,
    },
    /// The file calls its project otherwise.
    Renamed {
        /// How.
        to: ProjectName,
    },
    /// It was started under its name with `-p`, which was not given now.
    NamedByCaller {},
    /// These were started from the same file under other names, and run, too.
    AlsoUp(Vec<ProjectName>),
    /// These were started from the same file under other names, and do not run any more.
    Former(Vec<ProjectName>),
    /// These run and their files are gone: the project may be one of them, moved.
    Lost(Vec<ProjectName>),
    /// There is no file, and it is the only project.
    Only {},
}

/// Arguments of `project_forget`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ProjectForgetRequest {
    /// The project.
    pub project: ProjectName,
}

/// What was forgotten.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ProjectForgotten {
    /// The project.
    pub project: ProjectName,
    /// Its services.
    pub services: Vec<ServiceName>,
    /// The folder of its run directories and logs, which is gone.
    pub removed: PathBuf,
}
