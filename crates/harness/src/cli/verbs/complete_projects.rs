//! `__complete-projects`: the names of projects, a line each, for completion scripts.
//!
//! What the daemon knows, if one runs; whatever goes wrong, there is nothing to offer.

use std::time::Duration;

use async_io::Timer;
use futures_lite::future;

use super::project;
use crate::cli::context::{Autostart, Context};
use crate::cli::error::CliError;
use crate::cli::exit::Exit;

/// Longer than this nobody waits for a completion.
const PATIENCE: Duration = Duration::from_millis(300);

pub(crate) async fn run(context: &Context) -> Result<Exit, CliError> {
    let known = async {
        let daemon = context.connect(Autostart::No).await?;
        project::known(&daemon).await
    };
    let late = async {
        Timer::after(PATIENCE).await;
        Ok(Vec::new())
    };
    let projects = future::or(known, late).await.unwrap_or_default();
    let lines: String = projects
        .iter()
        .map(|project| format!("{}\n", project.name))
        .collect();
    context.ui.out(&lines)?;
    Ok(Exit::Ok)
}
