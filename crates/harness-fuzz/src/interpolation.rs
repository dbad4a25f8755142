//! `${…}` in strings, read in both ways: as the template of a file, and as a string of the services.yaml.

use std::path::Path;

use harness_config::{LoadError, load, load_files};
use harness_model::{AddressField, Part, PortName, Reference, ServiceName, Template};

use crate::{folder, yaml};

pub(crate) const WORDS: &[&str] = &[
    "${A}",
    "${A_KEY}",
    "${EMPTY}",
    "${NO}",
    "${DOLLARS}",
    "${NO:-",
    "${EMPTY:-",
    "${A_KEY:-",
    "${A:?",
    "${NO:?",
    "${b.ip}",
    "${b.host}",
    "${b.port}",
    "${b.port.x}",
    "${b.port.y}",
    "${a.ip}",
    "${c.ip}",
    "${",
    "}",
    "$",
    "$$",
    "$${",
    ":-",
    ":?",
    "-",
    "é",
    "\u{1F600}",
    "\n",
    "\\",
    "\"",
    ":5432/x",
];

/// How deeply defaults may nest, according to the reference.
const MAX_NESTING: usize = 8;

/// A string must mean what its parts mean, or be reported as wrong at a place inside it.
pub(crate) fn check(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    folder::with(|folder| {
        let expected = expected(text, 0).map(Template::from_parts);
        let in_file = in_file(folder, text);
        assert_eq!(in_file, expected, "in a file: {text:?}");
        // A YAML string cannot contain any other control characters.
        if !text.contains(|c: char| c.is_control() && c != '\n' && c != '\t') && text.len() < 4096 {
            let in_yaml = in_yaml(folder, text);
            assert_eq!(in_yaml, expected, "in YAML: {text:?}");
        }
        let escaped = in_file_text(folder, &text.replace('$', "$$"));
        assert_eq!(escaped.as_deref(), Some(text));
    });
}

const PROJECT: &str = "services:
  a: {type: process, binary: sh, files: [{template: t, target: x}], env: {X: \"@\"}}
  b: {type: process, binary: sh, ports: [{name: x, port: 7}]}
";

fn in_file(folder: &Path, text: &str) -> Option<Template> {
    std::fs::write(folder.join("services.yaml"), PROJECT).unwrap();
    std::fs::write(folder.join("t"), text).unwrap();
    let options = yaml::options(folder);
    let mut project = load(&options).unwrap().project;
    match load_files(&mut project, &options.environment) {
        Ok(()) => project.services["a"].files[0].content.clone(),
        Err(LoadError::Invalid(found)) => {
            assert!(!found.is_empty());
            yaml::diagnostics(&found, "t", text);
            None
        }
        Err(other) => panic!("{other}"),
    }
}

fn in_file_text(folder: &Path, text: &str) -> Option<String> {
    in_file(folder, text)?.expose()
}

fn in_yaml(folder: &Path, text: &str) -> Option<Template> {
    let quoted = serde_json::to_string(text).unwrap();
    let file = PROJECT.replace("\"@\"", &quoted);
    std::fs::write(folder.join("services.yaml"), &file).unwrap();
    match load(&yaml::options(folder)) {
        Ok(loaded) => Some(loaded.project.services["a"].env["X"].clone()),
        Err(LoadError::Invalid(found)) => {
            yaml::diagnostics(&found, "services.yaml", &file);
            None
        }
        Err(other) => panic!("{other}"),
    }
}

/// What a string means according to the reference, found in another way than the loader's; `None` if it is wrong.
fn expected(text: &str, depth: usize) -> Option<Vec<Part>> {
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        parts.push(Part::Text(before.to_owned()));
        if let Some(after) = after.strip_prefix('$') {
            parts.push(Part::Text("$".to_owned()));
            rest = after;
        } else if let Some(inside) = after.strip_prefix('{') {
            let end = end_of_braces(inside)?;
            parts.extend(expression(&inside[..end], depth)?);
            rest = &inside[end + 1..];
        } else {
            parts.push(Part::Text("$".to_owned()));
            rest = after;
        }
    }
    parts.push(Part::Text(rest.to_owned()));
    parts.retain(|part| *part != Part::Text(String::new()));
    Some(parts)
}

/// The place of the closing brace, which has as many `}` as `${` before it.
fn end_of_braces(text: &str) -> Option<usize> {
    text.match_indices('}').map(|(at, _)| at).find(|at| {
        let before = &text[..*at];
        before.matches("${").count() == before.matches('}').count()
    })
}

fn expression(body: &str, depth: usize) -> Option<Vec<Part>> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if body.contains('.') && body.chars().all(|c| is_name(c) || c == '-' || c == '.') {
        return reference(body).map(|reference| vec![Part::Reference(reference)]);
    }
    let (name, rest) = body.split_at(body.find(|c| !is_name(c)).unwrap_or(body.len()));
    let value = match name {
        "A" => Some("1"),
        "A_KEY" => Some("c0rrect-h0rse-battery"),
        "EMPTY" => Some(""),
        "DOLLARS" => Some("$${A}"),
        _ => None,
    };
    let secret = harness_model::secret::is_secret_name(name);
    let name_is_good = name.starts_with(|c: char| is_name(c) && !c.is_ascii_digit());
    let parts = match (value, rest) {
        _ if !name_is_good => return None,
        (Some(value), "") => vec![Part::Text(value.to_owned())],
        (_, rest) if !(rest.starts_with(":-") || rest.starts_with(":?")) => return None,
        (Some(value), _) if !value.is_empty() => vec![Part::Text(value.to_owned())],
        (_, rest) if rest.starts_with(":?") || depth == MAX_NESTING => return None,
        (_, rest) => expected(&rest[2..], depth + 1)?,
    };
    Some(match secret {
        // As few secrets as possible, so that each is long enough to be found in a log.
        true => Template::from_parts(parts)
            .parts()
            .iter()
            .cloned()
            .map(hidden)
            .collect(),
        false => parts,
    })
}

fn hidden(part: Part) -> Part {
    match part {
        Part::Text(text) => Part::Secret(harness_model::SecretString::new(text)),
        other => other,
    }
}

/// A reference to one of the services of [`PROJECT`].
fn reference(body: &str) -> Option<Reference> {
    let field = match body {
        "a.ip" | "b.ip" => AddressField::Ip,
        "a.host" | "b.host" => AddressField::Host,
        "b.port" => AddressField::Port(None),
        "b.port.x" => AddressField::Port(Some(PortName::new("x").unwrap())),
        _ => return None,
    };
    let service = ServiceName::new(&body[..1]).unwrap();
    Some(Reference { service, field })
}
