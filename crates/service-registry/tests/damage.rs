//! Damages a store anywhere: this must be noticed or harmless, never believed, and never cause a panic.

#![cfg(test)]

mod common;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use common::{project_record, record};
use futures_lite::future::block_on;
use service_registry::ServiceRecord;
use service_registry::store::Store;

const CASES: u64 = 40;

/// xorshift: the same cases in every run, each with a number.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % limit as u64).unwrap()
    }
}

/// Makes several commits, so that the file has a history to fall back to. Returns everything that was ever written.
fn fill(path: &Path) -> Vec<ServiceRecord> {
    let store = Store::open(path).unwrap().store;
    store.put_project(Arc::new(project_record("shop")));
    let mut written = Vec::new();
    for generation in 1..6 {
        for number in 0..20 {
            let mut service = record("shop", &format!("s{number}"));
            service.generation = generation;
            written.push(service.clone());
            store.put_service(Arc::new(service));
        }
        block_on(store.flush()).unwrap();
    }
    written
}

#[test]
fn whatever_is_cut_or_flipped_nothing_is_invented() {
    let folder = tempfile::tempdir().unwrap();
    let good = folder.path().join("good");
    let written = fill(&good);
    let good = std::fs::read(good).unwrap();
    let used: Vec<usize> = (0..good.len()).filter(|at| good[*at] != 0).collect();
    let mut outcomes = BTreeSet::new();
    for case in 1..=CASES {
        let mut random = Random(case.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let mut bad = good.clone();
        if case % 3 == 0 {
            bad.truncate(random.below(good.len()));
        } else {
            for _ in 0..=random.below(8) {
                bad[used[random.below(used.len())]] ^= 1 << random.below(8);
            }
        }
        let path = folder.path().join(format!("state-{case}"));
        std::fs::write(&path, &bad).unwrap();
        let opened = Store::open(&path).unwrap_or_else(|error| panic!("case {case}: {error}"));
        outcomes.insert(opened.set_aside.is_some());
        if let Some(aside) = opened.set_aside {
            let name = aside.file_name().unwrap().to_str().unwrap();
            assert!(
                name.starts_with(&format!("state-{case}.damaged-")),
                "case {case}: {name}"
            );
            assert_eq!(
                std::fs::metadata(&aside).unwrap().len(),
                bad.len() as u64,
                "case {case}"
            );
            assert_eq!(opened.contents.services, [], "case {case}");
        }
        for service in &opened.contents.services {
            assert!(written.contains(service), "case {case}: {service:?}");
        }
        // It can be written, and is good from then on.
        opened.store.put_service(Arc::new(record("shop", "after")));
        block_on(opened.store.flush()).unwrap_or_else(|error| panic!("case {case}: {error}"));
        drop(opened.store);
        let again = Store::open(&path).unwrap();
        assert_eq!(again.set_aside, None, "case {case}");
        let after = record("shop", "after");
        assert!(again.contents.services.contains(&after), "case {case}");
    }
    assert!(outcomes.contains(&true), "no damage was noticed");
}
