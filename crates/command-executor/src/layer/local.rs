//! This machine: the outermost place. With a shim, commands run under `harness-shim command`. There they have a
//! session of their own, so that they cannot reach the terminal of whoever started this process, and a supervisor
//! ends everything that they leave. The shim also switches users and sets up terminals, so that no code runs between
//! fork and exec in this large process.

use harness_shim::run_dir::Resource;

use crate::command::{Command, Form};
use crate::layer::{Layer, LayerError};
use crate::shim_binary::Shim;

/// This machine.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Local {
    shim: Option<Shim>,
    soft_limits: Vec<(Resource, u64)>,
}

impl Local {
    /// This machine, without switching users and without terminals.
    pub fn new() -> Self {
        Self::default()
    }

    /// This machine, with the shim binary, which supervises commands, switches users and sets up terminals.
    pub fn with_shim(shim: impl Into<Shim>) -> Self {
        Self {
            shim: Some(shim.into()),
            soft_limits: Vec::new(),
        }
    }

    /// With these soft limits for every command, instead of this process's own.
    #[must_use]
    pub fn with_soft_limits(mut self, limits: Vec<(Resource, u64)>) -> Self {
        self.soft_limits = limits;
        self
    }
}

impl Layer for Local {
    fn wrap(&self, mut command: Command) -> Result<Command, LayerError> {
        let Some(shim) = &self.shim else {
            let plain = command.user.is_none() && command.tty.is_none() && command.umask.is_none();
            return if plain && self.soft_limits.is_empty() {
                Ok(command)
            } else {
                Err(LayerError::ShimNeeded)
            };
        };
        let mut args = vec![harness_shim::command::VERB.into()];
        if let Some(user) = command.user.take() {
            args.extend(["--user".into(), user.into()]);
        }
        if let Some(umask) = command.umask.take() {
            args.extend(["--umask".into(), format!("{umask:04o}").into()]);
        }
        if let Some(dir) = command.cwd.take() {
            args.extend(["--cwd".into(), dir.into()]);
        }
        if command.tty.is_some() {
            args.push("--tty".into());
        }
        for (resource, limit) in &self.soft_limits {
            args.extend([
                "--soft-limit".into(),
                format!("{}={limit}", resource.name()).into(),
            ]);
        }
        args.push("--".into());
        args.push(std::mem::replace(&mut command.program, shim.path().into()));
        args.append(&mut command.args);
        command.args = args;
        command.form = Form::Supervised(shim.clone());
        Ok(command)
    }

    fn describe(&self) -> String {
        "this machine".to_owned()
    }
}
