//! What only images know and a plan needs: the port behind `${db.port}` where the file gives `db` none.
//!
//! ```text
//!  Start ──refers to such a port?──▶ ask (fetching or building the image) ──▶ ImagesAsked ──▶ the order's turn
//! ```
//!
//! Fetching may take long, so nothing else waits for it; such an order takes its turn behind those that came meanwhile.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::sync::Arc;

use harness_model::spec::ServiceKind;
use harness_model::{AddressField, ProjectName, ServiceName, ServiceSpec};

use super::Message;
use super::driver::Driver;
use super::order_queue::{Reply, Waiting};
use super::orders::{OrderError, StartOrder};
use super::start::closure;
use crate::executor::{Executor, LaunchError};
use crate::words::chain;

/// The ports that images declare, of the services that were asked about.
pub(super) type Exposed = BTreeMap<ServiceName, Vec<u16>>;

struct Question {
    executor: Arc<dyn Executor>,
    project: ProjectName,
    service: ServiceName,
    spec: ServiceSpec,
    fetch: bool,
    /// Whether the order fails without the answer. What it does not start is only to stay as it is.
    needed: bool,
}

impl Driver {
    /// Takes an order to start; first its images are asked, if it needs that.
    pub(super) fn start_came(&mut self, order: Box<StartOrder>, reply: Reply) {
        let (known, questions) = self.questions(&order);
        if questions.is_empty() {
            return self.order_came(Waiting::Start(order, known, reply));
        }
        self.spawn_message(async move {
            let exposed = ask(known, questions).await;
            Some(Message::ImagesAsked {
                order,
                exposed,
                reply,
            })
        });
    }

    /// What the images of an order said.
    pub(super) fn images_asked(
        &mut self,
        order: Box<StartOrder>,
        exposed: Result<Exposed, OrderError>,
        reply: Reply,
    ) {
        match exposed {
            Ok(exposed) => self.order_came(Waiting::Start(order, exposed, reply)),
            Err(error) => self.answer(Err(error), reply),
        }
    }

    fn questions(&self, order: &StartOrder) -> (Exposed, Vec<Question>) {
        let (mut known, mut questions) = (Exposed::new(), Vec::new());
        // What is wrong with the order is told when it is planned.
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
            let unsaid = matches!(spec.kind, ServiceKind::Docker(_)) && spec.ports.is_empty();
            // What is refused of it is told with the plan.
            let executor = self
                .executors
                .of(spec)
                .ok()
                .filter(|e| unsaid && e.check(spec).is_ok())?;
            Some(Question {
                executor: Arc::clone(executor),
                project: order.project.name.clone(),
                service,
                spec: spec.clone(),
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

    /// The ports of a container that runs and that the order leaves as it is: its image may have been built anew.
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

/// Adds the answers to what is known.
async fn ask(mut exposed: Exposed, questions: Vec<Question>) -> Result<Exposed, OrderError> {
    let mut refused: Vec<(ServiceName, LaunchError)> = Vec::new();
    for question in questions {
        let Question {
            executor,
            project,
            service,
            spec,
            fetch,
            needed,
        } = question;
        match executor.exposed_ports(&project, &service, &spec, fetch).await {
            Ok(ports) => {
                exposed.insert(service, ports);
            }
            Err(error) if needed => refused.push((service, error)),
            Err(error) => {
                tracing::debug!(%project, %service, error = chain(&error), "an image cannot be asked for its port");
            }
        }
    }
    if refused.is_empty() {
        Ok(exposed)
    } else {
        Err(OrderError::Images(refused))
    }
}

/// The services whose only port a specification refers to.
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
