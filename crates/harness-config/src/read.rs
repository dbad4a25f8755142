//! Reads typed scalars from nodes, and reports mistakes at their place.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use harness_model::{Part, Reference, SecretString, ServiceName, Template};

use crate::diagnostics::{Finding, MAX_DIAGNOSTICS};
use crate::interpolate::{Expr, Locator, MAX_NESTING, Otherwise, Piece, parse, scan};
use crate::scalars;
use crate::source::{Sources, Span};
use crate::suggest::did_you_mean;
use crate::tree::{Kind, Node};
use crate::types::Types;
use crate::variables::{Scope, Variables};

/// For files that only types of the table may stand in.
static NO_TYPES: Types = Types::none();

/// What all modules share during one load.
pub(crate) struct Context<'a> {
    pub sources: &'a Sources,
    pub variables: &'a Variables,
    /// The types and probes beside those of the table.
    pub types: &'a Types,
    /// What `~` stands for.
    pub home: Option<PathBuf>,
    pub findings: RefCell<Vec<Finding>>,
    /// Files that a start will need and that cannot be read.
    pub missing: RefCell<Vec<Finding>>,
    /// The variables of sources that have their own, which replace those of the project's `.env`.
    pub scopes: RefCell<BTreeMap<usize, Scope>>,
    /// Every `${service.…}`, checked once all services are known.
    pub mentions: RefCell<Vec<Mention>>,
    /// The keys that have been read.
    #[cfg(test)]
    pub asked: RefCell<std::collections::BTreeSet<(&'static str, &'static str)>>,
}

/// A `${service.…}` somewhere in a service.
#[derive(Debug, Clone)]
pub(crate) struct Mention {
    pub from: ServiceName,
    pub reference: Reference,
    pub span: Span,
    /// The port written literally after it, as in `${db.ip}:5432`.
    pub literal_port: Option<u16>,
}

impl<'a> Context<'a> {
    /// The context of a load.
    pub(crate) fn new(sources: &'a Sources, variables: &'a Variables, home: Option<PathBuf>) -> Self {
        Self {
            sources,
            variables,
            types: &NO_TYPES,
            home,
            findings: RefCell::default(),
            missing: RefCell::default(),
            scopes: RefCell::default(),
            mentions: RefCell::default(),
            #[cfg(test)]
            asked: RefCell::default(),
        }
    }

    /// What to do about a mistake. Not computed for mistakes that will not be shown.
    pub(crate) fn advice(&self, advice: impl FnOnce() -> String) -> Option<String> {
        let found = self.findings.borrow().len();
        (found < MAX_DIAGNOSTICS).then(advice)
    }

    /// The value of a variable in a source.
    pub(crate) fn variable(&self, name: &str, file: usize) -> Option<String> {
        match self.scopes.borrow().get(&file) {
            Some(scope) => self
                .variables
                .environment
                .get(name)
                .or_else(|| scope.values.get(name))
                .cloned(),
            None => self.variables.get(name).map(str::to_owned),
        }
    }

    /// The mistake of using a variable at a place, if the line of the `.env` that should give it a value cannot be read.
    pub(crate) fn unreadable(&self, name: &str, at: Span) -> Option<Finding> {
        if self.variables.environment.contains_key(name) {
            return None;
        }
        let scopes = self.scopes.borrow();
        let scope = scopes.get(&at.file).unwrap_or(&self.variables.dotenv);
        let (line, reason) = scope.unreadable.get(name)?;
        let message = format!("variable `{name}` cannot be read: {reason}");
        Some(Finding::error(at, message).related(*line, "its line"))
    }

    /// Whether the value of a variable in a source must not be shown.
    pub(crate) fn is_secret(&self, name: &str, file: usize) -> bool {
        let scopes = self.scopes.borrow();
        let derived = || {
            scopes
                .get(&file)
                .is_some_and(|scope| scope.secrets.contains(name))
        };
        self.variables.is_secret(name) || derived()
    }

    /// Adds a mistake.
    pub(crate) fn report(&self, finding: Finding) {
        self.findings.borrow_mut().push(finding);
    }
}

/// What a string may contain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Allow {
    /// Secrets and references.
    Everything,
    /// References, but no secrets: everybody can see the string, for example an argument of a process.
    References,
    /// Neither: the whole string must be known when the file is read.
    Literal,
}

/// A string that is known when the file is read.
#[derive(Debug, Clone)]
pub(crate) struct Text {
    pub value: String,
    pub span: Span,
}

/// Reads nodes on behalf of a service, or of the project as a whole.
#[derive(Clone, Copy)]
pub(crate) struct Reader<'a> {
    pub context: &'a Context<'a>,
    pub service: Option<&'a ServiceName>,
    /// Whether the service belongs to the chosen profiles; otherwise its variables need not be defined.
    pub active: bool,
}

impl Reader<'_> {
    /// Adds a mistake.
    pub(crate) fn report(&self, finding: Finding) {
        self.context.report(finding);
    }

    /// Reports a value of another type than expected.
    pub(crate) fn wrong_type(&self, node: &Node, expected: &str) {
        let help = match node.kind {
            Kind::Bool(_) if expected.contains("string") => Some("put quotes around it".to_owned()),
            _ => None,
        };
        self.report(
            Finding::error(
                node.span,
                format!("expected {expected}, found {}", node.describe()),
            )
            .maybe_help(help),
        );
    }

    /// The text of a string, or of a number as written.
    fn raw<'n>(&self, node: &'n Node, numbers: bool) -> Option<&'n str> {
        match &node.kind {
            Kind::String(text) => Some(text),
            Kind::Number(text) if numbers => Some(text),
            _ => {
                self.wrong_type(
                    node,
                    if numbers {
                        "a string or a number"
                    } else {
                        "a string"
                    },
                );
                None
            }
        }
    }

    /// A string with its variables replaced.
    pub(crate) fn template(&self, node: &Node, numbers: bool, allow: Allow) -> Option<Template> {
        let text = self.raw(node, numbers)?;
        self.template_text(node.span, text, allow)
    }

    /// A text with its variables replaced.
    pub(crate) fn template_text(&self, span: Span, text: &str, allow: Allow) -> Option<Template> {
        let locator = Locator::new(self.context.sources, span, text);
        self.interpolate(&locator, text, scan(text), allow)
    }

    /// A string without addresses of services.
    pub(crate) fn text(&self, node: &Node, numbers: bool) -> Option<Text> {
        let template = self.template(node, numbers, Allow::Literal)?;
        // An inactive service may have an undefined variable, which leaves its text incomplete.
        Some(Text {
            value: template.expose()?,
            span: node.span,
        })
    }

    /// The template of pieces of a text.
    pub(crate) fn interpolate(
        &self,
        locator: &Locator,
        text: &str,
        pieces: Vec<Piece>,
        allow: Allow,
    ) -> Option<Template> {
        let mut parts = Vec::new();
        let mut good = true;
        let followers: Vec<Option<u16>> = (0..pieces.len())
            .map(|index| match pieces.get(index + 1) {
                Some(Piece::Text(text)) => leading_port(text),
                _ => None,
            })
            .collect();
        for (piece, literal_port) in pieces.into_iter().zip(followers) {
            match piece {
                Piece::Text(text) => parts.push(Part::Text(text)),
                Piece::Unclosed { offset, len } => {
                    let at = locator.place(text, offset, len);
                    self.report(Finding::error(at, "this `${` has no `}`").help("`$${` is a plain `${`"));
                    good = false;
                }
                Piece::Expr { offset, len, body } => {
                    let at = locator.place(text, offset, len);
                    match self.expression(&body, at, allow, literal_port, 0) {
                        Some(more) => parts.extend(more),
                        None => good = false,
                    }
                }
            }
        }
        good.then(|| Template::from_parts(parts))
    }

    fn expression(
        &self,
        body: &str,
        at: Span,
        allow: Allow,
        literal_port: Option<u16>,
        depth: usize,
    ) -> Option<Vec<Part>> {
        match parse(body) {
            Err(bad) => {
                self.report(Finding::error(at, bad.message).maybe_help(bad.help));
                None
            }
            Ok(Expr::Reference(reference)) => self.reference(reference, at, allow, literal_port),
            Ok(Expr::Variable { name, otherwise }) => self.variable(name, otherwise, at, allow, depth),
        }
    }

    fn reference(
        &self,
        reference: Reference,
        at: Span,
        allow: Allow,
        literal_port: Option<u16>,
    ) -> Option<Vec<Part>> {
        let Some(from) = self.service.filter(|_| allow != Allow::Literal) else {
            self.report(
                Finding::error(
                    at,
                    format!("`{reference}` cannot be used here: its value is known only once services start"),
                )
                .help("addresses can be used in env, args, files, health checks, hooks and volumes"),
            );
            return None;
        };
        self.context.mentions.borrow_mut().push(Mention {
            from: from.clone(),
            reference: reference.clone(),
            span: at,
            literal_port,
        });
        Some(vec![Part::Reference(reference)])
    }

    fn variable(
        &self,
        name: &str,
        otherwise: Otherwise<'_>,
        at: Span,
        allow: Allow,
        depth: usize,
    ) -> Option<Vec<Part>> {
        let variables = self.context.variables;
        if let Some(finding) = self.context.unreadable(name, at) {
            if self.active {
                self.report(finding);
            }
            return None;
        }
        let value = self.context.variable(name, at.file);
        let secret = self.context.is_secret(name, at.file);
        if secret && allow != Allow::Everything {
            let why = match allow {
                Allow::References => "everybody on the machine can read the arguments of a process",
                _ => "this value is visible to everybody",
            };
            self.report(
                Finding::error(at, format!("the secret `{name}` must not be used here: {why}"))
                    .help("pass it through `env` or `files`"),
            );
            return None;
        }
        let parts = match (value, otherwise) {
            (Some(value), Otherwise::Undefined) => vec![Part::Text(value)],
            (Some(value), _) if !value.is_empty() => vec![Part::Text(value)],
            (_, Otherwise::Default(default)) => self.default(default, at, allow, depth)?,
            (_, Otherwise::Error(message)) => {
                if self.active {
                    let message = if message.is_empty() {
                        "it is required"
                    } else {
                        message
                    };
                    self.report(Finding::error(
                        at,
                        format!("variable `{name}` is not set: {message}"),
                    ));
                }
                return None;
            }
            (_, Otherwise::Undefined) => {
                if self.active {
                    let help = did_you_mean(name, variables.names())
                        .unwrap_or_else(|| format!("set it, or write `${{{name}:-default}}`"));
                    self.report(Finding::error(at, format!("variable `{name}` is not set")).help(help));
                }
                return None;
            }
        };
        Some(if secret { hide(parts) } else { parts })
    }

    /// The text after `:-`, with the expressions in it replaced too.
    fn default(&self, text: &str, at: Span, allow: Allow, depth: usize) -> Option<Vec<Part>> {
        if depth >= MAX_NESTING {
            self.report(Finding::error(at, "defaults are nested too deeply"));
            return None;
        }
        let mut parts = Vec::new();
        for piece in scan(text) {
            match piece {
                Piece::Text(text) => parts.push(Part::Text(text)),
                Piece::Expr { body, .. } => {
                    parts.extend(self.expression(&body, at, allow, None, depth + 1)?)
                }
                Piece::Unclosed { .. } => {
                    self.report(Finding::error(at, "a `${` in the default has no `}`"));
                    return None;
                }
            }
        }
        Some(parts)
    }

    /// `true` or `false`.
    pub(crate) fn bool(&self, node: &Node) -> Option<bool> {
        let text = match &node.kind {
            Kind::Bool(value) => return Some(*value),
            Kind::String(_) => self.text(node, false)?.value,
            _ => {
                self.wrong_type(node, "`true` or `false`");
                return None;
            }
        };
        let interpolated = matches!(&node.kind, Kind::String(written) if *written != text);
        match text.as_str() {
            "true" if interpolated => Some(true),
            "false" if interpolated => Some(false),
            other => {
                let help = match other {
                    "true" | "yes" | "on" => Some("write `true`".to_owned()),
                    "false" | "no" | "off" => Some("write `false`".to_owned()),
                    _ => None,
                };
                self.report(
                    Finding::error(node.span, format!("expected `true` or `false`, found `{other}`"))
                        .maybe_help(help),
                );
                None
            }
        }
    }

    /// A whole number within bounds.
    pub(crate) fn whole(&self, node: &Node, min: u64, max: u64, expected: &str) -> Option<u64> {
        if !matches!(node.kind, Kind::Number(_) | Kind::String(_)) {
            self.wrong_type(node, expected);
            return None;
        }
        let text = self.text(node, true)?;
        let digits = text.value.trim();
        let number = digits
            .chars()
            .all(|c| c.is_ascii_digit())
            .then(|| digits.parse::<u64>().ok())
            .flatten()
            .filter(|number| (min..=max).contains(number));
        if number.is_none() {
            self.report(Finding::error(node.span, format!("`{digits}` is not {expected}")));
        }
        number
    }

    /// Seconds as a number, or a number with a unit.
    pub(crate) fn duration(&self, node: &Node) -> Option<Duration> {
        const FORMS: &str = "write seconds (`10`), or `500ms`, `2m`, `1h30m`";
        if !matches!(node.kind, Kind::Number(_) | Kind::String(_)) {
            self.wrong_type(node, "a duration");
            return None;
        }
        let text = self.text(node, true)?;
        let duration = scalars::duration(&text.value);
        if duration.is_none() {
            self.report(
                Finding::error(node.span, format!("`{}` is not a duration", text.value.trim())).help(FORMS),
            );
        }
        duration
    }

    /// Bytes as a number, or a number with a unit.
    pub(crate) fn size(&self, node: &Node) -> Option<u64> {
        if !matches!(node.kind, Kind::Number(_) | Kind::String(_)) {
            self.wrong_type(node, "a size");
            return None;
        }
        let text = self.text(node, true)?;
        let size = scalars::size(&text.value);
        if size.is_none() {
            self.report(
                Finding::error(node.span, format!("`{}` is not a size", text.value.trim()))
                    .help("write bytes (`1048576`), or `64MiB`, `512k`, `1GiB`"),
            );
        }
        size
    }

    /// One of several words.
    pub(crate) fn choice(&self, node: &Node, words: &[&'static str], what: &str) -> Option<&'static str> {
        let text = match &node.kind {
            Kind::String(_) => self.text(node, false)?.value,
            Kind::Bool(value) => value.to_string(),
            Kind::Number(text) => text.clone(),
            _ => {
                self.wrong_type(node, "a string");
                return None;
            }
        };
        let found = words.iter().copied().find(|word| *word == text);
        if found.is_none() {
            let help = did_you_mean(&text, words.iter().copied()).unwrap_or_else(|| {
                format!(
                    "it is one of {}",
                    crate::suggest::listed(words.iter().copied(), "none")
                )
            });
            self.report(Finding::error(node.span, format!("unknown {what} `{text}`")).help(help));
        }
        found
    }
}

/// Makes texts secret, and joins adjacent ones: a single piece could be too short to find in a log, or too much like
/// other text.
fn hide(parts: Vec<Part>) -> Vec<Part> {
    let hidden = |part: &Part| match part {
        Part::Text(text) => Part::Secret(SecretString::new(text)),
        other => other.clone(),
    };
    let joined = Template::from_parts(parts);
    joined.parts().iter().map(hidden).collect()
}

/// The template with all literal text in it made secret.
pub(crate) fn secret_template(template: &Template) -> Template {
    Template::from_parts(hide(template.parts().to_vec()))
}

/// The port in `:5432/graph`.
fn leading_port(text: &str) -> Option<u16> {
    let digits = text.strip_prefix(':')?;
    let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
    digits[..end].parse().ok()
}
