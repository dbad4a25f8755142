//! The keys of `type: clock` and of its health check, and what they mean.

use harness_config::{Key, Mistake, ProbeType, ServiceType, Shape};
use harness_model::spec::{Setting, Settings};
use serde::Deserialize;

/// The shortest time between two ticks, in milliseconds.
const SHORTEST: u64 = 10;

/// `type: clock`.
pub(crate) static CLOCK: ServiceType = ServiceType {
    name: "clock",
    keys: &[
        Key::new("every", Shape::Duration, "The time between two ticks."),
        Key::new("say", Shape::Text, "What it says at each tick.").or("`tick`"),
    ],
    required: &["every"],
    lacks: &[
        "env",
        "env_file",
        "inherit_env",
        "files",
        "ports",
        "stdin",
        "tty",
        "stop_signal",
        "stop_mode",
    ],
    check,
};

/// `health_check: {ticks: 3}`.
pub(crate) static TICKS: ProbeType = ProbeType {
    key: Key::new(
        "ticks",
        Shape::Whole {
            min: 1,
            max: 1_000_000,
        },
        "How often a clock must have ticked.",
    ),
    check: |_| Vec::new(),
};

/// The settings of a clock.
#[derive(Debug, Deserialize)]
pub(crate) struct ClockSettings {
    /// The time between two ticks, in milliseconds.
    pub(crate) every: u64,
    /// What it says at each tick.
    #[serde(default = "tick")]
    pub(crate) say: String,
}

fn tick() -> String {
    "tick".to_owned()
}

/// Finds what the shapes of the keys do not show.
pub(crate) fn check(settings: &Settings) -> Vec<Mistake> {
    let too_short = match settings.0.get("every") {
        Some(Setting::Number(every)) => every.as_u64().is_none_or(|every| every < SHORTEST),
        _ => false,
    };
    let mistake = Mistake::at("every", "a clock cannot tick as often as that");
    too_short
        .then(|| mistake.help(format!("write at least `{SHORTEST}ms`")))
        .into_iter()
        .collect()
}
