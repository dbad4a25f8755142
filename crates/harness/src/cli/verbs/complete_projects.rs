//! `__complete-projects`: print the names of projects, one per line, for completion scripts.
//!
//! The names come from the daemon, if one runs. If anything goes wrong, there are none.

use std::time::Duration;

use async_io::Timer;
use futures_lite::future;

use super::project;
use crate::cli::context::{Autostart, Context};
use crate::cli::error::CliError;
use crate::cli::exit::Exit;

/// Nobody waits longer than this for a completion.
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
