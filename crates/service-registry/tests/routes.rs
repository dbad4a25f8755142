//! What places are attached to, the ways that are recorded between them, and how earlier versions kept that.

#![cfg(test)]

mod common;

use std::collections::BTreeMap;

use common::{addresses, service};
use harness_model::{NetworkName, ServiceName};
use serde_json::{Value, json};
use service_registry::address::{
    Attached, NoRoute, Place, Point, Route, ServiceAddresses, environment, record_ways, seen_from,
};

/// As version 0.1 wrote them.
fn earlier(place: &Value, ip: &str) -> Value {
    json!({
        "place": place, "ip": ip, "host": "db",
        "ports": [{"name": "sql", "host_ip": "0.0.0.0", "port": 8080, "target": 80, "protocol": "tcp", "dynamic": true}],
        "exposed": [80],
    })
}

fn loaded(value: Value) -> ServiceAddresses {
    serde_json::from_value(value).unwrap()
}

fn on(network: &str, third: u8, last: u8) -> Attached {
    Attached {
        network: NetworkName::new(network).unwrap(),
        subnet: format!("10.9.{third}.0/24").parse().unwrap(),
        gateway: format!("10.9.{third}.1").parse().unwrap(),
        ip: format!("10.9.{third}.{last}").parse().unwrap(),
    }
}

fn container(networks: &[Attached], published: bool) -> ServiceAddresses {
    let mut from = addresses(if published { &[(8080, false)] } else { &[] });
    for port in &mut from.ports {
        port.target = Some(80);
    }
    ServiceAddresses::at(Place::networks(networks.to_vec()), "name".to_owned(), from.ports)
}

#[test]
fn addresses_of_earlier_versions_are_read() {
    let local = loaded(earlier(&json!("local"), "127.0.0.2"));
    assert_eq!(local.place, Place::machine("127.0.0.2".parse().unwrap()));
    // The very first ones had no place.
    let mut first = earlier(&json!("local"), "127.0.0.2");
    first.as_object_mut().unwrap().remove("place");
    first.as_object_mut().unwrap().remove("exposed");
    assert_eq!(loaded(first).place, local.place);
    let also = json!([{"network": "back", "subnet": "10.9.8.0/24", "gateway": "10.9.8.1", "ip": "10.9.8.7"}]);
    let place = json!({"container": {
        "network": "front", "subnet": "10.9.7.0/24", "gateway": "10.9.7.1", "also": also,
    }});
    let container = loaded(earlier(&place, "10.9.7.3"));
    let networks: Vec<Attached> = container.networks().cloned().collect();
    assert_eq!(networks, [on("front", 7, 3), on("back", 8, 7)]);
    assert_eq!(
        (container.ip().to_string().as_str(), container.exposed.as_slice()),
        ("10.9.7.3", &[80][..])
    );
    assert!(container.ports[0].dynamic && container.ports[0].target == Some(80));
    // What is asked from this machine needs no other service.
    let view = seen_from(&Place::here(), &container).unwrap();
    assert_eq!(
        (view.ip.to_string().as_str(), view.ports[0].port),
        ("127.0.0.1", 8080)
    );
    let node = loaded(earlier(&json!({"node": {"host": "node1"}}), "127.0.0.1"));
    assert!(node.place.is_elsewhere());
    assert_eq!(seen_from(&Place::here(), &node), Err(NoRoute::OtherMachine));
    for kept in [local, container, node] {
        let again = loaded(serde_json::to_value(&kept).unwrap());
        assert_eq!(again, kept);
    }
    let error = serde_json::from_value::<ServiceAddresses>(json!({"host": "db", "ports": []})).unwrap_err();
    assert!(error.to_string().contains("missing field `ip`"), "{error}");
}

#[test]
fn there_is_one_way_from_each_point_to_each_service() {
    let mut plan = BTreeMap::from([
        (service("app"), addresses(&[(9000, false)])),
        (
            service("both"),
            container(&[on("front", 7, 2), on("back", 8, 2)], true),
        ),
        (service("shy"), container(&[on("back", 8, 3)], false)),
        (
            service("silent"),
            ServiceAddresses::at(Place::default(), "none".to_owned(), Vec::new()),
        ),
    ]);
    record_ways(plan.values_mut());
    let points = [
        Point::Machine,
        Point::Network(NetworkName::new("back").unwrap()),
        Point::Network(NetworkName::new("front").unwrap()),
    ];
    let direct = |ip: &str, host: &str| Route::Direct {
        ip: ip.parse().unwrap(),
        host: host.to_owned(),
    };
    let expected = [
        (
            "app",
            [
                direct("127.0.0.1", "127.0.0.1"),
                direct("10.9.8.1", "10.9.8.1"),
                direct("10.9.7.1", "10.9.7.1"),
            ],
        ),
        (
            "both",
            [
                Route::Published {
                    ip: "127.0.0.1".parse().unwrap(),
                },
                direct("10.9.8.2", "name"),
                direct("10.9.7.2", "name"),
            ],
        ),
        (
            "shy",
            [
                direct("10.9.8.3", "10.9.8.3"),
                direct("10.9.8.3", "name"),
                Route::None(NoRoute::OtherNetworks),
            ],
        ),
        ("silent", [(); 3].map(|()| Route::None(NoRoute::NoAddress))),
    ];
    for (name, routes) in expected {
        let ways = &plan[&service(name)].ways;
        let found: Vec<_> = ways.iter().map(|way| (&way.from, &way.route)).collect();
        assert_eq!(found, points.iter().zip(&routes).collect::<Vec<_>>(), "{name}");
    }
    // A place with several points uses the first one from which there is a way.
    let ip = |from: &str, to: &str| {
        let from = &plan[&service(from)].place;
        seen_from(from, &plan[&service(to)]).map(|view| view.ip.to_string())
    };
    assert_eq!(ip("both", "app").unwrap(), "10.9.7.1");
    assert_eq!(ip("both", "shy").unwrap(), "10.9.8.3");
    // What has no address itself is on this machine.
    assert_eq!(ip("silent", "app").unwrap(), "127.0.0.1");
    assert_eq!(ip("app", "silent"), Err(NoRoute::NoAddress));
    let names: Vec<ServiceName> = plan.keys().cloned().collect();
    let variables = environment(&Place::here(), &plan);
    for name in names {
        let variable = format!("HARNESS_{}_IP", name.as_str().to_uppercase());
        assert_eq!(
            variables.contains_key(&variable),
            name.as_str() != "silent",
            "{name}"
        );
    }
}

#[test]
fn ports_are_those_of_the_way() {
    let mut web = container(&[on("front", 7, 2)], true);
    record_ways([&mut web]);
    let port = |from: &Place| seen_from(from, &web).unwrap().ports[0].port;
    assert_eq!((port(&Place::here()), port(&web.place)), (8080, 80));
    // A point that came later than the record.
    let later = Place::networks([on("later", 6, 2)]);
    assert_eq!(seen_from(&later, &web), Err(NoRoute::NotRecorded));
}
