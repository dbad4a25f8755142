//! Translates one service from the keys of a compose file to those of `type: docker`.

use std::collections::BTreeMap;

use harness_model::spec::VolumeName;

use crate::diagnostics::Finding;
use crate::tree::{Key, Kind, Node};

use super::file::ComposeFile;
use super::health::{self, Health};
use super::needs::needs;
use super::networks::{self, Join};
use super::nodes::{self, entries_of, key};
use super::strings::Strings;
use super::{build, deploy, environment, keys, ports, volumes};

/// A service of a compose file in the keys of a docker service.
pub(crate) struct Translated {
    /// Its keys, without `type`.
    pub keys: Vec<(Key, Node)>,
    /// Its networks.
    pub joins: Vec<Join>,
    /// Whether it says which networks it is on.
    pub has_networks: bool,
    /// The names of its named volumes in the engine, where the file gives them.
    pub volume_names: BTreeMap<String, VolumeName>,
    /// Whether health checks are turned off, also the image's.
    pub no_health_check: bool,
    /// Findings about mistakes in it, and about keys without a counterpart.
    pub said: Vec<Finding>,
}

struct Translation<'a> {
    strings: Strings<'a>,
    out: Vec<(Key, Node)>,
    resources: Vec<(Key, Node)>,
    tmpfs: Vec<Node>,
    named: Vec<(String, crate::source::Span)>,
    no_health_check: bool,
    said: Vec<Finding>,
}

/// Translates a service. `called` gives the name that another service of the file has here.
pub(crate) fn translate(
    strings: Strings<'_>,
    file: &ComposeFile,
    (name, service): &(Key, Node),
    called: &dyn Fn(&str) -> Option<String>,
) -> Translated {
    let mut t = Translation {
        strings,
        out: Vec::new(),
        resources: Vec::new(),
        tmpfs: Vec::new(),
        named: Vec::new(),
        no_health_check: false,
        said: Vec::new(),
    };
    if !matches!(service.kind, Kind::Map(_)) {
        t.said.push(Finding::error(
            service.span,
            format!("expected a service, found {}", service.describe()),
        ));
    }
    for (key, value) in entries_of(service) {
        if !matches!(value.kind, Kind::Null) {
            t.entry(key, value);
        }
    }
    t.depends_on(file, service, called);
    t.collect(service);
    let volume_names = t
        .named
        .iter()
        .filter_map(|named| {
            Some((
                named.0.clone(),
                volumes::name_of(strings, file, named, &mut t.said)?,
            ))
        })
        .collect();
    let joins = networks::joins(strings, file, service.get("networks"), name.span, &mut t.said);
    Translated {
        keys: t.out,
        joins,
        has_networks: networks::is_written(service),
        volume_names,
        no_health_check: t.no_health_check,
        said: t.said,
    }
}

impl Translation<'_> {
    fn entry(&mut self, name: &Key, value: &Node) {
        let (strings, said) = (self.strings, &mut self.said);
        match name.name.as_str() {
            "image" | "user" | "working_dir" | "stop_signal" | "container_name" | "hostname" | "platform" => {
                self.text(&name.name, name, value);
            }
            "stop_grace_period" => self.text("shutdown_timeout", name, value),
            "init" | "privileged" | "read_only" | "tty" => self.flag(&name.name, name, value),
            "stdin_open" => self.flag("stdin", name, value),
            "cap_add" | "cap_drop" | "profiles" | "security_opt" | "group_add" | "devices" => {
                let texts = volumes::texts(strings, name, value, said);
                self.out.push((name.clone(), texts));
            }
            "tmpfs" => self.tmpfs.extend(volumes::tmpfs(strings, value, said)),
            "command" | "entrypoint" => {
                let words = build::words(strings, value, said);
                self.out.extend(words.map(|words| (name.clone(), words)));
            }
            "environment" => {
                let variables = environment::variables(strings, value, &name.name, said);
                self.map("env", name, value, variables.pairs);
                if !variables.inherited.is_empty() {
                    let names = nodes::list(value.span, variables.inherited);
                    self.out.push((key("inherit_env", name.span), names));
                }
            }
            "env_file" => self.env_file(name, value),
            "labels" => {
                let labels = environment::labels(strings, value, said);
                self.map("labels", name, value, labels);
            }
            "extra_hosts" => self.extra_hosts(name, value),
            "ports" => {
                let ports = ports::ports(strings, value, said);
                self.out.push((name.clone(), nodes::list(value.span, ports)));
            }
            "expose" => {
                let ports = ports::expose(strings, value, said);
                self.out.push((name.clone(), nodes::list(value.span, ports)));
            }
            "volumes" => {
                let mounts = volumes::volumes(strings, value, said);
                self.out
                    .push((name.clone(), nodes::list(value.span, mounts.volumes)));
                self.tmpfs.extend(mounts.tmpfs);
                self.named.extend(mounts.named);
            }
            "dns" if matches!(value.kind, Kind::List(_)) => {
                let texts = volumes::texts(strings, name, value, said);
                self.out.push((name.clone(), texts));
            }
            "dns" => self.text("dns", name, value),
            "sysctls" => {
                let parameters = environment::labels(strings, value, said);
                self.map("sysctls", name, value, parameters);
            }
            "ulimits" => {
                let limits = deploy::ulimits(strings, value, said);
                self.map("ulimits", name, value, limits);
            }
            "shm_size" => deploy::limit(strings, name, "shm_size", value, &mut self.out, said),
            "restart" => deploy::restart(strings, name, value, &mut self.out, said),
            "healthcheck" => match health::health(strings, value, said) {
                Health::Check(check) => self.out.push((key("health_check", name.span), check)),
                Health::Off => self.no_health_check = true,
                Health::Nothing => {}
            },
            "logging" => {
                let logs = health::logging(strings, value, said);
                self.map("logs", name, value, logs);
            }
            "build" => {
                let build = build::build(strings, value, said);
                self.out.extend(build.map(|build| (name.clone(), build)));
            }
            "deploy" => deploy::deploy(strings, value, &mut self.resources, said),
            "mem_limit" => deploy::limit(strings, name, "memory", value, &mut self.resources, said),
            "cpus" => deploy::limit(strings, name, "cpus", value, &mut self.resources, said),
            "pids_limit" => deploy::limit(strings, name, "pids", value, &mut self.resources, said),
            "pull_policy" => {
                let policy = strings.plain(value, said);
                if !matches!(policy.as_deref(), Some("missing" | "if_not_present" | "build")) {
                    said.push(
                        Finding::error(value.span, "this `pull_policy` is not supported")
                            .help("an image is pulled when it is `missing`"),
                    );
                }
            }
            "scale" if nodes::scalar(value).as_deref() == Some("1") => {}
            "depends_on" | "networks" => {}
            other if other.starts_with("x-") => {}
            _ => said.push(keys::refusal(name)),
        }
    }

    fn text(&mut self, ours: &str, name: &Key, value: &Node) {
        let value = self.strings.template(value, &mut self.said);
        self.out.extend(value.map(|value| (key(ours, name.span), value)));
    }

    fn flag(&mut self, ours: &str, name: &Key, value: &Node) {
        let value = match (self.strings, &value.kind) {
            (_, Kind::Bool(_)) => Some(value.clone()),
            (Strings::Kept, _) => self.strings.template(value, &mut self.said),
            (Strings::Known(_), _) => Some(Node {
                span: value.span,
                kind: Kind::Bool(self.strings.flag(value, &mut self.said)),
            }),
        };
        self.out.extend(value.map(|value| (key(ours, name.span), value)));
    }

    fn map(&mut self, ours: &str, name: &Key, value: &Node, entries: Vec<(Key, Node)>) {
        if !entries.is_empty() {
            self.out
                .push((key(ours, name.span), nodes::map(value.span, entries)));
        }
    }

    fn env_file(&mut self, name: &Key, value: &Node) {
        let items = match &value.kind {
            Kind::List(items) => items.as_slice(),
            _ => std::slice::from_ref(value),
        };
        if matches!(self.strings, Strings::Kept) {
            self.said.push(Finding::warning(
                value.span,
                "variables in the values of the `env_file` are not replaced here",
            ));
        }
        let mut files = Vec::new();
        for item in items {
            let path = item.get("path").unwrap_or(item);
            keys::refuse_others(
                entries_of(item),
                "`env_file`",
                &["path", "required"],
                &mut self.said,
            );
            let required = item.get("required");
            let optional = required.is_some_and(|node| !self.strings.flag(node, &mut self.said));
            if optional && let Strings::Known(reader) = self.strings {
                let folder = reader.context.sources.get(path.span.file).dir.clone();
                let file = self.strings.plain(path, &mut self.said);
                if !file.is_some_and(|file| folder.join(file).is_file()) {
                    continue;
                }
            }
            files.extend(self.strings.template(path, &mut self.said));
        }
        self.out.push((name.clone(), nodes::list(value.span, files)));
    }

    /// `name:address` or `name=address` entries, or a map.
    fn extra_hosts(&mut self, name: &Key, value: &Node) {
        let mut hosts = Vec::new();
        match &value.kind {
            Kind::Map(entries) => {
                for (host, address) in entries {
                    if let Some(address) = self.strings.plain(address, &mut self.said) {
                        let entry = format!("{}:{address}", host.name);
                        hosts.push(self.strings.literal(host.span, &entry));
                    }
                }
            }
            Kind::List(items) => {
                for item in items {
                    if let Some(entry) = self.strings.plain(item, &mut self.said) {
                        let entry = match entry.split_once('=') {
                            Some((host, address)) => {
                                format!("{host}:{}", address.trim_start_matches('[').trim_end_matches(']'))
                            }
                            None => entry,
                        };
                        hosts.push(self.strings.literal(item.span, &entry));
                    }
                }
            }
            _ => self.said.push(Finding::error(
                value.span,
                "`extra_hosts` must be a list or a map",
            )),
        }
        self.out.push((name.clone(), nodes::list(value.span, hosts)));
    }

    fn depends_on(&mut self, file: &ComposeFile, service: &Node, called: &dyn Fn(&str) -> Option<String>) {
        let mut items = Vec::new();
        for need in needs(service, &mut self.said) {
            let span = need.service.span;
            let Some(target) = called(&need.service.name) else {
                if file.service(&need.service.name).is_none() {
                    let message = format!("the compose file has no service `{}`", need.service.name);
                    self.said.push(Finding::error(span, message));
                }
                continue;
            };
            let mut entries = vec![
                (key("service", span), nodes::string(span, target)),
                (key("condition", span), nodes::string(span, need.condition)),
            ];
            let mut flag = |name: &str, value| {
                let kind = Kind::Bool(value);
                entries.push((key(name, span), Node { span, kind }));
            };
            if need.restart {
                flag("restart", true);
            }
            if !need.required {
                flag("required", false);
            }
            items.push(nodes::map(span, entries));
        }
        if let Some(node) = service.get("depends_on")
            && !items.is_empty()
        {
            self.out
                .push((key("dependencies", node.span), nodes::list(node.span, items)));
        }
    }

    /// Adds the entries that several keys contribute to.
    fn collect(&mut self, service: &Node) {
        let resources = std::mem::take(&mut self.resources);
        for (at, (key, _)) in resources.iter().enumerate() {
            if let Some((first, _)) = resources[..at].iter().find(|(before, _)| before.name == key.name) {
                self.said.push(
                    Finding::error(key.span, "this limit is written twice").related(first.span, "first here"),
                );
            }
        }
        if let Some((first, _)) = resources.first() {
            let at = first.span;
            self.out.push((key("resources", at), nodes::map(at, resources)));
        }
        let tmpfs = std::mem::take(&mut self.tmpfs);
        if let Some(first) = tmpfs.first() {
            let at = first.span;
            self.out
                .push((key("tmpfs", at), nodes::list(service.span, tmpfs)));
        }
    }
}
