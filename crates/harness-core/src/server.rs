//! Accepts clients, with one task per connection and one per request.

use std::net::TcpListener;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use async_executor::Executor as Tasks;
use async_io::{Async, Timer};
use futures_lite::FutureExt;
use harness_model::WallTime;
use harness_wire::message::{ErrorBody, ErrorCode};
use harness_wire::server::{Admission, Connection, Limits, accept};
use harness_wire::tls::{Term, TlsError};
use service_orchestration::words::chain;

use crate::VERSION;
use crate::handlers::{self, After, Client, Context};
use crate::newcomers::Newcomers;

/// The pause after an accept failed for lack of descriptors, so that the loop does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// How long the ending daemon waits for the client that asked for the end to read its answer.
const FAREWELL: Duration = Duration::from_secs(2);

/// How often to check certificates, even if none needs to be renewed.
const RENEWAL: Duration = Duration::from_secs(3600);

/// The same while there is no usable certificate.
const REPAIR: Duration = Duration::from_secs(1);

/// How often to check the wall clock. Somebody may set it to a time at which the certificates are not valid.
const CLOCK: Duration = Duration::from_secs(5);

/// Accepts clients until dropped.
pub(crate) async fn serve(
    context: &Arc<Context>,
    listener: &Async<TcpListener>,
    tasks: &Arc<Tasks<'static>>,
    program: &str,
) {
    let limits = Limits::default();
    let admission = Admission::new(&limits);
    let program: Arc<str> = format!("{program} {VERSION}").into();
    let mut certificates = Certificates::load(context).await;
    let mut newcomers = Newcomers::default();
    let mut accepting = true;
    loop {
        // Renew certificates also while no client comes, or a client's certificate could expire first.
        let due = async {
            certificates.due().await;
            None
        };
        let accepted = async { Some(listener.accept().await) };
        let (stream, peer) = match accepted.or(due).await {
            None => {
                certificates = Certificates::load(context).await;
                continue;
            }
            Some(Ok(accepted)) => accepted,
            Some(Err(error)) => {
                // Log this once per series, because a lack of descriptors can last.
                if std::mem::take(&mut accepting) {
                    tracing::warn!(%error, "cannot accept connections");
                }
                Timer::after(ACCEPT_PAUSE).await;
                continue;
            }
        };
        accepting = true;
        let mut admitted = match newcomers.admit(&admission).await {
            Ok(admitted) => admitted,
            Err(refusal) => {
                tracing::warn!(%peer, error = %refusal, "refused a connection");
                continue;
            }
        };
        let Some(config) = certificates.current(context).await else {
            tracing::warn!(%peer, error = "there are no usable certificates", "refused a connection");
            continue;
        };
        let newcomer = newcomers.enter();
        let (context, program, spawner) = (Arc::clone(context), Arc::clone(&program), Arc::clone(tasks));
        tasks
            .spawn(async move {
                match newcomer
                    .unless_displaced(accept(stream, config, &limits, &program))
                    .await
                {
                    None => {
                        tracing::warn!(%peer, error = "made room for a newer one", "refused a connection")
                    }
                    Some(Ok((connection, driver))) => {
                        let serving = match admitted.authenticated() {
                            Ok(()) => Some(spawner.spawn(requests(
                                Arc::clone(&context),
                                connection,
                                Arc::clone(&spawner),
                            ))),
                            Err(refusal) => {
                                tracing::warn!(%peer, error = %refusal, "refused a connection");
                                connection.refuse(busy(refusal.to_string()));
                                None
                            }
                        };
                        if let Err(error) = driver.await {
                            tracing::warn!(%peer, error = chain(&error), "a connection failed");
                        }
                        // The driver has written every answer, so no answer is lost if the daemon ends now.
                        if let Some(serving) = serving
                            && serving.await == Served::EndDaemon
                        {
                            // It is fine if the daemon is ending already.
                            let _ = context.shutdown.try_send(());
                        }
                    }
                    Some(Err(error)) => {
                        tracing::warn!(%peer, error = chain(&error), "refused a connection");
                    }
                }
            })
            .detach();
    }
}

fn busy(message: String) -> ErrorBody {
    ErrorBody {
        code: ErrorCode::Internal,
        message,
        hint: Some("try again in a moment".to_owned()),
    }
}

/// How a connection ended.
#[derive(PartialEq, Eq)]
enum Served {
    Whole,
    /// Its last request asked the daemon to end.
    EndDaemon,
}

async fn requests(context: Arc<Context>, connection: Connection, tasks: Arc<Tasks<'static>>) -> Served {
    let connection = Arc::new(connection);
    let (end, ended) = async_channel::bounded(1);
    let client = Client::new();
    let serve = async {
        while let Some(incoming) = connection.next_request().await {
            let (context, connection, end) = (Arc::clone(&context), Arc::clone(&connection), end.clone());
            let client = client.clone();
            let task = async move {
                let ending = Arc::clone(&context);
                let after = handlers::handle(context, incoming.request, incoming.responder, &client).await;
                if after == After::EndDaemon {
                    connection.close();
                    // One is enough.
                    let _ = end.try_send(());
                    // Normally the driver ends the daemon when the answer is written. If the connection is gone, or
                    // its client does not read, that never happens.
                    async_io::Timer::after(FAREWELL).await;
                    let _ = ending.shutdown.try_send(());
                }
            };
            tasks.spawn(task).detach();
        }
        Served::Whole
    };
    let told = async {
        match ended.recv().await {
            Ok(()) => Served::EndDaemon,
            Err(_) => Served::Whole,
        }
    };
    told.or(serve).await
}

/// The certificates. They are renewed before they expire, without a restart.
struct Certificates {
    config: Option<Arc<harness_wire::tls::ServerConfig>>,
    /// When to check them again, on the monotonic clock.
    check: Instant,
    /// When they are valid, on the wall clock, which continues while the machine sleeps. `None` if they cannot be
    /// renewed, or there are none.
    term: Option<Term>,
}

impl Certificates {
    async fn load(context: &Context) -> Self {
        let tls = context.tls.clone();
        let read = blocking::unblock(move || {
            let now = SystemTime::now();
            let ensured = tls.ensure(now)?;
            Ok((ensured, tls.server_config()?, tls.term()?))
        });
        let read: Result<_, TlsError> = read.await;
        match read {
            Ok((ensured, config, term)) => {
                if !ensured.renewed.is_empty() || !ensured.created.is_empty() {
                    tracing::info!(created = ?ensured.created, renewed = ?ensured.renewed, "new certificates");
                }
                for overdue in &ensured.overdue {
                    let path = overdue.path.display();
                    tracing::warn!(%path, error = chain(&overdue.error), "a certificate cannot be renewed");
                }
                let now = WallTime::now();
                let left = Some(term.renewal.since(now)).filter(|left| !left.is_zero());
                Self {
                    config: Some(config),
                    check: Instant::now() + left.unwrap_or(RENEWAL).clamp(REPAIR, RENEWAL),
                    term: left.map(|_| term).filter(|term| term.begin <= now),
                }
            }
            Err(error) => {
                tracing::error!(error = chain(&error), "no client can be accepted");
                Self {
                    config: None,
                    check: Instant::now() + REPAIR,
                    term: None,
                }
            }
        }
    }

    /// Waits until it is time to check them again.
    async fn due(&self) {
        match self.config {
            Some(_) => {
                while Instant::now() < self.check && self.are_good() {
                    Timer::at(self.check.min(Instant::now() + CLOCK)).await;
                }
            }
            // They are checked when a client comes. Checking all the time would fill the log.
            None => futures_lite::future::pending().await,
        }
    }

    /// Whether they are still valid by the wall clock. Certificates that cannot be renewed always count as valid
    /// here.
    fn are_good(&self) -> bool {
        let now = WallTime::now();
        self.term
            .is_none_or(|term| term.begin <= now && now < term.renewal)
    }

    async fn current(&mut self, context: &Context) -> Option<Arc<harness_wire::tls::ServerConfig>> {
        if Instant::now() >= self.check || !self.are_good() {
            *self = Self::load(context).await;
        }
        self.config.clone()
    }
}
