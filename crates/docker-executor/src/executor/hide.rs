//! An engine's message may repeat what it was told, including secrets. Only the engine's own text is searched for
//! them.

use std::error::Error;

use service_orchestration::executor::LaunchError;
use service_orchestration::secrets::Secrets;

use crate::engine::EngineError;
use crate::executor::error::ContainerError;
use crate::image::ImageError;
use crate::image::build::BuildError;
use crate::network::NetworkError;

/// An error that may quote an engine.
trait Quotes: Error + Send + Sync + 'static {
    /// Hides secrets in the quoted text.
    fn hide(&mut self, secrets: &Secrets);
}

/// An error of a launch, without the secrets that the engine repeats in it.
pub(crate) fn hide(secrets: &Secrets, error: LaunchError) -> LaunchError {
    let LaunchError::Place(place) = error else {
        return error;
    };
    let hidden = hidden::<EngineError>(place, secrets)
        .or_else(|place| hidden::<ContainerError>(place, secrets))
        .or_else(|place| hidden::<ImageError>(place, secrets))
        .or_else(|place| hidden::<BuildError>(place, secrets))
        .or_else(|place| hidden::<NetworkError>(place, secrets));
    LaunchError::Place(hidden.unwrap_or_else(|place| place))
}

type Place = Box<dyn Error + Send + Sync>;

/// Hides the secrets if the error has this type, or else returns it unchanged.
fn hidden<E: Quotes>(place: Place, secrets: &Secrets) -> Result<Place, Place> {
    place.downcast::<E>().map(|mut error| {
        error.hide(secrets);
        error as Place
    })
}

impl Quotes for EngineError {
    fn hide(&mut self, secrets: &Secrets) {
        if let Self::Refused { message, .. } = self {
            *message = secrets.hide(message);
        }
    }
}

impl Quotes for ContainerError {
    fn hide(&mut self, secrets: &Secrets) {
        if let Self::Engine(error) = self {
            error.hide(secrets);
        }
    }
}

impl Quotes for ImageError {
    fn hide(&mut self, secrets: &Secrets) {
        match self {
            Self::NotPulled { message, .. } | Self::Denied { message, .. } => {
                *message = secrets.hide(message);
            }
            Self::Build(error) => error.hide(secrets),
            Self::Engine(error) => error.hide(secrets),
            Self::NotHere { .. } => {}
        }
    }
}

impl Quotes for BuildError {
    fn hide(&mut self, secrets: &Secrets) {
        match self {
            Self::Failed { message } | Self::Denied { message, .. } => *message = secrets.hide(message),
            Self::Engine(error) => error.hide(secrets),
            Self::Context { .. } | Self::NoDockerfile { .. } | Self::Unresolved { .. } => {}
        }
    }
}

impl Quotes for NetworkError {
    fn hide(&mut self, secrets: &Secrets) {
        match self {
            Self::Overlaps { message, .. } => *message = secrets.hide(message),
            Self::Engine(error) => error.hide(secrets),
            _ => {}
        }
    }
}
