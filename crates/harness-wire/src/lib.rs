//! The one protocol between a harness client and a harness daemon.
//!
//! A connection is a WebSocket over mutual TLS. Both sides send a [`message::Hello`] first. After that, text frames
//! carry JSON envelopes ([`message::ClientMessage`], [`message::ServerMessage`]), and binary frames carry the bytes
//! of logs, exec and attach with the id of their request. Credit limits how fast they are sent.
//!
//! Wire types are views for clients. Domain types are elsewhere, and harness-core converts them. Only the vocabulary
//! of `harness-model` (names, states, the project specification) is shared.

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
