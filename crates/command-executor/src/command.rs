//! What to run, as a value: built first, perhaps wrapped by layers, then run at a host, any number of times.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::path::{Path, PathBuf};

use crate::shim_binary::Shim;

/// What a process gets as its standard input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum StdinMode {
    /// Nothing: it reads end of file at once.
    #[default]
    Null,
    /// A pipe, which [`crate::process::Stdin`] writes to.
    Piped,
}

/// The size of a terminal in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WindowSize {
    /// The number of characters in a line.
    pub cols: u16,
    /// The number of lines.
    pub rows: u16,
}

impl Default for WindowSize {
    /// 80 x 24.
    fn default() -> Self {
        Self { cols: 80, rows: 24 }
    }
}

/// A command: program, arguments, environment, working directory, user, stdin, terminal.
///
/// `Debug` shows the names of the environment's variables but not their values.
#[derive(Clone, PartialEq, Eq)]
pub struct Command {
    pub(crate) program: OsString,
    pub(crate) args: Vec<OsString>,
    pub(crate) env: BTreeMap<OsString, OsString>,
    pub(crate) clear_env: bool,
    pub(crate) cwd: Option<PathBuf>,
    pub(crate) user: Option<String>,
    pub(crate) umask: Option<u32>,
    pub(crate) stdin: StdinMode,
    pub(crate) tty: Option<WindowSize>,
    pub(crate) form: Form,
}

/// How a command becomes a child of this process.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) enum Form {
    /// Directly, as the leader of a process group in this process's session.
    #[default]
    Direct,
    /// The program begins a session of its own, so it must not be the leader of a group.
    OwnSession,
    /// The program is `harness-shim command`, which supervises the actual program and all its descendants.
    Supervised(Shim),
}

impl Command {
    /// A command that runs `program`. With a slash, it is a path (relative to the working directory). Without one, it
    /// is a name that is looked up in the command's `PATH`, at the host where the command runs.
    pub fn new(program: impl Into<OsString>) -> Self {
        Self {
            program: program.into(),
            args: Vec::new(),
            env: BTreeMap::new(),
            clear_env: false,
            cwd: None,
            user: None,
            umask: None,
            stdin: StdinMode::Null,
            tty: None,
            form: Form::Direct,
        }
    }

    /// Adds one argument.
    #[must_use]
    pub fn arg(mut self, arg: impl Into<OsString>) -> Self {
        self.args.push(arg.into());
        self
    }

    /// Adds arguments.
    #[must_use]
    pub fn args<A: Into<OsString>>(mut self, args: impl IntoIterator<Item = A>) -> Self {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    /// Sets one environment variable.
    #[must_use]
    pub fn env(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.env.insert(name.into(), value.into());
        self
    }

    /// Sets environment variables.
    #[must_use]
    pub fn envs<N: Into<OsString>, V: Into<OsString>>(
        mut self,
        vars: impl IntoIterator<Item = (N, V)>,
    ) -> Self {
        self.env
            .extend(vars.into_iter().map(|(name, value)| (name.into(), value.into())));
        self
    }

    /// Inherits nothing from this process's environment. A command at another host never inherits from it: it starts
    /// with the environment of that host.
    #[must_use]
    pub fn clear_env(mut self) -> Self {
        self.clear_env = true;
        self
    }

    /// Sets the working directory, at the host where the command runs.
    #[must_use]
    pub fn cwd(mut self, dir: impl Into<PathBuf>) -> Self {
        self.cwd = Some(dir.into());
        self
    }

    /// Runs as this user: a name or a numeric id, at the host where the command runs.
    #[must_use]
    pub fn user(mut self, user: impl Into<String>) -> Self {
        self.user = Some(user.into());
        self
    }

    /// Sets its umask, at the host where it runs. Without one it is that of the host.
    #[must_use]
    pub fn umask(mut self, bits: u32) -> Self {
        self.umask = Some(bits & 0o777);
        self
    }

    /// Sets what it gets as standard input; by default nothing.
    #[must_use]
    pub fn stdin(mut self, mode: StdinMode) -> Self {
        self.stdin = mode;
        self
    }

    /// Runs on a terminal of its own. Standard input is then the terminal's, whatever [`Self::stdin`] says, and both
    /// output streams arrive as [`crate::ProcessEvent::Stdout`].
    #[must_use]
    pub fn tty(mut self, size: WindowSize) -> Self {
        self.tty = Some(size);
        self
    }

    /// Says that its program is `harness-shim exec`, which begins a session of its own.
    #[must_use]
    pub fn begins_session(mut self) -> Self {
        self.form = Form::OwnSession;
        self
    }

    /// The program.
    pub fn program(&self) -> &OsStr {
        &self.program
    }

    /// The arguments, without the program.
    pub fn arguments(&self) -> &[OsString] {
        &self.args
    }

    /// The environment variables that are set for it.
    pub fn variables(&self) -> &BTreeMap<OsString, OsString> {
        &self.env
    }

    /// The working directory, if one is set.
    pub fn working_dir(&self) -> Option<&Path> {
        self.cwd.as_deref()
    }
}

impl fmt::Debug for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Command")
            .field("program", &self.program)
            .field("args", &self.args)
            .field("env", &self.env.keys().collect::<Vec<_>>())
            .field("clear_env", &self.clear_env)
            .field("cwd", &self.cwd)
            .field("user", &self.user)
            .field("umask", &self.umask)
            .field("stdin", &self.stdin)
            .field("tty", &self.tty)
            .field("form", &self.form)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_no_value() {
        let command = Command::new("psql").env("PGPASSWORD", "hunter2");
        let text = format!("{command:?}");
        assert!(text.contains("PGPASSWORD"), "{text}");
        assert!(!text.contains("hunter2"), "{text}");
    }
}
