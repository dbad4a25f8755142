//! Reading compose files, each once.

use std::path::{Path, PathBuf};

use crate::compose::ComposeFile;
use crate::diagnostics::Finding;
use crate::mask::mask_literals;
use crate::merge::refuse_duplicates;
use crate::read::Reader;
use crate::source::Span;
use crate::tree::{self, MAX_FILE_SIZE};

/// The compose files, each read once.
#[derive(Default)]
pub(super) struct Files {
    paths: Vec<(PathBuf, Option<usize>)>,
    /// Those that could be read.
    pub(super) trees: Vec<ComposeFile>,
}

impl Files {
    /// The file at a path, as written at a place; `None` and a mistake if it cannot be read.
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
    let text = match crate::load::read_limited(path, MAX_FILE_SIZE) {
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
        .add(shown(reader, written, span), dir.clone(), text);
    let mut said = Vec::new();
    let parsed = tree::parse(context.sources, file, &mut said);
    let tree = parsed.map(|mut tree| {
        mask_literals(context.sources, &tree, &context.variables.secrets);
        refuse_duplicates(&mut tree, &mut said);
        ComposeFile::read(tree, &mut said)
    });
    context.findings.borrow_mut().extend(said);
    match crate::load::read_dotenv(context.sources, &dir, &dir) {
        Ok((variables, said)) => {
            context.findings.borrow_mut().extend(said);
            context.dotenvs.borrow_mut().insert(file, variables);
        }
        Err(error) => reader.report(Finding::error(span, error.to_string())),
    }
    tree
}

/// How a compose file is called in messages: as the file that names it is, which may be from another folder.
fn shown(reader: Reader<'_>, path: &Path, span: Span) -> String {
    let source = reader.context.sources.get(span.file);
    match path.strip_prefix(&source.dir) {
        Ok(rest) => {
            let folder = Path::new(&source.name).parent().unwrap_or(Path::new(""));
            folder.join(rest).display().to_string()
        }
        Err(_) => path.display().to_string(),
    }
}
