//! Checks that the targets of dependencies exist and can meet the condition, and finds the condition if none is
//! written.

use harness_model::ServiceName;
use harness_model::spec::{Condition, Dependency};

use super::Dependencies;
use super::references::profile_help;
use crate::diagnostics::Finding;
use crate::lower::{DraftDependency, DraftProject, DraftService};
use crate::read::Context;
use crate::suggest::{did_you_mean, listed};

/// What a file says about a service's health check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Checked {
    /// The file has one.
    Written,
    /// The file has none, but the image may have one.
    ByImage,
    /// There is none.
    No,
}

impl Checked {
    /// Decides from the file and the service's type.
    pub(crate) fn of(written: bool, service_type: &str) -> Self {
        match (written, service_type) {
            (true, _) => Self::Written,
            (false, "docker") => Self::ByImage,
            (false, _) => Self::No,
        }
    }
}

/// The condition to wait for when none is written.
pub(crate) fn default_condition(checked: Checked, oneshot: bool) -> Condition {
    match checked {
        _ if oneshot => Condition::Completed,
        Checked::Written => Condition::Healthy,
        Checked::ByImage => Condition::Ready,
        Checked::No => Condition::Started,
    }
}

/// The dependencies of every active service. Those implied by references come last.
pub(super) fn resolve(context: &Context<'_>, project: &DraftProject) -> Dependencies {
    let mut out = Dependencies::new();
    for (name, draft) in &project.services {
        let list = out.entry(name.clone()).or_default();
        for dependency in &draft.dependencies {
            if let Some(resolved) = explicit(context, project, draft, dependency) {
                list.push((resolved, dependency.span));
            }
        }
    }
    for mention in context.mentions.borrow().iter() {
        let target = &mention.reference.service;
        if let Some(list) = out.get_mut(&mention.from)
            && *target != mention.from
            && let Some(draft) = project.services.get(target)
            && draft.active
            && !list.iter().any(|(dependency, _)| dependency.service == *target)
        {
            let dependency = Dependency {
                service: target.clone(),
                condition: default_condition(draft.checked, draft.oneshot),
                restart: false,
                required: true,
            };
            list.push((dependency, mention.span));
        }
    }
    out.retain(|name, _| project.services.get(name).is_some_and(|draft| draft.active));
    out
}

fn explicit(
    context: &Context<'_>,
    project: &DraftProject,
    dependent: &DraftService,
    dependency: &DraftDependency,
) -> Option<Dependency> {
    let Some((name, target)) = project.services.get_key_value(dependency.service.as_str()) else {
        let names = || project.services.keys().map(ServiceName::as_str);
        let help = context.advice(|| {
            did_you_mean(&dependency.service, names())
                .unwrap_or_else(|| format!("the services are {}", listed(names(), "none")))
        });
        context.report(
            Finding::error(
                dependency.span,
                format!("there is no service `{}`", dependency.service),
            )
            .maybe_help(help),
        );
        return None;
    };
    if !dependent.active {
        return None;
    }
    if !target.active {
        if dependency.required && !dependency.of_group {
            context.report(
                Finding::error(
                    dependency.span,
                    format!("the service `{name}` is not in the chosen profiles"),
                )
                .help(format!("{}, or write `required: false`", profile_help(target))),
            );
        }
        return None;
    }
    let condition = match &dependency.condition {
        None => default_condition(target.checked, target.oneshot),
        Some(condition) => {
            check_condition(context, dependency, name, target, condition);
            condition.clone()
        }
    };
    Some(Dependency {
        service: name.clone(),
        condition,
        restart: dependency.restart,
        required: dependency.required,
    })
}

fn check_condition(
    context: &Context<'_>,
    dependency: &DraftDependency,
    name: &ServiceName,
    target: &DraftService,
    condition: &Condition,
) {
    match condition {
        Condition::Healthy if target.checked == Checked::No => context.report(
            Finding::error(
                dependency.span,
                format!("`{name}` can never be healthy: it has no health check"),
            )
            .help(format!(
                "give `{name}` a `health_check`, or write `condition: started`"
            ))
            .related(target.name_span, "this service"),
        ),
        Condition::Completed if !target.oneshot => context.report(
            Finding::error(
                dependency.span,
                format!("`{name}` is meant to keep running, not to complete"),
            )
            .help(format!(
                "give `{name}` `oneshot: true`, or write another condition"
            ))
            .related(target.name_span, "this service"),
        ),
        _ => {}
    }
}
