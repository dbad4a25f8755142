//! Subscribers: nobody waits for them, and they know what they missed.

#![cfg(test)]

mod common;

use std::pin::pin;

use common::project;
use futures_lite::future::{block_on, poll_once, zip};
use service_registry::{ChangeKind, Changes, Item, Subscription};

fn publish(changes: &Changes, count: u64) {
    for n in 0..count {
        changes.publish(project("shop"), None, ChangeKind::Project, n.to_string(), None);
    }
}

fn sequence(item: Item) -> u64 {
    match item {
        Item::Change(change) => change.sequence,
        Item::Missed(n) => panic!("missed {n}"),
    }
}

#[test]
fn a_slow_subscriber_learns_what_it_missed_and_others_get_all() {
    let changes = Changes::with_capacity(10);
    let mut slow = changes.subscribe(None);
    let mut quick = changes.subscribe(None);
    for n in 1..=25 {
        publish(&changes, 1);
        assert_eq!(sequence(block_on(quick.next())), n);
    }
    assert_eq!(block_on(slow.next()), Item::Missed(15));
    for n in 16..=25 {
        assert_eq!(sequence(block_on(slow.next())), n);
    }
    assert_eq!(slow.try_next(), None);
    assert_eq!(quick.try_next(), None);
}

#[test]
fn subscribing_since_a_sequence_begins_right_after_it() {
    let changes = Changes::with_capacity(10);
    publish(&changes, 5);
    assert_eq!(sequence(changes.subscribe(Some(0)).try_next().unwrap()), 1);
    assert_eq!(sequence(changes.subscribe(Some(3)).try_next().unwrap()), 4);
    assert_eq!(changes.subscribe(Some(5)).try_next(), None);
    assert_eq!(changes.subscribe(None).try_next(), None);
    // This number comes from an earlier run of the daemon.
    assert_eq!(sequence(changes.subscribe(Some(6)).try_next().unwrap()), 1);
    publish(&changes, 10);
    assert_eq!(changes.subscribe(Some(3)).try_next(), Some(Item::Missed(2)));
}

async fn expect_a_thousand(mut subscription: Subscription) {
    for n in 1..=1000 {
        assert_eq!(sequence(subscription.next().await), n);
    }
}

#[test]
fn waiting_subscribers_are_woken() {
    let changes = Changes::new();
    let (first, second) = (changes.subscribe(None), changes.subscribe(None));
    let publisher = std::thread::spawn({
        let changes = changes.clone();
        move || publish(&changes, 1000)
    });
    block_on(zip(expect_a_thousand(first), expect_a_thousand(second)));
    publisher.join().unwrap();
}

#[test]
fn giving_up_waiting_loses_nothing() {
    let changes = Changes::new();
    let mut subscription = changes.subscribe(None);
    assert!(block_on(poll_once(subscription.next())).is_none());
    publish(&changes, 1);
    assert_eq!(sequence(block_on(subscription.next())), 1);
    let mut next = pin!(subscription.next());
    assert!(block_on(poll_once(next.as_mut())).is_none());
    publish(&changes, 1);
    assert_eq!(sequence(block_on(next)), 2);
}
