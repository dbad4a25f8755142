//! The limits that a server sets for its clients, and the counting of connections.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::link;

/// What a server allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The time from the TCP connection to the hello.
    pub handshake_timeout: Duration,
    /// How many connections that passed the handshake may be open at the same time.
    pub max_connections: usize,
    /// How many connections may be in the handshake at the same time.
    pub max_unauthenticated: usize,
    /// The size of a text message in bytes, in either direction.
    pub max_message: usize,
    /// The size of a binary message's payload in bytes.
    pub max_binary: usize,
    /// How many requests may be in flight on one connection.
    pub max_requests_per_connection: usize,
    /// How long a connection may be silent before the kernel asks whether the peer is still there. A peer that does
    /// not answer for the same time again is gone.
    pub keepalive: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            handshake_timeout: Duration::from_secs(5),
            max_connections: 256,
            max_unauthenticated: 64,
            max_message: link::MAX_TEXT,
            max_binary: link::MAX_BINARY,
            max_requests_per_connection: 256,
            keepalive: Duration::from_secs(30),
        }
    }
}

/// Counts the connections of a listener. Get an [`Admitted`] for every TCP connection before
/// [`accept`](super::accept), and keep it as long as the connection.
#[derive(Debug, Clone)]
pub struct Admission {
    limits: Limits,
    counts: Arc<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    unauthenticated: AtomicUsize,
    connections: AtomicUsize,
}

/// The server has the most connections that are allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AtCapacity {
    /// Too many connections are in the handshake.
    #[error("{0} connections are in the handshake already, the most that are allowed")]
    Unauthenticated(usize),
    /// Too many connections are open.
    #[error("{0} connections are open already, the most that are allowed")]
    Connections(usize),
}

/// A place for a connection. Given back when dropped.
#[derive(Debug)]
pub struct Admitted {
    limits: Limits,
    counts: Arc<Counts>,
    authenticated: bool,
}

impl Admission {
    /// Starts without connections.
    pub fn new(limits: &Limits) -> Self {
        Self {
            limits: *limits,
            counts: Arc::default(),
        }
    }

    /// Gets a place for a connection that begins its handshake.
    ///
    /// # Errors
    /// When there is no place left. Close the TCP connection then.
    pub fn enter(&self) -> Result<Admitted, AtCapacity> {
        let max = self.limits.max_unauthenticated;
        raise(&self.counts.unauthenticated, max).map_err(|()| AtCapacity::Unauthenticated(max))?;
        Ok(Admitted {
            limits: self.limits,
            counts: Arc::clone(&self.counts),
            authenticated: false,
        })
    }
}

impl Admitted {
    /// Notes that the handshake succeeded, which frees the place in the handshake.
    ///
    /// # Errors
    /// When too many connections are open. [Refuse](super::Connection::refuse) this one then.
    pub fn authenticated(&mut self) -> Result<(), AtCapacity> {
        if self.authenticated {
            return Ok(());
        }
        let max = self.limits.max_connections;
        raise(&self.counts.connections, max).map_err(|()| AtCapacity::Connections(max))?;
        self.authenticated = true;
        self.counts.unauthenticated.fetch_sub(1, Ordering::AcqRel);
        Ok(())
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        let count = if self.authenticated {
            &self.counts.connections
        } else {
            &self.counts.unauthenticated
        };
        count.fetch_sub(1, Ordering::AcqRel);
    }
}

fn raise(count: &AtomicUsize, max: usize) -> Result<(), ()> {
    count
        .fetch_update(Ordering::AcqRel, Ordering::Acquire, |n| {
            (n < max).then_some(n + 1)
        })
        .map(drop)
        .map_err(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_counted_and_given_back() {
        let admission = Admission::new(&Limits {
            max_unauthenticated: 1,
            max_connections: 1,
            ..Limits::default()
        });
        let mut first = admission.enter().unwrap();
        assert_eq!(admission.enter().unwrap_err(), AtCapacity::Unauthenticated(1));
        first.authenticated().unwrap();
        let mut second = admission.enter().unwrap();
        assert_eq!(second.authenticated(), Err(AtCapacity::Connections(1)));
        drop(first);
        second.authenticated().unwrap();
        drop(second);
        admission.enter().unwrap().authenticated().unwrap();
    }
}
