//! Env files as Docker Compose reads them. Variables in them are replaced with values from the environment, from the
//! given scope, and from earlier lines, in this order.

use std::collections::{BTreeMap, BTreeSet};

use harness_model::{Part, Template};

use crate::diagnostics::Finding;
use crate::env_file::{Dialect, Value, lines};
use crate::read::{Allow, Reader, secret_template};
use crate::variables::Scope;

use super::strings::Strings;

/// The variables of an env file, given as its index among the sources. `around` has the variables that it may use in
/// addition to the environment. Afterwards the scope of this index has the file's variables too.
pub(crate) fn variables(reader: Reader<'_>, file: usize, around: Scope) -> BTreeMap<String, Template> {
    let context = reader.context;
    let beaten_by: BTreeSet<String> = around.values.keys().cloned().collect();
    context.scopes.borrow_mut().insert(file, around);
    let mut said = Vec::new();
    let lines = lines(context.sources, file, Dialect::Compose, &mut said);
    context.findings.borrow_mut().extend(said);
    let mut out = BTreeMap::new();
    for line in lines {
        let hidden = context.variables.is_secret(&line.name);
        let value = match line.value {
            Value::Literal(text) => Some(Template::from_parts([Part::Text(text)])),
            Value::Inherited => context.variable(&line.name, file).map(|text| {
                let value = Template::from_parts([Part::Text(text)]);
                match context.is_secret(&line.name, file) {
                    true => secret_template(&value),
                    false => value,
                }
            }),
            Value::Text(text) => {
                let before = context.findings.borrow().len();
                let mut said = Vec::new();
                let text = Strings::Known(reader).respelled(&text, line.span, &mut said);
                let value = reader.template_text(line.span, &text, Allow::Everything);
                let mut findings = context.findings.borrow_mut();
                said.extend(findings.split_off(before));
                findings.extend(said.into_iter().map(|finding| match hidden {
                    true => without_its_words(finding, &line.name),
                    false => finding,
                }));
                value
            }
        };
        let Some(mut value) = value else { continue };
        if hidden {
            value = secret_template(&value);
        }
        let mut scopes = context.scopes.borrow_mut();
        if let (Some(scope), Some(text)) = (scopes.get_mut(&file), value.expose())
            && !beaten_by.contains(&line.name)
        {
            scope.insert(&line.name, text, value.has_secret());
        }
        out.insert(line.name, value);
    }
    out
}

/// A finding about a secret value, without any part of the value.
fn without_its_words(finding: Finding, name: &str) -> Finding {
    finding
        .reworded(format!(
            "a `$` in the value of `{name}` names a variable that is not set, or has no meaning"
        ))
        .help("`$$` is a plain `$`, and so is every `$` in single quotes")
}
