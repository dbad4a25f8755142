//! `daemon stop --services`: stop all services of all projects, and the daemon.

use harness_wire::message::DaemonStopReport;
use serde_json::{Value, json};

use super::running;
use crate::cli::backend::{self, StartOptions, StopError};
use crate::cli::context::Context;
use crate::cli::error::CliError;
use crate::cli::exit::Exit;
use crate::cli::render::count;

/// How many daemons to try, if one is lost before it has stopped everything.
const ATTEMPTS: u32 = 3;

/// Stops every service. If no daemon runs, starts one for this.
pub(super) async fn with_services(context: &Context) -> Result<Exit, CliError> {
    let home = context.home()?;
    let mut attempt = 1;
    let (report, found) = loop {
        let found = running(context).await?;
        let (session, was_running) = match found {
            Some(session) => (session, true),
            None if attempt == 1 && !home.was_used()? => {
                context
                    .ui
                    .say("no daemon runs, and none was ever started here\n")?;
                return ended(context, &json!({ "services_up": 0, "stopped": [] }));
            }
            None => {
                context
                    .ui
                    .note("no daemon runs, starting one to stop services that may still be running\n")?;
                // The port does not matter, and the usual one may be in use.
                let options = StartOptions {
                    port: Some(0),
                    stop_services: true,
                };
                backend::start_daemon(&home, options).await?;
                match running(context).await? {
                    Some(session) => (session, false),
                    None if attempt < ATTEMPTS => {
                        attempt += 1;
                        continue;
                    }
                    None => return Err(StopError::Lost.into()),
                }
            }
        };
        match backend::stop_daemon(&home, &session, true).await {
            Ok(report) => break (report, was_running),
            // Another `daemon stop` ended the daemon, or somebody killed it. The next daemon knows what is left.
            Err(StopError::Lost) if attempt < ATTEMPTS => {
                attempt += 1;
                context
                    .ui
                    .note("the daemon ended before it reported that every service is stopped\n")?;
            }
            Err(error) => return Err(error.into()),
        }
    };
    context.ui.say(&words(report.as_ref(), found))?;
    let stopped = report.map(|report| report.stopped);
    ended(context, &json!({ "services_up": 0, "stopped": stopped }))
}

fn words(report: Option<&DaemonStopReport>, was_running: bool) -> String {
    let stopped = report.map(|report| report.stopped.iter().map(|project| project.services.len()).sum());
    match (stopped, was_running) {
        (None, _) => "daemon and all services stopped\n".to_owned(),
        (Some(0), true) => "daemon stopped; no service was up\n".to_owned(),
        (Some(0), false) => "no service was up, and no daemon runs\n".to_owned(),
        (Some(stopped), true) => format!("daemon and {} stopped\n", count(stopped, "service")),
        (Some(stopped), false) => format!("{} stopped, and no daemon runs\n", count(stopped, "service")),
    }
}

/// With `--json`, prints that no daemon runs now, and the fields in `more`.
pub(super) fn ended(context: &Context, more: &Value) -> Result<Exit, CliError> {
    if context.ui.json {
        let mut value = json!({ "running": false });
        for (key, told) in more.as_object().into_iter().flatten() {
            value[key] = told.clone();
        }
        context.ui.out_json_pretty(&value)?;
    }
    Ok(Exit::Ok)
}

#[cfg(test)]
mod tests {
    use harness_model::{ProjectName, ServiceName};
    use harness_wire::message::StoppedServices;

    use super::*;

    #[test]
    fn what_was_stopped_is_counted_and_nothing_else() {
        let stopped = |services: &[&str]| StoppedServices {
            project: ProjectName::new("shop").unwrap(),
            services: services
                .iter()
                .map(|name| ServiceName::new(*name).unwrap())
                .collect(),
        };
        let report = DaemonStopReport {
            stopped: vec![stopped(&["db", "api"]), stopped(&["web"])],
        };
        assert_eq!(words(Some(&report), true), "daemon and 3 services stopped\n");
        assert_eq!(
            words(Some(&report), false),
            "3 services stopped, and no daemon runs\n"
        );
        let nothing = DaemonStopReport { stopped: vec![] };
        assert_eq!(words(Some(&nothing), true), "daemon stopped; no service was up\n");
        assert_eq!(
            words(Some(&nothing), false),
            "no service was up, and no daemon runs\n"
        );
        assert_eq!(words(None, true), "daemon and all services stopped\n");
    }
}
