//! A plan needs some facts that only images know: the port behind `${db.port}` if the file gives `db` no port.
//!
//! ```text
//!  Start ──refers to such a port?──▶ ask (fetching or building the image) ──▶ ImagesAsked ──▶ the order's turn
//!                                     └──its orderer goes away, or Stop──▶ given up: nothing has changed
//! ```
//!
//! Fetching may take long, so nothing else waits for it. The order takes its turn behind the orders that came
//! meanwhile. If nothing is heard of an image for the `startup_timeout` of its service, the order stops waiting for
//! it.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::sync::Arc;

use command_executor::patience::pass;
use futures_lite::FutureExt;
use harness_model::{AddressField, ProjectName, ServiceName, ServiceSpec};

use super::Message;
use super::admission::{Claim, Ticket};
use super::driver::Driver;
use super::order_queue::{Reply, Waiting};
use super::orders::{OrderError, StartOrder};
use super::start::closure;
use crate::executor::{Executor, LaunchError, LaunchLink, OrderLink};
use crate::secrets::Secrets;
use crate::words::chain;

/// The ports that images declare, for the services that were asked about.
pub(super) type Exposed = BTreeMap<ServiceName, Vec<u16>>;

struct Question {
    executor: Arc<dyn Executor>,
    project: ProjectName,
    service: ServiceName,
    spec: ServiceSpec,
    secrets: Secrets,
    fetch: bool,
    /// Whether the order fails without the answer. Services that the order does not start just stay as they are.
    needed: bool,
}

impl Driver {
    /// Takes an order to start. If the order needs that, its images are asked first.
    pub(super) fn start_came(&mut self, order: Box<StartOrder>, reply: Reply) {
        let (known, questions) = self.questions(&order);
        if questions.is_empty() {
            return self.order_came(Waiting::Start(order, known, reply));
        }
        let ticket = self.admission.asks(Claim {
            project: order.project.name.clone(),
            // If a name does not exist, there is nothing to ask.
            services: closure(&order).unwrap_or_default(),
            link: order.link.clone(),
        });
        self.spawn_message(async move {
            let exposed = ask(known, questions, &order.link).await;
            Some(Message::ImagesAsked {
                ticket,
                order,
                exposed,
                reply,
            })
        });
    }

    /// Takes the answers of an order's images.
    pub(super) fn images_asked(
        &mut self,
        ticket: Ticket,
        order: Box<StartOrder>,
        exposed: Result<Exposed, OrderError>,
        reply: Reply,
    ) {
        let is_wanted = self.admission.answered(ticket);
        match exposed {
            // A stop came meanwhile; the earlier order must not undo it.
            Ok(_) if !is_wanted => self.answer(Err(OrderError::GivenUp), reply),
            Ok(exposed) => self.order_came(Waiting::Start(order, exposed, reply)),
            Err(error) => self.answer(Err(error), reply),
        }
    }

    fn questions(&self, order: &StartOrder) -> (Exposed, Vec<Question>) {
        let (mut known, mut questions) = (Exposed::new(), Vec::new());
        // The plan reports what is wrong with the order.
        let Ok(closure) = closure(order) else {
            return (known, questions);
        };
        let services = &order.project.services;
        let mut asked: BTreeMap<ServiceName, bool> = BTreeMap::new();
        for (name, spec) in services {
            for service in ports_referred_to(spec) {
                *asked.entry(service).or_default() |= closure.contains(name);
            }
        }
        let question = |service: ServiceName, needed: bool| {
            let spec = services.get(&service)?;
            // The plan reports what the executor refuses.
            let executor = self.executors.of(spec).ok()?;
            let unsaid = spec.ports.is_empty() && executor.left_open(spec).ports;
            if !unsaid || executor.check(spec).is_err() {
                return None;
            }
            Some(Question {
                executor: Arc::clone(executor),
                project: order.project.name.clone(),
                service,
                spec: spec.clone(),
                secrets: Secrets::new(self.redactors.clone(), order.project.name.clone(), spec.secrets()),
                fetch: needed && !order.dry_run,
                needed,
            })
        };
        for (service, needed) in asked {
            match self.exposed_by_what_runs(order, &service) {
                Some(ports) => {
                    known.insert(service, ports);
                }
                None => questions.extend(question(service, needed)),
            }
        }
        (known, questions)
    }

    /// The ports of a container that runs and that the order leaves as it is. Its image may have been built anew
    /// since.
    fn exposed_by_what_runs(&self, order: &StartOrder, service: &ServiceName) -> Option<Vec<u16>> {
        let project = &order.project;
        let restarts = order.restart
            && order
                .targets
                .as_ref()
                .is_none_or(|targets| targets.contains(service));
        let before = self.registry.project(&project.name)?;
        if restarts || before.spec.services.get(service) != project.services.get(service) {
            return None;
        }
        let live = self
            .projects
            .get(&project.name)?
            .services
            .get(service)?
            .live
            .as_ref()?;
        let ports = &live.order.own.exposed;
        (!ports.is_empty()).then(|| ports.clone())
    }
}

impl Question {
    /// Asks it; `None` means that the order was given up. What this drops then ends.
    async fn ask(&self, order: &OrderLink) -> Option<Result<Vec<u16>, LaunchError>> {
        let (link, heard) = LaunchLink::new();
        let fetch = self.fetch.then_some(&link);
        let asked =
            self.executor
                .declared_ports(&self.project, &self.service, &self.spec, &self.secrets, fetch);
        let asked = async { Some(asked.await) };
        let too_late = async {
            let (within, mut doing) = (self.spec.startup_timeout, None);
            let silence = || async {
                pass(within).await;
                None
            };
            while let Some(said) = async { heard.recv().await.ok() }.or(silence()).await {
                order.say((self.service.clone(), said.clone()));
                doing = Some(said);
            }
            Some(Err(LaunchError::NotHere { within, doing }))
        };
        let given_up = async {
            order.given_up().await;
            None
        };
        asked.or(too_late).or(given_up).await
    }
}

/// Adds the answers to what is known already.
async fn ask(
    mut exposed: Exposed,
    questions: Vec<Question>,
    link: &OrderLink,
) -> Result<Exposed, OrderError> {
    let mut refused: Vec<(ServiceName, LaunchError)> = Vec::new();
    for question in questions {
        let Some(answer) = question.ask(link).await else {
            return Err(OrderError::GivenUp);
        };
        let Question {
            project,
            service,
            needed,
            ..
        } = question;
        match answer {
            Ok(ports) => {
                exposed.insert(service, ports);
            }
            Err(error) if needed => refused.push((service, error)),
            Err(error) => {
                tracing::debug!(%project, %service, error = chain(&error), "cannot ask an image for its port");
            }
        }
    }
    if refused.is_empty() {
        Ok(exposed)
    } else {
        Err(OrderError::Images(refused))
    }
}

/// The services to which a specification refers by `port` without a name.
fn ports_referred_to(spec: &ServiceSpec) -> BTreeSet<ServiceName> {
    let mut found = BTreeSet::new();
    let looked: Result<ServiceSpec, Infallible> = spec.resolve(|reference| {
        if reference.field == AddressField::Port(None) {
            found.insert(reference.service.clone());
        }
        Ok(String::new())
    });
    match looked {
        Ok(_) => found,
        Err(never) => match never {},
    }
}
