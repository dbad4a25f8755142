//! A server with a few test verbs, and clients that misbehave.

use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use async_channel::Receiver;
use async_io::{Async, Timer};
use async_tungstenite::tungstenite::{self, Message};
use async_tungstenite::{WebSocketStream, client_async};
use futures_lite::{StreamExt, future};
use futures_rustls::TlsConnector;
use futures_rustls::client::TlsStream;
use futures_rustls::pki_types::ServerName;
use futures_rustls::rustls::ClientConfig;
use harness_wire::client::{Call, Client, ConnectError, Item, connect};
use harness_wire::message::{
    ActionCall, Channel, ErrorBody, ErrorCode, Event, Request, Response, ServerBody, ServerMessage,
};
use harness_wire::server::{
    AcceptError, Admission, ConnectionError, IncomingRequest, Input, Limits, SendError, accept,
};
use harness_wire::tls::TlsDir;
use serde_json::{Value, json};

pub(crate) const WAIT: Duration = Duration::from_secs(20);

pub(crate) type Task = Pin<Box<dyn Future<Output = ()> + Send>>;
pub(crate) type Spawn = Arc<dyn Fn(Task) + Send + Sync>;

pub(crate) fn spawn_on_smol() -> Spawn {
    Arc::new(|task| smol::spawn(task).detach())
}

/// Fails a test that hangs.
pub(crate) async fn in_time<T>(future: impl Future<Output = T>) -> T {
    let deadline = async {
        Timer::after(WAIT).await;
        panic!("still waiting after {WAIT:?}");
    };
    future::or(future, deadline).await
}

pub(crate) async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < WAIT, "{what}");
        Timer::after(Duration::from_millis(5)).await;
    }
}

pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) tls: TlsDir,
    pub(crate) refused: Receiver<AcceptError>,
    pub(crate) ended: Receiver<Result<(), ConnectionError>>,
    /// Bytes or events that `flood` and `events` have sent.
    pub(crate) sent: Arc<AtomicU64>,
    spawn: Spawn,
    _home: tempfile::TempDir,
}

impl Server {
    pub(crate) async fn start(spawn: Spawn, limits: Limits) -> Self {
        let home = tempfile::tempdir().unwrap();
        let tls = TlsDir::new(home.path().join("tls"));
        tls.ensure(SystemTime::now()).unwrap();
        Self::start_with(spawn, limits, home, tls).await
    }

    pub(crate) async fn start_with(
        spawn: Spawn,
        limits: Limits,
        home: tempfile::TempDir,
        tls: TlsDir,
    ) -> Self {
        let listener = Async::<TcpListener>::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.get_ref().local_addr().unwrap();
        let config = tls.server_config().unwrap();
        let (refusal, refused) = async_channel::unbounded();
        let (end, ended) = async_channel::unbounded();
        let sent = Arc::new(AtomicU64::new(0));
        let admission = Admission::new(&limits);
        let (runner, counter) = (spawn.clone(), sent.clone());
        spawn(Box::pin(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let Ok(mut admitted) = admission.enter() else {
                    continue;
                };
                let (config, spawn, sent) = (config.clone(), runner.clone(), counter.clone());
                let (refusal, end) = (refusal.clone(), end.clone());
                runner(Box::pin(async move {
                    let (connection, driver) = match accept(stream, config, &limits, "test server 1").await {
                        Ok(accepted) => accepted,
                        Err(error) => return drop(refusal.send(error).await),
                    };
                    if let Err(full) = admitted.authenticated() {
                        connection.refuse(ErrorBody {
                            code: ErrorCode::Internal,
                            message: full.to_string(),
                            hint: None,
                        });
                        return drop(driver.await);
                    }
                    let requests = async {
                        while let Some(request) = connection.next_request().await {
                            if matches!(request.request, Request::DaemonStop(_)) {
                                request.responder.respond(Ok(Response::Done {})).await.unwrap();
                                connection.close();
                                continue;
                            }
                            spawn(Box::pin(answer(request, sent.clone())));
                        }
                    };
                    let (result, ()) = future::zip(driver, requests).await;
                    let _ = end.send(result).await;
                }));
            }
        }));
        Self {
            address,
            tls,
            refused,
            ended,
            sent,
            spawn,
            _home: home,
        }
    }

    pub(crate) async fn connect(&self) -> Client {
        self.connect_with(&self.tls).await.unwrap()
    }

    pub(crate) async fn connect_with(&self, tls: &TlsDir) -> Result<Client, ConnectError> {
        let (client, driver) = connect(self.address, tls, "test client 1").await?;
        (self.spawn)(driver);
        Ok(client)
    }

    /// Checks that a correct client still works.
    pub(crate) async fn control(&self) {
        let client = self.connect().await;
        echo(&client, "control").await;
    }

    pub(crate) async fn refusal(&self) -> AcceptError {
        in_time(self.refused.recv()).await.unwrap()
    }

    pub(crate) async fn end(&self) -> Result<(), ConnectionError> {
        in_time(self.ended.recv()).await.unwrap()
    }

    pub(crate) fn sent(&self) -> u64 {
        self.sent.load(Ordering::SeqCst)
    }

    pub(crate) async fn tcp(&self) -> Async<TcpStream> {
        Async::<TcpStream>::connect(self.address).await.unwrap()
    }

    /// A TLS connection without a WebSocket.
    pub(crate) async fn tls(
        &self,
        config: Arc<ClientConfig>,
    ) -> std::io::Result<TlsStream<Async<TcpStream>>> {
        let name = ServerName::try_from("harness.internal").unwrap();
        TlsConnector::from(config).connect(name, self.tcp().await).await
    }

    /// A WebSocket that has not said hello.
    pub(crate) async fn raw_socket(&self) -> Raw {
        let tls = self.tls(self.tls.client_config().unwrap()).await.unwrap();
        let (socket, _) = client_async("ws://harness.internal/harness", tls).await.unwrap();
        Raw { socket }
    }

    /// A WebSocket after the hello.
    pub(crate) async fn raw_session(&self) -> Raw {
        let mut raw = self.raw_socket().await;
        raw.say(json!({"v": 1, "id": 0, "hello": {"versions": [1], "program": "raw 1"}}))
            .await;
        assert!(matches!(raw.hear().await.body, ServerBody::Hello(_)));
        raw
    }
}

/// A client that can send anything.
pub(crate) struct Raw {
    pub(crate) socket: WebSocketStream<TlsStream<Async<TcpStream>>>,
}

impl Raw {
    pub(crate) async fn say(&mut self, message: Value) {
        self.send(Message::text(message.to_string())).await;
    }

    pub(crate) async fn send(&mut self, message: Message) {
        self.socket.send(message).await.unwrap();
    }

    pub(crate) async fn hear(&mut self) -> ServerMessage {
        loop {
            match in_time(self.socket.next()).await {
                Some(Ok(Message::Text(text))) => return serde_json::from_str(&text).unwrap(),
                Some(Ok(Message::Binary(_))) => {}
                other => panic!("expected a message, got {other:?}"),
            }
        }
    }

    /// The refusal of the whole connection, and its end.
    pub(crate) async fn hear_refusal(&mut self) -> String {
        let message = self.hear().await;
        assert_eq!(message.id, 0);
        let ServerBody::Error(body) = message.body else {
            panic!("expected an error, got {message:?}")
        };
        match in_time(self.socket.next()).await {
            None | Some(Ok(Message::Close(_)) | Err(tungstenite::Error::Io(_))) => {}
            other => panic!("expected the end, got {other:?}"),
        }
        body.message
    }
}

pub(crate) fn action(name: &str, input: Value) -> Request {
    Request::Action(ActionCall {
        name: name.to_owned(),
        input,
    })
}

pub(crate) async fn echo(client: &Client, text: &str) {
    let response = in_time(client.request(action("echo", json!(text))))
        .await
        .unwrap();
    assert_eq!(response, Response::Action(json!(text)));
}

pub(crate) async fn open(client: &Client, name: &str, input: Value) -> Call {
    in_time(client.open(action(name, input))).await.unwrap()
}

pub(crate) async fn next(call: &mut Call) -> Item {
    in_time(call.next()).await.unwrap()
}

/// The byte at this place of a flood.
pub(crate) fn pattern(at: u64) -> u8 {
    (at.wrapping_mul(31) >> 3) as u8
}

async fn answer(incoming: IncomingRequest, sent: Arc<AtomicU64>) {
    let IncomingRequest { request, responder } = incoming;
    let Request::Action(ActionCall { name, input }) = request else {
        return drop(responder.respond(Ok(Response::Done {})).await);
    };
    let done: Result<Value, SendError> = match name.as_str() {
        "echo" => Ok(input),
        "hang" => {
            let _ = responder.cancelled().await;
            return;
        }
        "drop" => return,
        "big" => Ok(json!(
            "x".repeat(usize::try_from(input.as_u64().unwrap()).unwrap())
        )),
        "events" => {
            let mut result = Ok(json!(null));
            for n in 0..input.as_u64().unwrap() {
                if let Err(e) = responder.event(Event::Missed(n)).await {
                    result = Err(e);
                    break;
                }
                sent.fetch_add(1, Ordering::SeqCst);
            }
            result
        }
        "flood" => flood(&responder, input.as_u64().unwrap(), &sent).await,
        "cat" => {
            let mut inputs = responder.input();
            let mut heard = Vec::new();
            let mut total = 0;
            while let Some(input) = inputs.next().await {
                match input {
                    Input::Stdin(bytes) => {
                        total += bytes.len();
                        if responder.data(Channel::Stdout, &bytes).await.is_err() {
                            return;
                        }
                    }
                    Input::CloseStdin => break,
                    other => heard.push(format!("{other:?}")),
                }
            }
            Ok(json!({"total": total, "heard": heard}))
        }
        "idle" => {
            let _ = responder.cancelled().await;
            Ok(json!("stopped"))
        }
        other => panic!("no verb {other}"),
    };
    if let Ok(value) = done {
        let _ = responder.respond(Ok(Response::Action(value))).await;
    }
}

async fn flood(
    responder: &harness_wire::server::Responder,
    bytes: u64,
    sent: &AtomicU64,
) -> Result<Value, SendError> {
    let mut at = 0;
    while at < bytes {
        let chunk: Vec<u8> = (at..bytes.min(at + 50_000)).map(pattern).collect();
        responder.data(Channel::Stdout, &chunk).await?;
        at += chunk.len() as u64;
        sent.store(at, Ordering::SeqCst);
    }
    Ok(json!(at))
}

/// A copy of the client's half of a folder, with some files from another folder.
pub(crate) fn client_dir(home: &Path, ca_from: &TlsDir, identity_from: &TlsDir, stem: &str) -> TlsDir {
    let copy = home.join("copied-tls");
    std::fs::create_dir_all(&copy).unwrap();
    std::fs::copy(ca_from.path().join("ca.pem"), copy.join("ca.pem")).unwrap();
    for kind in ["pem", "key"] {
        let from = identity_from.path().join(format!("{stem}.{kind}"));
        std::fs::copy(from, copy.join(format!("client.{kind}"))).unwrap();
    }
    TlsDir::new(copy)
}
