//! The Docker engine for the figures of containers, and the bare baseline on it: Docker's own client.

use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use super::command;
use crate::env;
use crate::error::TaskError;

/// The image of the containers in the figures.
pub(crate) const IMAGE: &str = "harness-test/base";

/// An engine on this machine. It was there before, and is left as it was.
pub(crate) struct Engine {
    host: String,
    label: String,
}

impl Engine {
    /// The engine of `DOCKER_HOST`, or the one of the tests, or the machine's own, if it runs on this machine and has
    /// the image. Everything that the bench makes on it has a label of this bench.
    pub(crate) fn find(temporary: &Path) -> Option<Self> {
        let host = env::reachable(IMAGE)?;
        host.starts_with("unix://").then(|| Self::at(host, temporary))
    }

    /// The same engine again, for the guard that cleans up.
    pub(crate) fn at(host: String, temporary: &Path) -> Self {
        let own = temporary.file_name().unwrap_or_default();
        Self {
            host,
            label: format!("harness-test={}", own.to_string_lossy()),
        }
    }

    /// Its address, in the format of `DOCKER_HOST`.
    pub(crate) fn host(&self) -> &str {
        &self.host
    }

    /// Creates a network.
    ///
    /// # Errors
    /// When the engine refuses.
    pub(crate) fn create_network(&self, name: &str) -> Result<(), TaskError> {
        self.run(&["network", "create", "--label", &self.label, name])?;
        Ok(())
    }

    /// Starts `docker run` with some arguments.
    ///
    /// # Errors
    /// When there is no Docker client.
    pub(crate) fn spawn_run(&self, args: &[&str]) -> Result<Child, TaskError> {
        self.client(&["run", "--label", &self.label])
            .args(args)
            .stdout(Stdio::null())
            .spawn()
            .map_err(spawning)
    }

    /// The client with these arguments, not started yet.
    pub(crate) fn client(&self, args: &[&str]) -> Command {
        let mut client = command("docker");
        client
            .args(args)
            .env("DOCKER_HOST", &self.host)
            .stdin(Stdio::null());
        client
    }

    /// Removes the containers and networks that the bench made without harness.
    ///
    /// # Errors
    /// When the engine refuses.
    pub(crate) fn clear(&self) -> Result<(), TaskError> {
        let mine = format!("label={}", self.label);
        for (list, remove) in [
            (
                &["ps", "--all", "--quiet"][..],
                &["rm", "--force", "--volumes"][..],
            ),
            (&["network", "ls", "--quiet"], &["network", "rm"]),
        ] {
            let found = self.run(&[list, &["--filter", &mine]].concat())?;
            let found = String::from_utf8_lossy(&found.stdout);
            let found: Vec<&str> = found.split_whitespace().collect();
            if !found.is_empty() {
                self.run(&[remove, &found].concat())?;
            }
        }
        Ok(())
    }

    /// Runs the client. It must end with 0.
    fn run(&self, args: &[&str]) -> Result<Output, TaskError> {
        let output = self.client(args).output().map_err(spawning)?;
        if output.status.success() {
            return Ok(output);
        }
        Err(TaskError::Refused {
            command: format!("docker {}", args.join(" ")),
            status: output.status,
            said: String::from_utf8_lossy(&output.stderr).into_owned(),
        })
    }
}

fn spawning(source: std::io::Error) -> TaskError {
    TaskError::Spawn {
        command: "docker".to_owned(),
        source,
    }
}
