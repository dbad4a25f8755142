//! `validate`: check the file and report every mistake in it.

use std::collections::{BTreeMap, BTreeSet};

use harness_model::secret::unsearched;
use harness_model::{ProjectSpec, ServiceName};
use serde_json::json;

use crate::cli::args::ValidateArgs;
use crate::cli::context::Context;
use crate::cli::error::CliError;
use crate::cli::exit::Exit;
use crate::cli::render::{self, count, list};

pub(crate) fn run(context: &Context, args: &ValidateArgs) -> Result<Exit, CliError> {
    let loaded = context.load(&args.profiles)?;
    let project = &loaded.project;
    context.ui.say(&format!(
        "{}: {}, {}: ok\n",
        shown(context, project),
        count(project.services.len(), "service"),
        count(project.networks.len(), "network"),
    ))?;
    let unsearched = unsearched_secrets(project);
    for note in &unsearched {
        context.ui.note(&format!("note: {note}\n"))?;
    }
    if context.ui.json {
        context.ui.out_json_pretty(&json!({
            "project": project.name,
            "file": project.source,
            "services": project.services.keys().collect::<Vec<_>>(),
            "networks": project.networks.keys().collect::<Vec<_>>(),
            "warnings": loaded.warnings.to_json(),
            "notes": unsearched,
        }))?;
    }
    Ok(Exit::Ok)
}

/// The secrets that are not searched for in output, and why. Each variable or setting is listed once.
fn unsearched_secrets(project: &ProjectSpec) -> Vec<String> {
    let services = project.services.keys().map(ToString::to_string);
    let names: BTreeSet<String> = services.chain([project.name.to_string()]).collect();
    let mut found: BTreeMap<(&str, String), Vec<&ServiceName>> = BTreeMap::new();
    for (service, spec) in &project.services {
        for (name, value) in spec.named_texts() {
            let reasons = value
                .secrets()
                .filter_map(|secret| unsearched(secret.expose(), &names));
            let reasons: BTreeSet<String> = reasons.map(|reason| reason.to_string()).collect();
            for reason in reasons {
                found.entry((name, reason)).or_default().push(service);
            }
        }
    }
    found
        .into_iter()
        .map(|((name, reason), services)| {
            format!(
                "the value of {name} ({}) {reason}, so it is not hidden in output",
                list(&services)
            )
        })
        .collect()
}

/// The file as its user would call it: relative if it is in this folder.
fn shown(context: &Context, project: &ProjectSpec) -> String {
    // In a folder that is gone, nothing is.
    let cwd = context.cwd().unwrap_or_default();
    render::path(project.source.strip_prefix(&cwd).unwrap_or(&project.source))
}
