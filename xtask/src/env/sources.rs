//! The sources from which this machine gets Debian's packages. The base image is made from the same ones.

use std::fs;
use std::path::{Path, PathBuf};

/// The apt line for Debian's `main` of a release, taken from the machine's own sources.
pub(crate) fn of_release(etc_apt: &Path, suite: &str) -> Option<String> {
    let mut files = vec![etc_apt.join("sources.list")];
    files.extend(sorted(&etc_apt.join("sources.list.d")));
    let mut found = Vec::new();
    for file in files {
        let text = fs::read_to_string(&file).unwrap_or_default();
        match file.extension().and_then(|extension| extension.to_str()) {
            Some("list") => found.extend(text.lines().filter_map(one_line)),
            Some("sources") => found.extend(text.split("\n\n").flat_map(stanza)),
            _ => {}
        }
    }
    found.retain(|source| source.suite == suite && source.has_main);
    // Others publish a `main` for Debian's releases too.
    let position = found.iter().position(Source::looks_like_debian).unwrap_or(0);
    found.get(position).map(|source| {
        let options = if source.options.is_empty() {
            String::new()
        } else {
            format!("[{}] ", source.options.join(" "))
        };
        format!("deb {options}{} {suite} main", source.uri)
    })
}

/// An address with a release.
#[derive(Debug)]
struct Source {
    options: Vec<String>,
    uri: String,
    suite: String,
    has_main: bool,
}

impl Source {
    fn looks_like_debian(&self) -> bool {
        self.uri.split('/').any(|segment| segment == "debian")
    }
}

/// Parses `deb [signed-by=/…] http://… bookworm main contrib`.
fn one_line(line: &str) -> Option<Source> {
    let rest = line.split('#').next()?.trim().strip_prefix("deb ")?.trim();
    let (options, rest) = match rest.strip_prefix('[') {
        Some(inside) => inside.split_once(']')?,
        None => ("", rest),
    };
    let mut words = rest.split_whitespace().map(str::to_owned);
    Some(Source {
        options: options.split_whitespace().map(str::to_owned).collect(),
        uri: words.next()?,
        suite: words.next()?,
        has_main: words.any(|component| component == "main"),
    })
}

/// Parses `Types: deb`, `URIs: …`, `Suites: …`, `Components: …`. Returns every address with every release.
fn stanza(text: &str) -> Vec<Source> {
    let lines = || text.lines().filter(|line| !line.starts_with('#'));
    let field = |name: &str| -> Vec<String> {
        let value = lines().find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.trim().eq_ignore_ascii_case(name).then_some(value)
        });
        value
            .unwrap_or_default()
            .split_whitespace()
            .map(str::to_owned)
            .collect()
    };
    let off = field("Enabled").first().is_some_and(|value| value == "no");
    if off || !field("Types").iter().any(|kind| kind == "deb") {
        return Vec::new();
    }
    let has_main = field("Components").iter().any(|component| component == "main");
    let mut options = Vec::new();
    // A key can also be in the file itself, over many lines. Then the machine's keyrings must be enough.
    if let Some(key) = field("Signed-By").first().filter(|key| key.starts_with('/')) {
        options.push(format!("signed-by={key}"));
    }
    if field("Trusted").first().is_some_and(|value| value == "yes") {
        options.push("trusted=yes".to_owned());
    }
    let (uris, suites) = (field("URIs"), field("Suites"));
    let pairs = uris
        .iter()
        .flat_map(|uri| suites.iter().map(move |suite| (uri, suite)));
    let sources = pairs.map(|(uri, suite)| Source {
        options: options.clone(),
        uri: uri.clone(),
        suite: suite.clone(),
        has_main,
    });
    sources.collect()
}

fn sorted(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    paths.sort();
    paths
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(files: &[(&str, &str)], suite: &str) -> Option<String> {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("sources.list.d")).unwrap();
        for (name, text) in files {
            fs::write(folder.path().join(name), text).unwrap();
        }
        of_release(folder.path(), suite)
    }

    #[test]
    fn one_line_sources_keep_their_options() {
        let text = "# deb http://old.example/debian bookworm main\n\
            deb-src http://mirror.example/debian bookworm main\n\
            deb http://mirror.example/debian-security bookworm-security main\n\
            deb [arch=amd64 signed-by=/usr/share/k.gpg] http://mirror.example/debian bookworm main contrib # ours\n";
        assert_eq!(
            line(&[("sources.list", text)], "bookworm").unwrap(),
            "deb [arch=amd64 signed-by=/usr/share/k.gpg] http://mirror.example/debian bookworm main"
        );
    }

    #[test]
    fn stanzas_are_every_address_with_every_release() {
        let text = "Types: deb deb-src\n# a remark: with a colon\nURIs: http://mirror.example/debian\n\
            Suites: bookworm bookworm-updates\nComponents: main\nSigned-By: /usr/share/k.gpg\n\n\
            Types: deb\nURIs: http://mirror.example/debian-security\nSuites: bookworm-security\nComponents: main\n";
        let file = [("sources.list.d/debian.sources", text)];
        assert_eq!(
            line(&file, "bookworm").unwrap(),
            "deb [signed-by=/usr/share/k.gpg] http://mirror.example/debian bookworm main"
        );
        assert_eq!(
            line(&file, "bookworm-security").unwrap(),
            "deb http://mirror.example/debian-security bookworm-security main"
        );
    }

    #[test]
    fn debians_own_goes_before_anothers_main() {
        let files = [
            (
                "sources.list.d/a.list",
                "deb https://tools.example/node bookworm main\n",
            ),
            (
                "sources.list.d/b.list",
                "deb https://mirror.example/debian/ bookworm main\n",
            ),
        ];
        assert_eq!(
            line(&files, "bookworm").unwrap(),
            "deb https://mirror.example/debian/ bookworm main"
        );
    }

    #[test]
    fn what_is_off_or_of_another_release_is_not_taken() {
        let off =
            "Enabled: no\nTypes: deb\nURIs: http://mirror.example/debian\nSuites: trixie\nComponents: main\n";
        let files = [
            ("sources.list.d/off.sources", off),
            ("sources.list", "deb http://mirror.example/debian sid main\n"),
        ];
        assert_eq!(line(&files, "trixie"), None);
    }
}
