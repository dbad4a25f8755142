//! Looks at the files that projects were started from. Each look waits for a disk, perhaps of another machine that is
//! gone, so it runs on a thread and has a deadline.

use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use blocking::unblock;
use futures_lite::FutureExt as _;
use harness_model::spec::NamedBy;
use harness_model::{ProjectName, ServiceState, WallTime};
use service_registry::record::{FolderId, ProjectRecord, ServiceRecord};

use crate::selection::{Known, Seen};

/// How long a disk may take to answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// What is known about projects, and how their files compare with a requested file and folder, where that matters for
/// the file or the name.
pub(crate) async fn known(
    projects: &[Arc<ProjectRecord>],
    services: impl Fn(&ProjectName) -> Vec<Arc<ServiceRecord>>,
    asked: Option<(&Path, &Path)>,
    name: Option<&ProjectName>,
) -> Vec<Known> {
    let is_asked =
        |project: &ProjectRecord| asked == Some((project.source.as_path(), project.spec.base_dir.as_path()));
    let known_file = projects.iter().any(|project| is_asked(project));
    let look = |project: &Arc<ProjectRecord>| {
        let (file, folder) = asked.filter(|_| !is_asked(project))?;
        let matters = name == Some(&project.name) || !known_file;
        let recorded = Place {
            file: project.source.clone(),
            folder: project.spec.base_dir.clone(),
        };
        let (asked, id) = (
            Place {
                file: file.to_owned(),
                folder: folder.to_owned(),
            },
            project.folder,
        );
        matters.then(|| unblock(move || see(&recorded, id, &asked)))
    };
    let looks: Vec<_> = projects.iter().map(look).collect();
    let is_up = |service: &Arc<ServiceRecord>| {
        let going = matches!(service.state, ServiceState::Pending | ServiceState::Restarting);
        service.state.is_live() || going
    };
    let deadline = Instant::now() + PATIENCE;
    let mut out = Vec::new();
    for (project, look) in projects.iter().zip(looks) {
        let seen = match look {
            None if is_asked(project) => Seen::Asked,
            None => Seen::There,
            Some(look) => by(deadline, look).await.unwrap_or(Seen::There),
        };
        out.push(Known {
            name: project.name.clone(),
            source: project.source.clone(),
            folder: project.spec.base_dir.clone(),
            named_by: named_by(project),
            up: services(&project.name).iter().any(is_up),
            seen,
        });
    }
    out
}

/// Where the name of a project comes from. Versions without a list of files did not record that, so the name may come
/// from a folder that was moved.
fn named_by(project: &ProjectRecord) -> NamedBy {
    match project.spec.files.is_empty() {
        true => NamedBy::Folder,
        false => project.spec.named_by,
    }
}

/// A file, and the folder where it was found: its own, or that of a link to it.
struct Place {
    file: PathBuf,
    folder: PathBuf,
}

/// Waits for a look. `None` if the disk does not answer in time.
async fn by<T>(deadline: Instant, look: impl Future<Output = T>) -> Option<T> {
    let seen = async { Some(look.await) };
    let late = async {
        async_io::Timer::at(deadline).await;
        None
    };
    seen.or(late).await
}

fn see(recorded: &Place, id: Option<FolderId>, asked: &Place) -> Seen {
    let same_name = recorded.file.file_name() == asked.file.file_name();
    let gone = |path: &Path| path.metadata().is_err_and(|error| is_gone(&error));
    if gone(&recorded.file) || gone(&recorded.folder) {
        let same_folder = recorded.folder == asked.folder || (id.is_some() && id == id_of(&asked.folder));
        return match (same_folder, same_name) {
            (true, true) => Seen::Moved,
            (true, false) => Seen::Beside,
            (false, _) => Seen::Gone,
        };
    }
    // It may be reached through links, or its folder may have two paths through a bind mount.
    let same_folder = is_same(&recorded.folder, &asked.folder);
    let same_place = || same_folder && recorded.file.parent() == Some(recorded.folder.as_path()) && same_name;
    if !same_path(&recorded.file, &asked.file) && !same_place() {
        return Seen::There;
    }
    if same_folder { Seen::Asked } else { Seen::Linked }
}

fn same_path(one: &Path, other: &Path) -> bool {
    match (one.canonicalize(), other.canonicalize()) {
        (Ok(one), Ok(other)) => one == other,
        _ => false,
    }
}

fn is_same(one: &Path, other: &Path) -> bool {
    let id = |path: &Path| path.metadata().ok().map(|folder| (folder.dev(), folder.ino()));
    id(one).is_some_and(|one| id(other) == Some(one))
}

/// Whether an error says that a file is gone. Without permission or an answer, that is unknown.
fn is_gone(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    )
}

/// The identity of a folder. Not every file system records when a folder was created.
fn id_of(folder: &Path) -> Option<FolderId> {
    let folder = folder.metadata().ok()?;
    Some(FolderId {
        inode: folder.ino(),
        born: WallTime::from(folder.created().ok()?),
    })
}

/// The same on a thread, with a deadline.
pub(crate) async fn folder(folder: &Path) -> Option<FolderId> {
    let folder = folder.to_owned();
    let look = unblock(move || id_of(&folder));
    by(Instant::now() + PATIENCE, look).await.flatten()
}

/// The files in a list that are not gone.
pub(crate) async fn still_there(files: Vec<PathBuf>) -> Vec<PathBuf> {
    let look = |file: PathBuf| {
        let looked = file.clone();
        (
            file,
            unblock(move || looked.metadata().is_err_and(|error| is_gone(&error))),
        )
    };
    let looks: Vec<_> = files.into_iter().map(look).collect();
    let deadline = Instant::now() + PATIENCE;
    let mut there = Vec::new();
    for (file, look) in looks {
        if by(deadline, look).await != Some(true) {
            there.push(file);
        }
    }
    there
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use harness_model::spec::ProjectFile;

    use super::*;

    fn place(file: PathBuf) -> Place {
        Place {
            folder: file.parent().unwrap().canonicalize().unwrap_or_default(),
            file: file.canonicalize().unwrap_or(file),
        }
    }

    #[test]
    fn a_file_is_the_same_by_links_and_not_by_copies() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path().canonicalize().unwrap();
        let at = |path: &str| root.join(path);
        for folder in ["shop", "copy", "linked"] {
            fs::create_dir(at(folder)).unwrap();
        }
        fs::write(at("shop/services.yaml"), "name: shop\n").unwrap();
        fs::copy(at("shop/services.yaml"), at("copy/services.yaml")).unwrap();
        fs::hard_link(at("shop/services.yaml"), at("linked/services.yaml")).unwrap();
        symlink(at("shop"), at("way")).unwrap();
        symlink(at("shop/services.yaml"), at("copy/other.yaml")).unwrap();
        symlink("services.yaml", at("shop/other.yaml")).unwrap();
        let shop = place(at("shop/services.yaml"));
        let id = id_of(&shop.folder);
        let sees = |file: &str| see(&shop, id, &place(at(file)));
        for (file, wanted) in [
            ("way/services.yaml", Seen::Asked),
            ("shop/other.yaml", Seen::Asked),
            ("copy/other.yaml", Seen::Linked),
            ("copy/services.yaml", Seen::There),
            ("linked/services.yaml", Seen::There),
            ("nowhere/services.yaml", Seen::There),
        ] {
            assert_eq!(sees(file), wanted, "{file}");
        }
        // The folder is moved, and a link is left in its place.
        fs::rename(at("shop"), at("moved")).unwrap();
        if id.is_some() {
            assert_eq!(sees("moved/services.yaml"), Seen::Moved);
        }
        assert_eq!(see(&shop, None, &place(at("moved/services.yaml"))), Seen::Gone);
        if id.is_some() {
            fs::copy(at("moved/services.yaml"), at("moved/services.yml")).unwrap();
            assert_eq!(sees("moved/services.yml"), Seen::Beside);
        }
        assert_eq!(sees("copy/services.yaml"), Seen::Gone);
        symlink(at("moved"), at("shop")).unwrap();
        assert_eq!(sees("moved/services.yaml"), Seen::Asked);
        // Another folder in its place is not the one that was moved.
        fs::remove_file(at("shop")).unwrap();
        fs::rename(at("linked"), at("shop")).unwrap();
        assert_eq!(sees("moved/services.yaml"), Seen::There);
    }

    #[test]
    fn a_file_that_has_another_name_is_in_the_folder_of_the_former_one() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path().canonicalize().unwrap();
        let at = |path: &str| root.join(path);
        for name in ["services.yaml", "dev.yaml"] {
            fs::write(at(name), "").unwrap();
        }
        let recorded = place(at("services.yaml"));
        let sees = || see(&recorded, None, &place(at("dev.yaml")));
        assert_eq!(sees(), Seen::There);
        fs::remove_file(at("services.yaml")).unwrap();
        assert_eq!(sees(), Seen::Beside);
        symlink("dev.yaml", at("services.yaml")).unwrap();
        assert_eq!(sees(), Seen::Asked);
    }

    #[test]
    fn a_record_of_a_version_that_kept_no_files_tells_nothing_of_its_name() {
        let old = serde_json::json!({
            "name": "shop",
            "source": "/shop/services.yaml",
            "spec": {
                "name": "shop", "source": "/shop/services.yaml", "base_dir": "/shop",
                "secrets": [], "networks": {}, "services": {}
            },
            "created_at": 1
        });
        let mut record: ProjectRecord = serde_json::from_value(old).unwrap();
        assert_eq!(named_by(&record), NamedBy::Folder);
        record.spec.files.push(ProjectFile {
            path: record.source.clone(),
            services: [].into(),
        });
        assert_eq!(named_by(&record), NamedBy::File);
    }

    #[test]
    fn a_link_to_a_file_belongs_to_its_folder() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path().canonicalize().unwrap();
        let at = |path: &str| root.join(path);
        fs::write(at("common.yaml"), "").unwrap();
        for folder in ["one", "two"] {
            fs::create_dir(at(folder)).unwrap();
            symlink(at("common.yaml"), at(folder).join("services.yaml")).unwrap();
        }
        let one = place(at("one/services.yaml"));
        let id = id_of(&one.folder);
        let sees = |file: &str| see(&one, id, &place(at(file)));
        assert_eq!(sees("one/services.yaml"), Seen::Asked);
        assert_eq!(sees("two/services.yaml"), Seen::Linked);
        assert_eq!(sees("common.yaml"), Seen::Linked);
        fs::rename(at("one"), at("three")).unwrap();
        assert_eq!(sees("two/services.yaml"), Seen::Gone);
        if id.is_some() {
            assert_eq!(sees("three/services.yaml"), Seen::Moved);
        }
    }
}
