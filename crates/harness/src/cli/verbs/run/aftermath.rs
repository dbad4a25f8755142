//! What to print when the command of `run` failed: the state of the services, and their output during the run.

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

/// Services that are not well: not running and healthy, completed, or stopped.
async fn unwell(client: &Client, project: &ProjectSelector) -> Result<Vec<ServiceView>, CliError> {
    let request = StatusRequest {
        project: project.clone(),
        services: Vec::new(),
    };
    let Response::Status(report) = client.request(Request::Status(request)).await? else {
        return Err(CliError::Unexpected { verb: "status" });
    };
    let well = |view: &ServiceView| match view.status {
        ServiceState::Running => matches!(view.health, Health::None | Health::Healthy),
        ServiceState::Completed | ServiceState::Stopped => true,
        _ => false,
    };
    Ok(report.services.into_iter().filter(|view| !well(view)).collect())
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
