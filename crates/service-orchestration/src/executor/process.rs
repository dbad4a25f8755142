//! Local processes under the shim.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use blocking::unblock;
use command_executor::executor::{RunError, TailBytes};
use command_executor::patience::pass;
use command_executor::supervised::{self, AdoptError, Adopted, Evidence, FileId, LivingShim, ProcessId};
use command_executor::{Command, StdinMode, Supervisor, WindowSize};
use futures_lite::FutureExt;
use harness_model::spec::{Kind, Limits, ProcessSpec};
use harness_model::{SecretString, ServiceSpec, Umask, WallTime, os_text};
use service_registry::address::Wants;

use super::capacity::Capacity;
use super::environment::DEFAULT_PATH;
use super::local::{LocalInstance, link_back, stop_policy};
use super::program::{check_folder, find, redacted, text};
use super::refusal;
use super::session::{CommandSession, exit_status};
use super::strays::{self, Home};
use super::unreached::{UnreachedInstance, known, may_run, settled};
use super::{
    CommandAnswer, Description, Executor, Expiry, Fate, Instance, KindOf, Known, LaunchError, Order,
    PlaceCommand, Rest, RunTrace, Session, Stray, compose_environment, files,
};
use crate::layout::tag;
use crate::machine::Ended;
use crate::words::chain;

/// Lines of a command's output that are kept for its answer.
const TAIL_LINES: usize = 20;

/// The variable that tells a `harness` where its daemon is.
const HOME_VARIABLE: &str = "HARNESS_HOME";

/// How long recovery waits for one shim that has not said who it is, before it goes on with the others.
const PROMPT: Duration = Duration::from_millis(250);

/// How long a supervisor may take to kill what is left after the grace period.
const GRACE_MARGIN: Duration = Duration::from_secs(1);

/// Runs `type: process`.
pub struct ProcessExecutor {
    supervisor: Supervisor,
    commands: command_executor::Executor,
    /// The home as it was given to the daemon.
    told_home: PathBuf,
    /// Marks the commands of this home's daemons, so that the next daemon finds what a killed one left.
    mark: Arc<str>,
    /// The cgroup below which services get cgroups of their own, if that works here.
    cgroups: Option<PathBuf>,
    home: Home,
    /// What former daemons left running and nobody has adopted so far.
    found: Arc<Mutex<Vec<strays::Found>>>,
    capacity: Capacity,
    /// Limits for services and commands, instead of this process's own.
    soft_limits: Vec<(supervised::Resource, u64)>,
}

impl ProcessExecutor {
    /// Uses this supervisor, for the daemon of this home.
    pub fn new(supervisor: Supervisor, home: &Path) -> Self {
        let commands = command_executor::Executor::local().with_shim(supervisor.shim().clone());
        // Clean the path, so that no part of it can be mistaken for the separator before the id of a command.
        let home: PathBuf = home.components().collect();
        let by_all_names = Home::at(&home);
        Self {
            supervisor,
            commands,
            mark: format!("commands of {}", home.display()).into(),
            told_home: home,
            cgroups: supervised::delegated_base(),
            home: by_all_names,
            found: Arc::default(),
            capacity: Capacity::of_this_process(),
            soft_limits: Vec::new(),
        }
    }

    /// Gives services and commands this soft limit of open files. It is the limit that this process had before it
    /// raised its own.
    #[must_use]
    pub fn with_open_files(mut self, soft: u64) -> Self {
        self.soft_limits = vec![(supervised::Resource::OpenFiles, soft)];
        self.commands = self.commands.with_soft_limits(self.soft_limits.clone());
        self
    }

    /// A cgroup of its own for each launch. Its name is unique because another daemon may have the same pid (in
    /// another pid namespace, or later) and a project of the same name.
    fn cgroup(&self, order: &Order) -> Option<PathBuf> {
        let name = format!("{}.{}.{}", order.project, order.service, order.generation);
        let prefix = self.cgroup_prefix();
        Some(
            self.cgroups
                .as_ref()?
                .join(format!("{prefix}{name}-{}", unique())),
        )
    }

    /// The prefix of the names of this home's cgroups.
    fn cgroup_prefix(&self) -> String {
        format!("harness-{}-", tag(self.home.real()))
    }

    fn found(&self) -> MutexGuard<'_, Vec<strays::Found>> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the survey found that may belong to this generation: its own supervisor, and the service's lost
    /// supervisors.
    fn evidence(&self, order: &Order, trace: Option<&RunTrace>) -> Evidence {
        let of_service = self.of_service(order);
        let may_be_its_own = |found: &&strays::Found| found.is_lost || found.generation == order.generation;
        Evidence {
            trace: trace.map(link_back),
            shims: of_service
                .iter()
                .filter(may_be_its_own)
                .map(|found| found.shim.clone())
                .collect(),
        }
    }

    fn of_service(&self, order: &Order) -> Vec<strays::Found> {
        let is_of =
            |found: &&strays::Found| (&found.project, &found.service) == (&order.project, &order.service);
        self.found().iter().filter(is_of).cloned().collect()
    }

    /// Removes from the findings whatever supervises in this run directory, or is this very process.
    fn account_for(&self, order: &Order, shim: Option<&ProcessId>) {
        let folder = FileId::of(&order.run_dir).ok();
        self.found().retain(|found| {
            Some(found.shim.process()) != shim && folder.is_none_or(|folder| found.shim.folder() != folder)
        });
    }

    /// A supervisor of the service that lives, although its own run directory does not lead to it.
    fn lost_instance(&self, order: &Order) -> Option<Known> {
        let lost = self
            .of_service(order)
            .into_iter()
            .rev()
            .find(|found| found.is_lost)?;
        let supervised = lost.shim.take_over().ok()??;
        self.account_for(order, Some(lost.shim.process()));
        let instance = LocalInstance::homeless(supervised, order, self.capacity.take_over());
        Some(Known::Running(Arc::new(instance)))
    }

    /// What has become of a generation, according to its run directory and to everything else that is known.
    async fn adopted(&self, order: &Order, trace: Option<&RunTrace>) -> Fate {
        let evidence = self.evidence(order, trace);
        let adopted = Supervisor::adopt_by(&order.run_dir, evidence, PROMPT).await;
        if let Ok(Adopted::Running(supervised) | Adopted::Homeless(supervised)) = &adopted {
            self.account_for(order, Some(&supervised.identity().shim));
        }
        let place = || self.capacity.take_over();
        match adopted {
            Ok(adopted) => Fate::Known(known(adopted, order, place)),
            Err(error) if may_run(&error) => Fate::running(Arc::new(UnreachedInstance::new(order, &error))),
            // A former daemon launched it a moment ago, or it is stuck. Everything else need not wait for it.
            Err(AdoptError::NoIdentity { .. }) => {
                let (order, place) = (order.clone(), place());
                Fate::NotKnownYet {
                    why: "its supervisor has not yet said what runs".to_owned(),
                    later: Box::pin(async move { settled(&order, place).await }),
                }
            }
            Err(error) => Fate::ended(Ended::Lost(chain(&error))),
        }
    }

    async fn launched(&self, order: &Order) -> Result<Arc<dyn Instance>, LaunchError> {
        let place = self.capacity.take()?;
        let _launching = self.capacity.launching().await;
        let (owned, cgroup) = (order.clone(), self.cgroup(order));
        let mut launch = unblock(move || prepare(&owned, cgroup)).await?;
        launch.soft_limits.clone_from(&self.soft_limits);
        let writer = files::Writer {
            commands: &self.commands,
            shim: self.supervisor.shim().path(),
            run_id: supervised::below(&self.mark, &unique()),
        };
        files::render(writer, order, launch.user.as_deref(), &launch.cwd).await?;
        let supervised = self.supervisor.launch(&order.run_dir, &launch).await;
        if self.supervisor.shim().take_put_back() {
            let shim = self.supervisor.shim().path().display();
            tracing::warn!(%shim, "somebody removed the supervisor's program; it was put back");
        }
        let supervised = supervised.map_err(|error| refusal::explained(error, &launch))?;
        Ok(Arc::new(LocalInstance::new(supervised, order, place)))
    }

    /// Removes cgroups that no living supervisor uses, and kills what is still in them.
    async fn sweep_cgroups(&self) {
        let Some(base) = self.cgroups.clone() else { return };
        let prefix = self.cgroup_prefix();
        unblock(move || {
            let left = strays::cgroups(&base, &prefix);
            if left.is_empty() {
                return;
            }
            // If the processes cannot be listed, no cgroup is known to be unused.
            let Ok(shims) = LivingShim::all() else { return };
            let used: BTreeSet<PathBuf> = shims.iter().filter_map(|shim| shim.spec()?.cgroup).collect();
            let unused = left.into_iter().filter(|path| !used.contains(path));
            // A supervisor of another version may not be recognized, or its spec may not be readable.
            for path in unused.filter(|path| !supervised::is_supervised(path)) {
                let killed = supervised::clear_cgroup(&path);
                let cgroup = path.display();
                tracing::info!(%cgroup, killed, "removed a leftover cgroup");
            }
        })
        .await;
    }

    async fn command_in_place(&self, order: &Order, command: &PlaceCommand) -> Result<Command, LaunchError> {
        let (order, place_command) = (order.clone(), command.clone());
        let (mark, home) = (Arc::clone(&self.mark), self.told_home.clone());
        unblock(move || self::command(&order, &place_command, &mark, &home)).await
    }
}

/// Looks at the disk, so run it on a thread that may block.
fn prepare(order: &Order, cgroup: Option<PathBuf>) -> Result<supervised::LaunchSpec, LaunchError> {
    let spec = &order.spec;
    let process = process(spec)?;
    let env = environment(order)?;
    let cwd = folder(process)?;
    check_working_dir(process, &cwd)?;
    if process.user.is_none() {
        check_links(process, &cwd)?;
    }
    let program = find(&text(&process.binary)?, path_of(&env), &cwd)
        .map_err(|error| redacted(&process.binary, error))?;
    let run_id = format!(
        "{}/{}/{}/{}",
        order.project,
        order.service,
        order.generation,
        unique()
    );
    let mut launch = supervised::LaunchSpec::new(program, cwd, run_id);
    launch.args = process
        .args
        .iter()
        .map(|arg| text(arg).map(OsString::from))
        .collect::<Result<_, _>>()?;
    launch.env = env
        .into_iter()
        .map(|(name, value)| (os_text::decode(&name), os_text::decode(value.expose())))
        .collect();
    launch.user.clone_from(&process.user);
    launch.umask = order.umask.map(Umask::bits);
    launch.limits = limits(&process.limits);
    launch.stdin = if spec.stdin {
        supervised::Stdin::Keep
    } else {
        supervised::Stdin::Null
    };
    launch.tty = spec.tty.then_some(supervised::TtySize { cols: 80, rows: 24 });
    launch.stop = stop_policy(spec);
    launch.log = supervised::LogLimits {
        max_size: spec.logs.max_size,
        max_files: spec.logs.max_files,
    };
    launch.cgroup = cgroup;
    Ok(launch)
}

/// The command as it runs in the service's place. Looks at the disk, so run it on a thread that may block.
fn command(order: &Order, command: &PlaceCommand, mark: &str, home: &Path) -> Result<Command, LaunchError> {
    let process = process(&order.spec)?;
    let mut env = environment(order)?;
    env.extend(
        command
            .env
            .iter()
            .map(|(name, value)| (name.clone(), value.clone())),
    );
    let user = command.user.as_ref().or(process.user.as_ref());
    // `harness` inside it means this daemon. Other users may not look into this daemon's home.
    if let (None, Some(home)) = (user, home.to_str()) {
        env.entry(HOME_VARIABLE.to_owned())
            .or_insert_with(|| SecretString::new(home));
    }
    let cwd = match &command.working_dir {
        Some(dir) => folder(process)?.join(dir),
        None => folder(process)?,
    };
    check_folder(&cwd)?;
    let (program, args) = command
        .words
        .split_first()
        .map_or(("", &[][..]), |(p, a)| (p.as_str(), a));
    let mut out = Command::new(find(program, path_of(&env), &cwd)?)
        .args(args)
        .clear_env()
        .envs(
            env.into_iter()
                .map(|(name, value)| (os_text::decode(&name), os_text::decode(value.expose()))),
        )
        .env(supervised::RUN_ID_VARIABLE, supervised::below(mark, &unique()))
        .cwd(cwd)
        .stdin(if command.stdin {
            StdinMode::Piped
        } else {
            StdinMode::Null
        });
    if let Some(user) = user {
        out = out.user(user.clone());
    }
    if let Some(umask) = order.umask {
        out = out.umask(umask.bits());
    }
    if let Some((cols, rows)) = command.terminal {
        out = out.tty(WindowSize { cols, rows });
    }
    Ok(out)
}

#[async_trait]
impl KindOf for ProcessExecutor {
    fn types(&self) -> &'static [&'static str] {
        &["process"]
    }

    fn wants(&self, _spec: &ServiceSpec) -> Wants {
        Wants::Local
    }

    fn describe(&self, spec: &ServiceSpec) -> Description {
        match process(spec) {
            Ok(process) => Description::of(
                std::iter::once(&process.binary).chain(&process.args),
                process.working_dir.as_ref(),
            ),
            Err(_) => Description::default(),
        }
    }
}

#[async_trait]
impl Executor for ProcessExecutor {
    async fn end_leftover_commands(&self) {
        let bin = self.supervisor.shim().path().parent().map(Path::to_owned);
        if let Some(bin) = bin {
            match unblock(move || supervised::end_former(&bin)).await {
                Ok(former) => {
                    for zygote in former {
                        tracing::warn!(pid = zygote.pid, "ended a stopped zygote of a former daemon");
                    }
                }
                Err(error) => {
                    tracing::error!(error = chain(&error), "cannot end the zygote of a former daemon")
                }
            }
        }
        let mark = Arc::clone(&self.mark);
        match unblock(move || supervised::kill_all_below(&mark)).await {
            Ok(0) => {}
            Ok(killed) => tracing::info!(killed, "ended the commands of a former daemon"),
            Err(error) => {
                tracing::error!(
                    error = chain(&error),
                    "cannot end the commands of a former daemon"
                );
            }
        }
    }

    async fn launch(&self, order: &Order) -> Fate {
        self.launched(order).await.into()
    }

    async fn survey(&self) {
        let home = self.home.clone();
        match unblock(move || home.survey()).await {
            Ok(found) => *self.found() = found,
            Err(error) => {
                tracing::error!(%error, "cannot search for supervisors that lost their run directories")
            }
        }
    }

    async fn adopt(&self, order: &Order, trace: Option<&RunTrace>) -> Fate {
        let fate = self.adopted(order, trace).await;
        match fate {
            Fate::Known(Known::Ended { .. } | Known::Never(_)) => {
                self.lost_instance(order).map_or(fate, Fate::Known)
            }
            // Its own supervisor is no stray.
            _ => {
                self.account_for(order, None);
                fate
            }
        }
    }

    async fn strays(&self) -> Vec<Stray> {
        let left = std::mem::take(&mut *self.found());
        let strays = left.into_iter().map(|found| {
            let (project, service, pid) = (&found.project, &found.service, found.shim.process().pid);
            Stray {
                what: format!("{project}/{service} (supervisor {pid})"),
                ended: Box::pin(end(found.shim)),
            }
        });
        let strays = strays.collect();
        self.sweep_cgroups().await;
        strays
    }

    async fn exec(&self, order: &Order, command: &PlaceCommand) -> Result<Box<dyn Session>, LaunchError> {
        let program = command.words.first().cloned().unwrap_or_default();
        let running = self
            .commands
            .spawn(self.command_in_place(order, command).await?)
            .map_err(|source| LaunchError::Command { program, source })?;
        Ok(Box::new(CommandSession::new(running)))
    }

    async fn run(
        &self,
        order: &Order,
        command: &PlaceCommand,
        expiry: Expiry<'_>,
    ) -> Result<CommandAnswer, LaunchError> {
        let program = command.words.first().cloned().unwrap_or_default();
        let command = self.command_in_place(order, command).await?;
        match self.commands.run_until(command, expiry).await {
            Ok(ran) => {
                let tail = format!("{}{}", whole_lines(&ran.stdout), whole_lines(&ran.stderr));
                Ok(CommandAnswer {
                    exit: ran.status.map(exit_status),
                    // Whoever shows the text shortens it, and half a secret would not be recognized any more.
                    tail: order.secrets.hide(&last_lines(&tail)),
                    rest: Rest::of(ran.rest),
                })
            }
            Err(RunError::Spawn(source)) => Err(LaunchError::Command { program, source }),
            Err(source) => Err(LaunchError::Run {
                program,
                source: Box::new(source),
            }),
        }
    }
}

/// Stops what a supervisor runs by the rules that it was launched with, and kills what does not stop.
async fn end(shim: LivingShim) {
    let (of, looked) = (shim.clone(), shim);
    let (spec, taken) = unblock(move || (of.spec(), looked.take_over())).await;
    let supervised = match taken {
        Ok(Some(supervised)) => supervised,
        Ok(None) => return,
        Err(error) => {
            return tracing::error!(
                error = chain(&error),
                "cannot stop a service that lost its run directory"
            );
        }
    };
    let policy = spec.map(|spec| spec.stop).unwrap_or_default();
    if let Err(error) = supervised.stop(policy).await {
        tracing::warn!(
            error = chain(&error),
            "cannot stop a service that lost its run directory, killing it instead"
        );
    } else {
        let in_time = async { supervised.wait().await.is_ok() };
        let late = async {
            pass(policy.grace + GRACE_MARGIN).await;
            false
        };
        if in_time.or(late).await {
            return;
        }
    }
    if let Err(error) = supervised.kill().await {
        tracing::error!(
            error = chain(&error),
            "cannot kill a service that lost its run directory"
        );
    }
    while let Err(error) = supervised.wait().await {
        tracing::error!(
            error = chain(&error),
            "cannot find out whether a service that lost its run directory is gone"
        );
        pass(super::local::LOOK_AGAIN).await;
    }
}

fn process(spec: &ServiceSpec) -> Result<&ProcessSpec, LaunchError> {
    match &spec.kind {
        Kind::Process(process) => Ok(process),
        other => Err(LaunchError::NoExecutor {
            type_name: other.name().to_owned(),
        }),
    }
}

fn environment(order: &Order) -> Result<BTreeMap<String, SecretString>, LaunchError> {
    compose_environment(&order.spec, &order.inherited, &order.addresses)
}

fn path_of(env: &BTreeMap<String, SecretString>) -> &str {
    env.get("PATH").map_or(DEFAULT_PATH, SecretString::expose)
}

fn folder(process: &ProcessSpec) -> Result<PathBuf, LaunchError> {
    process
        .working_dir
        .as_ref()
        .map_or_else(|| Ok(PathBuf::from("/")), |dir| text(dir).map(PathBuf::from))
}

fn check_working_dir(process: &ProcessSpec, cwd: &Path) -> Result<(), LaunchError> {
    check_folder(cwd).map_err(|error| match &process.working_dir {
        Some(dir) => redacted(dir, error),
        None => error,
    })
}

/// As root, nobody follows a link to the folder that others could have made. The shim makes sure of that; this check
/// only gives a clear message.
fn check_links(process: &ProcessSpec, cwd: &Path) -> Result<(), LaunchError> {
    let checked = harness_files::open_folder_guarded(cwd).map(drop);
    checked.map_err(|error| {
        let error = LaunchError::Path {
            what: "working_dir",
            path: cwd.to_owned(),
            source: std::io::Error::new(error.kind(), error),
        };
        match &process.working_dir {
            Some(dir) => redacted(dir, error),
            None => error,
        }
    })
}

fn limits(limits: &Limits) -> Vec<(supervised::Resource, u64)> {
    use supervised::Resource as R;
    let Limits {
        open_files,
        processes,
        memory,
        core,
        file_size,
        cpu_seconds,
    } = limits;
    let all = [
        (R::OpenFiles, open_files),
        (R::Processes, processes),
        (R::Memory, memory),
        (R::Core, core),
        (R::FileSize, file_size),
        (R::CpuSeconds, cpu_seconds),
    ];
    all.into_iter()
        .filter_map(|(resource, limit)| Some((resource, (*limit)?)))
        .collect()
}

/// The output, from the first line that was kept whole.
fn whole_lines(output: &TailBytes) -> Cow<'_, str> {
    let whole = if output.dropped == 0 {
        &output.bytes[..]
    } else {
        let cut = output.bytes.iter().position(|byte| *byte == b'\n');
        cut.map_or(&[][..], |end| &output.bytes[end + 1..])
    };
    String::from_utf8_lossy(whole)
}

fn last_lines(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n")
}

/// A text that no other launch has: the run id and the cgroup must differ from those of any other daemon's launch.
fn unique() -> String {
    static LAUNCHES: AtomicU64 = AtomicU64::new(0);
    let (time, number) = (WallTime::now().0, LAUNCHES.fetch_add(1, Ordering::Relaxed));
    format!("{time:x}-{}-{number}", std::process::id())
}
