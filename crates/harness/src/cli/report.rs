//! Writes the files of `start --report DIR` for CI: `junit.xml`, `report.json`, and `logs/<service>.log`, also when
//! `--timeout` has passed. The files are text for people: the output of services stands there without colours, and
//! control characters are made visible. `harness logs > FILE` gives the exact bytes.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufWriter, Write as _};
use std::path::Path;
use std::time::Duration;

use harness_model::state::ServiceState;
use harness_model::{Clipped, ForeignText, ServiceName};
use harness_wire::message::{
    Channel, Failure, LogLine, LogsRequest, PlanStep, ProjectSelector, Request, Response, ServiceOutcome,
    StartReport, StatusRequest, WhyRequest,
};

use super::backend::{Client, Item};
use super::error::CliError;
use super::render::harmless::{self, TerminalText};
use super::render::open_lines::{Joint, OpenLines};
use super::render::{junit, seconds};

/// How many lines to show of a service that is late.
const LAST_LINES: u64 = 20;

/// Writes all files. Creates the folder if it does not exist.
///
/// # Errors
/// When a file cannot be written, or the logs cannot be read.
pub(crate) async fn write(client: &Client, report: &StartReport, folder: &Path) -> Result<(), CliError> {
    // Other users may be able to write to the folder, and we may be root.
    let folder = &std::path::absolute(folder).map_err(CliError::io("create", folder))?;
    let logs = folder.join("logs");
    harness_files::make_folder(&logs)
        .map_err(io::Error::from)
        .map_err(CliError::io("create", &logs))?;
    put(&folder.join("junit.xml"), &junit::xml(report))?;
    let json = serde_json::to_string_pretty(report).map_err(|error| CliError::Output(error.into()))?;
    put(&folder.join("report.json"), &harmless::json(json))?;
    write_logs(client, report, &logs).await
}

/// The report of a start that we stopped waiting for after this time, made from its plan and the current state.
///
/// # Errors
/// When the daemon does not answer.
pub(crate) async fn late(
    client: &Client,
    project: &ProjectSelector,
    plan: &[PlanStep],
    after: Duration,
) -> Result<StartReport, CliError> {
    let request = StatusRequest {
        project: project.clone(),
        services: Vec::new(),
    };
    let Response::Status(status) = client.request(Request::Status(request)).await? else {
        return Err(CliError::Unexpected { verb: "status" });
    };
    let up = status.services.iter().filter(|view| view.is_ready());
    let up: Vec<ServiceName> = up.map(|view| view.name.clone()).collect();
    let mut report = StartReport {
        project: status.project,
        services: Vec::new(),
        failures: Vec::new(),
        critical_path: Vec::new(),
        not_in_file: Vec::new(),
        elapsed_ms: u64::try_from(after.as_millis()).unwrap_or(u64::MAX),
    };
    for view in status.services {
        let Some(step) = plan.iter().find(|step| step.service == view.name) else {
            continue;
        };
        let ready = up.contains(&view.name);
        // A pending service waits for another one; the other one is late.
        if !ready && view.status != ServiceState::Pending {
            let why = WhyRequest {
                project: project.clone(),
                service: view.name.clone(),
            };
            let Response::Why(why) = client.request(Request::Why(why)).await? else {
                return Err(CliError::Unexpected { verb: "why" });
            };
            report.failures.push(Failure {
                service: view.name.clone(),
                reason: format!("not ready within {}: {}", seconds(after), why.summary.raw()).into(),
                exit: None,
                last_probe: why.service.last_probe,
                last_lines: last_lines(client, project, &view.name, why.service.generation).await?,
                wrote_nothing: false,
                not_reached: false,
                blocked: Vec::new(),
                still_up: up.clone(),
            });
        }
        report.services.push(ServiceOutcome {
            view,
            change: step.change.clone(),
            ready,
            ready_after_ms: None,
        });
    }
    Ok(report)
}

/// The last lines of one start of a service.
async fn last_lines(
    client: &Client,
    project: &ProjectSelector,
    service: &ServiceName,
    generation: u64,
) -> Result<Vec<ForeignText>, CliError> {
    let request = LogsRequest {
        project: project.clone(),
        services: vec![service.clone()],
        follow: false,
        tail: Some(LAST_LINES),
        since: None,
        until: None,
        grep: None,
    };
    let mut call = client.open(Request::Logs(request)).await?;
    let (mut lines, mut open) = (Vec::<Clipped>::new(), OpenLines::default());
    loop {
        match call.next().await? {
            Item::Data {
                channel: Channel::Log,
                payload,
            } => {
                let pieces = LogLine::decode_all(&payload).map_err(CliError::UnreadableLog)?;
                for piece in pieces.iter().filter(|piece| piece.generation == generation) {
                    match (open.next(piece), lines.last_mut()) {
                        (Joint::Nowhere, _) => {}
                        (Joint::GoesOn, Some(line)) => line.add(&piece.text),
                        _ => {
                            let mut line = Clipped::default();
                            line.add(&piece.text);
                            lines.push(line);
                        }
                    }
                }
            }
            Item::Response(_) => break,
            Item::Data { .. } | Item::Event(_) => {}
        }
    }
    let text = |line: Clipped| String::from_utf8_lossy(&line.into_bytes()).into_owned().into();
    Ok(lines.into_iter().map(text).collect())
}

fn put(path: &Path, text: &str) -> Result<(), CliError> {
    fresh(path)?
        .write_all(text.as_bytes())
        .map_err(CliError::io("write", path))
}

/// Creates a new file, in place of the one that an earlier report left.
fn fresh(path: &Path) -> Result<File, CliError> {
    harness_files::fresh(path, 0o666)
        .map_err(io::Error::from)
        .map_err(CliError::io("write", path))
}

async fn write_logs(client: &Client, report: &StartReport, folder: &Path) -> Result<(), CliError> {
    let mut call = client
        .open(Request::Logs(LogsRequest {
            project: ProjectSelector::Named(report.project.clone()),
            services: report
                .services
                .iter()
                .map(|outcome| outcome.view.name.clone())
                .collect(),
            follow: false,
            tail: None,
            since: None,
            until: None,
            grep: None,
        }))
        .await?;
    let mut files: BTreeMap<ServiceName, LogFile> = BTreeMap::new();
    loop {
        match call.next().await? {
            Item::Data {
                channel: Channel::Log,
                payload,
            } => {
                for line in LogLine::decode_all(&payload).map_err(CliError::UnreadableLog)? {
                    append(&mut files, folder, &line)?;
                }
            }
            Item::Response(_) => break,
            Item::Data { .. } | Item::Event(_) => {}
        }
    }
    for (service, mut file) in files {
        file.finish()
            .map_err(CliError::io("write", log_path(folder, &service)))?;
    }
    Ok(())
}

/// The log file of one service.
struct LogFile {
    file: BufWriter<File>,
    text: TerminalText,
    lines: OpenLines,
}

impl LogFile {
    fn new(file: File) -> Self {
        Self {
            file: BufWriter::new(file),
            text: TerminalText::new(false),
            lines: OpenLines::default(),
        }
    }

    fn append(&mut self, line: &LogLine) -> io::Result<()> {
        let mut out = Vec::with_capacity(line.text.len() + 1);
        match self.lines.next(line) {
            Joint::GoesOn | Joint::Begins { ends_other: false } => {}
            Joint::Begins { ends_other: true } => self.end(&mut out),
            Joint::Nowhere => return Ok(()),
        }
        self.text.piece(&line.text, &mut out);
        if !line.partial {
            self.end(&mut out);
        }
        self.file.write_all(&out)
    }

    fn end(&mut self, out: &mut Vec<u8>) {
        self.text.end(out);
        out.push(b'\n');
    }

    fn finish(&mut self) -> io::Result<()> {
        let mut out = Vec::new();
        if self.lines.end() {
            self.end(&mut out);
        }
        self.file.write_all(&out)?;
        self.file.flush()
    }
}

fn append(files: &mut BTreeMap<ServiceName, LogFile>, folder: &Path, line: &LogLine) -> Result<(), CliError> {
    let path = log_path(folder, &line.service);
    if !files.contains_key(&line.service) {
        let file = fresh(&path)?;
        files.insert(line.service.clone(), LogFile::new(file));
    }
    let Some(file) = files.get_mut(&line.service) else {
        return Ok(());
    };
    file.append(line).map_err(CliError::io("write", &path))
}

fn log_path(folder: &Path, service: &ServiceName) -> std::path::PathBuf {
    folder.join(format!("{service}.log"))
}
