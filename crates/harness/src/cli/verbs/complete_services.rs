//! `__complete-services`: print the names of services and groups, one per line, for completion scripts.
//!
//! The names come from the file, and from the daemon if one runs. If anything goes wrong, there are just fewer names.

use std::collections::BTreeSet;
use std::time::Duration;

use async_io::Timer;
use futures_lite::future;
use harness_model::ServiceName;
use harness_wire::message::{Request, Response, StatusRequest};

use crate::cli::context::{Autostart, Context};
use crate::cli::error::CliError;
use crate::cli::exit::Exit;

/// Nobody waits longer than this for a completion.
const PATIENCE: Duration = Duration::from_millis(300);

pub(crate) async fn run(context: &Context) -> Result<Exit, CliError> {
    let mut names = in_file(context);
    let late = async {
        Timer::after(PATIENCE).await;
        Ok(BTreeSet::new())
    };
    names.extend(future::or(known(context), late).await.unwrap_or_default());
    let lines: String = names.iter().map(|name| format!("{name}\n")).collect();
    context.ui.out_exact(&lines)?;
    Ok(Exit::Ok)
}

fn in_file(context: &Context) -> BTreeSet<ServiceName> {
    match context.load_silently() {
        Ok(loaded) => {
            let groups = loaded.project.groups.into_keys();
            loaded.all_services.into_iter().chain(groups).collect()
        }
        Err(_) => BTreeSet::new(),
    }
}

async fn known(context: &Context) -> Result<BTreeSet<ServiceName>, CliError> {
    let daemon = context.connect(Autostart::No).await?;
    let request = StatusRequest {
        project: context.selector()?,
        services: Vec::new(),
    };
    match daemon.client.request(Request::Status(request)).await? {
        Response::Status(report) => {
            let services = report.services.into_iter().map(|view| view.name);
            Ok(services.chain(report.groups.into_keys()).collect())
        }
        _ => Err(CliError::Unexpected { verb: "status" }),
    }
}
