//! Projects and services to test with.
#![allow(dead_code, reason = "each test binary uses its own part")]

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

use harness_model::spec::{Kind, Limits, PortSpec, ProcessSpec, Protocol};
use harness_model::{
    PortName, ProjectName, ProjectSpec, SecretString, ServiceName, ServiceSpec, Template, WallTime,
};
use service_registry::address::{Place, PlanWants, PortAssignment, ServiceAddresses, Wants, record_ways};
use service_registry::{ProjectRecord, ServiceRecord};

pub(crate) fn project(name: &str) -> ProjectName {
    ProjectName::new(name).unwrap()
}

pub(crate) fn service(name: &str) -> ServiceName {
    ServiceName::new(name).unwrap()
}

pub(crate) fn port(number: u16) -> PortSpec {
    PortSpec {
        name: None,
        host_ip: None,
        port: number,
        target: None,
        protocol: Protocol::Tcp,
        origin: None,
    }
}

pub(crate) fn named_port(name: &str, number: u16) -> PortSpec {
    PortSpec {
        name: Some(PortName::new(name).unwrap()),
        ..port(number)
    }
}

pub(crate) fn spec(ports: Vec<PortSpec>) -> ServiceSpec {
    ServiceSpec {
        env: BTreeMap::from([("DB_PASSWORD".to_owned(), Template::secret("hunter2-in-spec"))]),
        ports,
        ..ServiceSpec::new(Kind::Process(ProcessSpec {
            binary: Template::from("/bin/true"),
            args: vec![Template::from("--verbose")],
            working_dir: Some(Template::from("/")),
            user: None,
            limits: Limits::default(),
        }))
    }
}

pub(crate) fn project_spec(name: &str, services: Vec<(&str, ServiceSpec)>) -> ProjectSpec {
    let folder = PathBuf::from("/srv/app");
    ProjectSpec {
        services: services
            .into_iter()
            .map(|(name, spec)| (service(name), spec))
            .collect(),
        ..ProjectSpec::new(project(name), folder.join("services.yaml"), folder)
    }
}

pub(crate) fn project_record(name: &str) -> ProjectRecord {
    let spec = project_spec(name, vec![("db", spec(vec![port(5432)]))]);
    ProjectRecord {
        name: project(name),
        source: spec.source.clone(),
        spec,
        created_at: WallTime(1),
        folder: None,
        earlier_files: Vec::new(),
    }
}

pub(crate) fn addresses(ports: &[(u16, bool)]) -> ServiceAddresses {
    let ip = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let assignment = |&(port, dynamic): &(u16, bool)| PortAssignment {
        name: None,
        host_ip: ip,
        port,
        target: None,
        protocol: Protocol::Tcp,
        dynamic,
    };
    let ports = ports.iter().map(assignment).collect();
    let mut addresses = ServiceAddresses::at(Place::machine(ip), ip.to_string(), ports);
    record_ways([&mut addresses]);
    addresses
}

pub(crate) fn record(in_project: &str, name: &str) -> ServiceRecord {
    let environment = BTreeMap::from([("API_TOKEN".to_owned(), SecretString::new("hunter2-inherited"))]);
    ServiceRecord::new(
        project(in_project),
        service(name),
        spec(vec![port(5432)]),
        environment,
        addresses(&[(5432, false)]),
    )
}

/// What the services want, as their executors would say.
pub(crate) fn wants(project: &ProjectSpec) -> PlanWants {
    let of = |spec: &ServiceSpec| match &spec.kind {
        Kind::Process(_) => Wants::Local,
        Kind::Container(docker) => Wants::container(&spec.network, &docker.networks),
        Kind::Package(_) | Kind::Other { .. } => Wants::Elsewhere,
    };
    let services = project.services.iter();
    services.map(|(name, spec)| (name.clone(), of(spec))).collect()
}
