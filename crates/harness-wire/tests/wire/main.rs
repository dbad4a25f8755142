//! The protocol over real sockets and real TLS.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test may fail by panicking"
)]

mod certificates;
mod handshake;
mod rules;
mod runtimes;
mod session;
mod support;
