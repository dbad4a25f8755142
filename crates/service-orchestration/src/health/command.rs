//! The command check: a command at the service's place exits with 0.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use async_trait::async_trait;
use harness_model::ExitStatus;

use super::Prober;
use super::connect::within;
use crate::machine::ProbeOutcome;

/// How a command ended and what it said last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandAnswer {
    /// How it ended.
    pub exit: ExitStatus,
    /// The end of its output, both streams; a few lines are enough.
    pub tail: String,
}

/// Runs the command once, at the place of its service. It is given the time it has; at the end of that time its
/// future is dropped, which must end the command. The error is why it could not be run at all, in one line.
pub type CommandRunner = Box<
    dyn Fn(Duration) -> Pin<Box<dyn Future<Output = Result<CommandAnswer, String>> + Send>> + Send + Sync,
>;

/// Asks by running a command; made by [`command`].
pub struct CommandProbe {
    description: String,
    run: CommandRunner,
}

/// A probe that runs a command. `description` is what people see of it (`pg_isready`), so it is redacted by the
/// caller; how it is run is the caller's business, because only the executor knows the place of its service.
pub fn command(description: impl Into<String>, run: CommandRunner) -> CommandProbe {
    CommandProbe {
        description: description.into(),
        run,
    }
}

impl fmt::Debug for CommandProbe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("CommandProbe").field(&self.description).finish()
    }
}

#[async_trait]
impl Prober for CommandProbe {
    async fn probe(&self, timeout: Duration) -> ProbeOutcome {
        let run = async {
            match (self.run)(timeout).await {
                Ok(answer) if answer.exit.success() => ProbeOutcome::Healthy,
                Ok(answer) => ProbeOutcome::Unhealthy(bad_exit(&answer)),
                Err(reason) => ProbeOutcome::Unknown(reason),
            }
        };
        within(timeout, run).await
    }

    fn describe(&self) -> String {
        format!("command {}", self.description)
    }
}

/// `exited 2: connection to server failed`.
fn bad_exit(answer: &CommandAnswer) -> String {
    let how = answer.exit.to_string();
    match answer
        .tail
        .lines()
        .rev()
        .map(str::trim)
        .find(|line| !line.is_empty())
    {
        Some(line) => format!("{how}: {}", shorten(line)),
        None => how,
    }
}

/// A line that fits into a report.
fn shorten(line: &str) -> String {
    const LONGEST: usize = 200;
    match line.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line.to_owned(),
    }
}
