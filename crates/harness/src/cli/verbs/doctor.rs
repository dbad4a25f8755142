//! `doctor`: check this machine for what harness needs.

use serde_json::json;

use crate::cli::context::{Autostart, Context};
use crate::cli::doctor::{self, DaemonSeen, Verdict};
use crate::cli::error::CliError;
use crate::cli::exit::Exit;
use crate::cli::render::{checks, count};

pub(crate) async fn run(context: &Context) -> Result<Exit, CliError> {
    let daemon = match context.connect(Autostart::No).await {
        Ok(daemon) => DaemonSeen::Running(daemon.info),
        Err(error) if error.is_not_running() => DaemonSeen::None,
        Err(error) => DaemonSeen::Unreachable(error.message()),
    };
    let found = doctor::examine(&context.home()?, &daemon, context.globals.port);
    let failed = found
        .iter()
        .filter(|check| check.verdict == Verdict::Fail)
        .count();
    let exit = if failed == 0 { Exit::Ok } else { Exit::Error };
    let ui = &context.ui;
    if ui.json {
        ui.out_json_pretty(&json!({ "ok": failed == 0, "checks": found }))?;
    } else {
        ui.out(&checks::report(&found, &ui.out_style()))?;
    }
    if failed > 0 {
        ui.note(&format!("{} failed\n", count(failed, "check")))?;
    }
    Ok(exit)
}
