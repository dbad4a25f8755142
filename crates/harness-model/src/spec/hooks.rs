//! Commands to run before and after a service starts and stops.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::millis;
use crate::template::Template;

/// Commands to run before and after a service starts and stops. They belong to one generation of the service, and end
/// with it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Hooks {
    /// Runs before its process is launched. If it fails, the start fails.
    pub before_start: Option<HookCommand>,
    /// Runs after the service became healthy (without a probe: after it started).
    pub after_healthy: Option<HookCommand>,
    /// Runs before the stop signal.
    pub before_stop: Option<HookCommand>,
    /// Runs after the service is gone, however it ended, and before it starts again.
    pub after_stop: Option<HookCommand>,
}

impl Hooks {
    /// The hooks that are set.
    pub fn commands(&self) -> impl Iterator<Item = &HookCommand> {
        let all = [
            &self.before_start,
            &self.after_healthy,
            &self.before_stop,
            &self.after_stop,
        ];
        all.into_iter().flatten()
    }

    /// The hooks that are set, mutable.
    pub fn commands_mut(&mut self) -> impl Iterator<Item = &mut HookCommand> {
        let all = [
            &mut self.before_start,
            &mut self.after_healthy,
            &mut self.before_stop,
            &mut self.after_stop,
        ];
        all.into_iter().flatten()
    }
}

/// One hook.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(from = "Written", into = "Written")]
pub struct HookCommand {
    /// The program and its arguments.
    pub words: Vec<Template>,
    /// How long it may take, if the file says so.
    pub timeout: Option<Duration>,
}

impl HookCommand {
    /// How long a hook may take by default.
    pub const TIMEOUT: Duration = Duration::from_secs(60);

    /// How long it may take.
    pub fn limit(&self) -> Duration {
        self.timeout.unwrap_or(Self::TIMEOUT)
    }
}

/// Without a timeout, a hook is stored as it was before timeouts existed, so that the digest of its service stays the
/// same.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
enum Written {
    Words(Vec<Template>),
    Timed {
        words: Vec<Template>,
        #[serde(with = "millis")]
        #[schemars(with = "u64")]
        timeout: Duration,
    },
}

impl From<Written> for HookCommand {
    fn from(written: Written) -> Self {
        match written {
            Written::Words(words) => Self { words, timeout: None },
            Written::Timed { words, timeout } => Self {
                words,
                timeout: Some(timeout),
            },
        }
    }
}

impl From<HookCommand> for Written {
    fn from(hook: HookCommand) -> Self {
        let HookCommand { words, timeout } = hook;
        match timeout {
            None => Self::Words(words),
            Some(timeout) => Self::Timed { words, timeout },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hook_without_a_timeout_is_written_as_ever() {
        let old = r#"{"before_start":[[{"text":"true"}]],"after_healthy":null,"before_stop":null,"after_stop":null}"#;
        let mut hooks: Hooks = serde_json::from_str(old).unwrap();
        assert_eq!(serde_json::to_string(&hooks).unwrap(), old);
        let hook = hooks.before_start.as_mut().unwrap();
        assert_eq!(hook.limit(), HookCommand::TIMEOUT);
        hook.timeout = Some(Duration::from_millis(1500));
        let text = serde_json::to_string(&hooks).unwrap();
        assert!(
            text.contains(r#"{"words":[[{"text":"true"}]],"timeout":1500}"#),
            "{text}"
        );
        assert_eq!(serde_json::from_str::<Hooks>(&text).unwrap(), hooks);
    }
}
