//! Compose files: each service becomes a docker service. Keys without a counterpart are named in a comment.

use std::collections::{BTreeMap, BTreeSet};

use super::emit::{self, Lines, scalar, text_of};
use super::{ImportError, header, service_name, unique};
use crate::compose::{ComposeFile, Strings, Translated, needs, translate};
use crate::diagnostics::{self, Finding};
use crate::source::Sources;
use crate::tree;

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
    let mut said = Vec::new();
    let name = root.get("name").and_then(text_of);
    let file = ComposeFile::read(root, &mut said);
    if file.services().is_empty() {
        return Err(ImportError::NoServices);
    }
    let mut out = header();
    if let Some(name) = name {
        let name = harness_model::ProjectName::from_lossy(&name);
        out.push_str(&format!("name: {}\n", scalar(name.as_str())));
    }
    out.push_str(
        "\n# From a compose file. Here, ports are published on 127.0.0.1 unless an address is given.\n",
    );
    let mut lines = Lines::default();
    left_out(&mut lines, 0, &said);
    lines.put(0, "services", "");
    let mut taken = BTreeSet::new();
    let names: BTreeMap<&str, String> = file
        .services()
        .iter()
        .map(|(key, _)| (key.name.as_str(), unique(&service_name(&key.name), &mut taken)))
        .collect();
    let called = |service: &str| names.get(service).cloned();
    for entry in file.services() {
        let (key, service) = entry;
        let name = names.get(key.name.as_str()).cloned().unwrap_or_default();
        lines.put(1, &name, "");
        lines.put(2, "type", "docker");
        let translated = translate(Strings::Kept, &file, entry, &called);
        for (key, value) in &translated.keys {
            emit::entry(&mut lines, 2, &key.name, value);
        }
        if is_awaited(&file, &key.name) {
            lines.put(2, "oneshot", "true");
        }
        if service.get("image").is_none() && service.get("build").is_none() {
            lines.put(2, "image", &scalar(&name));
        }
        if translated.no_health_check {
            lines.comment(2, "not imported: `healthcheck` turned off");
        }
        beside(&mut lines, &translated);
        left_out(&mut lines, 2, &translated.said);
    }
    out.push_str(&lines.finish());
    Ok(out)
}

/// Whether another service waits for this one to complete.
fn is_awaited(file: &ComposeFile, name: &str) -> bool {
    let all = file
        .services()
        .iter()
        .flat_map(|(_, node)| needs(node, &mut Vec::new()));
    all.into_iter()
        .any(|need| need.condition == "completed" && need.service.name == name)
}

/// Names what the keys of a docker service cannot express.
fn beside(lines: &mut Lines, translated: &Translated) {
    if translated.has_networks {
        lines.comment(2, "not imported: `networks`");
    }
    for volume in translated.volume_names.keys() {
        lines.comment(
            2,
            &format!("not imported: the engine's name for the volume `{volume}`"),
        );
    }
}

fn left_out(lines: &mut Lines, depth: usize, said: &[Finding]) {
    for finding in said {
        lines.comment(depth, &format!("not imported: {}", finding.message()));
    }
}
