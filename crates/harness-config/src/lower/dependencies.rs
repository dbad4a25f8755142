//! `dependencies` as written: names or maps. The module `check` checks whether they fit together.

use std::collections::HashMap;

use harness_model::spec::Condition;

use super::DraftDependency;
use super::health::check_pattern;
use crate::diagnostics::Finding;
use crate::fields::Fields;
use crate::keys::DEPENDENCY;
use crate::read::Reader;
use crate::source::Span;
use crate::tree::{Kind, Node};

/// Reads `dependencies`. Leaves out those that are wrong.
pub(super) fn lower(fields: &Fields<'_>) -> Vec<DraftDependency> {
    let mut out: Vec<DraftDependency> = Vec::new();
    let mut written: HashMap<String, Span> = HashMap::new();
    for node in fields.items("dependencies") {
        let Some(dependency) = one(fields.reader, node) else {
            continue;
        };
        if let Some(first) = written.get(&dependency.service) {
            fields.reader.report(
                Finding::error(
                    dependency.span,
                    format!("`{}` is written twice", dependency.service),
                )
                .related(*first, "first written here"),
            );
        } else {
            written.insert(dependency.service.clone(), dependency.span);
            out.push(dependency);
        }
    }
    out
}

fn one(reader: Reader<'_>, node: &Node) -> Option<DraftDependency> {
    if !matches!(node.kind, Kind::Map(_)) {
        let text = reader.text(node, true)?;
        return Some(DraftDependency {
            service: text.value,
            span: text.span,
            condition: None,
            restart: false,
            required: true,
            of_group: false,
        });
    }
    let fields = Fields::open(reader, &DEPENDENCY, node)?;
    fields.check_keys("a dependency", node.span, None);
    let word = fields.choice("condition");
    let pattern = fields.text("pattern");
    if fields.has("pattern") && word != Some("log") {
        reader.report(
            Finding::error(fields.key_span("pattern"), "`pattern` needs `condition: log`")
                .help("write `condition: log`, or leave it out"),
        );
    }
    let condition = match word {
        Some("started") => Some(Condition::Started),
        Some("healthy") => Some(Condition::Healthy),
        Some("completed") => Some(Condition::Completed),
        Some("none") => Some(Condition::None),
        Some("log") => {
            fields.require("pattern", "`condition: log`", fields.key_span("condition"));
            pattern
                .filter(|pattern| check_pattern(reader, pattern))
                .map(|pattern| Condition::Log(pattern.value))
        }
        _ => None,
    };
    let restart = fields.flag("restart");
    let required = fields.bool("required").unwrap_or(true);
    let service = fields.text("service")?;
    Some(DraftDependency {
        service: service.value,
        span: service.span,
        condition,
        restart,
        required,
        of_group: false,
    })
}
