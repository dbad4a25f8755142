//! Builds an image with the engine's own builder.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::path::{Path, PathBuf};

use blocking::unblock;
use bollard::query_parameters::BuildImageOptions;
use futures_lite::StreamExt;
use harness_model::WallTime;
use harness_model::spec::BuildSpec;
use harness_shim::log::{Stream, Writer};
use harness_shim::run_dir::{LOG_DIR, LogLimits};

use crate::engine::bridge;
use crate::engine::{Engine, EngineError, explained};
use crate::image::base_images;
use crate::image::context;
use crate::image::look::look;
use crate::image::progress::{Throttled, shortened};
use crate::image::wanted::Wanted;
use crate::registry::access::{self, Access, Refused};
use crate::registry::{Registry, is_refusal};
use crate::spec::text;

const DOCKERFILE: &str = "Dockerfile";

/// How much of a Dockerfile is read, in bytes.
const LARGEST_DOCKERFILE: u64 = 4 << 20;

/// How many lines of a build are kept in case it fails.
const LINES_KEPT: usize = 500;

/// Why an image could not be built.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BuildError {
    /// The context cannot be read.
    #[error("cannot build: cannot read the context {}: {source}", path.display())]
    Context { path: PathBuf, source: std::io::Error },
    /// The context has no Dockerfile.
    #[error("cannot build: there is no {dockerfile} in {}", context.display())]
    NoDockerfile { dockerfile: String, context: PathBuf },
    /// An argument contains a reference that was not resolved.
    #[error("cannot build: `{text}` is not resolved")]
    Unresolved { text: String },
    /// A step failed. Its output is in the log of the service.
    #[error("building the image failed: {message}")]
    Failed { message: String },
    /// A registry refuses an image that the build starts from.
    #[error("building the image failed: {message}; {refused}")]
    Denied { message: String, refused: Refused },
    /// The engine refuses the build.
    #[error(transparent)]
    Engine(#[from] EngineError),
}

/// Builds an image and gives it a name. If the build fails, the builder's output is kept in the log of the run.
pub(crate) async fn build(
    engine: &Engine,
    wanted: Wanted<'_>,
    spec: &BuildSpec,
    name: &str,
) -> Result<(), BuildError> {
    let dockerfile = spec.dockerfile.clone().unwrap_or_else(|| DOCKERFILE.to_owned());
    let (folder, file) = (spec.context.clone(), dockerfile.clone());
    unblock(move || is_there(&folder, &file)).await?;
    let mut args = HashMap::new();
    for (name, value) in &spec.args {
        let value = text(value).map_err(|_| BuildError::Unresolved {
            text: value.to_string(),
        })?;
        args.insert(name.clone(), value);
    }
    let options = BuildImageOptions {
        dockerfile: dockerfile.clone(),
        t: Some(name.to_owned()),
        rm: true,
        forcerm: true,
        buildargs: Some(args).filter(|args| !args.is_empty()),
        target: spec.target.clone().unwrap_or_default(),
        platform: wanted.platform().unwrap_or_default().to_owned(),
        ..BuildImageOptions::default()
    };
    let docker = engine.docker().await?;
    let mut said: VecDeque<String> = VecDeque::new();
    let mut told = Throttled::new(wanted.link);
    let shown = wanted.shown();
    told.say(|| format!("building image {shown}"));
    let accesses = accesses(engine, spec.context.join(&dockerfile)).await;
    let docker = access::for_build(docker, &accesses);
    let body = bollard::body_try_stream(context::stream(spec.context.clone(), dockerfile));
    let built: Result<(), BuildError> = bridge::within(async {
        let mut steps = std::pin::pin!(docker.build_image(options, None, Some(body)));
        while let Some(step) = steps.next().await {
            match step {
                Ok(step) => {
                    let line = step.stream.or(step.status);
                    if let Some(line) = line.as_deref().map(str::trim).filter(|line| !line.is_empty()) {
                        let doing = format!(
                            "building image {shown}: {}",
                            shortened(&wanted.secrets.hide(line))
                        );
                        // There are only a few of these lines, and each may be the last message for a long time.
                        if line.starts_with("Step ") {
                            told.say_at_once(doing);
                        } else {
                            told.say(|| doing);
                        }
                    }
                    said.extend(line);
                    if let Some(message) = step.error_detail.and_then(|error| error.message) {
                        let message = explained(&message);
                        return Err(BuildError::Failed { message });
                    }
                }
                Err(error) => match engine.error("build", name, error).await {
                    EngineError::Refused { message, .. } => return Err(BuildError::Failed { message }),
                    error => return Err(error.into()),
                },
            }
            let excess = said.len().saturating_sub(LINES_KEPT);
            said.drain(..excess);
        }
        Ok(())
    })
    .await;
    let Err(error) = built else { return Ok(()) };
    let redactor = access::redactor(&accesses);
    keep(wanted, redactor.redact(&said.into_iter().collect::<String>())).await;
    Err(match error {
        BuildError::Failed { message } => {
            let message = redactor.redact(&message);
            if accesses.is_empty() || !is_refusal(&message) {
                return Err(BuildError::Failed { message });
            }
            let refused = Refused(access::meant(accesses, &message));
            BuildError::Denied { message, refused }
        }
        error => error,
    })
}

/// The credentials for the registries of the images that the builder has to pull.
async fn accesses(engine: &Engine, dockerfile: PathBuf) -> Vec<Access> {
    // If it cannot be read, the builder reports that.
    let text = unblock(move || harness_files::read_guarded(&dockerfile, LARGEST_DOCKERFILE))
        .await
        .unwrap_or_default();
    let named = base_images::named(&String::from_utf8_lossy(&text));
    let mut registries = BTreeSet::new();
    for image in named.images {
        // If the engine does not accept the name, the builder reports that too.
        if !matches!(look(engine, &image).await, Ok(Some(_))) {
            registries.insert(Registry::of_image(&image));
        }
    }
    Access::to_all(registries, named.others, engine.docker_files()).await
}

fn is_there(context: &Path, dockerfile: &str) -> Result<(), BuildError> {
    if let Err(source) = std::fs::read_dir(context) {
        return Err(BuildError::Context {
            path: context.to_owned(),
            source,
        });
    }
    if !context.join(dockerfile).is_file() {
        return Err(BuildError::NoDockerfile {
            dockerfile: dockerfile.to_owned(),
            context: context.to_owned(),
        });
    }
    Ok(())
}

/// Puts the output of a failed build where the failure report looks for the last lines.
async fn keep(wanted: Wanted<'_>, said: String) {
    let Some(run_dir) = wanted.run_dir else { return };
    let dir = run_dir.join(LOG_DIR);
    let limits = LogLimits {
        max_size: wanted.spec.logs.max_size,
        max_files: wanted.spec.logs.max_files,
    };
    let kept = unblock(move || {
        let now = WallTime::now().0;
        let mut writer = Writer::open(dir, limits, now)?;
        writer.append(Stream::Stderr, said.as_bytes(), now);
        writer.finish(now);
        Ok::<_, harness_shim::log::LogError>(())
    });
    if let Err(error) = kept.await {
        tracing::warn!(service = %wanted.service, %error, "cannot keep the output of a build");
    }
}
