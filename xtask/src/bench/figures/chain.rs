//! A chain of services, each of which waits until the previous one is healthy. This measures how much time harness
//! adds to each step, beyond the time that the services themselves need until they listen. The bare loop spawns the
//! next process when the previous one reports that it listens.

use std::net::TcpListener;
use std::path::Path;
use std::time::Instant;

use super::PATIENCE;
use crate::bench::announcements::Announcements;
use crate::bench::bare::Bare;
use crate::bench::home::Home;
use crate::bench::stats::Unit;
use crate::bench::table::{Row, Target};
use crate::bench::{Bench, alternate, clock, program};
use crate::error::TaskError;

const HOPS: usize = 10;

/// How long a service takes until it listens, in ms.
const OWN: &str = "30";

/// Measures 10 services.
pub(crate) fn measure(bench: &Bench) -> Result<Vec<Row>, TaskError> {
    let home = Home::with_daemon(bench, "chain", "")?;
    let heard = Announcements::open(home.root(), "chain.sock")?;
    let (baseline, measured) = alternate(
        bench.runs,
        || bare(bench, &heard),
        || {
            home.write_services(&services(&bench.own, heard.path(), &free_ports()?))?;
            let took = home.run(&["start"])?;
            let mut own = 0.0;
            for _ in 0..HOPS {
                let service = heard.next(PATIENCE)?;
                own += clock::seconds(service.begun, service.ready);
            }
            home.stop_all()?;
            Ok((took - own) / HOPS as f64)
        },
    )?;
    Ok(vec![Row {
        figure: "chain of 10 with tcp checks: added to each hop".to_owned(),
        unit: Unit::Seconds,
        measured,
        baseline: Some(baseline),
        target: Target::AtMost(0.015),
    }])
}

fn bare(bench: &Bench, heard: &Announcements) -> Result<f64, TaskError> {
    let socket = heard.path().display().to_string();
    let ports = free_ports()?;
    let mut all = Vec::new();
    let mut own = 0.0;
    let begun = Instant::now();
    for port in ports {
        let port = port.to_string();
        let arguments = vec![program::WORD, "listen", &socket, "bare", &port, OWN];
        all.push(Bare::spawn(&bench.own, [arguments], &bench.temporary)?);
        let service = heard.next(PATIENCE)?;
        own += clock::seconds(service.begun, service.ready);
    }
    Ok((begun.elapsed().as_secs_f64() - own) / HOPS as f64)
}

fn services(own: &Path, socket: &Path, ports: &[u16]) -> String {
    let service = |(number, port): (usize, &u16)| {
        let before = number.checked_sub(1).map(|before| format!("c{before}"));
        format!(
            "  c{number}: {{type: process, binary: {own:?}, dependencies: [{}], health_check: {{tcp: {port}}}, \
             args: [{}, listen, {socket:?}, c{number}, \"{port}\", \"{OWN}\"]}}\n",
            before.unwrap_or_default(),
            program::WORD
        )
    };
    ports.iter().enumerate().map(service).collect()
}

/// Ports on which nobody listens at the moment.
fn free_ports() -> Result<Vec<u16>, TaskError> {
    let all: std::io::Result<Vec<_>> = (0..HOPS).map(|_| TcpListener::bind("127.0.0.1:0")).collect();
    let all = all.map_err(TaskError::file("listen at", "a port"))?;
    let ports = all.iter().filter_map(|one| Some(one.local_addr().ok()?.port()));
    Ok(ports.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_service_depends_on_the_one_before() {
        let text = services(Path::new("/own"), Path::new("/sock"), &[7, 8]);
        let lines: Vec<&str> = text.lines().collect();
        assert!(
            lines[0].contains("c0: ") && lines[0].contains("dependencies: []"),
            "{text}"
        );
        assert!(
            lines[1].contains("c1: ") && lines[1].contains("dependencies: [c0]"),
            "{text}"
        );
    }
}
