//! Builds a daemon: Service and Action traits, server, client and the one daemon lifecycle.
//!
//! `harness-executor-daemon` is the first user, graph-test-daemon the second. The lifecycle of such a process:
//!
//! ```text
//! home ─▶ lock ─▶ log ─▶ certificates ─▶ shim ─▶ registry ─▶ listen ─▶ take over ─▶ daemon.json ─▶ serve ─▶ end
//! ```
//!
//! | room | what is in it |
//! |---|---|
//! | [`home`], [`daemon_info`], [`lock`] | the folder of a daemon, and how to find the running one |
//! | [`builder`] | building a daemon |
//! | [`action`], [`service`] | what a daemon offers in addition to the verbs |
//! | [`lifecycle`] | start and end of a daemon |
//! | [`handlers`] | one file per verb |
//! | `selection`, `looks` | which project a request refers to: a pure function, and what it needs to know about the disk |
//! | [`convert`] | the only conversion between the domain and the wire |
//! | [`background`], [`mod@connect`] | the client's side: how to find and start a daemon |

pub mod action;
pub mod background;
pub mod builder;
pub mod connect;
pub mod convert;
pub mod daemon_info;
pub mod handlers;
pub mod home;
mod home_watch;
mod inside;
pub mod lifecycle;
pub mod lock;
mod log_file;
mod looks;
mod newcomers;
mod open_files;
mod selection;
mod server;
pub mod service;

pub use action::{Action, ActionContext, ActionError, EventSink};
pub use builder::DaemonBuilder;
pub use connect::{ConnectError, ConnectOptions, Session, connect};
pub use daemon_info::DaemonInfo;
pub use home::Home;
pub use service::{Service, ServiceStack};

/// The port that a daemon listens on by default.
pub const DEFAULT_PORT: u16 = 9443;

/// The version of this build.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
