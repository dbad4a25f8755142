//! A container: what is asked of the engine for it, how it is followed to its end, and how it is used meanwhile.

pub(crate) mod body;
pub(crate) mod contact;
pub(crate) mod follow;
pub(crate) mod instance;
pub(crate) mod record;
pub(crate) mod running;
pub(crate) mod stop;
pub(crate) mod stop_policy;
pub(crate) mod volumes;
