//! The promises about hooks: they run one at a time, never beside those of another generation, and none is left
//! behind. `after_stop` runs after each generation and never before it has ended.

use std::collections::{BTreeMap, BTreeSet};

use harness_model::{ServiceName, ServiceState};
use service_orchestration::machine::{Deed, Effect, Event, Happened, Hook, Terms};

#[derive(Default)]
pub struct HooksCheck {
    of: BTreeMap<ServiceName, OfService>,
}

#[derive(Default, Debug)]
struct OfService {
    /// The process that was launched and has not ended.
    process: Option<u64>,
    terms: BTreeMap<u64, Terms>,
    running: BTreeSet<(u64, Hook)>,
    /// Each hook that has ended leaves something behind.
    left: BTreeSet<(u64, Hook)>,
    /// The generation with an `after_stop` hook that must still run.
    owed: Option<u64>,
}

type Verdict = Result<(), String>;

impl HooksCheck {
    /// Before the machine hears of it.
    pub fn event(&mut self, event: &Event) {
        let Event::Generation {
            service,
            generation,
            happened,
        } = event
        else {
            return;
        };
        match happened {
            Happened::LaunchFailed(_) => self.process_ended(service, *generation, false),
            Happened::Exited(_) => self.process_ended(service, *generation, true),
            Happened::HookFinished { hook, .. } => {
                let of = self.of.entry(service.clone()).or_default();
                if !of.running.remove(&(*generation, *hook)) {
                    return;
                }
                match hook {
                    Hook::AfterStop => of.owed = None,
                    _ => {
                        of.left.insert((*generation, *hook));
                    }
                }
            }
            Happened::HooksEnded => {
                let of = self.of.entry(service.clone()).or_default();
                if of.running.contains(&(*generation, Hook::AfterStop)) {
                    of.owed = None;
                }
                of.running.clear();
                of.left.clear();
            }
            _ => {}
        }
    }

    /// Its process is gone, if it was launched at all.
    pub fn process_ended(&mut self, service: &ServiceName, generation: u64, ran: bool) {
        let of = self.of.entry(service.clone()).or_default();
        if of.process != Some(generation) {
            return;
        }
        of.process = None;
        let terms = of.terms.get(&generation);
        if ran && terms.is_some_and(|terms| terms.hooks.contains_key(&Hook::AfterStop)) {
            of.owed = Some(generation);
        }
    }

    /// All hooks end with the daemon. Hooks that must still run stay recorded.
    pub fn daemon_died(&mut self) {
        for of in self.of.values_mut() {
            of.running.clear();
            of.left.clear();
        }
    }

    /// `terms` are those of the desired definition.
    pub fn effect(&mut self, effect: &Effect, terms: Option<Terms>) -> Verdict {
        let Effect::Generation {
            service,
            generation,
            deed,
        } = effect
        else {
            return Ok(());
        };
        match deed {
            Deed::Launch(_) => {
                let of = self.of.entry(service.clone()).or_default();
                of.begins(service, *generation)?;
                of.process = Some(*generation);
                of.terms
                    .insert(*generation, terms.ok_or("launch of an unknown service")?);
                Ok(())
            }
            Deed::RunHook(hook) => {
                let of = self.of.entry(service.clone()).or_default();
                let what = format!("{service}.{generation}: {hook:?}");
                if let Some((other, _)) = of.running.first() {
                    return Err(format!("{what} beside a hook of {other}: {of:?}"));
                }
                match hook {
                    Hook::BeforeStart => of.begins(service, *generation)?,
                    Hook::AfterHealthy => {}
                    Hook::BeforeStop if of.process != Some(*generation) => {
                        return Err(format!("{what} of what does not run"));
                    }
                    Hook::BeforeStop => {}
                    Hook::AfterStop if of.process.is_some() || !of.left.is_empty() => {
                        return Err(format!("{what} before all of it is gone: {of:?}"));
                    }
                    Hook::AfterStop => {}
                }
                let known = of.terms.get(generation);
                if *hook != Hook::BeforeStart && known.is_some_and(|terms| !terms.hooks.contains_key(hook)) {
                    return Err(format!("{what} is not what it was launched with"));
                }
                of.running.insert((*generation, *hook));
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// How a service is shown after a step.
    pub fn shown(&self, service: &ServiceName, state: ServiceState) -> Verdict {
        let Some(of) = self.of.get(service) else {
            return Ok(());
        };
        let over = matches!(
            state,
            ServiceState::Stopped
                | ServiceState::Completed
                | ServiceState::Failed
                | ServiceState::Pending
                | ServiceState::Restarting
        );
        let fine = of.running.is_empty() && of.left.is_empty() && of.owed.is_none();
        if over && !fine {
            return Err(format!("{service} is {state}, and hooks are left: {of:?}"));
        }
        Ok(())
    }
}

impl OfService {
    /// Nothing of a former generation may be left.
    fn begins(&self, service: &ServiceName, generation: u64) -> Verdict {
        let former = |set: &BTreeSet<(u64, Hook)>| set.iter().any(|(of, _)| *of != generation);
        if former(&self.running) || former(&self.left) || self.owed.is_some() || self.process.is_some() {
            return Err(format!("{service}.{generation} begins beside hooks: {self:?}"));
        }
        Ok(())
    }
}
