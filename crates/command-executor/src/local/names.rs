//! Looks up the addresses of a name. The C library does that. It waits for name servers as long as it likes and
//! cannot be interrupted, so only a few of the blocking threads may be in it at a time.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::{Arc, LazyLock};

use async_lock::Semaphore;
use blocking::unblock;

/// How many look-ups run at once. The others wait, within the time of their probes.
const AT_ONCE: usize = 4;

static TURNS: LazyLock<Arc<Semaphore>> = LazyLock::new(|| Arc::new(Semaphore::new(AT_ONCE)));

/// The addresses of a name.
///
/// # Errors
/// When the name has no address, or no name server can tell.
pub(super) async fn resolve(name: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    let turn = TURNS.acquire_arc().await;
    let name = name.to_owned();
    unblock(move || {
        // The thread holds the permit: a probe that gives up does not free it.
        let _turn = turn;
        (name.as_str(), port).to_socket_addrs().map(Iterator::collect)
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_this_machine_are_found_and_what_is_no_name_is_not() {
        let found = futures_lite::future::block_on(resolve("localhost", 80)).unwrap();
        assert!(
            found
                .iter()
                .all(|address| address.ip().is_loopback() && address.port() == 80)
        );
        assert!(!found.is_empty());
        // The name is too long for any name server to be asked.
        let long = "x".repeat(64);
        assert!(futures_lite::future::block_on(resolve(&long, 80)).is_err());
    }
}
