//! `project list` and `project forget`.

use harness_wire::message::{ProjectForgetRequest, ProjectSummary, Request, Response};
use serde_json::{Value, json};

use crate::cli::args::{ProjectForgetArgs, ProjectVerb};
use crate::cli::context::{Autostart, Context, Daemon};
use crate::cli::error::CliError;
use crate::cli::exit::Exit;
use crate::cli::render::{count, projects};

pub(crate) async fn run(context: &Context, verb: ProjectVerb) -> Result<Exit, CliError> {
    match verb {
        ProjectVerb::List => list(context).await,
        ProjectVerb::Forget(args) => forget(context, args).await,
    }
}

async fn list(context: &Context) -> Result<Exit, CliError> {
    let session = context.connect(Autostart::Yes).await?;
    let known = known(&session).await?;
    let ui = &context.ui;
    if ui.json {
        let list: Vec<Value> = known.iter().map(shown).collect();
        ui.out_json_pretty(&json!({ "projects": list }))?;
    } else if known.is_empty() {
        ui.out("no project has been started\n")?;
    } else {
        ui.out(&projects::table(&known))?;
    }
    Ok(Exit::Ok)
}

/// Asks the daemon for the projects that it knows.
///
/// # Errors
/// When the daemon does not answer.
pub(crate) async fn known(daemon: &Daemon) -> Result<Vec<ProjectSummary>, CliError> {
    match daemon.answer(Request::Projects {}).await? {
        Response::Projects(projects) => Ok(projects),
        _ => Err(CliError::Unexpected { verb: "project list" }),
    }
}

fn shown(project: &ProjectSummary) -> Value {
    json!({
        "name": project.name,
        "file": project.source,
        "state": project.state,
        "services": project.services,
        "up": project.up,
    })
}

async fn forget(context: &Context, args: ProjectForgetArgs) -> Result<Exit, CliError> {
    let session = context.connect(Autostart::Yes).await?;
    let request = ProjectForgetRequest { project: args.name };
    let project = request.project.clone();
    // Many files may have to be removed, so there is no deadline.
    let response = session.client.request(Request::ProjectForget(request)).await?;
    let ui = &context.ui;
    let (words, value) = match response {
        Response::ProjectForgotten(forgotten) => {
            let (services, folder) = (
                count(forgotten.services.len(), "service"),
                forgotten.removed.display(),
            );
            (
                format!("project {project} forgotten: {services}, with their logs in {folder}\n"),
                json!({ "project": project, "forgotten": true, "services": forgotten.services, "removed": forgotten.removed }),
            )
        }
        Response::Done {} => {
            let others = known(&session).await?;
            let names: Vec<&str> = others.iter().map(|project| project.name.as_str()).collect();
            let near = projects::nearest(project.as_str(), &names);
            let meant = near
                .map(|name| format!("; did you mean `{name}`?"))
                .unwrap_or_default();
            (
                format!("nothing to forget: there is no project `{project}`{meant}\n"),
                json!({ "project": project, "forgotten": false, "services": [], "removed": null }),
            )
        }
        _ => {
            return Err(CliError::Unexpected {
                verb: "project forget",
            });
        }
    };
    ui.say(&words)?;
    if ui.json {
        ui.out_json_pretty(&value)?;
    }
    Ok(Exit::Ok)
}
