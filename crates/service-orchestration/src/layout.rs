//! Where the folders of services are: `projects/<project>/<service>/<generation>/` below the daemon's home.

use std::path::{Path, PathBuf};

use harness_model::{ProjectName, ServiceName};

/// The folders of a daemon's services.
#[derive(Debug, Clone)]
pub struct Layout {
    projects: PathBuf,
}

impl Layout {
    /// Below this home.
    pub fn new(home: &Path) -> Self {
        Self {
            projects: home.join("projects"),
        }
    }

    /// The folder of all projects.
    pub fn projects(&self) -> &Path {
        &self.projects
    }

    /// The folder of a project.
    pub fn project(&self, project: &ProjectName) -> PathBuf {
        self.projects.join(project.as_str())
    }

    /// The folder of a service.
    pub fn service(&self, project: &ProjectName, service: &ServiceName) -> PathBuf {
        self.project(project).join(service.as_str())
    }

    /// The run directory of one generation.
    pub fn generation(&self, project: &ProjectName, service: &ServiceName, generation: u64) -> PathBuf {
        self.service(project, service).join(generation.to_string())
    }

    /// The generations of a service on disk, oldest first.
    pub fn generations(&self, project: &ProjectName, service: &ServiceName) -> Vec<u64> {
        let Ok(entries) = std::fs::read_dir(self.service(project, service)) else {
            return Vec::new();
        };
        let mut found: Vec<u64> = entries
            .flatten()
            .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
            .collect();
        found.sort_unstable();
        found
    }

    /// Removes the folders of generations before the last `keep`, but never of `current`.
    pub fn prune(&self, project: &ProjectName, service: &ServiceName, keep: usize, current: u64) {
        let generations = self.generations(project, service);
        let surplus = generations.len().saturating_sub(keep);
        for generation in generations.into_iter().take(surplus).filter(|g| *g != current) {
            let path = self.generation(project, service, generation);
            if let Err(error) = std::fs::remove_dir_all(&path) {
                tracing::warn!(path = %path.display(), %error, "cannot remove an old run directory");
            }
        }
    }

    /// Removes the folder of a service that is forgotten.
    pub fn remove_service(&self, project: &ProjectName, service: &ServiceName) {
        let path = self.service(project, service);
        match std::fs::remove_dir_all(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                tracing::warn!(path = %path.display(), %error, "cannot remove a service's folder");
            }
            _ => {}
        }
    }
}
