//! The registry: memory, store and changes agree.

#![cfg(test)]

mod common;

use std::net::TcpListener;
use std::path::Path;
use std::sync::Arc;

use common::{port, project, project_record, project_spec, record, service, spec, wants};
use futures_lite::future::block_on;
use harness_model::ServiceState;
use service_registry::address::AddressError;
use service_registry::store::Store;
use service_registry::{ChangeKind, Item, Registry, ServiceRecord};

fn open(path: &Path) -> Registry {
    block_on(Registry::open(path)).unwrap().registry
}

#[test]
fn what_is_written_is_read_at_once_and_published_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let registry = open(&folder.path().join("state"));
    let mut changes = registry.changes().subscribe(None);
    registry.upsert_project(project_record("shop"), "started");
    registry.upsert_service(record("shop", "db"), ChangeKind::Registered, "new");
    registry
        .remove_service(&project("shop"), &service("db"), "pruned")
        .unwrap();
    registry.upsert_service(record("shop", "web"), ChangeKind::Registered, "new");
    registry.remove_project(&project("shop"), "gone").unwrap();
    assert!(registry.projects().is_empty() && registry.services(&project("shop")).is_empty());
    assert!(registry.remove_project(&project("shop"), "again").is_none());
    assert!(
        registry
            .remove_service(&project("shop"), &service("db"), "again")
            .is_none()
    );

    let mut kinds = Vec::new();
    while let Some(Item::Change(change)) = changes.try_next() {
        kinds.push((
            change.sequence,
            change.kind,
            change.service.clone(),
            change.record.is_some(),
        ));
    }
    let expected = [
        (1, ChangeKind::Project, None, false),
        (2, ChangeKind::Registered, Some(service("db")), true),
        (3, ChangeKind::Removed, Some(service("db")), true),
        (4, ChangeKind::Registered, Some(service("web")), true),
        (5, ChangeKind::Removed, Some(service("web")), true),
        (6, ChangeKind::Project, None, false),
    ];
    assert_eq!(kinds, expected);
}

#[test]
fn flushed_records_are_there_after_reopening() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state");
    let copy = folder.path().join("copy");
    let registry = open(&path);
    registry.upsert_project(project_record("shop"), "started");
    for generation in 0..1000 {
        let mut db = record("shop", "db");
        db.generation = generation;
        registry.upsert_service(db, ChangeKind::State, "again");
    }
    block_on(registry.flush()).unwrap();
    assert!(registry.last_error().is_none());
    std::fs::copy(&path, &copy).unwrap();
    assert_eq!(Store::load(&copy).unwrap().services[0].generation, 999);
    drop(registry);
    let registry = open(&path);
    assert_eq!(
        registry
            .service(&project("shop"), &service("db"))
            .unwrap()
            .generation,
        999
    );
    assert_eq!(
        *registry.project(&project("shop")).unwrap(),
        project_record("shop")
    );
}

#[test]
fn records_of_one_spec_share_it() {
    let folder = tempfile::tempdir().unwrap();
    let registry = open(&folder.path().join("state"));
    let first = registry.upsert_service(record("shop", "db"), ChangeKind::Registered, "new");
    let second = registry.upsert_service(record("shop", "db"), ChangeKind::State, "again");
    assert!(Arc::ptr_eq(&first.spec, &second.spec));
    assert!(Arc::ptr_eq(&first.environment, &second.environment));
}

#[test]
fn a_changed_environment_or_address_reaches_the_disk() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state");
    let registry = open(&path);
    let mut db = record("shop", "db");
    registry.upsert_service(db.clone(), ChangeKind::Registered, "new");
    block_on(registry.flush()).unwrap();
    db.environment = Arc::default();
    registry.upsert_service(db.clone(), ChangeKind::State, "environment");
    block_on(registry.flush()).unwrap();
    db.addresses = common::addresses(&[(1, true)]);
    registry.upsert_service(db.clone(), ChangeKind::State, "addresses");
    drop(registry);
    assert_eq!(Store::load(&path).unwrap().services, [db]);
}

/// Registers the plan of a project as its services, in this state.
fn register(registry: &Registry, name: &str, state: ServiceState) -> u16 {
    let plan = project_spec(name, vec![("a", spec(vec![port(0)]))]);
    let addresses = registry
        .assign_addresses(&plan, &wants(&plan))
        .unwrap()
        .remove(&service("a"))
        .unwrap();
    let number = addresses.ports[0].port;
    let environment = std::collections::BTreeMap::new();
    let mut a = ServiceRecord::new(
        project(name),
        service("a"),
        spec(vec![port(0)]),
        environment,
        addresses,
    );
    a.state = state;
    registry.upsert_service(a, ChangeKind::Registered, "new");
    number
}

#[test]
fn a_chosen_port_stays_with_its_service() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state");
    let registry = open(&path);
    let first = register(&registry, "shop", ServiceState::Stopped);
    assert_eq!(register(&registry, "shop", ServiceState::Stopped), first);
    drop(registry);
    let registry = open(&path);
    assert_eq!(
        register(&registry, "shop", ServiceState::Stopped),
        first,
        "after the daemon was replaced, too"
    );
    assert_ne!(register(&registry, "other", ServiceState::Stopped), first);

    let stranger = TcpListener::bind(("127.0.0.1", first)).unwrap();
    let moved = register(&registry, "shop", ServiceState::Stopped);
    assert_ne!(moved, first, "it is down, and its port is a stranger's now");
    drop(stranger);
}

#[test]
fn the_port_of_a_running_service_is_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let registry = open(&folder.path().join("state"));
    let first = register(&registry, "shop", ServiceState::Running);
    let _itself = TcpListener::bind(("127.0.0.1", first)).unwrap();
    assert_eq!(register(&registry, "shop", ServiceState::Running), first);
    let rival = project_spec("rival", vec![("b", spec(vec![port(first)]))]);
    let error = registry.assign_addresses(&rival, &wants(&rival)).unwrap_err();
    assert!(
        matches!(error, AddressError::InUse { ref holder, .. } if holder.project == project("shop")),
        "{error}"
    );
}

#[test]
fn a_service_that_left_the_file_keeps_its_port_unless_it_is_pruned() {
    let folder = tempfile::tempdir().unwrap();
    let registry = open(&folder.path().join("state"));
    let first = register(&registry, "shop", ServiceState::Running);
    let renamed = project_spec("shop", vec![("b", spec(vec![port(first)]))]);
    let error = registry.assign_addresses(&renamed, &wants(&renamed)).unwrap_err();
    assert!(
        matches!(error, AddressError::InUse { ref holder, .. } if holder.service == service("a")),
        "{error}"
    );
    assert!(
        registry
            .assign_addresses_pruning(&renamed, &wants(&renamed), &std::collections::BTreeSet::new())
            .is_ok()
    );
    // A service of a profile that is not chosen is not pruned.
    let staying = [service("a")].into();
    assert!(
        registry
            .assign_addresses_pruning(&renamed, &wants(&renamed), &staying)
            .is_err()
    );
}

#[test]
fn plans_that_are_not_recorded_yet_get_different_ports() {
    let folder = tempfile::tempdir().unwrap();
    let registry = open(&folder.path().join("state"));
    let mut seen = std::collections::BTreeSet::new();
    for n in 0..100 {
        let plan = project_spec(&format!("p{n}"), vec![("a", spec(vec![port(0), port(0)]))]);
        for port in &registry.assign_addresses(&plan, &wants(&plan)).unwrap()[&service("a")].ports {
            assert!(seen.insert(port.port), "{} was given twice", port.port);
        }
    }
}

#[test]
fn planning_and_removing_at_once_does_not_deadlock() {
    let folder = tempfile::tempdir().unwrap();
    let registry = open(&folder.path().join("state"));
    let (done, finished) = std::sync::mpsc::channel();
    for name in ["one", "two"] {
        let (registry, done) = (registry.clone(), done.clone());
        std::thread::spawn(move || {
            for _ in 0..200 {
                register(&registry, name, ServiceState::Stopped);
                registry.remove_service(&project(name), &service("a"), "gone");
            }
            done.send(()).unwrap();
        });
    }
    for _ in 0..2 {
        finished
            .recv_timeout(std::time::Duration::from_secs(30))
            .expect("the registry is stuck");
    }
}

#[test]
fn a_damaged_store_is_told_of() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state");
    std::fs::write(&path, "nonsense").unwrap();
    let opened = block_on(Registry::open(&path)).unwrap();
    assert!(opened.set_aside.is_some_and(|aside| aside.exists()));
    assert!(opened.registry.projects().is_empty());
}

#[test]
fn a_closed_registry_leaves_its_file_to_the_next_one() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state");
    let registry = open(&path);
    registry.upsert_project(project_record("shop"), "started");
    block_on(registry.close()).unwrap();
    // The first handle still exists, and is no longer in the way.
    let next = open(&path);
    assert!(next.project(&project("shop")).is_some());
    assert!(block_on(registry.flush()).is_err());
}
