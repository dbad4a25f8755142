//! Loads texts as a user would load files.
#![allow(dead_code, reason = "each test program uses its own part of this")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use harness_config::{Diagnostics, LoadError, LoadOptions, Loaded, load};

/// A folder with a services.yaml and other files of a test.
pub(crate) struct Folder {
    path: PathBuf,
    _guard: tempfile::TempDir,
}

impl Folder {
    /// A folder whose services.yaml is this text.
    pub(crate) fn new(text: &str) -> Self {
        let guard = tempfile::tempdir().unwrap();
        let folder = Self {
            path: guard.path().canonicalize().unwrap(),
            _guard: guard,
        };
        folder.write("services.yaml", text);
        folder
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Writes another file.
    pub(crate) fn write(&self, name: &str, text: &str) -> &Self {
        let path = self.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
        self
    }

    /// The options for loading from here, without variables.
    pub(crate) fn options(&self) -> LoadOptions {
        LoadOptions {
            cwd: self.path().to_path_buf(),
            home: Some(PathBuf::from("/home/someone")),
            ..LoadOptions::default()
        }
    }

    /// The options for loading from here, with these variables.
    pub(crate) fn options_with(&self, variables: &[(&str, &str)]) -> LoadOptions {
        LoadOptions {
            environment: environment(variables),
            ..self.options()
        }
    }
}

/// Variables as a map.
pub(crate) fn environment(variables: &[(&str, &str)]) -> BTreeMap<String, String> {
    variables
        .iter()
        .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
        .collect()
}

/// The mistakes of a project that must be wrong.
pub(crate) fn mistakes(options: &LoadOptions) -> Diagnostics {
    match load(options) {
        Err(LoadError::Invalid(diagnostics)) => diagnostics,
        Err(other) => panic!("{other}"),
        Ok(loaded) => panic!("this should be wrong: {:?}", loaded.project),
    }
}

/// Loads a project that must be right.
pub(crate) fn good(options: &LoadOptions) -> Loaded {
    match load(options) {
        Ok(loaded) => loaded,
        Err(error) => panic!("{error}"),
    }
}

/// The project of a text that must be right.
pub(crate) fn good_text(text: &str) -> Loaded {
    good(&Folder::new(text).options())
}

/// `line:column message` of each mistake of a text.
pub(crate) fn lines(text: &str) -> Vec<String> {
    lines_of(&mistakes(&Folder::new(text).options()))
}

/// `line:column message` of each.
pub(crate) fn lines_of(diagnostics: &Diagnostics) -> Vec<String> {
    diagnostics
        .iter()
        .map(|d| format!("{}:{} {}", d.line, d.column, d.message))
        .collect()
}
