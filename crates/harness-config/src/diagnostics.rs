//! The mistakes in a file, each with its place, its source line and what to do.

use std::cmp::Ordering;
use std::collections::HashSet;
use std::fmt;
use std::ops::Range;

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};
use harness_model::foreign;
use serde_json::{Value, json};

use crate::source::{Sources, Span};

/// Advice longer than this is printed below the source line instead of next to the carets.
const LABEL_WIDTH: usize = 60;

/// The most mistakes to report. More would not help anybody, and would need memory.
pub(crate) const MAX_DIAGNOSTICS: usize = 500;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// Nothing is started.
    Error,
    /// Probably not intended.
    Warning,
}

impl Severity {
    /// The word as printed.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
        }
    }
}

/// One mistake. Neither its text nor its source lines contain literal secrets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// The file, as the user wrote it.
    pub file: String,
    /// Line, from 1.
    pub line: u32,
    /// Column in characters, from 1.
    pub column: u32,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub help: Option<String>,
    excerpt: Excerpt,
    related: Vec<(String, Excerpt)>,
}

/// A source line with secrets hidden.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Excerpt {
    file: String,
    line: u32,
    /// The column in the file. In `text` it may differ, if something before it is hidden.
    column: u32,
    text: String,
    highlight: Range<usize>,
}

impl Excerpt {
    fn new(sources: &Sources, span: Span) -> Self {
        let source = sources.get(span.file);
        let (line, column) = source.position(span.start);
        let (text, highlight) = source.shown_line(source.line_index(span.start), span.start..span.end);
        Self {
            file: source.name.clone(),
            line,
            column,
            text,
            highlight,
        }
    }

    /// The renderer counts columns in the shown line. If a secret is hidden in it, they differ from those in the
    /// file.
    fn correct_column(&self, rendered: &mut String) {
        let shown = self.text[..self.highlight.start].chars().count() + 1;
        if shown != self.column as usize {
            let place = |column: usize| format!("{}:{}:{column}", foreign::shown(&self.file), self.line);
            *rendered = rendered.replacen(&place(shown), &place(self.column as usize), 1);
        }
    }
}

/// The mistakes of a load, in the order of the files and lines.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Diagnostics(Vec<Diagnostic>);

impl Diagnostics {
    /// Whether nothing is wrong.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Each of them, in the order of the files and lines.
    pub fn iter(&self) -> std::slice::Iter<'_, Diagnostic> {
        self.0.iter()
    }

    /// All mistakes as text for people: message, place, source line, carets, advice. Ends with a line break unless
    /// empty.
    pub fn render(&self, color: bool) -> String {
        let rendered: Vec<String> = self.0.iter().map(|diagnostic| diagnostic.render(color)).collect();
        rendered.join("\n")
    }

    /// All mistakes for scripts: `[{"severity","file","line","column","message","help"}]`.
    pub fn to_json(&self) -> Value {
        self.0
            .iter()
            .map(|d| {
                json!({
                    "severity": d.severity.as_str(),
                    "file": d.file,
                    "line": d.line,
                    "column": d.column,
                    "message": d.message,
                    "help": d.help,
                })
            })
            .collect()
    }
}

impl<'a> IntoIterator for &'a Diagnostics {
    type Item = &'a Diagnostic;
    type IntoIter = std::slice::Iter<'a, Diagnostic>;
    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(false))
    }
}

impl Diagnostic {
    /// The mistake as text for people. No part of the file can control the terminal.
    pub fn render(&self, color: bool) -> String {
        let level = match self.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
        };
        let short = self
            .help
            .as_deref()
            .filter(|help| help.chars().count() <= LABEL_WIDTH)
            .map(foreign::shown);
        let mut primary = snippet(&self.excerpt).annotation(
            AnnotationKind::Primary
                .span(self.excerpt.highlight.clone())
                .label(short.clone()),
        );
        let mut others = Vec::new();
        for (label, excerpt) in &self.related {
            let context = AnnotationKind::Context
                .span(excerpt.highlight.clone())
                .label(foreign::shown(label));
            if excerpt.text == self.excerpt.text && excerpt.line == self.excerpt.line {
                primary = primary.annotation(context);
            } else {
                others.push(snippet(excerpt).annotation(context));
            }
        }
        let mut group =
            Group::with_title(level.primary_title(foreign::shown(&self.message))).element(primary);
        for other in others {
            group = group.element(other);
        }
        if let (Some(help), None) = (&self.help, &short) {
            group = group.element(Level::HELP.message(foreign::shown(help)));
        }
        let renderer = if color {
            Renderer::styled()
        } else {
            Renderer::plain()
        };
        let mut out = renderer.render(&[group]);
        for excerpt in self
            .related
            .iter()
            .map(|(_, excerpt)| excerpt)
            .chain([&self.excerpt])
        {
            excerpt.correct_column(&mut out);
        }
        out.push('\n');
        out
    }
}

fn snippet(excerpt: &Excerpt) -> Snippet<'_, annotate_snippets::Annotation<'_>> {
    Snippet::source(excerpt.text.as_str())
        .line_start(excerpt.line as usize)
        .path(foreign::shown(&excerpt.file))
}

/// A mistake before the whole list is known. Until then, more of the text may turn out to be secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Finding {
    severity: Severity,
    span: Span,
    message: String,
    help: Option<String>,
    related: Vec<(Span, String)>,
}

impl Finding {
    /// An error at a place.
    pub(crate) fn error(span: Span, message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Error,
            span,
            message: message.into(),
            help: None,
            related: Vec::new(),
        }
    }

    /// A warning at a place.
    pub(crate) fn warning(span: Span, message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Warning,
            ..Self::error(span, message)
        }
    }

    /// Adds what to do about it.
    pub(crate) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Adds what to do about it, if that is known.
    pub(crate) fn maybe_help(mut self, help: Option<String>) -> Self {
        self.help = help;
        self
    }

    /// Adds another place that belongs to it.
    pub(crate) fn related(mut self, span: Span, label: impl Into<String>) -> Self {
        self.related.push((span, label.into()));
        self
    }

    /// Replaces the message and removes the help.
    pub(crate) fn reworded(mut self, message: String) -> Self {
        self.message = message;
        self.help = None;
        self
    }

    /// The same, for what need not be right as long as nobody uses it.
    pub(crate) fn into_warning(mut self) -> Self {
        self.severity = Severity::Warning;
        self
    }

    /// Whether nothing can be started with it.
    pub(crate) fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }

    /// Where it is.
    pub(crate) fn span(&self) -> Span {
        self.span
    }

    /// What is wrong.
    pub(crate) fn message(&self) -> &str {
        &self.message
    }

    fn finish(self, sources: &Sources) -> Diagnostic {
        let source = sources.get(self.span.file);
        let (line, column) = source.position(self.span.start);
        Diagnostic {
            severity: self.severity,
            file: source.name.clone(),
            line,
            column,
            message: self.message,
            help: self.help,
            excerpt: Excerpt::new(sources, self.span),
            related: self
                .related
                .into_iter()
                .map(|(span, label)| (label, Excerpt::new(sources, span)))
                .collect(),
        }
    }
}

/// Splits errors and warnings, sorts them by place, removes duplicates, and limits their number.
pub(crate) fn finish(mut findings: Vec<Finding>, sources: &Sources) -> (Diagnostics, Diagnostics) {
    findings.sort_by(|a, b| match a.span.cmp(&b.span) {
        Ordering::Equal => a.message.cmp(&b.message),
        other => other,
    });
    findings.dedup();
    let (errors, warnings): (Vec<_>, Vec<_>) = findings
        .into_iter()
        .partition(|finding| finding.severity == Severity::Error);
    let finish = |list: Vec<Finding>| {
        // A file that is read for several services is a new source each time.
        let mut told = HashSet::new();
        let shown = list.into_iter().map(|finding| finding.finish(sources));
        let once = shown.filter(|d| told.insert((d.file.clone(), d.line, d.column, d.message.clone())));
        Diagnostics(once.take(MAX_DIAGNOSTICS).collect())
    };
    (finish(errors), finish(warnings))
}
