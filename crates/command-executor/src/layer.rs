//! What wraps a command at its host: `sudo -n -u postgres`, `env -u PYTHONPATH`, `nice`. A layer is a value, like the
//! command that it wraps, so it works at any [`Host`](crate::Host). Layers nest: the last one is the outermost.
//!
//! **Invariant:** a layer consists of words only. So no value of an environment variable gets into an argument list.

use std::ffi::OsString;

use crate::command::Command;

/// A program that runs another: its name, and the arguments that come before the words of the wrapped command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layer {
    program: OsString,
    args: Vec<OsString>,
}

impl Layer {
    /// A layer of this program. It is looked up as the program of a [`Command`] is.
    pub fn new(program: impl Into<OsString>) -> Self {
        Self {
            program: program.into(),
            args: Vec::new(),
        }
    }

    /// Adds arguments. If the program needs a `--` before the wrapped command, it is the last of them.
    #[must_use]
    pub fn args<A: Into<OsString>>(mut self, args: impl IntoIterator<Item = A>) -> Self {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }
}

impl Command {
    /// The command that runs this one through a layer. Environment, folder, user, stdin and terminal are now those of
    /// the layer's program, which passes on what it likes: `sudo`, for example, passes on few variables.
    #[must_use]
    pub fn through(mut self, layer: Layer) -> Self {
        let mut args = layer.args;
        args.push(std::mem::replace(&mut self.program, layer.program));
        args.append(&mut self.args);
        self.args = args;
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_nest_and_carry_no_value() {
        let command = Command::new("psql")
            .args(["-c", "select 1"])
            .env("PGPASSWORD", "hunter2")
            .through(Layer::new("env").args(["-u", "PGHOST"]))
            .through(Layer::new("sudo").args(["-n", "-u", "postgres", "--"]));
        assert_eq!(command.program(), "sudo");
        let words = [
            "-n", "-u", "postgres", "--", "env", "-u", "PGHOST", "psql", "-c", "select 1",
        ];
        assert_eq!(command.arguments(), words.map(OsString::from));
        assert_eq!(command.variables().len(), 1);
    }
}
