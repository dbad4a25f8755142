//! Lines of several sources in one output, some of them in pieces: which piece goes on where the output stands.

use std::collections::BTreeMap;

use harness_model::ServiceName;
use harness_wire::message::LogLine;

/// The lines that have not ended.
#[derive(Debug, Default)]
pub(crate) struct OpenLines {
    /// The one at whose end the output stands.
    open: Option<Source>,
    /// Those that another line has come after, with the start that wrote them.
    left: BTreeMap<(ServiceName, bool), u64>,
}

/// A stream of one start of a service.
type Source = ((ServiceName, bool), u64);

/// Where a piece belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Joint {
    /// At the end of the output.
    GoesOn,
    /// On a line of its own.
    Begins {
        /// Another one is open and has to be ended first.
        ends_other: bool,
    },
    /// Nowhere: it only ends a line that was ended for another's sake.
    Nowhere,
}

impl OpenLines {
    /// Where the next piece belongs, which is written there.
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

    /// Whether a line is open, which is ended for good.
    pub(crate) fn end(&mut self) -> bool {
        self.open.take().is_some()
    }
}
