//! The command check: a command in the service's place must exit with 0.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use async_trait::async_trait;
use harness_model::ExitStatus;

use super::Prober;
use super::outcome::within;
use crate::machine::ProbeOutcome;

/// How a command ended and what it wrote last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandAnswer {
    /// How it ended.
    pub exit: ExitStatus,
    /// The end of its output, both streams; a few lines are enough.
    pub tail: String,
}

/// Runs the command once, in the place of its service. It gets the time that it may take; when that is over, its
/// future is dropped, which must end the command. The error says in one line why the command could not be run at all.
pub type CommandRunner = Box<
    dyn Fn(Duration) -> Pin<Box<dyn Future<Output = Result<CommandAnswer, String>> + Send>> + Send + Sync,
>;

/// A probe that runs a command; made by [`command`].
pub struct CommandProbe {
    run: CommandRunner,
}

/// A probe that runs a command. The caller decides how to run it, because only the executor knows the place of its
/// service.
pub fn command(run: CommandRunner) -> CommandProbe {
    CommandProbe { run }
}

impl fmt::Debug for CommandProbe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CommandProbe").finish_non_exhaustive()
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
}

/// Formats a bad exit: `exited 2: connection to server failed`.
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

#[cfg(test)]
mod tests {
    use super::*;

    fn answering(answer: Result<CommandAnswer, String>) -> CommandProbe {
        command(Box::new(move |_| {
            let answer = answer.clone();
            Box::pin(async move { answer })
        }))
    }

    fn probe(probe: &CommandProbe) -> ProbeOutcome {
        futures_lite::future::block_on(probe.probe(Duration::from_secs(10)))
    }

    fn ended(exit: ExitStatus, tail: &str) -> ProbeOutcome {
        probe(&answering(Ok(CommandAnswer {
            exit,
            tail: tail.into(),
        })))
    }

    #[test]
    fn the_exit_status_decides() {
        assert_eq!(ended(ExitStatus::Code(0), "whatever"), ProbeOutcome::Healthy);
        let bad = |text: &str| ProbeOutcome::Unhealthy(text.into());
        assert_eq!(ended(ExitStatus::Code(2), ""), bad("exited 2"));
        assert_eq!(
            ended(ExitStatus::Code(2), "one\n  two  \n\n"),
            bad("exited 2: two")
        );
        assert_eq!(ended(ExitStatus::Signal(9), ""), bad("killed by SIGKILL"));
        let long = bad(&format!("exited 1: {}…", "é".repeat(200)));
        assert_eq!(ended(ExitStatus::Code(1), &"é".repeat(300)), long);
    }

    #[test]
    fn a_command_that_could_not_run_tells_nothing() {
        let outcome = probe(&answering(Err("pg_isready: not found".into())));
        assert_eq!(outcome, ProbeOutcome::Unknown("pg_isready: not found".into()));
    }

    #[test]
    fn a_command_is_dropped_at_its_timeout() {
        let running = std::sync::Arc::new(());
        let held = std::sync::Arc::clone(&running);
        let slow = command(Box::new(move |_| {
            let held = std::sync::Arc::clone(&held);
            Box::pin(async move {
                let _held = held;
                futures_lite::future::pending().await
            })
        }));
        let outcome = futures_lite::future::block_on(slow.probe(Duration::from_millis(20)));
        assert_eq!(outcome, ProbeOutcome::Unhealthy("no answer within 20ms".into()));
        assert_eq!(
            std::sync::Arc::strong_count(&running),
            2,
            "the future of the command is gone"
        );
    }
}
