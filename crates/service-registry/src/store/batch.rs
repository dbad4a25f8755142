//! What to write next: the newest value of every key.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;

use harness_model::{ProjectName, ServiceName};

use crate::record::{ProjectRecord, ServiceRecord};

/// What to do for one service.
#[derive(Debug, Clone)]
pub(super) enum Write {
    /// Write its status, and also its spec if that has changed.
    Put { record: Arc<ServiceRecord>, spec: bool },
    /// Forget it.
    Remove {
        project: ProjectName,
        service: ServiceName,
    },
}

impl Write {
    pub(super) fn key(&self) -> (ProjectName, ServiceName) {
        match self {
            Self::Put { record, .. } => (record.project.clone(), record.name.clone()),
            Self::Remove { project, service } => (project.clone(), service.clone()),
        }
    }

    /// Combines this with `earlier`, which comes first and has not been written.
    fn after(self, earlier: &Self) -> Self {
        match self {
            // The file's data of a service that is to be removed is not what the new one needs.
            Self::Put { record, spec } => Self::Put {
                record,
                spec: spec || matches!(earlier, Self::Put { spec: true, .. } | Self::Remove { .. }),
            },
            remove @ Self::Remove { .. } => remove,
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct Batch {
    /// `None` means that the project is to be forgotten.
    pub(super) projects: BTreeMap<ProjectName, Option<Arc<ProjectRecord>>>,
    pub(super) services: BTreeMap<(ProjectName, ServiceName), Write>,
}

impl Batch {
    pub(super) fn is_empty(&self) -> bool {
        self.projects.is_empty() && self.services.is_empty()
    }

    pub(super) fn project(&mut self, name: ProjectName, record: Option<Arc<ProjectRecord>>) {
        self.projects.insert(name, record);
    }

    pub(super) fn service(&mut self, write: Write) {
        match self.services.entry(write.key()) {
            Entry::Vacant(entry) => {
                entry.insert(write);
            }
            Entry::Occupied(mut entry) => {
                let write = write.after(entry.get());
                entry.insert(write);
            }
        }
    }

    /// Puts back a batch that could not be written. What was submitted since then takes precedence.
    pub(super) fn put_back(&mut self, earlier: Self) {
        let newer = std::mem::replace(self, earlier);
        self.projects.extend(newer.projects);
        for write in newer.services.into_values() {
            self.service(write);
        }
    }
}
