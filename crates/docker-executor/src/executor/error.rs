//! Why a container could not be launched.

use harness_shim::run_dir::RunDirError;
use service_orchestration::executor::LaunchError;

use crate::engine::EngineError;

/// Why a container could not be launched.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ContainerError {
    /// A container that does not belong to us has the name.
    #[error(
        "container `{name}` exists and does not belong to this project ({whose}): remove it (docker rm {name}), or \
         give the project another name"
    )]
    NameTaken { name: String, whose: String },
    /// The run directory cannot be used.
    #[error("cannot prepare its run directory: {source}")]
    RunDir { source: RunDirError },
    /// The container cannot be recorded.
    #[error("cannot record container {name}: {source}")]
    Record { name: String, source: std::io::Error },
    /// The engine refuses the request.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// It was stopped before its image arrived.
    #[error("it was stopped before its image arrived")]
    GivenUp,
    /// It is not running, so nothing can run in it.
    #[error("its container is not running")]
    NotRunning,
}

impl From<ContainerError> for LaunchError {
    fn from(error: ContainerError) -> Self {
        Self::Place(Box::new(error))
    }
}
