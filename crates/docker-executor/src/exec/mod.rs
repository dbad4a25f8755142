//! Commands inside a container: `exec`, and the commands of health checks.
//!
//! The engine cannot end a command; see `processes`.

pub(crate) mod processes;
pub(crate) mod refused_command;

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use async_channel::{Receiver, Sender};
use async_io::Timer;
use async_trait::async_trait;
use blocking::unblock;
use bollard::container::LogOutput;
use bollard::exec::{ResizeExecOptions, StartExecOptions, StartExecResults};
use bollard::models::{ExecConfig, ExecInspectResponse};
use futures_lite::{AsyncWriteExt, StreamExt};
use harness_model::SecretString;
use rustix::process::Signal;
use service_orchestration::executor::{PlaceCommand, Session, SessionError, SessionEvent, SessionStdin};

use crate::container::body::assignments;
use crate::container::follow::exit_status;
use crate::engine::bridge::{self, Task};
use crate::engine::{Engine, EngineError};
use crate::exec::refused_command::{Held, Refused};

/// The byte that Ctrl-C is on a terminal.
const INTERRUPT: u8 = 3;

/// How many pieces of output are on their way to the reader at once.
const PIECES: usize = 16;

/// How long the engine may take to know how a command ended after its output is over.
const EXIT_KNOWN: Duration = Duration::from_secs(10);

const SOON: Duration = Duration::from_millis(10);

/// A command that runs in a container.
pub(crate) struct ContainerSession {
    command: Arc<Command>,
    events: Receiver<SessionEvent>,
    stdin: Option<ContainerStdin>,
    reading: Task,
    ended: bool,
}

struct Command {
    engine: Arc<Engine>,
    container: String,
    id: String,
    program: String,
    /// The mark that all of its processes have in their environment.
    mark: String,
    terminal: bool,
    /// To its stdin. On a terminal this also carries a Ctrl-C.
    input: Sender<Vec<u8>>,
    /// The columns and rows that its terminal should have.
    size: std::sync::Mutex<(u16, u16)>,
    /// Held while they are being passed on.
    sizing: async_lock::Mutex<()>,
}

/// Starts a command in a container. Unless given otherwise, it runs as the user and in the folder of the container's
/// main program.
pub(crate) async fn start(
    engine: &Arc<Engine>,
    container: &str,
    command: &PlaceCommand,
    env: &BTreeMap<String, SecretString>,
) -> Result<ContainerSession, EngineError> {
    let mut env = env.clone();
    env.extend(
        command
            .env
            .iter()
            .map(|(name, value)| (name.clone(), value.clone())),
    );
    let mark = processes::mark(container);
    env.insert(processes::MARK.to_owned(), SecretString::new(mark.as_str()));
    let terminal = command.terminal.is_some();
    let config = ExecConfig {
        attach_stdin: Some(command.stdin || terminal),
        attach_stdout: Some(true),
        attach_stderr: Some(true),
        tty: Some(terminal),
        env: Some(assignments(&env)),
        cmd: Some(command.words.clone()),
        user: command.user.clone(),
        working_dir: command.working_dir.clone(),
        ..ExecConfig::default()
    };
    let program = command.words.first().map_or("", String::as_str);
    let what = format!("`{program}`");
    let created = engine
        .ask("run", &what, |docker| async move {
            docker.create_exec(container, config).await
        })
        .await?;
    let id = created.id;
    let options = StartExecOptions {
        tty: terminal,
        ..StartExecOptions::default()
    };
    let started = engine
        .ask("run", &what, |docker| {
            let id = id.clone();
            async move { docker.start_exec(&id, Some(options)).await }
        })
        .await?;
    let (input, inputs) = async_channel::bounded::<Vec<u8>>(1);
    let command_ = Arc::new(Command {
        engine: Arc::clone(engine),
        container: container.to_owned(),
        id,
        program: program.to_owned(),
        mark,
        terminal,
        input: input.clone(),
        size: std::sync::Mutex::new(command.terminal.unwrap_or_default()),
        sizing: async_lock::Mutex::new(()),
    });
    let (out, events) = async_channel::bounded(PIECES);
    let StartExecResults::Attached {
        output,
        input: writer,
    } = started
    else {
        // Only a detached command is not attached.
        return Err(EngineError::Refused {
            operation: "attach to",
            what,
            status: 0,
            message: "the engine returned no streams".to_owned(),
        });
    };
    let mut writer = bridge::writer(writer);
    Task::spawn(async move {
        while let Ok(bytes) = inputs.recv().await {
            let written = async {
                writer.write_all(&bytes).await?;
                writer.flush().await
            };
            if bytes.is_empty() || written.await.is_err() {
                break;
            }
        }
        // The command may have ended before its input.
        let _ = writer.close().await;
    });
    if !command.stdin {
        // There is no input. A terminal stays open, because closing it would hang up the command.
        if !terminal {
            let _ = input.try_send(Vec::new());
        }
    }
    let reader = Arc::clone(&command_);
    let reading = Task::spawn(async move {
        let sizing = async {
            if terminal {
                reader.resize().await;
            }
        };
        futures_lite::future::zip(sizing, reader.read(output, &out)).await;
    });
    Ok(ContainerSession {
        command: command_,
        events,
        stdin: command.stdin.then(|| ContainerStdin(input)),
        reading,
        ended: false,
    })
}

type Output =
    std::pin::Pin<Box<dyn futures_lite::Stream<Item = Result<LogOutput, bollard::errors::Error>> + Send>>;

impl Command {
    /// Passes on its output, and how it ended.
    async fn read(&self, mut output: Output, out: &Sender<SessionEvent>) {
        // The engine's word that it did not run comes as output, on stdout.
        let mut held = Held::default();
        while let Some(piece) = output.next().await {
            let event = match piece {
                Ok(LogOutput::StdErr { message }) => SessionEvent::Stderr(message.to_vec()),
                Ok(
                    LogOutput::StdOut { message }
                    | LogOutput::Console { message }
                    | LogOutput::StdIn { message },
                ) => SessionEvent::Stdout(held.take(message.to_vec())),
                Err(error) => {
                    tracing::debug!(%error, "the output of a command broke off");
                    break;
                }
            };
            if !matches!(&event, SessionEvent::Stdout(bytes) if bytes.is_empty())
                && out.send(event).await.is_err()
            {
                return;
            }
        }
        let began = std::time::Instant::now();
        while began.elapsed() < EXIT_KNOWN {
            match self.inspect().await {
                Ok(state) if state.running != Some(true) && state.exit_code.is_some() => {
                    let mut exit = exit_status(state.exit_code.unwrap_or(-1));
                    let (refused, rest) = (held.refused(&self.program, exit), held.release());
                    let last = match refused {
                        Some(Refused { exit: code, words }) => {
                            exit = code;
                            SessionEvent::Stderr(format!("{words}\n").into_bytes())
                        }
                        None => SessionEvent::Stdout(rest),
                    };
                    if !matches!(&last, SessionEvent::Stdout(bytes) if bytes.is_empty()) {
                        let _ = out.send(last).await;
                    }
                    // There may be nobody left who wants to know.
                    let _ = out.send(SessionEvent::Exited(exit)).await;
                    return;
                }
                Ok(_) => Timer::after(SOON).await,
                Err(error) => {
                    tracing::warn!(%error, "cannot find out how a command in a container ended");
                    break;
                }
            };
        }
        let _ = out.send(SessionEvent::Stdout(held.release())).await;
    }

    async fn inspect(&self) -> Result<ExecInspectResponse, EngineError> {
        self.engine
            .ask("inspect", "a command", |docker| async move {
                docker.inspect_exec(&self.id).await
            })
            .await
    }

    /// Gives its terminal the size that was last wanted. It does this one at a time: an engine carries out
    /// simultaneous requests in any order.
    async fn resize(&self) {
        let _turn = self.sizing.lock().await;
        // It gets its terminal only a moment after it was started.
        for _ in 0..50 {
            let (width, height) = *self.size.lock().unwrap_or_else(PoisonError::into_inner);
            let options = ResizeExecOptions { height, width };
            let resized = self.engine.ask("resize", "a terminal", |docker| async move {
                docker.resize_exec(&self.id, options).await
            });
            if resized.await.is_ok() {
                return;
            }
            Timer::after(SOON).await;
        }
    }

    async fn signal(&self, signal: Signal) {
        match self.inspect().await {
            Ok(state) if state.running == Some(true) => {
                let pid = state.pid.and_then(|pid| i32::try_from(pid).ok());
                let container = self.container.clone();
                unblock(move || processes::signal(pid, &container, signal)).await;
            }
            Ok(_) => {}
            Err(error) => tracing::debug!(%error, "cannot signal a command in a container"),
        }
    }

    /// Kills it and what it started.
    async fn kill(&self) {
        self.signal(Signal::KILL).await;
        let (container, mark) = (self.container.clone(), self.mark.clone());
        unblock(move || processes::kill_marked(&container, &mark)).await;
    }
}

impl ContainerSession {
    /// Kills the command and what it started, as far as that can be found. Returns when they have been killed.
    pub(crate) async fn end(mut self) {
        if !std::mem::replace(&mut self.ended, true) {
            self.reading.abort();
            self.command.kill().await;
        }
    }
}

#[async_trait]
impl Session for ContainerSession {
    fn take_stdin(&mut self) -> Option<Box<dyn SessionStdin>> {
        let stdin = self.stdin.take()?;
        Some(Box::new(stdin))
    }

    async fn next(&mut self) -> Option<SessionEvent> {
        if self.ended {
            return None;
        }
        let event = self.events.recv().await.ok();
        self.ended = matches!(event, None | Some(SessionEvent::Exited(_)));
        event
    }

    fn resize(&self, columns: u16, rows: u16) -> Result<(), SessionError> {
        let command = Arc::clone(&self.command);
        *command.size.lock().unwrap_or_else(PoisonError::into_inner) = (columns, rows);
        Task::spawn(async move { command.resize().await });
        Ok(())
    }

    fn signal(&self, signal: i32) -> Result<(), SessionError> {
        let Some(signal) = Signal::from_named_raw(signal) else {
            return Err(SessionError {
                operation: "send the signal",
                source: std::io::ErrorKind::InvalidInput.into(),
            });
        };
        let command = Arc::clone(&self.command);
        Task::spawn(async move {
            if command.terminal && signal == Signal::INT {
                // If a terminal takes no more input, there is nobody to interrupt.
                let _ = command.input.send(vec![INTERRUPT]).await;
            } else {
                command.signal(signal).await;
            }
        });
        Ok(())
    }
}

impl Drop for ContainerSession {
    fn drop(&mut self) {
        if !self.ended {
            self.reading.abort();
            let command = Arc::clone(&self.command);
            Task::spawn(async move { command.kill().await });
        }
        self.command.input.close();
    }
}

/// The stdin of a command. Dropping it closes the stdin.
struct ContainerStdin(Sender<Vec<u8>>);

#[async_trait]
impl SessionStdin for ContainerStdin {
    async fn write(&mut self, bytes: &[u8]) -> Result<(), SessionError> {
        if bytes.is_empty() {
            return Ok(());
        }
        self.0.send(bytes.to_vec()).await.map_err(|_| SessionError {
            operation: "write to stdin",
            source: std::io::ErrorKind::BrokenPipe.into(),
        })
    }
}

impl Drop for ContainerStdin {
    fn drop(&mut self) {
        let input = self.0.clone();
        // An empty piece marks the end. It is queued behind what was written.
        Task::spawn(async move {
            let _ = input.send(Vec::new()).await;
        });
    }
}
