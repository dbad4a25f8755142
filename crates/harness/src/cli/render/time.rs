//! Durations and instants as people read them.

use std::time::Duration;

use harness_model::WallTime;
use jiff::tz::TimeZone;
use serde::Serialize;
use serde_json::{Value, json};

/// How long something took: `40ms`, `0.8s`, `2m 5s`, `1h 3m`.
pub(crate) fn seconds(duration: Duration) -> String {
    let millis = duration.as_millis();
    match millis {
        0..100 => format!("{millis}ms"),
        100..59_950 => format!("{:.1}s", duration.as_secs_f64()),
        _ => whole_seconds(duration),
    }
}

/// The same without fractions: `56s`, `2m 5s`.
pub(crate) fn whole_seconds(duration: Duration) -> String {
    let rounded = duration.as_secs_f64().round() as u64;
    age(rounded)
}

/// How long something has lasted: `42s`, `3m 20s`, `2h 15m`, `4d 3h`.
pub(crate) fn age(seconds: u64) -> String {
    let (minutes, hours, days) = (seconds / 60, seconds / 3_600, seconds / 86_400);
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3_600 => two(minutes, "m", seconds % 60, "s"),
        3_600..86_400 => two(hours, "h", minutes % 60, "m"),
        _ => two(days, "d", hours % 24, "h"),
    }
}

fn two(big: u64, big_unit: &str, small: u64, small_unit: &str) -> String {
    if small == 0 {
        format!("{big}{big_unit}")
    } else {
        format!("{big}{big_unit} {small}{small_unit}")
    }
}

/// An instant for sorting and searching: `2025-12-31T23:59:00.123+01:00`.
pub(crate) fn timestamp(time: WallTime, zone: &TimeZone) -> String {
    match zoned(time, zone) {
        Some(zoned) => zoned.strftime("%Y-%m-%dT%H:%M:%S%.3f%:z").to_string(),
        None => time.0.to_string(),
    }
}

/// The keys in the daemon's messages that hold an instant.
const INSTANTS: [&str; 3] = ["time", "started_at", "certificate_expires_at"];

/// A message of the daemon as JSON for programs. Instants are nanoseconds on the wire and RFC 3339 here.
pub(crate) fn with_instants(message: &impl Serialize) -> Value {
    let mut value = json!(message);
    rewrite(&mut value);
    value
}

fn rewrite(value: &mut Value) {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                match value.as_u64() {
                    Some(nanos) if INSTANTS.contains(&key.as_str()) => {
                        *value = timestamp(WallTime(nanos), &TimeZone::UTC).into();
                    }
                    _ => rewrite(value),
                }
            }
        }
        Value::Array(values) => values.iter_mut().for_each(rewrite),
        _ => {}
    }
}

/// A recent instant: `Dec 31 23:59:00`.
pub(crate) fn clock(time: WallTime, zone: &TimeZone) -> String {
    match zoned(time, zone) {
        Some(zoned) => zoned.strftime("%b %e %H:%M:%S").to_string(),
        None => time.0.to_string(),
    }
}

fn zoned(time: WallTime, zone: &TimeZone) -> Option<jiff::Zoned> {
    let timestamp = jiff::Timestamp::from_nanosecond(i128::from(time.0)).ok()?;
    Some(timestamp.to_zoned(zone.clone()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_short() {
        for (millis, text) in [
            (40, "40ms"),
            (800, "0.8s"),
            (6_249, "6.2s"),
            (59_940, "59.9s"),
            (59_960, "1m"),
            (125_000, "2m 5s"),
            (3_780_000, "1h 3m"),
        ] {
            assert_eq!(seconds(Duration::from_millis(millis)), text);
        }
        assert_eq!(whole_seconds(Duration::from_millis(55_900)), "56s");
        assert_eq!(age(8_100), "2h 15m");
        assert_eq!(age(360_000), "4d 4h");
        assert_eq!(age(0), "0s");
    }

    #[test]
    fn instants_have_a_zone() {
        let time = WallTime(1_700_000_000_123_456_789);
        assert_eq!(timestamp(time, &TimeZone::UTC), "2023-11-14T22:13:20.123+00:00");
        assert_eq!(clock(time, &TimeZone::UTC), "Nov 14 22:13:20");
    }

    #[test]
    fn programs_read_instants_with_a_zone_wherever_they_stand() {
        let message =
            json!({"events": [{"time": 1_700_000_000_123_456_789_u64, "pid": 7}], "started_at": null});
        assert_eq!(
            with_instants(&message),
            json!({"events": [{"time": "2023-11-14T22:13:20.123+00:00", "pid": 7}], "started_at": null})
        );
    }
}
