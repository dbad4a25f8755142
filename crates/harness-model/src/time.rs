//! Wall-clock instants, for people and for files. Deadlines are never computed from these.

use std::sync::OnceLock;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Nanoseconds since the Unix epoch.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize, JsonSchema,
)]
#[serde(transparent)]
pub struct WallTime(pub u64);

impl WallTime {
    /// The current time by the machine's clock.
    pub fn now() -> Self {
        Self::from(SystemTime::now())
    }

    /// The current time by a clock that nobody can set: the machine's time when this process first asked, plus the
    /// time that has passed since. For durations within this process.
    pub fn steady() -> Self {
        static BEGIN: OnceLock<(WallTime, Instant)> = OnceLock::new();
        let (wall, begin) = BEGIN.get_or_init(|| (Self::now(), Instant::now()));
        let passed = u64::try_from(begin.elapsed().as_nanos()).unwrap_or(u64::MAX);
        Self(wall.0.saturating_add(passed))
    }

    /// How long ago `earlier` was; zero if the clock was set back since then.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// Whole seconds since the epoch.
    pub fn as_secs(self) -> u64 {
        self.0 / 1_000_000_000
    }
}

impl From<SystemTime> for WallTime {
    fn from(time: SystemTime) -> Self {
        let nanos = time.duration_since(UNIX_EPOCH).map_or(0, |d| d.as_nanos());
        Self(u64::try_from(nanos).unwrap_or(u64::MAX))
    }
}
