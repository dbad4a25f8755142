//! The one protocol between a harness client and a harness daemon.
//!
//! A connection is a WebSocket over mutual TLS. After the [`message::Hello`] both ways, text frames carry JSON
//! envelopes ([`message::ClientMessage`], [`message::ServerMessage`]) and binary frames carry the bytes of
//! logs, exec and attach under the id of their request, paced by credit.
//!
//! Wire types are views made for clients; the domain stays elsewhere and is converted in harness-core. Only
//! the vocabulary of `harness-model` (names, states, the project specification) is shared.

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

pub mod client;
mod link;
pub mod message;
mod schema;
pub mod server;
pub mod tls;

pub use link::MalformedMessage;
pub use schema::protocol_schema;
