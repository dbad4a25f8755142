//! `ports`: the ports that a process listens on, or that a container publishes.

use std::collections::HashMap;
use std::net::IpAddr;

use harness_model::PortName;
use harness_model::spec::{Origin, PortSpec, Protocol};

use super::DraftPort;
use crate::diagnostics::Finding;
use crate::fields::Fields;
use crate::keys::PORT;
use crate::read::{Reader, Text};
use crate::source::Span;
use crate::tree::{Kind, Node};

/// Reads `ports`. Leaves out those that are wrong.
pub(super) fn lower(fields: &Fields<'_>, service_type: &str) -> Vec<DraftPort> {
    let reader = fields.reader;
    let docker = service_type == "docker";
    let Some(node) = fields.get("ports") else {
        return Vec::new();
    };
    let read: Vec<DraftPort> = match &node.kind {
        Kind::List(items) => items
            .iter()
            .filter_map(|item| one(reader, item, docker))
            .collect(),
        Kind::Map(entries) => entries
            .iter()
            .filter_map(|(key, value)| {
                let name = port_name(reader, &key.name, key.span);
                let mut port = scalar(reader, &reader.text(value, true)?, docker)?;
                port.spec.name = name;
                Some(port)
            })
            .collect(),
        _ => {
            fields.wrong("ports", node);
            return Vec::new();
        }
    };
    let mut kept: Vec<DraftPort> = Vec::new();
    let (mut numbers, mut names) = (HashMap::new(), HashMap::new());
    for port in read {
        let spec = &port.spec;
        let number = (spec.port, spec.protocol, spec.host_ip.clone());
        let same_number = numbers.get(&number).filter(|_| spec.port != 0);
        match same_number.or(spec.name.as_ref().and_then(|name| names.get(name))) {
            Some(first) => reader.report(
                Finding::error(port.span, "this port is written twice").related(*first, "first written here"),
            ),
            None => {
                numbers.insert(number, port.span);
                names.extend(spec.name.clone().map(|name| (name, port.span)));
                kept.push(port);
            }
        }
    }
    kept
}

fn one(reader: Reader<'_>, node: &Node, docker: bool) -> Option<DraftPort> {
    match &node.kind {
        Kind::Map(_) => section(reader, node, docker),
        Kind::Number(_) | Kind::String(_) => scalar(reader, &reader.text(node, true)?, docker),
        _ => {
            reader.report(
                Finding::error(node.span, format!("expected a port, found {}", node.describe())).help(FORMS),
            );
            None
        }
    }
}

const FORMS: &str =
    "write `5432`, `\"8080:80\"`, `\"127.0.0.1:8080:80/udp\"`, or a map with `name` and `port`";

fn port_name(reader: Reader<'_>, name: &str, span: Span) -> Option<PortName> {
    match PortName::new(name) {
        Ok(name) => Some(name),
        Err(error) => {
            reader.report(Finding::error(span, error.to_string()));
            None
        }
    }
}

fn section(reader: Reader<'_>, node: &Node, docker: bool) -> Option<DraftPort> {
    let fields = Fields::open(reader, &PORT, node)?;
    fields.check_keys("a port", node.span, None);
    let name = fields
        .text("name")
        .and_then(|text| port_name(reader, &text.value, text.span));
    let target = fields.whole_u16("target");
    if fields.has("target") && !docker {
        refuse_target(reader, fields.key_span("target"));
    }
    let host_ip = fields.text("host_ip").filter(|text| {
        let good = text.value.parse::<IpAddr>().is_ok();
        if !good {
            reader.report(Finding::error(
                text.span,
                format!("`{}` is not an IP address", text.value),
            ));
        }
        good
    });
    let protocol = match fields.choice("protocol") {
        Some("udp") => Protocol::Udp,
        _ => Protocol::Tcp,
    };
    let port = fields.whole_u16("port")?;
    let span = fields.get("port").map_or(node.span, |node| node.span);
    finish(
        reader,
        name,
        host_ip.map(|text| text.value),
        port,
        target,
        protocol,
        span,
        docker,
    )
}

fn refuse_target(reader: Reader<'_>, span: Span) {
    reader.report(
        Finding::error(span, "only a container has a target port")
            .help("write the port that the process listens on"),
    );
}

/// `[IP:]PORT[:TARGET][/PROTOCOL]`
fn scalar(reader: Reader<'_>, text: &Text, docker: bool) -> Option<DraftPort> {
    let bad = |help: &str| {
        reader.report(Finding::error(text.span, format!("`{}` is not a port", text.value)).help(help));
        None
    };
    let value = text.value.trim();
    let (address, protocol) = match value.split_once('/') {
        None => (value, Protocol::Tcp),
        Some((address, "tcp")) => (address, Protocol::Tcp),
        Some((address, "udp")) => (address, Protocol::Udp),
        Some(_) => return bad("the protocol is `tcp` or `udp`"),
    };
    let (host_ip, rest) = match split_address(address) {
        Some((ip, rest)) => (Some(ip.to_owned()), rest),
        None => (None, address),
    };
    let number = |text: &str| {
        text.chars()
            .all(|c| c.is_ascii_digit())
            .then(|| text.parse::<u16>().ok())
            .flatten()
    };
    let (port, target) = match rest.split_once(':') {
        Some((port, target)) => (number(port), Some(number(target))),
        None => (number(rest), None),
    };
    if rest.contains('-') {
        return bad("ranges are not supported; list each port");
    }
    let (Some(port), Some(target)) = (port, target.map_or(Some(None), |target| target.map(Some))) else {
        let digits = rest.chars().all(|c| c.is_ascii_digit() || c == ':') && !rest.is_empty();
        return bad(if digits {
            "a port is a number from 0 to 65535"
        } else {
            FORMS
        });
    };
    if target.is_some() && !docker {
        refuse_target(reader, text.span);
        return None;
    }
    if target == Some(0) {
        return bad("the port inside the container must be known, so it cannot be 0");
    }
    finish(reader, None, host_ip, port, target, protocol, text.span, docker)
}

fn split_address(text: &str) -> Option<(&str, &str)> {
    let (address, rest) = match text.strip_prefix('[') {
        Some(bracketed) => bracketed.split_once("]:")?,
        None => text.split_once(':')?,
    };
    address.parse::<IpAddr>().is_ok().then_some((address, rest))
}

#[expect(clippy::too_many_arguments, reason = "these are the fields of one port")]
fn finish(
    reader: Reader<'_>,
    name: Option<PortName>,
    host_ip: Option<String>,
    port: u16,
    target: Option<u16>,
    protocol: Protocol,
    span: Span,
    docker: bool,
) -> Option<DraftPort> {
    if docker && port == 0 && target.is_none() {
        reader.report(
            Finding::error(
                span,
                "port 0 selects a free port, but the port inside the container is not given",
            )
            .help("write `\"0:5432\"`"),
        );
        return None;
    }
    let source = reader.context.sources.get(span.file);
    let line = source.line_index(span.start);
    let (shown, _) = source.shown_line(line, 0..0);
    Some(DraftPort {
        spec: PortSpec {
            name,
            host_ip,
            port,
            target: target.filter(|target| *target != port),
            protocol,
            origin: Some(Origin {
                file: source.name.clone(),
                line: u32::try_from(line + 1).unwrap_or(u32::MAX),
                text: shown.trim().to_owned(),
            }),
        },
        span,
    })
}
