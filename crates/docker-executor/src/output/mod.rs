//! The output of a container, as its engine gives it: the log of the engine, which [the mirror] copies, and prompts,
//! which that log does not have before their line is complete.
//!
//! [the mirror]: service_orchestration::mirror

pub(crate) mod log;
pub(crate) mod prompt;
