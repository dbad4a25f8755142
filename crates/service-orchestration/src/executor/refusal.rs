//! Why a supervisor could not start a program, in the words of the file: which user, which limit, which variable.

use std::io::{self, Read};
use std::path::Path;

use command_executor::supervised::{self, LaunchSpec, Resource};
use harness_model::environment;
use rustix::io::Errno;
use rustix::process::{Resource as Kernel, geteuid, getrlimit};

use super::LaunchError;

/// The most open files that a kernel gives anybody, root included.
const MOST_OPEN_FILES: &str = "/proc/sys/fs/nr_open";

/// The error with what of the specification it is about.
pub(super) fn explained(error: supervised::LaunchError, spec: &LaunchSpec) -> LaunchError {
    let supervised::LaunchError::Spawn {
        operation, source, ..
    } = &error
    else {
        return error.into();
    };
    let why = match operation.as_str() {
        "user" => user(spec, source),
        "limits" => Some(limits(spec, source)),
        "cwd" => Some(folder(spec, source)),
        "exec" => program(spec, source),
        _ => None,
    };
    match why {
        Some(why) => LaunchError::Refused { why },
        None => error.into(),
    }
}

fn user(spec: &LaunchSpec, source: &io::Error) -> Option<String> {
    let user = spec.user.as_ref()?;
    Some(match Errno::from_io_error(source) {
        Some(Errno::NOENT) => supervised::unknown_user(user),
        Some(Errno::PERM) => format!("cannot become user `{user}`: only a daemon that root started can"),
        _ => format!("cannot become user `{user}`: {source}"),
    })
}

fn folder(spec: &LaunchSpec, source: &io::Error) -> String {
    let folder = spec.cwd.display();
    match (&spec.user, Errno::from_io_error(source)) {
        (Some(user), Some(Errno::ACCESS)) => format!("user `{user}` may not enter working_dir {folder}"),
        _ => format!("cannot enter working_dir {folder}: {source}"),
    }
}

fn limits(spec: &LaunchSpec, source: &io::Error) -> String {
    let above = |(resource, limit): &&(Resource, u64)| {
        let most = match resource {
            // Root may raise all others as it likes.
            Resource::OpenFiles if geteuid().is_root() => most_open_files(),
            _ => getrlimit(kernel(*resource)).maximum,
        };
        most.is_some_and(|most| *limit > most)
    };
    let said: Vec<String> = match spec.limits.iter().filter(above).collect::<Vec<_>>() {
        none if none.is_empty() => spec.limits.iter().map(limit).collect(),
        some => some.into_iter().map(limit).collect(),
    };
    let said = said.join(", ");
    match Errno::from_io_error(source) {
        Some(Errno::PERM) => format!("limits: {said} is more than this machine or user allows"),
        _ => format!("cannot set limits: {said}: {source}"),
    }
}

fn kernel(resource: Resource) -> Kernel {
    match resource {
        Resource::OpenFiles => Kernel::Nofile,
        Resource::Processes => Kernel::Nproc,
        Resource::Memory => Kernel::As,
        Resource::Core => Kernel::Core,
        Resource::FileSize => Kernel::Fsize,
        Resource::CpuSeconds => Kernel::Cpu,
    }
}

fn limit((resource, limit): &(Resource, u64)) -> String {
    format!("`{}: {limit}`", resource.name())
}

fn most_open_files() -> Option<u64> {
    std::fs::read_to_string(MOST_OPEN_FILES).ok()?.trim().parse().ok()
}

fn program(spec: &LaunchSpec, source: &io::Error) -> Option<String> {
    let program = spec.program.display();
    Some(match Errno::from_io_error(source)? {
        Errno::TOOBIG => {
            let variables = spec
                .env
                .iter()
                .map(|(name, value)| (name.to_string_lossy(), value.len()));
            let args: usize = spec.args.iter().map(|arg| arg.len()).sum();
            environment::too_large(variables, args)
        }
        Errno::NOEXEC if is_text(&spec.program) => format!(
            "binary {program} is a script without a first line that names its interpreter: begin it with `#!/bin/sh`"
        ),
        Errno::NOEXEC => format!("binary {program} is not a program for this machine"),
        Errno::NOENT if spec.program.exists() => {
            format!(
                "binary {program} needs a loader that this machine does not have: it was built for another system"
            )
        }
        Errno::ACCESS => match &spec.user {
            Some(user) => format!("user `{user}` may not run binary {program}"),
            None => format!("binary {program} may not be run: {source}"),
        },
        _ => return None,
    })
}

/// Whether a file looks like something that people wrote.
fn is_text(path: &Path) -> bool {
    let Ok(file) = harness_files::open_guarded(path) else {
        return false;
    };
    let mut start = Vec::new();
    let read = file.take(512).read_to_end(&mut start);
    read.is_ok() && !start.is_empty() && !start.contains(&0)
}
