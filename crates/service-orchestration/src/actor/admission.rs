//! Which order is carried out next. Orders take their turns one after the other, in the order in which they are ready.
//!
//! ```text
//!  Start that must ask its images ──▶ asking ──answered──┐
//!                                       └─ a Stop of it, or its orderer goes: given up
//!  any other order ──────────────────────────────────────┴─▶ queue ──next──▶ turn (one at a time) ──over──▶ next
//!                                                              └ closed: nobody gets a turn
//! ```
//!
//! It is pure: it knows no order from the inside and waits for nothing. Whoever has the turn may check the disk or the
//! ports meanwhile; the actor goes on with everything else.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use harness_model::{ProjectName, ServiceName};

use crate::executor::OrderLink;

/// An order that asks its images before it is ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Ticket(u64);

/// What an order is about.
#[derive(Debug)]
pub(super) struct Claim {
    pub(super) project: ProjectName,
    pub(super) services: BTreeSet<ServiceName>,
    /// Giving it up there gives up the order.
    pub(super) link: OrderLink,
}

/// The orders that have not been carried out.
#[derive(Debug)]
pub(super) struct Admission<O> {
    tickets: u64,
    asking: BTreeMap<Ticket, Claim>,
    queue: VecDeque<O>,
    is_taken: bool,
    is_closed: bool,
}

impl<O> Default for Admission<O> {
    fn default() -> Self {
        Self {
            tickets: 0,
            asking: BTreeMap::new(),
            queue: VecDeque::new(),
            is_taken: false,
            is_closed: false,
        }
    }
}

impl<O> Admission<O> {
    /// Takes a start that asks its images first. Others do not wait for it.
    pub(super) fn asks(&mut self, claim: Claim) -> Ticket {
        let ticket = Ticket(self.tickets);
        self.tickets += 1;
        self.asking.insert(ticket, claim);
        ticket
    }

    /// The images of a start have answered. Returns whether it is still wanted.
    pub(super) fn answered(&mut self, ticket: Ticket) -> bool {
        let claim = self.asking.remove(&ticket);
        claim.is_some_and(|claim| !claim.link.is_given_up())
    }

    /// A stop came: starts of these services (`None`: all of the project) that still ask must not undo it.
    pub(super) fn stop_came(&self, project: &ProjectName, services: Option<&BTreeSet<ServiceName>>) {
        let about = |claim: &&Claim| {
            claim.project == *project
                && services.is_none_or(|services| !services.is_disjoint(&claim.services))
        };
        for claim in self.asking.values().filter(about) {
            claim.link.give_up();
        }
    }

    /// The services of a project that a start which still asks is about.
    pub(super) fn asking_for<'a>(
        &'a self,
        project: &'a ProjectName,
    ) -> impl Iterator<Item = &'a ServiceName> + 'a {
        let of_project = self
            .asking
            .values()
            .filter(move |claim| claim.project == *project);
        of_project.flat_map(|claim| &claim.services)
    }

    /// An order is ready to be carried out.
    pub(super) fn is_ready(&mut self, order: O) {
        self.queue.push_back(order);
    }

    /// The order with the next turn; `None` while another one has it, or nobody may have it.
    pub(super) fn next(&mut self) -> Option<O> {
        if self.is_taken || self.is_closed {
            return None;
        }
        let next = self.queue.pop_front();
        self.is_taken = next.is_some();
        next
    }

    /// The order with the turn has been carried out or refused.
    pub(super) fn is_over(&mut self) {
        self.is_taken = false;
    }

    /// Nobody gets a turn until [`Self::open`].
    pub(super) fn close(&mut self) {
        self.is_closed = true;
    }

    /// Orders get their turns again.
    pub(super) fn open(&mut self) {
        self.is_closed = false;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, Clone)]
    enum Deed {
        Ask(u8, u8),
        Answer(usize),
        OrdererGoes(usize),
        Stop(u8, Option<u8>),
        Forget,
        Over,
        Close,
        Open,
    }

    fn deed() -> impl Strategy<Value = Deed> {
        prop_oneof![
            3 => (0..2_u8, 0..3_u8).prop_map(|(project, service)| Deed::Ask(project, service)),
            3 => (0..4_usize).prop_map(Deed::Answer),
            1 => (0..4_usize).prop_map(Deed::OrdererGoes),
            2 => (0..2_u8, prop::option::of(0..3_u8)).prop_map(|(project, service)| Deed::Stop(project, service)),
            1 => Just(Deed::Forget),
            4 => Just(Deed::Over),
            1 => Just(Deed::Close),
            2 => Just(Deed::Open),
        ]
    }

    fn project(number: u8) -> ProjectName {
        ProjectName::new(format!("p{number}")).unwrap()
    }

    fn service(number: u8) -> ServiceName {
        ServiceName::new(format!("s{number}")).unwrap()
    }

    struct Asked {
        ticket: Ticket,
        about: (u8, u8),
        order: u32,
        link: OrderLink,
        /// Whether a stop of it came, or its orderer went.
        is_unwanted: bool,
    }

    proptest! {
        /// Every order gets one turn, in the order in which they became ready, one at a time, and not while it is
        /// closed; except for starts that are given up while they ask: these get none.
        #[test]
        fn orders_take_turns(deeds in prop::collection::vec(deed(), 1..60)) {
            let mut admission = Admission::default();
            let (mut asked, mut expected, mut turns) = (Vec::<Asked>::new(), VecDeque::new(), Vec::new());
            let (mut orders, mut ready) = (0_u32, 0_usize);
            let (mut is_taken, mut is_closed) = (false, false);
            for deed in deeds {
                match deed {
                    Deed::Ask(of, about) => {
                        let link = OrderLink::default();
                        let services = [service(about)].into();
                        let claim = Claim { project: project(of), services, link: link.clone() };
                        let ticket = admission.asks(claim);
                        asked.push(Asked { ticket, about: (of, about), order: orders, link, is_unwanted: false });
                        orders += 1;
                    }
                    Deed::Answer(index) if index < asked.len() => {
                        let one = asked.remove(index);
                        let is_wanted = admission.answered(one.ticket);
                        prop_assert_eq!(is_wanted, !one.is_unwanted);
                        prop_assert_eq!(is_wanted, !one.link.is_given_up());
                        prop_assert!(!admission.answered(one.ticket), "an answer counts once");
                        if is_wanted {
                            admission.is_ready(one.order);
                            expected.push_back(one.order);
                            ready += 1;
                        }
                    }
                    Deed::OrdererGoes(index) if index < asked.len() => {
                        asked[index].link.give_up();
                        asked[index].is_unwanted = true;
                    }
                    Deed::Answer(_) | Deed::OrdererGoes(_) => {}
                    Deed::Stop(of, about) => {
                        let services = about.map(|about| BTreeSet::from([service(about)]));
                        admission.stop_came(&project(of), services.as_ref());
                        for one in asked.iter_mut().filter(|one| one.about.0 == of) {
                            one.is_unwanted |= about.is_none_or(|about| about == one.about.1);
                        }
                        admission.is_ready(orders);
                        expected.push_back(orders);
                        (orders, ready) = (orders + 1, ready + 1);
                    }
                    Deed::Forget => {
                        admission.is_ready(orders);
                        expected.push_back(orders);
                        (orders, ready) = (orders + 1, ready + 1);
                    }
                    Deed::Over => {
                        admission.is_over();
                        is_taken = false;
                    }
                    Deed::Close => {
                        admission.close();
                        is_closed = true;
                    }
                    Deed::Open => {
                        admission.open();
                        is_closed = false;
                    }
                }
                for one in &asked {
                    let is_named = admission.asking_for(&project(one.about.0)).any(|name| *name == service(one.about.1));
                    prop_assert!(is_named);
                }
                let next = admission.next();
                let due = expected.front().copied().filter(|_| !is_taken && !is_closed);
                prop_assert_eq!(next, due);
                if next.is_some() {
                    expected.pop_front();
                    turns.extend(next);
                    is_taken = true;
                    prop_assert_eq!(admission.next(), None, "one at a time");
                }
            }
            admission.open();
            admission.is_over();
            while let Some(order) = admission.next() {
                turns.push(order);
                admission.is_over();
            }
            prop_assert_eq!(turns.len(), ready, "none is lost");
        }
    }
}
