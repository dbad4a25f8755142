//! The figures, each in a file of its own.

mod chain;
mod containers;
mod cpu;
mod extras;
mod logs;
mod memory;
mod restart;
mod start;
mod status;
mod stop;

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use clap::ValueEnum;

use super::Bench;
use super::table::Row;
use crate::error::TaskError;

/// How long a measured action may take before the figure is given up.
const PATIENCE: Duration = Duration::from_secs(120);

/// A figure, or several that are measured together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Figure {
    /// `start -d` of 100 services
    Start,
    /// `start -d` of 1,000 services
    Start1000,
    /// The CLI process of `status`
    Status,
    /// From kill -9 of a service until its successor runs
    Restart,
    /// Memory of the daemon and the shims
    Memory,
    /// CPU time of the daemon and the shims while only probes happen
    Cpu,
    /// Capture of 1 GiB of log
    Logs,
    /// A chain of dependencies
    Chain,
    /// `stop --all`
    Stop,
    /// `start` of 20 containers
    Containers,
    /// `status` and memory with 20 containers among 100 services
    Mixed,
    /// Capture of 100 MB of a container's log
    Containerlogs,
    /// Measurements without a target
    Extras,
}

impl Figure {
    /// All figures, in the order of the table.
    pub(crate) const ALL: [Self; 13] = [
        Self::Start,
        Self::Start1000,
        Self::Status,
        Self::Restart,
        Self::Memory,
        Self::Cpu,
        Self::Logs,
        Self::Chain,
        Self::Stop,
        Self::Containers,
        Self::Mixed,
        Self::Containerlogs,
        Self::Extras,
    ];

    /// Its name on the command line.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Start1000 => "start1000",
            Self::Status => "status",
            Self::Restart => "restart",
            Self::Memory => "memory",
            Self::Cpu => "cpu",
            Self::Logs => "logs",
            Self::Chain => "chain",
            Self::Stop => "stop",
            Self::Containers => "containers",
            Self::Mixed => "mixed",
            Self::Containerlogs => "containerlogs",
            Self::Extras => "extras",
        }
    }

    /// Whether it needs a Docker engine.
    pub(crate) fn is_of_containers(self) -> bool {
        matches!(self, Self::Containers | Self::Mixed | Self::Containerlogs)
    }

    /// Measures it.
    ///
    /// # Errors
    /// When harness fails, or the system refuses something.
    pub(crate) fn measure(self, bench: &Bench) -> Result<Vec<Row>, TaskError> {
        match self {
            Self::Start => start::measure_hundred(bench),
            Self::Start1000 => start::measure_thousand(bench),
            Self::Status => status::measure(bench),
            Self::Restart => restart::measure(bench),
            Self::Memory => memory::measure(bench),
            Self::Cpu => cpu::measure(bench),
            Self::Logs => logs::measure(bench),
            Self::Chain => chain::measure(bench),
            Self::Stop => stop::measure(bench),
            Self::Containers => containers::measure_start(bench),
            Self::Mixed => containers::measure_mixed(bench),
            Self::Containerlogs => containers::measure_logs(bench),
            Self::Extras => extras::measure(bench),
        }
    }
}

/// How long a `sleep` sleeps: more than a day, and different each time, so that processes can be recognized by it.
fn marker() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    format!("100000.{}{number:04}", std::process::id())
}

/// The services s1 to s`count`. Each is a `sleep` with this marker.
fn sleepers(count: usize, marker: &str) -> String {
    let sleeper = |number| format!("  s{number}: {{type: process, binary: sleep, args: [\"{marker}\"]}}\n");
    (1..=count).map(sleeper).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_command_line() {
        for figure in Figure::ALL {
            let value = figure.to_possible_value().unwrap();
            assert_eq!(value.get_name(), figure.name());
        }
        assert_eq!(Figure::ALL.len(), Figure::value_variants().len());
    }

    #[test]
    fn markers_differ() {
        assert_ne!(marker(), marker());
    }
}
