//! How a type of services is added: `type: clock`, which ticks.
//!
//! ```text
//! clock-harness ──▶ types() ──▶ keys of `type: clock`, of the health check `ticks`
//! clock-daemon  ──▶ add()   ──▶ ClockExecutor, Ticks
//! ```
//!
//! Everything about the type is here. The two programs register it.
#![doc = include_str!("../README.md")]

mod clock;
mod executor;
mod kind;
mod probe;

use std::sync::Arc;

use harness_config::{TypeError, Types};
use harness_core::DaemonBuilder;

use clock::Clocks;
use executor::ClockExecutor;
use probe::Ticks;

/// What the command line must know to read files with clocks.
///
/// # Errors
/// When harness itself has such a type meanwhile.
pub fn types() -> Result<Types, TypeError> {
    Types::default().with(&kind::CLOCK)?.with_probe(&kind::TICKS)
}

/// What the daemon must know to run clocks.
pub fn add(daemon: DaemonBuilder) -> DaemonBuilder {
    let clocks = Arc::new(Clocks::default());
    daemon
        .executor(Arc::new(ClockExecutor::new(Arc::clone(&clocks))))
        .probe(Arc::new(Ticks::new(clocks)))
}
