//! Programs that keep credentials: `docker-credential-<name> get` reads the server from stdin and answers in JSON.

use std::time::Duration;

use async_io::Timer;
use command_executor::process::{ProcessEvent, SpawnError};
use command_executor::{Command, Running, StdinMode};
use futures_lite::{AsyncWriteExt, FutureExt};
use harness_model::SecretString;
use serde::Deserialize;

use crate::image::progress::shortened;
use crate::registry::credentials::Credentials;

/// How long a helper may take. Some ask a service far away. None may wait for people forever.
pub(crate) const ANSWER: Duration = Duration::from_secs(20);

/// How many bytes of an answer are read.
const LONGEST: usize = 64 << 10;

/// Why a helper gave no credentials. Parts of its answer that may be secret are not shown.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HelperError {
    /// There is no such program.
    #[error(
        "it is not in the daemon's PATH ({path}): install it, or remove its name from that file and log in again"
    )]
    NotFound { path: String },
    /// The program cannot be run.
    #[error("it cannot be started")]
    Start(#[source] SpawnError),
    /// The connection to it was lost.
    #[error("lost the connection to it")]
    Follow(#[source] std::io::Error),
    /// It does not answer.
    #[error("it did not answer within {}s and was ended: its key store may be locked or unreachable", .0.as_secs_f32())]
    Late(Duration),
    /// It reports a failure.
    #[error("it failed ({status}){said}")]
    Failed { status: String, said: String },
    /// It answers something that cannot be understood.
    #[error("its answer is not a JSON object with `Username` and `Secret`")]
    Strange,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    #[serde(default)]
    username: String,
    #[serde(default)]
    secret: SecretString,
}

/// Asks a helper for the credentials of a server; `None` if it has none.
///
/// Dropping this ends the helper.
///
/// # Errors
/// When it cannot be asked, takes longer than `patience`, or does not answer as helpers should.
pub(crate) async fn get(
    program: &str,
    server: &str,
    patience: Duration,
) -> Result<Option<Credentials>, HelperError> {
    let late = async {
        Timer::after(patience).await;
        Err(HelperError::Late(patience))
    };
    let (success, status, stdout, stderr) = run(program, server).or(late).await?;
    if success {
        let answer: Answer = serde_json::from_slice(&stdout).map_err(|_| HelperError::Strange)?;
        let credentials = Credentials::told(server, program, answer.username, answer.secret);
        return Ok(Some(credentials));
    }
    let (stdout, stderr) = (String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    if stdout.to_lowercase().contains("credentials not found") {
        return Ok(None);
    }
    // Helpers complain on stdout, where secrets go too.
    let complaint = Some(stdout.trim()).filter(|said| !said.is_empty() && !said.contains(['{', '"']));
    let said = complaint.unwrap_or(stderr.trim()).lines().next();
    Err(HelperError::Failed {
        status,
        said: said.map_or_else(String::new, |line| format!(": {}", shortened(line))),
    })
}

async fn run(program: &str, server: &str) -> Result<(bool, String, Vec<u8>, Vec<u8>), HelperError> {
    let command = Command::new(program).arg("get").stdin(StdinMode::Piped);
    let mut running = Running::spawn(command).map_err(|error| match error {
        SpawnError::NotFound { path, .. } => HelperError::NotFound { path },
        error => HelperError::Start(error),
    })?;
    if let Some(mut stdin) = running.take_stdin() {
        // A helper that needs no more input does not read it. Its answer shows what happened.
        let _ = stdin.write_all(server.as_bytes()).await;
    }
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    let keep = |kept: &mut Vec<u8>, bytes: &[u8]| {
        let room = LONGEST - kept.len();
        kept.extend_from_slice(&bytes[..bytes.len().min(room)]);
    };
    loop {
        match running.next_event().await.map_err(HelperError::Follow)? {
            Some(ProcessEvent::Stdout(bytes)) => keep(&mut stdout, &bytes),
            Some(ProcessEvent::Stderr(bytes)) => keep(&mut stderr, &bytes),
            Some(ProcessEvent::Exited(status)) => {
                return Ok((status.success(), status.to_string(), stdout, stderr));
            }
            None => {
                let status = running.wait().await.map_err(HelperError::Follow)?;
                return Ok((status.success(), status.to_string(), stdout, stderr));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use futures_lite::future::block_on;

    use super::*;

    /// If another test starts a process while a script is being written, that process inherits the script's
    /// descriptor, and the script cannot be run.
    static ONE_AT_A_TIME: std::sync::Mutex<()> = std::sync::Mutex::new(());

    /// The result of a helper that is this script.
    fn asked(script: &str, patience: Duration) -> Result<Option<Credentials>, HelperError> {
        let _alone = ONE_AT_A_TIME
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("docker-credential-test");
        std::fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        block_on(get(program.to_str().unwrap(), "r.example", patience))
    }

    #[test]
    fn a_helper_gets_the_server_on_stdin_and_answers_in_json() {
        let script = r#"[ "$1 $(cat)" = "get r.example" ] && echo '{"ServerURL":"r.example","Username":"me","Secret":"sesame"}'"#;
        assert!(asked(script, ANSWER).unwrap().is_some());
        let none = asked("echo credentials not found in native keychain; exit 1", ANSWER);
        assert!(none.unwrap().is_none());
    }

    #[test]
    fn a_helper_that_does_not_help_is_explained_without_what_it_may_tell() {
        for (script, why) in [
            (
                "echo 'no key is open'; exit 3",
                "it failed (exit status: 3): no key is open",
            ),
            (
                r#"echo '{"Secret":"sesame"}'; echo oh no >&2; exit 1"#,
                "it failed (exit status: 1): oh no",
            ),
            ("echo sesame", "not a JSON object"),
            (
                r#"echo '{"Username":"me","Secret":["sesame"]}'"#,
                "not a JSON object",
            ),
        ] {
            let error = asked(script, ANSWER).unwrap_err();
            let said = format!("{error} {error:?}");
            assert!(said.contains(why) && !said.contains("sesame"), "{said}");
        }
        let began = std::time::Instant::now();
        let late = asked("sleep 60", Duration::from_millis(300)).unwrap_err();
        assert!(late.to_string().contains("did not answer within 0.3s"), "{late}");
        assert!(began.elapsed() < Duration::from_secs(30));
    }
}
