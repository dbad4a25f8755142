//! A client without access is refused or timed out, logged once with the cause, and disturbs nobody. A separate
//! program with one test, because the test reads the daemon's log, and a process has only one log.

#![cfg(test)]

mod common;

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use async_io::Async;
use async_tungstenite::tungstenite::{Error, Message, client::IntoClientRequest};
use async_tungstenite::{WebSocketStream, client_async};
use common::{Daemon, project, service};
use futures_lite::{AsyncReadExt, AsyncWriteExt, StreamExt};
use futures_rustls::TlsConnector;
use futures_rustls::client::TlsStream;
use futures_rustls::pki_types::{CertificateDer, ServerName, pem::PemObject};
use futures_rustls::rustls::crypto::ring;
use futures_rustls::rustls::{ClientConfig, RootCertStore};
use harness_core::{DaemonInfo, Home};
use harness_wire::tls::TlsDir;

/// How many clients connect at once.
const CROWD: usize = 300;

/// A text that strangers send and that must never be logged.
const SECRET: &str = "hunter2";

/// A daemon with a service, and the clients that try to get in.
struct Siege {
    daemon: Daemon,
    address: SocketAddr,
    tls: TlsDir,
    service: u32,
    /// The address of each client that tried, and what the log must say about it.
    expected: Vec<(SocketAddr, &'static str)>,
}

impl Siege {
    fn new() -> Self {
        let daemon = Daemon::start(|builder| builder);
        let spec = project(&daemon, &[("db", service(&["sleep", "1000"]))]);
        let report = daemon.start_project(&spec);
        let info = DaemonInfo::read(&Home::at(daemon.home.path())).unwrap().unwrap();
        Self {
            address: (Ipv4Addr::LOCALHOST, info.port).into(),
            tls: TlsDir::new(daemon.home.path().join("tls")),
            service: report.services[0].view.pid.unwrap(),
            expected: Vec::new(),
            daemon,
        }
    }

    /// The right certificate works, and the service is the same.
    fn control(&self) {
        let status = self.daemon.status();
        assert_eq!(status[0].pid, Some(self.service));
    }

    fn tcp(&mut self, cause: &'static str) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        self.expected.push((stream.local_addr().unwrap(), cause));
        stream
    }

    async fn tls(
        &mut self,
        config: Arc<ClientConfig>,
        cause: &'static str,
    ) -> std::io::Result<TlsStream<Async<TcpStream>>> {
        let tcp = Async::new(self.tcp(cause)).unwrap();
        let name = ServerName::try_from("harness.internal").unwrap();
        TlsConnector::from(config).connect(name, tcp).await
    }

    /// The right certificate in the hands of a client that misbehaves after its hello.
    async fn session(&mut self, cause: &'static str) -> WebSocketStream<TlsStream<Async<TcpStream>>> {
        let config = self.tls.client_config().unwrap();
        let tls = self.tls(config, cause).await.unwrap();
        let (mut socket, _) = client_async("ws://harness.internal/harness", tls).await.unwrap();
        let hello = r#"{"v":1,"id":0,"hello":{"versions":[1],"program":"raw 1"}}"#;
        socket.send(Message::text(hello)).await.unwrap();
        assert!(socket.next().await.unwrap().unwrap().is_text());
        socket
    }

    /// Sends this after the hello and expects that the daemon closes the connection.
    fn misbehave(&mut self, message: Message, cause: &'static str) {
        smol::block_on(async {
            let mut socket = self.session(cause).await;
            // The daemon may hang up before it has heard all of it.
            let _ = socket.send(message).await;
            while let Some(Ok(_)) = socket.next().await {}
        });
        self.control();
    }

    fn log(&self) -> Vec<serde_json::Value> {
        let log = std::fs::read_to_string(self.daemon.home.path().join("logs/daemon.log")).unwrap();
        assert!(!log.contains(SECRET), "{log}");
        log.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    /// Every attempt is in the log once, with its cause, and nothing else is.
    fn everything_is_logged_once(&self) {
        let deadline = Instant::now() + Duration::from_secs(20);
        let complaints = loop {
            let log = self.log();
            let complaints: Vec<_> = log.into_iter().filter(|line| line["level"] != "INFO").collect();
            if complaints.len() >= self.expected.len() || Instant::now() > deadline {
                break complaints;
            }
            std::thread::sleep(Duration::from_millis(20));
        };
        // The kernel may give the port of one attempt to a later one, too.
        let mut causes: BTreeMap<String, Vec<&str>> = BTreeMap::new();
        for (peer, cause) in &self.expected {
            causes.entry(peer.to_string()).or_default().push(cause);
        }
        for (peer, causes) in causes {
            let of_peer: Vec<_> = complaints.iter().filter(|line| line["peer"] == peer).collect();
            assert_eq!(of_peer.len(), causes.len(), "{causes:?}: {of_peer:?}");
            for (line, cause) in of_peer.iter().zip(causes) {
                let error = line["error"].as_str().unwrap();
                assert!(error.contains(cause), "`{cause}` in `{error}`");
            }
        }
        assert_eq!(complaints.len(), self.expected.len(), "{complaints:?}");
    }
}

fn without_certificate(ca: &Path) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(ca).unwrap()).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    Arc::new(config)
}

/// In TLS 1.3 a client may think that it is connected, until it reads.
async fn is_thrown_out(connected: std::io::Result<TlsStream<Async<TcpStream>>>) {
    if let Ok(mut stream) = connected {
        assert!(stream.read(&mut [0; 10]).await.is_err());
    }
}

#[test]
fn strangers_are_refused_logged_once_and_disturb_nobody() {
    let mut siege = Siege::new();
    siege.control();

    // Begun first, because it takes five seconds: a silent client, and one that sends half a TLS record.
    let _silent = siege.tcp("the client did not complete the TLS handshake within 5s");
    let mut half = siege.tcp("the client did not complete the TLS handshake within 5s");
    half.write_all(&[22, 3, 1]).unwrap();
    let began = Instant::now();

    let anonymous = without_certificate(&siege.tls.path().join("ca.pem"));
    smol::block_on(async {
        let connected = siege
            .tls(anonymous, "the TLS handshake failed: peer sent no certificates")
            .await;
        is_thrown_out(connected).await;
    });
    siege.control();

    let elsewhere = tempfile::tempdir().unwrap();
    let foreign = TlsDir::new(elsewhere.path().join("tls"));
    foreign.ensure(SystemTime::now()).unwrap();
    smol::block_on(async {
        // It does not trust us either, and says so.
        let config = foreign.client_config().unwrap();
        assert!(
            siege
                .tls(config, "the TLS handshake failed: received fatal alert")
                .await
                .is_err()
        );
        // It trusts this daemon.
        std::fs::copy(siege.tls.path().join("ca.pem"), foreign.path().join("ca.pem")).unwrap();
        let config = foreign.client_config().unwrap();
        let connected = siege
            .tls(config, "the TLS handshake failed: invalid peer certificate")
            .await;
        is_thrown_out(connected).await;
    });
    siege.control();

    for garbage in [
        format!("GET /{SECRET} HTTP/1.1\r\n\r\n").into_bytes(),
        vec![0; 64],
        vec![0xff; 100_000],
    ] {
        let mut tcp = siege.tcp("the TLS handshake failed");
        // The daemon may hang up before it has heard all of it.
        let _ = tcp.write_all(&garbage);
        let _ = tcp.read_to_end(&mut Vec::new());
        siege.control();
    }

    smol::block_on(async {
        let config = siege.tls.client_config().unwrap();
        let tls = siege
            .tls(config, "a browser's request was refused: it has an Origin header")
            .await;
        let mut request = "ws://harness.internal/harness".into_client_request().unwrap();
        request
            .headers_mut()
            .insert("Origin", "https://page.example".parse().unwrap());
        let refused = client_async(request, tls.unwrap()).await.unwrap_err();
        assert!(
            matches!(&refused, Error::Http(answer) if answer.status() == 403),
            "{refused:?}"
        );

        let config = siege.tls.client_config().unwrap();
        let mut tls = siege.tls(config, "the WebSocket upgrade failed").await.unwrap();
        tls.write_all(b"\0\x01\x02 not HTTP\r\n\r\n").await.unwrap();
        tls.flush().await.unwrap();
        let _ = tls.read_to_end(&mut Vec::new()).await;
    });
    siege.control();

    let malformed = "the client sent a malformed message";
    siege.misbehave(
        Message::text(format!("{{\"v\":1,\"id\":1,\"request\":\"{SECRET}")),
        malformed,
    );
    siege.misbehave(
        Message::text(format!("{{\"v\":1,\"id\":1,\"{SECRET}\":{{}}}}")),
        malformed,
    );
    siege.misbehave(
        Message::binary(vec![0xff; 3]),
        "the client sent a malformed binary message",
    );
    siege.misbehave(Message::binary(vec![0xff; 64]), "the client");
    let large = "x".repeat((16 << 20) + 1);
    siege.misbehave(
        Message::text(large),
        "the client sent a message larger than the 16777216 bytes allowed",
    );

    let mut ended = Vec::new();
    half.read_to_end(&mut ended).unwrap();
    assert!(ended.is_empty());
    assert!(began.elapsed() > Duration::from_secs(4), "{:?}", began.elapsed());
    siege.control();
    siege.everything_is_logged_once();

    // Hundreds of silent clients: the oldest are closed, which also makes room for the right certificate.
    let crowd: Vec<TcpStream> = (0..CROWD).map(|_| siege.tcp("")).collect();
    for _ in 0..5 {
        siege.control();
    }
    let mut late = crowd;
    while let Some(mut stranger) = late.pop() {
        let _ = stranger.read_to_end(&mut Vec::new());
    }
    siege.control();
    siege.everything_is_logged_once();
    siege.daemon.stop_all();
    assert!(!common::is_alive(siege.service));
}
