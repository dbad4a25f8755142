//! Why a supervisor could not start a program, in the words of the file: which user, which limit, which variable.

use std::io;

use command_executor::HostError;
use command_executor::supervised::{self, Cause, LaunchSpec, Resource};
use harness_model::environment;
use rustix::io::Errno;

use crate::executor::LaunchError;

/// The error with what of the specification it is about.
pub(super) fn explained(error: HostError<supervised::LaunchError>, spec: &LaunchSpec) -> LaunchError {
    let error = match error {
        HostError::Failed(error) => error,
        HostError::NotReached(error) => return error.into(),
    };
    let supervised::LaunchError::Spawn {
        operation,
        cause,
        source,
        ..
    } = &error
    else {
        return error.into();
    };
    let why = match operation.as_str() {
        "user" => user(spec, source),
        "limits" => Some(limits(spec, cause.as_ref(), source)),
        "cwd" => Some(folder(spec, source)),
        "exec" => program(spec, cause.as_ref(), source),
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

fn limits(spec: &LaunchSpec, cause: Option<&Cause>, source: &io::Error) -> String {
    let named = match cause {
        Some(Cause::AboveMaximum(above)) => above,
        _ => &spec.limits,
    };
    let said: Vec<String> = named.iter().map(limit).collect();
    let said = said.join(", ");
    match Errno::from_io_error(source) {
        Some(Errno::PERM) => format!("limits: {said} is more than this machine or user allows"),
        _ => format!("cannot set limits: {said}: {source}"),
    }
}

fn limit((resource, limit): &(Resource, u64)) -> String {
    format!("`{}: {limit}`", resource.name())
}

fn program(spec: &LaunchSpec, cause: Option<&Cause>, source: &io::Error) -> Option<String> {
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
        Errno::NOEXEC if cause == Some(&Cause::NoInterpreterLine) => format!(
            "binary {program} is a script without a first line that names its interpreter: begin it with `#!/bin/sh`"
        ),
        Errno::NOEXEC => format!("binary {program} is not a program for this machine"),
        Errno::NOENT if cause == Some(&Cause::NoLoader) => {
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
