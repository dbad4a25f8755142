//! The project that a request is about, and remarks about the choice.

use std::path::PathBuf;

use harness_model::{ProjectName, ServiceName};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Selects the project that a request is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ProjectSelector {
    /// `-p NAME`.
    Named(ProjectName),
    /// The project that belongs to the caller's place: the project of this file; without a file, the project with a
    /// file in exactly this folder; and for requests that only look, the only project there is.
    Near {
        /// The file that was found in this folder or above, or given with `-c`. Absolute, with links resolved. The
        /// daemon does not read it.
        config: Option<PathBuf>,
        /// The folder where the file was found. If the file there is a link, this is the folder of the link. Without
        /// a file, the caller's folder. Absolute, with links resolved.
        directory: PathBuf,
        /// The project name in the file; `None`: unknown.
        #[serde(default)]
        name: Option<ProjectName>,
        /// The caller's folder, if the file was found in a folder above it. If a running project was started from a
        /// nearer folder, the request is refused, because that one may be meant.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        from: Option<PathBuf>,
    },
}

/// Arguments of `select`, which finds the project before anything else is requested.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SelectRequest {
    /// How to find the project.
    pub project: ProjectSelector,
    /// What the project is needed for.
    pub purpose: Purpose,
}

/// What a project is selected for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Purpose {
    /// To look at its state.
    Look,
    /// To change something, or to let a program act on its state.
    Change,
    /// To start it from the file.
    Start {
        /// Whether its name was given with `-p`.
        named: bool,
        /// Whether nothing may change. Then a moved project stays bound to its earlier file.
        dry_run: bool,
    },
}

/// The selected project.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Selected {
    /// Its name.
    pub project: ProjectName,
    /// Its current files. The first one identifies it.
    pub files: Vec<PathBuf>,
    /// What to tell people about the choice.
    pub remarks: Vec<Remark>,
}

/// What to tell people about the choice of a project.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Remark {
    /// Its earlier file is gone. It now belongs to the file in the request.
    Moved {
        /// The file that is gone.
        from: PathBuf,
        /// Its new file.
        to: PathBuf,
    },
    /// A start takes it over from another file, because of `-p`.
    TakenOver {
        /// The other file.
        from: PathBuf,
        /// Its new file.
        to: PathBuf,
    },
    /// The file has another project name now.
    Renamed {
        /// The name in the file.
        to: ProjectName,
    },
    /// Its name was given with `-p` when it was started, but `-p` was not given now.
    NamedByCaller {},
    /// These projects were started from the same file under other names, and are up too.
    AlsoUp(Vec<ProjectName>),
    /// These projects were started from the same file under other names, and are stopped.
    Former(Vec<ProjectName>),
    /// These projects are up, but their files are gone. The project may be one of them that was moved.
    Lost(Vec<ProjectName>),
    /// There is no file, and this is the only project.
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
