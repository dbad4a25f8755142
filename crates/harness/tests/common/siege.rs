//! A daemon under attack: the attacking clients, and the checks of the daemon afterwards.

use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use async_io::Async;
use async_tungstenite::tungstenite::Message;
use async_tungstenite::{WebSocketStream, client_async};
use futures_lite::{FutureExt, StreamExt};
use futures_rustls::TlsConnector;
use futures_rustls::client::TlsStream;
use futures_rustls::pki_types::ServerName;
use futures_rustls::rustls::ClientConfig;
use harness_wire::tls::TlsDir;
use serde_json::{Value, json};

use super::{Sandbox, eventually, proc};

/// How much the daemon may grow during an attack, in KiB.
pub(crate) const GROWTH: u64 = 64 << 10;

/// How long a well-behaved client may wait during an attack. Most of this is for a machine that has other work too.
pub(crate) const SERVED: Duration = Duration::from_secs(20);

pub(crate) const FILE: &str = r#"
version: "1.0"
name: siege
services:
  calm: {type: process, binary: sleep, args: ["100000"]}
  flood:
    type: process
    binary: sh
    args: [-c, 'until [ -e go ]; do sleep 0.05; done; yes "a line of a flood that never ends, long enough to fill something" | head -c 200000000; exec sleep 100000']
    logs: {max_size: 8MB, max_files: 2}
  restless: {type: process, binary: "true", restart: always}
"#;

/// A daemon with services, and its size before the attack.
pub(crate) struct Siege {
    pub(crate) sandbox: Sandbox,
    pub(crate) daemon: u32,
    pub(crate) address: SocketAddr,
    pub(crate) tls: TlsDir,
    pub(crate) calm: u32,
    pub(crate) files: usize,
    pub(crate) memory: u64,
}

pub(crate) type Tls = TlsStream<Async<TcpStream>>;
pub(crate) type Socket = WebSocketStream<Tls>;

impl Siege {
    pub(crate) fn new(name: &str) -> Self {
        let sandbox = Sandbox::with_file(name, FILE);
        sandbox.ok(&["start", "-d"]);
        sandbox.await_state("calm", "running/none");
        let daemon = sandbox.daemon_pid().unwrap();
        // Once, so that everything that is created at the first use exists.
        sandbox.ok(&["logs", "-n", "1"]);
        Self {
            daemon,
            address: (Ipv4Addr::LOCALHOST, sandbox.daemon_port().unwrap()).into(),
            tls: TlsDir::new(sandbox.home().join("tls")),
            calm: sandbox.pid("calm"),
            files: proc::descriptors(daemon),
            memory: proc::resident(daemon),
            sandbox,
        }
    }

    /// A client with the right certificate is served in time, and the daemon has not grown much.
    pub(crate) fn goes_on(&self) {
        self.goes_on_within(GROWTH);
    }

    /// The same, but the daemon may grow by this many KiB for what is in progress now.
    pub(crate) fn goes_on_within(&self, most: u64) {
        let status = self
            .sandbox
            .spawn(&["--json", "status", "calm"])
            .wait(SERVED)
            .code(0);
        assert_eq!(status.json()["services"][0]["pid"], self.calm);
        let growth = proc::resident(self.daemon).saturating_sub(self.memory);
        assert!(growth < most, "the daemon grew by {growth} KiB");
    }

    /// Everything was released, nothing has crashed, and everything works.
    pub(crate) fn is_over(&self) {
        self.goes_on();
        eventually("every descriptor is given back", || {
            // `restless` may be between two runs.
            (proc::descriptors(self.daemon) <= self.files + 6).then_some(())
        });
        assert_eq!(self.sandbox.daemon_pid(), Some(self.daemon));
        let log = std::fs::read_to_string(self.sandbox.home().join("logs/daemon.log")).unwrap();
        assert!(!log.contains("panic"), "{log}");
        let told = self
            .sandbox
            .spawn(&["exec", "calm", "--", "echo", "well"])
            .wait(SERVED)
            .code(0);
        assert_eq!(told.stdout, "well\n");
        self.sandbox.spawn(&["restart", "calm"]).wait(SERVED).code(0);
    }

    pub(crate) fn tcp(&self) -> TcpStream {
        TcpStream::connect(self.address).unwrap()
    }

    pub(crate) async fn tls(&self, config: Arc<ClientConfig>) -> std::io::Result<Tls> {
        let name = ServerName::try_from("harness.internal").unwrap();
        TlsConnector::from(config)
            .connect(name, Async::new(self.tcp())?)
            .await
    }

    /// The right certificate, before the upgrade.
    pub(crate) async fn authenticated(&self) -> Tls {
        self.tls(self.tls.client_config().unwrap()).await.unwrap()
    }

    pub(crate) async fn upgraded(&self) -> Socket {
        let tls = self.authenticated().await;
        client_async("ws://harness.internal/harness", tls)
            .await
            .unwrap()
            .0
    }

    pub(crate) async fn session(&self) -> Socket {
        let mut socket = self.upgraded().await;
        say(
            &mut socket,
            &json!({"v": 1, "id": 0, "hello": {"versions": [1], "program": "raw 1"}}),
        )
        .await;
        assert!(socket.next().await.unwrap().unwrap().is_text());
        socket
    }

    /// Sends this after the hello, as far as the daemon reads it, and waits for the end of the connection.
    pub(crate) fn is_thrown_out(&self, what: &str, messages: Vec<Message>) {
        smol::block_on(async {
            let mut socket = self.session().await;
            for message in messages {
                if socket.send(message).await.is_err() {
                    break;
                }
            }
            let ended = async { while let Some(Ok(_)) = socket.next().await {} };
            in_time(what, ended).await;
        });
    }
}

pub(crate) fn selector() -> Value {
    json!({"named": "siege"})
}

pub(crate) fn status_request(id: u64) -> Value {
    json!({"v": 1, "id": id, "request": {"status": {"project": selector(), "services": []}}})
}

pub(crate) async fn say(socket: &mut Socket, message: &Value) {
    socket.send(Message::text(message.to_string())).await.unwrap();
}

pub(crate) async fn in_time<T>(what: &str, future: impl Future<Output = T>) -> T {
    let expired = async {
        async_io::Timer::after(Duration::from_secs(30)).await;
        panic!("not in time: {what}")
    };
    future.or(expired).await
}

/// The next message about this request that is not an event.
pub(crate) async fn answer(socket: &mut Socket, id: u64) -> Value {
    in_time("an answer", async {
        loop {
            if let Message::Text(text) = socket.next().await.unwrap().unwrap() {
                let message: Value = serde_json::from_str(&text).unwrap();
                if message["id"] == id && message.get("event").is_none() {
                    return message;
                }
            }
        }
    })
    .await
}
