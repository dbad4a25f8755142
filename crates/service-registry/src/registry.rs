//! Joins records, store and changes: one place that knows what runs where.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use harness_model::{ProjectName, ProjectSpec, ServiceName};

use crate::address::{
    self, AddressError, FreePorts, Holder, PlanWants, PortAssignment, ServiceAddresses, Taken, Wants,
};
use crate::changes::{ChangeKind, Changes};
use crate::network;
use crate::record::{ProjectRecord, ServiceRecord};
use crate::store::{Store, StoreError};

/// Knows what runs where. Clones share it. Reading never waits for the disk.
///
/// What is written is visible to readers and subscribers at once, and reaches the disk soon after that.
/// [`Registry::flush`] waits until it has.
#[derive(Clone)]
pub struct Registry {
    shared: Arc<Shared>,
}

struct Shared {
    /// Held while a record, its entry in the store's queue and its change are written, so that all three are in the
    /// same order.
    memory: RwLock<Memory>,
    free_ports: Mutex<FreePorts>,
    store: Store,
    changes: Changes,
}

#[derive(Default)]
struct Memory {
    projects: BTreeMap<ProjectName, Arc<ProjectRecord>>,
    services: BTreeMap<ProjectName, BTreeMap<ServiceName, Arc<ServiceRecord>>>,
    /// See [`Registry::spec_revision`].
    spec_revision: u64,
}

/// The result of opening a registry.
pub struct Opened {
    /// The registry.
    pub registry: Registry,
    /// The new path of a damaged store. The registry then started empty.
    pub set_aside: Option<PathBuf>,
}

impl Registry {
    /// Opens the registry in the file at `path`, and creates the file if it does not exist.
    ///
    /// # Errors
    /// When the file cannot be opened, is in use, or was written by a newer version.
    pub async fn open(path: impl AsRef<Path>) -> Result<Opened, StoreError> {
        let path = path.as_ref().to_owned();
        blocking::unblock(move || Self::open_blocking(&path)).await
    }

    fn open_blocking(path: &Path) -> Result<Opened, StoreError> {
        let opened = Store::open(path)?;
        let mut memory = Memory::default();
        for project in opened.contents.projects {
            memory.projects.insert(project.name.clone(), Arc::new(project));
        }
        for service in opened.contents.services {
            let services = memory.services.entry(service.project.clone()).or_default();
            services.insert(service.name.clone(), Arc::new(service));
        }
        let shared = Shared {
            memory: RwLock::new(memory),
            free_ports: Mutex::default(),
            store: opened.store,
            changes: Changes::new(),
        };
        Ok(Opened {
            registry: Self {
                shared: Arc::new(shared),
            },
            set_aside: opened.set_aside,
        })
    }

    // A poisoned lock means that a reader or writer panicked. The last step of every writer under the lock is the one
    // that makes its record visible, so the data is valid.
    fn read(&self) -> RwLockReadGuard<'_, Memory> {
        self.shared.memory.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Memory> {
        self.shared.memory.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Every project, by name.
    pub fn projects(&self) -> Vec<Arc<ProjectRecord>> {
        self.read().projects.values().cloned().collect()
    }

    /// One project.
    pub fn project(&self, name: &ProjectName) -> Option<Arc<ProjectRecord>> {
        self.read().projects.get(name).cloned()
    }

    /// Every service of a project, by name.
    pub fn services(&self, project: &ProjectName) -> Vec<Arc<ServiceRecord>> {
        self.read()
            .services
            .get(project)
            .map(|s| s.values().cloned().collect())
            .unwrap_or_default()
    }

    /// One service.
    pub fn service(&self, project: &ProjectName, service: &ServiceName) -> Option<Arc<ServiceRecord>> {
        self.read().services.get(project)?.get(service).cloned()
    }

    /// Rises whenever a project or service is added or removed, or when more than its status changes (spec, environment,
    /// addresses, retired secrets). Until then, anything that was derived only from those stays valid.
    pub fn spec_revision(&self) -> u64 {
        self.read().spec_revision
    }

    /// Adds a project, or replaces its record.
    pub fn upsert_project(&self, record: ProjectRecord, message: impl Into<String>) -> Arc<ProjectRecord> {
        let record = Arc::new(record);
        let mut memory = self.write();
        self.shared.store.put_project(Arc::clone(&record));
        self.shared
            .changes
            .publish(record.name.clone(), None, ChangeKind::Project, message, None);
        memory.spec_revision += 1;
        memory.projects.insert(record.name.clone(), Arc::clone(&record));
        record
    }

    /// Adds a service, or replaces its record.
    pub fn upsert_service(
        &self,
        mut record: ServiceRecord,
        kind: ChangeKind,
        message: impl Into<String>,
    ) -> Arc<ServiceRecord> {
        let mut memory = self.write();
        let Memory {
            services,
            spec_revision,
            ..
        } = &mut *memory;
        let services = services.entry(record.project.clone()).or_default();
        let same_spec = services
            .get(&record.name)
            .is_some_and(|earlier| share(earlier, &mut record));
        let record = Arc::new(record);
        *spec_revision += u64::from(!same_spec);
        if same_spec {
            self.shared.store.put_status(Arc::clone(&record));
        } else {
            self.shared.store.put_service(Arc::clone(&record));
        }
        let (project, service) = (record.project.clone(), Some(record.name.clone()));
        self.shared
            .changes
            .publish(project, service, kind, message, Some(Arc::clone(&record)));
        services.insert(record.name.clone(), Arc::clone(&record));
        record
    }

    /// Forgets a service. Returns its record, if it was known.
    pub fn remove_service(
        &self,
        project: &ProjectName,
        service: &ServiceName,
        message: impl Into<String>,
    ) -> Option<Arc<ServiceRecord>> {
        let mut memory = self.write();
        let removed = memory.services.get_mut(project)?.remove(service)?;
        memory.spec_revision += 1;
        self.forget(&removed, message.into());
        Some(removed)
    }

    /// Forgets a project and its services. Returns its record, if it was known.
    pub fn remove_project(
        &self,
        project: &ProjectName,
        message: impl Into<String>,
    ) -> Option<Arc<ProjectRecord>> {
        let mut memory = self.write();
        memory.spec_revision += 1;
        for service in memory.services.remove(project).unwrap_or_default().into_values() {
            self.forget(&service, "its project was removed".to_owned());
        }
        let removed = memory.projects.remove(project)?;
        self.shared.store.remove_project(project.clone());
        self.shared
            .changes
            .publish(project.clone(), None, ChangeKind::Project, message, None);
        Some(removed)
    }

    fn forget(&self, record: &Arc<ServiceRecord>, message: String) {
        let (project, service) = (record.project.clone(), record.name.clone());
        self.shared.store.remove_service(project.clone(), service.clone());
        let snapshot = Some(Arc::clone(record));
        self.shared
            .changes
            .publish(project, Some(service), ChangeKind::Removed, message, snapshot);
    }

    /// What is occupied by every service that is not part of `project` as it is now: those of other projects, and its
    /// own services that are no longer in it. Of the latter, only those in `staying` count if it is given, because
    /// the others are about to be stopped. For containers, this includes what this machine reaches.
    fn taken(
        &self,
        project: &ProjectSpec,
        wants: &PlanWants,
        staying: Option<&BTreeSet<ServiceName>>,
    ) -> Taken {
        let memory = self.read();
        let mut taken = Taken::default();
        for record in memory.services.values().flat_map(BTreeMap::values) {
            let own = record.project == project.name;
            let goes = staying.is_some_and(|staying| !staying.contains(&record.name));
            if own && (goes || project.services.contains_key(&record.name)) {
                continue;
            }
            let holder = Holder {
                project: record.project.clone(),
                service: record.name.clone(),
                is_no_longer_in_file: own && !project.unchosen.contains_key(&record.name),
            };
            taken.add(holder, record.state.is_live(), record.addresses.clone());
        }
        drop(memory);
        if wants.values().any(|wants| matches!(wants, Wants::Container(_))) {
            match network::detect() {
                Ok(topology) => taken.add_reached(&topology),
                Err(error) => tracing::debug!(%error, "cannot list the networks of this machine"),
            }
        }
        taken
    }

    /// Addresses for a whole plan ([`address::assign`]). They keep what its services have, and avoid what every other
    /// service has, including services of the project that are no longer in its file. If a port was chosen for a
    /// service that is down now, and a foreign program has taken it meanwhile, another port is chosen.
    ///
    /// Asks the system for free ports. This takes microseconds and never waits.
    ///
    /// # Errors
    /// The same as [`address::assign`].
    pub fn assign_addresses(
        &self,
        project: &ProjectSpec,
        wants: &PlanWants,
    ) -> Result<BTreeMap<ServiceName, ServiceAddresses>, AddressError> {
        self.assign(project, wants, &self.taken(project, wants, None))
    }

    /// The same for a plan that first stops the services that are no longer in the file, except those in `staying`.
    /// The plan may take over the ports and addresses of the stopped ones.
    ///
    /// # Errors
    /// The same as [`address::assign`].
    pub fn assign_addresses_pruning(
        &self,
        project: &ProjectSpec,
        wants: &PlanWants,
        staying: &BTreeSet<ServiceName>,
    ) -> Result<BTreeMap<ServiceName, ServiceAddresses>, AddressError> {
        self.assign(project, wants, &self.taken(project, wants, Some(staying)))
    }

    fn assign(
        &self,
        project: &ProjectSpec,
        wants: &PlanWants,
        taken: &Taken,
    ) -> Result<BTreeMap<ServiceName, ServiceAddresses>, AddressError> {
        let mut previous = BTreeMap::new();
        for record in self.services(&project.name) {
            let mut addresses = record.addresses.clone();
            if !record.state.is_live() {
                let kept =
                    |p: &PortAssignment| !p.dynamic || FreePorts::is_free(p.host_ip, p.port, p.protocol);
                addresses.ports.retain(kept);
            }
            previous.insert(record.name.clone(), addresses);
        }
        // Take this lock last: whoever holds it does not wait for another lock.
        let mut free_ports = self
            .shared
            .free_ports
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        address::assign(project, wants, &previous, taken, &mut |ip, protocol| {
            free_ports.take(ip, protocol)
        })
    }

    /// Waits until everything written before this call is on the disk.
    ///
    /// # Errors
    /// When writing failed. Nothing is lost: the data stays in memory, and the next write tries again.
    pub async fn flush(&self) -> Result<(), StoreError> {
        self.shared.store.flush().await
    }

    /// Writes what is pending and closes the store, even if others still hold the registry. This is for the end of a
    /// program. What is written later is not kept.
    ///
    /// # Errors
    /// When the last write failed. Then its data is lost when the program ends.
    pub async fn close(&self) -> Result<(), StoreError> {
        let registry = self.clone();
        blocking::unblock(move || registry.shared.store.close()).await;
        self.last_error().map_or(Ok(()), Err)
    }

    /// Why the last attempt to write to the disk failed; `None` if it succeeded.
    pub fn last_error(&self) -> Option<StoreError> {
        self.shared.store.last_error()
    }

    /// The changes: to follow them, and to publish one that is not a change of a record.
    pub fn changes(&self) -> &Changes {
        &self.shared.changes
    }
}

/// Lets the new record share the large parts of the earlier one if they are equal. Returns whether everything that
/// the store keeps with the spec is equal.
fn share(earlier: &ServiceRecord, record: &mut ServiceRecord) -> bool {
    let mut same = earlier.digest == record.digest
        && earlier.addresses == record.addresses
        && earlier.dependency_addresses == record.dependency_addresses
        && earlier.retired_secrets == record.retired_secrets;
    if *earlier.spec == *record.spec {
        record.spec = Arc::clone(&earlier.spec);
    } else {
        same = false;
    }
    if *earlier.environment == *record.environment {
        record.environment = Arc::clone(&earlier.environment);
    } else {
        same = false;
    }
    same
}
