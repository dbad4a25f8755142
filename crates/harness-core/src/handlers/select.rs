//! `select`: finds the project that a request refers to, also for every other verb.

mod refusal;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use harness_model::spec::ProjectFile;
use harness_model::{ProjectName, ProjectSpec, ServiceName};
use harness_wire::message::{
    ErrorBody, ErrorCode, ProjectSelector, Purpose, Remark, Response, SelectRequest, Selected,
};
use service_orchestration::actor::MoveOrder;
use service_registry::record::ProjectRecord;

use self::refusal::refusal;
use super::{Answer, Context};
use crate::looks;
use crate::selection::{self, Asked, Known, Meant, Starting, Way};

/// Only this request binds a project to the place where it was moved, because its callers tell people about it.
pub(super) async fn select(context: &Context, request: &SelectRequest) -> Answer {
    let (project, remarks, binds) = match (&request.project, request.purpose) {
        (
            ProjectSelector::Near {
                config: Some(file),
                directory: folder,
                name: Some(name),
                from,
            },
            Purpose::Start { named, dry_run },
        ) => {
            let start = Beginning {
                name,
                file,
                folder,
                from: from.as_deref(),
                named,
            };
            let (_, remarks) = context.starting(start).await?;
            (name.clone(), remarks, !dry_run)
        }
        (project, purpose) => {
            let (project, remarks) = context.meant(project, purpose == Purpose::Look).await?;
            (project.name.clone(), remarks, true)
        }
    };
    let moved = |remark: &Remark| matches!(remark, Remark::Moved { .. });
    if let ProjectSelector::Near {
        config: Some(file),
        directory: folder,
        ..
    } = &request.project
        && binds
        && remarks.iter().any(moved)
    {
        context.bind(&project, file, folder).await;
    }
    let files = match context.registry.project(&project) {
        Some(known) if known.spec.files.is_empty() => vec![known.source.clone()],
        Some(known) => known.spec.files.iter().map(|file| file.path.clone()).collect(),
        None => Vec::new(),
    };
    Ok(Response::Selected(Selected {
        project,
        files,
        remarks: remarks
            .into_iter()
            .filter(|remark| binds || !moved(remark))
            .collect(),
    }))
}

/// A start of a project from a file.
#[derive(Clone, Copy)]
pub(super) struct Beginning<'a> {
    pub(super) name: &'a ProjectName,
    pub(super) file: &'a Path,
    /// The folder where the file was found.
    pub(super) folder: &'a Path,
    /// The caller's folder, if the file was found in a folder above and that matters.
    pub(super) from: Option<&'a Path>,
    /// Whether its name was given with `-p`.
    pub(super) named: bool,
}

impl Context {
    /// The project for a request that only looks.
    pub(super) async fn looked_at(
        &self,
        selector: &ProjectSelector,
    ) -> Result<Arc<ProjectRecord>, ErrorBody> {
        Ok(self.meant(selector, true).await?.0)
    }

    /// The project for a request that changes something, or on which somebody will act.
    pub(super) async fn changed(&self, selector: &ProjectSelector) -> Result<Arc<ProjectRecord>, ErrorBody> {
        Ok(self.meant(selector, false).await?.0)
    }

    /// The project that a selector refers to, and remarks about the choice.
    async fn meant(
        &self,
        selector: &ProjectSelector,
        look: bool,
    ) -> Result<(Arc<ProjectRecord>, Vec<Remark>), ErrorBody> {
        let (config, directory, name, from) = match selector {
            ProjectSelector::Named(name) => return Ok((self.named(name)?, Vec::new())),
            ProjectSelector::Near {
                config,
                directory,
                name,
                from,
            } => (config.as_deref(), directory, name.as_ref(), from.as_deref()),
        };
        let known = self
            .known(config.map(|file| (file, directory.as_path())), name)
            .await;
        let meant = match config {
            Some(file) => {
                let way = from.map(|from| Way { from, to: directory });
                selection::by_file(&known, Asked { file, name, way })
            }
            None => selection::by_folder(&known, directory, look),
        };
        let meant = meant.map_err(|error| refusal(error, &known, (config, directory), false))?;
        let project = self.named(&meant.name)?;
        let mut remarks = Vec::new();
        if let (true, Some(file)) = (meant.moved, config) {
            remarks.push(moved(&project, file, directory));
        }
        remarks.extend(remark(meant));
        Ok((project, remarks))
    }

    /// Whether a project may be started from a file, and remarks about that.
    pub(super) async fn starting(&self, start: Beginning<'_>) -> Result<(Starting, Vec<Remark>), ErrorBody> {
        let Beginning {
            name,
            file,
            folder,
            from,
            named,
        } = start;
        let known = self.known(Some((file, folder)), Some(name)).await;
        let way = from.map(|from| Way { from, to: folder });
        let starting = selection::pass(&known, way, Some(name))
            .and_then(|()| selection::to_start(&known, name, file, named))
            .map_err(|error| refusal(error, &known, (Some(file), folder), true))?;
        let before = self.registry.project(name);
        let remarks = match (&starting, before) {
            (Starting::Moved, Some(project)) => vec![moved(&project, file, folder)],
            (Starting::TakenOver, Some(project)) => vec![Remark::TakenOver {
                from: project.source.clone(),
                to: file.to_owned(),
            }],
            (
                Starting::New {
                    former,
                    also_up,
                    lost,
                },
                _,
            ) => {
                let remarks = [
                    (former, Remark::Former as fn(_) -> _),
                    (also_up, Remark::AlsoUp),
                    (lost, Remark::Lost),
                ];
                let told = remarks.into_iter().filter(|(projects, _)| !projects.is_empty());
                told.map(|(projects, remark)| remark(projects.clone())).collect()
            }
            _ => Vec::new(),
        };
        Ok((starting, remarks))
    }

    async fn known(&self, asked: Option<(&Path, &Path)>, name: Option<&ProjectName>) -> Vec<Known> {
        let services = |project: &ProjectName| self.registry.services(project);
        looks::known(&self.registry.projects(), services, asked, name).await
    }

    fn named(&self, name: &ProjectName) -> Result<Arc<ProjectRecord>, ErrorBody> {
        let all = || self.registry.projects();
        self.registry.project(name).ok_or_else(|| ErrorBody {
            code: ErrorCode::NoSuchProject(all().iter().map(|p| p.name.clone()).collect()),
            message: format!("there is no project `{name}`"),
            hint: None,
        })
    }

    /// Binds a project to the file that it was moved to, and to the folder where that file was found.
    async fn bind(&self, project: &ProjectName, to: &Path, folder: &Path) {
        let Some(known) = self.registry.project(project) else {
            return;
        };
        let order = MoveOrder {
            project: project.clone(),
            from: known.source.clone(),
            to: to.to_owned(),
            base_dir: folder.to_owned(),
            folder: looks::folder(folder).await,
        };
        self.orchestrator.move_project(order).await;
    }

    /// Files that the project was read from before but not this time, and that still exist.
    pub(super) async fn earlier_files(&self, project: &ProjectSpec) -> Vec<ProjectFile> {
        let Some(known) = self.registry.project(&project.name) else {
            return Vec::new();
        };
        if known.source != project.source {
            return Vec::new();
        }
        let mut earlier: BTreeMap<PathBuf, BTreeSet<ServiceName>> = BTreeMap::new();
        for file in known.earlier_files.iter().chain(&known.spec.files) {
            if !project.files.iter().any(|given| given.path == file.path) {
                let services = file.services.iter();
                let there = services.filter(|name| self.registry.service(&project.name, name).is_some());
                earlier.insert(file.path.clone(), there.cloned().collect());
            }
        }
        earlier.retain(|_, services| !services.is_empty());
        let there = looks::still_there(earlier.keys().cloned().collect()).await;
        let files = earlier.into_iter().filter(|(path, _)| there.contains(path));
        files
            .map(|(path, services)| ProjectFile { path, services })
            .collect()
    }
}

/// The remark that a project now belongs to another file. If only a link to the file was moved, it names the folders.
fn moved(project: &ProjectRecord, to: &Path, folder: &Path) -> Remark {
    let (from, to) = match project.source == to {
        true => (&project.spec.base_dir, folder),
        false => (&project.source, to),
    };
    Remark::Moved {
        from: from.clone(),
        to: to.to_owned(),
    }
}

/// The remark about a choice, other than that the project was moved.
fn remark(meant: Meant) -> Option<Remark> {
    Some(match meant.remark? {
        selection::Remark::Renamed(to) => Remark::Renamed { to },
        selection::Remark::NamedByCaller => Remark::NamedByCaller {},
        selection::Remark::AlsoUp(projects) => Remark::AlsoUp(projects),
        selection::Remark::Only => Remark::Only {},
    })
}
