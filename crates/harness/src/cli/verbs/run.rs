//! `run`: start services, run a command, then stop the services that were started.
//!
//! The daemon keeps the services up while this request is open. When it ends, for whatever reason (the command ended,
//! the timeout passed, a signal came, or this process died), the daemon stops the services that the request started.

mod aftermath;
mod foreground;

use std::time::Instant;

use futures_lite::future;
use harness_model::{ForeignText, ServiceName, WallTime};
use harness_wire::message::{PlanStep, ProjectSelector, Request, Response, StopReport};

use super::{env, start};
use crate::cli::args::RunArgs;
use crate::cli::backend::{Call, Client, ClientError};
use crate::cli::bring_up::{Follow, OnInterrupt, begun, follow_call, start_report, start_request, stop};
use crate::cli::context::{Autostart, Context};
use crate::cli::error::CliError;
use crate::cli::exit::Exit;
use crate::cli::render::progress::Goal;
use crate::cli::render::{failure, outcome};
use crate::cli::signals::Incoming;
use aftermath::Failed;
use foreground::Ended;

pub(crate) async fn run(context: &Context, args: RunArgs) -> Result<Exit, CliError> {
    let run = Run {
        context,
        began: Instant::now(),
        since: WallTime::now(),
        args: &args,
    };
    let loaded = context.load(&args.profiles)?;
    let request = start_request(context, loaded, args.services.clone())?;
    let project = ProjectSelector::Named(request.project.name.clone());
    let session = context.connect(Autostart::Yes).await?;
    context.to_be_started(&session, &request).await?;
    let mut call = session.client.open(Request::Run(Box::new(request))).await?;
    let mut plan = Vec::new();
    let ended = run.body(&session.client, &mut call, &project, &mut plan).await;
    // However the command ended, stop what was started for it.
    let stopped = run.clean_up(call, &ended, project, &plan).await;
    match (ended, stopped) {
        (Ok(Exit::Ok | Exit::Command(0)), Err(error)) => Err(error),
        (ended, Err(error)) => {
            error.report_words(&context.ui);
            ended
        }
        (Err(CliError::Client(ClientError::Disconnected(_))), Ok(())) => Err(CliError::RunLost),
        (ended, Ok(())) => ended,
    }
}

struct Run<'a> {
    context: &'a Context,
    began: Instant,
    since: WallTime,
    args: &'a RunArgs,
}

impl Run<'_> {
    /// Starts the services and runs the command.
    async fn body(
        &self,
        client: &Client,
        call: &mut Call,
        project: &ProjectSelector,
        plan: &mut Vec<PlanStep>,
    ) -> Result<Exit, CliError> {
        let how = Follow {
            verb: "run",
            timeout: self
                .args
                .timeout
                .map(|timeout| timeout.saturating_sub(self.began.elapsed())),
            on_interrupt: OnInterrupt::End,
            goal: Goal::Up,
            looks_first: false,
        };
        let started = follow_call(self.context, client, call, project, how, plan).await;
        let report = start_report(started.map_err(|error| self.late(error))?)?;
        if !report.failures.is_empty() {
            return start::tell(self.context, &report);
        }
        self.context.ui.note(&outcome::summary(&report))?;
        self.command(client, project).await
    }

    /// Turns a passed timeout into this verb's error.
    fn late(&self, error: CliError) -> CliError {
        match (error, self.args.timeout) {
            (CliError::TimedOut { waiting, .. }, Some(after)) => CliError::RunNotUp { after, waiting },
            (error, _) => error,
        }
    }

    async fn command(&self, client: &Client, project: &ProjectSelector) -> Result<Exit, CliError> {
        let variables = env::variables(client, project.clone()).await?;
        let before = aftermath::services(client, project).await?;
        let words = &self.args.command;
        let program = words.first().map_or("", String::as_str);
        let began = Instant::now();
        let deadline = self
            .args
            .timeout
            .and_then(|timeout| self.began.checked_add(timeout));
        let status = match foreground::run(self.context, words, variables, deadline).await? {
            Ended::Exited(status) => status,
            Ended::TooLong => {
                let after = self.args.timeout.unwrap_or_default();
                let program = program.to_owned();
                return Err(CliError::RunTooLong { program, after });
            }
        };
        if status.success() {
            // What the command did counts, and yet somebody should know.
            aftermath::tell_of_fallen(self.context, client, project, &before).await;
        } else {
            let failed = Failed {
                program,
                status,
                took: began.elapsed(),
                since: self.since,
            };
            if let Err(error) = failed.tell(self.context, client, project).await {
                // The command's exit code matters more than this failure.
                let why = ForeignText::from(error.message());
                self.context
                    .ui
                    .err(&format!("  (the services' state cannot be shown: {why})\n"))?;
            }
        }
        Ok(Exit::of_command(status))
    }

    /// Waits until the started services are stopped. If a signal ends the wait, the daemon continues to stop them.
    async fn clean_up(
        &self,
        mut call: Call,
        ended: &Result<Exit, CliError>,
        project: ProjectSelector,
        plan: &[PlanStep],
    ) -> Result<(), CliError> {
        let ui = &self.context.ui;
        let begun = begun(plan);
        if ended.is_err() && plan.is_empty() {
            // Before there is a plan, the daemon drops the request when its client goes.
            return Ok(());
        }
        let mut signals = Incoming::ending_or_quitting()?;
        if ended.is_err() && !begun.is_empty() {
            ui.note("stopping what was started\n")?;
        }
        let stopping = async {
            // If the connection is lost, the answer below says so.
            let _ = call.handle().close_stdin();
            match call.response().await {
                Ok(Response::Stop(report)) => Ok(Some(report)),
                Ok(_) => Err(CliError::Unexpected { verb: "run" }),
                Err(ClientError::Disconnected(_) | ClientError::Answered) => {
                    self.stop_anew(project, &begun).await
                }
                Err(error) => Err(error.into()),
            }
        };
        let impatient = async {
            signals.next().await;
            Ok(None)
        };
        let report = match future::or(stopping, impatient).await? {
            Some(report) => report,
            None if begun.is_empty() => return Ok(()),
            None => {
                let hint = ui.command("status");
                return ui.note(&format!(
                    "the daemon continues to stop what was started  ({hint})\n"
                ));
            }
        };
        let style = ui.err_style();
        for failed in &report.failures {
            ui.err(&failure::report(failed, "could not be stopped", ui, &style))?;
        }
        if !(report.stopped.is_empty() && report.failures.is_empty()) {
            ui.note(&outcome::stopped(&report, &style))?;
        }
        if report.failures.is_empty() {
            Ok(())
        } else {
            Err(CliError::RunLeft)
        }
    }

    /// Stops the services through a new daemon, because the one that kept them up is gone.
    async fn stop_anew(
        &self,
        project: ProjectSelector,
        begun: &[ServiceName],
    ) -> Result<Option<StopReport>, CliError> {
        if begun.is_empty() {
            return Ok(None);
        }
        let session = self.context.connect(Autostart::Yes).await?;
        stop(&session.client, project, begun.to_vec()).await.map(Some)
    }
}
