//! Durations, sizes and addresses as text.

use std::net::IpAddr;
use std::time::Duration;

use harness_model::Subnet;

/// The longest duration. Longer ones are mistakes, and would overflow deadlines.
const MAX_DURATION: Duration = Duration::from_secs(366 * 24 * 3600);

/// Reads `10`, `2.5`, `500ms`, `2m`, `1h30m`.
pub(crate) fn duration(text: &str) -> Option<Duration> {
    let text = text.trim();
    let seconds = if text.ends_with(|c: char| c.is_ascii_digit()) {
        decimal(text)?
    } else {
        let mut total = 0.0;
        let mut rest = text;
        while !rest.is_empty() {
            let unit_at = rest.find(|c: char| c.is_ascii_alphabetic())?;
            let (number, tail) = rest.split_at(unit_at);
            let unit_len = tail
                .find(|c: char| !c.is_ascii_alphabetic())
                .unwrap_or(tail.len());
            let (unit, tail) = tail.split_at(unit_len);
            total += decimal(number)?
                * match unit {
                    "ms" => 0.001,
                    "s" => 1.0,
                    "m" => 60.0,
                    "h" => 3600.0,
                    "d" => 86400.0,
                    _ => return None,
                };
            rest = tail;
        }
        if text.is_empty() {
            return None;
        }
        total
    };
    // Whole milliseconds, because that is what is sent and stored.
    let millis = (seconds * 1000.0).round();
    let duration = Duration::try_from_secs_f64(millis / 1000.0).ok()?;
    (duration <= MAX_DURATION).then_some(duration)
}

/// Reads `1024`, `64MiB`, `512k`, `1.5GB` as bytes. `k`, `m`, `g`, `t` and `KiB` … count in 1024s, `KB` … in 1000s.
pub(crate) fn size(text: &str) -> Option<u64> {
    let text = text.trim();
    let unit_at = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len());
    let (number, unit) = text.split_at(unit_at);
    let factor: u64 = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "kib" => 1 << 10,
        "m" | "mib" => 1 << 20,
        "g" | "gib" => 1 << 30,
        "t" | "tib" => 1 << 40,
        "kb" => 1_000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        "tb" => 1_000_000_000_000,
        _ => return None,
    };
    let number = number.trim_end();
    if let Ok(whole) = number.parse::<u64>() {
        return whole.checked_mul(factor);
    }
    let bytes = decimal(number)? * factor as f64;
    // Above 2^53, a float cannot hold every whole number of bytes.
    (bytes < 9_007_199_254_740_992.0).then_some(bytes as u64)
}

/// A non-negative decimal number such as `2` or `2.5`; no signs, exponents or names.
fn decimal(text: &str) -> Option<f64> {
    let digits = |c: char| c.is_ascii_digit() || c == '.';
    (!text.is_empty() && text.chars().all(digits)).then(|| text.parse().ok())?
}

/// Reads a subnet in CIDR notation. A file must write the prefix length.
pub(crate) fn subnet(text: &str) -> Option<Subnet> {
    text.contains('/').then(|| text.parse().ok())?
}

/// Whether a text may be the address or DNS name of a host.
pub(crate) fn is_host(text: &str) -> bool {
    if text.parse::<IpAddr>().is_ok() {
        return true;
    }
    let looks_like_ipv4 = text.chars().all(|c| c.is_ascii_digit() || c == '.');
    !looks_like_ipv4
        && text.len() <= 253
        && text.split('.').all(|label| {
            !label.is_empty()
                && label.len() <= 63
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label
                    .chars()
                    .all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_')
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        let ms = |text: &str| duration(text).map(|d| d.as_millis());
        for (text, expected) in [
            ("10", 10_000),
            ("2.5", 2_500),
            ("500ms", 500),
            ("2m", 120_000),
            ("1h30m", 5_400_000),
            ("0", 0),
        ] {
            assert_eq!(ms(text), Some(expected), "{text}");
        }
        for bad in [
            "",
            "x",
            "-1",
            "10x",
            "m",
            "1e9",
            "nan",
            "inf",
            "10s5",
            "1 m",
            "99999999999",
            "..",
            ".",
        ] {
            assert_eq!(ms(bad), None, "{bad}");
        }
    }

    #[test]
    fn sizes() {
        for (text, expected) in [
            ("0", 0),
            ("64MiB", 64 << 20),
            ("512k", 512 << 10),
            ("1.5GB", 1_500_000_000),
            ("1 GiB", 1 << 30),
        ] {
            assert_eq!(size(text), Some(expected), "{text}");
        }
        for bad in [
            "",
            "MiB",
            "-1",
            "1XB",
            "1e3",
            "99999999999999999999",
            "18446744073709551615k",
        ] {
            assert_eq!(size(bad), None, "{bad}");
        }
    }

    #[test]
    fn subnets_and_hosts() {
        assert_eq!(subnet("192.168.1.0/24").unwrap().to_string(), "192.168.1.0/24");
        for bad in [
            "10.0.0.0",
            "10.0.0.0/33",
            "10.0.0/8",
            "x/8",
            "10.0.0.0/",
            "10.0.0.0/+8",
        ] {
            assert_eq!(subnet(bad), None, "{bad}");
        }
        assert!(is_host("db-1.example") && is_host("::1") && is_host("10.0.0.1"));
        for bad in ["", "10.0.0.300", "a b", "user@host", "-x", "a..b", "host:22"] {
            assert!(!is_host(bad), "{bad}");
        }
    }
}
