//! The vocabulary every crate shares: names, service specifications, templates, secrets, states.
//!
//! Plain data and nothing else: no I/O, no clock, no async. `harness-config` lowers YAML into a
//! [`spec::ProjectSpec`], the wire carries it, the registry stores it, the orchestrator runs it. There is
//! exactly one [`state::ServiceState`] and one [`state::Health`] in the workspace, and they live here.
//!
//! | room | what is in it |
//! |---|---|
//! | [`mod@environment`] | the environment of a program, as far as its size is the trouble |
//! | [`foreign`] | [`foreign::ForeignText`]: text of others, which cannot be printed so that it does harm |
//! | [`clipped`] | lines that may be very long, as a report shows them |
//! | [`names`] | validated names: project, service, network, port |
//! | [`secret`] | [`secret::SecretString`], which cannot be printed, and the [`secret::Redactor`] for free text |
//! | [`pattern`] | regular expressions for lines of output, with their limits |
//! | [`template`] | strings with `${service.ip}` references still in them |
//! | [`spec`] | what a project and its services are |
//! | [`resolve`] | a spec with every reference replaced, its digest, and what changed between two of them |
//! | [`state`] | what a service is doing, as everybody sees it |
//! | [`time`] | wall-clock instants in nanoseconds |
//! | [`umask`] | the permission bits that new files do not get |

pub mod clipped;
pub mod environment;
pub mod foreign;
pub mod names;
pub mod pattern;
pub mod resolve;
pub mod secret;
pub mod spec;
pub mod state;
pub mod template;
pub mod time;
pub mod umask;

pub use clipped::Clipped;
pub use foreign::ForeignText;
pub use names::{NetworkName, PortName, ProjectName, ServiceName};
pub use secret::{REDACTED, RedactingStream, Redactor, SecretString};
pub use spec::{ProjectSpec, ServiceSpec};
pub use state::{ExitStatus, Health, ServiceState};
pub use template::{AddressField, Part, Reference, Template};
pub use time::WallTime;
pub use umask::Umask;
