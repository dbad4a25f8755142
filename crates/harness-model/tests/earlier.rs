//! What an earlier version stored is read as it was meant, stored again as it was, and has the digest that it had. So an
//! upgrade replaces nothing, and an earlier version can read what this one writes.

#![cfg(test)]

use std::collections::BTreeMap;

use harness_model::ProjectSpec;
use harness_model::spec::{Kind, Place};
use serde_json::Value;

/// A project with a service of each type, as the programs of commit f974fc6 stored it, and the digests that they gave
/// its services.
const F974FC6: &str = include_str!("fixtures/project-f974fc6.json");

fn stored() -> (Value, BTreeMap<String, String>) {
    let mut file: Value = serde_json::from_str(F974FC6).unwrap();
    let digests = serde_json::from_value(file["digests"].take()).unwrap();
    (file["project"].take(), digests)
}

#[test]
fn every_service_keeps_its_digest_and_its_form() {
    let (stored, digests) = stored();
    let project: ProjectSpec = serde_json::from_value(stored.clone()).unwrap();
    let now: BTreeMap<String, String> = project
        .services
        .iter()
        .map(|(name, spec)| (name.to_string(), spec.digest().to_string()))
        .collect();
    assert_eq!(now, digests);
    let again = serde_json::to_value(&project).unwrap();
    for part in ["services", "networks"] {
        assert_eq!(again[part], stored[part], "{part}");
    }
}

#[test]
fn kind_and_place_are_read_from_types() {
    let project: ProjectSpec = serde_json::from_value(stored().0).unwrap();
    let edge = Place::Node("192.168.1.100".to_owned());
    for (name, kind, type_name, place) in [
        ("api", "process", "process", Place::Here),
        ("db", "docker", "docker", Place::Here),
        ("far", "process", "remote", edge.clone()),
        ("near", "process", "remote", edge.clone()),
        ("pack", "package", "package", edge),
    ] {
        let spec = &project.services[name];
        assert_eq!(spec.kind.name(), kind, "{name}");
        assert_eq!(spec.type_name(), type_name, "{name}");
        assert_eq!(spec.place, place, "{name}");
    }
    assert!(matches!(project.services["far"].kind, Kind::Process(_)));
    assert_eq!(
        project.networks["pool"].subnet,
        Some("127.5.0.0/24".parse().unwrap())
    );
}

/// A type that changed is told in the words of the file.
#[test]
fn a_move_to_a_node_is_told_as_a_change_of_type() {
    let project: ProjectSpec = serde_json::from_value(stored().0).unwrap();
    let far = &project.services["far"];
    let mut here = far.clone();
    here.place = Place::Here;
    assert_eq!(
        far.changes_since(&here),
        ["host changed", "type changed from process to remote"]
    );
}
