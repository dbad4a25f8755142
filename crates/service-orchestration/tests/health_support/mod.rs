//! Servers that misbehave in known ways, with a thread for each connection, and every runtime that we promise to
//! support.

use std::future::Future;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// A server on loopback, gone when dropped.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) state: Arc<State>,
    acceptor: Option<JoinHandle<()>>,
}

/// What the connections of a server have seen.
#[derive(Default)]
pub(crate) struct State {
    /// The number of connections accepted.
    pub(crate) accepted: AtomicUsize,
    /// The number of connections open now, and the most that were ever open at once.
    pub(crate) open: AtomicUsize,
    pub(crate) most_open: AtomicUsize,
    /// The number of connections that the client closed in good order (end of file, no reset).
    pub(crate) closed_well: AtomicUsize,
    /// The number of bytes written.
    pub(crate) written: AtomicUsize,
    ending: AtomicBool,
}

impl Server {
    /// Handles every connection with `serve`.
    pub(crate) fn start(listen: &str, serve: impl Fn(TcpStream, &State) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind(listen).expect("loopback has a free port");
        let address = listener.local_addr().expect("a bound listener has an address");
        let state = Arc::new(State::default());
        let (shared, serve) = (Arc::clone(&state), Arc::new(serve));
        let acceptor = std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if shared.ending.load(Ordering::SeqCst) {
                    return;
                }
                shared.accepted.fetch_add(1, Ordering::SeqCst);
                let open = shared.open.fetch_add(1, Ordering::SeqCst) + 1;
                shared.most_open.fetch_max(open, Ordering::SeqCst);
                let (shared, serve) = (Arc::clone(&shared), Arc::clone(&serve));
                std::thread::spawn(move || {
                    serve(stream, &shared);
                    shared.open.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        Self {
            address,
            state,
            acceptor: Some(acceptor),
        }
    }

    /// Answers every request with these bytes and keeps the connection open until the client closes it.
    pub(crate) fn answering(listen: &str, answer: &'static str) -> Self {
        Self::start(listen, move |mut stream, state| {
            read_request(&mut stream);
            if stream.write_all(answer.as_bytes()).is_ok() {
                wait_for_close(&mut stream, state);
            }
        })
    }

    /// Accepts connections, and sends nothing until the client closes.
    pub(crate) fn silent(listen: &str) -> Self {
        Self::start(listen, |mut stream, state| wait_for_close(&mut stream, state))
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.state.ending.store(true, Ordering::SeqCst);
        drop(TcpStream::connect(self.address));
        if let Some(acceptor) = self.acceptor.take() {
            drop(acceptor.join());
        }
    }
}

/// Reads up to the empty line that ends a request without a body, and returns it.
pub(crate) fn read_request(stream: &mut TcpStream) -> String {
    let mut request = Vec::new();
    let mut byte = [0];
    while !request.ends_with(b"\r\n\r\n") && matches!(stream.read(&mut byte), Ok(1)) {
        request.push(byte[0]);
    }
    String::from_utf8_lossy(&request).into_owned()
}

/// Reads until the client closes, and records whether it closed in good order.
pub(crate) fn wait_for_close(stream: &mut TcpStream, state: &State) {
    let mut buffer = [0; 1024];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => {
                state.closed_well.fetch_add(1, Ordering::SeqCst);
                return;
            }
            Ok(_) => {}
            Err(_) => return,
        }
    }
}

/// Waits until `holds`, for ten seconds at most.
pub(crate) fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !holds() {
        assert!(Instant::now() < deadline, "not within ten seconds: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Runs the same test under smol, tokio and a bare async-executor.
pub(crate) fn on_every_runtime<F: Future<Output = ()>>(test: impl Fn() -> F) {
    smol::block_on(test());
    let tokio = tokio::runtime::Builder::new_current_thread().build();
    tokio.expect("tokio starts").block_on(test());
    let executor = async_executor::LocalExecutor::new();
    futures_lite::future::block_on(executor.run(test()));
}

/// A port of 127.0.0.1 on which nobody listens.
pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
    listener
        .local_addr()
        .expect("a bound listener has an address")
        .port()
}
