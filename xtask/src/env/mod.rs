//! `env`: provides a Docker engine and images for the tests of containers, if there is no engine and no registry can
//! be reached. `docker-test-env/README.md` describes it from outside.
//!
//! ```text
//! up:   lock -> an engine that answers, or packages -> dockerd -> it answers -> images that are missing or stale
//! down: lock -> no tests use it -> remove what is on it -> end it if it is ours -> the machine as before
//! ```

mod before;
mod digest;
mod docker;
mod engine;
mod error;
mod firewall;
mod images;
pub(crate) mod isolated;
mod lock;
mod packages;
mod places;
mod sources;
mod status;
mod storage;
mod sweep;

use std::fs;
use std::path::Path;

use clap::Subcommand;

use self::engine::Engine;
pub(crate) use self::error::EnvError;
use self::firewall::Firewall;
use self::lock::{Changing, Using};
use self::places::Places;
use crate::error::TaskError;
use crate::program::Program;
use crate::root;

/// What to do.
#[derive(Subcommand)]
pub(crate) enum Action {
    /// Start an engine if none answers, and build the images that it lacks
    Up {
        /// Only these images; by default all
        #[arg(value_name = "IMAGE", value_parser = clap::builder::PossibleValuesParser::new(images::names()))]
        images: Vec<String>,
    },
    /// Remove what tests left on the engine, and end it if `up` or the tests started it
    Down {
        /// Also remove the images and what was cached to build them
        #[arg(long)]
        all: bool,
    },
    /// Show what runs, where, and which images there are
    Status,
}

/// Carries out the action.
///
/// # Errors
/// When that fails.
pub(crate) fn run(action: &Action) -> Result<(), TaskError> {
    let places = Places::here();
    match action {
        Action::Up { images } => by_hand(&places, images)?,
        Action::Down { all } => down(&places, *all)?,
        Action::Status => print!("{}", status::report(&places)?),
    }
    Ok(())
}

fn by_hand(places: &Places, only: &[String]) -> Result<(), EnvError> {
    let changing = Changing::begin(places)?;
    let engine = up(places, only)?;
    // If a test has killed the engine, it uses this to start it again.
    if engine.ours && !lock::in_use(places, &changing)? {
        keep(places)?;
    }
    drop(changing);
    println!("Docker {} at {}", engine.version, engine.docker.host());
    println!("  export DOCKER_HOST={}", engine.docker.host());
    Ok(())
}

/// An engine that answers and has these images, or all images.
fn up(places: &Places, only: &[String]) -> Result<Engine, EnvError> {
    let engine = match engine::find(places) {
        Some(engine) => engine,
        None => engine::start(places)?,
    };
    images::provide(&engine.docker, places, only)?;
    Ok(engine)
}

/// The engine, if names can be resolved on it.
fn with_names(engine: Engine) -> Result<Engine, EnvError> {
    if engine.ours && Firewall::probe() == Firewall::None {
        return Err(EnvError::NoFirewall);
    }
    Ok(engine)
}

/// Makes tests leave the engine running when they end.
fn keep(places: &Places) -> Result<(), EnvError> {
    let path = places.run("kept");
    Ok(fs::write(&path, "").map_err(TaskError::file("write", path))?)
}

fn down(places: &Places, all: bool) -> Result<(), EnvError> {
    let changing = Changing::begin(places)?;
    if lock::in_use(places, &changing)? {
        return Err(EnvError::InUse);
    }
    let foreign = engine::find(places).filter(|engine| !engine.ours);
    if let Some(foreign) = &foreign {
        foreign.docker.clear(false)?;
        if all {
            images::remove(&foreign.docker)?;
        }
        println!(
            "{} was not started from here and keeps running",
            foreign.docker.host()
        );
    }
    if places.run.exists() {
        engine::end(places)?;
        println!("ended the engine at {}", places.host());
    } else if foreign.is_none() {
        println!("no engine runs");
    }
    if all {
        fs::remove_dir_all(&places.cache).map_err(TaskError::file("remove", &places.cache))?;
        println!("removed {}", places.cache.display());
    }
    drop(changing);
    Ok(())
}

/// The address of an engine that answers and has this image. Nothing is started or built for this.
pub(crate) fn reachable(image: &str) -> Option<String> {
    let engine = engine::find(&Places::here())?;
    let found = engine.docker.lines(&["images", "--quiet", image]).ok()?;
    (!found.is_empty()).then(|| engine.docker.host().to_owned())
}

/// The engine, while tests use it.
pub(crate) struct ForTests {
    places: Places,
    engine: Engine,
    using: Using,
}

impl ForTests {
    /// Starts it if needed, and checks that containers reach what they should.
    ///
    /// # Errors
    /// When there can be no engine here, or it does not work.
    pub(crate) fn begin() -> Result<Self, EnvError> {
        let places = Places::here();
        let changing = Changing::begin(&places)?;
        let was_there = engine::find(&places).is_some();
        let engine = match up(&places, &[]).and_then(with_names) {
            Ok(engine) => engine,
            Err(error) => {
                if !was_there && places.run.exists() {
                    engine::end(&places)?;
                }
                return Err(error);
            }
        };
        let using = Using::begin(&places, &changing)?;
        drop(changing);
        let tests = Self {
            places,
            engine,
            using,
        };
        let smoke = Program::new(root().join("docker-test-env/smoke-test")).env("DOCKER_HOST", tests.host());
        match smoke.run() {
            Ok(()) => Ok(tests),
            Err(error) => {
                // The first failure says more.
                let _ = tests.end();
                Err(error.into())
            }
        }
    }

    /// `DOCKER_HOST` for the tests.
    pub(crate) fn host(&self) -> &str {
        self.engine.docker.host()
    }

    /// The folder of the engine that tests may kill and start again, if the engine belongs to them.
    pub(crate) fn own(&self) -> Option<&Path> {
        self.engine.ours.then_some(&*self.places.run)
    }

    /// Copies the log of the tests' own engine into a folder.
    pub(crate) fn keep_log(&self, folder: &Path) {
        if self.engine.ours {
            // A missing log is no reason to fail tests that passed.
            let _ = fs::copy(self.places.run("dockerd.log"), folder.join("dockerd.log"));
        }
    }

    /// Ends the engine, unless it was there before or other tests use it.
    ///
    /// # Errors
    /// When it does not end, or tests left something on it.
    pub(crate) fn end(self) -> Result<(), EnvError> {
        let changing = Changing::begin(&self.places)?;
        self.using.end();
        if !self.engine.ours {
            return self.engine.docker.clear(false);
        }
        if self.places.run("kept").exists() || lock::in_use(&self.places, &changing)? {
            return Ok(());
        }
        let left = self.engine.docker.present()?;
        engine::end(&self.places)?;
        if left.is_empty() {
            return Ok(());
        }
        Err(EnvError::Left(left.join("\n  ")))
    }
}
