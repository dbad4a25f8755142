//! The probe of one generation, built from its health check.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use command_executor::patience::pass;
use futures_lite::FutureExt;
use harness_model::Template;
use harness_model::spec::{self, HealthCheck};
use service_registry::address::ServiceAddresses;

use super::watch::watch_output;
use crate::executor::{Executors, Order, PlaceCommand};
use crate::health::{self, CommandAnswer, Connector, HttpProbe, ProbeConfigError, ProbeLimiter, Trust};
use crate::machine::ProbeOutcome;

/// Probes one generation.
pub(super) struct Prober {
    timeout: Duration,
    ask: Ask,
}

enum Ask {
    /// Asked anew each time: over the network, by a command, or as a program that added the probe does.
    Prober(Box<dyn health::Prober>),
    /// A line that was seen once counts as seen, even after rotation dropped it.
    Log {
        run_dir: PathBuf,
        pattern: String,
        seen: AtomicBool,
    },
    /// The health check itself cannot be used; this says why.
    Broken(String),
}

impl Prober {
    /// The probe for the generation of this order; `None` if its specification has no health check. `was_ready` says
    /// that a former daemon saw it healthy: the line that said so may have been rotated away since.
    pub(super) fn new(order: &Arc<Order>, executors: &Executors, was_ready: bool) -> Option<Self> {
        let check = order.spec.health_check.as_ref()?;
        Some(Self::of(check, order, executors, was_ready))
    }

    /// The same for a health check that does not come from the specification.
    pub(super) fn of(
        check: &HealthCheck,
        order: &Arc<Order>,
        executors: &Executors,
        was_ready: bool,
    ) -> Self {
        Self {
            timeout: check.timeout,
            ask: ask(&check.probe, &check.http, order, executors, was_ready).unwrap_or_else(Ask::Broken),
        }
    }

    /// Probes once. Probes over the network and commands share the cap. Waiting for a line costs nothing.
    pub(super) async fn probe(&self, limiter: &ProbeLimiter) -> ProbeOutcome {
        match &self.ask {
            Ask::Prober(prober) => {
                let _permit = limiter.acquire().await;
                prober.probe(self.timeout).await
            }
            Ask::Log { seen, .. } if seen.load(Ordering::Relaxed) => ProbeOutcome::Healthy,
            Ask::Log {
                run_dir,
                pattern,
                seen,
            } => {
                let found = async { watch_output(run_dir, pattern).await.then_some(()) };
                let late = async {
                    pass(self.timeout).await;
                    None
                };
                match found.or(late).await {
                    Some(()) => {
                        seen.store(true, Ordering::Relaxed);
                        ProbeOutcome::Healthy
                    }
                    None => ProbeOutcome::Unhealthy("no matching line yet".to_owned()),
                }
            }
            Ask::Broken(why) => ProbeOutcome::Unhealthy(why.clone()),
        }
    }
}

/// The probe with all that its file says of it.
fn asking(mut probe: HttpProbe, http: &spec::HttpCheck, url: &str) -> Result<HttpProbe, ProbeConfigError> {
    if let Some(method) = &http.method {
        probe = probe.method(method)?;
    }
    for (name, value) in &http.headers {
        probe = probe.header(name, &value.expose().unwrap_or_default())?;
    }
    if let Some(pattern) = &http.body {
        probe = probe.body(pattern.clone());
    }
    let trust = match &http.ca {
        _ if http.insecure => Trust::Anybody,
        Some(path) => Trust::Authorities(path.clone()),
        None => Trust::System,
    };
    // A container is reached at its address; its certificate is for the name that the file says.
    let authority = url.split_once("://").map_or("", |(_, rest)| rest);
    let authority = authority.split(['/', '?', '#']).next().unwrap_or_default();
    let host = match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|digit| digit.is_ascii_digit()) => host,
        _ => authority,
    };
    Ok(probe.status(http.status.clone()).trust(trust).certified_for(host))
}

fn ask(
    probe: &spec::Probe,
    http: &spec::HttpCheck,
    order: &Arc<Order>,
    executors: &Executors,
    was_ready: bool,
) -> Result<Ask, String> {
    let text = |t: &Template| t.expose().ok_or_else(|| format!("`{t}` is not resolved"));
    Ok(match probe {
        spec::Probe::Http(url) => {
            let written = text(url)?;
            let probe = health::http(&in_place(written.clone(), &order.own));
            let probe = probe.and_then(|probe| asking(probe, http, &written));
            let probe = probe.map_err(|error| unusable(url, &error))?;
            Ask::Prober(Box::new(probe.through(connector(order, executors)?)))
        }
        spec::Probe::Tcp(address) => {
            let probe = health::tcp(&in_place(text(address)?, &order.own));
            let probe = probe.map_err(|error| unusable(address, &error))?;
            Ask::Prober(Box::new(probe.through(connector(order, executors)?)))
        }
        spec::Probe::Command(words) => {
            let words = words.iter().map(text).collect::<Result<Vec<String>, String>>()?;
            let executor = Arc::clone(executors.of(&order.spec).map_err(|error| error.to_string())?);
            let order = Arc::clone(order);
            Ask::Prober(Box::new(health::command(
                // The probe keeps the time limit and drops the command when it is over. This limit is only a safety
                // net.
                Box::new(move |timeout| {
                    let (executor, order, words) = (Arc::clone(&executor), Arc::clone(&order), words.clone());
                    async move {
                        let limit = Box::pin(pass(timeout.saturating_mul(2)));
                        let answer = executor
                            .run(&order, &PlaceCommand::new(words), limit)
                            .await
                            .map_err(|error| order.words(&error))?;
                        match answer.exit {
                            Some(exit) => Ok(CommandAnswer {
                                exit,
                                tail: answer.tail,
                            }),
                            None => Err(format!("no answer within {}s", timeout.as_secs_f32())),
                        }
                    }
                    .boxed()
                }),
            )))
        }
        spec::Probe::Log(pattern) => Ask::Log {
            run_dir: order.run_dir.clone(),
            pattern: pattern.clone(),
            seen: AtomicBool::new(was_ready),
        },
        spec::Probe::Other { name, setting } => {
            let kind = executors.probe(name).map_err(|error| error.to_string())?;
            let prober = kind.prober(order, setting);
            Ask::Prober(prober.map_err(|error| order.words(&error))?)
        }
    })
}

/// Connects from the place of the service.
fn connector(order: &Order, executors: &Executors) -> Result<Connector, String> {
    let executor = Arc::clone(executors.of(&order.spec).map_err(|error| error.to_string())?);
    Ok(Arc::new(move |to| {
        let executor = Arc::clone(&executor);
        async move { executor.connect(to).await }.boxed()
    }))
}

/// Why a check cannot be made. The text does not show the secrets of its address.
fn unusable(address: &Template, error: &ProbeConfigError) -> String {
    if address.has_secret() {
        format!("`{address}` is not a valid health check address")
    } else {
        error.to_string()
    }
}

/// A URL or address as this machine reaches it: `localhost` of a container means the container.
fn in_place(target: String, own: &ServiceAddresses) -> String {
    if !own.place.is_apart() {
        return target;
    }
    let start = target.find("://").map_or(0, |at| at + 3);
    let (scheme, rest) = target.split_at(start);
    let local = ["localhost", "127.0.0.1", "[::1]", "0.0.0.0"]
        .into_iter()
        .find_map(|name| {
            let after = rest.strip_prefix(name)?;
            (after.is_empty() || after.starts_with([':', '/', '?'])).then_some(after)
        });
    match local {
        Some(after) => format!("{scheme}{}{after}", own.ip()),
        None => target,
    }
}
