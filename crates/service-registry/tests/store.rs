//! The store: what goes in comes out, whatever happens to the file in between.

#![cfg(test)]

mod common;

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use common::{project, project_record, record, service};
use futures_lite::future::block_on;
use harness_model::{ExitStatus, Health, ServiceState, WallTime};
use service_registry::ServiceRecord;
use service_registry::store::{Contents, SCHEMA_VERSION, Store, StoreError};

fn full_record() -> ServiceRecord {
    let mut db = record("shop", "db");
    db.wanted = true;
    db.state = ServiceState::Failed;
    db.health = Health::Unhealthy;
    db.generation = 7;
    db.restarts = 3;
    db.exit = Some(ExitStatus::Signal(9));
    db.error = Some("killed".to_owned());
    db.started_at = Some(WallTime(11));
    db.ended_at = Some(WallTime(12));
    db.pid = Some(4242);
    db.was_ready = true;
    db.boot_id = Some("boot".to_owned());
    db.launched_digest = Some(db.digest.clone());
    db.in_file = false;
    db
}

fn fill(path: &Path) {
    let store = Store::open(path).unwrap().store;
    store.put_project(Arc::new(project_record("shop")));
    store.put_service(Arc::new(full_record()));
    store.put_service(Arc::new(record("shop", "web")));
    block_on(store.flush()).unwrap();
}

fn expected() -> Contents {
    Contents {
        projects: vec![project_record("shop")],
        services: vec![full_record(), record("shop", "web")],
        ..Contents::default()
    }
}

#[test]
fn everything_comes_back() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state");
    fill(&path);
    let opened = Store::open(&path).unwrap();
    assert_eq!(opened.contents, expected());
    assert_eq!(opened.set_aside, None);
}

#[test]
fn a_group_comes_back() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state");
    let mut shop = project_record("shop");
    shop.spec
        .groups
        .insert(service("stack"), [service("db")].into_iter().collect());
    let store = Store::open(&path).unwrap().store;
    store.put_project(Arc::new(shop.clone()));
    drop(store);
    assert_eq!(Store::open(&path).unwrap().contents.projects, [shop]);
}

#[test]
fn the_file_is_private_even_if_it_was_not() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state");
    let mode = || std::fs::metadata(&path).unwrap().permissions().mode() & 0o777;
    fill(&path);
    assert_eq!(mode(), 0o600);
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    drop(Store::open(&path).unwrap());
    assert_eq!(mode(), 0o600);
}

#[test]
fn dropping_writes_what_is_pending() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state");
    let store = Store::open(&path).unwrap().store;
    store.put_service(Arc::new(record("shop", "db")));
    drop(store);
    assert_eq!(Store::load(&path).unwrap().services, [record("shop", "db")]);
}

#[test]
fn what_was_flushed_survives_a_copy_taken_of_the_open_file() {
    // The copy is what a `kill -9` leaves: a file that nobody has closed.
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state");
    let copy = folder.path().join("copy");
    let store = Store::open(&path).unwrap().store;
    store.put_service(Arc::new(full_record()));
    block_on(store.flush()).unwrap();
    std::fs::copy(&path, &copy).unwrap();
    assert_eq!(Store::load(&copy).unwrap().services, [full_record()]);
}

#[test]
fn a_thousand_writes_cost_few_commits() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path().join("state")).unwrap().store;
    for generation in 0..1000 {
        let mut db = record("shop", &format!("s{}", generation % 100));
        db.generation = generation;
        store.put_service(Arc::new(db));
    }
    block_on(store.flush()).unwrap();
    assert!((1..100).contains(&store.commits()), "{} commits", store.commits());
    let path = store.path().to_owned();
    drop(store);
    let services = Store::load(path).unwrap().services;
    assert_eq!(services.len(), 100);
    assert!(
        services.iter().all(|s| s.generation >= 900),
        "the newest value wins"
    );
}

#[test]
fn a_status_is_written_without_its_spec() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state");
    let store = Store::open(&path).unwrap().store;
    let first = record("shop", "db");
    store.put_service(Arc::new(first.clone()));
    block_on(store.flush()).unwrap();
    let mut second = first.clone();
    second.state = ServiceState::Running;
    second.addresses = common::addresses(&[(1, false)]);
    store.put_status(Arc::new(second));
    block_on(store.flush()).unwrap();
    drop(store);
    let found = Store::load(&path).unwrap().services.remove(0);
    assert_eq!(found.state, ServiceState::Running);
    assert_eq!(
        found.addresses, first.addresses,
        "the addresses belong to the spec, which was not to be written"
    );
}

#[test]
fn a_spec_is_written_whatever_status_follows_before_the_commit() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state");
    let store = Store::open(&path).unwrap().store;
    // One is unknown to the file, one was replaced, one was just removed: each needs its spec written.
    store.put_status(Arc::new(record("shop", "a")));
    store.put_service(Arc::new(record("shop", "b")));
    store.put_status(Arc::new(record("shop", "b")));
    store.put_service(Arc::new(record("shop", "c")));
    store.remove_service(project("shop"), service("c"));
    store.put_status(Arc::new(record("shop", "c")));
    drop(store);
    let names: Vec<_> = Store::load(&path)
        .unwrap()
        .services
        .into_iter()
        .map(|s| s.name.to_string())
        .collect();
    assert_eq!(names, ["a", "b", "c"]);
}

#[test]
fn what_is_removed_is_gone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state");
    fill(&path);
    let store = Store::open(&path).unwrap().store;
    store.remove_service(project("shop"), service("db"));
    store.remove_project(project("shop"));
    drop(store);
    let contents = Store::load(&path).unwrap();
    assert_eq!(contents.services, [record("shop", "web")]);
    assert_eq!(contents.projects, []);
}

#[test]
fn the_file_opens_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state");
    let first = Store::open(&path).unwrap();
    assert!(matches!(Store::open(&path), Err(StoreError::InUse { .. })));
    drop(first);
    assert!(Store::open(&path).is_ok());
}

#[test]
fn garbage_is_set_aside_and_kept() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state");
    for garbage in [b"x".to_vec(), vec![0; 4096], b"not a database\n".repeat(1000)] {
        std::fs::write(&path, &garbage).unwrap();
        let opened = Store::open(&path).unwrap();
        let aside = opened.set_aside.expect("garbage must be set aside");
        assert!(
            aside
                .file_name()
                .unwrap()
                .to_str()
                .unwrap()
                .starts_with("state.damaged-"),
            "{aside:?}"
        );
        assert_eq!(std::fs::read(&aside).unwrap(), garbage);
        assert_eq!(opened.contents, Contents::default());
        drop(opened.store);
        assert!(
            Store::open(&path).unwrap().set_aside.is_none(),
            "the new file is a good one"
        );
    }
    let kept = std::fs::read_dir(folder.path()).unwrap().count();
    assert_eq!(kept, 4, "each damaged file is kept under a name of its own");
}

#[test]
fn an_empty_file_is_a_new_one() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state");
    std::fs::write(&path, "").unwrap();
    let opened = Store::open(&path).unwrap();
    assert_eq!((opened.set_aside, opened.contents), (None, Contents::default()));
}

#[test]
fn a_database_of_something_else_is_set_aside() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state");
    let database = redb::Database::create(&path).unwrap();
    let transaction = database.begin_write().unwrap();
    transaction
        .open_table(redb::TableDefinition::<&str, &str>::new("cats"))
        .unwrap();
    transaction.commit().unwrap();
    drop(database);
    assert!(Store::open(&path).unwrap().set_aside.is_some());
}

#[test]
fn a_truncated_file_is_set_aside_or_whole() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state");
    fill(&path);
    let good = std::fs::read(&path).unwrap();
    let mut damaged = 0;
    for length in [
        1,
        8,
        100,
        320,
        4096,
        4097,
        8192,
        12288,
        good.len() / 2,
        good.len() - 4096,
        good.len() - 1,
    ] {
        std::fs::write(&path, &good[..length]).unwrap();
        let opened = Store::open(&path).unwrap();
        match opened.set_aside {
            Some(_) => {
                damaged += 1;
                assert_eq!(opened.contents, Contents::default());
            }
            None => assert_eq!(opened.contents, expected(), "{length} bytes of {}", good.len()),
        }
    }
    assert!(damaged > 4, "only {damaged} truncations were noticed");
}

#[test]
fn overwritten_pages_are_never_believed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state");
    fill(&path);
    let good = std::fs::read(&path).unwrap();
    let mut damaged = 0;
    let used = good
        .chunks(512)
        .enumerate()
        .filter(|(_, chunk)| chunk.iter().any(|b| *b != 0));
    for (index, _) in used {
        let mut bad = good.clone();
        bad[index * 512..][..512].iter_mut().for_each(|b| *b ^= 0x5a);
        std::fs::write(&path, &bad).unwrap();
        let opened = Store::open(&path).unwrap();
        damaged += u32::from(opened.set_aside.is_some());
        // It may fall back to the state before the last commit. Anything else would be invented.
        for service in &opened.contents.services {
            assert!(
                expected().services.contains(service),
                "chunk {index}: {service:?}"
            );
        }
    }
    assert!(damaged > 0);
}

#[test]
fn a_newer_schema_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state");
    fill(&path);
    set_schema(&path, SCHEMA_VERSION + 1);
    let error = Store::open(&path).err().expect("a newer schema must be refused");
    assert!(
        matches!(error, StoreError::NewerSchema { found, .. } if found == SCHEMA_VERSION + 1),
        "{error}"
    );
    assert!(error.to_string().contains("newer version"), "{error}");
    set_schema(&path, SCHEMA_VERSION);
    assert_eq!(Store::load(&path).unwrap(), expected());
}

fn set_schema(path: &Path, version: u32) {
    let database = redb::Database::open(path).unwrap();
    let transaction = database.begin_write().unwrap();
    let table = redb::TableDefinition::<&str, u32>::new("meta");
    transaction
        .open_table(table)
        .unwrap()
        .insert("schema", version)
        .unwrap();
    transaction.commit().unwrap();
}

#[test]
fn a_folder_that_is_not_there_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let error = Store::open(folder.path().join("no/such/state")).err().unwrap();
    assert!(matches!(error, StoreError::Open { .. }), "{error}");
}

#[test]
fn no_error_or_debug_output_shows_a_secret() {
    let shown = format!("{:?} {:?}", full_record(), expected());
    assert!(!shown.contains("hunter2"), "{shown}");
}

/// Written by `write_the_fixture` when schema 1 was the newest. Later versions must always be able to read it.
#[test]
fn the_first_schema_can_still_be_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state");
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/state-v1.redb");
    std::fs::copy(fixture, &path).unwrap();
    let opened = Store::open(&path).unwrap();
    assert_eq!(opened.set_aside, None);
    assert_eq!(opened.contents.projects, expected().projects);
    // Its errors have not been searched for secrets yet.
    let mut services = expected().services;
    services.iter_mut().for_each(|record| record.is_masked = false);
    assert_eq!(opened.contents.services, services);
}

#[test]
#[ignore = "rewrites the checked-in fixture; run once for a new schema, under a new name"]
fn write_the_fixture() {
    let path =
        Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/fixtures/state-v{SCHEMA_VERSION}.redb"));
    assert!(!path.exists(), "{} is there already", path.display());
    fill(&path);
    redb::Database::open(&path).unwrap().compact().unwrap();
}
