//! The images that this machine has.

use bollard::models::ImageInspect;

use crate::engine::{Engine, EngineError};

/// Whether an image is for a platform: `linux/arm64/v8` or a part of that.
pub(crate) fn is_for(image: &ImageInspect, platform: Option<&str>) -> bool {
    let has =
        [&image.os, &image.architecture, &image.variant].map(|part| part.as_deref().unwrap_or_default());
    // Engines leave out this one variant.
    let is_implied = |part: &str| part == "v8" && has.contains(&"arm64");
    let mut parts = platform.into_iter().flat_map(|platform| platform.split('/'));
    parts.all(|part| has.contains(&part) || is_implied(part))
}

/// An image of this machine; `None` if it is not there.
pub(crate) async fn look(engine: &Engine, name: &str) -> Result<Option<ImageInspect>, EngineError> {
    let image = name.to_owned();
    let what = format!("image {name}");
    let inspected = engine.ask("look for", &what, |docker| async move {
        docker.inspect_image(&image).await
    });
    match inspected.await {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_is_for_its_platform() {
        let image = |architecture: &str| ImageInspect {
            os: Some("linux".to_owned()),
            architecture: Some(architecture.to_owned()),
            ..ImageInspect::default()
        };
        let (amd64, arm64) = (image("amd64"), image("arm64"));
        assert!(is_for(&amd64, None) && is_for(&amd64, Some("linux/amd64")) && is_for(&amd64, Some("linux")));
        assert!(!is_for(&amd64, Some("linux/arm64")) && !is_for(&amd64, Some("linux/amd64/v3")));
        assert!(is_for(&arm64, Some("linux/arm64/v8")) && !is_for(&arm64, Some("windows/arm64")));
    }
}
