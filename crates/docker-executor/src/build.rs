//! Building an image by the engine's own builder.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::path::{Path, PathBuf};

use blocking::unblock;
use bollard::query_parameters::BuildImageOptions;
use futures_lite::StreamExt;
use harness_model::WallTime;
use harness_model::spec::BuildSpec;
use harness_shim::log::{Stream, Writer};
use harness_shim::run_dir::{LOG_DIR, LogLimits};

use crate::access::{self, Access, Refused};
use crate::base_images;
use crate::body::text;
use crate::bridge;
use crate::context;
use crate::engine::{Engine, EngineError, explained};
use crate::image::{self, Wanted};
use crate::progress::{Throttled, shortened};
use crate::registry::{Registry, is_refusal};

const DOCKERFILE: &str = "Dockerfile";

/// What of a Dockerfile is looked into, in bytes.
const LARGEST_DOCKERFILE: u64 = 4 << 20;

/// Lines of a build that are kept for the case that it fails.
const LINES_KEPT: usize = 500;

/// Why an image could not be built.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BuildError {
    /// There is no context.
    #[error("cannot build: the context {} cannot be read: {source}", path.display())]
    Context { path: PathBuf, source: std::io::Error },
    /// There is no Dockerfile in it.
    #[error("cannot build: there is no {dockerfile} in {}", context.display())]
    NoDockerfile { dockerfile: String, context: PathBuf },
    /// An argument has a reference that was not resolved.
    #[error("cannot build: `{text}` is not resolved")]
    Unresolved { text: String },
    /// A step failed. Its output stands in the log of the service.
    #[error("building the image failed: {message}")]
    Failed { message: String },
    /// A registry refuses an image that it begins with.
    #[error("building the image failed: {message}; {refused}")]
    Denied { message: String, refused: Refused },
    /// The engine refuses.
    #[error(transparent)]
    Engine(#[from] EngineError),
}

/// Builds an image and names it. What the builder says is kept in the log of the run if it fails.
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
                        // There are few of them, and what one says may be all for a long time.
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

/// What is shown to the registries of those images that the builder has to pull.
async fn accesses(engine: &Engine, dockerfile: PathBuf) -> Vec<Access> {
    // What cannot be read is the builder's to complain about.
    let text = unblock(move || harness_files::read_guarded(&dockerfile, LARGEST_DOCKERFILE))
        .await
        .unwrap_or_default();
    let named = base_images::named(&String::from_utf8_lossy(&text));
    let mut registries = BTreeSet::new();
    for image in named.images {
        // A name that the engine does not take is the builder's to complain about, too.
        if !matches!(image::look(engine, &image).await, Ok(Some(_))) {
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

/// Puts the output of a build that failed where the failure report looks for the last lines.
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
