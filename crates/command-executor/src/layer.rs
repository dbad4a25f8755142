//! Where a command runs. A layer turns a command for its place into a command for the place around it:
//! `psql` becomes `docker exec -i db psql` becomes `ssh host docker exec -i db psql`.
//!
//! Stdin, output, exit status and terminal size travel through every layer. A signal reaches the outermost
//! client, which is a process of this machine; whether the command beyond it gets one is the client's affair
//! (`ssh -tt` hangs up its terminal, `docker exec` passes nothing on).
//!
//! **Invariant:** no environment value enters an argv. `docker exec` is told the names and takes the values
//! from its own environment; an SSH host is sent them through stdin, ahead of what the caller sends.

mod docker;
mod local;
mod ssh;

use std::fmt;

use crate::command::Command;

pub use docker::Docker;
pub use local::Local;
pub use ssh::Ssh;

/// One step from a place to the place around it.
pub trait Layer: fmt::Debug + Send + Sync {
    /// The command that, run in the surrounding place, runs `command` in this one.
    ///
    /// # Errors
    /// When this place cannot run such a command.
    fn wrap(&self, command: Command) -> Result<Command, LayerError>;

    /// The place, for people: `container db`, `ssh deploy@10.0.0.2`.
    fn describe(&self) -> String;
}

/// A command that a layer cannot carry.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LayerError {
    /// A user switch, a terminal, a umask or a limit needs `harness-shim exec`, and the executor was given no shim.
    #[error(
        "a user switch, a terminal, a umask or a limit needs the harness-shim binary, and none was given"
    )]
    ShimNeeded,
    /// The place cannot switch users for one command.
    #[error("{place} cannot run a command as user `{user}`: connect as that user instead")]
    UserSwitch {
        /// Which place.
        place: String,
        /// Which user.
        user: String,
    },
    /// The place cannot set a umask for one command.
    #[error("{place} cannot set a umask for one command")]
    Umask {
        /// Which place.
        place: String,
    },
    /// Variables travel ahead of stdin, which a terminal would echo.
    #[error("{place} cannot carry environment variables to a command on a terminal")]
    EnvironmentOnTerminal {
        /// Which place.
        place: String,
    },
    /// A word that is not UTF-8 cannot be quoted for the shell of another host.
    #[error("{place} cannot carry `{word}`, which is not UTF-8")]
    NotUtf8 {
        /// Which place.
        place: String,
        /// The word, lossily; for a variable only its name.
        word: String,
    },
    /// Not a name that a shell can assign to.
    #[error("{place} cannot set the variable `{name}`: a shell cannot assign to such a name")]
    VariableName {
        /// Which place.
        place: String,
        /// The name.
        name: String,
    },
    /// A destination that a client would read as an option.
    #[error("`{0}` is not a valid name of a container or host")]
    Destination(String),
}

/// A name that cannot be taken for an option or split into several words.
fn check_destination(name: &str) -> Result<(), LayerError> {
    let bad =
        name.is_empty() || name.starts_with('-') || name.chars().any(|c| c.is_whitespace() || c.is_control());
    if bad {
        return Err(LayerError::Destination(name.to_owned()));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
