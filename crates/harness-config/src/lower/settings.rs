//! The settings of types and probes that a program added: values by the shapes of their keys.

use std::collections::BTreeMap;

use harness_model::spec::{Setting, Settings};
use serde_json::Number;

use crate::diagnostics::Finding;
use crate::fields::Fields;
use crate::keys::Shape;
use crate::read::{Allow, Reader, secret_template};
use crate::source::Span;
use crate::tree::{Kind, Node};
use crate::types::{Mistake, ProbeType, ServiceType};

/// Reads the keys of a type. `None` if something in them is wrong.
pub(super) fn lower(fields: &Fields<'_>, added: &ServiceType, at: Span) -> Option<Settings> {
    let owner = match fields.reader.service {
        Some(name) => format!("the {} service `{name}`", added.name),
        None => format!("a {} service", added.name),
    };
    for key in added.required {
        fields.require(key, &owner, at);
    }
    for key in added.lacks.iter().copied().filter(|key| fields.has(key)) {
        let message = format!("a {} service has no `{key}`", added.name);
        let finding = Finding::error(fields.key_span(key), message);
        fields.reader.report(finding);
    }
    let before = fields.reader.context.findings.borrow().len();
    let mut settings = BTreeMap::new();
    for key in added.keys {
        if let Some(node) = fields.get(key.name)
            && let Some(setting) = setting(fields.reader, key.name, key.shape, node)
        {
            settings.insert(key.name.to_owned(), setting);
        }
    }
    let settings = Settings(settings);
    // A service of other profiles may lack values.
    let is_whole = fields.reader.context.findings.borrow().len() == before && fields.reader.active;
    let mistakes = if is_whole {
        (added.check)(&settings)
    } else {
        Vec::new()
    };
    for mistake in &mistakes {
        let (first, rest) = match mistake.path.split_first() {
            Some((first, rest)) => (added.keys.iter().find(|key| key.name == first), rest),
            None => (None, &[][..]),
        };
        let node = first.and_then(|key| fields.get(key.name));
        let span = match (first, node) {
            (_, Some(node)) => place(node, rest),
            (Some(key), None) if fields.has(key.name) => fields.key_span(key.name),
            _ => at,
        };
        report(fields.reader, span, mistake);
    }
    mistakes.is_empty().then_some(settings)
}

/// Reads the value of a probe.
pub(super) fn probe(fields: &Fields<'_>, added: &ProbeType) -> Option<Setting> {
    let node = fields.get(added.key.name)?;
    let setting = setting(fields.reader, added.key.name, added.key.shape, node)?;
    let mistakes = (added.check)(&setting);
    for mistake in &mistakes {
        report(fields.reader, place(node, &mistake.path), mistake);
    }
    mistakes.is_empty().then_some(setting)
}

fn report(reader: Reader<'_>, span: Span, mistake: &Mistake) {
    reader.report(Finding::error(span, mistake.message.clone()).maybe_help(mistake.help.clone()));
}

/// The deepest node on the path that is written.
fn place(node: &Node, path: &[String]) -> Span {
    let Some((first, rest)) = path.split_first() else {
        return node.span;
    };
    let inner = match &node.kind {
        Kind::Map(_) => node.get(first),
        Kind::List(items) => first.parse::<usize>().ok().and_then(|index| items.get(index)),
        _ => None,
    };
    inner.map_or(node.span, |inner| place(inner, rest))
}

fn setting(reader: Reader<'_>, name: &str, shape: Shape, node: &Node) -> Option<Setting> {
    let wrong = || {
        let message = format!("`{name}` must be {}, found {}", shape.describe(), node.describe());
        reader.report(Finding::error(node.span, message));
        None
    };
    let text = |numbers| {
        let template = reader.template(node, numbers, Allow::Everything)?;
        let template = match reader.context.variables.is_secret(name) {
            true => secret_template(&template),
            false => template,
        };
        Some(Setting::Text(template))
    };
    match shape {
        Shape::Text => text(false),
        Shape::Scalar => text(true),
        Shape::Bool => reader.bool(node).map(Setting::Bool),
        Shape::Whole { min, max } => number(reader.whole(node, min, max, &shape.describe())?),
        Shape::Duration => number(u64::try_from(reader.duration(node)?.as_millis()).ok()?),
        Shape::Size => number(reader.size(node)?),
        Shape::Words => {
            let words = reader.words(node)?;
            Some(Setting::List(words.into_iter().map(Setting::Text).collect()))
        }
        Shape::Choice(words) => {
            let word = reader.choice(node, words, name)?;
            Some(Setting::Text(word.into()))
        }
        Shape::List(shape) => match &node.kind {
            Kind::List(items) => {
                let items = items.iter().map(|item| setting(reader, name, *shape, item));
                whole(items).map(Setting::List)
            }
            _ => wrong(),
        },
        Shape::Map(shape) => match &node.kind {
            Kind::Map(entries) => {
                let entries = entries.iter().map(|(key, node)| {
                    let setting = setting(reader, &key.name, *shape, node)?;
                    Some((key.name.clone(), setting))
                });
                whole(entries).map(|map| Setting::Map(Settings(map)))
            }
            _ => wrong(),
        },
        Shape::Section(section) => {
            let fields = Fields::open(reader, section, node)?;
            fields.check_keys(section.title, node.span, None);
            let written = section
                .keys
                .iter()
                .filter_map(|key| Some((key, fields.get(key.name)?)));
            let entries = written.map(|(key, node)| {
                let setting = setting(reader, key.name, key.shape, node)?;
                Some((key.name.to_owned(), setting))
            });
            whole(entries).map(|map| Setting::Map(Settings(map)))
        }
        Shape::Any(shapes) => match shapes.iter().find(|shape| takes(**shape, node)) {
            Some(shape) => setting(reader, name, *shape, node),
            None => wrong(),
        },
    }
}

/// All of them, or `None` if one is wrong. All are read, so that no mistake hides the next.
fn whole<T, C: FromIterator<T>>(read: impl Iterator<Item = Option<T>>) -> Option<C> {
    let read: Vec<Option<T>> = read.collect();
    read.into_iter().collect()
}

fn number(number: u64) -> Option<Setting> {
    Some(Setting::Number(Number::from(number)))
}

/// Whether a node may be meant to have this shape.
fn takes(shape: Shape, node: &Node) -> bool {
    match (shape, &node.kind) {
        (Shape::Any(shapes), _) => shapes.iter().any(|shape| takes(*shape, node)),
        (Shape::Bool, Kind::Bool(_)) => true,
        (Shape::List(_) | Shape::Words, Kind::List(_)) => true,
        (Shape::Map(_) | Shape::Section(_), Kind::Map(_)) => true,
        (Shape::Scalar | Shape::Whole { .. } | Shape::Duration | Shape::Size, Kind::Number(_)) => true,
        (shape, Kind::String(_)) => !shape.is_collection(),
        _ => false,
    }
}
