//! `.dockerignore`: the files of a build context that are not sent.

use std::io;
use std::path::Path;

use regex::Regex;

/// The largest file of rules, in bytes.
const MAX_SIZE: u64 = 4 << 20;

/// The rules of a context. The last rule that matches decides.
#[derive(Debug, Default)]
pub(crate) struct Ignore {
    rules: Vec<(Regex, bool)>,
}

impl Ignore {
    /// The rules of a folder. Without a rule file there are none.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub(crate) fn of(context: &Path) -> io::Result<Self> {
        let file = context.join(".dockerignore");
        match harness_files::read_text_guarded(&file, MAX_SIZE).map_err(io::Error::from) {
            Ok(text) => Ok(Self::parse(&text)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(error),
        }
    }

    fn parse(text: &str) -> Self {
        let lines = text.lines().map(str::trim);
        let rules = lines
            .filter(|line| !line.is_empty() && !line.starts_with('#'))
            .filter_map(|line| {
                let (pattern, sent) = match line.strip_prefix('!') {
                    Some(pattern) => (pattern.trim(), true),
                    None => (line, false),
                };
                Some((expression(pattern)?, sent))
            });
        Self {
            rules: rules.collect(),
        }
    }

    /// Whether to leave out a path within the context. Its parts are separated by `/`.
    pub(crate) fn leaves_out(&self, path: &str) -> bool {
        let last = self
            .rules
            .iter()
            .rev()
            .find(|(pattern, _)| pattern.is_match(path));
        last.is_some_and(|(_, sent)| !sent)
    }

    /// Whether something inside a folder that is left out may still be sent.
    pub(crate) fn has_exceptions(&self) -> bool {
        self.rules.iter().any(|(_, sent)| *sent)
    }
}

/// A pattern that also matches everything below; `None` for a pattern that matches nothing.
fn expression(pattern: &str) -> Option<Regex> {
    let pattern = pattern.trim_start_matches("./").trim_matches('/');
    let mut out = String::from("^");
    let mut rest = pattern;
    while let Some(c) = rest.chars().next() {
        rest = &rest[c.len_utf8()..];
        match c {
            '*' if rest.starts_with('*') => {
                rest = rest.trim_start_matches('*');
                match rest.strip_prefix('/') {
                    Some(after) => {
                        rest = after;
                        out.push_str("(.*/)?");
                    }
                    None => out.push_str(".*"),
                }
            }
            '*' => out.push_str("[^/]*"),
            '?' => out.push_str("[^/]"),
            '[' => match rest.split_once(']') {
                Some((set, after)) => {
                    rest = after;
                    out.push('[');
                    out.push_str(&set.replace('[', "\\["));
                    out.push(']');
                }
                None => return None,
            },
            '\\' => {
                let escaped = rest.chars().next()?;
                rest = &rest[escaped.len_utf8()..];
                out.push_str(&regex::escape(&escaped.to_string()));
            }
            other => out.push_str(&regex::escape(&other.to_string())),
        }
    }
    out.push_str("(/.*)?$");
    Regex::new(&out).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_rule_that_matches_decides() {
        let ignore = Ignore::parse("# no\n\ntarget/\n**/*.log\n!keep.log\n/docs/[ab]?.md\nx*\n");
        for out in [
            "target",
            "target/debug/x",
            "a/b/c.log",
            "c.log",
            "docs/ab.md",
            "xy",
            "xy/z",
        ] {
            assert!(ignore.leaves_out(out), "{out}");
        }
        for sent in ["src", "keep.log", "docs/cb.md", "docs/a.md", "a/target", "a/xy"] {
            assert!(!ignore.leaves_out(sent), "{sent}");
        }
        assert!(ignore.has_exceptions());
        assert!(!Ignore::default().leaves_out("anything"));
    }
}
