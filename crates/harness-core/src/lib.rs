//! Building a daemon: Service and Action traits, server, client and the one daemon lifecycle.
//!
//! `harness-executor-daemon` is the first user, graph-test-daemon the second. The life of such a process:
//!
//! ```text
//! home ─▶ lock ─▶ log ─▶ certificates ─▶ shim ─▶ registry ─▶ listen ─▶ take over ─▶ daemon.json ─▶ serve ─▶ end
//! ```
//!
//! | room | what is in it |
//! |---|---|
//! | [`home`], [`daemon_info`], [`lock`] | the folder of a daemon, and finding the one that runs |
//! | [`builder`] | putting a daemon together |
//! | [`action`], [`service`] | what a daemon offers beyond the verbs |
//! | [`lifecycle`] | from the first line to the last |
//! | [`handlers`] | one file a verb |
//! | `selection`, `looks` | which project is meant: a pure function, and what it has to be told of the disk |
//! | [`convert`] | between the domain and the wire, here alone |
//! | [`background`], [`mod@connect`] | the client's side: finding a daemon, starting one |

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

/// The port a daemon listens on unless told otherwise.
pub const DEFAULT_PORT: u16 = 9443;

/// The version of this build.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
