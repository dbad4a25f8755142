//! `wait`: wait until services are up, completed or stopped.

use std::collections::BTreeSet;

use harness_model::ServiceState;
use harness_wire::message::{
    ProjectSelector, Purpose, Request, Response, ServiceView, StatusReport, WaitFor, WaitRequest, WhyRequest,
};

use crate::cli::args::{WaitArgs, WaitState};
use crate::cli::backend::Client;
use crate::cli::bring_up::{Follow, OnInterrupt, follow};
use crate::cli::context::{Autostart, Context};
use crate::cli::error::CliError;
use crate::cli::exit::Exit;
use crate::cli::render::progress::Goal;
use crate::cli::render::{failure, list};
use crate::cli::ui::WithError;

pub(crate) async fn run(context: &Context, args: WaitArgs) -> Result<Exit, CliError> {
    let session = context.connect(Autostart::Yes).await?;
    let project = context.meant(&session, Purpose::Change).await?;
    let request = WaitRequest {
        project: project.clone(),
        services: args.services,
        until: match args.until {
            WaitState::Ready => WaitFor::Ready,
            WaitState::Completed => WaitFor::Completed,
            WaitState::Stopped => WaitFor::Stopped,
        },
    };
    let how = Follow {
        verb: "wait",
        timeout: args.timeout,
        on_interrupt: OnInterrupt::Leave,
        goal: match args.until {
            WaitState::Ready => Goal::SeenUp,
            WaitState::Completed => Goal::Completed,
            WaitState::Stopped => Goal::Down,
        },
        looks_first: true,
    };
    let ended = follow(context, &session.client, &project, Request::Wait(request), how).await?;
    let Response::Status(report) = ended.response else {
        return Err(CliError::Unexpected { verb: "wait" });
    };
    let exit = tell(context, &report, args.until)?;
    explain(context, &session.client, &project, &report, args.until).await?;
    Ok(exit)
}

/// Explains why services did not reach the state. Each failed service that caused it is shown once.
async fn explain(
    context: &Context,
    client: &Client,
    project: &ProjectSelector,
    report: &StatusReport,
    until: WaitState,
) -> Result<(), CliError> {
    let ui = &context.ui;
    let mut told = BTreeSet::new();
    for view in report.services.iter().filter(|view| !reached(view, until)) {
        let request = WhyRequest {
            project: project.clone(),
            service: view.name.clone(),
        };
        let Response::Why(why) = client.request(Request::Why(request)).await? else {
            return Err(CliError::Unexpected { verb: "why" });
        };
        if let Some(root) = &why.failure
            && told.insert(root.service.clone())
        {
            ui.err(&failure::report(root, "failed", ui, &ui.err_style()))?;
        }
    }
    Ok(())
}

fn tell(context: &Context, report: &StatusReport, until: WaitState) -> Result<Exit, CliError> {
    let missed: Vec<&ServiceView> = report
        .services
        .iter()
        .filter(|view| !reached(view, until))
        .collect();
    let ui = &context.ui;
    let exit = if missed.is_empty() {
        Exit::Ok
    } else {
        Exit::ServiceFailed
    };
    if ui.json {
        let message = format!(
            "{} will not reach this state",
            list(missed.iter().map(|view| &view.name))
        );
        ui.out_json_pretty(&WithError::new(report, exit, "service_failed", &message))?;
    }
    for view in missed {
        let why = view
            .error
            .as_ref()
            .map(|error| format!(": {error}"))
            .unwrap_or_default();
        let hint = ui.command(&format!("why {}", view.name));
        ui.err(&format!(
            "{} {} is {}{why}\n  next: {hint}\n",
            ui.err_style().bad("✗"),
            view.name,
            view.status
        ))?;
    }
    Ok(exit)
}

/// Whether a service is in the state that we waited for.
fn reached(view: &ServiceView, until: WaitState) -> bool {
    match until {
        WaitState::Ready => view.is_ready(),
        WaitState::Completed => view.status == ServiceState::Completed,
        WaitState::Stopped => {
            matches!(
                view.status,
                ServiceState::Stopped | ServiceState::Completed | ServiceState::Failed
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use harness_model::Health;

    use super::*;
    use crate::cli::testing::view;

    #[test]
    fn unknown_health_is_not_ready() {
        let mut api = view("api");
        assert!(reached(&api, WaitState::Ready));
        api.health = Health::Unknown;
        assert!(!reached(&api, WaitState::Ready));
        api.status = ServiceState::Failed;
        assert!(!reached(&api, WaitState::Completed));
        assert!(reached(&api, WaitState::Stopped));
    }
}
