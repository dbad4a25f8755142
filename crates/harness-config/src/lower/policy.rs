//! Restart policies, log limits, inherited variables, hooks, resource limits: the keys that `settings` has too, and
//! similar ones.

use std::time::Duration;

use harness_model::Umask;
use harness_model::spec::{
    HookCommand, Hooks, InheritEnv, Limits, LogLimits, RestartMode, RestartPolicy, Signal, StopMode,
};
use harness_model::state::signal_number;
use harness_model::umask::InvalidUmask;

use crate::diagnostics::Finding;
use crate::fields::Fields;
use crate::keys::{HOOK, HOOKS, LIMITS, LOGS, RESTART, RESTART_WORDS, SETTINGS};
use crate::read::Reader;
use crate::suggest::did_you_mean;
use crate::tree::{Kind, Node};

/// The defaults for services.
#[derive(Debug, Clone, Default)]
pub(super) struct Settings {
    pub startup_timeout: Option<Duration>,
    pub shutdown_timeout: Option<Duration>,
    pub restart: Option<RestartPolicy>,
    pub logs: LogLimits,
    pub inherit_env: InheritEnv,
}

/// Reads `settings`.
pub(super) fn settings(reader: Reader<'_>, node: Option<&Node>) -> Settings {
    let Some(fields) = node.and_then(|node| Fields::open(reader, &SETTINGS, node)) else {
        return Settings::default();
    };
    fields.check_keys("`settings`", fields.span, None);
    Settings {
        startup_timeout: fields.positive_duration("startup_timeout"),
        shutdown_timeout: fields.duration("shutdown_timeout"),
        restart: restart(&fields),
        logs: logs(&fields, LogLimits::default()),
        inherit_env: inherit_env(&fields).unwrap_or_default(),
    }
}

fn mode(word: &str) -> RestartMode {
    match word {
        "on-failure" => RestartMode::OnFailure,
        "always" => RestartMode::Always,
        "unless-stopped" => RestartMode::UnlessStopped,
        _ => RestartMode::No,
    }
}

/// `restart`, a word or a map.
pub(super) fn restart(fields: &Fields<'_>) -> Option<RestartPolicy> {
    let node = fields.get("restart")?;
    match &node.kind {
        Kind::Map(_) => {
            let policy = fields.section("restart", &RESTART)?;
            let max_restarts = policy.whole_u32("max_restarts");
            let mode = mode(policy.choice("policy")?);
            refuse_useless_limit(&policy, mode);
            Some(RestartPolicy { mode, max_restarts })
        }
        Kind::Bool(_) | Kind::String(_) => {
            let word = fields.reader.choice(node, &RESTART_WORDS, "restart policy")?;
            Some(RestartPolicy {
                mode: mode(word),
                max_restarts: None,
            })
        }
        _ => {
            fields.wrong("restart", node);
            None
        }
    }
}

fn refuse_useless_limit(fields: &Fields<'_>, mode: RestartMode) {
    if mode == RestartMode::No && fields.has("max_restarts") {
        fields.reader.report(
            Finding::error(
                fields.key_span("max_restarts"),
                "`max_restarts` has no effect without a restart policy",
            )
            .help("write `restart: on-failure`"),
        );
    }
}

/// A service's restart policy: its own, else that of the settings, with its `max_restarts`.
pub(super) fn service_restart(fields: &Fields<'_>, settings: &Settings, oneshot: bool) -> RestartPolicy {
    let written = restart(fields);
    if oneshot
        && let Some(policy) = written
        && matches!(policy.mode, RestartMode::Always | RestartMode::UnlessStopped)
    {
        fields.reader.report(
            Finding::error(
                fields.key_span("restart"),
                "a oneshot is done when it exits 0, but this would start it again",
            )
            .help("write `restart: on-failure`, or leave `oneshot` out"),
        );
    }
    let inherited = settings.restart.filter(|_| !oneshot);
    let mut policy = written.or(inherited).unwrap_or_default();
    if fields.has("max_restarts") {
        if policy.max_restarts.is_some() && written.is_some() {
            fields.reader.report(
                Finding::error(
                    fields.key_span("max_restarts"),
                    "`max_restarts` is written twice: here and in `restart`",
                )
                .related(fields.key_span("restart"), "here"),
            );
        } else if written.is_some() || !fields.has("restart") {
            refuse_useless_limit(fields, policy.mode);
        }
        policy.max_restarts = fields.whole_u32("max_restarts");
    }
    policy
}

/// `logs`, with defaults for what is not written.
pub(super) fn logs(fields: &Fields<'_>, defaults: LogLimits) -> LogLimits {
    let Some(logs) = fields.section("logs", &LOGS) else {
        return defaults;
    };
    let max_size = logs.size("max_size");
    // A segment must be large enough for one read of the shim with its header.
    if max_size.is_some_and(|size| size < 64 * 1024) {
        logs.reader.report(Finding::error(
            logs.key_span("max_size"),
            "`max_size` must be at least 64KiB",
        ));
    }
    LogLimits {
        max_size: max_size.unwrap_or(defaults.max_size),
        max_files: logs.whole_u32("max_files").unwrap_or(defaults.max_files),
    }
}

/// `inherit_env`, a boolean or a list of names.
pub(super) fn inherit_env(fields: &Fields<'_>) -> Option<InheritEnv> {
    let node = fields.get("inherit_env")?;
    if let Kind::List(_) = node.kind {
        return Some(InheritEnv::Only(
            fields.strings("inherit_env").into_iter().collect(),
        ));
    }
    match &node.kind {
        Kind::Bool(_) | Kind::String(_) => fields
            .reader
            .bool(node)
            .map(|all| if all { InheritEnv::All } else { InheritEnv::Minimal }),
        _ => {
            fields.wrong("inherit_env", node);
            None
        }
    }
}

/// `hooks`.
pub(super) fn hooks(fields: &Fields<'_>) -> Hooks {
    let Some(hooks) = fields.section("hooks", &HOOKS) else {
        return Hooks::default();
    };
    Hooks {
        before_start: hook(&hooks, "before_start"),
        after_healthy: hook(&hooks, "after_healthy"),
        before_stop: hook(&hooks, "before_stop"),
        after_stop: hook(&hooks, "after_stop"),
    }
}

/// A hook, a command or a map.
fn hook(hooks: &Fields<'_>, key: &'static str) -> Option<HookCommand> {
    let (written, node) = hooks.entry(key)?;
    match &node.kind {
        Kind::Map(_) => {
            let hook = hooks.section(key, &HOOK)?;
            let timeout = hook.positive_duration("timeout");
            let words = hook.words("command")?;
            Some(HookCommand { words, timeout })
        }
        Kind::Null => {
            hooks.no_value(key, written);
            None
        }
        _ => Some(HookCommand {
            words: hooks.reader.words(node)?,
            timeout: None,
        }),
    }
}

/// `limits`.
pub(super) fn limits(fields: &Fields<'_>) -> Limits {
    let Some(limits) = fields.section("limits", &LIMITS) else {
        return Limits::default();
    };
    Limits {
        open_files: limits.whole("open_files"),
        processes: limits.whole("processes"),
        memory: limits.size("memory"),
        core: limits.size("core"),
        file_size: limits.size("file_size"),
        cpu_seconds: limits.whole("cpu_seconds"),
    }
}

/// `stop_signal`, a name or a number.
pub(super) fn stop_signal(fields: &Fields<'_>) -> Option<Signal> {
    let text = fields.text("stop_signal")?;
    let Some(number) = signal_number(&text.value) else {
        let names = (1..32).filter_map(harness_model::state::signal_name);
        let upper = text.value.to_ascii_uppercase();
        let full = if upper.starts_with("SIG") {
            upper
        } else {
            format!("SIG{upper}")
        };
        fields.reader.report(
            Finding::error(text.span, format!("`{}` is not a signal", text.value)).help(
                did_you_mean(&full, names)
                    .unwrap_or_else(|| "write its name or number, as in `SIGINT` or `2`".to_owned()),
            ),
        );
        return None;
    };
    Some(Signal(number))
}

/// `stop_mode`.
pub(super) fn stop_mode(fields: &Fields<'_>) -> StopMode {
    match fields.choice("stop_mode") {
        Some("group") => StopMode::Group,
        _ => StopMode::Mixed,
    }
}

/// `umask`, in octal however it is written: YAML 1.2 takes `022` for twenty-two.
pub(super) fn umask(fields: &Fields<'_>) -> Option<Umask> {
    let text = fields.text("umask")?;
    let umask = text.value.parse();
    umask
        .map_err(|error: InvalidUmask| fields.reader.report(Finding::error(text.span, error.to_string())))
        .ok()
}
