//! The JSON files of a home: `daemon.json`, `project.json`, `record.json`.

use harness_core::daemon_info::DaemonInfoError;
use harness_core::{DaemonInfo, Home};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use service_registry::record::{ProjectRecord, ServiceRecord};

use crate::folder;

pub(crate) const WORDS: &[&str] = &[
    "{\"format\":1,\"record\":",
    "\"spec\":",
    "\"kind\":",
    "\"process\":",
    "\"env\":",
    "\"addresses\":",
    "\"generation\":",
    "\"restarts\":",
    "\"pid\":",
    "\"exit\":",
    "\"state\":\"running\"",
    "\"failure\":",
    "\"startup_timeout\":",
    "[{\"text\":\"x\"}]",
    "[{\"secret\":\"x\"}]",
    "{\"reference\":{\"service\":\"db\",\"field\":\"ip\"}}",
    "null",
    "true",
    "[",
    "]",
    "{",
    "}",
    ",",
    "\"port\":",
    "\"boot_id\":",
    "0.1",
    "[[[[[[[[[[[[[[[[",
];

/// The format of `project.json` and `record.json`.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Kept<T> {
    format: u32,
    record: T,
}

/// A file is refused, or it says the same after it was written again, including its digests.
pub(crate) fn check(data: &[u8]) {
    again::<Kept<ProjectRecord>>(data);
    if let Some((first, second)) = again::<Kept<ServiceRecord>>(data) {
        assert_eq!(first.record.spec.digest(), second.record.spec.digest());
        let changes = first.record.spec.changes_since(&second.record.spec);
        assert_eq!(changes, Vec::<String>::new());
    }
    folder::with(|folder| {
        let home = Home::at(folder);
        std::fs::write(home.daemon_json(), data).unwrap();
        match DaemonInfo::read(&home) {
            Ok(Some(info)) => {
                info.write(&home).unwrap();
                assert_eq!(DaemonInfo::read(&home).unwrap(), Some(info));
            }
            Ok(None) => {}
            // It may be refused only because of the format that it claims to have.
            Err(DaemonInfoError::Newer { found, .. }) => assert!(found > 1),
            Err(other) => panic!("{other}"),
        }
    });
}

fn again<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(data: &[u8]) -> Option<(T, T)> {
    let first: T = serde_json::from_slice(data).ok()?;
    let written = serde_json::to_vec(&first).unwrap();
    let second: T = serde_json::from_slice(&written).unwrap();
    assert_eq!(first, second);
    assert_eq!(serde_json::to_vec(&second).unwrap(), written);
    Some((first, second))
}
