//! `config`: print the file as it counts.

use serde_json::json;

use crate::cli::args::ConfigArgs;
use crate::cli::context::Context;
use crate::cli::error::CliError;
use crate::cli::exit::Exit;

pub(crate) fn run(context: &Context, args: &ConfigArgs) -> Result<Exit, CliError> {
    let ui = &context.ui;
    let resolved = harness_config::resolve(&context.load_options(&args.profiles)?)?;
    ui.note(&resolved.loaded.warnings.render(ui.err_colour))?;
    if ui.json {
        let mut out = json!({ "config": resolved.to_json() });
        if args.origins {
            out["origins"] = resolved.origins();
        }
        ui.out_json_pretty(&out)?;
    } else {
        ui.out(&resolved.to_yaml(args.origins))?;
    }
    Ok(Exit::Ok)
}
