//! Finds the project that a verb is about: the one given with `-p`, else the one of the file or folder where the verb
//! is called. The daemon decides, since it knows what was started from where. This module collects what the daemon
//! needs to know, and prints its remarks.

use std::path::{Path, PathBuf};

use harness_wire::message::{
    ErrorCode, ProjectSelector, Purpose, Request, Response, SelectRequest, Selected, StartRequest,
};

use super::backend::LoadError;
use super::context::{Context, Daemon};
use super::error::CliError;
use super::render::remarks;

/// What a call in this folder refers to, and why the project name in its file cannot be read, if so.
struct Here {
    selector: ProjectSelector,
    nameless: Option<LoadError>,
}

impl Context {
    /// Finds the project that the call refers to, and says which one it is where that is not obvious.
    ///
    /// # Errors
    /// When there is no such project, or several could be meant.
    pub(crate) async fn meant(&self, daemon: &Daemon, purpose: Purpose) -> Result<ProjectSelector, CliError> {
        if let Some(name) = self.project() {
            return Ok(ProjectSelector::Named(name.clone()));
        }
        let here = self.here()?;
        match self.select(daemon, here.selector.clone(), purpose).await {
            Ok(Some(selected)) => Ok(ProjectSelector::Named(selected.project)),
            Ok(None) => Ok(here.selector),
            Err(error) => Err(explained(error, here)),
        }
    }

    /// Asks the daemon whether this project may be started from its file, and prints the daemon's remarks, for
    /// example when the file belonged to another project.
    ///
    /// # Errors
    /// When it would replace another project.
    pub(crate) async fn to_be_started(&self, daemon: &Daemon, start: &StartRequest) -> Result<(), CliError> {
        self.begin(daemon, start, None).await
    }

    /// Like [`Self::to_be_started`], for a restart, which stops services first. Fails also if the file was found in a
    /// folder above and a project that runs from a nearer folder may be meant.
    ///
    /// # Errors
    /// When it would replace another project, or another project may be meant.
    pub(crate) async fn to_be_restarted(
        &self,
        daemon: &Daemon,
        start: &StartRequest,
    ) -> Result<(), CliError> {
        let from = match self.project() {
            Some(_) => None,
            None => self.below(&start.project.base_dir)?,
        };
        self.begin(daemon, start, from).await
    }

    async fn begin(
        &self,
        daemon: &Daemon,
        start: &StartRequest,
        from: Option<PathBuf>,
    ) -> Result<(), CliError> {
        let selector = ProjectSelector::Near {
            config: Some(start.project.source.clone()),
            directory: start.project.base_dir.clone(),
            name: Some(start.project.name.clone()),
            from,
        };
        let purpose = Purpose::Start {
            named: start.project_named,
            dry_run: start.dry_run,
        };
        self.select(daemon, selector, purpose).await?;
        Ok(())
    }

    /// Asks the daemon, and prints its remarks. `None` from an older daemon, which decides only when the request
    /// itself comes.
    ///
    /// # Errors
    /// When the daemon refuses, or does not answer.
    pub(crate) async fn select(
        &self,
        daemon: &Daemon,
        project: ProjectSelector,
        purpose: Purpose,
    ) -> Result<Option<Selected>, CliError> {
        let request = SelectRequest { project, purpose };
        let selected = match daemon.answer(Request::Select(request)).await {
            Ok(Response::Selected(selected)) => selected,
            Ok(_) => return Err(CliError::Unexpected { verb: "select" }),
            Err(error) if refused(&error, |code| matches!(code, ErrorCode::Invalid)) => return Ok(None),
            Err(error) => return Err(error),
        };
        self.ui.note(&remarks::told(&selected))?;
        Ok(Some(selected))
    }

    /// What the daemon is told about the place of this call.
    ///
    /// # Errors
    /// When a path is not UTF-8, or the current folder was removed.
    pub(crate) fn selector(&self) -> Result<ProjectSelector, CliError> {
        match self.project() {
            Some(name) => Ok(ProjectSelector::Named(name.clone())),
            None => Ok(self.here()?.selector),
        }
    }

    /// Whether there is a file: given with `-c`, in this folder, or in a folder above.
    ///
    /// # Errors
    /// When the current folder was removed.
    pub(crate) fn has_file(&self) -> Result<bool, CliError> {
        Ok(!self.globals.config.is_empty() || harness_config::find_config(&self.cwd()?).is_some())
    }

    /// The current folder, if it is below the folder where a file was found. No project can be started in a folder
    /// with a path that is not text, so such folders are skipped in favour of the next one above.
    fn below(&self, folder: &Path) -> Result<Option<PathBuf>, CliError> {
        if !self.globals.config.is_empty() {
            return Ok(None);
        }
        let cwd = self.cwd()?;
        let cwd = cwd.canonicalize().unwrap_or(cwd);
        let mut inner = cwd.ancestors().take_while(|inner| *inner != folder);
        Ok(inner
            .find(|inner| inner.to_str().is_some())
            .map(Path::to_path_buf))
    }

    fn here(&self) -> Result<Here, CliError> {
        let (config, directory, name, nameless) = match harness_config::name_of(&self.load_options(&[])?) {
            Err(LoadError::NotFound { from }) => (None, from, None, None),
            Err(error) => return Err(error.into()),
            Ok(file) => {
                let (name, nameless) = match file.name {
                    Ok(name) => (Some(name), None),
                    Err(error) => (None, Some(error)),
                };
                (Some(file.path), file.folder, name, nameless)
            }
        };
        config
            .iter()
            .chain([&directory])
            .try_for_each(|path| is_text(path))?;
        let from = match config {
            Some(_) => self.below(&directory)?,
            None => None,
        };
        let selector = ProjectSelector::Near {
            config,
            directory,
            name,
            from,
        };
        Ok(Here { selector, nameless })
    }
}

/// Fails if a path is not UTF-8. Messages to the daemon are text, so paths in them must be text too.
fn is_text(path: &Path) -> Result<(), CliError> {
    match path.to_str() {
        Some(_) => Ok(()),
        None => Err(CliError::PathNotText {
            path: path.to_owned(),
        }),
    }
}

/// If nothing was started from a file and the file cannot be read, the second error explains more.
fn explained(error: CliError, here: Here) -> CliError {
    let unknown = refused(&error, |code| matches!(code, ErrorCode::NoSuchProject(_)));
    match (here.nameless, here.selector) {
        (Some(why @ LoadError::Read { .. }), _) if unknown => why.into(),
        (
            Some(_),
            ProjectSelector::Near {
                config: Some(path), ..
            },
        ) if unknown => CliError::Nameless { path },
        _ => error,
    }
}

fn refused(error: &CliError, is: impl Fn(&ErrorCode) -> bool) -> bool {
    error.refusal().is_some_and(|body| is(&body.code))
}

/// Whether the error says that the daemon does not know the project.
pub(crate) fn is_unknown(error: &CliError) -> bool {
    refused(error, |code| matches!(code, ErrorCode::NoSuchProject(_)))
}
