//! Where `${VAR}` takes its values from: the environment first, then `.env` beside the first file.

use std::collections::{BTreeMap, BTreeSet};

use harness_model::secret::is_secret_name;

use crate::diagnostics::Finding;
use crate::source::{Sources, Span};

/// The variables of a load.
#[derive(Debug, Default)]
pub(crate) struct Variables {
    pub environment: BTreeMap<String, String>,
    pub dotenv: BTreeMap<String, String>,
    /// Names that the file lists under `secrets:`.
    pub secrets: BTreeSet<String>,
}

impl Variables {
    /// The value of a variable.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.environment
            .get(name)
            .or_else(|| self.dotenv.get(name))
            .map(String::as_str)
    }

    /// Whether its value must not be shown.
    pub(crate) fn is_secret(&self, name: &str) -> bool {
        self.secrets.contains(name) || is_secret_name(name)
    }

    /// Every name that has a value.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.environment
            .keys()
            .chain(self.dotenv.keys())
            .map(String::as_str)
    }
}

/// Reads the lines of an env file: `NAME=value`, quoted or not, `export` allowed, `#` comments. Values are taken
/// literally. All of its values are masked in diagnostics.
pub(crate) fn parse_env_file(
    sources: &Sources,
    file: usize,
    findings: &mut Vec<Finding>,
) -> BTreeMap<String, String> {
    let source = sources.get(file);
    let mut out = BTreeMap::new();
    let mut start = 0;
    for raw in source.text.split_inclusive('\n') {
        let line = raw.trim_start_matches('\u{feff}').trim();
        let line_span = Span {
            file,
            start: start + (raw.len() - raw.trim_start().len()),
            end: start + raw.trim_end().len(),
        };
        start += raw.len();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let line = line.strip_prefix("export ").unwrap_or(line).trim_start();
        let Some((name, value)) = line.split_once('=') else {
            source.mask(line_span.start..line_span.end);
            findings.push(Finding::error(line_span, "this line is not `NAME=value`"));
            continue;
        };
        let name = name.trim_end();
        if let Some(at) = source.text[line_span.start..line_span.end].find('=') {
            source.mask(line_span.start + at + 1..line_span.end);
        }
        if !is_variable_name(name) {
            findings.push(Finding::error(line_span, "this is not the name of a variable"));
            continue;
        }
        match unquote(value.trim()) {
            Some(value) => {
                out.insert(name.to_owned(), value);
            }
            None => findings.push(Finding::error(
                line_span,
                format!("the quotes of `{name}` do not close"),
            )),
        }
    }
    out
}

/// Whether a text may name an environment variable that the shell and `${…}` can use.
pub(crate) fn is_variable_name(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

fn unquote(value: &str) -> Option<String> {
    if let Some(rest) = value.strip_prefix('\'') {
        let (inside, tail) = rest.split_once('\'')?;
        return is_comment(tail).then(|| inside.to_owned());
    }
    if let Some(rest) = value.strip_prefix('"') {
        let mut out = String::new();
        let mut chars = rest.chars();
        loop {
            match chars.next()? {
                '"' => return is_comment(chars.as_str()).then_some(out),
                '\\' => match chars.next()? {
                    'n' => out.push('\n'),
                    't' => out.push('\t'),
                    'r' => out.push('\r'),
                    c @ ('"' | '\\' | '$' | '`') => out.push(c),
                    c => out.extend(['\\', c]),
                },
                c => out.push(c),
            }
        }
    }
    let end = value
        .find(" #")
        .or_else(|| value.find("\t#"))
        .unwrap_or(value.len());
    Some(value[..end].trim_end().to_owned())
}

fn is_comment(tail: &str) -> bool {
    let tail = tail.trim_start();
    tail.is_empty() || tail.starts_with('#')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn env_files_are_read_as_people_write_them() {
        let sources = Sources::default();
        let text = "# c\n\nA=1\nexport B = two words # c\nC='x # y' # z\nD=\"l1\\nl2\"\nE=\nF=a=b#c\nbad line\nG=\"open\n1H=x\n";
        let file = sources.add(".env".into(), ".".into(), text.into());
        let mut findings = Vec::new();
        let got = parse_env_file(&sources, file, &mut findings);
        let expected = [
            ("A", "1"),
            ("B", "two words"),
            ("C", "x # y"),
            ("D", "l1\nl2"),
            ("E", ""),
            ("F", "a=b#c"),
        ];
        assert_eq!(got, expected.map(|(k, v)| (k.to_owned(), v.to_owned())).into());
        let (errors, _) = crate::diagnostics::finish(findings, &sources);
        let lines: Vec<u32> = errors.iter().map(|d| d.line).collect();
        assert_eq!(lines, [9, 10, 11]);
        assert!(!errors.render(false).contains("open"));
    }
}
