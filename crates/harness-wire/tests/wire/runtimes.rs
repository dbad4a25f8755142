//! The same small suite under smol, tokio and async-executor with futures-lite.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use async_tungstenite::tungstenite::Message;
use harness_wire::client::Item;
use harness_wire::message::Response;
use harness_wire::server::{ConnectionError, Limits};
use serde_json::json;

use crate::support::{Server, Spawn, echo, next, open, pattern, spawn_on_smol};

async fn suite(spawn: Spawn) {
    let server = Server::start(spawn, Limits::default()).await;
    let client = server.connect().await;
    echo(&client, "hello").await;

    let total = 5_u64 << 20;
    let mut flood = open(&client, "flood", json!(total)).await;
    echo(&client, "meanwhile").await;
    let mut at = 0;
    while let Item::Data { payload, .. } = next(&mut flood).await {
        for byte in payload {
            assert_eq!(byte, pattern(at));
            at += 1;
        }
    }
    assert_eq!(at, total);

    let mut cat = open(&client, "cat", json!(null)).await;
    cat.handle().send_stdin(b"abc").await.unwrap();
    assert!(matches!(next(&mut cat).await, Item::Data { payload, .. } if payload == b"abc"));
    cat.handle().close_stdin().unwrap();
    let Item::Response(response) = next(&mut cat).await else {
        panic!()
    };
    assert_eq!(*response, Response::Action(json!({"total": 3, "heard": []})));

    let mut raw = server.raw_session().await;
    raw.send(Message::text("nonsense")).await;
    raw.hear_refusal().await;
    assert!(matches!(server.end().await, Err(ConnectionError::Malformed(_))));
    drop((client, flood, cat));
    server.end().await.unwrap();
    server.control().await;
}

#[test]
fn under_smol() {
    smol::block_on(suite(spawn_on_smol()));
}

#[test]
fn under_tokio() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .build()
        .unwrap();
    let handle = runtime.handle().clone();
    runtime.block_on(suite(Arc::new(move |task| drop(handle.spawn(task)))));
}

#[test]
fn under_async_executor() {
    let executor = Arc::new(async_executor::Executor::new());
    let spawner = Arc::clone(&executor);
    let done = AtomicBool::new(false);
    futures_lite::future::block_on(executor.run(async {
        suite(Arc::new(move |task| spawner.spawn(task).detach())).await;
        done.store(true, std::sync::atomic::Ordering::SeqCst);
    }));
    assert!(done.into_inner());
}
