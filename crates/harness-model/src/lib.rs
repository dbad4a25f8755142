//! The vocabulary that every crate uses: names, service specifications, templates, secrets, states.
//!
//! Plain data only: no I/O, no clock, no async. `harness-config` lowers YAML into a [`spec::ProjectSpec`], the wire
//! carries it, the registry stores it, the orchestrator runs it. The workspace has exactly one
//! [`state::ServiceState`] and one [`state::Health`], and they are here.
//!
//! | room | what is in it |
//! |---|---|
//! | [`mod@environment`] | what to say when the environment of a program is too large |
//! | [`foreign`] | [`foreign::ForeignText`]: text from outside, which is always harmless when printed |
//! | [`clipped`] | lines that may be very long, as a report shows them |
//! | [`names`] | validated names: project, service, network, port |
//! | [`secret`] | [`secret::SecretString`], which cannot be printed, and the [`secret::Redactor`] for other text |
//! | [`os_text`] | texts of the operating system that need not be UTF-8 |
//! | [`pattern`] | regular expressions for lines of output, with their limits |
//! | [`template`] | strings with `${service.ip}` references still in them |
//! | [`spec`] | specifications of projects and services |
//! | [`resolve`] | a spec with every reference replaced, its digest, and the differences between two specs |
//! | [`state`] | the states of services |
//! | [`subnet`] | subnets of networks |
//! | [`time`] | wall-clock instants in nanoseconds |
//! | [`umask`] | the permission bits that new files do not get |

pub mod clipped;
pub mod environment;
pub mod foreign;
pub mod names;
pub mod os_text;
pub mod pattern;
pub mod resolve;
pub mod secret;
pub mod spec;
pub mod state;
pub mod subnet;
pub mod template;
pub mod time;
pub mod umask;

pub use clipped::Clipped;
pub use foreign::ForeignText;
pub use names::{NetworkName, PortName, ProjectName, ServiceName};
pub use secret::{REDACTED, RedactingStream, Redactor, SecretString};
pub use spec::{ProjectSpec, ServiceSpec};
pub use state::{ExitStatus, Health, ServiceState};
pub use subnet::{Subnet, SubnetError};
pub use template::{AddressField, Part, Reference, Template};
pub use time::WallTime;
pub use umask::Umask;
