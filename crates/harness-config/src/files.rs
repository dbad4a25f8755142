//! The file templates of services. They are read when a project starts, because validation must work without them.

use std::collections::BTreeMap;

use harness_model::spec::{Dependency, FileSpec, Kind};
use harness_model::{AddressField, ProjectSpec, ServiceName, Template};

use crate::check::{Checked, default_condition, find_cycle, ordering_edges};
use crate::diagnostics::{self, Finding};
use crate::load::{LoadError, read_variables};
use crate::read::{Allow, Context, Mention, Reader};
use crate::source::{Sources, Span, display_name};
use crate::suggest::did_you_mean;

/// Reads the file templates of a project (into `FileSpec::content`) and replaces `${VAR}` in them. A `${service.…}`
/// in a template implies a dependency, as it does in services.yaml.
///
/// # Errors
/// When a template cannot be read, or something in it is wrong. Then the project is not changed.
pub fn load_files(
    project: &mut ProjectSpec,
    environment: &BTreeMap<String, String>,
) -> Result<(), LoadError> {
    let sources = Sources::default();
    sources.belong_to(&project.base_dir);
    let (variables, findings) = read_variables(
        &sources,
        &project.base_dir,
        &project.base_dir,
        environment,
        project.secrets.clone(),
    )?;
    let context = Context::new(&sources, &variables, None);
    context.findings.borrow_mut().extend(findings);

    let mut changed = project.clone();
    for (name, service) in &mut changed.services {
        let reader = Reader {
            context: &context,
            service: Some(name),
            active: true,
        };
        for file in &mut service.files {
            file.content = read_template(reader, project, file)?;
        }
    }
    for mention in context.mentions.take() {
        if check_mention(&context, project, &mention) {
            imply(&mut changed, &mention);
            refuse_cycle(&context, &changed, &mention);
        }
    }
    let (errors, _) = diagnostics::finish(context.findings.take(), &sources);
    if !errors.is_empty() {
        return Err(LoadError::Invalid(errors));
    }
    *project = changed;
    Ok(())
}

fn read_template(
    reader: Reader<'_>,
    project: &ProjectSpec,
    file: &FileSpec,
) -> Result<Option<Template>, LoadError> {
    let sources = reader.context.sources;
    let text = sources
        .read_mentioned(&file.template)
        .map_err(|source| LoadError::Read {
            path: file.template.clone(),
            source,
        })?;
    let name = display_name(&file.template, &project.base_dir);
    let span = Span {
        file: sources.add(name, project.base_dir.clone(), text.clone()),
        start: 0,
        end: text.len(),
    };
    Ok(reader.template_text(span, &text, Allow::Everything))
}

fn check_mention(context: &Context<'_>, project: &ProjectSpec, mention: &Mention) -> bool {
    let name = &mention.reference.service;
    let Some(target) = project.services.get(name) else {
        let help = did_you_mean(name.as_str(), project.services.keys().map(ServiceName::as_str));
        context.report(
            Finding::error(
                mention.span,
                format!("there is no service `{name}` in the chosen profiles"),
            )
            .maybe_help(help),
        );
        return false;
    };
    let found = match &mention.reference.field {
        AddressField::Port(None) => !target.ports.is_empty() || matches!(target.kind, Kind::Container(_)),
        AddressField::Port(Some(port)) => target.ports.iter().any(|p| p.name.as_ref() == Some(port)),
        AddressField::Ip | AddressField::Host => true,
    };
    if !found {
        context.report(
            Finding::error(mention.span, format!("the service `{name}` has no such port"))
                .help(format!("list it under `ports` of `{name}`")),
        );
    }
    found
}

fn imply(project: &mut ProjectSpec, mention: &Mention) {
    let target = &mention.reference.service;
    let Some(spec) = project.services.get(target) else {
        return;
    };
    let condition = default_condition(
        Checked::of(spec.health_check.is_some(), spec.type_name()),
        spec.oneshot,
    );
    if *target != mention.from
        && let Some(dependent) = project.services.get_mut(&mention.from)
        && !dependent
            .dependencies
            .iter()
            .any(|dependency| dependency.service == *target)
    {
        dependent.dependencies.push(Dependency {
            service: target.clone(),
            condition,
            restart: false,
            required: true,
        });
    }
}

fn refuse_cycle(context: &Context<'_>, project: &ProjectSpec, mention: &Mention) {
    let all = project
        .services
        .iter()
        .flat_map(|(name, spec)| spec.dependencies.iter().map(move |dependency| (name, dependency)));
    if let Some(cycle) = find_cycle(&ordering_edges(all)) {
        let path: Vec<&str> = cycle
            .iter()
            .chain(cycle.first())
            .map(|name| name.as_str())
            .collect();
        context.report(Finding::error(
            mention.span,
            format!("dependency cycle: {}", path.join(" -> ")),
        ));
    }
}
