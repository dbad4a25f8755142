//! `completions`: print a completion script.

use crate::cli::args::CompletionsArgs;
use crate::cli::completion;
use crate::cli::context::Context;
use crate::cli::error::CliError;
use crate::cli::exit::Exit;

pub(crate) fn run(context: &Context, args: &CompletionsArgs) -> Result<Exit, CliError> {
    let script = completion::script(args.shell);
    if context.ui.json {
        context
            .ui
            .out_json_pretty(&serde_json::json!({ "script": script }))?;
    } else {
        context.ui.out_exact(&script)?;
    }
    Ok(Exit::Ok)
}
