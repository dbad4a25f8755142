//! Short progress messages of a pull or build, not too often.

use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, Instant};

use bollard::models::ProgressDetail;
use service_orchestration::executor::LaunchLink;

/// The shortest pause between two messages.
const PAUSE: Duration = Duration::from_secs(1);

/// The most characters in the last part of a message.
const WIDTH: usize = 80;

const MB: f64 = 1e6;

/// Passes messages on: the first at once, then no more than one a second.
pub(crate) struct Throttled<'a> {
    link: Option<&'a LaunchLink>,
    last: Option<Instant>,
}

impl<'a> Throttled<'a> {
    pub(crate) fn new(link: Option<&'a LaunchLink>) -> Self {
        Self { link, last: None }
    }

    pub(crate) fn say(&mut self, words: impl FnOnce() -> String) {
        if self.last.is_none_or(|last| last.elapsed() >= PAUSE) {
            self.say_at_once(words());
        }
    }

    /// Passes on a message that must not be missed.
    pub(crate) fn say_at_once(&mut self, words: String) {
        self.last = Some(Instant::now());
        if let Some(link) = self.link {
            link.say(words);
        }
    }
}

/// The progress of an image's layers: `: 3.1 of 12.0 MB, 2 of 5 layers`.
#[derive(Debug, Default)]
pub(crate) struct Layers(BTreeMap<String, Layer>);

#[derive(Debug, Default)]
struct Layer {
    here: i64,
    size: i64,
    done: bool,
}

impl Layers {
    /// Takes a message of the engine.
    pub(crate) fn note(&mut self, id: Option<String>, status: Option<&str>, detail: Option<ProgressDetail>) {
        let (Some(id), Some(status)) = (id, status) else {
            return;
        };
        match status {
            "Pulling fs layer" | "Waiting" => {
                self.0.entry(id).or_default();
            }
            "Downloading" => {
                let layer = self.0.entry(id).or_default();
                let detail = detail.unwrap_or_default();
                layer.size = detail.total.unwrap_or(layer.size).max(layer.size);
                layer.here = detail.current.unwrap_or(layer.here);
            }
            "Download complete" | "Extracting" => {
                let layer = self.0.entry(id).or_default();
                layer.here = layer.size;
            }
            "Pull complete" | "Already exists" => {
                let layer = self.0.entry(id).or_default();
                layer.here = layer.size;
                layer.done = true;
            }
            _ => {}
        }
    }
}

impl fmt::Display for Layers {
    #[expect(clippy::cast_precision_loss, reason = "a tenth of a megabyte is exact enough")]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let megabytes = |of: fn(&Layer) -> i64| self.0.values().map(of).sum::<i64>() as f64 / MB;
        let (here, size) = (megabytes(|layer| layer.here), megabytes(|layer| layer.size));
        let done = self.0.values().filter(|layer| layer.done).count();
        match self.0.len() {
            0 => Ok(()),
            all if size == 0.0 => write!(f, ": {done} of {all} layers"),
            all => write!(f, ": {here:.1} of {size:.1} MB, {done} of {all} layers"),
        }
    }
}

/// The beginning of a line, which may be long.
pub(crate) fn shortened(line: &str) -> String {
    let mut chars = line.chars();
    let start: String = chars.by_ref().take(WIDTH).collect();
    if chars.next().is_some() {
        format!("{start}…")
    } else {
        start
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_are_added_up() {
        let mut layers = Layers::default();
        assert_eq!(layers.to_string(), "");
        let mut note = |id: &str, status: &str, current: Option<i64>, total: Option<i64>| {
            let detail = ProgressDetail { current, total };
            layers.note(Some(id.to_owned()), Some(status), Some(detail));
            layers.to_string()
        };
        note("a", "Pulling fs layer", None, None);
        assert_eq!(note("b", "Already exists", None, None), ": 1 of 2 layers");
        assert_eq!(
            note("a", "Downloading", Some(500_000), Some(2_000_000)),
            ": 0.5 of 2.0 MB, 1 of 2 layers"
        );
        note("a", "Download complete", None, None);
        assert_eq!(
            note("a", "Pull complete", None, None),
            ": 2.0 of 2.0 MB, 2 of 2 layers"
        );
    }

    #[test]
    fn reports_come_at_once_and_then_seldom() {
        let (link, heard) = LaunchLink::new();
        let mut said = Throttled::new(Some(&link));
        said.say(|| "first".to_owned());
        said.say(|| "second".to_owned());
        assert_eq!(heard.try_recv().ok().as_deref(), Some("first"));
        assert!(heard.try_recv().is_err());
        assert_eq!(shortened(&"x".repeat(100)).chars().count(), WIDTH + 1);
    }
}
