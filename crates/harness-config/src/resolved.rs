//! The file as it counts: all files merged, variables replaced, secrets hidden, and where each value comes from.
//!
//! What comes out can be read again, but for its secrets. Services of other profiles and keys that begin with `x-` are left
//! out. A service's `env` has the variables of its env files; the services of a compose file stand as their entry does.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use harness_model::spec::NamedBy;
use harness_model::{Part, REDACTED, ServiceName, ServiceSpec, Template};
use serde_json::{Map, Value};

use crate::env_file::{self, Dollar};
use crate::import::{literal, scalar};
use crate::interpolate::{Expr, Piece, parse, scan};
use crate::load::{LoadError, LoadOptions, Loaded, load_and};
use crate::mask::{is_secret_key, url_credentials};
use crate::read::{Allow, Context, Reader};
use crate::source::{Sources, Span};
use crate::tree::{Key, Kind, Node};

/// Comments begin no further to the right than here, but for those of longer lines.
const COMMENT_COLUMN: usize = 40;

/// A project's file as it counts.
#[derive(Debug, Clone)]
pub struct Resolved {
    /// What was loaded.
    pub loaded: Loaded,
    root: Item,
}

/// A value and where it comes from.
#[derive(Debug, Clone)]
struct Item {
    value: Content,
    origins: Vec<String>,
}

#[derive(Debug, Clone)]
enum Content {
    /// As YAML has it: quoted where it must be.
    Scalar {
        yaml: String,
        json: Value,
    },
    List(Vec<Item>),
    Map(Vec<(String, Item)>),
}

/// Loads a project, and says what its file comes to.
///
/// # Errors
/// The same as [`load`](crate::load).
pub fn resolve(options: &LoadOptions) -> Result<Resolved, LoadError> {
    let sources = Sources::default();
    let (loaded, root) = load_and(&sources, options, |context, tree, loaded| {
        Resolver { context, loaded }.project(tree)
    })?;
    Ok(Resolved { loaded, root })
}

impl Resolved {
    /// As YAML; with `origins`, each value has a comment that says where it comes from.
    pub fn to_yaml(&self, origins: bool) -> String {
        let mut lines = Vec::new();
        block(&self.root, 0, &mut lines);
        let longest = lines.iter().map(|(text, _)| text.chars().count()).max();
        let width = longest.unwrap_or(0).min(COMMENT_COLUMN);
        let mut out = String::new();
        for (text, from) in lines {
            // Writing to a String cannot fail.
            let _ = match origins && !from.is_empty() {
                true => writeln!(out, "{text:<width$}  # {}", from.join(", ")),
                false => writeln!(out, "{text}"),
            };
        }
        out
    }

    /// As JSON.
    pub fn to_json(&self) -> Value {
        json(&self.root)
    }

    /// Where each value comes from, by its path: `services.web.env.PORT`.
    pub fn origins(&self) -> Value {
        let mut out = Map::new();
        collect(&self.root, String::new(), &mut out);
        Value::Object(out)
    }
}

struct Resolver<'a> {
    context: &'a Context<'a>,
    loaded: &'a Loaded,
}

impl Resolver<'_> {
    fn project(&self, tree: &Node) -> Item {
        let mut entries = Vec::new();
        let project = &self.loaded.project;
        let from = match (project.named_by, tree.get("name")) {
            (NamedBy::File, Some(node)) => self.origins(node),
            (NamedBy::Caller, _) => vec!["-p".to_owned()],
            _ => vec!["the folder's name".to_owned()],
        };
        entries.push(("name".to_owned(), text(project.name.as_str(), from)));
        for (key, node) in map(tree) {
            match key.name.as_str() {
                "name" => {}
                name if name.starts_with("x-") => {}
                "services" => entries.push((key.name.clone(), self.services(node))),
                _ => entries.push((key.name.clone(), self.item(node, None))),
            }
        }
        Item {
            value: Content::Map(entries),
            origins: Vec::new(),
        }
    }

    fn services(&self, tree: &Node) -> Item {
        let project = &self.loaded.project;
        let chosen = map(tree).iter().filter_map(|(key, node)| {
            let name = ServiceName::new(&key.name).ok()?;
            let spec = project.services.get(&name);
            (spec.is_some() || project.groups.contains_key(&name)).then_some((name, spec, node))
        });
        let services = chosen.map(|(name, spec, node)| (name.to_string(), self.service(&name, spec, node)));
        Item {
            value: Content::Map(services.collect()),
            origins: Vec::new(),
        }
    }

    fn service(&self, name: &ServiceName, spec: Option<&ServiceSpec>, tree: &Node) -> Item {
        let is_compose = tree
            .get("type")
            .is_some_and(|node| matches!(&node.kind, Kind::String(kind) if kind == "compose"));
        let spec = spec.filter(|_| !is_compose);
        let mut entries = Vec::new();
        for (key, node) in map(tree) {
            if key.name == "env" && spec.is_some() {
                continue;
            }
            entries.push((key.name.clone(), self.item(node, Some(name))));
        }
        if let Some(spec) = spec.filter(|spec| !spec.env.is_empty()) {
            entries.push(("env".to_owned(), self.environment(spec, tree)));
        }
        Item {
            value: Content::Map(entries),
            origins: Vec::new(),
        }
    }

    /// The variables of a service, those of its env files included.
    fn environment(&self, spec: &ServiceSpec, tree: &Node) -> Item {
        let of_files = self.of_env_files(tree);
        let own = tree.get("env");
        let variables = spec.env.iter().map(|(name, value)| {
            let written = own.and_then(|env| match &env.kind {
                Kind::Map(_) => env.get(name),
                Kind::List(items) => items.iter().find(|item| {
                    matches!(&item.kind, Kind::String(text) if text.split_once('=').is_some_and(|(n, _)| n == name))
                }),
                _ => None,
            });
            let from = match written {
                Some(node) => self.origins(node),
                None => of_files.get(name).cloned().into_iter().collect(),
            };
            (name.clone(), text(&shown(value), from))
        });
        Item {
            value: Content::Map(variables.collect()),
            origins: Vec::new(),
        }
    }

    /// Where the variables of a service's env files stand, the later places in place of the earlier ones.
    fn of_env_files(&self, tree: &Node) -> BTreeMap<String, String> {
        let names: Vec<&Node> = match tree.get("env_file").map(|node| (&node.kind, node)) {
            Some((Kind::String(_), node)) => vec![node],
            Some((Kind::List(items), _)) => items.iter().collect(),
            _ => Vec::new(),
        };
        let mut out = BTreeMap::new();
        for node in names {
            let folder = self.context.sources.get(node.span.file).dir.clone();
            let path = folder.join(self.shown(node, None));
            let Ok(content) = self.context.sources.read_mentioned(&path) else {
                continue;
            };
            let name = path.strip_prefix(&folder).unwrap_or(&path).display().to_string();
            let file = self.context.sources.add(name, folder, content);
            for line in env_file::lines(self.context.sources, file, Dollar::Literal, &mut Vec::new()) {
                out.insert(line.name, self.place(line.span));
            }
        }
        out
    }

    fn item(&self, node: &Node, service: Option<&ServiceName>) -> Item {
        let origins = || self.origins(node);
        let is_secret = |name: &str| is_secret_key(name, &self.context.variables.secrets);
        match &node.kind {
            Kind::Map(entries) if !entries.is_empty() => {
                let entries = entries.iter().map(|(key, node)| {
                    let item = match &node.kind {
                        Kind::String(_) | Kind::Number(_) if is_secret(&key.name) => {
                            text(REDACTED, self.origins(node))
                        }
                        _ => self.item(node, service),
                    };
                    (key.name.clone(), item)
                });
                Item {
                    value: Content::Map(entries.collect()),
                    origins: Vec::new(),
                }
            }
            Kind::List(items) if !items.is_empty() => Item {
                value: Content::List(items.iter().map(|item| self.item(item, service)).collect()),
                origins: origins(),
            },
            Kind::String(written) => {
                let shown = match written.split_once('=') {
                    Some((name, _)) if is_secret(name.trim()) => format!("{name}={REDACTED}"),
                    _ => self.shown(node, service),
                };
                let is_made = scan(written)
                    .iter()
                    .any(|piece| matches!(piece, Piece::Expr { .. }));
                match shown.as_str() {
                    // A boolean that came of a variable is one; what was written in quotes is text.
                    "true" | "false" if is_made => Item {
                        value: Content::Scalar {
                            json: Value::Bool(shown == "true"),
                            yaml: shown,
                        },
                        origins: origins(),
                    },
                    _ => text(&shown, origins()),
                }
            }
            Kind::Number(written) => Item {
                value: Content::Scalar {
                    yaml: written.clone(),
                    json: serde_json::from_str(written).unwrap_or_else(|_| Value::from(written.as_str())),
                },
                origins: origins(),
            },
            Kind::Bool(value) => Item {
                value: Content::Scalar {
                    yaml: value.to_string(),
                    json: Value::Bool(*value),
                },
                origins: origins(),
            },
            Kind::Null => plain("null", Value::Null, origins()),
            Kind::Map(_) => plain("{}", Value::Object(Map::new()), origins()),
            Kind::List(_) => plain("[]", Value::Array(Vec::new()), origins()),
        }
    }

    /// A string with its variables replaced.
    fn shown(&self, node: &Node, service: Option<&ServiceName>) -> String {
        let Kind::String(written) = &node.kind else {
            return String::new();
        };
        let reader = Reader {
            context: self.context,
            service,
            active: true,
        };
        match reader.template_text(node.span, written, Allow::Everything) {
            Some(template) => shown(&template),
            // Where only a place of a service may stand, and this is none.
            None => written.clone(),
        }
    }

    /// The place of a node, and where the variables in it come from.
    fn origins(&self, node: &Node) -> Vec<String> {
        let mut out = vec![self.place(node.span)];
        let items = match &node.kind {
            Kind::List(items) => items.as_slice(),
            _ => std::slice::from_ref(node),
        };
        for item in items {
            if let Kind::String(text) = &item.kind {
                self.variables(text, &mut out);
            }
        }
        out
    }

    fn variables(&self, text: &str, out: &mut Vec<String>) {
        for piece in scan(text) {
            let Piece::Expr { body, .. } = piece else { continue };
            let Ok(Expr::Variable { name, .. }) = parse(&body) else {
                continue;
            };
            let variables = self.context.variables;
            let dotenv = &variables.dotenv;
            let from = if variables.environment.contains_key(name) {
                format!("{name} from the environment")
            } else if let Some(place) = dotenv.places.get(name) {
                format!("{name} from {place}")
            } else {
                format!("{name} by its default")
            };
            if !out.contains(&from) {
                out.push(from);
            }
        }
    }

    fn place(&self, span: Span) -> String {
        let source = self.context.sources.get(span.file);
        let (line, _) = source.position(span.start);
        format!("{}:{line}", source.name)
    }
}

fn map(node: &Node) -> &[(Key, Node)] {
    match &node.kind {
        Kind::Map(entries) => entries,
        _ => &[],
    }
}

/// A template as it may stand in a file: secrets hidden, and what means itself so that it means itself again.
fn shown(template: &Template) -> String {
    let parts = template.parts().iter().map(|part| match part {
        Part::Text(text) => literal(&without_credentials(text)),
        Part::Secret(_) => REDACTED.to_owned(),
        Part::Reference(reference) => reference.to_string(),
    });
    parts.collect()
}

/// A text without who logs in by the URLs in it.
fn without_credentials(text: &str) -> String {
    let mut out = String::new();
    let mut from = 0;
    for part in url_credentials(text) {
        out.push_str(&text[from..part.start]);
        out.push_str(REDACTED);
        from = part.end;
    }
    out.push_str(&text[from..]);
    out
}

fn text(text: &str, origins: Vec<String>) -> Item {
    plain(&scalar(text), Value::from(text), origins)
}

fn plain(yaml: &str, json: Value, origins: Vec<String>) -> Item {
    Item {
        value: Content::Scalar {
            yaml: yaml.to_owned(),
            json,
        },
        origins,
    }
}

/// Lines of YAML, each with the origins of what stands in it.
type Lines = Vec<(String, Vec<String>)>;

fn block(item: &Item, depth: usize, lines: &mut Lines) {
    let indent = "  ".repeat(depth);
    match &item.value {
        Content::Map(entries) => {
            for (key, value) in entries {
                let key = scalar(key);
                match inline(value) {
                    Some(text) => lines.push((format!("{indent}{key}: {text}"), value.origins.clone())),
                    None => {
                        lines.push((format!("{indent}{key}:"), Vec::new()));
                        block(value, depth + 1, lines);
                    }
                }
            }
        }
        Content::List(items) => {
            for item in items {
                let first = lines.len();
                match inline(item) {
                    Some(text) => lines.push((format!("{indent}- {text}"), item.origins.clone())),
                    None => {
                        block(item, depth + 1, lines);
                        // The first line of what is inside begins with the dash.
                        if let Some((line, _)) = lines.get_mut(first) {
                            line.replace_range(indent.len()..indent.len() + 2, "- ");
                        }
                    }
                }
            }
        }
        Content::Scalar { yaml, .. } => lines.push((format!("{indent}{yaml}"), item.origins.clone())),
    }
}

/// The value in one line; `None` if it has lines of its own.
fn inline(item: &Item) -> Option<String> {
    match &item.value {
        Content::Scalar { yaml, .. } => Some(yaml.clone()),
        Content::Map(entries) => entries.is_empty().then(|| "{}".to_owned()),
        Content::List(items) => {
            let items: Option<Vec<String>> = items
                .iter()
                .map(|item| match &item.value {
                    Content::Scalar { yaml, .. } => Some(yaml.clone()),
                    _ => None,
                })
                .collect();
            items.map(|items| format!("[{}]", items.join(", ")))
        }
    }
}

fn json(item: &Item) -> Value {
    match &item.value {
        Content::Scalar { json, .. } => json.clone(),
        Content::List(items) => items.iter().map(json).collect(),
        Content::Map(entries) => {
            let entries = entries.iter().map(|(key, item)| (key.clone(), json(item)));
            Value::Object(entries.collect())
        }
    }
}

fn collect(item: &Item, path: String, out: &mut Map<String, Value>) {
    let below = |name: &str| match path.is_empty() {
        true => name.to_owned(),
        false => format!("{path}.{name}"),
    };
    match &item.value {
        Content::Map(entries) => {
            for (key, item) in entries {
                collect(item, below(key), out);
            }
        }
        Content::List(items) if inline(item).is_none() => {
            for (index, item) in items.iter().enumerate() {
                collect(item, below(&index.to_string()), out);
            }
        }
        _ => {
            out.insert(path, Value::from(item.origins.clone()));
        }
    }
}
