//! Which project a verb is about: by `-p`, else by the file or folder it is called in. The daemon decides, since it knows
//! what was started from where; here is what it has to be told, and what people hear of its choice.

use std::path::{Path, PathBuf};

use harness_wire::message::{
    ErrorCode, ProjectSelector, Purpose, Request, Response, SelectRequest, Selected, StartRequest,
};

use super::backend::LoadError;
use super::context::{Context, Daemon};
use super::error::CliError;
use super::render::remarks;

/// What is called here, and why its file does not say a name.
struct Here {
    selector: ProjectSelector,
    nameless: Option<LoadError>,
}

impl Context {
    /// The project that is meant, which is told where it is not obvious.
    ///
    /// # Errors
    /// When none is, or several may be.
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

    /// The project that is to be started from a file, with a word where that changes whose the file is.
    ///
    /// # Errors
    /// When it would take the place of another.
    pub(crate) async fn to_be_started(&self, daemon: &Daemon, start: &StartRequest) -> Result<(), CliError> {
        self.begin(daemon, start, None).await
    }

    /// The same of a project whose services are stopped first: not if the file was found above, and what runs nearer may
    /// be meant.
    ///
    /// # Errors
    /// When it would take the place of another, or another may be meant.
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

    /// Asks the daemon, and tells its remarks; nothing from an older one, which decides with the request itself.
    ///
    /// # Errors
    /// When it refuses, or does not answer.
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

    /// What the daemon is told of this place.
    ///
    /// # Errors
    /// When that cannot be put into words, or the current folder was removed.
    pub(crate) fn selector(&self) -> Result<ProjectSelector, CliError> {
        match self.project() {
            Some(name) => Ok(ProjectSelector::Named(name.clone())),
            None => Ok(self.here()?.selector),
        }
    }

    /// Whether there is a file here: given, in this folder, or above.
    ///
    /// # Errors
    /// When the current folder was removed.
    pub(crate) fn has_file(&self) -> Result<bool, CliError> {
        Ok(!self.globals.config.is_empty() || harness_config::find_config(&self.cwd()?).is_some())
    }

    /// The folder we are in, if it is below one in which a file was found. No project was started in one whose path is not
    /// text, so what is above that does as well.
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

/// Messages are text, and so are the paths in them.
fn is_text(path: &Path) -> Result<(), CliError> {
    match path.to_str() {
        Some(_) => Ok(()),
        None => Err(CliError::PathNotText {
            path: path.to_owned(),
        }),
    }
}

/// Where nothing was started from a file, that it cannot be read says more.
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

/// Whether it says that a project is not known.
pub(crate) fn is_unknown(error: &CliError) -> bool {
    refused(error, |code| matches!(code, ErrorCode::NoSuchProject(_)))
}
