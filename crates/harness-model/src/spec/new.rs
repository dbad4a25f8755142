//! Specifications with defaults only, as a file without any optional keys would give.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use super::{
    Hooks, InheritEnv, Kind, Limits, LogLimits, NamedBy, NetworkKind, NetworkSpec, Place, ProcessSpec,
    ProjectSpec, RestartPolicy, ServiceSpec, Signal, StopMode,
};
use crate::names::{NetworkName, ProjectName};
use crate::template::Template;

impl ServiceSpec {
    /// How long a service may take to be ready.
    pub const STARTUP_TIMEOUT: Duration = Duration::from_secs(60);

    /// How long a service may take to end.
    pub const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(10);

    /// A service of this kind on the network `local`, with nothing special about it.
    pub fn new(kind: Kind) -> Self {
        let stop_signal = match kind {
            // Its image may set one.
            Kind::Container(_) => None,
            Kind::Process(_) | Kind::Package(_) | Kind::Other { .. } => Some(Signal::default()),
        };
        Self {
            kind,
            network: NetworkName::local(),
            place: Place::Here,
            env: BTreeMap::new(),
            inherit_env: InheritEnv::default(),
            umask: None,
            files: Vec::new(),
            ports: Vec::new(),
            dependencies: Vec::new(),
            health_check: None,
            startup_timeout: Self::STARTUP_TIMEOUT,
            shutdown_timeout: Self::SHUTDOWN_TIMEOUT,
            stop_signal,
            stop_mode: StopMode::default(),
            stdin: false,
            tty: false,
            restart: RestartPolicy::default(),
            oneshot: false,
            profiles: BTreeSet::new(),
            logs: LogLimits::default(),
            hooks: Hooks::default(),
        }
    }

    /// A process on this machine.
    ///
    /// ```
    /// use harness_model::ServiceSpec;
    ///
    /// let sleeper = ServiceSpec::process("sleep", ["1000"]);
    /// assert_eq!(sleeper.type_name(), "process");
    /// ```
    pub fn process<A: Into<Template>>(
        binary: impl Into<Template>,
        args: impl IntoIterator<Item = A>,
    ) -> Self {
        Self::new(Kind::Process(ProcessSpec {
            binary: binary.into(),
            args: args.into_iter().map(Into::into).collect(),
            working_dir: None,
            user: None,
            limits: Limits::default(),
        }))
    }
}

impl NetworkSpec {
    /// This machine: the network `local` as it is without a file that describes it.
    pub fn local() -> Self {
        Self {
            kind: NetworkKind::Local,
            subnet: None,
            config_path: None,
            nodes: Vec::new(),
        }
    }
}

impl ProjectSpec {
    /// A project without services, on the network `local`. `source` identifies it together with its name; both paths
    /// are absolute.
    pub fn new(name: ProjectName, source: PathBuf, base_dir: PathBuf) -> Self {
        Self {
            name,
            description: None,
            source,
            read_from: BTreeSet::new(),
            base_dir,
            secrets: BTreeSet::new(),
            networks: BTreeMap::from([(NetworkName::local(), NetworkSpec::local())]),
            services: BTreeMap::new(),
            groups: BTreeMap::new(),
            unchosen: BTreeMap::new(),
            files: Vec::new(),
            named_by: NamedBy::File,
        }
    }
}
