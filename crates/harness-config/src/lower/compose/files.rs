//! Reads compose files, each once.

use std::io;
use std::path::{Path, PathBuf};

use crate::compose::{self, ComposeFile};
use crate::diagnostics::Finding;
use crate::lower::paths;
use crate::mask::mask_literals;
use crate::merge::refuse_duplicates;
use crate::read::Reader;
use crate::source::Span;
use crate::tree;
use crate::variables::Scope;

/// The compose files, each read once.
#[derive(Default)]
pub(super) struct Files {
    paths: Vec<(PathBuf, Option<usize>)>,
    /// The files that could be read.
    pub(super) trees: Vec<ComposeFile>,
}

impl Files {
    /// The index of the file at a path that is written at a place. Reports a mistake and returns `None` if it cannot
    /// be read.
    pub(super) fn read(&mut self, reader: Reader<'_>, path: &Path, span: Span) -> Option<usize> {
        let known = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        if let Some((_, index)) = self.paths.iter().find(|(path, _)| *path == known) {
            return *index;
        }
        let index = tree_of(reader, &known, path, span).map(|tree| {
            self.trees.push(tree);
            self.trees.len() - 1
        });
        self.paths.push((known, index));
        index
    }
}

fn tree_of(reader: Reader<'_>, path: &Path, written: &Path, span: Span) -> Option<ComposeFile> {
    let context = reader.context;
    let text = match context.sources.read(path) {
        Ok(text) => text,
        Err(error) => {
            let message = format!("cannot read the compose file {}: {error}", written.display());
            reader.report(Finding::error(span, message));
            return None;
        }
    };
    let dir = path.parent().map(Path::to_path_buf).unwrap_or_default();
    let file = context
        .sources
        .add(paths::shown(reader, written, span), dir.clone(), text);
    let mut said = Vec::new();
    let parsed = tree::parse(context.sources, file, &mut said);
    let tree = parsed.map(|mut tree| {
        mask_literals(context.sources, &tree, &context.variables.secrets);
        refuse_duplicates(&mut tree, &mut said);
        ComposeFile::read(tree, &mut said)
    });
    context.findings.borrow_mut().extend(said);
    let scope = dotenv(reader, &dir, span);
    context.scopes.borrow_mut().insert(file, scope);
    tree
}

/// The variables of the `.env` next to a compose file.
fn dotenv(reader: Reader<'_>, dir: &Path, span: Span) -> Scope {
    let context = reader.context;
    let path = dir.join(".env");
    let text = match context.sources.read_lossy(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Scope::default(),
        // Environments of other programs are called so, too.
        Err(_) if path.is_dir() => return Scope::default(),
        Err(error) => {
            reader.report(Finding::error(
                span,
                format!("cannot read {}: {error}", path.display()),
            ));
            return Scope::default();
        }
    };
    let file = context
        .sources
        .add(paths::shown(reader, &path, span), dir.to_owned(), text);
    compose::dotenv(reader, file)
}
