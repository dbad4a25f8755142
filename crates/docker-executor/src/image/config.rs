//! The settings that an image has for its containers.

use std::collections::BTreeSet;
use std::time::Duration;

use bollard::models::{HealthConfig, ImageConfig};
use harness_model::Template;
use harness_model::spec::{HealthCheck, Probe};
use harness_model::state::signal_number;

/// The engine's defaults for figures that a HEALTHCHECK leaves out.
const INTERVAL: Duration = Duration::from_secs(30);
const TIMEOUT: Duration = Duration::from_secs(30);
const RETRIES: u32 = 3;

/// Runs a single-line command if the image has no SHELL.
const SHELL: [&str; 2] = ["/bin/sh", "-c"];

/// The HEALTHCHECK of an image; `None` if it has none, or says NONE.
pub(crate) fn health(image: &ImageConfig) -> Option<HealthCheck> {
    let check = image.healthcheck.as_ref()?;
    let (kind, rest) = check.test.as_deref()?.split_first()?;
    let words: Vec<String> = match kind.as_str() {
        "CMD" => rest.to_vec(),
        "CMD-SHELL" => {
            let shell = image.shell.clone().filter(|shell| !shell.is_empty());
            let shell = shell.unwrap_or_else(|| SHELL.map(str::to_owned).to_vec());
            shell.into_iter().chain(rest.iter().cloned()).collect()
        }
        _ => return None,
    };
    if words.is_empty() {
        return None;
    }
    let retries = check.retries.and_then(|retries| u32::try_from(retries).ok());
    Some(HealthCheck {
        http: Default::default(),
        probe: Probe::Command(words.into_iter().map(Template::from).collect()),
        interval: figure(check.interval).unwrap_or(INTERVAL),
        timeout: figure(check.timeout).unwrap_or(TIMEOUT),
        retries: retries.filter(|retries| *retries > 0).unwrap_or(RETRIES),
        start_period: figure(check.start_period).unwrap_or_default(),
    })
}

/// The signal of its STOPSIGNAL; `None` if it has none.
pub(crate) fn stop_signal(image: &ImageConfig) -> Option<i32> {
    let text = image.stop_signal.as_deref().filter(|text| !text.is_empty())?;
    let number = signal_number(text);
    if number.is_none() {
        tracing::warn!(signal = text, "the STOPSIGNAL of an image is not a signal");
    }
    number
}

/// The numbers of its EXPOSE, in order, each once.
pub(crate) fn exposed(image: &ImageConfig) -> Vec<u16> {
    numbers(image.exposed_ports.as_deref().unwrap_or_default())
}

/// The numbers of `PORT[/PROTOCOL]` entries, in order, each once.
pub(crate) fn numbers(entries: &[String]) -> Vec<u16> {
    let ports: BTreeSet<u16> = entries
        .iter()
        .filter_map(|entry| entry.split('/').next()?.parse().ok())
        .collect();
    ports.into_iter().collect()
}

/// Turns off the health check of the engine: we run it ourselves, and it must not run twice.
pub(crate) fn no_health() -> HealthConfig {
    HealthConfig {
        test: Some(vec!["NONE".to_owned()]),
        ..HealthConfig::default()
    }
}

/// A number of nanoseconds; 0 means that nothing is set.
fn figure(nanoseconds: Option<i64>) -> Option<Duration> {
    let nanoseconds = u64::try_from(nanoseconds?).ok()?;
    (nanoseconds > 0).then(|| Duration::from_nanos(nanoseconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(test: &[&str]) -> ImageConfig {
        let test = test.iter().map(|&word| word.to_owned()).collect();
        ImageConfig {
            healthcheck: Some(HealthConfig {
                test: Some(test),
                interval: Some(1_500_000_000),
                retries: Some(0),
                ..HealthConfig::default()
            }),
            ..ImageConfig::default()
        }
    }

    fn described(image: &ImageConfig) -> Option<String> {
        health(image).map(|check| check.probe.describe())
    }

    #[test]
    fn a_healthcheck_is_a_command_with_the_engines_figures() {
        let found = health(&image(&["CMD", "pg_isready", "-q"])).unwrap();
        assert_eq!(found.probe.describe(), "command pg_isready -q");
        assert_eq!(
            (found.interval, found.timeout, found.retries, found.start_period),
            (Duration::from_millis(1500), TIMEOUT, RETRIES, Duration::ZERO)
        );
    }

    #[test]
    fn one_line_is_for_the_images_shell() {
        let mut image = image(&["CMD-SHELL", "curl -f localhost || exit 1"]);
        assert_eq!(
            described(&image).unwrap(),
            "command /bin/sh -c curl -f localhost || exit 1"
        );
        image.shell = Some(vec!["/bin/bash".to_owned(), "-lc".to_owned()]);
        assert!(
            described(&image)
                .unwrap()
                .starts_with("command /bin/bash -lc curl")
        );
    }

    #[test]
    fn a_stop_signal_is_a_name_or_a_number() {
        let said = |text: &str| {
            let image = ImageConfig {
                stop_signal: Some(text.to_owned()),
                ..ImageConfig::default()
            };
            stop_signal(&image)
        };
        assert_eq!(said("SIGINT"), Some(2));
        assert_eq!(said("SIGRTMIN+3"), Some(37));
        assert_eq!(said("RTMAX-1"), Some(63));
        assert_eq!(said("10"), Some(10));
        for none in ["", "SIGNOTHING", "SIGRTMIN+31", "RTMIN-1", "0"] {
            assert_eq!(said(none), None, "{none}");
        }
        assert_eq!(stop_signal(&ImageConfig::default()), None);
    }

    #[test]
    fn a_port_is_exposed_once() {
        let entries = ["5432/tcp", "53/udp", "53/tcp"].map(str::to_owned);
        let image = ImageConfig {
            exposed_ports: Some(entries.to_vec()),
            ..ImageConfig::default()
        };
        assert_eq!(exposed(&image), [53, 5432]);
        assert!(exposed(&ImageConfig::default()).is_empty());
    }

    #[test]
    fn none_is_none() {
        for test in [&["NONE"][..], &[], &["CMD"], &["WHO-KNOWS", "x"]] {
            assert_eq!(health(&image(test)), None, "{test:?}");
        }
        assert_eq!(health(&ImageConfig::default()), None);
    }
}
