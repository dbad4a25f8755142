//! The keys that only one type of service has.

use std::collections::BTreeMap;
use std::net::IpAddr;

use harness_model::spec::{
    BuildSpec, DockerSpec, EngineOptions, Kind, Limits, PackageSpec, Place, ProcessSpec, Ulimit,
};
use harness_model::{Part, Template};

use super::{paths, policy, settings};
use crate::diagnostics::Finding;
use crate::fields::Fields;
use crate::keys::{BUILD, RESOURCES};
use crate::read::Allow;
use crate::source::Span;
use crate::tree;
use crate::types::ServiceType;

/// Reads the keys of a service's type. Reports every mistake, even if the result is `None`.
pub(super) fn lower(
    fields: &Fields<'_>,
    service_type: &str,
    place: Option<&Place>,
    at: Span,
) -> Option<Kind> {
    match service_type {
        "process" | "remote" => {
            let on_node = service_type == "remote" || matches!(place, Some(Place::Node(_)));
            process(fields, on_node, at).map(Kind::Process)
        }
        "docker" => docker(fields, at).map(|spec| Kind::Container(Box::new(spec))),
        _ => package(fields, at).map(Kind::Package),
    }
}

/// Reads the keys of a type that a program added.
pub(super) fn added(fields: &Fields<'_>, added: &ServiceType, at: Span) -> Option<Kind> {
    settings::lower(fields, added, at).map(|settings| Kind::Other {
        type_name: added.name.to_owned(),
        settings,
    })
}

fn owner(fields: &Fields<'_>, service_type: &str) -> String {
    match fields.reader.service {
        Some(name) => format!("the {service_type} service `{name}`"),
        None => format!("a {service_type} service"),
    }
}

fn process(fields: &Fields<'_>, on_node: bool, at: Span) -> Option<ProcessSpec> {
    let reader = &fields.reader;
    fields.require(
        "binary",
        &owner(fields, if on_node { "remote" } else { "process" }),
        at,
    );
    let args = fields.arguments("args");
    let user = fields.text("user").map(|text| {
        if text.value.is_empty() {
            reader.report(Finding::error(text.span, "`user` is empty"));
        }
        text.value
    });
    let limits: Limits = policy::limits(fields);
    let binary_span = fields.get("binary").map_or(at, |node| node.span);
    let binary = fields.template("binary", Allow::References).map(|binary| {
        let home = matches!(binary.parts().first(), Some(Part::Text(text)) if text.starts_with('~'));
        match on_node {
            true => paths::on_node(&binary),
            false if home || paths::has_slash(&binary) => paths::local_template(reader, &binary, binary_span),
            false => binary,
        }
    });
    if binary.as_ref().is_some_and(Template::is_empty) {
        reader.report(Finding::error(binary_span, "`binary` is empty"));
    }
    let written = fields.get("working_dir");
    let working_dir = match written.and_then(|_| fields.template("working_dir", Allow::References)) {
        Some(folder) if on_node => Some(paths::on_node(&folder)),
        Some(folder) => Some(paths::local_template(
            reader,
            &folder,
            written.map_or(at, |node| node.span),
        )),
        None if on_node => None,
        None => {
            let folder = reader.context.sources.get(at.file).dir.display().to_string();
            Some(Template::from(folder))
        }
    };
    Some(ProcessSpec {
        binary: binary?,
        args,
        working_dir,
        user,
        limits,
    })
}

fn docker(fields: &Fields<'_>, at: Span) -> Option<DockerSpec> {
    let reader = &fields.reader;
    if !fields.has("image") && !fields.has("build") {
        reader.report(Finding::error(
            at,
            format!("{} needs `image` or `build`", owner(fields, "docker")),
        ));
    }
    let resources = fields.section("resources", &RESOURCES);
    let cpus = resources.and_then(|r| r.text("cpus")).and_then(|text| {
        let good = text
            .value
            .parse::<f64>()
            .is_ok_and(|cpus| cpus.is_finite() && cpus > 0.0);
        if !good {
            reader.report(
                Finding::error(text.span, format!("`{}` is not a number of cores", text.value))
                    .help("write it as `0.5` or `2`"),
            );
        }
        good.then_some(text.value)
    });
    let volumes = fields
        .items("volumes")
        .iter()
        .filter_map(|node| {
            let volume = reader.template(node, false, Allow::Everything)?;
            Some(volume_path(fields, volume, node.span))
        })
        .collect();
    Some(DockerSpec {
        image: fields.template("image", Allow::Everything),
        build: build(fields),
        command: fields.words("command"),
        entrypoint: fields.words("entrypoint"),
        volumes,
        user: fields.template("user", Allow::Everything),
        working_dir: fields.template("working_dir", Allow::Everything),
        cpus,
        memory: resources.and_then(|r| r.size("memory")),
        pids: resources.and_then(|r| r.whole("pids")),
        tmpfs: fields.strings("tmpfs"),
        extra_hosts: fields.templates("extra_hosts", Allow::Everything),
        labels: labels(fields),
        init: fields.flag("init"),
        privileged: fields.flag("privileged"),
        cap_add: fields.strings("cap_add"),
        cap_drop: fields.strings("cap_drop"),
        container_name: container_name(fields),
        hostname: fields.text("hostname").map(|text| text.value),
        read_only: fields.flag("read_only"),
        expose: expose(fields),
        networks: Vec::new(),
        volume_names: Default::default(),
        no_image_health_check: false,
        startup_by_image: false,
        options: engine_options(fields),
    })
}

fn engine_options(fields: &Fields<'_>) -> EngineOptions {
    EngineOptions {
        shm_size: fields.size("shm_size"),
        ulimits: ulimits(fields),
        dns: addresses(fields, "dns"),
        sysctls: fields
            .pairs("sysctls")
            .iter()
            .filter_map(|(key, value)| Some((key.name.clone(), fields.reader.text(value, true)?.value)))
            .collect(),
        security_opt: security_options(fields),
        group_add: fields.strings("group_add"),
        devices: fields.strings("devices"),
        platform: fields.text("platform").map(|text| text.value),
    }
}

/// `ulimits`: `soft` or `soft:hard`, where -1 means no limit.
fn ulimits(fields: &Fields<'_>) -> BTreeMap<String, Ulimit> {
    let limit = |text: &str| text.parse().ok().filter(|limit| *limit >= -1);
    let read = |text: &str| {
        let (soft, hard) = text.split_once(':').unwrap_or((text, text));
        let (soft, hard) = (limit(soft)?, limit(hard)?);
        let fits = hard == -1 || (soft != -1 && soft <= hard);
        fits.then_some(Ulimit { soft, hard })
    };
    let mut out = BTreeMap::new();
    for (key, value) in fields.pairs("ulimits") {
        let Some(text) = fields.reader.text(value, true) else {
            continue;
        };
        match read(text.value.trim()) {
            Some(limit) => {
                out.insert(key.name.clone(), limit);
            }
            None => fields.reader.report(
                Finding::error(text.span, format!("`{}` is not a limit", text.value))
                    .help("write a number, `soft:hard` with the larger one last, or -1 for no limit"),
            ),
        }
    }
    out
}

fn security_options(fields: &Fields<'_>) -> Vec<String> {
    let mut out = Vec::new();
    for text in fields.texts("security_opt") {
        let profile = text.value.strip_prefix("seccomp");
        let profile = profile.and_then(|rest| rest.strip_prefix([':', '=']));
        if profile.is_some_and(|profile| profile != "unconfined" && !profile.trim_start().starts_with('{')) {
            fields.reader.report(
                Finding::error(text.span, "a seccomp profile in a file is not supported")
                    .help("write the profile itself after `seccomp=`, or `unconfined`"),
            );
            continue;
        }
        out.push(text.value);
    }
    out
}

fn addresses(fields: &Fields<'_>, key: &'static str) -> Vec<String> {
    let mut out = Vec::new();
    for text in fields.texts(key) {
        if text.value.parse::<IpAddr>().is_ok() {
            out.push(text.value);
        } else {
            let message = format!("`{}` is not an IP address", text.value);
            fields.reader.report(Finding::error(text.span, message));
        }
    }
    out
}

fn container_name(fields: &Fields<'_>) -> Option<String> {
    let name = fields.text("container_name")?;
    let good = name.value.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.value.len() > 1
        && name
            .value
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-'));
    if !good {
        fields.reader.report(
            Finding::error(
                name.span,
                format!("`{}` cannot be the name of a container", name.value),
            )
            .help("it may contain letters, digits, `_`, `.` and `-`"),
        );
    }
    good.then_some(name.value)
}

/// `expose`: `PORT[/PROTOCOL]` entries.
fn expose(fields: &Fields<'_>) -> Vec<String> {
    let mut out = Vec::new();
    for text in fields.texts("expose") {
        let (port, protocol) = text.value.split_once('/').unwrap_or((&text.value, "tcp"));
        let good = port.parse::<u16>().is_ok_and(|port| port > 0) && matches!(protocol, "tcp" | "udp");
        if good {
            out.push(format!("{port}/{protocol}"));
        } else {
            fields.reader.report(
                Finding::error(text.span, format!("`{}` is not a port", text.value))
                    .help("write `8080`, or `\"5353/udp\"`"),
            );
        }
    }
    out
}

fn labels(fields: &Fields<'_>) -> BTreeMap<String, Template> {
    fields
        .pairs("labels")
        .iter()
        .filter_map(|(key, value)| {
            let value = fields.reader.template(value, true, Allow::Everything)?;
            Some((key.name.clone(), value))
        })
        .collect()
}

/// The source of a volume is a path when it looks like one, else the name of a volume.
fn volume_path(fields: &Fields<'_>, volume: Template, span: Span) -> Template {
    let first = match volume.parts().first() {
        Some(Part::Text(text)) => text.as_str(),
        _ => return volume,
    };
    let source = first.split(':').next().unwrap_or_default();
    let is_path = ["./", "../", "~/"]
        .iter()
        .any(|prefix| source.starts_with(prefix))
        || matches!(source, "." | ".." | "~");
    if !first.contains(':') && volume.parts().len() == 1 {
        fields.reader.report(
            Finding::error(span, format!("`{first}` does not say where the volume goes"))
                .help("write `source:target`"),
        );
    }
    if is_path {
        paths::local_template(&fields.reader, &volume, span)
    } else {
        volume
    }
}

fn build(fields: &Fields<'_>) -> Option<BuildSpec> {
    let node = fields.get("build")?;
    let reader = &fields.reader;
    if !matches!(node.kind, tree::Kind::Map(_)) {
        let context = reader.text(node, false)?;
        return Some(BuildSpec {
            context: paths::local(reader, &context),
            dockerfile: None,
            args: Default::default(),
            target: None,
        });
    }
    let build = fields.section("build", &BUILD)?;
    Some(BuildSpec {
        context: match build.text("context") {
            Some(context) => paths::local(reader, &context),
            None => reader.context.sources.get(node.span.file).dir.clone(),
        },
        dockerfile: build.text("dockerfile").map(|text| text.value),
        args: build.variables("args"),
        target: build.text("target").map(|text| text.value),
    })
}

fn package(fields: &Fields<'_>, at: Span) -> Option<PackageSpec> {
    fields.require("package", &owner(fields, "package"), at);
    let version = fields.template("version", Allow::References);
    let install_path = fields.template("install_path", Allow::References);
    let binary = fields.template("binary", Allow::References);
    let args = fields.arguments("args");
    let requires = fields.strings("requires");
    let span = fields.get("package").map_or(at, |node| node.span);
    let package = fields.template("package", Allow::References)?;
    Some(PackageSpec {
        package: paths::local_template(&fields.reader, &package, span),
        version,
        install_path,
        binary,
        args,
        requires,
    })
}
