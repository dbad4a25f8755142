//! How a container is asked to end.

use std::time::Duration;

use harness_model::ServiceSpec;
use harness_model::spec::Signal;
use harness_model::state::signal_name;

/// How a container is asked to end.
#[derive(Debug, Clone, Copy)]
pub(crate) struct StopPolicy {
    pub(crate) signal: Signal,
    /// Where the signal comes from.
    pub(super) origin: &'static str,
    pub(super) grace: Duration,
}

impl StopPolicy {
    /// As its specification says, or else its image, or else as usual.
    pub(crate) fn of(spec: &ServiceSpec, image: Option<i32>) -> Self {
        let (signal, origin) = match (spec.stop_signal, image) {
            (Some(signal), _) => (signal, "its file"),
            (None, Some(number)) => (Signal(number), "its image"),
            (None, None) => (Signal::default(), "default"),
        };
        Self {
            signal,
            origin,
            grace: spec.shutdown_timeout,
        }
    }

    /// Its signal in words.
    pub(super) fn shown(&self) -> String {
        let number = self.signal.0;
        signal_name(number).map_or_else(|| number.to_string(), str::to_owned)
    }
}
