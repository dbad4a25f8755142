//! What former daemons left running: what of it belongs to which service, and the end of what belongs to none.

use std::ffi::OsStr;
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Duration;

use command_executor::host::{self, Adoption, TakenOver};
use command_executor::patience::pass;
use command_executor::supervised::{Adopted, ProcessId};
use command_executor::{Host, HostError};
use futures_lite::FutureExt;
use harness_model::{ProjectName, ServiceName};

use super::ProcessExecutor;
use super::capacity::Place;
use super::instance::{LOOK_AGAIN, ProcessInstance, link_back};
use super::unreached::{UnreachedInstance, is_silent, known, may_run, settled};
use crate::executor::{Fate, Known, Order, RunTrace, Stray};
use crate::machine::Ended;
use crate::words::chain;

/// How long recovery waits for one supervisor that has not said who it is, before it goes on with the others.
const PROMPT: Duration = Duration::from_millis(250);

/// How long a supervisor may take to kill what is left after the grace period.
const GRACE_MARGIN: Duration = Duration::from_secs(1);

/// A supervisor that a former daemon left running.
#[derive(Debug, Clone)]
pub(super) struct Survivor {
    project: ProjectName,
    service: ServiceName,
    generation: u64,
    is_lost: bool,
    supervisor: ProcessId,
}

impl Survivor {
    /// `None` if its run directory has the path of no service.
    fn of(found: host::Survivor) -> Option<Self> {
        let mut names = found.run.iter().rev().map(OsStr::to_str);
        let generation = names.next()??.parse().ok()?;
        let service = ServiceName::new(names.next()??).ok()?;
        let project = ProjectName::new(names.next()??).ok()?;
        Some(Self {
            project,
            service,
            generation,
            is_lost: found.is_lost,
            supervisor: found.supervisor,
        })
    }

    fn is_of(&self, order: &Order) -> bool {
        (&self.project, &self.service) == (&order.project, &order.service)
    }
}

impl ProcessExecutor {
    fn found(&self) -> MutexGuard<'_, Vec<Survivor>> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Remembers what a survey found.
    pub(super) fn remember(&self, found: Vec<host::Survivor>) {
        *self.found() = found.into_iter().filter_map(Survivor::of).collect();
    }

    /// The surveyed supervisors that may belong to this generation: its own, and the service's lost ones.
    fn supervisors(&self, order: &Order) -> Vec<ProcessId> {
        let may_be_its_own =
            |found: &&Survivor| found.is_of(order) && (found.is_lost || found.generation == order.generation);
        let found = self.found();
        let own = found.iter().filter(may_be_its_own);
        own.map(|found| found.supervisor.clone()).collect()
    }

    /// Removes from the findings whatever supervises this generation in its run directory, or is this very process.
    pub(super) fn account_for(&self, order: &Order, supervisor: Option<&ProcessId>) {
        let is_its_own =
            |found: &Survivor| !found.is_lost && found.is_of(order) && found.generation == order.generation;
        self.found()
            .retain(|found| Some(&found.supervisor) != supervisor && !is_its_own(found));
    }

    /// A supervisor of the service that lives, although its own run directory does not lead to it.
    pub(super) async fn lost_instance(&self, order: &Order) -> Option<Known> {
        let is_lost = |found: &&Survivor| found.is_lost && found.is_of(order);
        let lost = self.found().iter().rev().find(is_lost)?.supervisor.clone();
        let taken = self.host.take_over(lost.clone()).await.ok()??;
        self.account_for(order, Some(&lost));
        let (is_here, place) = (self.host.is_here(), self.capacity.take_over());
        let instance = ProcessInstance::homeless(taken.generation, is_here, order, place);
        Some(Known::Running(Arc::new(instance)))
    }

    /// What has become of a generation, according to its run directory and to everything else that is known.
    pub(super) async fn adopted(&self, order: &Order, trace: Option<&RunTrace>) -> Fate {
        let run = Adoption {
            run_dir: order.run_dir.clone(),
            trace: trace.map(link_back),
            supervisors: self.supervisors(order),
            patience: PROMPT,
        };
        let adopted = self.host.adopt(run).await;
        if let Ok(Adopted::Running(run) | Adopted::Homeless(run)) = &adopted {
            self.account_for(order, Some(&run.trace().identity.shim));
        }
        let (place, host) = (|| self.capacity.take_over(), Arc::clone(&self.host));
        match adopted {
            Ok(adopted) => Fate::Known(known(adopted, host.is_here(), order, place)),
            Err(error) if may_run(&error) => {
                Fate::running(Arc::new(UnreachedInstance::new(host, order, &error)))
            }
            Err(HostError::NotReached(error)) => self.not_known_yet(order, place(), error.to_string()),
            // A former daemon launched it a moment ago, or it is stuck. Everything else need not wait for it.
            Err(error) if is_silent(&error) => {
                let why = "its supervisor has not yet said what runs".to_owned();
                self.not_known_yet(order, place(), why)
            }
            Err(error) => Fate::ended(Ended::Lost(chain(&error))),
        }
    }

    /// Its host does not say what became of a generation. It is asked until it does.
    pub(super) fn not_known_yet(&self, order: &Order, place: Place, why: String) -> Fate {
        let (host, order) = (Arc::clone(&self.host), order.clone());
        Fate::NotKnownYet {
            why,
            later: Box::pin(async move { settled(host, &order, place).await }),
        }
    }

    /// Ends whatever nothing has adopted.
    pub(super) fn end_strays(&self) -> Vec<Stray> {
        let left = std::mem::take(&mut *self.found());
        let strays = left.into_iter().map(|found| {
            let (project, service, pid) = (&found.project, &found.service, found.supervisor.pid);
            Stray {
                what: format!("{project}/{service} (supervisor {pid})"),
                ended: Box::pin(end(Arc::clone(&self.host), found.supervisor)),
            }
        });
        strays.collect()
    }
}

/// Stops what a supervisor runs by the rules that it was launched with, and kills what does not stop.
async fn end(host: Arc<dyn Host>, supervisor: ProcessId) {
    let TakenOver {
        generation,
        stop: policy,
    } = match host.take_over(supervisor).await {
        Ok(Some(taken)) => taken,
        Ok(None) => return,
        Err(error) => {
            return tracing::error!(
                error = chain(&error),
                "cannot stop a service that lost its run directory"
            );
        }
    };
    if let Err(error) = generation.stop(policy).await {
        tracing::warn!(
            error = chain(&error),
            "cannot stop a service that lost its run directory, killing it instead"
        );
    } else {
        let in_time = async { generation.wait().await.is_ok() };
        let late = async {
            pass(policy.grace + GRACE_MARGIN).await;
            false
        };
        if in_time.or(late).await {
            return;
        }
    }
    if let Err(error) = generation.kill().await {
        tracing::error!(
            error = chain(&error),
            "cannot kill a service that lost its run directory"
        );
    }
    while let Err(error) = generation.wait().await {
        tracing::error!(
            error = chain(&error),
            "cannot find out whether a service that lost its run directory is gone"
        );
        pass(LOOK_AGAIN).await;
    }
}
