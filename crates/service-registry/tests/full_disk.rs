//! A full disk: it is reported, survived, and made up for later.
//!
//! The limit on the size of files (RLIMIT_FSIZE) replaces the full disk, because it makes the same calls fail.
//! SIGXFSZ must be ignored for that, which only a parent can do without unsafe code. So the test starts itself again.

#![cfg(test)]

mod common;

use std::sync::Arc;

use common::{record, service};
use futures_lite::future::block_on;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use service_registry::ServiceRecord;
use service_registry::store::{Store, StoreError};

const INSIDE: &str = "SERVICE_REGISTRY_TEST_INSIDE";

#[test]
fn a_full_disk_loses_nothing() {
    if std::env::var_os(INSIDE).is_some() {
        return inside();
    }
    #[expect(clippy::disallowed_methods, reason = "this crate cannot use command-executor")]
    let output = std::process::Command::new("sh")
        .args([
            "-c",
            "trap '' XFSZ; exec \"$0\" --exact a_full_disk_loses_nothing --nocapture",
        ])
        .arg(std::env::current_exe().unwrap())
        .env(INSIDE, "1")
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    assert!(
        String::from_utf8_lossy(&output.stdout).contains("1 passed"),
        "{output:?}"
    );
}

fn limit_files_to(bytes: Option<u64>) {
    let maximum = getrlimit(Resource::Fsize).maximum;
    setrlimit(
        Resource::Fsize,
        Rlimit {
            current: bytes,
            maximum,
        },
    )
    .unwrap();
}

fn big(name: &str) -> ServiceRecord {
    let mut record = record("shop", name);
    record.error = Some("x".repeat(100_000));
    record
}

fn inside() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state");
    let copy = folder.path().join("copy");
    let store = Store::open(&path).unwrap().store;
    store.put_service(Arc::new(record("shop", "first")));
    block_on(store.flush()).unwrap();

    let unlimited = getrlimit(Resource::Fsize).maximum;
    limit_files_to(Some(std::fs::metadata(&path).unwrap().len()));
    let names: Vec<String> = (0..50).map(|n| format!("big-{n}")).collect();
    for name in &names {
        store.put_service(Arc::new(big(name)));
    }
    let error = block_on(store.flush()).expect_err("there was room after all");
    assert!(
        matches!(
            error,
            StoreError::Database {
                operation: "write",
                ..
            }
        ),
        "{error:?}"
    );
    assert!(store.last_error().is_some());
    // What is submitted meanwhile is newer than what could not be written.
    store.remove_service(common::project("shop"), service("big-0"));
    block_on(store.flush()).expect_err("there is still no room");

    limit_files_to(unlimited);
    std::fs::copy(&path, &copy).unwrap();
    assert!(
        Store::load(&copy)
            .unwrap()
            .services
            .contains(&record("shop", "first")),
        "what was there stays"
    );

    block_on(store.flush()).unwrap();
    assert!(store.last_error().is_none());
    drop(store);
    let services = Store::load(&path).unwrap().services;
    assert_eq!(services.len(), 50, "the first one and 49 of the 50");
    assert!(names[1..].iter().all(|name| services.contains(&big(name))));
}
