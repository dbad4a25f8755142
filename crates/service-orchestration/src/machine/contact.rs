//! A generation that cannot be reached: whether it runs, and whether what was ordered of it has arrived, is unknown.
//!
//! ```text
//!                 Contact(lost)                       Contact(none), or any answer
//! any live phase ----------------> the same, unreached ----------------> the same; windows go on,
//!                                   |                                     an order that may not have arrived
//!                                   |                                     is given again
//!                                   +-- for CONTACT_TIMEOUT: orders end (`NotReached`), nobody waits for it
//! ```
//!
//! While a generation is unreached, its windows and stop stages stand still, nothing is ordered of it, nothing begins
//! beside it, and nothing is claimed that was not seen. The wish stays: a stop that is asked for meanwhile is carried
//! out when the place can be reached again. A generation that is only paused is reached: it holds no conditions, but
//! its windows run on.

use std::time::Duration;

use harness_model::ServiceName;

use super::Machine;
use super::event::{Found, Happened, Recovered};
use super::operations::Operation;
use super::service::{Absence, Active, Phase, Service, Stage, Stopping, Up};
use super::types::{CONTACT_TIMEOUT, Ended, Lost, OperationId, Time};

impl Machine {
    /// It has become unknown, or known again, whether a generation runs.
    pub(super) fn contact(&mut self, name: &ServiceName, generation: u64, lost: Option<Lost>) {
        let now = self.now;
        let Some(service) = self.current(name, generation) else {
            return;
        };
        if !service.is_live() {
            return;
        }
        service.note(match (&lost, service.lost()) {
            (Some(lost), _) => lost.why().to_owned(),
            (None, Some(Lost::Paused(_))) => "it was resumed".to_owned(),
            (None, _) => "its state is known again".to_owned(),
        });
        if lost.is_none()
            && let Some(up) = service.up_mut()
            && let Some(probing) = &mut up.probing
        {
            probing.ask_again(now);
        }
        match lost {
            Some(lost @ Lost::Contact(_)) => match &mut service.absence {
                // Only the reason is new.
                Some(absence) if matches!(absence.lost, Lost::Contact(_)) => absence.lost = lost,
                absence => *absence = Some(Absence::new(lost, now)),
            },
            Some(lost @ Lost::Paused(_)) => {
                self.reached(name);
                if let Some(service) = self.services.get_mut(name) {
                    service.absence = Some(Absence::new(lost, now));
                }
            }
            None => {
                self.reached(name);
                if let Some(service) = self.services.get_mut(name) {
                    service.absence = None;
                }
            }
        }
    }

    /// Its place has answered. If that was awaited, everything goes on.
    pub(super) fn reached(&mut self, name: &ServiceName) {
        if !self.windows_go_on(name) {
            return;
        }
        let Some(service) = self.services.get_mut(name) else {
            return;
        };
        if let Phase::Stopping(stopping) = &service.phase
            && !(stopping.is_ordered && stopping.stage.runs_hook())
        {
            // It may not have arrived, or was not sent at all.
            let stage = stopping.stage;
            self.enter(name, stage);
        }
    }

    /// Its place has answered, so time counts again. Returns whether that was awaited.
    pub(super) fn windows_go_on(&mut self, name: &ServiceName) -> bool {
        let now = self.now;
        let Some(service) = self.services.get_mut(name).filter(|s| s.is_unreached()) else {
            return false;
        };
        let since = service.absence.take().map_or(now, |absence| absence.since);
        let pause = now.since(since);
        service.shift_windows(pause);
        self.dirty.insert(name.clone());
        self.heard.insert(name.clone());
        for (id, operation) in &mut self.operations {
            let Some(entry) = operation.entries.get_mut(name) else {
                continue;
            };
            let before = entry.deadline;
            for deadline in [&mut entry.deadline, &mut entry.deadline_before] {
                *deadline = deadline.map(|deadline| deadline.after(pause));
            }
            if let (Some(before), Some(after)) = (before, entry.deadline) {
                self.operation_timers.remove(&(before, *id, name.clone()));
                self.operation_timers.insert((after, *id, name.clone()));
            }
        }
        true
    }

    /// Whether it has just been unreached for so long that nobody waits for it any more.
    pub(super) fn is_given_up_now(&mut self, name: &ServiceName) -> bool {
        let now = self.now;
        let Some(service) = self.services.get_mut(name).filter(|s| s.is_unreached()) else {
            return false;
        };
        match &mut service.absence {
            Some(absence) if !absence.is_long && absence.since.after(CONTACT_TIMEOUT) <= now => {
                absence.is_long = true;
                true
            }
            _ => false,
        }
    }

    /// Until when an operation waits for a service that cannot be reached: begins when it first sees that, and is over
    /// when the service is reached.
    pub(super) fn wait_for_contact(
        &mut self,
        id: OperationId,
        operation: &mut Operation,
        name: &ServiceName,
    ) {
        let (now, unreached) = (
            self.now,
            self.services.get(name).is_some_and(Service::is_unreached),
        );
        let Some(entry) = operation.entries.get_mut(name) else {
            return;
        };
        match entry.reach_by {
            None if unreached => {
                let until = now.after(CONTACT_TIMEOUT);
                entry.reach_by = Some(until);
                self.operation_timers.insert((until, id, name.clone()));
            }
            Some(until) if !unreached => {
                entry.reach_by = None;
                // A deadline may be at the same instant. One look too many does no harm, one too few would.
                if entry.deadline != Some(until) {
                    self.operation_timers.remove(&(until, id, name.clone()));
                }
            }
            // Whoever changed a deadline at the same instant may have taken this timer away.
            Some(until) if until > now => {
                self.operation_timers.insert((until, id, name.clone()));
            }
            _ => {}
        }
    }

    /// A place that was silent when the daemon began says what became of a generation.
    pub(super) fn found_late(&mut self, name: &ServiceName, found: Recovered, owed: Option<Duration>) {
        let now = self.now;
        let Some(service) = self.current(name, found.generation) else {
            return;
        };
        let generation = service.generation;
        if let Phase::Active(Active {
            stage: Stage::Unseen,
            halt: None,
            ..
        }) = service.phase
        {
            self.windows_go_on(name);
            return self.take_found(name, found, owed);
        }
        match found.found {
            Found::Running { for_, .. } => {
                let launched_at = Time(now.0.saturating_sub(for_));
                match &mut service.phase {
                    Phase::Active(Active { stage, .. }) if matches!(stage, Stage::Unseen) => {
                        *stage = Stage::Up(Up::new(launched_at, None));
                    }
                    Phase::Stopping(stopping) => stopping.launched_at = Some(launched_at),
                    _ => {}
                }
                self.reached(name);
            }
            Found::Ended { ended, .. } => self.happened(name, generation, Happened::Exited(ended)),
            Found::Rebooted => self.happened(name, generation, Happened::Exited(Ended::Rebooted)),
            Found::Failed { .. } | Found::Idle => {
                let reason = "it never started".to_owned();
                self.happened(name, generation, Happened::LaunchFailed(reason));
            }
            Found::NotKnown { .. } => {}
        }
    }
}

impl Absence {
    pub(super) fn new(lost: Lost, since: Time) -> Self {
        Self {
            lost,
            since,
            is_long: false,
        }
    }
}

impl Service {
    /// Nothing was waited for during this pause.
    fn shift_windows(&mut self, pause: Duration) {
        let window = &mut self.series.window;
        *window = window.map(|until| until.after(pause));
        match &mut self.phase {
            Phase::Active(Active {
                stage: Stage::Preparing { until },
                ..
            })
            | Phase::Stopping(Stopping { until, .. }) => *until = until.after(pause),
            Phase::Active(Active {
                stage: Stage::Launching { before, .. },
                ..
            }) => *before = before.map(|until| until.after(pause)),
            _ => {}
        }
    }
}
