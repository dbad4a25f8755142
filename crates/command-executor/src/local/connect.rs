//! Connects to an address from this machine: handles names, and both address families of localhost.

use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use async_io::{Async, Timer};
use futures_lite::future;
use rustix::io::Errno;

use super::names;
use crate::host::ConnectError;
use crate::host::endpoint::{Endpoint, Peer};

/// How long an address may stay silent before the next one is tried in parallel (RFC 8305, section 5).
const STAGGER: Duration = Duration::from_millis(250);

async fn addresses(to: &Endpoint) -> Result<Vec<SocketAddr>, ConnectError> {
    let at = |ip| SocketAddr::new(ip, to.port);
    match &to.peer {
        Peer::Address(address) => Ok(vec![at(*address)]),
        Peer::Localhost => Ok(vec![
            at(IpAddr::V4(Ipv4Addr::LOCALHOST)),
            at(IpAddr::V6(Ipv6Addr::LOCALHOST)),
        ]),
        Peer::Name(name) => match names::resolve(name, to.port).await {
            Ok(found) if !found.is_empty() => Ok(found),
            Ok(_) | Err(_) => Err(ConnectError::Unresolved(name.clone())),
        },
    }
}

type Connecting = Pin<Box<dyn Future<Output = io::Result<Async<TcpStream>>> + Send>>;

enum Progress {
    Connected(Async<TcpStream>),
    Failed(usize, io::Error),
    Silent,
}

/// Connects to the first address that accepts. The next address is tried when one fails or stays silent.
pub(super) async fn connect(to: &Endpoint) -> Result<Async<TcpStream>, ConnectError> {
    let mut untried = addresses(to).await?.into_iter();
    let mut trying: Vec<Connecting> = Vec::new();
    let mut first_error: Option<io::Error> = None;
    loop {
        match untried.next() {
            Some(address) => trying.push(Box::pin(connect_one(address))),
            None if trying.is_empty() => {
                let error = first_error.unwrap_or_else(|| io::ErrorKind::AddrNotAvailable.into());
                return Err(ConnectError::Io(error));
            }
            None => {}
        }
        let stagger = async {
            if untried.len() == 0 {
                future::pending::<()>().await;
            }
            Timer::after(STAGGER).await;
            Progress::Silent
        };
        match future::or(any(&mut trying), stagger).await {
            Progress::Connected(stream) => return Ok(stream),
            Progress::Failed(index, error) => {
                drop(trying.remove(index));
                if first_error.as_ref().is_none_or(no_such_family) {
                    first_error = Some(error);
                }
            }
            Progress::Silent => {}
        }
    }
}

/// Waits for the attempt that ends first.
async fn any(trying: &mut [Connecting]) -> Progress {
    future::poll_fn(|context| {
        for (index, attempt) in trying.iter_mut().enumerate() {
            match attempt.as_mut().poll(context) {
                Poll::Ready(Ok(stream)) => return Poll::Ready(Progress::Connected(stream)),
                Poll::Ready(Err(error)) => return Poll::Ready(Progress::Failed(index, error)),
                Poll::Pending => {}
            }
        }
        Poll::Pending
    })
    .await
}

/// Whether an error only says that this machine has no addresses of that family.
fn no_such_family(error: &io::Error) -> bool {
    matches!(
        Errno::from_io_error(error),
        Some(Errno::ADDRNOTAVAIL | Errno::AFNOSUPPORT | Errno::NETUNREACH)
    )
}

async fn connect_one(address: SocketAddr) -> io::Result<Async<TcpStream>> {
    let stream = Async::<TcpStream>::connect(address).await?;
    if is_own_reflection(stream.get_ref())? {
        return Err(io::ErrorKind::ConnectionRefused.into());
    }
    Ok(stream)
}

/// A connection to a free port of this machine can by chance get that very port as its own end. TCP then connects the
/// socket to itself, although nobody listens there. Without a linger the port is free again at once.
fn is_own_reflection(stream: &TcpStream) -> io::Result<bool> {
    if stream.local_addr()? != stream.peer_addr()? {
        return Ok(false);
    }
    rustix::net::sockopt::set_socket_linger(stream, Some(Duration::ZERO))?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use rustix::net::{AddressFamily, SocketType, bind, connect, getsockname, socket};

    use super::*;

    #[test]
    fn a_socket_connected_to_itself_is_no_server() {
        let own = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
        bind(&own, &SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).unwrap();
        let address = SocketAddr::try_from(getsockname(&own).unwrap()).unwrap();
        connect(&own, &address).unwrap();
        let own = TcpStream::from(own);
        assert!(is_own_reflection(&own).unwrap());
        drop(own);

        // The port is free again at once, even for a service that does not set SO_REUSEADDR.
        let service = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
        bind(&service, &address).unwrap();
        rustix::net::listen(&service, 1).unwrap();
        let client = TcpStream::connect(address).unwrap();
        assert!(!is_own_reflection(&client).unwrap());
    }
}
