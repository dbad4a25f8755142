//! A harness home for one figure, with its own daemon, project and ports.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use super::{Bench, command};
use crate::error::TaskError;

/// How long stopping everything may take before it is given up.
const PATIENCE: Duration = Duration::from_secs(60);

/// A home and a project folder. When this is dropped, everything of it is stopped and removed.
pub(crate) struct Home {
    harness: PathBuf,
    root: PathBuf,
    /// The value for `DOCKER_HOST`, if there is an engine.
    engine: Option<String>,
}

impl Home {
    /// Makes a home. No daemon runs yet.
    ///
    /// # Errors
    /// When the folders cannot be made.
    pub(crate) fn new(bench: &Bench, name: &str) -> Result<Self, TaskError> {
        let root = bench.temporary.join(name);
        let project = root.join("project");
        fs::create_dir_all(&project).map_err(TaskError::file("create", &project))?;
        Ok(Self {
            harness: bench.programs.join("harness"),
            root,
            engine: bench.engine.as_ref().map(|engine| engine.host().to_owned()),
        })
    }

    /// Makes a home with this services.yaml, and starts its daemon.
    ///
    /// # Errors
    /// When the file cannot be written, or the daemon does not start.
    pub(crate) fn with_daemon(bench: &Bench, name: &str, services: &str) -> Result<Self, TaskError> {
        let home = Self::new(bench, name)?;
        home.write_services(services)?;
        home.run(&["daemon", "start"])?;
        Ok(home)
    }

    /// The daemon's home.
    pub(crate) fn path(&self) -> PathBuf {
        self.root.join("home")
    }

    /// A folder for the figure's own files.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Replaces the services.yaml.
    ///
    /// # Errors
    /// When that fails.
    pub(crate) fn write_services(&self, services: &str) -> Result<(), TaskError> {
        let path = self.root.join("project/services.yaml");
        let text = format!("version: \"1.0\"\nname: bench\nservices:\n{services}");
        fs::write(&path, text).map_err(TaskError::file("write", path))
    }

    /// Runs `harness ARGS` in the project. Returns how long the whole process took, in seconds. It must end with 0.
    ///
    /// # Errors
    /// When it cannot be run or fails. The error contains its output.
    pub(crate) fn run(&self, args: &[&str]) -> Result<f64, TaskError> {
        let begun = Instant::now();
        let mut running = self.spawn(args)?;
        let status = running
            .wait()
            .map_err(TaskError::file("wait for", &self.harness))?;
        let took = begun.elapsed().as_secs_f64();
        if status.success() {
            return Ok(took);
        }
        let said = fs::read_to_string(self.said()).unwrap_or_default();
        let words = args.join(" ");
        Err(TaskError::Bench(format!(
            "`harness {words}` failed ({status}): {said}"
        )))
    }

    /// Starts `harness ARGS` in the project, without a terminal.
    ///
    /// # Errors
    /// When it cannot be run.
    pub(crate) fn spawn(&self, args: &[&str]) -> Result<Child, TaskError> {
        let said = File::create(self.said()).map_err(TaskError::file("create", self.said()))?;
        let mut command = command(&self.harness);
        if let Some(host) = &self.engine {
            command.env("DOCKER_HOST", host);
        }
        command
            .args(args)
            .current_dir(self.root.join("project"))
            .env("HARNESS_HOME", self.path())
            .env("HARNESS_PORT", "0")
            .env("HOME", &self.root)
            .env("TMPDIR", &self.root)
            .env("NO_COLOR", "1")
            .env_remove("HARNESS_LOG")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(said)
            .spawn()
            .map_err(TaskError::file("run", &self.harness))
    }

    /// The file with the output of the last command for people.
    fn said(&self) -> PathBuf {
        self.root.join("said")
    }

    /// Stops every service of the project. Returns how long that took, in seconds.
    ///
    /// # Errors
    /// When that fails.
    pub(crate) fn stop_all(&self) -> Result<f64, TaskError> {
        self.run(&["stop", "--all"])
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        end(&self.harness, &self.root);
    }
}

/// Stops the daemon of a home and everything that it runs, if it runs, and removes the files. If something cannot be
/// done, the search for leftovers at the end of the bench does it.
pub(crate) fn end(harness: &Path, root: &Path) {
    if root.join("home/daemon.json").exists() {
        let stop = command(harness)
            .args(["daemon", "stop", "--services"])
            .env("HARNESS_HOME", root.join("home"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        if let Ok(mut stop) = stop {
            let deadline = Instant::now() + PATIENCE;
            while matches!(stop.try_wait(), Ok(None)) && Instant::now() < deadline {
                std::thread::sleep(Duration::from_millis(5));
            }
            let _ = stop.kill();
            let _ = stop.wait();
        }
    }
    let _ = fs::remove_dir_all(root);
}
