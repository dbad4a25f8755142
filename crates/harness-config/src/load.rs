//! Loads a project from its files: reads them, and calls the other modules in order.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

use harness_model::spec::{NamedBy, ProjectFile};
use harness_model::{ProjectName, ProjectSpec, ServiceName};

use crate::check::{self, Dependencies};
use crate::compose;
use crate::diagnostics::{self, Diagnostics, Finding};
use crate::lower::{self, DraftProject, lower_project};
use crate::mask::{listed_secrets, mask_literals};
use crate::merge::{merge, refuse_duplicates};
use crate::name::true_path;
use crate::read::{Context, Reader};
use crate::source::{Sources, display_name};
use crate::tree::{self, Kind, Node};
use crate::types::Types;
use crate::variables::{Scope, Variables};

/// What to load, and everything that it may depend on. Loading looks at nothing else of the process's environment.
#[derive(Debug, Clone, Default)]
pub struct LoadOptions {
    /// The files. The first one is the base. Empty: the one that [`find_config`] finds from `cwd`.
    pub files: Vec<PathBuf>,
    /// The chosen profiles.
    pub profiles: BTreeSet<String>,
    /// The project's name, which overrides the one in the file.
    pub project: Option<ProjectName>,
    /// The environment with the values for `${VAR}`.
    pub environment: BTreeMap<String, String>,
    /// What `~` stands for.
    pub home: Option<PathBuf>,
    /// The folder that relative `files` start from. It must be absolute.
    pub cwd: PathBuf,
    /// The types and probes that the program adds.
    pub types: Types,
}

/// A valid project.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The project as the files describe it.
    pub project: ProjectSpec,
    /// Warnings about things that are probably not intended.
    pub warnings: Diagnostics,
    /// Every service of the files, including those of other profiles.
    pub all_services: BTreeSet<ServiceName>,
    /// Env files that cannot be read. That is a mistake when starting, but not when validating.
    pub missing_files: Diagnostics,
}

/// Why a project cannot be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// A file cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// There is no services.yaml in this folder or above.
    #[error("no services.yaml in {} or any folder above it", from.display())]
    NotFound {
        /// Where the search began.
        from: PathBuf,
    },
    /// The path of a file or its folder is not UTF-8.
    #[error("the path {} is not UTF-8, but arguments and records of services must be", path.display())]
    NotText {
        /// The path.
        path: PathBuf,
    },
    /// The files have mistakes.
    #[error("{0}")]
    Invalid(Diagnostics),
}

/// The file names to look for, in this order.
const CONFIG_NAMES: [&str; 2] = ["services.yaml", "services.yml"];

/// The services.yaml (or services.yml) in a folder or in the nearest one above it. Also finds a file that cannot be
/// read, for example a broken link: with a file from a folder above, another project would be used.
pub fn find_config(start: &Path) -> Option<PathBuf> {
    start
        .ancestors()
        .flat_map(|folder| CONFIG_NAMES.map(|name| folder.join(name)))
        .find(|path| match path.metadata() {
            Ok(found) => !found.is_dir(),
            Err(_) => path.symlink_metadata().is_ok(),
        })
}

/// Reads and validates a project.
///
/// # Errors
/// When no file is found, a file cannot be read, or anything in the files is wrong. The error then has every mistake.
pub fn load(options: &LoadOptions) -> Result<Loaded, LoadError> {
    load_with(&Sources::default(), options)
}

/// Validates the text of a file that is to be written: the first of the options.
///
/// # Errors
/// The same as [`load`].
pub fn load_text(text: &str, options: &LoadOptions) -> Result<Loaded, LoadError> {
    let sources = match config_paths(options)?.into_iter().next() {
        Some(path) => Sources::with(path, text.to_owned()),
        None => Sources::default(),
    };
    load_with(&sources, options)
}

fn load_with(sources: &Sources, options: &LoadOptions) -> Result<Loaded, LoadError> {
    load_and(sources, options, |_, _, _| ()).map(|(loaded, ())| loaded)
}

/// Loads a project and asks something of it while its files are at hand: of what every module shares, of the merged tree,
/// and of what was loaded.
pub(crate) fn load_and<T>(
    sources: &Sources,
    options: &LoadOptions,
    ask: impl FnOnce(&Context<'_>, &Node, &Loaded) -> T,
) -> Result<(Loaded, T), LoadError> {
    let paths = config_paths(options)?;
    let mut findings = Vec::new();
    let (tree, written) = read_trees(sources, &paths, &options.cwd, &mut findings)?;
    let (Some(tree), Some(source)) = (tree, paths.first()) else {
        return Err(LoadError::Invalid(diagnostics::finish(findings, sources).0));
    };
    let base_dir = folder_of(source);
    let paths = written.iter().map(|file| file.path.as_path());
    refuse_unusable(paths.chain([base_dir.as_path()]))?;
    sources.belong_to(&base_dir);
    let (variables, said) = read_variables(
        sources,
        &base_dir,
        &options.cwd,
        &options.environment,
        listed_secrets(&tree),
    )?;
    findings.extend(said);
    let context = Context {
        types: &options.types,
        ..Context::new(sources, &variables, options.home.clone())
    };
    context.findings.borrow_mut().extend(findings);
    let draft = lower_project(&context, &options.profiles, &tree);
    let dependencies = draft.as_ref().map(|draft| check::check(&context, draft));

    let missing = context.missing.take();
    let (errors, warnings) = diagnostics::finish(context.findings.take(), sources);
    match (draft, dependencies) {
        (Some(draft), Some(dependencies)) if errors.is_empty() => {
            let loaded = Loaded {
                all_services: draft.services.keys().cloned().collect(),
                project: assemble(
                    options,
                    draft,
                    dependencies,
                    Origins {
                        source: true_path(source),
                        base_dir,
                        written,
                    },
                    variables.secrets.clone(),
                    sources.files(),
                ),
                warnings,
                missing_files: diagnostics::finish(missing, sources).0,
            };
            let answer = ask(&context, &tree, &loaded);
            Ok((loaded, answer))
        }
        _ => Err(LoadError::Invalid(errors)),
    }
}

/// The names that stand for several services: entries for whole compose files.
fn groups(draft: &DraftProject) -> BTreeMap<ServiceName, BTreeSet<ServiceName>> {
    let groups = draft.groups.iter();
    groups
        .map(|(name, group)| (name.clone(), group.members.iter().cloned().collect()))
        .collect()
}

/// The services of the files that were not chosen, with their profiles.
fn unchosen(draft: &DraftProject) -> BTreeMap<ServiceName, BTreeSet<String>> {
    let others = draft.services.iter().filter(|(_, service)| !service.active);
    others
        .map(|(name, service)| (name.clone(), service.profiles.iter().cloned().collect()))
        .collect()
}

/// Refuses paths that are not UTF-8. Paths go into arguments, variables and records, which are text.
fn refuse_unusable<'a>(mut paths: impl Iterator<Item = &'a Path>) -> Result<(), LoadError> {
    match paths.find(|path| path.to_str().is_none()) {
        None => Ok(()),
        Some(path) => Err(LoadError::NotText {
            path: path.to_path_buf(),
        }),
    }
}

/// The services that one file describes, by the keys under its `services`.
pub(crate) struct Written {
    path: PathBuf,
    names: BTreeSet<String>,
    /// Whether one of them is an entry for a compose file, which may bring in services that no entry names.
    has_compose: bool,
}

impl Written {
    fn of(path: &Path, tree: &Node) -> Self {
        let entries = match tree.get("services").map(|services| &services.kind) {
            Some(Kind::Map(entries)) => entries.as_slice(),
            _ => &[],
        };
        Self {
            path: true_path(path),
            names: entries.iter().map(|(key, _)| key.name.clone()).collect(),
            has_compose: entries.iter().any(|(_, node)| lower::is_compose(node)),
        }
    }
}

/// The files of a project, with the services of each: those that it names, the members of groups that it names, and
/// those that its compose files bring in.
fn project_files(draft: &DraftProject, written: Vec<Written>) -> Vec<ProjectFile> {
    let named = |file: &Written| -> BTreeSet<ServiceName> {
        let own = draft
            .services
            .keys()
            .filter(|name| file.names.contains(name.as_str()));
        let groups = draft
            .groups
            .iter()
            .filter(|(name, _)| file.names.contains(name.as_str()));
        own.chain(groups.flat_map(|(_, group)| &group.members))
            .cloned()
            .collect()
    };
    let all: Vec<BTreeSet<ServiceName>> = written.iter().map(named).collect();
    let brought: Vec<&ServiceName> = draft
        .services
        .keys()
        .filter(|name| !all.iter().any(|names| names.contains(*name)))
        .collect();
    let files = written.into_iter().zip(all);
    files
        .map(|(file, mut services)| {
            if file.has_compose {
                services.extend(brought.iter().map(|name| (*name).clone()));
            }
            ProjectFile {
                path: file.path,
                services,
            }
        })
        .collect()
}

pub(crate) fn config_paths(options: &LoadOptions) -> Result<Vec<PathBuf>, LoadError> {
    if options.files.is_empty() {
        return match find_config(&options.cwd) {
            Some(path) => Ok(vec![path]),
            None => Err(LoadError::NotFound {
                from: options.cwd.clone(),
            }),
        };
    }
    let absolute = |path: &PathBuf| options.cwd.join(path).components().collect();
    Ok(options.files.iter().map(absolute).collect())
}

/// The name of a project if its files give none.
pub(crate) fn folder_name(folder: &Path) -> ProjectName {
    let name = folder.file_name().map(|name| name.to_string_lossy().into_owned());
    ProjectName::from_lossy(name.as_deref().unwrap_or_default())
}

/// The folder of a file, with links resolved. A spec must not depend on the path by which its file was reached.
pub(crate) fn folder_of(path: &Path) -> PathBuf {
    let folder = path.parent().map(Path::to_path_buf).unwrap_or_default();
    folder.canonicalize().unwrap_or(folder)
}

/// Reads, masks and merges the files (`None` if one of them is not YAML), and says which services each of them names.
pub(crate) fn read_trees(
    sources: &Sources,
    paths: &[PathBuf],
    cwd: &Path,
    findings: &mut Vec<Finding>,
) -> Result<(Option<Node>, Vec<Written>), LoadError> {
    let mut trees = Vec::new();
    for path in paths {
        let text = sources.read(path).map_err(|source| LoadError::Read {
            path: path.clone(),
            source,
        })?;
        let file = sources.add(display_name(path, cwd), folder_of(path), text);
        trees.push(tree::parse(sources, file, findings));
    }
    let secrets: BTreeSet<String> = trees.iter().flatten().flat_map(listed_secrets).collect();
    let written = trees.iter().zip(paths);
    let written = written
        .filter_map(|(tree, path)| Some(Written::of(path, tree.as_ref()?)))
        .collect();
    let mut merged: Option<Node> = None;
    let complete = trees.iter().all(Option::is_some);
    for mut tree in trees.into_iter().flatten() {
        mask_literals(sources, &tree, &secrets);
        refuse_duplicates(&mut tree, findings);
        match &mut merged {
            Some(base) => merge(base, tree),
            None => merged = Some(tree),
        }
    }
    Ok((merged.filter(|_| complete), written))
}

/// The variables of a project: those of the environment and of the `.env` in its folder, and what is wrong in that. A
/// folder called `.env` is passed over: environments of other programs are called so.
pub(crate) fn read_variables(
    sources: &Sources,
    folder: &Path,
    cwd: &Path,
    environment: &BTreeMap<String, String>,
    secrets: BTreeSet<String>,
) -> Result<(Variables, Vec<Finding>), LoadError> {
    let mut variables = Variables {
        environment: environment.clone(),
        dotenv: Scope::default(),
        secrets,
    };
    let path = folder.join(".env");
    let text = match sources.read_lossy(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound || path.is_dir() => {
            return Ok((variables, Vec::new()));
        }
        Err(source) => return Err(LoadError::Read { path, source }),
    };
    let file = sources.add(display_name(&path, cwd), folder.to_path_buf(), text);
    let context = Context::new(sources, &variables, None);
    let reader = Reader {
        context: &context,
        service: None,
        active: true,
    };
    let dotenv = compose::dotenv(reader, file);
    let findings = context.findings.take();
    variables.dotenv = dotenv;
    Ok((variables, findings))
}

/// Where a project comes from.
struct Origins {
    source: PathBuf,
    base_dir: PathBuf,
    written: Vec<Written>,
}

fn assemble(
    options: &LoadOptions,
    draft: DraftProject,
    dependencies: Dependencies,
    origins: Origins,
    secrets: BTreeSet<String>,
    read_from: BTreeSet<PathBuf>,
) -> ProjectSpec {
    let Origins {
        source,
        base_dir,
        written,
    } = origins;
    let (name, named_by) = match (&options.project, &draft.name) {
        (Some(name), _) => (name.clone(), NamedBy::Caller),
        (None, Some(name)) => (name.clone(), NamedBy::File),
        (None, None) => (folder_name(&base_dir), NamedBy::Folder),
    };
    let (groups, unchosen) = (groups(&draft), unchosen(&draft));
    let files = project_files(&draft, written);
    let mut services = draft
        .services
        .into_iter()
        .filter_map(|(name, draft)| Some((name, draft.spec?)))
        .collect();
    check::assign(&mut services, dependencies);
    ProjectSpec {
        name,
        description: draft.description,
        source,
        read_from,
        base_dir,
        secrets,
        networks: draft
            .networks
            .into_iter()
            .map(|(name, draft)| (name, draft.spec))
            .collect(),
        services,
        groups,
        unchosen,
        files,
        named_by,
    }
}
