//! `health_check`: exactly one probe, and how often it runs.

use std::collections::BTreeMap;
use std::time::Duration;

use harness_model::pattern::Pattern;
use harness_model::spec::{HealthCheck, HttpCheck, InvalidStatus, Probe};
use harness_model::{Part, ServiceSpec, Template};

use crate::diagnostics::Finding;
use crate::fields::Fields;
use crate::keys::HEALTH_CHECK;
use crate::lower::{paths, settings};
use crate::mask::is_secret_header;
use crate::read::{Allow, Reader, Text, secret_template};
use crate::scalars;
use crate::source::Span;
use crate::suggest::listed;
use crate::tree::Kind;

const PROBES: [&str; 4] = ["http", "tcp", "command", "log"];
const INTERVAL: Duration = Duration::from_secs(10);
const TIMEOUT: Duration = Duration::from_secs(5);
const RETRIES: u32 = 3;

/// Reads `health_check`.
pub(super) fn lower(fields: &Fields<'_>) -> Option<HealthCheck> {
    let types = fields.reader.context.types;
    let check = fields.section_with("health_check", &HEALTH_CHECK, types.probe_keys())?;
    let reader = check.reader;
    let interval = check.positive_duration("interval").unwrap_or(INTERVAL);
    let timeout = check.positive_duration("timeout").unwrap_or(TIMEOUT);
    let retries = check.whole_u32("retries").unwrap_or(RETRIES);
    let start_period = check.duration("start_period").unwrap_or_default();
    let args = check.arguments("args");
    let probes = || {
        PROBES
            .into_iter()
            .chain(types.probes().map(|added| added.key.name))
    };
    let written: Vec<&'static str> = probes().filter(|probe| check.has(probe)).collect();
    if check.has("args") && !check.has("command") {
        reader.report(Finding::error(
            check.key_span("args"),
            "`args` needs `command`, which is missing here",
        ));
    }
    match written.as_slice() {
        [_] => {}
        [] => reader.report(
            Finding::error(fields.key_span("health_check"), "this health check has no probe")
                .help(format!("give it one of {}", listed(probes(), "none"))),
        ),
        [first, second, ..] => reader.report(
            Finding::error(
                check.key_span(second),
                "a health check has one probe, but this one has several",
            )
            .related(check.key_span(first), "the first one"),
        ),
    }
    let http = check.get("http").and_then(|node| {
        let url = reader.template(node, false, Allow::Everything)?;
        check_url(reader, &url, node.span).then_some(Probe::Http(url))
    });
    let tcp = check.get("tcp").and_then(|node| {
        let address = reader.template(node, true, Allow::Everything)?;
        tcp_address(reader, address, node.span).map(Probe::Tcp)
    });
    let command = check.words("command").map(|mut words| {
        words.extend(args);
        Probe::Command(words)
    });
    let log = check
        .text("log")
        .filter(|pattern| check_pattern(reader, pattern))
        .map(|pattern| Probe::Log(pattern.value));
    let asked = http_check(&check);
    let other = types.probes().find_map(|added| {
        let setting = settings::probe(&check, added)?;
        let name = added.key.name.to_owned();
        Some(Probe::Other { name, setting })
    });
    let probe = http.or(tcp).or(command).or(log).or(other)?;
    Some(HealthCheck {
        http: match &probe {
            Probe::Http(_) => asked,
            _ => HttpCheck::default(),
        },
        probe,
        interval,
        timeout,
        retries,
        start_period,
    })
}

/// The keys that say more about an http check.
const OF_HTTP: [&str; 6] = ["method", "headers", "status", "body", "insecure", "ca"];

fn http_check(check: &Fields<'_>) -> HttpCheck {
    let reader = check.reader;
    for key in OF_HTTP
        .into_iter()
        .filter(|key| check.has(key) && !check.has("http"))
    {
        let finding = Finding::error(
            check.key_span(key),
            format!("`{key}` needs `http`, which is missing here"),
        );
        reader.report(finding);
    }
    let is_https = || {
        let url = check.get("http").map(|node| &node.kind);
        matches!(url, Some(Kind::String(url)) if !url.starts_with("http://"))
    };
    for key in ["insecure", "ca"]
        .into_iter()
        .filter(|key| check.has(key) && check.has("http"))
    {
        if !is_https() {
            let finding = Finding::error(
                check.key_span(key),
                format!("`{key}` is only for an `https://` URL"),
            );
            reader.report(finding);
        }
    }
    let method = check.text("method").and_then(|method| {
        let is_token =
            !method.value.is_empty() && method.value.bytes().all(|b| b.is_ascii_alphabetic() || b == b'-');
        if !is_token {
            let message = format!("`{}` is not an HTTP method", method.value);
            reader.report(Finding::error(method.span, message).help("write `GET`, `HEAD`, `POST`, …"));
        }
        is_token.then(|| method.value.to_ascii_uppercase())
    });
    let mut headers = BTreeMap::new();
    for (name, node) in check.pairs("headers") {
        let is_name = !name.name.is_empty()
            && name
                .name
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b));
        if !is_name {
            let message = format!("`{}` is not the name of a header", name.name);
            reader.report(Finding::error(name.span, message));
            continue;
        }
        let Some(value) = reader.template(node, true, Allow::Everything) else {
            continue;
        };
        if value
            .parts()
            .iter()
            .any(|part| matches!(part, Part::Text(text) if text.chars().any(char::is_control)))
        {
            let message = format!("the value of the header `{}` has control characters", name.name);
            reader.report(Finding::error(node.span, message));
            continue;
        }
        let value = match is_secret_header(&name.name) || reader.context.variables.is_secret(&name.name) {
            true => hidden_header(&value),
            false => value,
        };
        headers.insert(name.name.clone(), value);
    }
    let mut status = Vec::new();
    for text in statuses(check) {
        match text.value.trim().parse() {
            Ok(range) => status.push(range),
            Err(error) => reader.report(Finding::error(text.span, InvalidStatus::to_string(&error))),
        }
    }
    let body = check
        .text("body")
        .filter(|pattern| check_pattern(reader, pattern));
    let ca = check.path("ca").map(|text| paths::local(&reader, &text));
    HttpCheck {
        method,
        headers,
        status,
        body: body.map(|pattern| pattern.value),
        insecure: check.flag("insecure"),
        ca,
    }
}

/// The value of a header, hidden but for the word that says what kind of secret follows: output may have the secret alone.
fn hidden_header(value: &Template) -> Template {
    let (Some(Part::Text(first)), rest) = (value.parts().first(), value.parts().get(1..).unwrap_or_default())
    else {
        return secret_template(value);
    };
    let scheme = ["Bearer ", "Basic ", "Token "].into_iter().find(|scheme| {
        first
            .get(..scheme.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(scheme))
    });
    let Some(scheme) = scheme else {
        return secret_template(value);
    };
    let (scheme, secret) = first.split_at(scheme.len());
    let secret = Template::from_parts(
        [Part::Text(secret.to_owned())]
            .into_iter()
            .chain(rest.iter().cloned()),
    );
    let hidden = secret_template(&secret);
    Template::from_parts(
        [Part::Text(scheme.to_owned())]
            .into_iter()
            .chain(hidden.parts().iter().cloned()),
    )
}

/// `status`: one or several.
fn statuses(check: &Fields<'_>) -> Vec<Text> {
    let Some(node) = check.get("status") else {
        return Vec::new();
    };
    match &node.kind {
        Kind::List(items) => items
            .iter()
            .filter_map(|item| check.reader.text(item, true))
            .collect(),
        _ => check.reader.text(node, true).into_iter().collect(),
    }
}

/// How long a start may take: 60 s, or longer if the check's own figures need it.
pub(super) fn default_startup_timeout(check: Option<&HealthCheck>) -> Duration {
    check
        .map_or(Duration::ZERO, HealthCheck::needs)
        .max(ServiceSpec::STARTUP_TIMEOUT)
}

/// Whether a regular expression can be used. Reports a mistake if not.
pub(super) fn check_pattern(reader: Reader<'_>, pattern: &Text) -> bool {
    match Pattern::new(&pattern.value) {
        Ok(_) => true,
        Err(error) => {
            reader.report(Finding::error(pattern.span, error.to_string()));
            false
        }
    }
}

fn literal_start(template: &Template) -> &str {
    match template.parts().first() {
        Some(Part::Text(text)) => text,
        _ => "",
    }
}

fn check_url(reader: Reader<'_>, url: &Template, span: Span) -> bool {
    let start = literal_start(url);
    let bad = |message: String, help: &str| {
        reader.report(Finding::error(span, message).help(help));
        false
    };
    let Some(rest) = start
        .strip_prefix("http://")
        .or_else(|| start.strip_prefix("https://"))
    else {
        // If a reference or a secret begins the string, it does not begin with a scheme either.
        return bad(
            format!("`{url}` is not a URL"),
            "write it as `http://localhost:8080/health`",
        );
    };
    // The authority may continue after a secret or a reference; the text after those shows where it ends.
    let written = url.to_string();
    let whole = written.split_once("://").map_or("", |(_, rest)| rest);
    if whole
        .split(['/', '?', '#'])
        .next()
        .is_some_and(|authority| authority.contains('@'))
    {
        // The URL is not shown, because the part before the `@` is a secret.
        return bad(
            "a URL with a user or password in it cannot be probed".to_owned(),
            "use `command: curl -fsS …` with the password from its environment",
        );
    }
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let complete = authority.len() < rest.len() || url.parts().len() == 1;
    if complete && !is_authority(authority, None) {
        return bad(
            format!("`{url}` is not a URL"),
            "write it as `http://localhost:8080/health`",
        );
    }
    true
}

fn tcp_address(reader: Reader<'_>, address: Template, span: Span) -> Option<Template> {
    if let [Part::Text(text)] = address.parts() {
        let text = text.trim();
        if text.chars().all(|c| c.is_ascii_digit()) && text.parse::<u16>().is_ok_and(|port| port > 0) {
            return Some(Template::from(format!("localhost:{text}")));
        }
        if !is_authority(text, Some(())) {
            reader.report(
                Finding::error(span, format!("`{text}` is not an address to connect to"))
                    .help("write `host:port`, or a port of localhost"),
            );
            return None;
        }
    }
    Some(address)
}

/// `host`, `host:port` or `[v6]:port`; with `port_needed`, only the last two.
fn is_authority(text: &str, port_needed: Option<()>) -> bool {
    let (host, port) = if let Some(rest) = text.strip_prefix('[') {
        match rest.split_once(']') {
            Some((host, tail)) => (host, tail.strip_prefix(':')),
            None => return false,
        }
    } else {
        match text.rsplit_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        }
    };
    let port_good = match port {
        Some(port) => port.parse::<u16>().is_ok_and(|port| port > 0),
        None => port_needed.is_none(),
    };
    port_good && scalars::is_host(host)
}
