//! Reads YAML as a tree of nodes with spans, of any type.
//!
//! Deserializing into typed structs stops at the first mistake. This tree accepts any YAML, so that the readers can
//! report every mistake of a file at once. The parser expands anchors, aliases and merge keys. A node that comes from
//! an alias has the place where it was written.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::{
    DuplicateKeyPolicy, MessageFormatter, NonFiniteFloatPolicy, Spanned, UserMessageFormatter,
};

use crate::diagnostics::Finding;
use crate::limits::NUL_HELP;
use crate::mask::url_credentials;
use crate::source::{Sources, Span};

/// The deepest nesting of maps and lists. The schema needs seven.
const MAX_DEPTH: usize = 32;
/// The most nodes after aliases are expanded.
const MAX_NODES: usize = 100_000;

/// A value and where it is written.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub span: Span,
    pub kind: Kind,
}

/// What a node is.
#[derive(Debug, Clone)]
pub(crate) enum Kind {
    Null,
    Bool(bool),
    /// Kept as written: the text of `1.10` or `0x10` differs from the number it means.
    Number(String),
    String(String),
    List(Vec<Node>),
    Map(Vec<(Key, Node)>),
}

/// The key of a map entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Key {
    pub name: String,
    pub span: Span,
}

impl Node {
    /// Its type in words, as in "expected a list, found …".
    pub(crate) fn describe(&self) -> String {
        match &self.kind {
            Kind::Null => "nothing".into(),
            Kind::Bool(value) => format!("the boolean `{value}`"),
            Kind::Number(text) => format!("the number `{text}`"),
            Kind::String(_) => "a string".into(),
            Kind::List(_) => "a list".into(),
            Kind::Map(_) => "a map".into(),
        }
    }

    /// The value of a key, if this is a map that has it.
    pub(crate) fn get(&self, key: &str) -> Option<&Node> {
        match &self.kind {
            Kind::Map(entries) => entries.iter().find(|(k, _)| k.name == key).map(|(_, node)| node),
            _ => None,
        }
    }
}

/// Reads one text into a tree. `None` if it is not YAML; the findings then say so.
pub(crate) fn parse(sources: &Sources, file: usize, findings: &mut Vec<Finding>) -> Option<Node> {
    let source = sources.get(file);
    // The parser would treat a NUL as the end of the text.
    if let Some(at) = source.text.find('\0') {
        hide_secret_lines(sources, file);
        let span = Span {
            file,
            start: at,
            end: at + 1,
        };
        findings
            .push(Finding::error(span, "not valid YAML: there is a NUL here").help("is this a text file?"));
        return None;
    }
    let options = serde_saphyr::options! {
        strict_booleans: true,
        duplicate_keys: DuplicateKeyPolicy::PassThrough,
        non_finite_float_policy: NonFiniteFloatPolicy::AsString,
        with_snippet: false,
        reject_unsupported_tags: true,
        // How often an anchor is used says nothing: what it comes to is bounded by the nodes.
        budget: serde_saphyr::budget! { max_depth: MAX_DEPTH, flow_nesting_limit: MAX_DEPTH, max_nodes: MAX_NODES, enforce_alias_anchor_ratio: false },
    };
    match serde_saphyr::from_str_with_options::<RawNode>(&source.text, options) {
        Ok(raw) => Some(
            Convert {
                sources,
                file,
                findings,
            }
            .node(raw),
        ),
        Err(error) => {
            hide_secret_lines(sources, file);
            findings.push(syntax_error(sources, file, &error));
            None
        }
    }
}

fn syntax_error(sources: &Sources, file: usize, error: &serde_saphyr::Error) -> Finding {
    let error = error.without_snippet();
    let span = error.location().map_or(
        Span {
            file,
            start: 0,
            end: 0,
        },
        |location| byte_span(sources, file, location),
    );
    match error {
        serde_saphyr::Error::MultipleDocuments { .. } => {
            Finding::error(span, "a second YAML document begins here")
                .help("one file holds one document; give several files with several `-c`")
        }
        _ => {
            let message = UserMessageFormatter.format_message(error);
            Finding::error(span, format!("not valid YAML: {message}"))
                .maybe_help(remedy(&message).map(str::to_owned))
        }
    }
}

/// The parser says what it could not read, but not what to do about it. Messages that are not recognised here just
/// get no help.
fn remedy(message: &str) -> Option<&'static str> {
    if message.contains("tabs disallowed") {
        Some("indent with spaces: YAML allows no tabs there")
    } else if message.contains("quoted scalar") {
        Some("is a quote above not closed?")
    } else if message.contains("did not find expected key") {
        Some("keys of one map must start in the same column: is this line indented like its neighbours?")
    } else {
        None
    }
}

fn byte_span(sources: &Sources, file: usize, location: serde_saphyr::Location) -> Span {
    let source = sources.get(file);
    let span = location.span();
    let (start, len) = match (span.byte_offset(), span.byte_len()) {
        (Some(start), Some(len)) if start + len > 0 => (start, len),
        _ => (source.offset(location.line(), location.column()) as u64, 0),
    };
    let clamp = |at: u64| source.char_boundary(usize::try_from(at).unwrap_or(usize::MAX));
    Span {
        file,
        start: clamp(start),
        end: clamp(start.saturating_add(len)),
    }
}

/// Masks secrets in a text that has no tree, by looking at its lines: credentials in URLs, and the values in
/// `NAME: value` and `NAME=value` of secret names, with the lines in which the value continues.
fn hide_secret_lines(sources: &Sources, file: usize) {
    let source = sources.get(file);
    let indent = |line: &str| line.len() - line.trim_start().len();
    let mut start = 0;
    // The indentation of a secret with a value that continues on the next line.
    let mut open: Option<usize> = None;
    for part in url_credentials(&source.text) {
        source.mask(part);
    }
    for line in source.text.split_inclusive('\n') {
        let end = start + line.trim_end().len();
        if open.is_some_and(|outer| line.trim().is_empty() || indent(line) > outer) {
            source.mask(start..end);
        } else {
            open = None;
            if let Some(at) = secret_value(line) {
                source.mask(start + at..end);
                open = goes_on(line[at..].trim()).then(|| indent(line));
            }
        }
        start += line.len();
    }
}

/// The position in a line where the value of a secret begins, also within `{…}`.
fn secret_value(line: &str) -> Option<usize> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    let after_name = |at: &usize| {
        let before = line[..*at].trim_end_matches(|c: char| !is_name(c));
        let name = before.rsplit(|c: char| !is_name(c)).next().unwrap_or_default();
        harness_model::secret::is_secret_name(name)
    };
    let mut ends = line.match_indices([':', '=']).map(|(at, _)| at);
    ends.find(after_name).map(|at| at + 1)
}

/// Whether a value that begins like this continues on the next lines: a block, or an open quote.
fn goes_on(value: &str) -> bool {
    let mut chars = value.chars();
    match chars.next() {
        Some('|' | '>') => true,
        Some(quote @ ('"' | '\'')) => !chars.as_str().contains(quote),
        _ => false,
    }
}

struct RawNode(Spanned<RawKind>);

enum RawKind {
    Null,
    Bool(bool),
    Number,
    String(String),
    List(Vec<RawNode>),
    Map(Vec<(RawNode, RawNode)>),
}

impl<'de> Deserialize<'de> for RawNode {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Spanned::deserialize(deserializer).map(Self)
    }
}

impl<'de> Deserialize<'de> for RawKind {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(KindVisitor)
    }
}

struct KindVisitor;

impl<'de> Visitor<'de> for KindVisitor {
    type Value = RawKind;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any YAML value")
    }
    fn visit_unit<E>(self) -> Result<RawKind, E> {
        Ok(RawKind::Null)
    }
    fn visit_none<E>(self) -> Result<RawKind, E> {
        Ok(RawKind::Null)
    }
    fn visit_bool<E>(self, value: bool) -> Result<RawKind, E> {
        Ok(RawKind::Bool(value))
    }
    fn visit_i64<E>(self, _: i64) -> Result<RawKind, E> {
        Ok(RawKind::Number)
    }
    fn visit_u64<E>(self, _: u64) -> Result<RawKind, E> {
        Ok(RawKind::Number)
    }
    fn visit_i128<E>(self, _: i128) -> Result<RawKind, E> {
        Ok(RawKind::Number)
    }
    fn visit_u128<E>(self, _: u128) -> Result<RawKind, E> {
        Ok(RawKind::Number)
    }
    fn visit_f64<E>(self, _: f64) -> Result<RawKind, E> {
        Ok(RawKind::Number)
    }
    fn visit_str<E>(self, value: &str) -> Result<RawKind, E> {
        Ok(RawKind::String(value.to_owned()))
    }
    fn visit_string<E>(self, value: String) -> Result<RawKind, E> {
        Ok(RawKind::String(value))
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<RawKind, A::Error> {
        let mut out = Vec::new();
        while let Some(item) = list.next_element()? {
            out.push(item);
        }
        Ok(RawKind::List(out))
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<RawKind, A::Error> {
        let mut out = Vec::new();
        while let Some(entry) = map.next_entry()? {
            out.push(entry);
        }
        Ok(RawKind::Map(out))
    }
}

struct Convert<'a> {
    sources: &'a Sources,
    file: usize,
    findings: &'a mut Vec<Finding>,
}

impl Convert<'_> {
    fn span(&self, raw: &RawNode) -> Span {
        byte_span(self.sources, self.file, raw.0.defined)
    }

    fn node(&mut self, raw: RawNode) -> Node {
        let span = self.span(&raw);
        let kind = match raw.0.value {
            RawKind::Null => Kind::Null,
            RawKind::Bool(value) => Kind::Bool(value),
            RawKind::Number => Kind::Number(self.sources.text(span).trim().to_owned()),
            RawKind::String(text) => {
                self.refuse_nul(span, &text);
                Kind::String(text)
            }
            RawKind::List(items) => Kind::List(items.into_iter().map(|item| self.node(item)).collect()),
            RawKind::Map(entries) => Kind::Map(self.entries(entries)),
        };
        Node { span, kind }
    }

    fn refuse_nul(&mut self, span: Span, text: &str) {
        if text.contains('\0') {
            self.findings
                .push(Finding::error(span, "a NUL (`\\0`) is not allowed here").help(NUL_HELP));
        }
    }

    fn entries(&mut self, raw: Vec<(RawNode, RawNode)>) -> Vec<(Key, Node)> {
        let mut out: Vec<(Key, Node)> = Vec::with_capacity(raw.len());
        for (key, value) in raw {
            let span = self.span(&key);
            let name: Cow<'_, str> = match &key.0.value {
                RawKind::String(text) => text.as_str().into(),
                RawKind::Null | RawKind::Bool(_) | RawKind::Number => {
                    self.sources.text(span).trim().to_owned().into()
                }
                RawKind::List(_) | RawKind::Map(_) => {
                    self.findings.push(
                        Finding::error(span, "a key must be a plain word, not a list or a map")
                            .help("put quotes around a value that begins with `{` or `[`"),
                    );
                    continue;
                }
            };
            self.refuse_nul(span, &name);
            let key = Key {
                name: name.into_owned(),
                span,
            };
            let value = self.node(value);
            out.push((key, value));
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(text: &str) -> (Sources, Option<Node>, Vec<Finding>) {
        let sources = Sources::default();
        let file = sources.add("f.yaml".into(), ".".into(), text.to_owned());
        let mut findings = Vec::new();
        let node = parse(&sources, file, &mut findings);
        (sources, node, findings)
    }

    fn dump(sources: &Sources, node: &Node, out: &mut String) {
        out.push_str(&format!("{}={:?} ", node.describe(), sources.text(node.span)));
        match &node.kind {
            Kind::List(items) => items.iter().for_each(|n| dump(sources, n, out)),
            Kind::Map(entries) => entries.iter().for_each(|(k, n)| {
                out.push_str(&format!("[{}:{:?}] ", k.name, sources.text(k.span)));
                dump(sources, n, out);
            }),
            _ => {}
        }
    }

    #[test]
    fn every_kind_of_node_has_its_place() {
        let text =
            "a: \"x${Y}\"\nb: [1.10, 0x10, yes, true, ~]\nc: &c {k: 'v'}\nd: *c\ne:\n  <<: *c\n  z: é\nf:\n";
        let (sources, node, findings) = tree(text);
        let mut out = String::new();
        dump(&sources, &node.unwrap(), &mut out);
        assert_eq!(findings, []);
        assert_eq!(
            out,
            concat!(
                r#"a map="" [a:"a"] a string="\"x${Y}\"" "#,
                r#"[b:"b"] a list="[" the number `1.10`="1.10" the number `0x10`="0x10" a string="yes" the boolean `true`="true" nothing="~" "#,
                r#"[c:"c"] a map="{" [k:"k"] a string="'v'" [d:"d"] a map="{" [k:"k"] a string="'v'" "#,
                r#"[e:"e"] a map="" [z:"z"] a string="é" [k:"k"] a string="'v'" [f:"f"] nothing="" "#,
            )
        );
    }

    #[test]
    fn what_is_no_tree_is_said_at_its_place() {
        let said = |text: &str| {
            let (sources, node, findings) = tree(text);
            assert!(node.is_none(), "{text}");
            let (errors, _) = crate::diagnostics::finish(findings, &sources);
            let first = errors.iter().next().unwrap();
            format!("{}:{} {}", first.line, first.column, first.message)
        };
        assert_eq!(
            said("a: 1\n---\nb: 2\n"),
            "3:1 a second YAML document begins here"
        );
        assert_eq!(
            said("a: 1\nb: c: d\n"),
            "2:5 not valid YAML: mapping values are not allowed in this context"
        );
        let helped = |text: &str| {
            let (sources, _, findings) = tree(text);
            let (errors, _) = crate::diagnostics::finish(findings, &sources);
            errors.iter().next().unwrap().help.clone().unwrap_or_default()
        };
        assert!(helped("a:\n\tb: 1\n\tc: 2\n").contains("no tabs"));
        assert!(helped("a:\n  b:\n    c: 1\n   d: 2\n").contains("same column"));
        assert!(helped("a:\n  b: \"c\n").contains("quote"));
        assert!(said("a: &a [*a]\n").starts_with("1:8 "));
        assert!(said("a: !foo x\n").starts_with("1:"));
        assert!(said(&"[".repeat(5000)).contains("limit"));
        assert!(said(&format!("{}x", "a: {".repeat(40))).contains("limit"));
    }

    #[test]
    fn secrets_are_hidden_where_there_is_no_tree() {
        for text in [
            "a: {DB_PASSWORD: hunter2, X: [}\n",
            "a: {X: 1, \"DB_PASSWORD\" : \"hunter2\"\nb: }\n",
            "a: [DB_PASSWORD=hunter2, x: {]\n",
            "a:\n  DB_PASSWORD: \"one\n    hunter2\\q\n  b: 1\n",
            "a:\n  DB_PASSWORD: |\n    x\n\n   hunter2: [\n",
        ] {
            let (sources, node, findings) = tree(text);
            assert!(node.is_none(), "{text}");
            let (errors, _) = crate::diagnostics::finish(findings, &sources);
            assert!(
                !errors.render(false).contains("hunter2"),
                "{}",
                errors.render(false)
            );
            for line in 0..text.lines().count() {
                let (shown, _) = sources.get(0).shown_line(line, 0..0);
                assert!(!shown.contains("hunter2"), "{shown}");
            }
        }
    }

    #[test]
    fn an_alias_bomb_is_refused() {
        let mut text = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
        for level in 1..9 {
            let before = format!("*a{}, ", level - 1).repeat(10);
            text.push_str(&format!("a{level}: &a{level} [{before}]\n"));
        }
        let (_, node, findings) = tree(&text);
        assert!(node.is_none() && !findings.is_empty());
    }
}
