//! What is mounted into a container: folders of this machine, and volumes of the engine, which outlive the container.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use blocking::unblock;
use bollard::models::VolumeCreateRequest;
use bollard::query_parameters::{ListVolumesOptions, RemoveVolumeOptions};
use harness_model::ProjectName;
use harness_model::spec::VolumeName;
use service_orchestration::executor::{LaunchError, Order};

use crate::engine::{Engine, EngineError};
use crate::labels::{self, Owner};

/// A mount of a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mount {
    source: Source,
    target: String,
    read_only: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Source {
    Folder(PathBuf),
    Volume(VolumeName),
}

impl Mount {
    /// Parses `source:target[:ro|rw]`. A source with a slash is a path. Anything else is a volume, and the project's
    /// name is added to its name.
    pub(crate) fn parse(
        text: &str,
        project: &str,
        names: &BTreeMap<String, VolumeName>,
    ) -> Result<Self, LaunchError> {
        let refused = |why: String| LaunchError::NotForType { key: "volumes", why };
        let parts: Vec<&str> = text.split(':').collect();
        let (source, target, mode) = match parts.as_slice() {
            [source, target] => (*source, *target, "rw"),
            [source, target, mode] => (*source, *target, *mode),
            _ => return Err(refused(format!("takes `source:target[:ro]`, not `{text}`"))),
        };
        if !target.starts_with('/') {
            return Err(refused(format!(
                "needs an absolute path in the container, not `{target}`"
            )));
        }
        let read_only = match mode {
            "ro" => true,
            "rw" => false,
            other => {
                return Err(refused(format!("has no option `{other}`: use `ro` or `rw`")));
            }
        };
        let source = if source.starts_with('/') {
            Source::Folder(source.into())
        } else if source.contains('/') || source.starts_with(['.', '~']) {
            return Err(refused(format!("needs an absolute path, not `{source}`")));
        } else {
            let named = names.get(source).cloned();
            Source::Volume(named.unwrap_or_else(|| VolumeName {
                name: format!("{project}_{source}"),
                external: false,
            }))
        };
        Ok(Self {
            source,
            target: target.to_owned(),
            read_only,
        })
    }

    /// Its place in the container.
    pub(crate) fn target(&self) -> &Path {
        Path::new(&self.target)
    }

    /// The folder of this machine that is mounted, if it is one.
    pub(crate) fn folder(&self) -> Option<&Path> {
        match &self.source {
            Source::Folder(path) => Some(path),
            Source::Volume(_) => None,
        }
    }

    /// In the form of the engine's API.
    pub(crate) fn bind(&self) -> String {
        let source = match &self.source {
            Source::Folder(path) => path.display().to_string(),
            Source::Volume(volume) => volume.name.clone(),
        };
        let mode = if self.read_only { "ro" } else { "rw" };
        format!("{source}:{}:{mode}", self.target)
    }
}

/// Makes what is to be mounted. A missing folder is created by this user, and not by the engine's root. Nothing is
/// mounted through a link that others could have made.
pub(crate) async fn prepare(
    engine: &Engine,
    owner: &Owner,
    order: &Order,
    mounts: &[Mount],
) -> Result<(), LaunchError> {
    for mount in mounts {
        match &mount.source {
            Source::Folder(path) => {
                let folder = path.clone();
                let made = unblock(move || harness_files::make_folder(&folder)).await;
                made.map_err(|error| LaunchError::Path {
                    what: "volume",
                    path: path.clone(),
                    source: io::Error::new(error.kind(), error),
                })?;
            }
            Source::Volume(VolumeName { name, external: true }) => {
                let there = engine
                    .ask("look for", &format!("volume {name}"), |docker| async move {
                        docker.inspect_volume(name).await
                    })
                    .await;
                there.map_err(|error| match error.is_not_found() {
                    true => LaunchError::NotForType {
                        key: "volumes",
                        why: format!(
                            "needs the external volume `{name}`, which does not exist: create it (docker volume create \
                             {name})"
                        ),
                    },
                    false => LaunchError::Place(Box::new(error)),
                })?;
            }
            Source::Volume(VolumeName { name, .. }) => {
                let request = VolumeCreateRequest {
                    name: Some(name.clone()),
                    labels: Some(owner.of_project(&order.project)),
                    ..VolumeCreateRequest::default()
                };
                let made = engine
                    .ask("create", &format!("volume {name}"), |docker| async move {
                        docker.create_volume(request).await
                    })
                    .await;
                made.map_err(|error: EngineError| LaunchError::Place(Box::new(error)))?;
            }
        }
    }
    Ok(())
}

/// Removes the named volumes that were made for a project, but not those that it was given. Returns their names.
pub(crate) async fn remove(
    engine: &Engine,
    owner: &Owner,
    project: &ProjectName,
) -> Result<Vec<String>, EngineError> {
    let options = ListVolumesOptions {
        filters: Some(labels::filter(&owner.of_project(project))),
    };
    let found = engine
        .ask("list", "volumes", |docker| async move {
            docker.list_volumes(Some(options)).await
        })
        .await?;
    let mut removed = Vec::new();
    for volume in found.volumes.unwrap_or_default() {
        let name = volume.name;
        let what = format!("volume {name}");
        let gone = engine.ask("remove", &what, |docker| {
            let name = name.as_str();
            async move { docker.remove_volume(name, None::<RemoveVolumeOptions>).await }
        });
        match gone.await {
            Err(error) if !error.is_not_found() => return Err(error),
            _ => removed.push(name),
        }
    }
    Ok(removed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_told_from_volumes() {
        let theirs = VolumeName {
            name: "else-where".to_owned(),
            external: true,
        };
        let names = BTreeMap::from([("ext".to_owned(), theirs)]);
        let bind = |text: &str| Mount::parse(text, "shop", &names).map(|mount| mount.bind());
        assert_eq!(bind("ext:/x").unwrap(), "else-where:/x:rw");
        assert_eq!(bind("/data:/var/lib").unwrap(), "/data:/var/lib:rw");
        assert_eq!(bind("pg:/var/lib:ro").unwrap(), "shop_pg:/var/lib:ro");
        for (bad, why) in [
            ("./x:/y", "absolute path"),
            ("x:y", "absolute path in the container"),
            ("x:/y:z", "no option `z`"),
            ("x", "source:target"),
        ] {
            let error = bind(bad).unwrap_err().to_string();
            assert!(error.starts_with("`volumes` ") && error.contains(why), "{error}");
        }
    }
}
