//! Finds the name that files give their project, without reading the rest: most verbs need only the name, and must
//! also work with a file that has mistakes elsewhere.
//!
//! ```text
//! one plain `name: word` at the margin in a file like any other ──▶ that word
//! anything else ──▶ parsed: merged, ${VAR} replaced ──▶ the name, or the folder's
//!                     └──no YAML──▶ the first `name: word` at the margin, or nothing is known
//! ```

use std::path::{Path, PathBuf};

use harness_model::ProjectName;

use crate::keys::PROJECT;
use crate::load::{LoadError, LoadOptions, config_paths, folder_name, folder_of, read_trees, read_variables};
use crate::lower::project_name;
use crate::mask::listed_secrets;
use crate::read::{Context, Reader};
use crate::source::Sources;

/// The first file of a project, and the project's name if it is known.
#[derive(Debug)]
pub struct NamedFile {
    /// The absolute path of the file. If it exists, links are resolved.
    pub path: PathBuf,
    /// The folder where the file was found, with links resolved. If the file itself is a link, this is the folder of
    /// the link.
    pub folder: PathBuf,
    /// The name in the files, or the folder name of the first one if they give none. An error if the name cannot be
    /// read.
    pub name: Result<ProjectName, LoadError>,
}

/// The file that the options refer to, and the project's name as [`load`](crate::load) would find it. Ignores the
/// options' `project`.
///
/// # Errors
/// When no file is named or found.
pub fn name_of(options: &LoadOptions) -> Result<NamedFile, LoadError> {
    let paths = config_paths(options)?;
    let Some(first) = paths.first() else {
        return Err(LoadError::NotFound {
            from: options.cwd.clone(),
        });
    };
    Ok(NamedFile {
        path: true_path(first),
        folder: folder_of(first),
        name: read(options, &paths),
    })
}

/// A path that identifies a file wherever it is called from. If the file is gone, its folder may still exist.
pub(crate) fn true_path(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| match path.file_name() {
        Some(name) => folder_of(path).join(name),
        None => path.to_path_buf(),
    })
}

fn read(options: &LoadOptions, paths: &[PathBuf]) -> Result<ProjectName, LoadError> {
    let mut texts = Vec::new();
    for path in paths {
        texts.push(Sources::default().read(path).map_err(|source| LoadError::Read {
            path: path.clone(),
            source,
        })?);
    }
    let of_folder = || folder_name(&folder_of(&paths[0]));
    let glances: Vec<Glance> = texts.iter().map(|text| glance(text)).collect();
    if !glances.iter().any(|glance| matches!(glance, Glance::Unclear(_))) {
        let written = glances.into_iter().rev().find_map(Glance::word);
        return Ok(written.unwrap_or_else(of_folder));
    }
    match parsed(options, paths) {
        Ok(name) => Ok(name.unwrap_or_else(of_folder)),
        Err(error) => glances.into_iter().rev().find_map(Glance::word).ok_or(error),
    }
}

/// The name in the files, found by parsing them. `None` if they give none.
fn parsed(options: &LoadOptions, paths: &[PathBuf]) -> Result<Option<ProjectName>, LoadError> {
    let sources = Sources::default();
    let mut findings = Vec::new();
    let (tree, _) = read_trees(&sources, paths, &options.cwd, &mut findings)?;
    let Some(tree) = tree else {
        return Err(LoadError::Invalid(
            crate::diagnostics::finish(findings, &sources).0,
        ));
    };
    if tree.get("name").is_none() {
        return Ok(None);
    }
    sources.belong_to(&folder_of(&paths[0]));
    let (variables, _) = read_variables(
        &sources,
        &folder_of(&paths[0]),
        &options.cwd,
        &options.environment,
        listed_secrets(&tree),
    )?;
    let context = Context::new(&sources, &variables, options.home.clone());
    let reader = Reader {
        context: &context,
        service: None,
        active: true,
    };
    let fields = crate::fields::Fields::open(reader, &PROJECT, &tree);
    let name = fields.as_ref().and_then(project_name);
    let (errors, _) = crate::diagnostics::finish(context.findings.take(), &sources);
    match name {
        None if !errors.is_empty() => Err(LoadError::Invalid(errors)),
        name => Ok(name),
    }
}

/// What the lines of a file say about its name.
#[derive(Debug, PartialEq, Eq)]
enum Glance {
    Word(ProjectName),
    Nothing,
    /// Only a parser can decide. Holds what the name may be.
    Unclear(Option<ProjectName>),
}

impl Glance {
    fn word(self) -> Option<ProjectName> {
        match self {
            Self::Word(name) | Self::Unclear(Some(name)) => Some(name),
            Self::Nothing | Self::Unclear(None) => None,
        }
    }
}

/// Looks only at the lines that are not indented. Parsing a thousand services takes longer than everything else in a
/// `status`.
fn glance(text: &str) -> Glance {
    let (mut found, mut clear) = (None, true);
    for (number, line) in text.lines().enumerate() {
        if let Some(value) = line.strip_prefix("name:") {
            let word = plain_word(value);
            clear &= word.is_some() && found.is_none();
            found = found.or(word);
            continue;
        }
        let ordinary = match line.as_bytes().first() {
            None | Some(b' ' | b'#' | b'\r') => true,
            Some(b'-') => line.trim_end() == "---" && number == 0,
            Some(first) => first.is_ascii_alphabetic(),
        };
        clear &= ordinary && !line.starts_with("name");
    }
    match found {
        found if !clear => Glance::Unclear(found),
        Some(name) => Glance::Word(name),
        None => Glance::Nothing,
    }
}

/// A value that is certainly text in YAML, and is a valid name.
fn plain_word(value: &str) -> Option<ProjectName> {
    if !value.starts_with(' ') {
        return None;
    }
    let value = value.split_once(" #").map_or(value, |(value, _)| value).trim();
    let quoted = |quote: char| value.strip_prefix(quote)?.strip_suffix(quote);
    let inner = quoted('"').or_else(|| quoted('\''));
    let other = ["true", "false", "null", "yes", "no", "on", "off", "y", "n"];
    let is_text = value.starts_with(|first: char| first.is_ascii_alphabetic())
        && !other.iter().any(|word| word.eq_ignore_ascii_case(value));
    let word = inner.or(is_text.then_some(value))?;
    ProjectName::new(word).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn word(name: &str) -> Glance {
        Glance::Word(ProjectName::new(name).unwrap())
    }

    fn unclear(name: Option<&str>) -> Glance {
        Glance::Unclear(name.map(|name| ProjectName::new(name).unwrap()))
    }

    #[test]
    fn a_plain_name_is_seen_without_a_parser() {
        for (text, wanted) in [
            ("name: shop\nservices: {}\n", word("shop")),
            ("---\nversion: 1.0\r\nname: 'shop' # ours\r\n\r\n", word("shop")),
            ("# c\nname: \"9lives\"\n", word("9lives")),
            ("services:\n  name:\n    type: process\n", Glance::Nothing),
            ("", Glance::Nothing),
            ("description: |\n  name: other\nname: shop\n", word("shop")),
        ] {
            assert_eq!(glance(text), wanted, "{text:?}");
        }
    }

    #[test]
    fn what_only_a_parser_can_tell_is_left_to_it() {
        for (text, wanted) in [
            ("name: ${WHO}\n", unclear(None)),
            ("name: true\n", unclear(None)),
            ("name: 12\n", unclear(None)),
            ("name:\n  shop\n", unclear(None)),
            ("name: shop\nname: other\n", unclear(Some("shop"))),
            ("name : shop\n", unclear(None)),
            ("\"name\": shop\n", unclear(None)),
            ("{name: shop}\n", unclear(None)),
            ("<<: *base\nname: shop\n", unclear(Some("shop"))),
            ("\u{feff}name: shop\n", unclear(None)),
            ("name: shop\n\tservices: {}\n", unclear(Some("shop"))),
            ("name: shop\n...\n", unclear(Some("shop"))),
            ("name: a.b\n", unclear(None)),
        ] {
            assert_eq!(glance(text), wanted, "{text:?}");
        }
    }

    fn named(files: &[(&str, &str)]) -> Result<String, String> {
        let folder = tempfile::Builder::new().prefix("Folder.").tempdir().unwrap();
        for (file, text) in files {
            std::fs::write(folder.path().join(file), text).unwrap();
        }
        let options = LoadOptions {
            files: files
                .iter()
                .filter(|(name, _)| *name != ".env")
                .map(|(name, _)| name.into())
                .collect(),
            environment: [("WHO".to_owned(), "shop".to_owned())].into(),
            cwd: folder.path().to_owned(),
            ..LoadOptions::default()
        };
        let found = name_of(&options).unwrap();
        assert!(found.path.is_absolute());
        match found.name {
            // If the file is valid, loading gives the same name.
            Ok(name) => Ok(crate::load(&options).map_or_else(
                |_| name.to_string(),
                |loaded| {
                    assert_eq!(loaded.project.name, name);
                    let folder = folder_name(&folder.path().canonicalize().unwrap());
                    if name == folder {
                        "FOLDER".to_owned()
                    } else {
                        name.to_string()
                    }
                },
            )),
            Err(error) => Err(error.to_string()),
        }
    }

    #[test]
    fn the_name_is_the_one_that_loading_gives() {
        let none = "services: {}\n";
        for (files, wanted) in [
            (vec![("a", "name: shop\nservices: {}\n")], "shop"),
            (vec![("a", none)], "FOLDER"),
            (
                vec![("a", "name: one\nservices: {}\n"), ("b", "name: two\n")],
                "two",
            ),
            (vec![("a", "name: one\nservices: {}\n"), ("b", none)], "one"),
            (vec![("a", "name: ${WHO}\nservices: {}\n")], "shop"),
            (vec![("a", "name: ${NOBODY:-pub}\nservices: {}\n")], "pub"),
            (
                vec![("a", "name: ${FROM}\nservices: {}\n"), (".env", "FROM=dotenv\n")],
                "dotenv",
            ),
            (vec![("a", "{\"name\": \"shop\", \"services\": {}}\n")], "shop"),
        ] {
            assert_eq!(named(&files).unwrap(), wanted, "{files:?}");
        }
    }

    #[test]
    fn a_broken_file_still_has_its_name() {
        for (text, wanted) in [
            ("name: shop\nservices: [\n", Ok("shop")),
            ("\tx\nname: shop\n", Ok("shop")),
            (
                "name: shop\nname: pub\nservices: {a: {type: nonsense}}\n",
                Ok("shop"),
            ),
            ("name: shop\nservices: {a: {type: nonsense}}\n", Ok("shop")),
            ("name: ${MISSING}\n", Err("MISSING")),
            ("name: not a name\n", Err("not a name")),
            ("services: [\n  name: shop\n'name': [\n", Err("")),
        ] {
            match (named(&[("a", text)]), wanted) {
                (Ok(name), Ok(wanted)) => assert_eq!(name, wanted, "{text:?}"),
                (Err(error), Err(part)) => assert!(error.contains(part), "{text:?}: {error}"),
                (found, _) => panic!("{text:?}: {found:?}"),
            }
        }
    }
}
