//! Maps of variables: `env`, and the arguments of a build.

use std::collections::BTreeMap;

use harness_model::Template;

use crate::diagnostics::Finding;
use crate::fields::Fields;
use crate::read::{Allow, secret_template};
use crate::source::Span;
use crate::tree::{Kind, Node};

impl Fields<'_> {
    /// Variables: a map, or a list of `NAME=value`. The literal values of secret names are secret.
    pub(crate) fn variables(&self, key: &'static str) -> BTreeMap<String, Template> {
        let Some(node) = self.get(key) else {
            return BTreeMap::new();
        };
        let mut out = BTreeMap::new();
        match &node.kind {
            Kind::Map(entries) => {
                for (name, value) in entries {
                    let span = value.span;
                    if let Some(value) = self.variable_value(&name.name, value)
                        && self.check_variable_name(&name.name, name.span)
                    {
                        self.reader.check_variable(span, &name.name, &value);
                        out.insert(name.name.clone(), self.hidden_if_secret(&name.name, value));
                    }
                }
            }
            Kind::List(items) => {
                for item in items {
                    if let Some((name, value)) = self.variable_item(item) {
                        self.reader.check_variable(item.span, &name, &value);
                        out.insert(name.clone(), self.hidden_if_secret(&name, value));
                    }
                }
            }
            _ => self.wrong(key, node),
        }
        out
    }

    fn hidden_if_secret(&self, name: &str, value: Template) -> Template {
        if self.reader.context.variables.is_secret(name) {
            secret_template(&value)
        } else {
            value
        }
    }

    fn check_variable_name(&self, name: &str, span: Span) -> bool {
        // A NUL was reported already where the text was read.
        let good = !name.is_empty() && !name.contains('=');
        if !good {
            self.reader
                .report(Finding::error(span, "this cannot be the name of a variable"));
        }
        good
    }

    fn variable_value(&self, name: &str, value: &Node) -> Option<Template> {
        match &value.kind {
            Kind::Bool(boolean) => {
                self.reader.report(
                    Finding::error(
                        value.span,
                        format!("the value of `{name}` is a boolean, but variables are text"),
                    )
                    .help(format!("put quotes around it: \"{boolean}\"")),
                );
                None
            }
            Kind::Null => {
                self.reader.report(
                    Finding::error(value.span, format!("the variable `{name}` has no value"))
                        .help("write \"\" for an empty one, or list the name under `inherit_env`"),
                );
                None
            }
            _ => self.reader.template(value, true, Allow::Everything),
        }
    }

    fn variable_item(&self, item: &Node) -> Option<(String, Template)> {
        let Kind::String(text) = &item.kind else {
            self.reader.report(Finding::error(
                item.span,
                format!("expected `NAME=value`, found {}", item.describe()),
            ));
            return None;
        };
        let Some((name, value)) = text.split_once('=') else {
            self.reader.report(
                Finding::error(item.span, "expected `NAME=value`")
                    .help("to take a variable from your own environment, list it under `inherit_env`"),
            );
            return None;
        };
        let value = Node {
            span: item.span,
            kind: Kind::String(value.to_owned()),
        };
        let value = self.reader.template(&value, true, Allow::Everything)?;
        self.check_variable_name(name, item.span)
            .then(|| (name.to_owned(), value))
    }
}
