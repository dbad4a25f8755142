//! What became of a generation: the answer of a launch, and of the search for what a former daemon launched.

use std::pin::Pin;
use std::sync::Arc;

use harness_model::WallTime;

use super::{Instance, LaunchError};
use crate::machine::Ended;

/// What became of a generation.
pub enum Fate {
    /// This is certain.
    Known(Known),
    /// Its place does not say: the link to it was lost, or nobody there answers. It may run, so nothing begins beside
    /// it.
    NotKnownYet {
        /// Why it is not known, in one line.
        why: String,
        /// Completes when it is known. This may take as long as the place is silent.
        later: Pin<Box<dyn Future<Output = Known> + Send>>,
    },
}

/// What certainly became of a generation.
pub enum Known {
    /// It runs and is managed.
    Running(Arc<dyn Instance>),
    /// It has ended.
    Ended {
        /// How it ended.
        ended: Ended,
        /// When it ended, if known.
        at: Option<WallTime>,
    },
    /// Nothing of it ever ran, or nothing is left of what had begun.
    Never(Box<LaunchError>),
}

impl Fate {
    /// Waits until it is known. Each time that is not so, `not_known` is told why.
    pub async fn settled(self, mut not_known: impl FnMut(String)) -> Known {
        match self {
            Self::Known(known) => known,
            Self::NotKnownYet { why, later } => {
                not_known(why);
                later.await
            }
        }
    }

    /// It runs and is managed.
    pub fn running(instance: Arc<dyn Instance>) -> Self {
        Self::Known(Known::Running(instance))
    }

    /// It has ended. When is not known.
    pub fn ended(ended: Ended) -> Self {
        Self::Known(Known::Ended { ended, at: None })
    }

    /// Nothing of it ever ran.
    pub fn never(why: LaunchError) -> Self {
        Self::Known(Known::Never(Box::new(why)))
    }
}

impl From<Result<Arc<dyn Instance>, LaunchError>> for Fate {
    fn from(launched: Result<Arc<dyn Instance>, LaunchError>) -> Self {
        match launched {
            Ok(instance) => Self::running(instance),
            Err(error) => Self::never(error),
        }
    }
}
