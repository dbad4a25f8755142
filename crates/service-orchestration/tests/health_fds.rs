//! Probes leave no file descriptor behind. This is a test program of its own, since other tests would open
//! descriptors meanwhile.

#![cfg(test)]
#![expect(
    dead_code,
    reason = "the helpers are shared with health.rs, which uses the rest"
)]

mod health_support;

use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use health_support::{Server, eventually, free_port};
use service_orchestration::health::{ProbeLimiter, Prober, http, tcp};
use service_orchestration::machine::ProbeOutcome;

const PATIENT: Duration = Duration::from_secs(10);

#[test]
fn no_descriptor_is_left_behind() {
    let good = Server::answering("127.0.0.1:0", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    let silent = Server::silent("127.0.0.1:0");
    let refused = format!("localhost:{}", free_port());
    let limiter = ProbeLimiter::new(16);
    let executor = smol::Executor::new();

    // Everything that stays open by design (the reactor, the thread pool) is opened now.
    smol::block_on(tcp(&good.address.to_string()).expect("an address").probe(PATIENT));
    eventually("the warm-up is over", || good.state.open.load(SeqCst) == 0);
    let before = open_fds();

    let mut probes = Vec::new();
    for _ in 0..60 {
        let probers: [(Box<dyn Prober>, Duration); 4] = [
            (Box::new(http(&good.url("/")).expect("a URL")), PATIENT),
            (
                Box::new(http(&silent.url("/")).expect("a URL")),
                Duration::from_millis(50),
            ),
            (
                Box::new(tcp(&silent.address.to_string()).expect("an address")),
                PATIENT,
            ),
            (Box::new(tcp(&refused).expect("an address")), PATIENT),
        ];
        for (prober, timeout) in probers {
            let limiter = limiter.clone();
            probes.push(executor.spawn(async move { limiter.probe(&*prober, timeout).await }));
        }
    }
    smol::block_on(executor.run(async {
        // Some probes are given up halfway.
        for probe in probes.split_off(200) {
            drop(probe.cancel().await);
        }
        for (index, probe) in probes.into_iter().enumerate() {
            let outcome = probe.await;
            let good = index % 4 == 0 || index % 4 == 2;
            assert_eq!(outcome == ProbeOutcome::Healthy, good, "{index}: {outcome:?}");
        }
    }));
    // A descriptor of the warm-up may still have been open.
    eventually("every descriptor is closed", || open_fds() <= before);
}

/// The open file descriptors of this process.
fn open_fds() -> usize {
    std::fs::read_dir("/proc/self/fd")
        .expect("proc is mounted")
        .count()
}
