//! One file per verb, each with a `run` that asks the daemon and prints the answer.

mod attach;
mod complete_profiles;
mod complete_projects;
mod complete_services;
mod completions;
mod config;
mod daemon;
mod doctor;
mod env;
mod events;
mod exec;
mod graph;
mod init;
mod logs;
mod project;
mod restart;
mod run;
mod schema;
mod service;
mod start;
mod status;
mod stop;
mod streams;
mod validate;
mod wait;
mod why;

use super::args::Verb;
use super::context::Context;
use super::error::CliError;
use super::exit::Exit;

/// Runs a verb.
///
/// # Errors
/// Why the verb failed.
pub(crate) async fn run(context: &Context, verb: Verb) -> Result<Exit, CliError> {
    match verb {
        Verb::Init(args) => init::run(context, args).await,
        Verb::Validate(args) => validate::run(context, &args),
        Verb::Config(args) => config::run(context, &args),
        Verb::Start(args) => start::run(context, args).await,
        Verb::Stop(args) => stop::run(context, args).await,
        Verb::Restart(args) => restart::run(context, args).await,
        Verb::Status(args) => status::run(context, args).await,
        Verb::Logs(args) => logs::run(context, args).await,
        Verb::Wait(args) => wait::run(context, args).await,
        Verb::Run(args) => run::run(context, args).await,
        Verb::Exec(args) => exec::run(context, args).await,
        Verb::Attach(args) => attach::run(context, args).await,
        Verb::Why(args) => why::run(context, args).await,
        Verb::Graph(args) => graph::run(context, &args).await,
        Verb::Events(args) => events::run(context, args).await,
        Verb::Env(args) => env::run(context, &args).await,
        Verb::Service(verb) => service::run(context, verb).await,
        Verb::Project(verb) => project::run(context, verb).await,
        Verb::Daemon(verb) => daemon::run(context, verb).await,
        Verb::Completions(args) => completions::run(context, &args),
        Verb::Schema => schema::run(context),
        Verb::Doctor => doctor::run(context).await,
        Verb::CompleteProfiles => complete_profiles::run(context),
        Verb::CompleteProjects => complete_projects::run(context).await,
        Verb::CompleteServices => complete_services::run(context).await,
    }
}
