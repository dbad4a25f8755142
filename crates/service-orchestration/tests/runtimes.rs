//! The same test of the orchestrator under smol, tokio and a bare async-executor: it must not depend on any of them.

#![cfg(test)]

mod actor_support;

use std::sync::Arc;

use actor_support::{Heart, Spawn, home, is_alive, kill, on, project, restarting, sleeper, spawn_on_smol};
use harness_model::spec::{Condition, RestartMode};
use service_orchestration::machine::Change;

async fn story(spawn: Spawn) {
    let home = home();
    let db = restarting(sleeper(), RestartMode::OnFailure);
    let api = on(sleeper(), "db", Condition::Started);
    let spec = project(home.path(), &[("db", db), ("api", api)]);

    let first = Heart::new(home.path(), &spawn).await;
    let changes = first.start(&spec).await;
    assert_eq!((changes["db"], changes["api"]), (Change::Start, Change::Start));
    let (killed, api) = (first.running("db").await, first.running("api").await);
    assert!(first.record("db").started_at < first.record("api").started_at);

    kill(killed);
    first
        .until("db", "was restarted", |record| record.restarts == 1)
        .await;
    let db = first.running("db").await;
    assert!(db != killed && !is_alive(killed));
    let changes = first.start(&spec).await;
    assert_eq!(
        (changes["db"], changes["api"]),
        (Change::Unchanged, Change::Unchanged)
    );
    first.end().await;
    assert!(is_alive(db) && is_alive(api));

    let second = Heart::new(home.path(), &spawn).await;
    assert_eq!(
        (second.running("db").await, second.running("api").await),
        (db, api)
    );
    second.stop_all().await;
    assert!(!is_alive(db) && !is_alive(api));
    second.end().await;
}

#[test]
fn under_smol() {
    smol::block_on(story(spawn_on_smol()));
}

#[test]
fn under_tokio() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .build()
        .unwrap();
    let handle = runtime.handle().clone();
    runtime.block_on(story(Arc::new(move |task| drop(handle.spawn(task)))));
}

#[test]
fn under_async_executor() {
    let executor = Arc::new(async_executor::Executor::new());
    let spawner = Arc::clone(&executor);
    let story = story(Arc::new(move |task| spawner.spawn(task).detach()));
    futures_lite::future::block_on(executor.run(story));
}
