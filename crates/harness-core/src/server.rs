//! Accepting clients: a task a connection, a task a request.

use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use async_executor::Executor as Tasks;
use async_io::Async;
use harness_wire::server::{AcceptError, Admission, Limits, accept};

use crate::VERSION;
use crate::handlers::{self, Context};

/// The pause after an accept failed for want of descriptors, so that the loop does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// How often certificates are looked at for renewal.
const RENEWAL: Duration = Duration::from_secs(3600);

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
    let mut certificates = Certificates::load(context);
    loop {
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                async_io::Timer::after(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let mut admitted = match admission.enter() {
            Ok(admitted) => admitted,
            Err(refusal) => {
                tracing::warn!(%peer, %refusal, "refused a connection");
                continue;
            }
        };
        let Some(config) = certificates.current(context) else {
            continue;
        };
        let (context, program, spawner) = (Arc::clone(context), Arc::clone(&program), Arc::clone(tasks));
        tasks
            .spawn(async move {
                match accept(stream, config, &limits, &program).await {
                    Ok((connection, driver)) => {
                        if let Err(refusal) = admitted.authenticated() {
                            tracing::warn!(%peer, %refusal, "refused a connection");
                            return;
                        }
                        let requests = spawner.spawn(requests(context, connection, Arc::clone(&spawner)));
                        if let Err(error) = driver.await {
                            tracing::warn!(%peer, %error, "a connection failed");
                        }
                        requests.await;
                    }
                    Err(error) => log_refusal(peer, &error),
                }
            })
            .detach();
    }
}

fn log_refusal(peer: std::net::SocketAddr, error: &AcceptError) {
    let cause = std::error::Error::source(error)
        .map(ToString::to_string)
        .unwrap_or_default();
    tracing::warn!(%peer, %error, cause, "refused a connection");
}

async fn requests(
    context: Arc<Context>,
    connection: harness_wire::server::Connection,
    tasks: Arc<Tasks<'static>>,
) {
    while let Some(incoming) = connection.next_request().await {
        tasks
            .spawn(handlers::handle(
                Arc::clone(&context),
                incoming.request,
                incoming.responder,
            ))
            .detach();
    }
}

/// The server's certificate, renewed before it expires without a restart.
struct Certificates {
    config: Option<Arc<harness_wire::tls::ServerConfig>>,
    checked: std::time::Instant,
}

impl Certificates {
    fn load(context: &Context) -> Self {
        Self {
            config: read(context),
            checked: std::time::Instant::now(),
        }
    }

    fn current(&mut self, context: &Context) -> Option<Arc<harness_wire::tls::ServerConfig>> {
        if self.config.is_none() || self.checked.elapsed() > RENEWAL {
            *self = Self::load(context);
        }
        self.config.clone()
    }
}

fn read(context: &Context) -> Option<Arc<harness_wire::tls::ServerConfig>> {
    let config = context
        .tls
        .ensure(std::time::SystemTime::now())
        .and_then(|_| context.tls.server_config());
    config
        .inspect_err(|error| tracing::error!(%error, "no client can be let in"))
        .ok()
}
