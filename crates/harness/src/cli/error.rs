//! The errors of the CLI and their messages. The exit codes are in [`super::exit`].

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use harness_model::ForeignText;
use serde_json::{Value, json};

use harness_core::daemon_info::DaemonInfoError;
use harness_core::home::remedy;
use harness_wire::client::ConnectError as TalkError;
use harness_wire::message::{ErrorBody, ErrorCode, PlanStep};
use harness_wire::tls::Validity;

use super::backend::{ClientError, ConnectError, HomeError, LoadError, StartError, StopError};
use super::exit::Exit;
use super::render::projects::nearest;
use super::render::{count, ports, seconds};
use super::ui::Ui;

/// The result of a start that ended before there was a plan.
pub(crate) const NOTHING_STARTED: &str = "nothing was started";

/// Why a verb failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CliError {
    /// The file cannot be used.
    #[error(transparent)]
    Config(#[from] LoadError),
    /// The daemon cannot be reached.
    #[error(transparent)]
    Connect(Box<ConnectError>),
    /// The daemon refused, or the connection broke.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The daemon could not be started.
    #[error(transparent)]
    Start(Box<StartError>),
    /// The daemon could not be stopped.
    #[error(transparent)]
    Stop(#[from] StopError),
    /// The daemon received a request that needs no work, and has not answered.
    #[error("the daemon (pid {pid}) has not answered within {}", seconds(*after))]
    NoAnswer {
        /// Its process.
        pid: u32,
        /// How long it had.
        after: Duration,
    },
    /// The daemon's home folder cannot be used.
    #[error(transparent)]
    Home(#[from] HomeError),
    /// No daemon runs, and this verb starts none.
    #[error("no daemon runs (home {})", home.display())]
    DaemonNotRunning {
        /// Its home folder.
        home: PathBuf,
    },
    /// No project was started from this file, and the project name in it cannot be read.
    #[error("no project was started from {}, and the name in it cannot be read", path.display())]
    Nameless {
        /// The file.
        path: PathBuf,
    },
    /// A path that cannot be sent to the daemon, because messages are text.
    #[error("cannot find the project of {}: the path is not UTF-8", path.display())]
    PathNotText {
        /// The path.
        path: PathBuf,
    },
    /// `stop` without a service or `--all`.
    #[error("stop what?")]
    StopWhat,
    /// Arguments that do not fit together.
    #[error("{message}")]
    Usage {
        /// What is wrong.
        message: String,
        /// What to do instead.
        hint: String,
    },
    /// A file exists where one should be written.
    #[error("{} already exists and was not changed", path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// A compose file, Procfile or package.json that cannot be turned into a services.yaml.
    #[error("cannot start from {}", path.display())]
    Import {
        /// The file.
        path: PathBuf,
        /// Why.
        source: harness_config::import::ImportError,
    },
    /// `--detach-keys` is not a key sequence.
    #[error("`{text}` is not a key sequence")]
    DetachKeys {
        /// What was given.
        text: String,
    },
    /// Ctrl-C, or another signal that asks this process to end.
    #[error("interrupted")]
    Interrupted {
        /// What to do next.
        hint: Option<String>,
    },
    /// `--timeout` passed.
    #[error("{what} did not finish within {}{}", seconds(*after), still(waiting))]
    TimedOut {
        /// The verb.
        what: String,
        /// The time given.
        after: Duration,
        /// The services that were not up yet, and their state.
        waiting: Vec<String>,
        /// The request had no plan yet, and was dropped with its client.
        nothing_started: bool,
        /// What the daemon planned to do.
        plan: Vec<PlanStep>,
    },
    /// `--timeout` passed before everything was up for the command of `run`.
    #[error("not everything was up within {}{}", seconds(*after), still(waiting))]
    RunNotUp {
        /// The time given.
        after: Duration,
        /// The services that were not up yet, and their state.
        waiting: Vec<String>,
    },
    /// `--timeout` passed before the command of `run` had ended.
    #[error("`{program}` was still running after {} and was ended", seconds(*after))]
    RunTooLong {
        /// The program.
        program: String,
        /// The time given for all of it.
        after: Duration,
    },
    /// The daemon went away while `run` waited for its services.
    #[error(
        "the daemon was lost while services were starting; the services that were started have been stopped"
    )]
    RunLost,
    /// Some services that `run` started could not be stopped. The message about them is printed already.
    #[error("some services that were started could not be stopped")]
    RunLeft,
    /// The command of `run` does not exist.
    #[error("`{program}` was not found")]
    CommandNotFound {
        /// The program.
        program: String,
    },
    /// The command of `run` is a script whose interpreter does not exist.
    #[error("`{program}` is a script for {interpreter}, which does not exist")]
    NoInterpreter {
        /// The script.
        program: String,
        /// The text after `#!`.
        interpreter: String,
    },
    /// The command of `run` cannot be run.
    #[error("cannot run `{program}`")]
    CommandNotRunnable {
        /// The program.
        program: String,
        /// Why.
        source: std::io::Error,
    },
    /// The reader of stdout is gone: `harness logs | head`.
    #[error("the reader of the output is gone")]
    OutputClosed,
    /// stdout or stderr cannot be written.
    #[error("cannot write the output")]
    Output(#[source] std::io::Error),
    /// An operation on a file or the terminal failed.
    #[error("cannot {operation} {}", path.display())]
    Io {
        /// The operation: "write", "read", …
        operation: &'static str,
        /// The path it was tried on.
        path: PathBuf,
        /// Why it failed.
        source: std::io::Error,
    },
    /// The daemon's answer is of another kind than the request.
    #[error("the daemon sent an answer that does not fit `{verb}`")]
    Unexpected {
        /// What was asked.
        verb: &'static str,
    },
    /// A log frame that cannot be decoded.
    #[error("the daemon sent log lines that cannot be read")]
    UnreadableLog(#[source] harness_wire::message::MalformedFrame),
    /// `-t` without a terminal.
    #[error("-t needs a terminal, but stdin is not one")]
    NoTerminal,
}

fn still(waiting: &[String]) -> String {
    if waiting.is_empty() {
        String::new()
    } else {
        format!("; still waiting for: {}", waiting.join(", "))
    }
}

impl From<ConnectError> for CliError {
    fn from(error: ConnectError) -> Self {
        Self::Connect(Box::new(error))
    }
}

impl From<StartError> for CliError {
    fn from(error: StartError) -> Self {
        Self::Start(Box::new(error))
    }
}

impl CliError {
    /// Whether it says that no daemon runs.
    pub(crate) fn is_not_running(&self) -> bool {
        matches!(self, Self::Connect(error) if matches!(**error, ConnectError::NotRunning { .. }))
    }

    /// Makes an I/O error that says what was tried.
    pub(crate) fn io(
        operation: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io {
            operation,
            path,
            source,
        }
    }

    /// The daemon's refusal, if this is one.
    pub(crate) fn refusal(&self) -> Option<&ErrorBody> {
        match self {
            Self::Client(ClientError::Refused(body)) => Some(body),
            _ => None,
        }
    }

    /// What to do about it.
    fn hint(&self, ui: &Ui) -> Option<String> {
        match self {
            Self::Client(ClientError::Refused(body)) => body.hint.clone().or_else(|| refusal_hint(body, ui)),
            Self::Client(ClientError::Disconnected(_)) => Some(format!(
                "services keep running; {} starts a daemon that takes over",
                ui.command("status")
            )),
            Self::Config(LoadError::NotFound { .. }) => {
                Some("harness init writes one; -c FILE uses another file".to_owned())
            }
            Self::Config(LoadError::NotText { .. }) => Some("rename the folder".to_owned()),
            Self::Config(LoadError::Read { source, .. }) if source.kind() == io::ErrorKind::NotFound => Some(
                "give -c an existing file; without -c, the services.yaml in this folder or in one above is used"
                    .to_owned(),
            ),
            Self::Config(LoadError::Read { source, .. }) if source.kind() == io::ErrorKind::InvalidInput => Some(
                "save the content as a regular file first: a project remembers its file, and paths in the \
                    file are relative to its folder"
                    .to_owned(),
            ),
            Self::Home(error) => home_hint(error),
            Self::Start(error) => start_hint(error),
            Self::Connect(error) => match &**error {
                ConnectError::Home(error) => home_hint(error),
                ConnectError::Stopped { pid } => Some(format!(
                    "kill -CONT {pid} lets it continue; kill -9 {pid} ends it, and {} starts another that \
                        takes over",
                    ui.command("status")
                )),
                ConnectError::NotAnswering { pid: Some(pid), .. } => Some(format!(
                    "harness daemon status tries again; kill -9 {pid} ends it, and {} starts another that takes over",
                    ui.command("status")
                )),
                ConnectError::Start(error) => start_hint(error),
                ConnectError::Info(DaemonInfoError::Io { source, .. }) => remedy(source),
                ConnectError::Lock { source, .. } => remedy(source),
                ConnectError::Client { pid, source, .. } => certificate_hint(*pid, source),
                _ => None,
            },
            Self::NoAnswer { pid, .. } => Some(format!(
                "harness daemon status says whether it is stopped or overloaded; kill -CONT {pid} lets a \
                    stopped one continue"
            )),
            Self::Exists { .. } => Some("harness start uses it; to get a new one, remove it first".to_owned()),
            Self::DaemonNotRunning { .. } => Some(ui.command("start")),
            Self::Nameless { .. } => Some(
                "harness validate shows what is wrong with the file; or name the project with -p".to_owned(),
            ),
            Self::PathNotText { .. } => Some("name the project with -p".to_owned()),
            Self::StopWhat => Some(format!(
                "{} for some services, {} for the whole project",
                ui.command("stop SERVICE…"),
                ui.command("stop --all"),
            )),
            Self::Usage { hint, .. } => Some(hint.clone()),
            Self::Interrupted { hint } => hint.clone(),
            Self::Stop(StopError::Stopped { pid }) => Some(format!(
                "kill -CONT {pid} lets it continue; kill -9 {pid} ends it, and services keep running"
            )),
            Self::Stop(StopError::Lost) => {
                Some("run harness daemon stop --services again to stop the rest".to_owned())
            }
            Self::RunLeft => Some(ui.command("status")),
            Self::DetachKeys { .. } => {
                Some("keys are letters or ctrl-LETTER, separated by commas: ctrl-p,ctrl-q".to_owned())
            }
            Self::TimedOut {
                nothing_started: true,
                ..
            } => Some(NOTHING_STARTED.to_owned()),
            Self::TimedOut { .. } => Some(format!(
                "the services continue; {} · {}",
                ui.command("status"),
                ui.command("stop --all")
            )),
            _ => None,
        }
    }

    /// The error code for programs.
    fn code(&self) -> Value {
        match self {
            Self::Client(ClientError::Refused(body)) => refusal_code(body),
            Self::Config(_) | Self::Nameless { .. } => "invalid_file".into(),
            Self::Connect(_) => "cannot_connect".into(),
            Self::Client(_) => "connection_lost".into(),
            Self::NoAnswer { .. } => "no_answer".into(),
            Self::Start(_) | Self::Stop(_) => "daemon_control".into(),
            Self::Home(_) => "home".into(),
            Self::DaemonNotRunning { .. } => "not_running".into(),
            Self::StopWhat
            | Self::Usage { .. }
            | Self::DetachKeys { .. }
            | Self::NoTerminal
            | Self::PathNotText { .. } => "usage".into(),
            Self::Exists { .. } => "exists".into(),
            Self::Import { .. } => "cannot_import".into(),
            Self::Interrupted { .. } => "interrupted".into(),
            Self::TimedOut { .. } | Self::RunNotUp { .. } | Self::RunTooLong { .. } => "timed_out".into(),
            Self::RunLost => "connection_lost".into(),
            Self::RunLeft => "not_stopped".into(),
            Self::CommandNotFound { .. } | Self::NoInterpreter { .. } | Self::CommandNotRunnable { .. } => {
                "command".into()
            }
            Self::OutputClosed | Self::Output(_) | Self::Io { .. } => "io".into(),
            Self::Unexpected { .. } | Self::UnreadableLog(_) => "protocol".into(),
        }
    }

    /// The message with its causes.
    pub(crate) fn message(&self) -> String {
        let mut text = self.to_string();
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            let words = error.to_string();
            if !text.contains(&words) {
                text.push_str(": ");
                text.push_str(&words);
            }
            cause = error.source();
        }
        text
    }

    /// Prints the error: a message on stderr, and with `--json` also an object on stdout.
    pub(crate) fn report(&self, ui: &Ui) {
        if matches!(self, Self::OutputClosed) {
            return;
        }
        self.report_words(ui);
        if ui.json {
            let _ = ui.out_json(&self.json(ui));
        }
    }

    /// Prints the error on stderr only, in addition to another error.
    pub(crate) fn report_words(&self, ui: &Ui) {
        // If stderr cannot be written, there is nowhere left to say so.
        let _ = ui.err(&self.words(ui));
    }

    fn words(&self, ui: &Ui) -> String {
        match self {
            Self::Config(LoadError::Invalid(diagnostics)) => {
                let count = diagnostics.len();
                let noun = if count == 1 { "mistake" } else { "mistakes" };
                format!(
                    "{}{count} {noun}, nothing started\n",
                    diagnostics.render(ui.err_colour)
                )
            }
            Self::Client(ClientError::Refused(ErrorBody {
                code: ErrorCode::PortsTaken(conflicts),
                ..
            })) => ports::conflicts(conflicts, &ui.err_style()),
            _ => {
                let style = ui.err_style();
                // Parts of the message come from outside: paths, engines, other processes.
                let message = ForeignText::from(self.message());
                let mut text = format!("{} {message}\n", style.error("error:"));
                if let Some(hint) = self.hint(ui).map(ForeignText::from) {
                    text.push_str(&format!("  {} {hint}\n", style.dim("next:")));
                }
                text
            }
        }
    }

    /// `{"error": {"code", "message", "hint", "exit_code", …}}`.
    pub(crate) fn json(&self, ui: &Ui) -> Value {
        let mut error = json!({
            "code": self.code(),
            "message": self.message(),
            "hint": self.hint(ui),
            "exit_code": Exit::from(self).code(),
        });
        match self {
            Self::Config(LoadError::Invalid(diagnostics)) => {
                error["message"] = format!("{} in the file", count(diagnostics.len(), "mistake")).into();
                error["diagnostics"] = diagnostics.to_json();
            }
            Self::Client(ClientError::Refused(body)) => match &body.code {
                ErrorCode::PortsTaken(conflicts) => error["ports"] = json!(conflicts),
                ErrorCode::NoSuchProject(known)
                | ErrorCode::ProjectUnclear(known)
                | ErrorCode::ProjectRenamed(known) => error["projects"] = json!(known),
                ErrorCode::NoSuchService { name, suggestion } => {
                    error["service"] = json!(name);
                    error["suggestion"] = json!(suggestion);
                }
                _ => {}
            },
            _ => {}
        }
        json!({ "error": error })
    }
}

/// A daemon that we cannot talk to can be ended with a signal; this does the same as `daemon stop`.
fn certificate_hint(pid: u32, error: &TalkError) -> Option<String> {
    let anew = format!("kill {pid} && harness daemon start (services keep running)");
    match error {
        TalkError::Certificates(_) => Some(format!("then, if it still does not work: {anew}")),
        _ => match error.certificate_validity()? {
            Validity::NotYet => Some(format!(
                "set this machine's clock; if the clock is right, make new certificates with: {anew}"
            )),
            Validity::Expired => Some(format!(
                "if this machine's clock is right, make new certificates with: {anew}"
            )),
            Validity::Valid => None,
        },
    }
}

fn start_hint(error: &StartError) -> Option<String> {
    match error {
        StartError::Failed { hint, .. } => hint.clone(),
        _ => None,
    }
}

fn home_hint(error: &HomeError) -> Option<String> {
    match error {
        HomeError::Unusable { source, .. } => {
            remedy(source).or_else(|| Some("set HARNESS_HOME to a folder that you can write to".to_owned()))
        }
        _ => None,
    }
}

fn refusal_hint(body: &ErrorBody, ui: &Ui) -> Option<String> {
    match &body.code {
        ErrorCode::NoSuchService { suggestion, .. } => Some(match suggestion {
            Some(name) => format!("did you mean `{name}`?"),
            None => format!("{} lists them", ui.command("service list")),
        }),
        ErrorCode::NoSuchProject(known) if known.is_empty() => Some(ui.command("start")),
        ErrorCode::NoSuchProject(known) => {
            let names: Vec<&str> = known.iter().map(harness_model::ProjectName::as_str).collect();
            let meant = ui.project().and_then(|given| nearest(given, &names));
            Some(match meant {
                Some(name) => format!("did you mean `{name}`? Known projects: {}", names.join(", ")),
                None => format!("harness start, or -p with one of: {}", names.join(", ")),
            })
        }
        ErrorCode::NotRunning => Some(ui.command("start")),
        ErrorCode::NameTaken => Some("-p NAME gives this project another name".to_owned()),
        ErrorCode::Version => Some("harness daemon restart (services keep running)".to_owned()),
        ErrorCode::Internal => Some("harness daemon logs".to_owned()),
        _ => None,
    }
}

fn refusal_code(body: &ErrorBody) -> Value {
    match serde_json::to_value(&body.code) {
        Ok(Value::Object(variant)) => variant.keys().next().cloned().into(),
        Ok(word) => word,
        Err(_) => Value::Null,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(code: ErrorCode) -> CliError {
        CliError::Client(ClientError::Refused(ErrorBody {
            code,
            message: "there is no service `dbb` in project `shop`".into(),
            hint: None,
        }))
    }

    #[test]
    fn a_mistyped_service_gets_a_suggestion_in_words_and_in_json() {
        let error = refused(ErrorCode::NoSuchService {
            name: "dbb".into(),
            suggestion: harness_model::ServiceName::new("db").ok(),
        });
        let ui = Ui::plain();
        assert_eq!(
            error.words(&ui),
            "error: there is no service `dbb` in project `shop`\n  next: did you mean `db`?\n"
        );
        let json = error.json(&ui);
        assert_eq!(json["error"]["code"], "no_such_service");
        assert_eq!(json["error"]["exit_code"], 4);
        assert_eq!(json["error"]["suggestion"], "db");
        assert_eq!(json["error"]["hint"], "did you mean `db`?");
    }

    #[test]
    fn causes_are_told() {
        let error = CliError::io("read", "/nowhere")(std::io::Error::other("disk on fire"));
        assert_eq!(
            error.words(&Ui::plain()),
            "error: cannot read /nowhere: disk on fire\n"
        );
    }

    #[test]
    fn a_bare_stop_names_both() {
        let words = CliError::StopWhat.words(&Ui::plain());
        assert!(words.contains("harness stop SERVICE…"), "{words}");
        assert!(words.contains("harness stop --all"), "{words}");
    }
}
