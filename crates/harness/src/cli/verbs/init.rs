//! `init`: write a services.yaml to start from.

use std::io::{self, ErrorKind, Write as _};
use std::path::{Path, PathBuf};

use harness_config::{LoadError, LoadOptions, import};
use harness_model::ProjectName;
use serde_json::json;

use crate::cli::args::{InitArgs, InitSource};
use crate::cli::context::Context;
use crate::cli::error::CliError;
use crate::cli::exit::Exit;
use crate::cli::render;
use crate::cli::signals::Incoming;
use crate::cli::terminal::confirm;

const FILE: &str = "services.yaml";
const SCHEMA: &str = "services.schema.json";
const COMPOSE: [&str; 4] = [
    "compose.yaml",
    "compose.yml",
    "docker-compose.yml",
    "docker-compose.yaml",
];
const PROCFILE: &str = "Procfile";
const PACKAGE: &str = "package.json";

/// The largest compose file or Procfile to read, in bytes.
const MAX_SIZE: u64 = 4 << 20;

/// What the new file is made from.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Source {
    Compose(PathBuf),
    Procfile(PathBuf),
    Package(PathBuf),
    Example,
}

pub(crate) async fn run(context: &Context, args: InitArgs) -> Result<Exit, CliError> {
    // Going through the components removes `/./`, so that messages do not show it.
    let folder: PathBuf = context.cwd()?.join(&args.folder).components().collect();
    let target = folder.join(FILE);
    for taken in [&target, &folder.join("services.yml")] {
        if taken.exists() {
            return Err(CliError::Exists { path: taken.clone() });
        }
    }
    let source = match args.from {
        Some(given) => named(given, &folder)?,
        None => choose(context, found(&folder)).await?,
    };
    let text = text(&source, &folder)?;
    check(context, &source, &target, &text)?;
    harness_files::make_folder(&folder)
        .map_err(io::Error::from)
        .map_err(CliError::io("create", &folder))?;
    create(&target, &text)?;
    // A schema that exists already, maybe of another version, belongs to the user.
    let schema = folder.join(SCHEMA);
    let with_schema = text.contains(SCHEMA) && !schema.exists();
    if with_schema {
        let json = serde_json::to_string_pretty(&harness_config::json_schema_with(&context.types))
            .map_err(|error| CliError::Output(error.into()))?;
        create(&schema, &format!("{json}\n"))?;
    }
    tell(context, &source, &target, with_schema.then_some(schema.as_path()))
}

fn named(given: InitSource, folder: &Path) -> Result<Source, CliError> {
    let missing = |what: &str| CliError::Usage {
        message: format!("there is no {what} in {}", folder.display()),
        hint: "harness init --from example".to_owned(),
    };
    match given {
        InitSource::Example => Ok(Source::Example),
        InitSource::Compose => compose(folder).ok_or_else(|| missing("compose file")),
        InitSource::Procfile => procfile(folder).ok_or_else(|| missing("Procfile")),
        InitSource::PackageJson => package(folder).ok_or_else(|| missing("package.json")),
    }
}

fn found(folder: &Path) -> Option<Source> {
    compose(folder)
        .or_else(|| procfile(folder))
        .or_else(|| package(folder))
}

fn compose(folder: &Path) -> Option<Source> {
    COMPOSE
        .iter()
        .map(|name| folder.join(name))
        .find(|path| is_there(path))
        .map(Source::Compose)
}

fn procfile(folder: &Path) -> Option<Source> {
    Some(folder.join(PROCFILE))
        .filter(|path| is_there(path))
        .map(Source::Procfile)
}

fn package(folder: &Path) -> Option<Source> {
    Some(folder.join(PACKAGE))
        .filter(|path| is_there(path))
        .map(Source::Package)
}

/// Whether there is something other than a folder. If it is not a regular file, reading it says so.
fn is_there(path: &Path) -> bool {
    path.metadata().is_ok_and(|meta| !meta.is_dir())
}

async fn choose(context: &Context, found: Option<Source>) -> Result<Source, CliError> {
    let ui = &context.ui;
    let (path, word) = match &found {
        None => return Ok(Source::Example),
        Some(Source::Compose(path)) => (path, "compose"),
        Some(Source::Procfile(path)) => (path, "procfile"),
        Some(Source::Package(path)) => (path, "package.json"),
        Some(Source::Example) => return Ok(Source::Example),
    };
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    if !(ui.in_tty && ui.err_tty) || ui.json {
        return Err(CliError::Usage {
            message: format!("{name} exists here; say whether to start from it"),
            hint: format!("harness init --from {word}, or --from example"),
        });
    }
    let mut signals = Incoming::ending()?;
    let yes = confirm(
        &format!("{name} exists here. Start from it?"),
        true,
        ui,
        &mut signals,
    )
    .await?;
    Ok(found.filter(|_| yes).unwrap_or(Source::Example))
}

fn text(source: &Source, folder: &Path) -> Result<String, CliError> {
    let path = match source {
        Source::Example => {
            let name = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
            let name = name
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            return Ok(import::starter(ProjectName::from_lossy(&name).as_str()));
        }
        Source::Compose(path) | Source::Procfile(path) | Source::Package(path) => path,
    };
    let read = |path: &Path| {
        let text = harness_files::read_text(path, MAX_SIZE).map_err(io::Error::from);
        text.map_err(CliError::io("read", path))
    };
    let text = read(path)?;
    let made = match source {
        Source::Compose(_) => import::from_compose(&text),
        Source::Package(_) => import::from_package_json(&text),
        Source::Procfile(_) | Source::Example => {
            let dotenv = folder.join(".env");
            let dotenv = is_there(&dotenv).then(|| read(&dotenv)).transpose()?;
            import::from_procfile(&text, dotenv.as_deref())
        }
    };
    made.map_err(|source| CliError::Import {
        path: path.to_owned(),
        source,
    })
}

/// What is written is valid: what would not be is told, and nothing is written.
fn check(context: &Context, source: &Source, target: &Path, text: &str) -> Result<(), CliError> {
    let (Source::Compose(path) | Source::Procfile(path) | Source::Package(path)) = source else {
        return Ok(());
    };
    let options = LoadOptions {
        files: vec![target.to_owned()],
        project: None,
        ..context.load_options(&[])?
    };
    match harness_config::load_text(text, &options) {
        Ok(_) => Ok(()),
        Err(LoadError::Invalid(mistakes)) => Err(CliError::Import {
            path: path.to_owned(),
            source: import::ImportError::Invalid(mistakes),
        }),
        Err(error) => Err(error.into()),
    }
}

/// Writes a new file. The file must not exist.
fn create(path: &Path, text: &str) -> Result<(), CliError> {
    // Other users may be able to write to the folder, and we may be root.
    let file = harness_files::create(path, 0o666).map_err(io::Error::from);
    let mut file = file.map_err(|error| match error.kind() {
        ErrorKind::AlreadyExists => CliError::Exists {
            path: path.to_owned(),
        },
        _ => CliError::io("write", path)(error),
    })?;
    file.write_all(text.as_bytes())
        .map_err(CliError::io("write", path))
}

fn tell(context: &Context, source: &Source, target: &Path, schema: Option<&Path>) -> Result<Exit, CliError> {
    let cwd = context.cwd()?;
    let shown = |path: &Path| render::path(path.strip_prefix(&cwd).unwrap_or(path));
    let with_schema = match schema {
        Some(schema) => format!(" and {} (for editors)", shown(schema)),
        None => String::new(),
    };
    let next = match source {
        Source::Example => "harness start",
        Source::Compose(_) | Source::Procfile(_) | Source::Package(_) => {
            "review it, then harness validate && harness start"
        }
    };
    context
        .ui
        .say(&format!("wrote {}{with_schema}\n  next: {next}\n", shown(target)))?;
    if context.ui.json {
        context
            .ui
            .out_json_pretty(&json!({ "file": target, "schema": schema }))?;
    }
    Ok(Exit::Ok)
}
