//! The examples that were given when this project was commissioned are valid.

#![cfg(test)]

mod common;

use common::{Folder, good};
use harness_config::Loaded;
use harness_model::spec::{Condition, Kind, Probe};
use std::time::Duration;

fn load_seed(text: &str) -> Loaded {
    let folder = Folder::new(text);
    good(&folder.options_with(&[
        ("POSTGRES_PASSWORD", "hunter2"),
        ("DB_PASSWORD", "hunter2"),
        ("DATA_DIR", "/data"),
        ("VERSION", "1.2.3"),
    ]))
}

#[test]
fn networks() {
    let loaded = load_seed(include_str!("fixtures/seeds/networks.yaml"));
    let services = &loaded.project.services;
    assert!(matches!(services["postgres"].kind, Kind::Container(_)));
    assert!(
        services["graph-node"].type_name() == "remote",
        "the only node of its network"
    );
    assert_eq!(services["graph-node"].place.node(), Some("192.168.1.100"));
    assert_eq!(services["indexer-agent"].place.node(), Some("10.0.0.10"));
    assert_eq!(services["graph-node"].startup_timeout, Duration::from_secs(105));
    assert_eq!(
        services["indexer-agent"].startup_timeout,
        Duration::from_secs(210)
    );
    assert_eq!(
        services["graph-node"].dependencies[0].condition,
        Condition::Healthy
    );
    assert_eq!(
        services["graph-node"].env["DATABASE_URL"].to_string(),
        "postgresql://postgres:•••@${postgres.ip}:5432/graph"
    );
    let warnings: Vec<&str> = loaded.warnings.iter().map(|w| w.message.as_str()).collect();
    assert_eq!(warnings, ["`graph-node` does not declare the port 8000"]);
}

#[test]
fn cross_network() {
    let loaded = load_seed(include_str!("fixtures/seeds/cross-network.yaml"));
    assert_eq!(
        loaded.project.services["test-app"].place.node(),
        Some("192.168.100.10")
    );
    assert!(loaded.project.services["test-db"].env["POSTGRES_PASSWORD"].has_secret());
}

#[test]
fn here_document() {
    let loaded = load_seed(include_str!("fixtures/seeds/here-document.yaml"));
    assert_eq!(loaded.project.services.len(), 1);
}

#[test]
fn example() {
    let loaded = load_seed(include_str!("fixtures/seeds/example.yaml"));
    assert_eq!(loaded.project.name.as_str(), "my-application");
    let api = &loaded.project.services["my-api"];
    assert_eq!(api.env["LOG_LEVEL"].to_string(), "info");
    let Kind::Process(process) = &api.kind else {
        panic!("{:?}", api.kind)
    };
    let binary = loaded.project.base_dir.join("target/release/api-server");
    assert_eq!(process.binary.to_string(), binary.display().to_string());
    assert!(loaded.warnings.is_empty(), "{}", loaded.warnings);
}

#[test]
fn advanced() {
    let loaded = load_seed(include_str!("fixtures/seeds/advanced.yaml"));
    let services = &loaded.project.services;
    assert_eq!(services["api"].startup_timeout, Duration::from_secs(300));
    let check = services["worker"].health_check.as_ref().unwrap();
    assert!(matches!(&check.probe, Probe::Command(words) if words.len() == 1));
    let Kind::Package(package) = &services["metrics"].kind else {
        panic!()
    };
    assert!(
        package
            .package
            .to_string()
            .ends_with("/packages/metrics-1.2.3.tar.gz")
    );
    assert_eq!(services["worker"].env["WORKER_THREADS"].to_string(), "4");
}
