//! `wait`: until services are up, completed or stopped.

use harness_model::ServiceState;
use harness_wire::message::{Request, Response, ServiceView, StatusReport, WaitFor, WaitRequest};

use crate::cli::args::{WaitArgs, WaitState};
use crate::cli::bring_up::{Follow, OnInterrupt, follow};
use crate::cli::context::{Autostart, Context};
use crate::cli::error::CliError;
use crate::cli::exit::Exit;
use crate::cli::render::list;
use crate::cli::render::progress::Goal;
use crate::cli::ui::WithError;

pub(crate) async fn run(context: &Context, args: WaitArgs) -> Result<Exit, CliError> {
    let project = context.selector()?;
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
    };
    let session = context.connect(Autostart::Yes).await?;
    let ended = follow(context, &session.client, &project, Request::Wait(request), how).await?;
    match ended.response {
        Response::Status(report) => tell(context, &report, args.until),
        _ => Err(CliError::Unexpected { verb: "wait" }),
    }
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
            "{} will not get there",
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

/// Whether a service is where it was waited for.
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
