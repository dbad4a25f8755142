//! Values that tests of several modules start from.

use harness_model::spec::Protocol;
use harness_model::{Health, ServiceName, ServiceState};
use harness_wire::message::{PortView, ServiceView};

/// A healthy process with a port, up for a while.
pub(crate) fn view(name: &str) -> ServiceView {
    ServiceView {
        name: ServiceName::new(name).unwrap(),
        kind: "process".into(),
        status: ServiceState::Running,
        health: Health::Healthy,
        network: "local".into(),
        host: "localhost".into(),
        ports: vec![PortView {
            name: None,
            host_ip: "127.0.0.1".into(),
            port: 5432,
            target: None,
            protocol: Protocol::Tcp,
        }],
        pid: Some(4130),
        uptime_s: Some(8_130),
        restarts: 0,
        retry_in_s: None,
        exit_code: None,
        signal: None,
        error: None,
        in_file: true,
    }
}
