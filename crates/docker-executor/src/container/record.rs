//! `container.json` in a run directory: the container of this generation, and how it ended.
//!
//! It is written before the container is started, and again when its end is known. Each time it is written completely
//! or not at all.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use harness_model::WallTime;
use harness_model::spec::HealthCheck;
use serde::{Deserialize, Serialize};
use service_orchestration::machine::Ended;

const FILE: &str = "container.json";

/// The only format so far.
const FORMAT: u32 = 1;

/// A longer file is damaged.
const MAX_SIZE: u64 = 1 << 20;

/// What is known of a generation's container.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct ContainerRecord {
    format: u32,
    /// Its id in the engine.
    pub(crate) id: String,
    /// Its name when it was created.
    pub(crate) name: String,
    /// The address of its engine; `None` if that is the engine of this daemon.
    #[serde(default)]
    pub(crate) engine: Option<String>,
    /// The boot in which it was created.
    pub(crate) boot_id: String,
    /// The health check of its image.
    #[serde(default)]
    pub(crate) image_health: Option<HealthCheck>,
    /// The stop signal of its image.
    #[serde(default)]
    pub(crate) image_stop_signal: Option<i32>,
    /// How it ended, and when.
    pub(crate) ended: Option<(Ended, Option<WallTime>)>,
}

impl ContainerRecord {
    /// A container that is being started on the engine at this address.
    pub(crate) fn new(id: String, name: String, engine: Option<String>) -> Self {
        Self {
            format: FORMAT,
            id,
            name,
            engine,
            boot_id: boot_id(),
            image_health: None,
            image_stop_signal: None,
            ended: None,
        }
    }

    /// Writes the record. Blocks on the disk.
    pub(crate) fn write(&self, run_dir: &Path) -> io::Result<()> {
        let new = run_dir.join(format!("{FILE}.new"));
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&new)?;
        file.write_all(&serde_json::to_vec(self)?)?;
        fs::rename(&new, run_dir.join(FILE))
    }

    /// Reads the record; `None` if there is none. Blocks on the disk.
    ///
    /// # Errors
    /// When it cannot be read, or only a newer version can read it.
    pub(crate) fn read(run_dir: &Path) -> io::Result<Option<Self>> {
        let bytes = match harness_files::read(&run_dir.join(FILE), MAX_SIZE).map_err(io::Error::from) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let record: Self = serde_json::from_slice(&bytes)?;
        if record.format > FORMAT {
            return Err(io::Error::new(
                io::ErrorKind::Unsupported,
                format!("{FILE} has format {}, which a newer harness wrote", record.format),
            ));
        }
        Ok(Some(record))
    }

    /// Whether the machine was booted since.
    pub(crate) fn is_of_former_boot(&self) -> bool {
        self.boot_id != boot_id()
    }
}

fn boot_id() -> String {
    let id = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    id.trim().to_owned()
}
