//! The supervisor of one process, and the run-directory contract it shares with whoever started it.
