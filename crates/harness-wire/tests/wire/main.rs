//! The protocol over real sockets and real TLS.

#![cfg(test)]

mod certificates;
mod handshake;
mod rules;
mod runtimes;
mod session;
mod support;
