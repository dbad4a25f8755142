//! Env files as Docker Compose reads them. Variables in them are replaced with values from the environment, from the
//! given scope, and from earlier lines, in this order.

use std::collections::{BTreeMap, BTreeSet};

use harness_model::{Part, Template};

use crate::diagnostics::Finding;
use crate::env_file::{Dollar, Value, lines};
use crate::read::{Allow, Reader, secret_template};
use crate::source::Span;
use crate::variables::Scope;

use super::strings::Strings;

/// The variables of an env file, given as its index among the sources. `around` has the variables that it may use in
/// addition to the environment. Afterwards the scope of this index has the file's variables too.
pub(crate) fn variables(reader: Reader<'_>, file: usize, around: Scope) -> BTreeMap<String, Template> {
    let context = reader.context;
    let beaten_by: BTreeSet<String> = around.values.keys().cloned().collect();
    context.scopes.borrow_mut().insert(file, around);
    let mut said = Vec::new();
    let lines = lines(context.sources, file, Dollar::Variable, &mut said);
    let bad: BTreeMap<Span, String> = said.iter().map(|f| (f.span(), f.message().to_owned())).collect();
    context.findings.borrow_mut().extend(said);
    let mut out = BTreeMap::new();
    for line in lines {
        let hidden = context.variables.is_secret(&line.name);
        let mut reason = bad.get(&line.span).cloned();
        let value = match line.value {
            Value::Unreadable => None,
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
                let shown = said.into_iter().map(|finding| match hidden {
                    true => without_its_words(finding, &line.name),
                    false => finding,
                });
                let shown: Vec<Finding> = shown.collect();
                let mut errors = shown.iter().filter(|finding| finding.is_error());
                reason = errors.next().map(|finding| finding.message().to_owned());
                findings.extend(shown);
                value.filter(|_| reason.is_none())
            }
        };
        if let Some(reason) = reason {
            let source = context.sources.get(file);
            let (number, column) = source.position(line.span.start);
            let reason = format!("{reason} ({}:{number}:{column})", source.name);
            if let Some(scope) = context.scopes.borrow_mut().get_mut(&file) {
                scope.values.remove(&line.name);
                scope.unreadable.insert(line.name.clone(), (line.span, reason));
            }
        }
        let Some(mut value) = value else { continue };
        if hidden {
            value = secret_template(&value);
        }
        let mut scopes = context.scopes.borrow_mut();
        if let (Some(scope), Some(text)) = (scopes.get_mut(&file), value.expose())
            && !beaten_by.contains(&line.name)
        {
            let source = context.sources.get(file);
            let (number, _) = source.position(line.span.start);
            scope.insert(&line.name, text, value.has_secret());
            scope
                .places
                .insert(line.name.clone(), format!("{}:{number}", source.name));
        }
        out.insert(line.name, value);
    }
    out
}

/// The variables of a `.env`, by its index among the sources. Most of them are often not for this project: a line that
/// cannot be read is a warning, and an error only where its variable is used.
pub(crate) fn dotenv(reader: Reader<'_>, file: usize) -> Scope {
    let context = reader.context;
    let before = context.findings.borrow().len();
    variables(reader, file, Scope::default());
    let mut findings = context.findings.borrow_mut();
    let said = findings.split_off(before);
    findings.extend(said.into_iter().map(Finding::into_warning));
    context.scopes.borrow_mut().remove(&file).unwrap_or_default()
}

/// A finding about a secret value, without any part of the value.
fn without_its_words(finding: Finding, name: &str) -> Finding {
    finding
        .reworded(format!(
            "a `$` in the value of `{name}` names a variable that is not set, or has no meaning"
        ))
        .help("`$$` is a plain `$`, and so is every `$` in single quotes")
}
