//! `restart`: stop and start services again, using the file as it is now.

use std::path::Path;

use harness_wire::message::{ProjectSelector, Purpose, Request, Selected};

use super::start;
use crate::cli::args::RestartArgs;
use crate::cli::backend::Loaded;
use crate::cli::bring_up::{Follow, OnInterrupt, follow, start_report, start_request};
use crate::cli::context::{Autostart, Context, Daemon};
use crate::cli::error::CliError;
use crate::cli::exit::Exit;
use crate::cli::render::progress::Goal;
use crate::cli::selection::is_unknown;

pub(crate) async fn run(context: &Context, args: RestartArgs) -> Result<Exit, CliError> {
    let (loaded, session) = match elsewhere(context).await? {
        Some((selected, session)) => (recorded(context, &selected, &args.profiles)?, session),
        None => {
            let loaded = context.load(&args.profiles)?;
            (loaded, context.connect(Autostart::Yes).await?)
        }
    };
    let mut request = start_request(context, loaded, args.services)?;
    request.no_deps = args.no_deps;
    context.to_be_restarted(&session, &request).await?;
    let project = ProjectSelector::Named(request.project.name.clone());
    let how = Follow {
        verb: "restart",
        timeout: args.timeout,
        on_interrupt: OnInterrupt::Leave,
        goal: Goal::Up,
        looks_first: false,
    };
    let ended = follow(
        context,
        &session.client,
        &project,
        Request::Restart(Box::new(request)),
        how,
    )
    .await?;
    start::tell(context, &start_report(ended.response)?)
}

/// The project to restart, if it is not the one of the file here: the project named with `-p`, or without a file the
/// one that the daemon finds for this folder. `None` if the file here is to be used, also for a project that was
/// never started.
async fn elsewhere(context: &Context) -> Result<Option<(Selected, Daemon)>, CliError> {
    let (has_file, named) = (context.has_file()?, context.project().is_some());
    if !context.globals.config.is_empty() || (has_file && !named) {
        return Ok(None);
    }
    let session = context.connect(Autostart::Yes).await?;
    match context
        .select(&session, context.selector()?, Purpose::Change)
        .await
    {
        Ok(Some(selected)) => Ok(Some((selected, session))),
        Err(error) if !(has_file && is_unknown(&error)) => Err(error),
        Ok(None) | Err(_) => Ok(None),
    }
}

/// Loads a project from the files that it was started from.
fn recorded(context: &Context, selected: &Selected, profiles: &[String]) -> Result<Loaded, CliError> {
    let mut options = context.load_options(profiles)?;
    options.files.clone_from(&selected.files);
    let mut loaded = harness_config::load(&options)?;
    if loaded.project.name != selected.project {
        options.project = Some(selected.project.clone());
        loaded = harness_config::load(&options)?;
    }
    context.ui.note(&loaded.warnings.render(context.ui.err_colour))?;
    let here = harness_config::find_config(&options.cwd);
    if let (Some(first), Some(_)) = (
        selected.files.first(),
        here.filter(|here| !is_same(here, selected)),
    ) {
        let (project, file) = (&selected.project, first.display());
        context.ui.note(&format!(
            "note: restarting `{project}` from its own file, {file}\n"
        ))?;
    }
    Ok(loaded)
}

fn is_same(here: &Path, selected: &Selected) -> bool {
    let here = here.canonicalize().ok();
    selected
        .files
        .first()
        .is_some_and(|first| here.as_ref() == Some(first))
}
