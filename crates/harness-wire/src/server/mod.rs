//! The server's end of a connection.
//!
//! ```text
//! TCP ──▶ Admission::enter ──▶ accept: TLS ─▶ upgrade ─▶ hello ──▶ (Connection, Driver)
//!              │ at capacity          │ refused, too slow              │
//!              ▼                      ▼                                ▼
//!            close                  close        next_request() ─▶ {request, responder}
//! ```
//!
//! Nothing is spawned here: the daemon runs the [`Driver`] of each connection and a task for each request. All queues
//! are bounded. Sending to a client that does not read waits, but only for that request.

mod accept;
mod connection;
mod error;
mod limits;
mod request;
mod responder;

pub use accept::accept;
pub use connection::{Connection, Driver, IncomingRequest};
pub use error::{AcceptError, ConnectionError, Phase, Violation};
pub use limits::{Admission, Admitted, AtCapacity, Limits};
pub use request::{Input, Stop};
pub use responder::{Inputs, Responder, SendError};
