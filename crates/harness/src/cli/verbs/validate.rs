//! `validate`: check the file and report every mistake in it.

use harness_model::ProjectSpec;
use serde_json::json;

use crate::cli::args::ValidateArgs;
use crate::cli::context::Context;
use crate::cli::error::CliError;
use crate::cli::exit::Exit;
use crate::cli::render::{self, count};

pub(crate) fn run(context: &Context, args: &ValidateArgs) -> Result<Exit, CliError> {
    let loaded = context.load(&args.profiles)?;
    let project = &loaded.project;
    context.ui.say(&format!(
        "{}: {}, {}: ok\n",
        shown(context, project)?,
        count(project.services.len(), "service"),
        count(project.networks.len(), "network"),
    ))?;
    if context.ui.json {
        context.ui.out_json_pretty(&json!({
            "project": project.name,
            "file": project.source,
            "services": project.services.keys().collect::<Vec<_>>(),
            "networks": project.networks.keys().collect::<Vec<_>>(),
            "warnings": loaded.warnings.to_json(),
        }))?;
    }
    Ok(Exit::Ok)
}

/// The file as its user would call it: relative if it is in this folder.
fn shown(context: &Context, project: &ProjectSpec) -> Result<String, CliError> {
    let cwd = context.cwd()?;
    let path = project.source.strip_prefix(&cwd).unwrap_or(&project.source);
    Ok(render::path(path))
}
