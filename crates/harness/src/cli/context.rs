//! What every verb is given: the options, the way of talking, and the roads to the file and the daemon.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use futures_lite::FutureExt;
use harness_model::foreign::shown;
use harness_model::{ProjectName, Umask};
use harness_wire::message::{Request, Response};

use super::args::Globals;
use smol::LocalExecutor;

use super::backend::{self, Client, ConnectOptions, DaemonInfo, Home, LoadOptions, Loaded, Session};
use super::error::CliError;
use super::ui::Ui;

/// Whether a verb starts a daemon when none runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Autostart {
    /// It does, and says so.
    Yes,
    /// It does not: no daemon is an answer too.
    No,
}

/// What every verb is given.
pub(crate) struct Context {
    /// The options of every verb.
    pub(crate) globals: Globals,
    /// How to talk.
    pub(crate) ui: Ui,
    /// What runs connections while a verb waits for their answers.
    pub(crate) executor: Rc<LocalExecutor<'static>>,
}

/// A daemon we are connected to.
pub(crate) struct Daemon {
    /// Asks it.
    pub(crate) client: Client,
    /// What it says of itself.
    pub(crate) info: DaemonInfo,
}

/// How long a daemon may take to answer what needs no work.
const ANSWER: Duration = Duration::from_secs(30);

impl Daemon {
    /// Asks what needs no work to be answered.
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
    /// The folder we are in.
    ///
    /// # Errors
    /// When it was removed under us.
    pub(crate) fn cwd(&self) -> Result<PathBuf, CliError> {
        std::env::current_dir().map_err(CliError::io("find", "the current folder"))
    }

    /// The daemon's home.
    ///
    /// # Errors
    /// When nothing says where it is.
    pub(crate) fn home(&self) -> Result<Home, CliError> {
        Ok(Home::from_environment()?)
    }

    /// A connection to the daemon.
    ///
    /// # Errors
    /// When there is none, or it cannot be started or reached.
    pub(crate) async fn connect(&self, autostart: Autostart) -> Result<Daemon, CliError> {
        let ui = self.ui.clone();
        let options = ConnectOptions {
            home: self.home()?,
            port: self.globals.port,
            autostart: autostart == Autostart::Yes,
            on_autostart: Box::new(move |words| {
                // Words on stderr that nobody reads are no reason to stop.
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
                "warning: this is harness {ours}, but the daemon is {theirs}; `harness daemon restart` replaces \
                 it (services run on)\n"
            ))?;
        }
        Ok(Daemon { client, info: daemon })
    }

    /// Reads and checks the file, telling its warnings.
    ///
    /// # Errors
    /// When it is not there or not valid.
    pub(crate) fn load(&self, profiles: &[String]) -> Result<Loaded, CliError> {
        let loaded = self.read(profiles)?;
        self.ui.note(&loaded.warnings.render(self.ui.err_colour))?;
        Ok(loaded)
    }

    /// The same without a word about warnings, with every profile's services in `all_services`.
    ///
    /// # Errors
    /// When it is not there or not valid.
    pub(crate) fn load_silently(&self) -> Result<Loaded, CliError> {
        self.read(&[])
    }

    fn read(&self, profiles: &[String]) -> Result<Loaded, CliError> {
        Ok(harness_config::load(&self.load_options(profiles)?)?)
    }

    /// How the file is read that is given or found here.
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
        })
    }

    /// The name given with `-p`.
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

/// This process's environment. Variables that are not UTF-8 are left out: the file could not name their values.
pub(crate) fn environment() -> BTreeMap<String, String> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}
