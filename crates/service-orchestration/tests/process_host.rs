//! Processes at a host that is not this machine. The host really runs them here, but says that it is elsewhere, and the
//! link to it can be cut.

#![cfg(test)]

mod actor_support;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use actor_support::{home, in_time, is_alive, name, project_name, shim, sleeper};
use async_trait::async_trait;
use command_executor::host::{
    Adoption, ConnectError, Connection, Endpoint, FindError, PutError, PutFile, Records, Search, Stat,
    Survivor, TakenOver,
};
use command_executor::logs::FollowError;
use command_executor::process::SpawnError;
use command_executor::supervised::{
    AdoptError, Adopted, ControlError, Ended, LaunchError, LaunchSpec, ProcessId, Scope, StopPolicy, Trace,
    TtySize, WaitError,
};
use command_executor::{Command, Generation, Host, HostError, Local, Managed, NotReached};
use futures_lite::future;
use harness_model::ExitStatus;
use service_orchestration::executor::{
    Executor, Fate, Instance, Known, LaunchError as Refused, LaunchLink, Order, PlaceCommand, ProcessExecutor,
};
use service_orchestration::machine::{Ended as HowItEnded, Lost};
use service_orchestration::secrets::Secrets;
use service_registry::address::{Place, ServiceAddresses};

/// The link to the host.
#[derive(Debug, Default)]
struct Link {
    is_cut: AtomicBool,
    /// The next launch arrives, but then the link is cut.
    loses_answers: AtomicBool,
}

impl Link {
    fn check(&self) -> Result<(), NotReached> {
        match self.is_cut.load(Ordering::Relaxed) {
            true => Err(lost(false)),
            false => Ok(()),
        }
    }

    async fn becomes(&self, cut: bool) {
        while self.is_cut.load(Ordering::Relaxed) != cut {
            async_io::Timer::after(Duration::from_millis(2)).await;
        }
    }
}

fn lost(sent: bool) -> NotReached {
    NotReached {
        host: "node1".to_owned(),
        why: "the link is cut".to_owned(),
        sent,
    }
}

/// A host behind a link.
#[derive(Debug)]
struct Far {
    near: Local,
    link: Arc<Link>,
}

#[derive(Debug)]
struct FarRun {
    near: Arc<dyn Generation>,
    link: Arc<Link>,
    told: AtomicBool,
}

impl Far {
    fn behind(&self, near: Arc<dyn Generation>) -> Arc<dyn Generation> {
        Arc::new(FarRun {
            near,
            link: Arc::clone(&self.link),
            told: AtomicBool::new(false),
        })
    }
}

#[async_trait]
impl Host for Far {
    fn is_here(&self) -> bool {
        false
    }

    async fn exec(&self, command: Command) -> Result<Box<dyn Managed>, HostError<SpawnError>> {
        self.link.check()?;
        self.near.exec(command).await
    }

    async fn launch(
        &self,
        run_dir: PathBuf,
        spec: LaunchSpec,
    ) -> Result<Arc<dyn Generation>, HostError<LaunchError>> {
        self.link.check()?;
        let launched = self.near.launch(run_dir, spec).await;
        if self.link.loses_answers.swap(false, Ordering::Relaxed) {
            self.link.is_cut.store(true, Ordering::Relaxed);
            return Err(lost(true).into());
        }
        launched.map(|run| self.behind(run))
    }

    async fn adopt(&self, run: Adoption) -> Result<Adopted, HostError<AdoptError>> {
        self.link.check()?;
        Ok(match self.near.adopt(run).await? {
            Adopted::Running(run) => Adopted::Running(self.behind(run)),
            other => other,
        })
    }

    async fn records(&self, run_dir: PathBuf, from: u64) -> Result<Box<dyn Records>, HostError<FollowError>> {
        self.link.check()?;
        self.near.records(run_dir, from).await
    }

    async fn put(&self, file: PutFile) -> Result<(), HostError<PutError>> {
        self.link.check()?;
        self.near.put(file).await
    }

    async fn find(&self, search: Search) -> Result<PathBuf, HostError<FindError>> {
        self.link.check()?;
        self.near.find(search).await
    }

    async fn stat(&self, path: PathBuf) -> Result<Stat, HostError<io::Error>> {
        self.link.check()?;
        self.near.stat(path).await
    }

    async fn connect(&self, to: Endpoint) -> Result<Box<dyn Connection>, HostError<ConnectError>> {
        self.link.check()?;
        self.near.connect(to).await
    }

    async fn end_leftovers(&self) -> Result<(), NotReached> {
        self.link.check()?;
        self.near.end_leftovers().await
    }

    async fn survey(&self) -> Result<Vec<Survivor>, HostError<io::Error>> {
        self.link.check()?;
        self.near.survey().await
    }

    async fn take_over(&self, supervisor: ProcessId) -> Result<Option<TakenOver>, HostError<AdoptError>> {
        self.link.check()?;
        self.near.take_over(supervisor).await
    }

    async fn sweep(&self) -> Result<(), NotReached> {
        self.link.check()?;
        self.near.sweep().await
    }
}

#[async_trait]
impl Generation for FarRun {
    fn trace(&self) -> Trace {
        self.near.trace()
    }

    fn is_in_place(&self) -> bool {
        self.near.is_in_place()
    }

    async fn contact(&self) -> Option<NotReached> {
        let told = self.told.load(Ordering::Relaxed);
        self.link.becomes(!told).await;
        self.told.store(!told, Ordering::Relaxed);
        (!told).then(|| lost(false))
    }

    async fn wait(&self) -> Result<Ended, HostError<WaitError>> {
        let ended = self.near.wait().await;
        self.link.becomes(false).await;
        ended
    }

    async fn stop(&self, policy: StopPolicy) -> Result<(), HostError<ControlError>> {
        self.link.check()?;
        self.near.stop(policy).await
    }

    async fn kill(&self) -> Result<(), HostError<ControlError>> {
        self.link.check()?;
        self.near.kill().await
    }

    async fn signal(&self, signal: i32, scope: Scope) -> Result<(), HostError<ControlError>> {
        self.link.check()?;
        self.near.signal(signal, scope).await
    }

    async fn send_stdin(&self, bytes: Vec<u8>) -> Result<(), HostError<ControlError>> {
        self.link.check()?;
        self.near.send_stdin(bytes).await
    }

    async fn close_stdin(&self) -> Result<(), HostError<ControlError>> {
        self.link.check()?;
        self.near.close_stdin().await
    }

    async fn resize(&self, size: TtySize) -> Result<(), HostError<ControlError>> {
        self.link.check()?;
        self.near.resize(size).await
    }
}

fn far(home: &Path) -> (ProcessExecutor, Arc<Link>) {
    let link = Arc::new(Link::default());
    let host = Far {
        near: Local::new(shim(), home),
        link: Arc::clone(&link),
    };
    (ProcessExecutor::new(Arc::new(host), home), link)
}

fn order(home: &Path) -> Order {
    let run_dir = home.join("projects/test/a/1");
    std::fs::create_dir_all(run_dir.parent().unwrap()).unwrap();
    Order {
        project: project_name(),
        service: name("a"),
        generation: 1,
        spec: Arc::new(sleeper()),
        inherited: Arc::default(),
        umask: None,
        addresses: BTreeMap::new(),
        own: ServiceAddresses::at(Place::here(), "node1".to_owned(), Vec::new()),
        run_dir,
        project_files: Vec::new(),
        secrets: Secrets::default(),
        link: LaunchLink::default(),
        output_is_awaited: false,
    }
}

fn running(known: Known) -> Arc<dyn Instance> {
    match known {
        Known::Running(instance) => instance,
        Known::Ended { ended, .. } => panic!("{ended:?}"),
        Known::Never(why) => panic!("{why}"),
    }
}

async fn now(fate: Fate) -> Known {
    fate.settled(|why| panic!("{why}")).await
}

fn block_on<T>(what: &str, future: impl Future<Output = T>) -> T {
    smol::block_on(in_time(what, future))
}

/// The main process, by its pid at its host.
fn main_pid(instance: &Arc<dyn Instance>) -> u32 {
    instance.trace().unwrap().main.pid
}

#[test]
fn what_is_not_here_has_no_pid_here_and_is_managed_all_the_same() {
    let home = home();
    let (executor, link) = far(home.path());
    block_on("its life", async {
        let order = order(home.path());
        let instance = running(now(executor.launch(&order).await).await);
        assert_eq!((instance.pid(), instance.root_pid()), (None, None));
        assert_eq!(instance.started_after_boot(), None);
        assert!(is_alive(main_pid(&instance)));

        let command = PlaceCommand::new(vec!["sh".into(), "-c".into(), "echo ${HARNESS_HOME-none}".into()]);
        let answer = executor
            .run(&order, &command, Box::pin(future::pending()))
            .await
            .unwrap();
        assert_eq!(answer.tail, "none", "the home of the daemon is elsewhere");

        link.is_cut.store(true, Ordering::Relaxed);
        assert_eq!(
            instance.contact().await,
            Some(Lost::Contact("node1 was not reached: the link is cut".into()))
        );
        instance.stop().await;
        instance.kill().await;
        let refused = executor
            .run(&order, &command, Box::pin(future::pending()))
            .await
            .unwrap_err();
        assert!(matches!(refused, Refused::NotReached(_)), "{refused}");
        assert!(is_alive(main_pid(&instance)), "nothing has arrived");

        link.is_cut.store(false, Ordering::Relaxed);
        assert_eq!(instance.contact().await, None);
        instance.stop().await;
        assert_eq!(instance.wait().await, HowItEnded::Exit(ExitStatus::Signal(15)));
    });
}

#[test]
fn a_launch_that_did_not_arrive_is_certain_and_one_without_an_answer_is_not() {
    let home = home();
    let (executor, link) = far(home.path());
    block_on("the launches", async {
        let order = order(home.path());
        link.is_cut.store(true, Ordering::Relaxed);
        let Known::Never(why) = now(executor.launch(&order).await).await else {
            panic!("nothing has arrived")
        };
        assert_eq!(why.to_string(), "node1 was not reached: the link is cut");
        link.is_cut.store(false, Ordering::Relaxed);

        link.loses_answers.store(true, Ordering::Relaxed);
        let Fate::NotKnownYet { why, later } = executor.launch(&order).await else {
            panic!("it is not known")
        };
        assert_eq!(why, "node1 was not reached: the link is cut");
        let mended = async {
            async_io::Timer::after(Duration::from_millis(100)).await;
            link.is_cut.store(false, Ordering::Relaxed);
        };
        let (known, ()) = future::zip(later, mended).await;
        let instance = running(known);
        assert!(is_alive(main_pid(&instance)));
        instance.kill().await;
        instance.wait().await;
    });
}

#[test]
fn a_host_that_is_not_reached_is_asked_again_what_runs_there() {
    let home = home();
    let (executor, _) = far(home.path());
    let order = order(home.path());
    let pid = block_on("a launch", async {
        let instance = running(now(executor.launch(&order).await).await);
        main_pid(&instance)
    });
    drop(executor);

    let (executor, link) = far(home.path());
    link.is_cut.store(true, Ordering::Relaxed);
    block_on("recovery", async {
        executor.end_leftover_commands().await;
        executor.survey().await;
        let Fate::NotKnownYet { later, .. } = executor.adopt(&order, None).await else {
            panic!("it is not known")
        };
        assert!(executor.strays().await.is_empty());
        link.is_cut.store(false, Ordering::Relaxed);
        let instance = running(later.await);
        assert_eq!(main_pid(&instance), pid);
        instance.stop().await;
        instance.wait().await;
    });
    assert!(!is_alive(pid));
}
