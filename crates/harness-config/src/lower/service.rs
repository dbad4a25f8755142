//! Reads a service: the keys that every type has.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use harness_model::spec::{self, DockerSpec, FileSpec, NetworkAttachment, Place};
use harness_model::{NetworkName, Part, ServiceName, ServiceSpec, Template};

use super::compose::Extras;
use super::policy::{self, Settings};
use super::{DraftNetwork, DraftService, dependencies, health, kinds, paths, place, ports};
use crate::check::Checked;
use crate::compose;
use crate::diagnostics::Finding;
use crate::env_file::{self, Dollar, Value};
use crate::fields::Fields;
use crate::keys::{FILE, SERVICE};
use crate::read::{Allow, Context, Reader, Text, secret_template};
use crate::source::Span;
use crate::tree::{Kind, Node};

/// What is needed to read a service.
pub(super) struct Surroundings<'a> {
    pub context: &'a Context<'a>,
    pub profiles: &'a BTreeSet<String>,
    pub settings: &'a Settings,
    pub networks: &'a BTreeMap<NetworkName, DraftNetwork>,
}

/// Reads one service.
pub(super) fn lower(
    around: &Surroundings<'_>,
    name: &ServiceName,
    name_span: Span,
    node: &Node,
    extras: Option<Extras>,
) -> DraftService {
    let mut reader = Reader {
        context: around.context,
        service: Some(name),
        active: true,
    };
    let mut draft = DraftService::unknown(name_span);
    let Some(fields) = Fields::open(reader, &SERVICE, node) else {
        return draft;
    };
    draft.profiles = fields.strings("profiles");
    draft.active = draft.profiles.is_empty() || draft.profiles.iter().any(|p| around.profiles.contains(p));
    reader.active = draft.active;
    let Some(fields) = Fields::open(reader, &SERVICE, node) else {
        return draft;
    };

    let types = around.context.types;
    let written = fields.get("type");
    let service_type = written.and_then(|node| reader.choice(node, &types.words(), "type"));
    let added = service_type.and_then(|word| types.service(word));
    let more: Vec<_> = added.iter().flat_map(|added| added.keys).collect();
    let fields = fields.with(&more);
    fields.check_keys(&format!("service `{name}`"), name_span, service_type);
    draft.oneshot = fields.flag("oneshot");
    draft.dependencies = dependencies::lower(&fields);
    draft.ports = ports::lower(&fields, service_type.unwrap_or("docker"));
    draft.checked = Checked::of(
        fields.get("health_check").is_some(),
        service_type.unwrap_or_default(),
    );
    draft.is_container = service_type == Some("docker");
    let (network, place) = place::lower(
        &fields,
        service_type.unwrap_or("process"),
        name_span,
        around.networks,
    );
    draft.network.clone_from(&network);
    draft.place = place.clone().unwrap_or_default();
    let mut kind = service_type.and_then(|word| match added {
        Some(added) => kinds::added(&fields, added, name_span),
        None => kinds::lower(&fields, word, place.as_ref(), name_span),
    });
    if let (Some(spec::Kind::Container(docker)), Some(network)) = (&mut kind, &network) {
        let ports = docker.expose.iter().filter_map(|port| port.split('/').next());
        draft.exposed = ports.filter_map(|port| port.parse().ok()).collect();
        if let Some(extras) = extras {
            extras.apply(docker, network);
            if docker.no_image_health_check && draft.checked == Checked::ByImage {
                draft.checked = Checked::No;
            }
        } else {
            name_network(docker, network, around.networks);
        }
    }
    let common = common(&fields, around.settings, &draft, place.as_ref());
    if let Some(spec::Kind::Container(docker)) = &mut kind {
        docker.startup_by_image = common.health_check.is_none()
            && fields.get("startup_timeout").is_none()
            && around.settings.startup_timeout.is_none();
    }
    if let (Some(kind), Some(network), true) = (kind, network, draft.active && place.is_some()) {
        let spec = assemble(common, kind, network, &draft);
        reader.check_total(name_span, &spec);
        draft.spec = Some(spec);
    }
    draft
}

/// A network of a compose file may have its own name in the engine. Services that join it need to know that name.
fn name_network(
    docker: &mut DockerSpec,
    network: &NetworkName,
    networks: &BTreeMap<NetworkName, DraftNetwork>,
) {
    let definition = networks.get(network).and_then(|draft| draft.compose.as_ref());
    if let Some(engine_name) = definition.and_then(|definition| definition.engine_name.clone()) {
        let mut attachment = NetworkAttachment::plain(network.clone());
        attachment.engine_name = Some(engine_name);
        docker.networks.push(attachment);
    }
}

/// The values of the keys that every service has.
struct Common {
    env: BTreeMap<String, Template>,
    inherit_env: harness_model::spec::InheritEnv,
    umask: Option<harness_model::Umask>,
    files: Vec<FileSpec>,
    health_check: Option<harness_model::spec::HealthCheck>,
    startup_timeout: Duration,
    shutdown_timeout: Duration,
    stop_signal: Option<harness_model::spec::Signal>,
    stop_mode: harness_model::spec::StopMode,
    stdin: bool,
    tty: bool,
    restart: harness_model::spec::RestartPolicy,
    logs: harness_model::spec::LogLimits,
    hooks: harness_model::spec::Hooks,
}

fn common(fields: &Fields<'_>, settings: &Settings, draft: &DraftService, place: Option<&Place>) -> Common {
    let own = fields.variables("env");
    let mut env = env_files(fields, &own);
    env.extend(own);
    let health_check = health::lower(fields);
    let startup_timeout = fields
        .positive_duration("startup_timeout")
        .or(settings.startup_timeout)
        .unwrap_or_else(|| health::default_startup_timeout(health_check.as_ref()));
    Common {
        env,
        inherit_env: policy::inherit_env(fields).unwrap_or_else(|| settings.inherit_env.clone()),
        umask: policy::umask(fields),
        files: files(fields, place),
        startup_timeout,
        shutdown_timeout: fields
            .duration("shutdown_timeout")
            .or(settings.shutdown_timeout)
            .unwrap_or(ServiceSpec::SHUTDOWN_TIMEOUT),
        health_check,
        stop_signal: policy::stop_signal(fields),
        stop_mode: policy::stop_mode(fields),
        stdin: fields.flag("stdin"),
        tty: fields.flag("tty"),
        restart: policy::service_restart(fields, settings, draft.oneshot),
        logs: policy::logs(fields, settings.logs),
        hooks: policy::hooks(fields),
    }
}

fn assemble(common: Common, kind: spec::Kind, network: NetworkName, draft: &DraftService) -> ServiceSpec {
    let stop_signal = match &kind {
        spec::Kind::Container(_) => common.stop_signal,
        // Nothing else can set the signal.
        _ => Some(common.stop_signal.unwrap_or_default()),
    };
    ServiceSpec {
        kind,
        network,
        place: draft.place.clone(),
        env: common.env,
        inherit_env: common.inherit_env,
        umask: common.umask,
        files: common.files,
        ports: draft.ports.iter().map(|port| port.spec.clone()).collect(),
        dependencies: Vec::new(),
        health_check: common.health_check,
        startup_timeout: common.startup_timeout,
        shutdown_timeout: common.shutdown_timeout,
        stop_signal,
        stop_mode: common.stop_mode,
        stdin: common.stdin,
        tty: common.tty,
        restart: common.restart,
        oneshot: draft.oneshot,
        profiles: draft.profiles.iter().cloned().collect(),
        logs: common.logs,
        hooks: common.hooks,
    }
}

/// `files`, not yet read.
fn files(fields: &Fields<'_>, place: Option<&Place>) -> Vec<FileSpec> {
    let reader = fields.reader;
    let here = fields
        .get("type")
        .is_some_and(|node| matches!(&node.kind, Kind::String(text) if text == "process"))
        && !matches!(place, Some(Place::Node(_)));
    let mut out = Vec::new();
    for node in fields.items("files") {
        let Some(file) = Fields::open(reader, &FILE, node) else {
            continue;
        };
        file.check_keys("a file", node.span, None);
        let template = file.text("template");
        let target_span = file.get("target").map_or(node.span, |node| node.span);
        let target = file.template("target", Allow::References);
        if let (Some(template), Some(target)) = (template, target) {
            let file = FileSpec {
                template: paths::local(&reader, &template),
                target: if here {
                    paths::local_template(&reader, &target, target_span)
                } else {
                    paths::on_node(&target)
                },
                content: None,
            };
            if here {
                check_target(reader, &file, target_span);
            }
            out.push(file);
        }
    }
    out
}

/// A rendered file must never replace a file that the project is read from. Links are checked when the file is
/// written.
fn check_target(reader: Reader<'_>, file: &FileSpec, span: Span) {
    let Some(target) = file.target.expose() else {
        return;
    };
    let message = if target.ends_with('/') {
        "`target` names a folder, not a file"
    } else if file.template == Path::new(&target) {
        "`target` is the template itself"
    } else if reader.context.sources.files().contains(Path::new(&target)) {
        "`target` is a file that the project is read from"
    } else {
        return;
    };
    reader.report(Finding::error(span, message).help("give it another name"));
}

/// The variables of the service's env files. Later files override earlier ones. Env files of a compose file may use
/// the variables in `own`.
fn env_files(fields: &Fields<'_>, own: &BTreeMap<String, Template>) -> BTreeMap<String, Template> {
    let context = fields.reader.context;
    let mut out = BTreeMap::new();
    for text in fields.texts("env_file") {
        if !fields.reader.active {
            continue;
        }
        let Some(file) = env_file(fields.reader, &text) else {
            continue;
        };
        let around = context.scopes.borrow().get(&text.span.file).cloned();
        if let Some(mut around) = around {
            for (name, value) in own {
                if let (Some(text), false) = (value.expose(), around.values.contains_key(name)) {
                    around.insert(name, text, value.has_secret());
                }
            }
            let variables = compose::env_file_variables(fields.reader, file, around);
            for (name, value) in &variables {
                fields.reader.check_variable(text.span, name, value);
            }
            out.extend(variables);
            continue;
        }
        let mut findings = Vec::new();
        let lines = env_file::lines(context.sources, file, Dollar::Literal, &mut findings);
        context.findings.borrow_mut().extend(findings);
        for line in lines {
            let name = line.name;
            let value = match line.value {
                Value::Literal(value) | Value::Text(value) => Some(value),
                Value::Inherited => context.variable(&name, text.span.file),
                Value::Unreadable => None,
            };
            let Some(value) = value else { continue };
            let value = Template::from_parts([Part::Text(value)]);
            fields.reader.check_variable(text.span, &name, &value);
            let secret = context.is_secret(&name, text.span.file);
            out.insert(name, if secret { secret_template(&value) } else { value });
        }
    }
    out
}

/// An env file among the sources; `None` if it cannot be read.
fn env_file(reader: Reader<'_>, text: &Text) -> Option<usize> {
    let context = reader.context;
    let path = paths::local(&reader, text);
    let content = match context.sources.read_mentioned(&path) {
        Ok(content) => content,
        Err(error) => {
            let finding = Finding::error(
                text.span,
                format!("cannot read the env file {}: {error}", path.display()),
            );
            context.missing.borrow_mut().push(finding);
            return None;
        }
    };
    let folder = path
        .parent()
        .map(std::path::Path::to_path_buf)
        .unwrap_or_default();
    let name = paths::shown(reader, &path, text.span);
    Some(context.sources.add(name, folder, content))
}
