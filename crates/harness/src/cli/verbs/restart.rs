//! `restart`: stop and start services again, by the file as it is now.

use harness_wire::message::{ProjectSelector, Request};

use super::start;
use crate::cli::args::RestartArgs;
use crate::cli::bring_up::{Follow, OnInterrupt, follow, start_report, start_request};
use crate::cli::context::{Autostart, Context};
use crate::cli::error::CliError;
use crate::cli::exit::Exit;
use crate::cli::render::progress::Goal;

pub(crate) async fn run(context: &Context, args: RestartArgs) -> Result<Exit, CliError> {
    let loaded = context.load(&args.profiles)?;
    let mut request = start_request(context, loaded, args.services)?;
    request.no_deps = args.no_deps;
    let session = context.connect(Autostart::Yes).await?;
    let project = ProjectSelector::Named(request.project.name.clone());
    let how = Follow {
        verb: "restart",
        timeout: args.timeout,
        on_interrupt: OnInterrupt::Leave,
        goal: Goal::Up,
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
