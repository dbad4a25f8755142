//! What a daemon that is killed at any instant must not do to services, wherever they run: orphan, double or forget one.
//!
//! | file | what |
//! |---|---|
//! | `world` | a project of services that bear witness, and what their testimony must be |
//! | `dice` | instants and orders by chance, from a seed |
//! | `orders` | the daemon, killed amid start, stop, restart, replacement and crashes of services |
//! | `oneshots` | the daemon, killed while one-shots run and end |
//! | `floods` | the daemon, killed while services flood their logs |

pub(crate) mod dice;
pub(crate) mod floods;
pub(crate) mod oneshots;
pub(crate) mod orders;
pub(crate) mod world;
