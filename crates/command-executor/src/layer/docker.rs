//! A running container, entered with `docker exec`.

use std::ffi::OsString;

use crate::command::{Command, StdinMode};
use crate::layer::{Layer, LayerError, check_destination};

/// Variables that the docker client itself reads. They are given in argv, so that they change the container's
/// environment and not the client's behaviour. None of them is meant for a secret.
const CLIENT_VARIABLES: [&str; 16] = [
    "DOCKER_API_VERSION",
    "DOCKER_CERT_PATH",
    "DOCKER_CLI_PLUGIN_EXTRA_DIRS",
    "DOCKER_CONFIG",
    "DOCKER_CONTENT_TRUST",
    "DOCKER_CONTEXT",
    "DOCKER_HOST",
    "DOCKER_TLS",
    "DOCKER_TLS_VERIFY",
    "HOME",
    "LD_LIBRARY_PATH",
    "LD_PRELOAD",
    "NO_PROXY",
    "PATH",
    "TERM",
    "TMPDIR",
];

/// A running container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Docker {
    container: String,
    client: OsString,
}

impl Docker {
    /// The container with this name or id, entered through the `docker` in `PATH`.
    pub fn new(container: impl Into<String>) -> Self {
        Self {
            container: container.into(),
            client: "docker".into(),
        }
    }

    /// Uses another client that takes docker's arguments, such as `podman`.
    #[must_use]
    pub fn client(mut self, program: impl Into<OsString>) -> Self {
        self.client = program.into();
        self
    }
}

impl Layer for Docker {
    fn wrap(&self, command: Command) -> Result<Command, LayerError> {
        check_destination(&self.container)?;
        if command.umask.is_some() {
            return Err(LayerError::Umask {
                place: self.describe(),
            });
        }
        let mut outer = Command::new(self.client.clone()).arg("exec");
        if command.stdin == StdinMode::Piped || command.tty.is_some() || !command.preamble.is_empty() {
            outer = outer.arg("-i");
        }
        if command.tty.is_some() {
            outer = outer.arg("-t");
        }
        for (name, value) in command.env {
            outer = outer.arg("-e");
            if CLIENT_VARIABLES.iter().any(|known| name == *known) {
                let mut assignment = name;
                assignment.push("=");
                assignment.push(value);
                outer = outer.arg(assignment);
            } else {
                outer = outer.arg(name.clone()).env(name, value);
            }
        }
        if let Some(dir) = command.cwd {
            outer = outer.arg("-w").arg(dir);
        }
        if let Some(user) = command.user {
            outer = outer.arg("-u").arg(user);
        }
        outer = outer.arg(&self.container).arg(command.program).args(command.args);
        outer.stdin = command.stdin;
        outer.tty = command.tty;
        outer.preamble = command.preamble;
        Ok(outer)
    }

    fn describe(&self) -> String {
        format!("container {}", self.container)
    }
}
