//! Talks to an engine with Docker's own client.

use super::error::EnvError;
use crate::program::Program;

/// The label (with any value) that marks images, containers, networks and volumes of the tests.
pub(crate) const LABEL: &str = "harness-test";

/// An engine.
pub(crate) struct Docker {
    host: String,
}

impl Docker {
    /// The engine at an address in the format of `DOCKER_HOST`.
    pub(crate) fn at(host: impl Into<String>) -> Self {
        Self { host: host.into() }
    }

    /// Its address.
    pub(crate) fn host(&self) -> &str {
        &self.host
    }

    /// The client with some arguments.
    pub(crate) fn program(&self, args: &[&str]) -> Program {
        self.aimed(Program::new("docker")).args(args)
    }

    /// Its version and the version of its API, if it answers.
    pub(crate) fn version(&self) -> Option<String> {
        let format = "{{.Server.Version}} (API {{.Server.APIVersion}})";
        let ask = Program::new("timeout").args(["10", "docker", "version", "--format", format]);
        let answer = self.aimed(ask).output().ok()?;
        Some(answer.trim().to_owned()).filter(|version| !version.is_empty())
    }

    /// The lines of the client's output.
    pub(crate) fn lines(&self, args: &[&str]) -> Result<Vec<String>, EnvError> {
        let answer = self.program(args).output()?;
        Ok(answer
            .lines()
            .map(str::to_owned)
            .filter(|line| !line.is_empty())
            .collect())
    }

    /// The containers and networks on it, one line for each.
    pub(crate) fn present(&self) -> Result<Vec<String>, EnvError> {
        let container = "container {{.Names}} ({{.Image}}): {{.Status}}";
        let mut lines = self.lines(&["ps", "--all", "--format", container])?;
        let networks = [
            "network",
            "ls",
            "--filter",
            "type=custom",
            "--format",
            "network {{.Name}}",
        ];
        lines.extend(self.lines(&networks)?);
        Ok(lines)
    }

    /// Removes containers, networks and volumes: all of them, or only those with the mark of the tests.
    pub(crate) fn clear(&self, all: bool) -> Result<(), EnvError> {
        let label = format!("label={LABEL}");
        let marked: &[&str] = if all { &[] } else { &["--filter", &label] };
        let steps: [(&[&str], &[&str]); 3] = [
            (&["ps", "--all", "--quiet"], &["rm", "--force", "--volumes"]),
            (
                &["network", "ls", "--quiet", "--filter", "type=custom"],
                &["network", "rm"],
            ),
            (&["volume", "ls", "--quiet"], &["volume", "rm", "--force"]),
        ];
        for (list, remove) in steps {
            let found = self.lines(&[list, marked].concat())?;
            if !found.is_empty() {
                let _removed = self.program(remove).args(found).output()?;
            }
        }
        Ok(())
    }

    fn aimed(&self, program: Program) -> Program {
        // Use the classic builder: the other one is a plugin that Debian's package does not contain.
        program.env("DOCKER_HOST", &self.host).env("DOCKER_BUILDKIT", "0")
    }
}
