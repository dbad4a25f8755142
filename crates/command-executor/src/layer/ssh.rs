//! A host reached with the `ssh` client. The environment is sent through stdin, before the caller's bytes. A small
//! reader in the host's `sh` evaluates it, changes the directory and replaces itself with the command.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use crate::command::Command;
use crate::layer::{Layer, LayerError, check_destination};

/// Reads assignments up to the line that equals its first argument, evaluates them, and then becomes the command in
/// the rest of its arguments. `read` takes a pipe byte by byte, so what follows is left for the command.
const READER: &str = r#"_harness_env=; while IFS= read -r _harness_line && [ "$_harness_line" != "$0" ]; do
_harness_env="$_harness_env$_harness_line
"; done; eval "$_harness_env"; unset _harness_env _harness_line; exec "$@""#;

/// A host reached over SSH, with a key or an agent. It never asks for a password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ssh {
    host: String,
    user: Option<String>,
    port: Option<u16>,
    key: Option<PathBuf>,
    options: Vec<String>,
}

impl Ssh {
    /// The host with this name or address, as the client's configuration knows it.
    pub fn new(host: impl Into<String>) -> Self {
        Self {
            host: host.into(),
            user: None,
            port: None,
            key: None,
            options: Vec::new(),
        }
    }

    /// Connects as this user.
    #[must_use]
    pub fn user(mut self, user: impl Into<String>) -> Self {
        self.user = Some(user.into());
        self
    }

    /// Connects to this port.
    #[must_use]
    pub fn port(mut self, port: u16) -> Self {
        self.port = Some(port);
        self
    }

    /// Offers only this private key.
    #[must_use]
    pub fn key(mut self, path: impl Into<PathBuf>) -> Self {
        self.key = Some(path.into());
        self
    }

    /// Adds a client option in the form of `ssh -o`: `ConnectTimeout=5`, `ControlPath=…`.
    #[must_use]
    pub fn option(mut self, option: impl Into<String>) -> Self {
        self.options.push(option.into());
        self
    }

    fn text<'a>(&self, word: &'a OsStr) -> Result<&'a str, LayerError> {
        word.to_str().ok_or_else(|| LayerError::NotUtf8 {
            place: self.describe(),
            word: word.to_string_lossy().into_owned(),
        })
    }

    /// The words as one line of `sh`.
    fn quoted(&self, words: impl IntoIterator<Item = OsString>) -> Result<String, LayerError> {
        let mut line = String::new();
        for word in words {
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(&shell_words::quote(self.text(&word)?));
        }
        Ok(line)
    }

    /// The lines for the reader to evaluate, and the line that ends them.
    fn assignments(&self, command: &Command) -> Result<(String, String), LayerError> {
        let mut lines = String::new();
        for (name, value) in &command.env {
            let name = self.text(name)?;
            if !is_shell_name(name) {
                return Err(LayerError::VariableName {
                    place: self.describe(),
                    name: name.to_owned(),
                });
            }
            let value = value.to_str().ok_or_else(|| LayerError::NotUtf8 {
                place: self.describe(),
                word: name.to_owned(),
            })?;
            lines.push_str(&format!("export {name}={}\n", shell_words::quote(value)));
        }
        let mut end = String::from("end-of-environment");
        while lines.lines().any(|line| line == end) {
            end.push('.');
        }
        Ok((lines, end))
    }
}

/// Whether `sh` can assign to a variable of this name.
fn is_shell_name(name: &str) -> bool {
    let mut chars = name.chars();
    chars.next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_')
        && chars.all(|c| c.is_ascii_alphanumeric() || c == '_')
}

impl Layer for Ssh {
    fn wrap(&self, command: Command) -> Result<Command, LayerError> {
        check_destination(&self.host)?;
        if let Some(user) = &command.user
            && self.user.as_ref() != Some(user)
        {
            return Err(LayerError::UserSwitch {
                place: self.describe(),
                user: user.clone(),
            });
        }
        if command.tty.is_some() && !command.env.is_empty() {
            return Err(LayerError::EnvironmentOnTerminal {
                place: self.describe(),
            });
        }

        let mut preamble = Vec::new();
        let mut words = Vec::new();
        if !command.env.is_empty() {
            let (lines, end) = self.assignments(&command)?;
            words.extend(["sh".into(), "-c".into(), READER.into(), OsString::from(&end)]);
            preamble = format!("{lines}{end}\n").into_bytes();
        }
        words.push(command.program);
        words.extend(command.args);
        let mut line = format!("exec {}", self.quoted(words)?);
        if let Some(dir) = command.cwd {
            line = format!("cd -- {} && {line}", self.quoted([dir.into()])?);
        }
        if let Some(umask) = command.umask {
            line = format!("umask {umask:04o} && {line}");
        }
        preamble.extend(command.preamble);

        let mut outer = Command::new("ssh").args(["-o", "BatchMode=yes"]);
        for option in &self.options {
            outer = outer.arg("-o").arg(option);
        }
        if let Some(port) = self.port {
            outer = outer.arg("-p").arg(port.to_string());
        }
        if let Some(key) = &self.key {
            outer = outer.args(["-o", "IdentitiesOnly=yes", "-i"]).arg(key);
        }
        if let Some(user) = &self.user {
            outer = outer.arg("-l").arg(user);
        }
        outer = outer.arg(if command.tty.is_some() { "-tt" } else { "-T" });
        outer = outer.arg(&self.host).arg("--").arg(line);
        outer.stdin = command.stdin;
        outer.tty = command.tty;
        outer.preamble = preamble;
        Ok(outer)
    }

    fn describe(&self) -> String {
        match &self.user {
            Some(user) => format!("ssh {user}@{}", self.host),
            None => format!("ssh {}", self.host),
        }
    }
}
