//! The networks of a project's containers. They are made with the first container and removed with the last.

pub(crate) mod membership;

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Weak};
use std::time::Duration;

use async_io::Timer;
use async_lock::{Mutex, RwLock, RwLockReadGuardArc};
use bollard::models::{Ipam, IpamConfig, NetworkCreateRequest};
use bollard::query_parameters::{ListContainersOptions, ListNetworksOptions};
use harness_model::Subnet;
use harness_model::{NetworkName, ProjectName};
use service_orchestration::executor::{LaunchError, Order};
use service_registry::address::Attached;

use crate::engine::{Engine, EngineError};
use crate::labels::{self, Owner};
use crate::network::membership::Membership;

/// How many times to try to make a network while something else has its name or addresses, or to remove one; and the
/// pause in between.
const ATTEMPTS: u32 = 15;
const AGAIN: Duration = Duration::from_millis(200);

/// Why a container has no network.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NetworkError {
    /// The network is external, and it does not exist.
    #[error("the external network `{name}` does not exist: create it (docker network create {name})")]
    NotThere { name: String },
    /// The order has no address on a network of containers.
    #[error("the service has no address on a container network")]
    NoAddress,
    /// A network that does not belong to us has the name.
    #[error(
        "network `{name}` exists and does not belong to this project: remove it (docker network rm {name}), or give \
         the project another name"
    )]
    Foreign { name: String },
    /// It was made with another subnet, and containers are on it.
    #[error(
        "network `{name}` has the subnet {found} instead of {wanted}, and containers are on it: stop the project first"
    )]
    OtherSubnet {
        name: String,
        found: String,
        wanted: String,
    },
    /// The addresses are taken.
    #[error(
        "the subnet {subnet} of network `{name}` is used by something else ({message}): give it another `subnet`"
    )]
    Overlaps {
        name: String,
        subnet: String,
        message: String,
    },
    /// The engine refuses the request.
    #[error(transparent)]
    Engine(#[from] EngineError),
}

impl From<NetworkError> for LaunchError {
    fn from(error: NetworkError) -> Self {
        Self::Place(Box::new(error))
    }
}

/// The networks of a daemon's projects. A network is not removed while a container is being connected to it.
#[derive(Debug, Default)]
pub(crate) struct Networks {
    /// One lock for each project: launches share it, and a removal holds it alone.
    used: Mutex<HashMap<ProjectName, Arc<RwLock<()>>>>,
    /// The networks that current launches have made or found. Of containers that start together, only one asks the
    /// engine.
    made: Mutex<HashMap<String, Weak<Made>>>,
    /// When containers end together, the last one to look finds no other.
    removing: Mutex<()>,
}

/// Networks that stay while a container is being started.
pub(crate) struct Held {
    /// How the container is connected to each of them, the first one first.
    pub(crate) memberships: Vec<Membership>,
    // Dropped before the guard, so before a removal may begin.
    _there: Vec<Arc<Made>>,
    _guard: RwLockReadGuardArc<()>,
}

/// A network as a launch needs it.
#[derive(Debug, PartialEq, Eq)]
struct Made {
    project: ProjectName,
    own: Option<(NetworkName, Subnet, IpAddr)>,
}

impl Made {
    fn of(order: &Order, membership: &Membership) -> Self {
        let own = membership.own.as_ref();
        Self {
            project: order.project.clone(),
            own: own.map(|own| (own.network.clone(), own.subnet, own.gateway)),
        }
    }
}

impl Networks {
    /// The networks of an order. They are made if they do not exist.
    pub(crate) async fn ensure(
        &self,
        engine: &Engine,
        owner: &Owner,
        order: &Order,
    ) -> Result<Held, NetworkError> {
        let memberships = membership::of(order);
        if memberships.is_empty() {
            return Err(NetworkError::NoAddress);
        }
        let guard = self.used(&order.project).await.read_arc().await;
        let mut made = self.made.lock().await;
        let mut there = Vec::with_capacity(memberships.len());
        for membership in &memberships {
            let name = &membership.engine_name;
            let wanted = Made::of(order, membership);
            let known = made.get(name).and_then(Weak::upgrade);
            if let Some(known) = known.filter(|known| **known == wanted) {
                there.push(known);
                continue;
            }
            match &membership.own {
                Some(own) => make(engine, owner, order, name, own).await?,
                None if find(engine, name).await?.is_some() => {}
                None => return Err(NetworkError::NotThere { name: name.clone() }),
            }
            let wanted = Arc::new(wanted);
            made.insert(name.clone(), Arc::downgrade(&wanted));
            there.push(wanted);
        }
        made.retain(|_, made| made.strong_count() > 0);
        Ok(Held {
            memberships,
            _there: there,
            _guard: guard,
        })
    }

    async fn used(&self, project: &ProjectName) -> Arc<RwLock<()>> {
        let mut used = self.used.lock().await;
        Arc::clone(used.entry(project.clone()).or_default())
    }

    /// Removes the networks of a project that has no more containers. An engine may still count containers that are
    /// gone, so this tries again for a while if the engine refuses.
    pub(crate) async fn remove_unused(&self, engine: &Engine, owner: &Owner, project: &ProjectName) {
        for attempt in 1..=ATTEMPTS {
            match self.try_to_remove(engine, owner, project).await {
                Ok(()) => return,
                Err(error) if error.is_answer() && attempt < ATTEMPTS => Timer::after(AGAIN).await,
                Err(error) => {
                    tracing::warn!(
                        %project,
                        %error,
                        "cannot remove the network of a project; if no container is on it, the engine has miscounted and \
                         needs a restart"
                    );
                    return;
                }
            };
        }
    }

    async fn try_to_remove(
        &self,
        engine: &Engine,
        owner: &Owner,
        project: &ProjectName,
    ) -> Result<(), EngineError> {
        let _turn = self.removing.lock().await;
        // A container that is just starting needs it. That container looks again when it ends.
        let used = self.used(project).await;
        let Some(_alone) = used.try_write() else {
            return Ok(());
        };
        remove_unused(engine, &owner.of_project(project)).await
    }
}

/// Makes a network of a project if it does not exist.
async fn make(
    engine: &Engine,
    owner: &Owner,
    order: &Order,
    name: &str,
    own: &Attached,
) -> Result<(), NetworkError> {
    let mut owned = owner.of_project(&order.project);
    owned.insert(labels::NETWORK.to_owned(), own.network.as_str().to_owned());
    let wanted = own.subnet.to_string();
    let request = NetworkCreateRequest {
        name: name.to_owned(),
        driver: Some("bridge".to_owned()),
        ipam: Some(Ipam {
            config: Some(vec![IpamConfig {
                subnet: Some(wanted.clone()),
                gateway: Some(own.gateway.to_string()),
                ..IpamConfig::default()
            }]),
            ..Ipam::default()
        }),
        labels: Some(owned.clone()),
        ..NetworkCreateRequest::default()
    };
    let what = format!("network {name}");
    let foreign = || NetworkError::Foreign {
        name: name.to_owned(),
    };
    for attempt in 1..=ATTEMPTS {
        if let Some((id, theirs, found)) = find(engine, name).await? {
            if !labels::has(Some(&theirs), &owned) {
                return Err(foreign());
            }
            if found.as_deref() == Some(&wanted) {
                return Ok(());
            }
            let removed = engine.ask("remove", &what, |docker| async move {
                docker.remove_network(&id).await
            });
            match removed.await {
                Ok(()) => {}
                Err(error) if error.is_not_found() => {}
                Err(error) if error.is_answer() => {
                    let found = found.unwrap_or_default();
                    return Err(NetworkError::OtherSubnet {
                        name: name.to_owned(),
                        found,
                        wanted,
                    });
                }
                Err(error) => return Err(error.into()),
            }
        }
        let create = request.clone();
        let made = engine.ask("create", &what, |docker| async move {
            docker.create_network(create).await
        });
        match made.await {
            Ok(_) => return Ok(()),
            Err(error) if error.is_conflict() => {}
            // The last request of a killed daemon may still be going on in the engine.
            Err(EngineError::Refused { message, .. })
                if message.contains("overlap") && attempt < ATTEMPTS =>
            {
                tracing::debug!(
                    network = name,
                    message,
                    "the subnet of a network is taken, looking again"
                );
                Timer::after(AGAIN).await;
            }
            Err(EngineError::Refused { message, .. }) if message.contains("overlap") => {
                return Err(NetworkError::Overlaps {
                    name: name.to_owned(),
                    subnet: wanted,
                    message,
                });
            }
            Err(error) => return Err(error.into()),
        }
    }
    Err(foreign())
}

async fn remove_unused(engine: &Engine, owned: &HashMap<String, String>) -> Result<(), EngineError> {
    let filters = Some(labels::filter(owned));
    let containers = ListContainersOptions {
        all: true,
        filters: filters.clone(),
        ..ListContainersOptions::default()
    };
    let left = engine
        .ask("list", "containers", |docker| async move {
            docker.list_containers(Some(containers)).await
        })
        .await?;
    if !left.is_empty() {
        return Ok(());
    }
    let networks = engine
        .ask("list", "networks", |docker| async move {
            docker.list_networks(Some(ListNetworksOptions { filters })).await
        })
        .await?;
    for network in networks {
        let Some(id) = network.id else { continue };
        let what = format!("network {}", network.name.unwrap_or_default());
        let removed = engine.ask("remove", &what, |docker| async move {
            docker.remove_network(&id).await
        });
        match removed.await {
            Err(error) if !error.is_not_found() => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

type Found = (String, HashMap<String, String>, Option<String>);

/// The network with this name: its id, labels and subnet.
async fn find(engine: &Engine, name: &str) -> Result<Option<Found>, EngineError> {
    let filters = HashMap::from([("name".to_owned(), vec![name.to_owned()])]);
    let networks = engine
        .ask("list", "networks", |docker| async move {
            let options = ListNetworksOptions {
                filters: Some(filters),
            };
            docker.list_networks(Some(options)).await
        })
        .await?;
    // The filter also matches parts of names.
    let network = networks
        .into_iter()
        .find(|network| network.name.as_deref() == Some(name));
    Ok(network.and_then(|network| {
        let subnet = network
            .ipam
            .and_then(|ipam| ipam.config?.into_iter().next()?.subnet);
        Some((network.id?, network.labels.unwrap_or_default(), subnet))
    }))
}
