//! A daemon that is killed at any instant must not orphan, double or forget a service, wherever the service runs.
//!
//! | file | what |
//! |---|---|
//! | `world` | a project whose services record what happens to them, and the checks of these records |
//! | `dice` | random instants and requests, from a seed |
//! | `orders` | the daemon, killed during start, stop, restart, replacement and crashes of services |
//! | `oneshots` | the daemon, killed while one-shots run and end |
//! | `floods` | the daemon, killed while services flood their logs |

pub(crate) mod dice;
pub(crate) mod floods;
pub(crate) mod oneshots;
pub(crate) mod orders;
pub(crate) mod world;
