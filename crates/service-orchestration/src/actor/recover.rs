//! Takes over what a former daemon left. Every recorded service is looked for where it ran, including those that only
//! the disk remembers (see `rebuild`).
//!
//! ```text
//! for each executor:  end leftover commands ─▶ survey ─▶ adopt each service ─▶ strays ─▶ it may launch
//!                        └────────────── SILENCE ───────────────┘
//!                                           │ no answer: its services are out of contact, the daemon is ready;
//!                                           ▼ each late answer is taken when it comes
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_channel::{Receiver, Sender, WeakSender};
use blocking::unblock;
use futures_lite::FutureExt;
use harness_model::{ProjectName, ServiceName, ServiceSpec};
use service_registry::ChangeKind;
use service_registry::record::ServiceRecord;

use super::Message;
use super::driver::{Driver, Prepared};
use super::found::{found_again, prepared, redact_strings};
use super::launching::tell_contact;
use super::orders::StopOrder;
use super::start::new_project;
use crate::executor::{Executor, Fate, Known, LaunchError, Order, Stray};
use crate::layout::remove_discarded;
use crate::machine::Lost;

/// How long a daemon that begins waits for a place. Then it serves without it.
const SILENCE: Duration = Duration::from_secs(10);

/// Why nothing is known of the services in a place that is silent.
const SILENT: &str = "its place has not answered since the daemon started";

type Key = (ProjectName, ServiceName);

/// A service that is looked for.
pub(super) struct Sought {
    pub(super) record: Arc<ServiceRecord>,
    /// Whether only the disk remembers it.
    was_lost: bool,
    pub(super) prepared: Prepared,
    /// What it was launched with.
    pub(super) order: Arc<Order>,
    /// What was launched with an `after_stop` hook that must still run, unless the service runs.
    pub(super) owed: Option<Arc<Order>>,
    executor: Option<usize>,
}

/// What the search for a service says.
pub(super) enum Said {
    /// Its place does not know yet, or has not answered at all.
    NotYet(String),
    Known(Known),
}

/// An answer of the search.
pub(super) struct Answer {
    key: Key,
    said: Said,
}

/// The search in the places of one executor.
struct Search {
    executor: Arc<dyn Executor>,
    /// Closed when former commands are ended and everything is surveyed.
    surveyed: Receiver<()>,
    /// Held by each service that is still looked for.
    looking: Option<Sender<()>>,
    strays: Receiver<Vec<Stray>>,
}

/// An executor that had not answered when the daemon became ready.
#[derive(Clone)]
pub(super) struct Silent {
    /// Closed when it has, and nothing that is in the way of a launch is left.
    answered: Receiver<()>,
}

impl Silent {
    /// Waits until a launch is safe. Meanwhile its service is out of contact.
    pub(super) async fn wait(&self, inbox: &WeakSender<Message>, of: &Key, generation: u64) {
        let lost = Lost::Contact(SILENT.to_owned());
        tell_contact(inbox, of, generation, Some(lost));
        // Nothing is ever sent; it is closed.
        let _ = self.answered.recv().await;
        tell_contact(inbox, of, generation, None);
    }
}

impl Driver {
    /// Looks for every recorded service, all at once, and tells the machines before the first order is taken. A place
    /// that does not answer in time delays nobody.
    pub(super) async fn recover(&mut self) {
        let deadline = Instant::now() + SILENCE;
        let late = || async_io::Timer::at(deadline);
        let mut searches = self.searches();
        let layout = self.layout.clone();
        self.spawn(unblock(move || {
            layout.discarded().iter().for_each(|path| remove_discarded(path));
        }));
        let (layout, registry) = (self.layout.clone(), self.registry.clone());
        let lost = unblock(move || super::rebuild::lost(&layout, &registry)).await;
        for project in self.registry.projects() {
            self.projects
                .insert(project.name.clone(), new_project(&project.name));
        }
        let mut records = Vec::new();
        for project in self.registry.projects() {
            let known = self.registry.services(&project.name);
            records.extend(known.into_iter().map(|record| (record, false)));
        }
        records.extend(lost.into_iter().map(|record| (Arc::new(record), true)));
        let (sender, answers) = async_channel::unbounded();
        let mut sought = BTreeMap::new();
        for (record, was_lost) in records {
            let one = self.sought(record, was_lost, &searches);
            let key = (one.record.project.clone(), one.record.name.clone());
            self.look_for(&key, &one, &searches, sender.clone());
            sought.insert(key, one);
        }
        drop(sender);
        // Only those who look hold it from now on.
        searches.iter_mut().for_each(|search| search.looking = None);
        let mut said = BTreeMap::new();
        let all = async {
            while said.len() < sought.len()
                && let Ok(answer) = answers.recv().await
            {
                said.insert(answer.key, answer.said);
            }
        };
        all.or(async {
            late().await;
        })
        .await;
        let unanswered: BTreeSet<usize> = sought
            .iter()
            .filter(|(key, _)| !said.contains_key(*key))
            .filter_map(|(_, one)| one.executor)
            .collect();
        let mut strays = Vec::new();
        for (index, search) in searches.into_iter().enumerate() {
            let listed = async {
                match unanswered.contains(&index) {
                    true => None,
                    false => search.strays.recv().await.ok(),
                }
            };
            let listed = listed.or(async {
                late().await;
                None
            });
            match listed.await {
                Some(listed) => strays.extend(listed),
                None => self.goes_on_without(search),
            }
        }
        let any_homeless = said
            .values()
            .any(|said| matches!(said, Said::Known(Known::Running(instance)) if instance.is_homeless()));
        self.end_strays(strays, any_homeless);
        for (key, one) in sought {
            let said = said
                .remove(&key)
                .unwrap_or_else(|| Said::NotYet(SILENT.to_owned()));
            self.take_first(key, one, said);
        }
        let inbox = self.inbox.clone();
        self.spawn(async move {
            while let (Ok(answer), Some(inbox)) = (answers.recv().await, inbox.upgrade()) {
                // The inbox is closed when the daemon ends. The next daemon finds out for itself.
                let _ = inbox.send(Message::Found(Box::new(answer))).await;
            }
        });
    }

    /// Begins the search of each executor.
    fn searches(&self) -> Vec<Search> {
        let mut executors: Vec<&Arc<dyn Executor>> = Vec::new();
        for executor in self.executors.all() {
            if !executors.iter().any(|known| Arc::ptr_eq(known, executor)) {
                executors.push(executor);
            }
        }
        let search = |executor: &Arc<dyn Executor>| {
            let (done, surveyed) = async_channel::bounded::<()>(1);
            let own = Arc::clone(executor);
            self.spawn(async move {
                own.end_leftover_commands().await;
                own.survey().await;
                drop(done);
            });
            let (looking, found) = async_channel::bounded::<()>(1);
            let (listed, strays) = async_channel::bounded(1);
            let (own, first) = (Arc::clone(executor), surveyed.clone());
            self.spawn(async move {
                // Nothing is ever sent on either; they are closed.
                let _ = first.recv().await;
                let _ = found.recv().await;
                // The receiver is gone when the daemon ends.
                let _ = listed.send(own.strays().await).await;
            });
            Search {
                executor: Arc::clone(executor),
                surveyed,
                looking: Some(looking),
                strays,
            }
        };
        executors.into_iter().map(search).collect()
    }

    fn sought(&self, record: Arc<ServiceRecord>, was_lost: bool, searches: &[Search]) -> Sought {
        let record = self.masked(record);
        let owed = super::rebuild::owed(&self.layout, &record.project, &record.name);
        // A launch reaches the disk before its record does, so the newest folder counts.
        let on_disk = self.layout.generations(&record.project, &record.name);
        let generation = on_disk.last().copied().unwrap_or(0).max(record.generation);
        let owed = owed.filter(|owed| owed.spec.hooks.after_stop.is_some());
        // It may have been launched with another specification than the one that is recorded now.
        let launched_by = match &owed {
            Some(owed) if owed.generation == generation => Some(prepared(owed)),
            _ => super::rebuild::launched_by(&self.layout, &record, generation).map(|kept| prepared(&kept)),
        };
        let prepared = prepared(&record);
        let by = launched_by.as_ref().unwrap_or(&prepared);
        let order = Arc::new(self.order(&record.project, &record.name, by, generation));
        let owed = owed.map(|owed| {
            let by = self::prepared(&owed);
            Arc::new(self.order(&record.project, &record.name, &by, owed.generation))
        });
        let executor = self.executors.of(&record.spec).ok().and_then(|executor| {
            searches
                .iter()
                .position(|search| Arc::ptr_eq(&search.executor, executor))
        });
        Sought {
            record,
            was_lost,
            prepared,
            order,
            owed,
            executor,
        }
    }

    /// Asks the executor of a service what became of it.
    fn look_for(&self, key: &Key, sought: &Sought, searches: &[Search], sender: Sender<Answer>) {
        let (key, order) = (key.clone(), Arc::clone(&sought.order));
        let trace = sought.record.trace.clone();
        let trace = trace.filter(|_| sought.record.generation == order.generation);
        let search = sought.executor.and_then(|index| searches.get(index));
        let search = search.filter(|_| order.generation > 0).map(|search| {
            let executor = Arc::clone(&search.executor);
            (executor, search.surveyed.clone(), search.looking.clone())
        });
        self.spawn(async move {
            let answer = |said| {
                let key = key.clone();
                // The receiver lives until every sender is gone.
                sender.send(Answer { key, said })
            };
            let Some((executor, surveyed, looking)) = search else {
                let never = Known::Never(Box::new(LaunchError::NeverStarted));
                let _ = answer(Said::Known(never)).await;
                return;
            };
            // Nothing is ever sent; it is closed.
            let _ = surveyed.recv().await;
            let fate = executor.adopt(&order, trace.as_deref()).await;
            drop(looking);
            let known = match fate {
                Fate::Known(known) => known,
                Fate::NotKnownYet { why, later } => {
                    let _ = answer(Said::NotYet(why)).await;
                    later.await
                }
            };
            let _ = answer(Said::Known(known)).await;
        });
    }

    /// What the search says of a service at first.
    fn take_first(&mut self, key: Key, mut sought: Sought, said: Said) {
        if sought.was_lost {
            let owes = sought.owed.is_some();
            let Some(record) = found_again(&sought.record, sought.order.generation, &said, owes) else {
                return;
            };
            let registry = &self.registry;
            sought.record = registry.upsert_service(record, ChangeKind::Registered, "found on the disk");
        }
        let is_known = matches!(said, Said::Known(_));
        self.take_found(&sought, said);
        if !is_known {
            self.sought.insert(key, sought);
        }
    }

    /// A place that was silent has answered.
    pub(super) fn found(&mut self, answer: Answer) {
        let Some(sought) = self.sought.remove(&answer.key) else {
            return;
        };
        let is_known = matches!(answer.said, Said::Known(_));
        self.take_found(&sought, answer.said);
        if !is_known {
            self.sought.insert(answer.key, sought);
        }
    }

    /// Lets an executor that is silent end its strays when it answers. Nothing is launched there before.
    fn goes_on_without(&mut self, search: Search) {
        let types = search.executor.types();
        tracing::error!(
            ?types,
            silent_s = SILENCE.as_secs(),
            "going on without a place that does not answer"
        );
        let (done, answered) = async_channel::bounded::<()>(1);
        for type_name in types {
            let answered = answered.clone();
            self.silent.insert(type_name, Silent { answered });
        }
        self.spawn(async move {
            for stray in search.strays.recv().await.unwrap_or_default() {
                tell_of(&stray);
                stray.ended.await;
            }
            drop(done);
        });
    }

    /// What to wait for before a service is launched, because its executor is silent.
    pub(super) fn silence_of(&self, spec: &ServiceSpec) -> Option<Silent> {
        let silent = self.silent.get(spec.type_name())?;
        (!silent.answered.is_closed()).then(|| silent.clone())
    }

    /// A record without the secrets that an earlier version let into it.
    fn masked(&self, record: Arc<ServiceRecord>) -> Arc<ServiceRecord> {
        if record.is_masked {
            return record;
        }
        let redactor = self.redactors.of(&record.project);
        let mut masked = ServiceRecord::clone(&record);
        for text in [&mut masked.error, &mut masked.doing, &mut masked.last_probe] {
            *text = text.take().map(|text| redactor.redact(&text));
        }
        if let Some(failure) = &mut masked.failure {
            redact_strings(failure, &redactor);
        }
        masked.is_masked = true;
        if self.registry.service(&record.project, &record.name).is_some() {
            return self.registry.upsert_service(
                masked,
                ChangeKind::Registered,
                "taken over from an earlier version",
            );
        }
        Arc::new(masked)
    }

    /// Ends what belongs to nothing that is known. Orders wait until that is gone, and until everything that lost its
    /// run directory is gone: an order could start the same again, or take it for something that is to stay.
    fn end_strays(&mut self, strays: Vec<Stray>, any_homeless: bool) {
        if strays.is_empty() && !any_homeless {
            return;
        }
        let mut ending = Vec::new();
        for stray in strays {
            tell_of(&stray);
            ending.push(self.tasks.spawn(stray.ended));
        }
        self.admission.close();
        self.spawn_message(async move {
            for one in ending {
                one.await;
            }
            Some(Message::StraysEnded)
        });
    }

    /// Stops everything that was recovered. The machines have decided nothing yet, so nothing is started before that.
    pub(super) fn stop_recovered(&mut self) {
        for project in self.projects.keys().cloned().collect::<Vec<_>>() {
            let order = StopOrder {
                project,
                targets: None,
            };
            // Every project here is known, so this cannot fail.
            let begun = self.stop(order).ok();
            self.begun.extend(begun);
        }
    }
}

fn tell_of(stray: &Stray) {
    tracing::warn!(
        what = stray.what,
        "stopping what still runs although its home or run directory is gone"
    );
}
