//! Lines of several sources in one output, some of them in pieces. Decides which piece continues the line at the end
//! of the output.

use std::collections::BTreeMap;

use harness_model::ServiceName;
use harness_wire::message::LogLine;

/// The lines that have not ended.
#[derive(Debug, Default)]
pub(crate) struct OpenLines {
    /// The source of the unfinished line at the end of the output.
    open: Option<Source>,
    /// Sources with an unfinished line that another line followed, with the generation that wrote it.
    left: BTreeMap<(ServiceName, bool), u64>,
}

/// A stream of one generation of a service.
type Source = ((ServiceName, bool), u64);

/// Where to write a piece.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Joint {
    /// At the end of the output: it continues the line there.
    GoesOn,
    /// On a line of its own.
    Begins {
        /// Whether another line is open and must be ended first.
        ends_other: bool,
    },
    /// Nowhere: it only ends a line that was ended already because another line came.
    Nowhere,
}

impl OpenLines {
    /// Says where to write the next piece, and remembers that it is written there.
    pub(crate) fn next(&mut self, piece: &LogLine) -> Joint {
        let source = ((piece.service.clone(), piece.stderr), piece.generation);
        let after = piece.partial.then(|| source.clone());
        if self.open.as_ref() == Some(&source) {
            self.open = after;
            return Joint::GoesOn;
        }
        let was_left = self.left.remove(&source.0) == Some(source.1);
        if was_left && piece.text.is_empty() && !piece.partial {
            return Joint::Nowhere;
        }
        let other = std::mem::replace(&mut self.open, after);
        let ends_other = other.is_some();
        self.left.extend(other);
        Joint::Begins { ends_other }
    }

    /// Whether a line is open. The caller ends it, and it is never continued.
    pub(crate) fn end(&mut self) -> bool {
        self.open.take().is_some()
    }
}
