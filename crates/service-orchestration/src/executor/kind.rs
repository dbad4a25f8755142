//! What the house asks of a kind of service, wherever it runs: what is checked, which addresses it wants, how it is
//! described, what its image or package declares, what it keeps. Nobody else looks into a kind.

use async_trait::async_trait;
use harness_model::{ProjectName, ServiceName, ServiceSpec, Template};
use service_registry::address::Wants;

use super::{LaunchError, LaunchLink};
use crate::secrets::Secrets;

/// What a service is, in words. Secrets are hidden.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Description {
    /// What runs: program and arguments, image and command; empty if there is nothing of that sort.
    pub command: String,
    /// The folder it runs in.
    pub working_dir: Option<String>,
    /// What else there is to say, each with a label of a word or two.
    pub more: Vec<(String, String)>,
}

impl Description {
    /// A description of this command and folder.
    pub fn of<'a>(words: impl IntoIterator<Item = &'a Template>, working_dir: Option<&Template>) -> Self {
        let words: Vec<String> = words.into_iter().map(Template::to_string).collect();
        Self {
            command: words.join(" "),
            working_dir: working_dir.map(Template::to_string),
            more: Vec::new(),
        }
    }
}

/// What the specification of a service leaves to its image or package.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LeftOpen {
    /// Its ports, if the file gives none.
    pub ports: bool,
    /// How long its start may take: as long as the health check needs that its image or package declares.
    pub startup: bool,
}

/// What the house asks of the kinds of one executor.
#[async_trait]
pub trait KindOf: Send + Sync {
    /// The types it runs, as written after `type:`.
    fn types(&self) -> &'static [&'static str];
    /// Refuses what it cannot do for a service, before anything is changed.
    ///
    /// # Errors
    /// When it cannot do something; the error names the first such key.
    fn check(&self, _spec: &ServiceSpec) -> Result<(), LaunchError> {
        Ok(())
    }
    /// The addresses that a service wants. There is no default: a kind that does not say it would be left out.
    fn wants(&self, spec: &ServiceSpec) -> Wants;
    /// How `service show` describes a service.
    fn describe(&self, spec: &ServiceSpec) -> Description;
    /// What the specification of a service leaves to its image or package.
    fn left_open(&self, _spec: &ServiceSpec) -> LeftOpen {
        LeftOpen::default()
    }
    /// The ports that the service's image or package declares, each once. With a link, what is missing is fetched or
    /// built. The progress of that goes to the link, and dropping the future ends it. `secrets` are hidden in what
    /// other programs say. Asked only if [`Self::left_open`] says so.
    ///
    /// # Errors
    /// When the ports cannot be found out.
    async fn declared_ports(
        &self,
        _project: &ProjectName,
        _service: &ServiceName,
        _spec: &ServiceSpec,
        _secrets: &Secrets,
        _fetch: Option<&LaunchLink>,
    ) -> Result<Vec<u16>, LaunchError> {
        Ok(Vec::new())
    }
    /// Removes what the services of a project keep after they end, such as the named volumes of containers. Returns the
    /// names of what was removed. Nothing of the project may run meanwhile.
    ///
    /// # Errors
    /// When something of it cannot be removed.
    async fn remove_kept(&self, _project: &ProjectName) -> Result<Vec<String>, LaunchError> {
        Ok(Vec::new())
    }
}
