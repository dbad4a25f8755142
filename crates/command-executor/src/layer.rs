//! Where a command runs. A layer turns a command for its own place into a command for the place around it: `psql`
//! becomes `docker exec -i db psql`, and that becomes `ssh host docker exec -i db psql`.
//!
//! Stdin, output, exit status and terminal size go through every layer. A signal reaches the outermost client, which
//! is a process on this machine. Whether the command behind the client gets a signal depends on the client (`ssh -tt`
//! hangs up its terminal, `docker exec` passes nothing on).
//!
//! **Invariant:** no environment value appears in an argv. `docker exec` gets the names and takes the values from its
//! own environment. An SSH host gets them through stdin, before the bytes of the caller.

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
    /// The command that, when it runs in the surrounding place, runs `command` in this one.
    ///
    /// # Errors
    /// When this place cannot run such a command.
    fn wrap(&self, command: Command) -> Result<Command, LayerError>;

    /// Describes the place for people: `container db`, `ssh deploy@10.0.0.2`.
    fn describe(&self) -> String;
}

/// Why a layer cannot carry a command.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LayerError {
    /// Switching users, a terminal, a umask or a limit needs `harness-shim exec`, but the executor has no shim.
    #[error("switching users, terminals, umasks and limits need the harness-shim binary, but none was given")]
    ShimNeeded,
    /// The place cannot switch users for a single command.
    #[error("{place} cannot run a command as user `{user}`: connect as that user instead")]
    UserSwitch {
        /// The place.
        place: String,
        /// The user.
        user: String,
    },
    /// The place cannot set a umask for one command.
    #[error("{place} cannot set a umask for one command")]
    Umask {
        /// Which place.
        place: String,
    },
    /// Variables are sent through stdin, which a terminal would echo.
    #[error("{place} cannot pass environment variables to a command on a terminal")]
    EnvironmentOnTerminal {
        /// The place.
        place: String,
    },
    /// A word that is not UTF-8 cannot be quoted for the shell of another host.
    #[error("{place} cannot pass on `{word}`, because it is not UTF-8")]
    NotUtf8 {
        /// The place.
        place: String,
        /// The word, as far as it is readable. For a variable, only its name.
        word: String,
    },
    /// A shell cannot assign to a variable of this name.
    #[error("{place} cannot set the variable `{name}`: a shell cannot assign to such a name")]
    VariableName {
        /// The place.
        place: String,
        /// The name.
        name: String,
    },
    /// A client would read the destination as an option.
    #[error("`{0}` is not a valid name of a container or host")]
    Destination(String),
}

/// Accepts a name only if it cannot be taken for an option or split into several words.
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
