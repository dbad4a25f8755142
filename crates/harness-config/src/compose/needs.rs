//! `depends_on`.

use crate::diagnostics::Finding;
use crate::tree::{Key, Kind, Node};

use super::keys;
use super::nodes::{self, key, section};

/// A service that another one needs.
pub(crate) struct Need {
    /// Its name in the compose file.
    pub service: Key,
    /// The condition as services.yaml writes it.
    pub condition: &'static str,
    /// Whether the dependent is restarted with it.
    pub(super) restart: bool,
    /// Whether the dependent cannot start without it.
    pub(super) required: bool,
}

/// Reads `depends_on`.
pub(crate) fn needs(service: &Node, said: &mut Vec<Finding>) -> Vec<Need> {
    let Some(node) = service.get("depends_on") else {
        return Vec::new();
    };
    let plain = |service: Key| Need {
        service,
        condition: "started",
        restart: false,
        required: true,
    };
    match &node.kind {
        Kind::List(items) => {
            let mut out = Vec::new();
            for item in items {
                match nodes::scalar(item) {
                    Some(name) => out.push(plain(key(&name, item.span))),
                    None => said.push(Finding::error(
                        item.span,
                        format!("expected the name of a service, found {}", item.describe()),
                    )),
                }
            }
            out
        }
        Kind::Map(entries) => {
            let mut out = Vec::new();
            for (name, value) in entries {
                let entries = section(value, said);
                keys::refuse_others(
                    entries,
                    "`depends_on`",
                    &["condition", "restart", "required"],
                    said,
                );
                let mut need = plain(name.clone());
                if let Some(condition) = value.get("condition") {
                    need.condition = match nodes::scalar(condition).as_deref() {
                        Some("service_started") => "started",
                        Some("service_healthy") => "healthy",
                        Some("service_completed_successfully") => "completed",
                        _ => {
                            said.push(Finding::error(condition.span, "unknown condition of a dependency").help(
                                "it is one of `service_started`, `service_healthy`, `service_completed_successfully`",
                            ));
                            continue;
                        }
                    };
                }
                need.restart = flag(value, "restart", false, said);
                need.required = flag(value, "required", true, said);
                out.push(need);
            }
            out
        }
        Kind::Null => Vec::new(),
        _ => {
            said.push(Finding::error(node.span, "`depends_on` must be a list or a map"));
            Vec::new()
        }
    }
}

fn flag(need: &Node, name: &str, default: bool, said: &mut Vec<Finding>) -> bool {
    match need.get(name).map(|node| (&node.kind, node.span)) {
        None => default,
        Some((Kind::Bool(value), _)) => *value,
        Some((_, span)) => {
            said.push(Finding::error(span, "expected `true` or `false`"));
            default
        }
    }
}
