//! `~`, and paths relative to the file they are written in.

use std::path::{Path, PathBuf};

use harness_model::{Part, Template};

use crate::diagnostics::Finding;
use crate::read::{Reader, Text};
use crate::source::Span;

/// A path on this machine, absolute.
pub(super) fn local(reader: &Reader<'_>, text: &Text) -> PathBuf {
    absolute(reader, &text.value, text.span)
}

/// A path on this machine that may contain addresses, absolute.
pub(super) fn local_template(reader: &Reader<'_>, template: &Template, span: Span) -> Template {
    let mut parts = template.parts().to_vec();
    match parts.first_mut() {
        Some(Part::Text(text)) => {
            let trailing = text.ends_with('/') && text.len() > 1;
            let mut path = absolute(reader, text, span).display().to_string();
            if trailing && !path.ends_with('/') {
                path.push('/');
            }
            *text = path;
        }
        Some(Part::Secret(_) | Part::Reference(_)) | None => {}
    }
    Template::from_parts(parts)
}

/// Whether the literal text of a template contains a slash.
pub(super) fn has_slash(template: &Template) -> bool {
    template
        .parts()
        .iter()
        .any(|part| matches!(part, Part::Text(text) if text.contains('/')))
}

/// A path on a node: `~/` is the home there, which relative paths start from anyway.
pub(super) fn on_node(template: &Template) -> Template {
    let mut parts = template.parts().to_vec();
    if let Some(Part::Text(text)) = parts.first_mut()
        && let Some(rest) = text.strip_prefix("~/")
    {
        *text = rest.to_owned();
    }
    Template::from_parts(parts)
}

fn absolute(reader: &Reader<'_>, text: &str, span: Span) -> PathBuf {
    let folder = reader.context.sources.get(span.file).dir.clone();
    let expanded = match text.strip_prefix('~') {
        Some(rest) if rest.is_empty() || rest.starts_with('/') => match &reader.context.home {
            Some(home) => home.join(rest.trim_start_matches('/')),
            None => {
                reader.report(
                    Finding::error(span, "`~` has no meaning: HOME is not set").help("write the full path"),
                );
                PathBuf::from(text)
            }
        },
        _ => PathBuf::from(text),
    };
    let path = without_dots(&folder.join(expanded));
    reader.check_path(span, &path.to_string_lossy());
    path
}

/// The path without `.` components. `..` stays, because its meaning depends on symbolic links.
fn without_dots(path: &Path) -> PathBuf {
    path.components().collect()
}

/// The name of a file in messages, written like the name of the file that mentions it, which may be in another
/// folder.
pub(super) fn shown(reader: Reader<'_>, path: &Path, span: Span) -> String {
    let source = reader.context.sources.get(span.file);
    match path.strip_prefix(&source.dir) {
        Ok(rest) => {
            let folder = Path::new(&source.name).parent().unwrap_or(Path::new(""));
            folder.join(rest).display().to_string()
        }
        Err(_) => path.display().to_string(),
    }
}
