//! What every verb gets: the options, the output, and the ways to the file and the daemon.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use futures_lite::FutureExt;
use harness_config::Types;
use harness_model::foreign::shown;
use harness_model::{ProjectName, Umask, os_text};
use harness_wire::message::{Request, Response};

use super::args::Globals;
use smol::LocalExecutor;

use super::backend::{self, Client, ConnectOptions, DaemonInfo, Home, LoadOptions, Loaded, Session};
use super::error::CliError;
use super::ui::Ui;

/// Whether a verb starts a daemon when none is running.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Autostart {
    /// Start one, and say so.
    Yes,
    /// Start none: that no daemon runs is an answer too.
    No,
}

/// What every verb gets.
pub(crate) struct Context {
    /// The options of every verb.
    pub(crate) globals: Globals,
    /// Where and how to write output.
    pub(crate) ui: Ui,
    /// The types and probes that a file may have beside those of harness.
    pub(crate) types: Types,
    /// Runs the connections while a verb waits for answers.
    pub(crate) executor: Rc<LocalExecutor<'static>>,
}

/// A connection to a daemon.
pub(crate) struct Daemon {
    /// Sends requests to the daemon.
    pub(crate) client: Client,
    /// What the daemon says about itself.
    pub(crate) info: DaemonInfo,
}

/// How long a daemon may take to answer a request that needs no work.
const ANSWER: Duration = Duration::from_secs(30);

impl Daemon {
    /// Sends a request that the daemon can answer without doing any work.
    ///
    /// # Errors
    /// When the daemon refuses, is lost, or does not answer in time.
    pub(crate) async fn answer(&self, request: Request) -> Result<Response, CliError> {
        let answer = async { Ok(self.client.request(request).await?) };
        let late = async {
            async_io::Timer::after(ANSWER).await;
            Err(CliError::NoAnswer {
                pid: self.info.pid,
                after: ANSWER,
            })
        };
        answer.or(late).await
    }
}

impl Context {
    /// The current folder.
    ///
    /// # Errors
    /// When the folder was removed in the meantime.
    pub(crate) fn cwd(&self) -> Result<PathBuf, CliError> {
        std::env::current_dir().map_err(CliError::io("find", "the current folder"))
    }

    /// The daemon's home.
    ///
    /// # Errors
    /// When neither the environment nor a default says where it is.
    pub(crate) fn home(&self) -> Result<Home, CliError> {
        Ok(Home::from_environment()?)
    }

    /// Connects to the daemon.
    ///
    /// # Errors
    /// When no daemon runs and none may be started, or it cannot be started or reached.
    pub(crate) async fn connect(&self, autostart: Autostart) -> Result<Daemon, CliError> {
        let ui = self.ui.clone();
        let options = ConnectOptions {
            home: self.home()?,
            port: self.globals.port,
            autostart: autostart == Autostart::Yes,
            on_autostart: Box::new(move |words| {
                // A closed stderr is no reason to stop.
                let _ = ui.note(&format!("{words}\n"));
            }),
        };
        let Session {
            client,
            daemon,
            driver,
        } = backend::connect(&options).await?;
        self.executor.spawn(driver).detach();
        let (ours, theirs) = (backend::VERSION, &daemon.version);
        if ours != theirs {
            let theirs = shown(theirs);
            self.ui.err(&format!(
                "warning: this is harness {ours}, but the daemon is {theirs}; `harness daemon restart` \
                    replaces it (services keep running)\n"
            ))?;
        }
        Ok(Daemon { client, info: daemon })
    }

    /// Reads and checks the file, and prints its warnings.
    ///
    /// # Errors
    /// When it is missing or not valid.
    pub(crate) fn load(&self, profiles: &[String]) -> Result<Loaded, CliError> {
        let loaded = self.read(profiles)?;
        self.ui.note(&loaded.warnings.render(self.ui.err_colour))?;
        Ok(loaded)
    }

    /// Reads and checks the file without printing warnings. `all_services` has the services of every profile.
    ///
    /// # Errors
    /// When it is missing or not valid.
    pub(crate) fn load_silently(&self) -> Result<Loaded, CliError> {
        self.read(&[])
    }

    fn read(&self, profiles: &[String]) -> Result<Loaded, CliError> {
        Ok(harness_config::load(&self.load_options(profiles)?)?)
    }

    /// The options for reading the file that is given or found here.
    ///
    /// # Errors
    /// When the current folder was removed.
    pub(crate) fn load_options(&self, profiles: &[String]) -> Result<LoadOptions, CliError> {
        let config = &self.globals.config;
        Ok(LoadOptions {
            files: config.clone(),
            profiles: profiles.iter().cloned().collect::<BTreeSet<_>>(),
            project: self.globals.project.clone(),
            environment: environment(),
            home: std::env::var_os("HOME").map(PathBuf::from),
            cwd: match self.cwd() {
                // What it is relative to matters only to relative files.
                Err(_) if !config.is_empty() && config.iter().all(|file| file.is_absolute()) => {
                    PathBuf::new()
                }
                cwd => cwd?,
            },
            types: self.types.clone(),
        })
    }

    /// The project name given with `-p`.
    pub(crate) fn project(&self) -> Option<&ProjectName> {
        self.globals.project.as_ref()
    }
}

/// This process's umask. It can be asked for only by setting it, which other threads would notice, so the kernel's own
/// report is read; `None` where there is none.
pub(crate) fn umask() -> Option<Umask> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let umask = status.lines().find_map(|line| line.strip_prefix("Umask:"))?;
    umask.trim().parse().ok()
}

/// This process's environment as services inherit it: all of it, in the form of [`os_text`].
pub(crate) fn encoded_environment() -> BTreeMap<String, String> {
    std::env::vars_os()
        .map(|(name, value)| (os_text::encode(&name), os_text::encode(&value)))
        .collect()
}

/// This process's environment. Variables that are not UTF-8 are left out: the file cannot use such values.
pub(crate) fn environment() -> BTreeMap<String, String> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}
