//! What is told after the command of `run`: which services ended meanwhile, and if it failed, how all of them are and what
//! they said.

use std::time::Duration;

use harness_model::{Clipped, ExitStatus, ForeignText, Health, ServiceState, WallTime};
use harness_wire::message::{
    Channel, LogLine, LogsRequest, ProjectSelector, Request, Response, ServiceView, StatusRequest,
};
use jiff::tz::TimeZone;

use crate::cli::backend::{Client, Item};
use crate::cli::context::Context;
use crate::cli::error::CliError;
use crate::cli::render::logs::LogPrinter;
use crate::cli::render::{Style, failure, seconds};

/// How many lines of the services' output to show.
const LAST_LINES: u64 = 20;

/// A command that did not end with exit code 0.
pub(super) struct Failed<'a> {
    /// The program.
    pub(super) program: &'a str,
    /// How it ended.
    pub(super) status: ExitStatus,
    /// How long it ran.
    pub(super) took: Duration,
    /// When `run` began. Earlier output of the services is not shown.
    pub(super) since: WallTime,
}

impl Failed<'_> {
    /// Prints the failure on stderr.
    ///
    /// # Errors
    /// When the daemon cannot be asked.
    pub(super) async fn tell(
        &self,
        context: &Context,
        client: &Client,
        project: &ProjectSelector,
    ) -> Result<(), CliError> {
        let (ui, style) = (&context.ui, context.ui.err_style());
        ui.err(&format!(
            "\n{} {} {} after {}\n",
            style.bad("✗"),
            style.bold(self.program),
            self.status,
            seconds(self.took)
        ))?;
        for view in unwell(client, project).await? {
            let why = view
                .error
                .as_ref()
                .map(|error| format!(": {error}"))
                .unwrap_or_default();
            ui.err(&format!(
                "  not well    {} is {}, {}{why}\n",
                view.name, view.status, view.health
            ))?;
        }
        let lines = last_lines(client, project, self.since).await?;
        ui.err(&failure::named_lines(&lines, &style))
    }
}

/// How the services are.
///
/// # Errors
/// When the daemon cannot be asked.
pub(super) async fn services(
    client: &Client,
    project: &ProjectSelector,
) -> Result<Vec<ServiceView>, CliError> {
    let request = StatusRequest {
        project: project.clone(),
        services: Vec::new(),
    };
    match client.request(Request::Status(request)).await? {
        Response::Status(report) => Ok(report.services),
        _ => Err(CliError::Unexpected { verb: "status" }),
    }
}

/// Names the services that ended while a command ran, although that succeeded.
pub(super) async fn tell_of_fallen(
    context: &Context,
    client: &Client,
    project: &ProjectSelector,
    before: &[ServiceView],
) {
    let Ok(after) = services(client, project).await else {
        return;
    };
    let style = context.ui.err_style();
    for line in fallen(before, &after) {
        // Words on stderr that nobody reads are no reason to fail.
        let _ = context.ui.err(&format!("{} {line}\n", style.bad("!")));
    }
}

/// A line for each service that ran before and ended meanwhile.
fn fallen(before: &[ServiceView], after: &[ServiceView]) -> Vec<String> {
    let ran = before.iter().filter(|view| view.status == ServiceState::Running);
    let fallen = ran.filter_map(|before| {
        let after = after.iter().find(|view| view.name == before.name)?;
        let why = after
            .error
            .as_ref()
            .map(|error| format!(": {error}"))
            .unwrap_or_default();
        let name = &after.name;
        match after.restarts.saturating_sub(before.restarts) {
            0 if after.status == ServiceState::Running => None,
            0 => Some(format!(
                "{name} ended while the command ran and is now {}{why}",
                after.status
            )),
            1 => Some(format!(
                "{name} ended while the command ran, and was restarted{why}"
            )),
            times => Some(format!(
                "{name} ended {times} times while the command ran, and was restarted{why}"
            )),
        }
    });
    fallen.collect()
}

/// Services that are not as they were when the command began.
async fn unwell(client: &Client, project: &ProjectSelector) -> Result<Vec<ServiceView>, CliError> {
    let well = |view: &ServiceView| match view.status {
        ServiceState::Running => matches!(view.health, Health::None | Health::Healthy),
        ServiceState::Completed | ServiceState::Stopped => true,
        _ => false,
    };
    let all = services(client, project).await?;
    Ok(all.into_iter().filter(|view| !well(view)).collect())
}

async fn last_lines(
    client: &Client,
    project: &ProjectSelector,
    since: WallTime,
) -> Result<Vec<ForeignText>, CliError> {
    let request = LogsRequest {
        project: project.clone(),
        services: Vec::new(),
        follow: false,
        tail: Some(LAST_LINES),
        since: Some(since),
        until: None,
        grep: None,
    };
    let mut call = client.open(Request::Logs(request)).await?;
    let mut lines = Vec::new();
    loop {
        match call.next().await? {
            Item::Data {
                channel: Channel::Log,
                payload,
            } => lines.extend(LogLine::decode_all(&payload).map_err(CliError::UnreadableLog)?),
            Item::Response(_) => break,
            Item::Data { .. } | Item::Event(_) => {}
        }
    }
    let style = Style::new(false);
    let mut printer = LogPrinter::new(
        lines.iter().map(|line| &line.service),
        false,
        TimeZone::UTC,
        style,
    );
    let mut out = Vec::new();
    for line in &lines {
        printer.line(line, &mut out);
    }
    printer.finish(&mut out);
    let short = |line: &str| String::from_utf8_lossy(&Clipped::of(line.as_bytes())).into_owned();
    Ok(String::from_utf8_lossy(&out)
        .lines()
        .map(|line| ForeignText::from(short(line)))
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::testing::view;

    #[test]
    fn services_that_ended_meanwhile_are_named() {
        let before = [
            view("steady"),
            view("dead"),
            view("again"),
            view("often"),
            view("slow"),
        ];
        let mut after = before.clone();
        after[1].status = ServiceState::Failed;
        after[1].error = Some("exited 3 after 0.2s".into());
        after[2].restarts = 1;
        after[3].restarts = 4;
        after[3].status = ServiceState::Restarting;
        let mut before = before;
        // Nobody counted on one that was not up.
        before[4].status = ServiceState::Pending;
        after[4].status = ServiceState::Failed;
        assert_eq!(
            fallen(&before, &after),
            [
                "dead ended while the command ran and is now failed: exited 3 after 0.2s",
                "again ended while the command ran, and was restarted",
                "often ended 4 times while the command ran, and was restarted",
            ]
        );
    }
}
