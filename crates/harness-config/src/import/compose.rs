//! Compose files: each service becomes a docker service. What has no counterpart is named in a comment.

use harness_model::ServiceName;

use super::emit::{Lines, list, quoted, scalar, text_of, texts_of};
use super::{ImportError, header};
use crate::diagnostics;
use crate::source::Sources;
use crate::tree::{self, Key, Kind, Node};

/// A services.yaml for a docker-compose.yml.
///
/// # Errors
/// When it is not YAML or has no services.
pub fn from_compose(text: &str) -> Result<String, ImportError> {
    let sources = Sources::default();
    let file = sources.add("docker-compose.yml".into(), Default::default(), text.to_owned());
    let mut findings = Vec::new();
    let Some(root) = tree::parse(&sources, file, &mut findings) else {
        return Err(ImportError::NotYaml(diagnostics::finish(findings, &sources).0));
    };
    let services = match root.get("services").map(|node| &node.kind) {
        Some(Kind::Map(services)) if !services.is_empty() => services,
        _ => return Err(ImportError::NoServices),
    };
    let mut out = header();
    if let Some(name) = root.get("name").and_then(text_of) {
        let name = harness_model::ProjectName::from_lossy(&name);
        out.push_str(&format!("name: {}\n", scalar(name.as_str())));
    }
    out.push_str("\n# From a compose file. Ports are published on 127.0.0.1 here unless an address is written.\nservices:\n");
    let mut lines = Lines::default();
    for (key, node) in services {
        let name = service_name(&key.name);
        lines.put(1, &name, "");
        lines.put(2, "type", "docker");
        let mut service = Service {
            all: services,
            lines: &mut lines,
            left_out: Vec::new(),
        };
        if let Kind::Map(entries) = &node.kind {
            for (key, value) in entries {
                service.entry(&key.name, value);
            }
        }
        if node.get("image").is_none() && node.get("build").is_none() {
            service.lines.put(2, "image", &scalar(&name));
        }
        let left_out = std::mem::take(&mut service.left_out);
        for what in left_out {
            lines.comment(2, &format!("not taken over: {what}"));
        }
    }
    out.push_str(&lines.finish());
    Ok(out)
}

fn service_name(name: &str) -> String {
    if ServiceName::new(name).is_ok() {
        return name.to_owned();
    }
    harness_model::ProjectName::from_lossy(name).to_string()
}

/// Compose also replaces `$VAR`, `${VAR-default}` and `${VAR?message}`.
fn variables(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        let after = &rest[at + 1..];
        let word = |text: &str| {
            text.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
                .unwrap_or(text.len())
        };
        if let Some(tail) = after.strip_prefix('$') {
            out.push_str("$$");
            rest = tail;
        } else if let Some(inner) = after.strip_prefix('{') {
            let len = word(inner);
            out.push_str("${");
            out.push_str(&inner[..len]);
            rest = &inner[len..];
            if rest.starts_with(['-', '?']) {
                out.push(':');
            }
        } else {
            let len = word(after);
            if len > 0 {
                out.push_str(&format!("${{{}}}", &after[..len]));
            } else {
                out.push('$');
            }
            rest = &after[len..];
        }
    }
    out.push_str(rest);
    out
}

struct Service<'a> {
    all: &'a [(Key, Node)],
    lines: &'a mut Lines,
    left_out: Vec<String>,
}

impl Service<'_> {
    fn entry(&mut self, key: &str, node: &Node) {
        match key {
            "image" | "user" | "working_dir" | "stop_signal" => self.text(key, node),
            "stop_grace_period" => self.text("shutdown_timeout", node),
            "init" | "privileged" | "tty" => self.flag(key, node),
            "stdin_open" => self.flag("stdin", node),
            "cap_add" | "cap_drop" | "tmpfs" | "profiles" | "extra_hosts"
                if matches!(node.kind, Kind::List(_) | Kind::String(_)) =>
            {
                self.texts(key, node);
            }
            "env_file" if texts_of(node).len() == count(node) => self.texts(key, node),
            "command" | "entrypoint" => self.words(key, node),
            "environment" => self.environment(node),
            "labels" => self.labels(node),
            "restart" => self.restart(node),
            "ports" => self.ports(node),
            "volumes" => self.volumes(node),
            "depends_on" => self.depends_on(node),
            "healthcheck" => self.health_check(node),
            "build" => self.build(node),
            other => self.left_out.push(format!("`{other}`")),
        }
    }

    fn text(&mut self, key: &str, node: &Node) {
        match text_of(node) {
            Some(text) => self.lines.put(2, key, &scalar(&variables(&text))),
            None => self.left_out.push(format!("`{key}`")),
        }
    }

    fn flag(&mut self, key: &str, node: &Node) {
        match node.kind {
            Kind::Bool(value) => self.lines.put(2, key, &value.to_string()),
            _ => self.left_out.push(format!("`{key}`")),
        }
    }

    fn texts(&mut self, key: &str, node: &Node) {
        let texts: Vec<String> = texts_of(node).iter().map(|text| variables(text)).collect();
        self.lines.put(2, key, &list(&texts));
    }

    fn words(&mut self, key: &str, node: &Node) {
        match &node.kind {
            Kind::List(_) if count(node) > 0 => self.texts(key, node),
            Kind::String(text) if shell_words::split(text).is_ok_and(|words| !words.is_empty()) => {
                self.lines.put(2, key, &quoted(&variables(text)));
            }
            _ => self.left_out.push(format!("`{key}`")),
        }
    }

    fn environment(&mut self, node: &Node) {
        let mut inherited = Vec::new();
        let mut pairs = Vec::new();
        match &node.kind {
            Kind::Map(entries) => {
                for (key, value) in entries {
                    match text_of(value) {
                        Some(text) => pairs.push((key.name.clone(), text)),
                        None => inherited.push(key.name.clone()),
                    }
                }
            }
            _ => {
                for text in texts_of(node) {
                    match text.split_once('=') {
                        Some((name, value)) => pairs.push((name.to_owned(), value.to_owned())),
                        None => inherited.push(text),
                    }
                }
            }
        }
        self.pairs("env", pairs);
        if !inherited.is_empty() {
            self.lines.put(2, "inherit_env", &list(&inherited));
        }
    }

    fn labels(&mut self, node: &Node) {
        let pairs = match &node.kind {
            Kind::Map(entries) => entries
                .iter()
                .map(|(key, value)| (key.name.clone(), text_of(value).unwrap_or_default()))
                .collect(),
            _ => texts_of(node)
                .iter()
                .map(|text| text.split_once('=').unwrap_or((text, "")))
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect(),
        };
        self.pairs("labels", pairs);
    }

    fn pairs(&mut self, key: &str, pairs: Vec<(String, String)>) {
        if pairs.is_empty() {
            return;
        }
        self.lines.put(2, key, "");
        for (name, value) in pairs {
            self.lines.put(3, &name, &quoted(&variables(&value)));
        }
    }

    fn restart(&mut self, node: &Node) {
        let text = text_of(node).unwrap_or_default();
        match text.split_once(':') {
            Some(("on-failure", limit)) if limit.parse::<u32>().is_ok() => {
                self.lines.put(2, "restart", "on-failure");
                self.lines.put(2, "max_restarts", limit);
            }
            _ if crate::keys::RESTART_WORDS.contains(&text.as_str()) => self.lines.put(2, "restart", &text),
            _ => self.left_out.push("`restart`".into()),
        }
    }

    fn ports(&mut self, node: &Node) {
        let Kind::List(items) = &node.kind else { return };
        let mut ports = Vec::new();
        for item in items {
            let part = |key: &str| item.get(key).and_then(text_of);
            let port = match (&item.kind, part("target")) {
                (Kind::Map(_), Some(target)) => {
                    let ip = part("host_ip").map_or_else(String::new, |ip| format!("{ip}:"));
                    let protocol =
                        part("protocol").map_or_else(String::new, |protocol| format!("/{protocol}"));
                    format!(
                        "{ip}{}:{target}{protocol}",
                        part("published").unwrap_or_else(|| "0".into())
                    )
                }
                _ => text_of(item).unwrap_or_default(),
            };
            // Alone it is the port in the container, published on any free one.
            let port = if port.contains(':') {
                port
            } else {
                format!("0:{port}")
            };
            if port.contains('-') && !port.contains("${") {
                self.left_out.push(format!("the port range {port}"));
            } else {
                ports.push(variables(&port));
            }
        }
        if !ports.is_empty() {
            self.lines.put(2, "ports", &list(&ports));
        }
    }

    fn volumes(&mut self, node: &Node) {
        let Kind::List(items) = &node.kind else { return };
        let mut volumes = Vec::new();
        for item in items {
            let part = |key: &str| item.get(key).and_then(text_of);
            let volume = match (part("source"), part("target")) {
                (Some(source), Some(target)) => {
                    let mode = if part("read_only").as_deref() == Some("true") {
                        ":ro"
                    } else {
                        ""
                    };
                    format!("{source}:{target}{mode}")
                }
                _ => text_of(item).unwrap_or_default(),
            };
            if volume.contains(':') {
                volumes.push(variables(&volume));
            } else {
                self.left_out.push(format!("the unnamed volume {volume}"));
            }
        }
        if !volumes.is_empty() {
            self.lines.put(2, "volumes", "");
            for volume in volumes {
                self.lines.item(3, &quoted(&volume));
            }
        }
    }

    fn depends_on(&mut self, node: &Node) {
        let names = match &node.kind {
            Kind::Map(entries) => entries.iter().map(|(key, _)| key.name.clone()).collect(),
            _ => texts_of(node),
        };
        let known: Vec<&String> = names
            .iter()
            .filter(|name| self.all.iter().any(|(key, _)| key.name == **name))
            .collect();
        if known.is_empty() {
            return;
        }
        self.lines.put(2, "dependencies", "");
        for name in known {
            let condition = node
                .get(name)
                .and_then(|entry| entry.get("condition"))
                .and_then(text_of);
            let target = self
                .all
                .iter()
                .find(|(key, _)| key.name == *name)
                .map(|(_, node)| node);
            let name = scalar(&service_name(name));
            // Without a condition it is healthy where the target has a health check.
            let checked = target.is_some_and(|node| node.get("healthcheck").is_some());
            if checked && condition.as_deref() != Some("service_healthy") {
                self.lines
                    .item(3, &format!("{{service: {name}, condition: started}}"));
            } else {
                self.lines.item(3, &name);
            }
        }
    }

    fn health_check(&mut self, node: &Node) {
        let test = node.get("test").map(texts_of).unwrap_or_default();
        let words: Vec<String> = match test.split_first() {
            Some((first, rest)) if first == "CMD" && !rest.is_empty() => rest.to_vec(),
            Some((first, [shell, ..])) if first == "CMD-SHELL" => shell_command(shell),
            Some((only, [])) if only != "NONE" && only != "CMD" && only != "CMD-SHELL" => shell_command(only),
            _ => {
                self.left_out.push("`healthcheck`".into());
                return;
            }
        };
        let words: Vec<String> = words.iter().map(|word| variables(word)).collect();
        self.lines.put(2, "health_check", "");
        self.lines.put(3, "command", &list(&words));
        for key in ["interval", "timeout", "retries", "start_period"] {
            if let Some(text) = node.get(key).and_then(text_of) {
                self.lines.put(3, key, &variables(&text));
            }
        }
    }

    fn build(&mut self, node: &Node) {
        if !matches!(node.kind, Kind::Map(_)) {
            self.text("build", node);
            return;
        }
        self.lines.put(2, "build", "");
        for key in ["context", "dockerfile", "target"] {
            if let Some(text) = node.get(key).and_then(text_of) {
                self.lines.put(3, key, &scalar(&variables(&text)));
            }
        }
        if node.get("args").is_some() {
            self.left_out.push("`args` of `build`".into());
        }
    }
}

fn shell_command(command: &str) -> Vec<String> {
    vec!["sh".into(), "-c".into(), command.into()]
}

fn count(node: &Node) -> usize {
    match &node.kind {
        Kind::List(items) => items.len(),
        _ => 1,
    }
}
