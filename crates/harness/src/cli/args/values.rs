//! Parsing of durations and moments.

use std::time::Duration;

use harness_model::WallTime;
use jiff::civil::{Date, DateTime, Time};
use jiff::tz::TimeZone;

/// A text that is not a duration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a duration is seconds (`30`, `1.5`) or a number with a unit (`500ms`, `90s`, `2m`, `1h`, `1d`)")]
pub(crate) struct InvalidDuration;

/// `30`, `1.5`, `500ms`, `90s`, `2m`, `1h30m`, `1d`.
pub(crate) fn parse_duration(text: &str) -> Result<Duration, InvalidDuration> {
    let text = text.trim();
    if let Ok(seconds) = text.parse::<f64>() {
        return Duration::try_from_secs_f64(seconds).map_err(|_| InvalidDuration);
    }
    let mut total = Duration::ZERO;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .filter(|at| *at > 0)
            .ok_or(InvalidDuration)?;
        let (number, tail) = rest.split_at(digits);
        let unit_len = tail
            .find(|c: char| !c.is_ascii_alphabetic())
            .unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(unit_len);
        let seconds = match unit {
            "ms" => 0.001,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3_600.0,
            "d" => 86_400.0,
            _ => return Err(InvalidDuration),
        };
        let number: f64 = number.parse().map_err(|_| InvalidDuration)?;
        let part = Duration::try_from_secs_f64(number * seconds).map_err(|_| InvalidDuration)?;
        total = total.checked_add(part).ok_or(InvalidDuration)?;
        rest = tail;
    }
    if text.is_empty() {
        Err(InvalidDuration)
    } else {
        Ok(total)
    }
}

/// A text that is not a moment.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "a moment is a time ago (`10m`), a time today (`14:30`), or a date and time (`2025-12-31T23:59:00Z`)"
)]
pub(crate) struct InvalidMoment;

/// A point in time, given as a time ago or as a clock time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Moment(pub(crate) WallTime);

impl std::str::FromStr for Moment {
    type Err = InvalidMoment;

    fn from_str(text: &str) -> Result<Self, InvalidMoment> {
        moment(text, WallTime::now(), &TimeZone::system()).map(Self)
    }
}

fn moment(text: &str, now: WallTime, zone: &TimeZone) -> Result<WallTime, InvalidMoment> {
    let text = text.trim();
    if let Ok(ago) = parse_duration(text.trim_start_matches('-')) {
        let ago = u64::try_from(ago.as_nanos()).unwrap_or(u64::MAX);
        return Ok(WallTime(now.0.saturating_sub(ago)));
    }
    if let Ok(timestamp) = text.parse::<jiff::Timestamp>() {
        return wall(timestamp);
    }
    let local = if let Ok(date_time) = text.parse::<DateTime>() {
        date_time
    } else if let Ok(date) = text.parse::<Date>() {
        date.to_datetime(Time::midnight())
    } else {
        let time = text.parse::<Time>().map_err(|_| InvalidMoment)?;
        let nanos = i128::from(now.0);
        let today = jiff::Timestamp::from_nanosecond(nanos).map_err(|_| InvalidMoment)?;
        today.to_zoned(zone.clone()).date().to_datetime(time)
    };
    let zoned = local.to_zoned(zone.clone()).map_err(|_| InvalidMoment)?;
    wall(zoned.timestamp())
}

fn wall(timestamp: jiff::Timestamp) -> Result<WallTime, InvalidMoment> {
    u64::try_from(timestamp.as_nanosecond())
        .map(WallTime)
        .map_err(|_| InvalidMoment)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn durations_are_read_as_people_write_them() {
        for (text, millis) in [
            ("0", 0),
            ("0s", 0),
            ("30", 30_000),
            ("1.5", 1_500),
            ("500ms", 500),
            ("90s", 90_000),
            ("2m", 120_000),
            ("1h30m", 5_400_000),
            ("1d", 86_400_000),
        ] {
            assert_eq!(parse_duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for bad in [
            "",
            "s",
            "5 m",
            "5x",
            "-1",
            "1e400",
            "m5",
            "inf",
            "nan",
            "99999999999999999999999d",
        ] {
            assert_eq!(parse_duration(bad), Err(InvalidDuration), "{bad}");
        }
    }

    #[test]
    fn moments_are_ago_or_by_the_clock() {
        let now = WallTime(1_700_000_000_000_000_000);
        let at = |text| moment(text, now, &TimeZone::UTC);
        assert_eq!(at("10s"), Ok(WallTime(1_699_999_990_000_000_000)));
        assert_eq!(
            at("2023-11-14T22:13:10Z"),
            Ok(WallTime(1_699_999_990_000_000_000))
        );
        assert_eq!(at("2023-11-14 22:13:10"), Ok(WallTime(1_699_999_990_000_000_000)));
        assert_eq!(at("22:13:10"), Ok(WallTime(1_699_999_990_000_000_000)));
        assert_eq!(at("2023-11-14"), Ok(WallTime(1_699_920_000_000_000_000)));
        assert_eq!(at("yesterday"), Err(InvalidMoment));
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "[-+0-9.:TZdhmsé eE/\\[\\]]{0,24}|\\PC{0,12}") {
            let now = WallTime(1_700_000_000_000_000_000);
            let ago = parse_duration(&text);
            if let (Ok(moment), Ok(ago)) = (moment(&text, now, &TimeZone::UTC), ago) {
                prop_assert_eq!(moment.0, now.0.saturating_sub(u64::try_from(ago.as_nanos()).unwrap_or(u64::MAX)));
            }
        }

        #[test]
        fn durations_mean_their_parts(d in 0u64..400, h in 0u64..30, m in 0u64..70, s in 0u64..70, ms in 1u64..1500) {
            let total = ((d * 24 + h) * 60 + m) * 60 + s;
            let expected = Duration::from_secs(total) + Duration::from_millis(ms);
            let read = parse_duration(&format!("{d}d{h}h{m}m{s}s{ms}ms")).unwrap();
            prop_assert!(read.abs_diff(expected) < Duration::from_nanos(10), "{:?} {:?}", read, expected);
        }

        #[test]
        fn moments_come_back_as_they_are_printed(nanos in 0u64..9_000_000_000_000_000_000) {
            let printed = jiff::Timestamp::from_nanosecond(i128::from(nanos)).unwrap().to_string();
            let read = moment(&printed, WallTime(0), &TimeZone::UTC);
            prop_assert_eq!(read, Ok(WallTime(nanos)));
        }
    }
}
