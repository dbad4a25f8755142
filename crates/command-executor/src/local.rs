//! This machine as a host: programs are started with `posix_spawn`, and everything runs under the shim (ADRs 002, 015).
//!
//! | what | under | so that |
//! |---|---|---|
//! | a command | `harness-shim command` | it has a session of its own, and a supervisor ends everything that it leaves |
//! | a run | `harness-shim supervise` | it outlives this process |
//!
//! The shim also switches users and sets up terminals, so that no code runs between fork and exec in this large
//! process.

mod connect;
mod home;
mod names;
mod program;
mod sweep;

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use blocking::unblock;
use harness_files::{Content, FileId};
use harness_shim::cgroup::delegated_base;
use harness_shim::run_dir::Resource;
use harness_shim::tree::{RUN_ID_VARIABLE, below};

use crate::command::{Command, Form};
use crate::host::{
    Adoption, ConnectError, Connection, Endpoint, FindError, Generation, Host, HostError, Managed,
    NotReached, PutError, PutFile, Records, Search, Stat, Survivor, TakenOver,
};
use crate::layer::Layer;
use crate::logs::{FollowError, LogFrom, RecordFollower};
use crate::process::{Running, SpawnError};
use crate::shim_binary::Shim;
use crate::supervised::{
    AdoptError, Adopted, LaunchError, LaunchSpec, LivingShim, ProcessId, Supervised, Supervisor,
};
use crate::write;
use home::Home;

pub use home::DAEMON_LOCK;
pub use program::find;

/// This machine, for the daemon of one home.
#[derive(Debug)]
pub struct Local {
    supervisor: Supervisor,
    home: Home,
    /// The cgroup below which runs get cgroups of their own, if that works here.
    cgroups: Option<PathBuf>,
    /// Limits for commands and runs, instead of this process's own.
    soft_limits: Vec<(Resource, u64)>,
}

impl Local {
    /// This machine, with this shim, for the daemon of this home.
    pub fn new(shim: impl Into<Shim>, home: &Path) -> Self {
        Self {
            supervisor: Supervisor::new(shim),
            home: Home::at(home),
            cgroups: delegated_base(),
            soft_limits: Vec::new(),
        }
    }

    /// Gives commands and runs this soft limit of open files. It is the limit that this process had before it raised
    /// its own.
    #[must_use]
    pub fn with_open_files(mut self, soft: u64) -> Self {
        self.soft_limits = vec![(Resource::OpenFiles, soft)];
        self
    }

    /// The path of the shim.
    pub(crate) fn shim(&self) -> &Path {
        self.supervisor.shim().path()
    }

    /// Starts a command under a supervisor, and marks it as one of this home.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn spawn(&self, command: Command) -> Result<Running, SpawnError> {
        let command = command.env(RUN_ID_VARIABLE, self.mark());
        Running::spawn(self.supervised(command))
    }

    /// The run id of a command of this home.
    fn mark(&self) -> String {
        below(&self.home.mark(), &unique())
    }

    /// The command of the supervisor.
    fn supervised(&self, mut command: Command) -> Command {
        let mut args: Vec<OsString> = vec![harness_shim::command::VERB.into()];
        if let Some(user) = command.user.take() {
            args.extend(["--user".into(), user.into()]);
        }
        if let Some(umask) = command.umask.take() {
            args.extend(["--umask".into(), format!("{umask:04o}").into()]);
        }
        if let Some(dir) = command.cwd.take() {
            args.extend(["--cwd".into(), dir.into()]);
        }
        if command.tty.is_some() {
            args.push("--tty".into());
        }
        for (resource, limit) in &self.soft_limits {
            args.extend([
                "--soft-limit".into(),
                format!("{}={limit}", resource.name()).into(),
            ]);
        }
        args.push("--".into());
        let shim = self.supervisor.shim();
        command.form = Form::Supervised(shim.clone());
        command.through(Layer::new(shim.path()).args(args))
    }

    /// A cgroup of its own for each run. Its name is unique because another daemon may have the same pid (in another
    /// pid namespace, or later) and a project of the same name.
    fn cgroup(&self, run_id: &str) -> Option<PathBuf> {
        let name = format!("{}{}", self.home.cgroup_prefix(), run_id.replace('/', "."));
        Some(self.cgroups.as_ref()?.join(name))
    }
}

/// A text that no other call gives, in this or another process: runs and commands must differ from those of every
/// other daemon.
pub fn unique() -> String {
    static CALLS: AtomicU64 = AtomicU64::new(0);
    let time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let number = CALLS.fetch_add(1, Ordering::Relaxed);
    format!("{:x}-{}-{number}", time.as_nanos(), std::process::id())
}

fn shared(supervised: Supervised) -> Arc<dyn Generation> {
    Arc::new(supervised)
}

#[async_trait]
impl Host for Local {
    fn is_here(&self) -> bool {
        true
    }

    async fn exec(&self, command: Command) -> Result<Box<dyn Managed>, HostError<SpawnError>> {
        let running = self.spawn(command).map_err(HostError::Failed)?;
        Ok(Box::new(running))
    }

    async fn launch(
        &self,
        run_dir: PathBuf,
        mut spec: LaunchSpec,
    ) -> Result<Arc<dyn Generation>, HostError<LaunchError>> {
        spec.soft_limits.clone_from(&self.soft_limits);
        spec.cgroup = self.cgroup(&spec.run_id);
        let launched = self.supervisor.launch(run_dir, spec).await;
        if self.supervisor.shim().take_put_back() {
            let shim = self.shim().display();
            tracing::warn!(%shim, "somebody removed the supervisor's program; it was put back");
        }
        launched.map(shared).map_err(HostError::Failed)
    }

    async fn adopt(&self, run: Adoption) -> Result<Adopted, HostError<AdoptError>> {
        let adopted = Supervisor::adopt(run).await;
        adopted
            .map(|adopted| adopted.map(shared))
            .map_err(HostError::Failed)
    }

    async fn records(&self, run_dir: PathBuf, from: u64) -> Result<Box<dyn Records>, HostError<FollowError>> {
        let followed = RecordFollower::new(run_dir, LogFrom::Record(from)).map_err(HostError::Failed)?;
        Ok(Box::new(followed))
    }

    async fn put(&self, file: PutFile) -> Result<(), HostError<PutError>> {
        let own = file.keep.clone();
        if let Some(user) = &file.owner {
            let keep = unblock(move || kept(&own)).await;
            let options = write::Options {
                user: user.clone(),
                mode: file.mode,
                keep,
            };
            let written = write::write(self, &options, &file.target, &file.content).await;
            return written.map_err(|error| HostError::Failed(PutError::ForUser(error)));
        }
        unblock(move || {
            let content = Content {
                bytes: &file.content,
                mode: file.mode,
                owner: None,
                keep: &kept(&own),
            };
            harness_files::write(&file.target, &content)
        })
        .await
        .map_err(|error| HostError::Failed(PutError::Own(error)))
    }

    async fn find(&self, search: Search) -> Result<PathBuf, HostError<FindError>> {
        unblock(move || program::search(&search))
            .await
            .map_err(HostError::Failed)
    }

    async fn stat(&self, path: PathBuf) -> Result<Stat, HostError<io::Error>> {
        unblock(move || program::stat(&path))
            .await
            .map_err(HostError::Failed)
    }

    async fn connect(&self, to: Endpoint) -> Result<Box<dyn Connection>, HostError<ConnectError>> {
        connect(&to).await.map_err(HostError::Failed)
    }

    async fn end_leftovers(&self) -> Result<(), NotReached> {
        let bin = self.shim().parent().map(Path::to_owned);
        let mark = self.home.mark();
        unblock(move || {
            if let Some(bin) = bin {
                sweep::end_zygotes(&bin);
            }
            sweep::end_commands(&mark);
        })
        .await;
        Ok(())
    }

    async fn survey(&self) -> Result<Vec<Survivor>, HostError<io::Error>> {
        let home = self.home.clone();
        unblock(move || home.survey()).await.map_err(HostError::Failed)
    }

    async fn take_over(&self, supervisor: ProcessId) -> Result<Option<TakenOver>, HostError<AdoptError>> {
        let taken = unblock(move || {
            let Some(shim) = LivingShim::of(&supervisor) else {
                return Ok(None);
            };
            let stop = shim.spec().map(|spec| spec.stop).unwrap_or_default();
            Ok(shim.take_over()?.map(|supervised| TakenOver {
                generation: shared(supervised),
                stop,
            }))
        });
        taken.await.map_err(HostError::Failed)
    }

    async fn sweep(&self) -> Result<(), NotReached> {
        if let Some(base) = self.cgroups.clone() {
            let prefix = self.home.cgroup_prefix();
            unblock(move || sweep::remove_cgroups(&base, &prefix)).await;
        }
        Ok(())
    }
}

/// Connects to an address as this machine sees it.
///
/// # Errors
/// When the name has no address, or nobody accepts there.
pub async fn connect(to: &Endpoint) -> Result<Box<dyn Connection>, ConnectError> {
    Ok(Box::new(connect::connect(to).await?))
}

/// The files that must stay, whatever their names are.
fn kept(paths: &[PathBuf]) -> Vec<FileId> {
    paths.iter().filter_map(|path| FileId::of(path)).collect()
}
