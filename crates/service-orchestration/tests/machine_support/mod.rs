//! A machine in virtual time, with every answer given by hand.
#![allow(dead_code, reason = "each test program uses its part of it")]

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use harness_model::resolve::SpecDigest;
use harness_model::spec::{Condition, Dependency, RestartMode, RestartPolicy};
use harness_model::{ExitStatus, ServiceName};
use service_orchestration::machine::*;

pub fn name(text: &str) -> ServiceName {
    ServiceName::new(text).unwrap()
}

pub fn plain(digest: &str) -> Definition {
    Definition {
        digest: SpecDigest::from_text(digest),
        dependencies: Vec::new(),
        restart: RestartPolicy {
            mode: RestartMode::No,
            max_restarts: None,
        },
        oneshot: false,
        health: None,
        startup_timeout: Duration::from_secs(60),
        shutdown_timeout: Duration::from_secs(10),
        hooks: BTreeMap::new(),
    }
}

pub fn probed(digest: &str) -> Definition {
    let health = HealthPolicy {
        interval: Duration::from_secs(10),
        timeout: Duration::from_secs(5),
        retries: 3,
        eager: Duration::from_millis(10),
    };
    Definition {
        health: Some(health),
        ..plain(digest)
    }
}

pub fn on(mut definition: Definition, service: &str, condition: Condition) -> Definition {
    let service = name(service);
    definition.dependencies.push(Dependency {
        service,
        condition,
        restart: false,
        required: true,
    });
    definition
}

pub fn restarting(mut definition: Definition, mode: RestartMode, max_restarts: Option<u32>) -> Definition {
    definition.restart = RestartPolicy { mode, max_restarts };
    definition
}

/// Adds these hooks, each of which may take two seconds.
pub fn hooked(mut definition: Definition, hooks: &[Hook]) -> Definition {
    definition.hooks = hooks.iter().map(|hook| (*hook, Duration::from_secs(2))).collect();
    definition
}

/// A machine, its clock, and what the machine has asked for since somebody last looked.
pub struct Bench {
    pub machine: Machine,
    pub now: Time,
    pub file: BTreeMap<ServiceName, Definition>,
    pub effects: Vec<Effect>,
    pub operations: u64,
}

impl Bench {
    pub fn new(file: &[(&str, Definition)]) -> Self {
        let file = file
            .iter()
            .map(|(text, definition)| (name(text), definition.clone()))
            .collect();
        Self {
            machine: Machine::new(1),
            now: Time::default(),
            file,
            effects: Vec::new(),
            operations: 0,
        }
    }

    pub fn give(&mut self, event: Event) {
        self.effects.extend(self.machine.step(event, self.now));
    }

    /// Lets time pass, with a tick whenever one is due.
    pub fn wait(&mut self, millis: u64) {
        let until = self.now.after(Duration::from_millis(millis));
        while let Some(due) = self.machine.next_deadline().filter(|due| *due <= until) {
            self.now = self.now.max(due);
            self.give(Event::Tick);
        }
        self.now = until;
    }

    pub fn start(&mut self, rollback: bool, restart: bool, targets: &[&str]) {
        let targets = (!targets.is_empty()).then(|| targets.iter().map(|t| name(t)).collect());
        let definitions = self.file.clone();
        let request = OperationRequest::Start {
            definitions,
            targets,
            no_deps: false,
            restart,
            unchosen: BTreeSet::new(),
            prune: false,
            rollback,
        };
        self.submit(request);
    }

    pub fn stop(&mut self, targets: &[&str]) {
        let targets = (!targets.is_empty()).then(|| targets.iter().map(|t| name(t)).collect());
        self.submit(OperationRequest::Stop { targets });
    }

    pub fn submit(&mut self, request: OperationRequest) {
        self.operations += 1;
        self.give(Event::Submit {
            operation: OperationId(self.operations),
            request,
        });
    }

    pub fn view(&self, service: &str) -> Snapshot {
        self.machine.snapshot(&name(service), self.now).unwrap()
    }

    pub fn launched(&mut self, service: &str) {
        let generation = self.view(service).generation;
        self.give(Event::Generation {
            service: name(service),
            generation,
            happened: Happened::Launched,
        });
    }

    pub fn exited(&mut self, service: &str, code: i32) {
        self.ended(service, Ended::Exit(ExitStatus::Code(code)));
    }

    pub fn ended(&mut self, service: &str, ended: Ended) {
        let generation = self.view(service).generation;
        self.give(Event::Generation {
            service: name(service),
            generation,
            happened: Happened::Exited(ended),
        });
    }

    pub fn probe(&mut self, service: &str, outcome: ProbeOutcome) {
        let generation = self.view(service).generation;
        self.give(Event::Generation {
            service: name(service),
            generation,
            happened: Happened::Probed(outcome),
        });
    }

    pub fn contact(&mut self, service: &str, lost: Option<&str>) {
        let generation = self.view(service).generation;
        self.give(Event::Generation {
            service: name(service),
            generation,
            happened: Happened::Contact(lost.map(|why| Lost::Contact(why.to_owned()))),
        });
    }

    pub fn redefine(&mut self, service: &str, definition: Definition) {
        self.file.insert(name(service), definition);
    }

    pub fn matched(&mut self, service: &str, pattern: &str) {
        let generation = self.view(service).generation;
        self.give(Event::Generation {
            service: name(service),
            generation,
            happened: Happened::LogMatched(LogPattern(pattern.into())),
        });
    }

    pub fn hook_finished(&mut self, service: &str, hook: Hook, result: Result<(), &str>) {
        let generation = self.view(service).generation;
        self.give(Event::Generation {
            service: name(service),
            generation,
            happened: Happened::HookFinished {
                hook,
                result: result.map_err(str::to_owned),
            },
        });
    }

    pub fn hooks_ended(&mut self, service: &str) {
        let generation = self.view(service).generation;
        self.give(Event::Generation {
            service: name(service),
            generation,
            happened: Happened::HooksEnded,
        });
    }

    /// The launches, stops, kills and hooks that were asked for, in order: `+db -api !x db:before_start db:end`.
    pub fn deeds(&mut self) -> String {
        let deed = |effect: &Effect| match effect {
            Effect::Generation {
                service,
                deed: Deed::Launch(_),
                ..
            } => Some(format!("+{service}")),
            Effect::Generation {
                service,
                deed: Deed::Stop,
                ..
            } => Some(format!("-{service}")),
            Effect::Generation {
                service,
                deed: Deed::Kill,
                ..
            } => Some(format!("!{service}")),
            Effect::Generation {
                service,
                deed: Deed::RunHook(hook),
                ..
            } => Some(format!("{service}:{hook:?}")),
            Effect::Generation {
                service,
                deed: Deed::EndHook(hook),
                ..
            } => Some(format!("{service}:end{hook:?}")),
            Effect::Generation {
                service,
                deed: Deed::EndHooks,
                ..
            } => Some(format!("{service}:end")),
            _ => None,
        };
        let deeds: Vec<String> = self.effects.iter().filter_map(deed).collect();
        self.effects
            .retain(|effect| matches!(effect, Effect::Finished { .. }));
        deeds.join(" ")
    }

    pub fn outcome(&mut self) -> Option<Outcome> {
        let at = self
            .effects
            .iter()
            .position(|effect| matches!(effect, Effect::Finished { .. }))?;
        match self.effects.remove(at) {
            Effect::Finished { outcome, .. } => Some(outcome.outcome),
            _ => None,
        }
    }

    pub fn roots(&mut self) -> Vec<RootFailure> {
        match self.outcome() {
            Some(Outcome::Failed(roots)) => roots,
            other => panic!("not failed: {other:?}"),
        }
    }
}

pub fn bad() -> ProbeOutcome {
    ProbeOutcome::Unhealthy("connection refused".into())
}
