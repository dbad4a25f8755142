//! What a host is asked to run: the launch of a service, and commands in its place.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use command_executor::host::{FindError, Search};
use command_executor::local::unique;
use command_executor::supervised;
use command_executor::{Command, Host, HostError, StdinMode, WindowSize};
use harness_model::spec::{Kind, Limits, ProcessSpec};
use harness_model::{SecretString, ServiceSpec, Umask, os_text};

use super::instance::stop_policy;
use crate::executor::environment::DEFAULT_PATH;
use crate::executor::program::{redacted, text};
use crate::executor::{LaunchError, Order, PlaceCommand, compose_environment};

/// The variable that tells a `harness` where its daemon is.
const HOME_VARIABLE: &str = "HARNESS_HOME";

/// The launch of a service.
pub(super) async fn prepare(host: &dyn Host, order: &Order) -> Result<supervised::LaunchSpec, LaunchError> {
    let spec = &order.spec;
    let process = process(spec)?;
    let env = environment(order)?;
    let cwd = folder(process)?;
    let search = Search {
        program: text(&process.binary)?,
        path: path_of(&env).to_owned(),
        folder: cwd.clone(),
        // The shim becomes another user, who may follow what the kernel lets that user follow.
        is_guarded: process.user.is_none(),
    };
    let program = host
        .find(search)
        .await
        .map_err(|error| not_found(process, error))?;
    let run_id = format!(
        "{}/{}/{}/{}",
        order.project,
        order.service,
        order.generation,
        unique()
    );
    let mut launch = supervised::LaunchSpec::new(program, cwd, run_id);
    launch.args = process
        .args
        .iter()
        .map(|arg| text(arg).map(OsString::from))
        .collect::<Result<_, _>>()?;
    launch.env = env
        .into_iter()
        .map(|(name, value)| (os_text::decode(&name), os_text::decode(value.expose())))
        .collect();
    launch.user.clone_from(&process.user);
    launch.umask = order.umask.map(Umask::bits);
    launch.limits = limits(&process.limits);
    launch.stdin = if spec.stdin {
        supervised::Stdin::Keep
    } else {
        supervised::Stdin::Null
    };
    launch.tty = spec.tty.then_some(supervised::TtySize { cols: 80, rows: 24 });
    launch.stop = stop_policy(spec);
    launch.log = supervised::LogLimits {
        max_size: spec.logs.max_size,
        max_files: spec.logs.max_files,
    };
    Ok(launch)
}

/// An error about the program or the folder, without the secrets in their names.
fn not_found(process: &ProcessSpec, error: HostError<FindError>) -> LaunchError {
    let template = match &error {
        HostError::Failed(FindError::Folder { .. }) => process.working_dir.as_ref(),
        _ => Some(&process.binary),
    };
    let error = LaunchError::from(error);
    match template {
        Some(template) => redacted(template, error),
        None => error,
    }
}

/// A command as it runs in the service's place. `home` is the home of this daemon, if the place is on this machine.
pub(super) async fn command(
    host: &dyn Host,
    order: &Order,
    command: &PlaceCommand,
    home: Option<&Path>,
) -> Result<Command, LaunchError> {
    let process = process(&order.spec)?;
    let mut env = environment(order)?;
    env.extend(
        command
            .env
            .iter()
            .map(|(name, value)| (name.clone(), value.clone())),
    );
    let user = command.user.as_ref().or(process.user.as_ref());
    // `harness` inside it means this daemon. Other users may not look into this daemon's home.
    if let (None, Some(home)) = (user, home.and_then(Path::to_str)) {
        env.entry(HOME_VARIABLE.to_owned())
            .or_insert_with(|| SecretString::new(home));
    }
    let cwd = match &command.working_dir {
        Some(dir) => folder(process)?.join(dir),
        None => folder(process)?,
    };
    let (program, args) = command
        .words
        .split_first()
        .map_or(("", &[][..]), |(p, a)| (p.as_str(), a));
    let search = Search {
        program: program.to_owned(),
        path: path_of(&env).to_owned(),
        folder: cwd.clone(),
        is_guarded: false,
    };
    let mut out = Command::new(host.find(search).await?)
        .args(args)
        .clear_env()
        .envs(
            env.into_iter()
                .map(|(name, value)| (os_text::decode(&name), os_text::decode(value.expose()))),
        )
        .cwd(cwd)
        .stdin(if command.stdin {
            StdinMode::Piped
        } else {
            StdinMode::Null
        });
    if let Some(user) = user {
        out = out.user(user.clone());
    }
    if let Some(umask) = order.umask {
        out = out.umask(umask.bits());
    }
    if let Some((cols, rows)) = command.terminal {
        out = out.tty(WindowSize { cols, rows });
    }
    Ok(out)
}

pub(super) fn process(spec: &ServiceSpec) -> Result<&ProcessSpec, LaunchError> {
    match &spec.kind {
        Kind::Process(process) => Ok(process),
        other => Err(LaunchError::NoExecutor {
            type_name: other.name().to_owned(),
        }),
    }
}

fn environment(order: &Order) -> Result<BTreeMap<String, SecretString>, LaunchError> {
    compose_environment(&order.spec, &order.inherited, &order.addresses)
}

fn path_of(env: &BTreeMap<String, SecretString>) -> &str {
    env.get("PATH").map_or(DEFAULT_PATH, SecretString::expose)
}

fn folder(process: &ProcessSpec) -> Result<PathBuf, LaunchError> {
    process
        .working_dir
        .as_ref()
        .map_or_else(|| Ok(PathBuf::from("/")), |dir| text(dir).map(PathBuf::from))
}

fn limits(limits: &Limits) -> Vec<(supervised::Resource, u64)> {
    use supervised::Resource as R;
    let Limits {
        open_files,
        processes,
        memory,
        core,
        file_size,
        cpu_seconds,
    } = limits;
    let all = [
        (R::OpenFiles, open_files),
        (R::Processes, processes),
        (R::Memory, memory),
        (R::Core, core),
        (R::FileSize, file_size),
        (R::CpuSeconds, cpu_seconds),
    ];
    all.into_iter()
        .filter_map(|(resource, limit)| Some((resource, (*limit)?)))
        .collect()
}
