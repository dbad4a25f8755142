//! Which service gets which address, and what a reference to it says.

#![cfg(test)]

mod common;

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, TcpListener};

use common::{addresses, named_port, port, project, project_spec, service, spec, wants};
use harness_model::spec::{Kind, NetworkAttachment, NetworkSpec, PackageSpec, Protocol};
use harness_model::{
    AddressField, NetworkName, PortName, ProjectSpec, Reference, ServiceName, ServiceSpec, Subnet,
};
use service_registry::address::{
    AddressError, Attached, Attachment, FreePorts, Holder, NoRoute, Place, ServiceAddresses, Taken, Wants,
    assign, environment, lookup, record_ways,
};
use service_registry::network::{Interface, InterfaceKind, Topology};

type Plan = BTreeMap<ServiceName, ServiceAddresses>;

/// Hands out 40000, 40001, …
fn counting() -> impl FnMut(IpAddr, Protocol) -> io::Result<u16> {
    let mut next = 40_000;
    move |_, _| {
        next += 1;
        Ok(next - 1)
    }
}

fn plan(spec: &ProjectSpec, previous: &Plan) -> Result<Plan, AddressError> {
    assign(spec, &wants(spec), previous, &Taken::default(), &mut counting())
}

/// Another machine.
fn node(host: &str) -> Place {
    let host = host.to_owned();
    let ip = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
    Place {
        attachments: vec![Attachment::Node { host, ip }],
    }
}

fn numbers(plan: &Plan, name: &str) -> Vec<u16> {
    plan[&service(name)].ports.iter().map(|p| p.port).collect()
}

fn ip(plan: &Plan, name: &str) -> String {
    plan[&service(name)].ip().to_string()
}

fn pool(mut spec: ProjectSpec, subnet: &str) -> ProjectSpec {
    let network = NetworkSpec {
        subnet: Some(subnet.parse().unwrap()),
        ..NetworkSpec::local()
    };
    spec.networks.insert(NetworkName::local(), network);
    spec
}

fn taken(live: bool, addresses: ServiceAddresses) -> Taken {
    let mut taken = Taken::default();
    taken.add(
        Holder {
            is_no_longer_in_file: false,
            project: project("other"),
            service: service("x"),
        },
        live,
        addresses,
    );
    taken
}

#[test]
fn local_processes_share_the_loopback_address() {
    let spec = project_spec("p", vec![("a", spec(vec![port(5432)])), ("b", spec(vec![]))]);
    for spec in [spec.clone(), pool(spec, "127.0.0.0/8")] {
        let plan = plan(&spec, &Plan::new()).unwrap();
        assert_eq!(
            (ip(&plan, "a").as_str(), ip(&plan, "b").as_str()),
            ("127.0.0.1", "127.0.0.1")
        );
        assert_eq!(numbers(&plan, "a"), [5432]);
    }
}

#[test]
fn port_zero_is_chosen_and_kept() {
    let first = project_spec(
        "p",
        vec![("a", spec(vec![port(0), named_port("admin", 0), port(80)]))],
    );
    let plan_1 = plan(&first, &Plan::new()).unwrap();
    assert_eq!(numbers(&plan_1, "a"), [40_000, 40_001, 80]);
    // The order is changed, and a service that comes first wants an address too.
    let second = project_spec(
        "p",
        vec![
            ("a", spec(vec![named_port("admin", 0), port(80), port(0)])),
            ("Z", spec(vec![port(0)])),
        ],
    );
    let plan_2 = plan(&second, &plan_1).unwrap();
    assert_eq!(numbers(&plan_2, "a"), [40_001, 80, 40_000]);
    assert_eq!(numbers(&plan_2, "Z"), [40_002]);
}

#[test]
fn a_kept_port_gives_way_to_a_written_one() {
    let first = project_spec("p", vec![("a", spec(vec![port(0)]))]);
    let plan_1 = plan(&first, &Plan::new()).unwrap();
    let second = project_spec(
        "p",
        vec![("a", spec(vec![port(0)])), ("b", spec(vec![port(40_000)]))],
    );
    let plan_2 = plan(&second, &plan_1).unwrap();
    assert_eq!(
        (numbers(&plan_2, "a"), numbers(&plan_2, "b")),
        (vec![40_001], vec![40_000])
    );
}

#[test]
fn one_port_for_two_services_is_a_conflict() {
    let mut wildcard = port(80);
    wildcard.host_ip = Some("0.0.0.0".to_owned());
    let mut v6 = port(80);
    v6.host_ip = Some("[::]".to_owned());
    let mut udp = port(80);
    udp.protocol = Protocol::Udp;
    let mut elsewhere = port(80);
    elsewhere.host_ip = Some("127.0.0.2".to_owned());
    let with = |other| {
        plan(
            &project_spec("p", vec![("a", spec(vec![port(80)])), ("b", spec(vec![other]))]),
            &Plan::new(),
        )
    };
    for other in [port(80), wildcard, v6] {
        let error = with(other).unwrap_err();
        assert!(
            matches!(&error, AddressError::Duplicate { service: s, other: o, .. } if *s == service("b") && *o == service("a")),
            "{error}"
        );
    }
    assert!(with(udp).is_ok());
    assert_eq!(
        ip(&with(elsewhere).unwrap(), "b"),
        "127.0.0.2",
        "it is reached where it listens"
    );
}

#[test]
fn ports_of_other_projects_count_while_they_run() {
    let spec = project_spec("p", vec![("a", spec(vec![port(5432)]))]);
    let assign_with = |taken| assign(&spec, &wants(&spec), &Plan::new(), &taken, &mut counting());
    let error = assign_with(taken(true, addresses(&[(5432, false)]))).unwrap_err();
    assert!(
        matches!(error, AddressError::InUse { ref holder, .. } if holder.service == service("x")),
        "{error}"
    );
    assert!(assign_with(taken(false, addresses(&[(5432, false)]))).is_ok());
    let mut remote = addresses(&[(5432, false)]);
    remote.place = node("node1");
    assert!(
        assign_with(taken(true, remote)).is_ok(),
        "another machine has ports of its own"
    );
}

#[test]
fn a_chosen_port_keeps_away_from_what_is_remembered_for_others() {
    let spec = project_spec("p", vec![("a", spec(vec![port(0)]))]);
    let plan = assign(
        &spec,
        &wants(&spec),
        &Plan::new(),
        &taken(false, addresses(&[(40_000, true)])),
        &mut counting(),
    )
    .unwrap();
    assert_eq!(numbers(&plan, "a"), [40_001]);
}

#[test]
fn a_search_that_finds_nothing_ends() {
    let spec = project_spec("p", vec![("a", spec(vec![port(0), port(0)]))]);
    let error = assign(
        &spec,
        &wants(&spec),
        &Plan::new(),
        &Taken::default(),
        &mut |_, _| Ok(40_000),
    )
    .unwrap_err();
    assert!(matches!(error, AddressError::NoFreePort { .. }), "{error}");
}

#[test]
fn a_narrow_loopback_subnet_gives_everybody_an_address() {
    let two = project_spec(
        "p",
        vec![("a", spec(vec![port(80)])), ("b", spec(vec![port(80)]))],
    );
    let plan_1 = plan(&pool(two, "127.0.0.0/29"), &Plan::new()).unwrap();
    assert_eq!(
        (ip(&plan_1, "a").as_str(), ip(&plan_1, "b").as_str()),
        ("127.0.0.2", "127.0.0.3")
    );
    // "B" sorts first, but takes nothing from the others.
    let three = project_spec(
        "p",
        vec![("B", spec(vec![])), ("a", spec(vec![])), ("b", spec(vec![]))],
    );
    let plan_2 = plan(&pool(three.clone(), "127.0.0.0/29"), &plan_1).unwrap();
    let all = ["B", "a", "b"].map(|name| ip(&plan_2, name));
    assert_eq!(all, ["127.0.0.4", "127.0.0.2", "127.0.0.3"]);
    let error = plan(&pool(three.clone(), "127.0.0.0/30"), &Plan::new()).unwrap_err();
    assert!(matches!(error, AddressError::PoolExhausted { .. }), "{error}");
    // Addresses of other projects are not given out again.
    let mut other = addresses(&[]);
    other.place = Place::machine("127.0.0.2".parse().unwrap());
    let three = pool(three, "127.0.0.0/29");
    let plan_3 = assign(
        &three,
        &wants(&three),
        &Plan::new(),
        &taken(false, other),
        &mut counting(),
    )
    .unwrap();
    assert!(
        !plan_3.values().any(|a| a.ip().to_string() == "127.0.0.2"),
        "{plan_3:?}"
    );
}

#[test]
fn bad_input_is_an_error() {
    let mut bad_ip = port(80);
    bad_ip.host_ip = Some("eth0".to_owned());
    let bad_ip = project_spec("p", vec![("a", spec(vec![bad_ip]))]);
    assert!(matches!(
        plan(&bad_ip, &Plan::new()),
        Err(AddressError::NotAnAddress { .. })
    ));
    let mut lost = project_spec("p", vec![("a", spec(vec![]))]);
    lost.networks.clear();
    assert!(matches!(
        plan(&lost, &Plan::new()),
        Err(AddressError::UnknownNetwork { .. })
    ));
}

#[test]
fn a_service_that_nobody_spoke_for_is_refused() {
    let spec = project_spec("p", vec![("a", spec(vec![])), ("b", spec(vec![]))]);
    let mut wants = wants(&spec);
    wants.remove("b");
    let error = assign(&spec, &wants, &Plan::new(), &Taken::default(), &mut counting()).unwrap_err();
    assert!(
        matches!(&error, AddressError::NotKnown { service } if service.as_str() == "b"),
        "{error}"
    );
}

#[test]
fn what_wants_nothing_is_not_reached_but_reaches_others() {
    let mut spec = project_spec("p", vec![("a", spec(vec![port(80)])), ("quiet", spec(vec![]))]);
    let mut wants = wants(&spec);
    wants.insert(service("quiet"), Wants::Nothing);
    let assign = |spec: &ProjectSpec| assign(spec, &wants, &Plan::new(), &Taken::default(), &mut counting());
    let plan = assign(&spec).unwrap();
    assert_eq!(plan[&service("quiet")].place, Place::default());
    let to = |name: &str| Reference {
        service: service(name),
        field: AddressField::Ip,
    };
    let error = lookup(&to("quiet"), &plan, &service("a")).unwrap_err();
    assert!(matches!(error, AddressError::NoAddress { .. }), "{error}");
    assert_eq!(lookup(&to("a"), &plan, &service("quiet")).unwrap(), "127.0.0.1");
    assert_eq!(environment(&Place::here(), &plan).len(), 2, "only those of `a`");
    let stored = serde_json::to_string(&plan).unwrap();
    assert_eq!(serde_json::from_str::<Plan>(&stored).unwrap(), plan);

    spec.services.get_mut(&service("quiet")).unwrap().ports = vec![port(81)];
    let error = assign(&spec).unwrap_err();
    assert_eq!(error.to_string(), "quiet: a service of its type has no ports");
}

#[test]
fn services_that_others_run_are_left_out() {
    let mut mixed = project_spec(
        "p",
        vec![("a", spec(vec![port(80)])), ("b", spec(vec![port(80)]))],
    );
    mixed.services.get_mut(&service("b")).unwrap().kind = Kind::Package(PackageSpec {
        package: "x.tar.gz".into(),
        version: None,
        install_path: None,
        binary: None,
        args: Vec::new(),
        requires: Vec::new(),
    });
    let plan = plan(&mixed, &Plan::new()).unwrap();
    assert_eq!(plan.keys().map(ServiceName::as_str).collect::<Vec<_>>(), ["a"]);
    let reference = Reference {
        service: service("b"),
        field: AddressField::Ip,
    };
    let error = lookup(&reference, &plan, &service("a")).unwrap_err();
    assert!(matches!(error, AddressError::NoAddress { .. }), "{error}");
}

#[test]
fn references_are_answered() {
    let spec = project_spec(
        "p",
        vec![
            ("db", spec(vec![port(5432), named_port("admin", 0)])),
            ("app", spec(vec![])),
        ],
    );
    let plan = plan(&spec, &Plan::new()).unwrap();
    let ask = |name: &str, field| {
        lookup(
            &Reference {
                service: service(name),
                field,
            },
            &plan,
            &service("app"),
        )
    };
    let admin = |name: &str| AddressField::Port(Some(PortName::new(name).unwrap()));
    assert_eq!(ask("db", AddressField::Ip).unwrap(), "127.0.0.1");
    assert_eq!(ask("db", AddressField::Host).unwrap(), "127.0.0.1");
    assert_eq!(ask("db", AddressField::Port(None)).unwrap(), "5432");
    assert_eq!(ask("db", admin("admin")).unwrap(), "40000");
    assert!(matches!(
        ask("db", admin("amdin")),
        Err(AddressError::UnknownPort { .. })
    ));
    assert!(matches!(
        ask("app", AddressField::Port(None)),
        Err(AddressError::NoPorts { .. })
    ));
    assert!(matches!(
        ask("no", AddressField::Ip),
        Err(AddressError::NoAddress { .. })
    ));
    let mut far = plan.clone();
    far.get_mut(&service("db")).unwrap().place = node("node1");
    record_ways(far.values_mut());
    let reference = Reference {
        service: service("db"),
        field: AddressField::Ip,
    };
    assert!(matches!(
        lookup(&reference, &far, &service("app")),
        Err(AddressError::Unreachable {
            why: NoRoute::OtherMachine,
            ..
        })
    ));
}

#[test]
fn addresses_become_variables() {
    let spec = project_spec(
        "p",
        vec![
            ("my-db", spec(vec![named_port("sql-1", 5432), port(80)])),
            ("app", spec(vec![])),
        ],
    );
    let variables: Vec<_> = environment(&Place::here(), &plan(&spec, &Plan::new()).unwrap())
        .into_iter()
        .collect();
    let expected = [
        ("HARNESS_APP_IP", "127.0.0.1"),
        ("HARNESS_MY_DB_IP", "127.0.0.1"),
        ("HARNESS_MY_DB_PORT", "5432"),
        ("HARNESS_MY_DB_PORT_SQL_1", "5432"),
    ];
    assert_eq!(
        variables,
        expected.map(|(name, value)| (name.to_owned(), value.to_owned()))
    );
}

#[test]
fn free_ports_are_free_and_given_once() {
    let mut free = FreePorts::default();
    let local = "127.0.0.1".parse().unwrap();
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..200 {
        let number = free.take(local, Protocol::Tcp).unwrap();
        assert!(seen.insert(number), "{number} was given twice");
    }
    let listener = TcpListener::bind((local, 0)).unwrap();
    let used = listener.local_addr().unwrap().port();
    assert!(!FreePorts::is_free(local, used, Protocol::Tcp));
    drop(listener);
    assert!(FreePorts::is_free(local, used, Protocol::Tcp));
}

/// A container with these ports.
fn container(ports: Vec<harness_model::spec::PortSpec>) -> harness_model::ServiceSpec {
    let mut spec = spec(ports);
    spec.kind = Kind::Container(Box::default());
    spec
}

#[test]
fn containers_have_addresses_of_their_own_and_keep_them() {
    let mut published = port(8080);
    published.target = Some(80);
    let two = project_spec(
        "p",
        vec![
            ("db", container(vec![port(5432)])),
            ("web", container(vec![published.clone()])),
            ("app", spec(vec![port(9000)])),
        ],
    );
    let plan_1 = plan(&two, &Plan::new()).unwrap();
    let Attached { subnet, gateway, .. } = plan_1[&service("db")].networks().next().unwrap().clone();
    assert!(subnet.contains(gateway) && subnet.prefix() == 24, "{subnet}");
    assert_ne!(plan_1[&service("db")].ip(), plan_1[&service("web")].ip());
    // A service that comes before the others by name takes nothing from them.
    let mut three = two.clone();
    three.services.insert(service("a"), container(vec![]));
    let plan_2 = plan(&three, &plan_1).unwrap();
    for kept in ["db", "web"] {
        assert_eq!(plan_1[&service(kept)], plan_2[&service(kept)]);
    }
    // Another project with containers gets another subnet, whatever it would have chosen.
    let other = assign(
        &two,
        &wants(&two),
        &Plan::new(),
        &taken(false, plan_1[&service("db")].clone()),
        &mut counting(),
    )
    .unwrap();
    assert_ne!(other[&service("db")].place, plan_1[&service("db")].place);
    let subnet = |text: &str| plan(&pool(two.clone(), text), &Plan::new());
    assert_eq!(
        subnet("10.9.8.0/24").unwrap()[&service("db")].ip().to_string(),
        "10.9.8.2"
    );
    assert!(matches!(
        subnet("10.9.8.0/30"),
        Err(AddressError::NoContainerSubnet { .. })
    ));
}

#[test]
fn a_subnet_is_chosen_away_from_what_this_machine_reaches() {
    let project = project_spec("p", vec![("db", container(vec![]))]);
    let subnet = |plan: &Plan| plan[&service("db")].networks().next().unwrap().subnet;
    let alone = plan(&project, &Plan::new()).unwrap();
    let beside = |addresses: &[Subnet], routes: &[Subnet], previous: &Plan| {
        let mut taken = Taken::default();
        taken.add_reached(&Topology {
            interfaces: vec![Interface {
                name: "br-strange".to_owned(),
                kind: InterfaceKind::Lan,
                addresses: addresses.to_vec(),
                routes: routes.to_vec(),
            }],
        });
        assign(&project, &wants(&project), previous, &taken, &mut counting()).unwrap()
    };
    let theirs = Subnet::new(subnet(&alone).hosts().next().unwrap(), 28).unwrap();
    for other in [
        beside(&[theirs], &[], &Plan::new()),
        beside(&[], &[theirs], &Plan::new()),
    ] {
        assert!(!subnet(&other).overlaps(&theirs), "{}", subnet(&other));
    }
    // It may already be the project's own.
    assert_eq!(beside(&[theirs], &[], &alone), alone);
    // A route to everything, or to most of the possible choices, must still leave something to choose.
    let everything = ["0.0.0.0/0", "10.0.0.0/8"].map(|text| text.parse().unwrap());
    assert_eq!(beside(&[], &everything, &Plan::new()), alone);
}

#[test]
fn references_are_answered_for_the_place_they_stand_in() {
    let mut published = port(8080);
    published.target = Some(80);
    let spec = project_spec(
        "p",
        vec![
            ("web", container(vec![published])),
            ("hidden", container(vec![])),
            ("app", spec(vec![port(9000)])),
            ("other", container(vec![])),
        ],
    );
    let plan = plan(&spec, &Plan::new()).unwrap();
    let own = |name: &str| plan[&service(name)].ip().to_string();
    let gateway = plan[&service("web")].networks().next().unwrap().gateway;
    let ask = |from: &str, to: &str, field| {
        let reference = Reference {
            service: service(to),
            field,
        };
        lookup(&reference, &plan, &service(from)).map_err(|error| error.to_string())
    };
    let both = |from: &str, to: &str| {
        (
            ask(from, to, AddressField::Ip).unwrap(),
            ask(from, to, AddressField::Port(None)).unwrap(),
        )
    };
    assert_eq!(both("app", "web"), ("127.0.0.1".to_owned(), "8080".to_owned()));
    assert_eq!(both("other", "web"), (own("web"), "80".to_owned()));
    assert_eq!(both("other", "app"), (gateway.to_string(), "9000".to_owned()));
    assert_eq!(ask("app", "hidden", AddressField::Ip).unwrap(), own("hidden"));
    assert_eq!(ask("other", "web", AddressField::Host).unwrap(), "web");
    assert!(ask("app", "hidden", AddressField::Port(None)).is_err());
    let variables = environment(&plan[&service("other")].place, &plan);
    assert_eq!(variables["HARNESS_WEB_PORT"], "80");
    assert_eq!(variables["HARNESS_APP_IP"], gateway.to_string());
}

/// A container on these networks, with fixed addresses where they are given.
fn attached(networks: &[(&str, Option<&str>)]) -> ServiceSpec {
    let mut spec = container(vec![]);
    let Kind::Container(docker) = &mut spec.kind else {
        panic!("{spec:?}");
    };
    docker.networks = networks
        .iter()
        .map(|(network, address)| NetworkAttachment {
            ipv4_address: address.map(|address| address.parse().unwrap()),
            ..NetworkAttachment::plain(NetworkName::new(network).unwrap())
        })
        .collect();
    spec.network = docker.networks[0].network.clone();
    spec
}

fn with_networks(mut project: ProjectSpec) -> ProjectSpec {
    for (name, subnet) in [("front", None), ("back", Some("10.9.8.0/24")), ("side", None)] {
        let network = NetworkSpec {
            subnet: subnet.map(|subnet| subnet.parse().unwrap()),
            ..NetworkSpec::local()
        };
        project.networks.insert(NetworkName::new(name).unwrap(), network);
    }
    project
}

#[test]
fn containers_on_several_networks_meet_where_both_are() {
    let project = with_networks(project_spec(
        "p",
        vec![
            ("a", attached(&[("front", None), ("back", Some("10.9.8.2"))])),
            ("b", attached(&[("back", None)])),
            ("c", attached(&[("side", None)])),
            ("app", spec(vec![])),
        ],
    ));
    let plan_1 = plan(&project, &Plan::new()).unwrap();
    let ask = |from: &str, to: &str| {
        let reference = Reference {
            service: service(to),
            field: AddressField::Ip,
        };
        lookup(&reference, &plan_1, &service(from)).map_err(|error| error.to_string())
    };
    // An address in the file is kept free for the service that names it.
    assert_eq!(ask("b", "a").unwrap(), "10.9.8.2");
    assert_eq!(ask("a", "b").unwrap(), "10.9.8.3");
    let networks: Vec<&Attached> = plan_1[&service("a")].networks().collect();
    assert_eq!(networks.len(), 2);
    assert!(networks.iter().all(|network| network.subnet.contains(network.ip)));
    assert!(!networks[0].subnet.overlaps(&networks[1].subnet));
    assert_eq!(ask("app", "a").unwrap(), networks[0].ip.to_string(), "its first");
    assert!(ask("a", "c").unwrap_err().contains("cannot be reached"));
    assert_eq!(plan(&project, &plan_1).unwrap(), plan_1, "all of it is kept");
    // Another project avoids all of its networks.
    let taken = taken(true, plan_1[&service("a")].clone());
    let beside = project_spec("q", vec![("x", container(vec![]))]);
    let other = assign(&beside, &wants(&beside), &Plan::new(), &taken, &mut counting()).unwrap();
    let other: Vec<_> = other[&service("x")].networks().collect();
    assert!(
        networks
            .iter()
            .all(|network| !network.subnet.overlaps(&other[0].subnet))
    );
}

#[test]
fn written_addresses_that_cannot_be_are_refused() {
    for (first, second, why) in [
        ("10.9.8.2", "10.9.8.2", "a has it"),
        ("10.9.8.1", "10.9.8.2", "this machine's"),
        ("10.9.9.2", "10.9.8.2", "not in the subnet"),
    ] {
        let project = with_networks(project_spec(
            "p",
            vec![
                ("a", attached(&[("back", Some(first))])),
                ("b", attached(&[("back", Some(second))])),
            ],
        ));
        let error = plan(&project, &Plan::new()).unwrap_err();
        assert!(error.to_string().contains(why), "{error}");
    }
}
