//! What the engine's start changes on the machine, as it was before. The engine does not put it back itself.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use super::error::EnvError;
use super::firewall::Firewall;
use super::places::Places;
use crate::error::TaskError;
use crate::program::Program;

const IP_FORWARD: &str = "/proc/sys/net/ipv4/ip_forward";
const TRUST_KEY: &str = "/etc/docker/key.json";

/// The state of the machine before the engine's start.
pub(crate) struct Before {
    forward_policy: Option<String>,
    ip_forward: Option<String>,
    trust_key: bool,
    bridge: bool,
}

impl Before {
    /// Records the state, unless an earlier engine that did not end properly has already done so.
    pub(crate) fn record(places: &Places, firewall: Firewall) -> Result<(), EnvError> {
        let path = places.run("before.json");
        if path.exists() {
            return Ok(());
        }
        let record = json!({
            "forward_policy": firewall.forward_policy(),
            "ip_forward": fs::read_to_string(IP_FORWARD).ok().map(|value| value.trim().to_owned()),
            "trust_key": Path::new(TRUST_KEY).exists(),
            "bridge": has_bridge(),
        });
        Ok(fs::write(&path, record.to_string()).map_err(TaskError::file("write", path))?)
    }

    /// The recorded state.
    pub(crate) fn of(places: &Places) -> Option<Self> {
        Self::parse(&fs::read_to_string(places.run("before.json")).ok()?)
    }

    fn parse(text: &str) -> Option<Self> {
        let record: Value = serde_json::from_str(text).ok()?;
        let text = |name: &str| record[name].as_str().map(str::to_owned);
        Some(Self {
            forward_policy: text("forward_policy"),
            ip_forward: text("ip_forward"),
            trust_key: record["trust_key"].as_bool()?,
            bridge: record["bridge"].as_bool()?,
        })
    }

    /// Restores the state. What cannot be restored stays as it is, which does not prevent the next engine from
    /// starting.
    pub(crate) fn put_back(&self, firewall: Firewall) {
        firewall.clean(self.forward_policy.as_deref());
        if let Some(value) = &self.ip_forward {
            let _ = fs::write(IP_FORWARD, value);
        }
        if !self.trust_key {
            let _ = fs::remove_file(TRUST_KEY);
            // Only if nothing else is in the folder.
            let _ = Path::new(TRUST_KEY).parent().map(fs::remove_dir);
        }
        if !self.bridge && has_bridge() {
            let _ = Program::new("ip").args(["link", "delete", "docker0"]).succeeds();
        }
    }
}

/// Whether the engine's default bridge exists.
fn has_bridge() -> bool {
    // The files of /sys can show another network namespace, so do not use them.
    Program::new("ip").args(["link", "show", "docker0"]).succeeds()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_read_as_it_was_written_and_half_of_one_is_none() {
        let text = r#"{"forward_policy":"ACCEPT","ip_forward":null,"trust_key":false,"bridge":true}"#;
        let before = Before::parse(text).unwrap();
        assert_eq!(before.forward_policy.as_deref(), Some("ACCEPT"));
        assert_eq!(before.ip_forward, None);
        assert!(!before.trust_key && before.bridge);
        assert!(Before::parse(&text[..30]).is_none());
        assert!(Before::parse("{}").is_none());
    }
}
