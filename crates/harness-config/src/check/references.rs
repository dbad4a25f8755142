//! Checks each `${service.…}`: the service exists, belongs to the chosen profiles, and has the port.

use harness_model::{AddressField, ServiceName};

use crate::diagnostics::Finding;
use crate::lower::{DraftProject, DraftService};
use crate::read::{Context, Mention};
use crate::suggest::{did_you_mean, listed};

/// Checks every reference of the active services.
pub(super) fn check(context: &Context<'_>, project: &DraftProject) {
    for mention in context.mentions.borrow().iter() {
        let from_active = project
            .services
            .get(&mention.from)
            .is_some_and(|draft| draft.active);
        match project.services.get(&mention.reference.service) {
            None => unknown(context, project, mention),
            Some(target) if from_active => known(context, project, mention, target),
            Some(_) => {}
        }
    }
}

fn unknown(context: &Context<'_>, project: &DraftProject, mention: &Mention) {
    let name = &mention.reference.service;
    let names = || project.services.keys().map(ServiceName::as_str);
    let help = context.advice(|| {
        if let Some(group) = project.groups.get(name) {
            let members = listed(group.members.iter().map(ServiceName::as_str), "none");
            return format!("it is several services: {members}");
        }
        did_you_mean(name.as_str(), names())
            .unwrap_or_else(|| format!("the services are {}", listed(names(), "none")))
    });
    context.report(Finding::error(mention.span, format!("there is no service `{name}`")).maybe_help(help));
}

fn known(context: &Context<'_>, project: &DraftProject, mention: &Mention, target: &DraftService) {
    let name = &mention.reference.service;
    if !target.active {
        context.report(
            Finding::error(
                mention.span,
                format!("the service `{name}` is not in the chosen profiles"),
            )
            .help(profile_help(target)),
        );
        return;
    }
    match &mention.reference.field {
        // Its image may declare a port. The daemon finds out.
        AddressField::Port(None) if target.ports.is_empty() && target.is_container => {}
        AddressField::Port(None) if target.ports.is_empty() => context.report(
            Finding::error(mention.span, format!("the service `{name}` has no ports"))
                .help(format!("list its port under `ports` of `{name}`")),
        ),
        AddressField::Port(Some(port))
            if !target.ports.iter().any(|p| p.spec.name.as_ref() == Some(port)) =>
        {
            let names = || {
                target
                    .ports
                    .iter()
                    .filter_map(|p| p.spec.name.as_ref())
                    .map(harness_model::PortName::as_str)
            };
            let help = did_you_mean(port.as_str(), names()).unwrap_or_else(|| {
                format!("its named ports: {}", listed(names(), "none; give one a `name`"))
            });
            context.report(
                Finding::error(mention.span, format!("the service `{name}` has no port `{port}`")).help(help),
            );
        }
        _ => {}
    }
    if let (AddressField::Ip | AddressField::Host, Some(port)) =
        (&mention.reference.field, mention.literal_port)
    {
        // A container is reached at its own address, where its image may declare the port. Only a process reaches it
        // at its published ports, if it has any.
        let from_container = project
            .services
            .get(&mention.from)
            .is_some_and(|from| from.is_container);
        let own = target.is_container && (from_container || target.ports.is_empty());
        let declared = own
            || target
                .ports
                .iter()
                .any(|p| p.spec.port == port || p.spec.target == Some(port))
            || target.exposed.contains(&port);
        if !declared {
            context.report(
                Finding::warning(mention.span, format!("`{name}` does not declare the port {port}"))
                    .help(format!("list {port} under `ports` of `{name}`")),
            );
        }
    }
}

/// How to choose a service of another profile.
pub(super) fn profile_help(target: &DraftService) -> String {
    match target.profiles.first() {
        Some(profile) => format!("choose it with `--profile {profile}`"),
        None => "choose its profile".to_owned(),
    }
}
