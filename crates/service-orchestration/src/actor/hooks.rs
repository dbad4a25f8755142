//! The hooks of one generation: runs them, and ends what still runs or what they left.
//!
//! ```text
//! RunHook ──▶ task: run ──▶ what it left is held ──▶ HookFinished
//! EndHook ──▶ the task ends the command ──────────▶ HookFinished
//! EndHooks ─▶ the tasks end their commands, then what is held is ended ──▶ HooksEnded
//! ```
//!
//! What an `after_stop` hook leaves behind is ended together with the hook. A file on disk says that the hook must
//! run, from before the launch until the hook has run (see `rebuild`), so that the daemon can die in between without
//! losing it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_channel::{Receiver, Sender};
use blocking::unblock;
use command_executor::patience::pass;
use futures_lite::FutureExt;
use harness_model::spec::HookCommand;
use harness_model::{ProjectName, ServiceName, ServiceSpec};
use service_registry::ChangeKind;

use super::Message;
use super::driver::Driver;
use super::rebuild::pay;
use crate::executor::{Executor, LaunchError, Order, PlaceCommand, Rest};
use crate::machine::{Event, Happened, Hook, Terms, brief, hook_name};
use crate::words::chain;

/// The hooks of a generation, from its first hook or its launch on.
pub(super) struct Hooks {
    /// The order that the generation was started by.
    pub(super) order: Arc<Order>,
    generation: u64,
    running: Vec<Running>,
    held: Arc<Held>,
    /// Closed once everything has ended, after that was asked for.
    ending: Option<Receiver<()>>,
}

/// A hook with a task that was started.
struct Running {
    hook: Hook,
    /// Closing it ends the command.
    end: Sender<()>,
    /// Closed when the task is over.
    over: Receiver<()>,
}

/// What hooks have left in the background.
#[derive(Default)]
struct Held(Mutex<State>);

#[derive(Default)]
struct State {
    /// The generation is over: nothing is held any more.
    over: bool,
    rests: Vec<Rest>,
}

impl Held {
    /// Holds it until the generation is over. If the generation is over already, it gives it back.
    fn take(&self, rest: Rest) -> Option<Rest> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if state.over {
            return Some(rest);
        }
        state.rests.push(rest);
        None
    }

    fn give_up(&self) -> Vec<Rest> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.over = true;
        std::mem::take(&mut state.rests)
    }
}

impl Hooks {
    /// The hooks of a generation that was started by this order.
    pub(super) fn new(order: Arc<Order>, generation: u64) -> Self {
        Self {
            order,
            generation,
            running: Vec::new(),
            held: Arc::default(),
            ending: None,
        }
    }

    /// Ends all of it; the future is done when everything is gone.
    fn end(&mut self) -> impl Future<Output = ()> + Send + use<> {
        let (running, before) = (std::mem::take(&mut self.running), self.ending.take());
        let rests = self.held.give_up();
        let (ended, ending) = async_channel::bounded(1);
        self.ending = Some(ending);
        async move {
            for hook in &running {
                hook.end.close();
            }
            for over in running.iter().map(|hook| &hook.over).chain(&before) {
                // Nothing is ever sent; the channel gets closed.
                let _ = over.recv().await;
            }
            for rest in rests {
                end(rest).await;
            }
            drop(ended);
        }
    }
}

async fn end(rest: Rest) {
    if let Err(error) = rest.end().await {
        tracing::error!(%error, "cannot end what a hook left in the background");
    }
}

/// How a hook ended.
enum Ended {
    Well,
    Failed(String),
    /// It was ended from outside.
    Cut,
}

/// The command of a hook in a specification.
fn command(spec: &ServiceSpec, hook: Hook) -> Option<&HookCommand> {
    match hook {
        Hook::BeforeStart => spec.hooks.before_start.as_ref(),
        Hook::AfterHealthy => spec.hooks.after_healthy.as_ref(),
        Hook::BeforeStop => spec.hooks.before_stop.as_ref(),
        Hook::AfterStop => spec.hooks.after_stop.as_ref(),
    }
}

/// How long a hook may take.
fn limit(spec: &ServiceSpec, hook: Hook, command: &HookCommand) -> Duration {
    match hook {
        Hook::BeforeStart => command.timeout.unwrap_or(spec.startup_timeout),
        _ => command.limit(),
    }
}

/// The hooks of a specification, and how long each may take.
pub(super) fn limits(spec: &ServiceSpec) -> BTreeMap<Hook, Duration> {
    let all = [
        Hook::BeforeStart,
        Hook::AfterHealthy,
        Hook::BeforeStop,
        Hook::AfterStop,
    ];
    all.into_iter()
        .filter_map(|hook| Some((hook, limit(spec, hook, command(spec, hook)?))))
        .collect()
}

/// The terms that a generation of this specification keeps until its end.
pub(super) fn terms(spec: &ServiceSpec) -> Terms {
    Terms {
        hooks: limits(spec),
        shutdown_timeout: spec.shutdown_timeout,
    }
}

/// A hook that is ready to run.
struct Run {
    words: Vec<String>,
    place: Result<(Arc<dyn Executor>, Arc<Order>), LaunchError>,
    limit: Duration,
}

impl Run {
    /// Runs it until it ends, its time runs out, or `end` is closed.
    async fn run(self, end: &Receiver<()>) -> (Ended, Rest) {
        let failed = |error: &LaunchError| (Ended::Failed(chain(error)), Rest::none());
        let (executor, order) = match self.place {
            Ok(place) => place,
            Err(error) => return failed(&error),
        };
        let cut = async {
            // Nothing is ever sent; the channel gets closed.
            let _ = end.recv().await;
        };
        let expiry = Box::pin(pass(self.limit).or(cut));
        let answer = match executor.run(&order, &PlaceCommand::new(self.words), expiry).await {
            Ok(answer) => answer,
            Err(error) => return (Ended::Failed(order.words(&error)), Rest::none()),
        };
        let ended = match answer.exit {
            Some(exit) if exit.success() => Ended::Well,
            Some(exit) => Ended::Failed(with_tail(exit.to_string(), &answer.tail)),
            None if end.is_closed() => Ended::Cut,
            None => Ended::Failed(format!("did not end within {}", brief(self.limit))),
        };
        (ended, answer.rest)
    }
}

fn with_tail(exit: String, tail: &str) -> String {
    match tail.lines().rev().find(|line| !line.trim().is_empty()) {
        Some(line) => format!("{exit}: {}", line.trim()),
        None => exit,
    }
}

impl Driver {
    /// The hooks of a generation.
    fn hooks_of(
        &mut self,
        project: &ProjectName,
        service: &ServiceName,
        generation: u64,
    ) -> Option<&mut Hooks> {
        let entry = self.projects.get_mut(project)?.services.get_mut(service)?;
        entry
            .hooks
            .as_mut()
            .filter(|hooks| hooks.generation == generation)
    }

    /// Notes that a generation begins with this order, unless its `before_start` hook has already begun it.
    pub(super) fn begin_hooks(&mut self, order: &Arc<Order>) {
        let entry = self.projects.get_mut(&order.project);
        let entry = entry.and_then(|project| project.services.get_mut(&order.service));
        if let Some(entry) = entry
            && !matches!(&entry.hooks, Some(hooks) if hooks.generation == order.generation)
        {
            entry.hooks = Some(Hooks::new(Arc::clone(order), order.generation));
        }
    }

    pub(super) fn run_hook(
        &mut self,
        project: &ProjectName,
        service: ServiceName,
        generation: u64,
        hook: Hook,
    ) {
        if hook == Hook::BeforeStart
            && let Some(entry) = self.projects.get(project).and_then(|p| p.services.get(&service))
        {
            let order = self.order(project, &service, &entry.prepared, generation);
            self.begin_hooks(&Arc::new(order));
        }
        let Some(hooks) = self.hooks_of(project, &service, generation) else {
            return;
        };
        let (order, held) = (Arc::clone(&hooks.order), Arc::clone(&hooks.held));
        let (end, ended) = async_channel::bounded::<()>(1);
        let (running, over) = async_channel::bounded::<()>(1);
        hooks.running.push(Running { hook, end, over });
        let run = command(&order.spec, hook).map(|command| self.to_run(project, &order, hook, command));
        let (registry, layout) = (self.registry.clone(), self.layout.clone());
        let project = project.clone();
        self.spawn_message(async move {
            let began = Instant::now();
            let (ended, rest) = match run {
                Some(Ok(run)) => run.run(&ended).await,
                Some(Err(unresolved)) => (Ended::Failed(unresolved), Rest::none()),
                None => (Ended::Well, Rest::none()),
            };
            let left = match hook {
                Hook::AfterStop => Some(rest),
                _ => held.take(rest),
            };
            if let Some(rest) = left {
                self::end(rest).await;
            }
            if hook == Hook::AfterStop {
                let of = (project.clone(), service.clone());
                unblock(move || pay(&layout, &of.0, &of.1)).await;
            }
            let message = told(hook, &ended, began.elapsed());
            registry.changes().publish(
                project.clone(),
                Some(service.clone()),
                ChangeKind::Hook,
                message,
                registry.service(&project, &service),
            );
            drop(running);
            let result = match ended {
                Ended::Well => Ok(()),
                Ended::Failed(why) => Err(why),
                Ended::Cut => Err("it was ended because its service ended".to_owned()),
            };
            Some(Message::Machine {
                project,
                event: Event::Generation {
                    service,
                    generation,
                    happened: Happened::HookFinished { hook, result },
                },
            })
        });
    }

    fn to_run(
        &self,
        project: &ProjectName,
        order: &Arc<Order>,
        hook: Hook,
        command: &HookCommand,
    ) -> Result<Run, String> {
        let text =
            |word: &harness_model::Template| word.expose().ok_or_else(|| format!("`{word}` is not resolved"));
        let words = command
            .words
            .iter()
            .map(text)
            .collect::<Result<Vec<String>, String>>()?;
        let known = self.registry.project(project);
        let folder: PathBuf = known.map(|known| known.spec.base_dir.clone()).unwrap_or_default();
        Ok(Run {
            words,
            place: self.executors.of_hook(order, hook, &folder),
            limit: limit(&order.spec, hook, command),
        })
    }

    /// Ends one hook that runs. Its task reports when the hook has ended.
    pub(super) fn end_hook(
        &mut self,
        project: &ProjectName,
        service: &ServiceName,
        generation: u64,
        hook: Hook,
    ) {
        let hooks = self.hooks_of(project, service, generation);
        let running = hooks.into_iter().flat_map(|hooks| &hooks.running);
        for running in running.filter(|running| running.hook == hook) {
            running.end.close();
        }
    }

    /// Ends all hooks of a generation, and everything that they left.
    pub(super) fn end_hooks(&mut self, project: &ProjectName, service: ServiceName, generation: u64) {
        let Some(hooks) = self.hooks_of(project, &service, generation) else {
            return;
        };
        let (ended, project) = (hooks.end(), project.clone());
        self.spawn_message(async move {
            ended.await;
            Some(Message::Machine {
                project,
                event: Event::Generation {
                    service,
                    generation,
                    happened: Happened::HooksEnded,
                },
            })
        });
    }
}

fn told(hook: Hook, ended: &Ended, after: Duration) -> String {
    let (hook, after) = (hook_name(hook), brief(after));
    match ended {
        Ended::Well => format!("{hook} hook ended after {after}"),
        Ended::Failed(why) => format!("{hook} hook failed after {after}: {why}"),
        Ended::Cut => format!("{hook} hook was ended with its service, after {after}"),
    }
}
