//! Limits what one client, that is one connection, may use of the daemon at a time.

use std::sync::{Arc, LazyLock};

use async_lock::{Semaphore, SemaphoreGuardArc};
use harness_wire::message::{ErrorBody, ErrorCode};

/// How many searches through logs one client may run at a time.
const SEARCHES: usize = 4;

/// How many searches all clients together may run. Each keeps its compiled pattern, a few MiB at most.
const ALL_SEARCHES: usize = 32;

static ALL: LazyLock<Arc<Semaphore>> = LazyLock::new(|| Arc::new(Semaphore::new(ALL_SEARCHES)));

/// A client and its places.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    searches: Arc<Semaphore>,
}

/// A place for a search. Given back when dropped.
#[derive(Debug)]
pub(crate) struct Search {
    _own: SemaphoreGuardArc,
    _of_all: SemaphoreGuardArc,
}

impl Client {
    /// A client that runs no searches yet.
    pub(crate) fn new() -> Self {
        Self {
            searches: Arc::new(Semaphore::new(SEARCHES)),
        }
    }

    /// A place for a search through logs.
    ///
    /// # Errors
    /// When this client, or all clients together, have reached the limit.
    pub(crate) fn search(&self) -> Result<Search, ErrorBody> {
        let own = self.searches.try_acquire_arc();
        let own = own.ok_or_else(|| {
            busy(format!(
                "this client already runs {SEARCHES} log searches, the most that are allowed"
            ))
        })?;
        let of_all = ALL.try_acquire_arc();
        let of_all = of_all.ok_or_else(|| {
            busy(format!(
                "the daemon already runs {ALL_SEARCHES} log searches, the \
                most that are allowed"
            ))
        })?;
        Ok(Search {
            _own: own,
            _of_all: of_all,
        })
    }
}

fn busy(message: String) -> ErrorBody {
    ErrorBody {
        code: ErrorCode::Internal,
        message,
        hint: Some("try again when one of them has ended".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_counted_for_each_client_and_for_all_and_are_given_back() {
        let (one, other) = (Client::new(), Client::new());
        let held: Vec<Search> = (0..SEARCHES).map(|_| one.search().unwrap()).collect();
        assert!(one.search().is_err());
        drop(other.search().unwrap());
        drop(held);
        drop(one.search().unwrap());
        let crowd: Vec<Search> = (0..ALL_SEARCHES)
            .map(|_| Client::new().search().unwrap())
            .collect();
        assert!(other.search().unwrap_err().message.contains("32"));
        drop(crowd);
        other.search().unwrap();
    }
}
