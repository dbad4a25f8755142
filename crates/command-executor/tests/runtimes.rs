//! The same suite under smol, tokio and a bare async-executor: nothing here may depend on one of them.

#![cfg(test)]

use std::sync::Arc;
use std::time::Duration;

use command_executor::logs::LogFrom;
use command_executor::patience::pass;
use command_executor::supervised::{Adopted, Ended, Outcome, StopPolicy};
use command_executor::{Command, Host, StdinMode, run_until};
use smol::io::AsyncWriteExt;

mod support;
use support::follower::{FollowItem, LogFollower};
use support::*;

async fn suite() {
    within(async {
        commands().await;
        services().await;
    })
    .await;
}

async fn commands() {
    let host: Arc<dyn Host> = Arc::new(host());
    let output = run_at(&*host, sh("echo out; echo err >&2; exit 4")).await;
    assert_eq!((output.status.code(), output.stdout.as_str()), (Some(4), "out\n"));

    let sleep = host.exec(Command::new("sleep").arg("60")).await.unwrap();
    let ran = run_until(sleep, pass(Duration::from_millis(100))).await.unwrap();
    assert_eq!(ran.status, None);

    let mut cat = host
        .exec(Command::new("cat").stdin(StdinMode::Piped))
        .await
        .unwrap();
    let mut stdin = cat.take_stdin().unwrap();
    stdin.write_all(b"there and back").await.unwrap();
    drop(stdin);
    let (stdout, _, status) = collect(&mut *cat).await;
    assert_eq!(
        (stdout.as_slice(), status.success()),
        (&b"there and back"[..], true)
    );
}

async fn services() {
    let dir = tempfile::tempdir().unwrap();
    let run_dir = dir.path().join("run");
    let spec = sh_spec(
        &run_dir,
        "trap 'echo bye; exit 6' TERM; echo up; while :; do sleep 0.05; done",
    );
    let service = start(&host(), &run_dir, &spec).await.unwrap();
    let mut log = LogFollower::new(&run_dir, LogFrom::Start).unwrap();
    assert!(matches!(log.next().await.unwrap(), FollowItem::Line(line) if line.bytes == b"up"));
    drop(service);
    let Adopted::Running(service) = adopt(&run_dir).await.unwrap() else {
        panic!("it runs")
    };
    service.stop(StopPolicy::default()).await.unwrap();
    let Ended::Exited(record) = service.wait().await.unwrap() else {
        panic!("it is recorded")
    };
    assert_eq!(record.outcome, Outcome::Exited(6));
    assert!(matches!(log.next().await.unwrap(), FollowItem::Line(line) if line.bytes == b"bye"));
    assert_eq!(log.next().await.unwrap(), FollowItem::End);
}

#[test]
fn under_smol() {
    smol::block_on(async { smol::spawn(suite()).await });
}

#[test]
fn under_tokio() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async { tokio::spawn(suite()).await.unwrap() });
}

#[test]
fn under_async_executor() {
    let executor = async_executor::Executor::new();
    futures_lite::future::block_on(executor.run(executor.spawn(suite())));
}
