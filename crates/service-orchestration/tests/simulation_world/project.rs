//! Random projects and requests about them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use harness_model::ServiceName;
use harness_model::resolve::SpecDigest;
use harness_model::spec::{Condition, Dependency, RestartMode, RestartPolicy};
use service_orchestration::machine::{Definition, HealthPolicy, Hook, OperationRequest};

use super::rng::Rng;

fn hooks(rng: &mut Rng) -> BTreeMap<Hook, Duration> {
    let mut hooks = BTreeMap::new();
    // Mostly none or few, sometimes all.
    let chance = rng.pick(&[0, 8, 8, 25, 70]);
    for hook in [
        Hook::BeforeStart,
        Hook::AfterHealthy,
        Hook::BeforeStop,
        Hook::AfterStop,
    ] {
        if rng.percent(chance) {
            hooks.insert(hook, rng.millis(100, 3000));
        }
    }
    hooks
}

pub struct Project {
    definitions: BTreeMap<ServiceName, Definition>,
    revision: u64,
}

impl Project {
    pub fn random(rng: &mut Rng) -> Self {
        let mut project = Self {
            definitions: BTreeMap::new(),
            revision: 0,
        };
        for index in 0..1 + rng.below(8) {
            // Names that sort differently from the dependencies.
            let name = ServiceName::new(format!("{}{index}", rng.pick(&["a", "m", "z"]))).unwrap();
            let definition = project.definition(rng);
            project.definitions.insert(name, definition);
        }
        let order: Vec<ServiceName> = project.definitions.keys().cloned().collect();
        let mut order: Vec<(u64, ServiceName)> = order.into_iter().map(|n| (rng.next(), n)).collect();
        order.sort();
        for index in 1..order.len() {
            let mut dependencies = Vec::new();
            for (_, on) in &order[..index] {
                if rng.percent(40) {
                    let condition = project.condition(rng, on);
                    dependencies.push(Dependency {
                        service: on.clone(),
                        condition,
                        restart: rng.percent(15),
                        required: rng.percent(85),
                    });
                }
            }
            project.definitions.get_mut(&order[index].1).unwrap().dependencies = dependencies;
        }
        project
    }

    fn condition(&self, rng: &mut Rng, on: &ServiceName) -> Condition {
        let on = &self.definitions[on];
        match rng.below(100) {
            0..8 => Condition::Log("ready".into()),
            8..12 => Condition::None,
            12..25 => Condition::Started,
            25..30 => Condition::Ready,
            _ if on.oneshot => Condition::Completed,
            _ if on.health.is_some() => Condition::Healthy,
            _ => Condition::Started,
        }
    }

    fn definition(&self, rng: &mut Rng) -> Definition {
        let health = HealthPolicy {
            interval: rng.millis(500, 3000),
            timeout: Duration::from_secs(1),
            retries: 1 + u32::try_from(rng.below(3)).unwrap(),
            eager: rng.millis(100, 300),
        };
        let oneshot = rng.percent(20);
        Definition {
            digest: SpecDigest::from_text(format!("{:x}", rng.next())),
            dependencies: Vec::new(),
            restart: RestartPolicy {
                mode: rng.pick(&[
                    RestartMode::No,
                    RestartMode::No,
                    RestartMode::OnFailure,
                    RestartMode::Always,
                    RestartMode::UnlessStopped,
                ]),
                max_restarts: rng.percent(50).then(|| u32::try_from(rng.below(4)).unwrap()),
            },
            oneshot,
            health: (!oneshot && rng.percent(60)).then_some(health),
            startup_timeout: rng.millis(1500, 8000),
            shutdown_timeout: rng.millis(300, 2000),
            hooks: hooks(rng),
        }
    }

    /// The next request of a client. Some requests change the file first.
    pub fn request(&mut self, rng: &mut Rng) -> OperationRequest {
        let names: Vec<ServiceName> = self.definitions.keys().cloned().collect();
        let some = |rng: &mut Rng| -> Option<BTreeSet<ServiceName>> {
            rng.percent(45)
                .then(|| names.iter().filter(|_| rng.percent(40)).cloned().collect())
        };
        if rng.percent(30) {
            return OperationRequest::Stop { targets: some(rng) };
        }
        self.revision += 1;
        if rng.percent(40) {
            for (name, definition) in &mut self.definitions {
                if rng.percent(30) {
                    let digest = format!("{name}-{}", self.revision);
                    definition.digest = SpecDigest::from_text(digest);
                    if rng.percent(30) {
                        definition.hooks = hooks(rng);
                    }
                    if rng.percent(30) {
                        definition.dependencies.pop();
                    }
                }
            }
        }
        let mut definitions = self.definitions.clone();
        let mut unchosen = BTreeSet::new();
        if rng.percent(15) && definitions.len() > 1 {
            // It is removed from the file, together with everything that names it.
            let out = rng.pick(&names);
            definitions.remove(&out);
            for definition in definitions.values_mut() {
                definition.dependencies.retain(|d| d.service != out);
            }
            // Or it belongs to a profile that is not chosen this time.
            unchosen.extend(rng.percent(50).then_some(out));
        }
        let targets = some(rng).map(|targets| {
            targets
                .into_iter()
                .filter(|target| definitions.contains_key(target))
                .collect::<BTreeSet<_>>()
        });
        OperationRequest::Start {
            definitions,
            targets,
            no_deps: rng.percent(10),
            restart: rng.percent(15),
            unchosen,
            prune: rng.percent(25),
            rollback: rng.percent(20),
        }
    }
}
