//! This machine: the outermost place. A user switch, a terminal and limits go through `harness-shim exec`, so that
//! nothing runs between fork and exec in a large process.

use std::path::PathBuf;

use harness_shim::run_dir::Resource;

use crate::command::Command;
use crate::layer::{Layer, LayerError};

/// This machine.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Local {
    shim: Option<PathBuf>,
    soft_limits: Vec<(Resource, u64)>,
}

impl Local {
    /// This machine, without user switches and terminals.
    pub fn new() -> Self {
        Self::default()
    }

    /// This machine, with the shim binary that switches users and takes terminals.
    pub fn with_shim(shim: impl Into<PathBuf>) -> Self {
        Self {
            shim: Some(shim.into()),
            soft_limits: Vec::new(),
        }
    }

    /// With these soft limits for every command, in place of what this process has.
    #[must_use]
    pub fn with_soft_limits(mut self, limits: Vec<(Resource, u64)>) -> Self {
        self.soft_limits = limits;
        self
    }
}

impl Layer for Local {
    fn wrap(&self, mut command: Command) -> Result<Command, LayerError> {
        if command.user.is_none() && command.tty.is_none() && self.soft_limits.is_empty() {
            return Ok(command);
        }
        let shim = self.shim.as_ref().ok_or(LayerError::ShimNeeded)?;
        let mut args = vec!["exec".into()];
        if let Some(user) = command.user.take() {
            args.extend(["--user".into(), user.into()]);
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
        args.push(std::mem::replace(&mut command.program, shim.into()));
        args.append(&mut command.args);
        command.args = args;
        Ok(command)
    }

    fn describe(&self) -> String {
        "this machine".to_owned()
    }
}
