//! Carries out orders in their turns (see `admission`). What needs the disk or the kernel is asked on a thread, and the
//! actor goes on with everything else.
//!
//! ```text
//!  Start  ──▶ plan ──▶ check (thread): room for it, who holds its ports ──▶ Checked ──▶ accept ──▶ the next order
//!  Forget ──▶ check ─▶ set its folder aside (thread) ──▶ Discarded ──▶ forget ──▶ the next order
//!  Stop   ──▶ at once ──▶ the next order
//! ```

use std::time::Duration;

use async_channel::Sender;
use blocking::unblock;
use command_executor::patience::pass;
use futures_lite::FutureExt;
use harness_model::spec::{PortSpec, Protocol};
use harness_model::{ProjectName, ServiceName};
use service_registry::address::{Endpoint, PortAssignment};

use super::Message;
use super::driver::Driver;
use super::images::Exposed;
use super::orders::{Forgotten, Operation, OrderError, PortConflict, StartOrder, StopOrder};
use super::start::{PlannedStart, begins};
use crate::layout::Layout;
use crate::ports;

/// The channel for the answer to an order.
pub(super) type Reply = Sender<Result<Operation, OrderError>>;

/// An order that waits for its turn.
pub(super) enum Waiting {
    Start(Box<StartOrder>, Exposed, Reply),
    Stop(StopOrder, Reply),
    Forget(ProjectName, Sender<Result<Forgotten, OrderError>>),
}

/// How long the disk of the home may take to answer.
pub(super) const DISK_ANSWERS: Duration = Duration::from_secs(30);

/// What must hold for a plan on this machine.
struct Checks {
    layout: Layout,
    /// How many run directories it makes.
    launches: usize,
    ports: Option<PortQuestion>,
}

/// What to ask the kernel about the ports of a plan.
struct PortQuestion {
    wanted: Vec<WantedPort>,
    /// What our own services hold now either goes away before the plan needs it, or the address plan refuses it as a
    /// duplicate. This is not so for a stranger on the same port.
    roots: Vec<u32>,
}

struct WantedPort {
    service: ServiceName,
    address: std::net::IpAddr,
    port: u16,
    protocol: Protocol,
    written: Option<PortSpec>,
}

impl Driver {
    /// Takes an order. It is carried out when it is its turn.
    pub(super) fn order_came(&mut self, order: Waiting) {
        self.admission.is_ready(order);
        self.next_orders();
    }

    /// Carries out the orders that have their turn now.
    pub(super) fn next_orders(&mut self) {
        while let Some(order) = self.admission.next() {
            self.carry_out(order);
        }
    }

    fn carry_out(&mut self, order: Waiting) {
        let (order, exposed, reply) = match order {
            Waiting::Start(order, exposed, reply) => (order, exposed, reply),
            Waiting::Stop(order, reply) => {
                let answer = self.stop(order);
                return self.answered(answer, reply);
            }
            Waiting::Forget(project, reply) => return self.forget_project(project, reply),
        };
        let planned = match self.plan_start(*order, &exposed) {
            Ok(planned) => planned,
            Err(error) => return self.answered(Err(error), reply),
        };
        let Some(checks) = self.checks(&planned) else {
            let accepted = self.accept_start(planned);
            return self.answered(Ok(accepted), reply);
        };
        self.spawn_message(async move {
            let projects = checks.layout.projects().to_owned();
            let asked = unblock(move || checks.ask());
            let late = async {
                pass(DISK_ANSWERS).await;
                Err(OrderError::DiskSilent { path: projects })
            };
            Some(Message::Checked {
                refusal: asked.or(late).await,
                planned: Box::new(planned),
                reply,
            })
        });
    }

    /// Answers the order that has the turn.
    fn answered(&mut self, answer: Result<Operation, OrderError>, reply: Reply) {
        self.admission.is_over();
        self.answer(answer, reply);
    }

    /// Takes what was found out about a plan.
    pub(super) fn checked(&mut self, planned: PlannedStart, refusal: Result<(), OrderError>, reply: Reply) {
        let answer = refusal.map(|()| self.accept_start(planned));
        self.answered(answer, reply);
        self.next_orders();
    }

    /// What must be found out before a plan is accepted; `None` if it needs nothing.
    fn checks(&self, planned: &PlannedStart) -> Option<Checks> {
        let launches = planned.steps.iter().filter(|step| begins(step.change)).count();
        // Check this before anything is stopped in order to be replaced.
        let launches = if planned.order.dry_run { 0 } else { launches };
        let ports = self.port_question(planned);
        (launches > 0 || ports.is_some()).then(|| Checks {
            layout: self.layout.clone(),
            launches,
            ports,
        })
    }

    /// The ports that a plan needs; `None` if it needs none.
    fn port_question(&self, planned: &PlannedStart) -> Option<PortQuestion> {
        let project = &planned.order.project;
        let mut wanted = Vec::new();
        for step in planned.steps.iter().filter(|step| begins(step.change)) {
            let Some(own) = planned.prepared.get(&step.service) else {
                continue;
            };
            let specs = project.services.get(&step.service).map(|spec| &spec.ports);
            let published = self.published_already(&project.name, &step.service);
            let wanted_ports = own.addresses.ports.iter();
            let wanted_ports = wanted_ports.filter(|port| !published.contains(&port.endpoint()));
            wanted.extend(wanted_ports.map(|port| {
                WantedPort {
                    service: step.service.clone(),
                    address: port.host_ip,
                    port: port.port,
                    protocol: port.protocol,
                    written: specs
                        .into_iter()
                        .flatten()
                        .find(|spec| spec.port == port.port && spec.protocol == port.protocol)
                        .cloned(),
                }
            }));
        }
        if wanted.is_empty() {
            return None;
        }
        let roots = self
            .projects
            .get(&project.name)
            .into_iter()
            .flat_map(|state| state.services.values())
            .filter_map(|service| service.live.as_ref()?.instance.as_ref()?.root_pid())
            .collect();
        Some(PortQuestion { wanted, roots })
    }
}

impl Driver {
    /// The ports that the running container of a service publishes. The engine listens there, which is not one of our
    /// processes, and it frees them when the container is replaced.
    fn published_already(&self, project: &ProjectName, service: &ServiceName) -> Vec<Endpoint> {
        let entry = self.projects.get(project).and_then(|p| p.services.get(service));
        let live = entry.and_then(|entry| entry.live.as_ref());
        match live.map(|live| &live.order.own) {
            Some(own) if own.place.is_apart() => own.ports.iter().map(PortAssignment::endpoint).collect(),
            _ => Vec::new(),
        }
    }
}

impl Checks {
    /// Looks at the disk, the socket tables and perhaps every process, so run it on a thread that may block.
    fn ask(self) -> Result<(), OrderError> {
        if self.launches > 0 {
            self.layout.check_room(self.launches)?;
        }
        self.ports.map_or(Ok(()), PortQuestion::ask)
    }
}

impl PortQuestion {
    /// Whether anybody else holds one of the ports.
    fn ask(self) -> Result<(), OrderError> {
        let asked: Vec<_> = self
            .wanted
            .iter()
            .map(|port| (port.address, port.port, port.protocol))
            .collect();
        let holders = ports::holders(&asked).map_err(OrderError::Ports)?;
        let conflicts: Vec<PortConflict> = self
            .wanted
            .into_iter()
            .filter_map(|wanted| {
                let holder = holders
                    .iter()
                    .find(|h| {
                        (h.address, h.port, h.protocol) == (wanted.address, wanted.port, wanted.protocol)
                    })
                    .filter(|holder| !self.roots.iter().any(|root| holder.descends_from(*root)))?;
                Some(PortConflict {
                    service: wanted.service,
                    port: wanted.port,
                    protocol: wanted.protocol,
                    holder: holder.clone(),
                    origin: wanted.written.and_then(|spec| spec.origin),
                })
            })
            .collect();
        if conflicts.is_empty() {
            Ok(())
        } else {
            Err(OrderError::PortsTaken(conflicts))
        }
    }
}
