//! Building a daemon: Service and Action traits, server, client and the one daemon lifecycle.
