//! How the engine stores images: in layers, if the kernel supports that.

use std::fs;

use super::error::EnvError;
use super::places::Places;
use crate::error::TaskError;
use crate::program::Program;

/// The engine's name for the storage driver: `overlay2`, or else `vfs`, which copies the whole image for each
/// container.
pub(crate) fn probe(places: &Places) -> Result<&'static str, EnvError> {
    let probe = places.cached("probe");
    let folders = ["lower", "upper", "work", "merged"].map(|name| probe.join(name));
    for folder in &folders {
        fs::create_dir_all(folder).map_err(TaskError::file("create", folder))?;
    }
    let [lower, upper, work, merged] = folders.map(|folder| folder.display().to_string());
    let options = format!("lowerdir={lower},upperdir={upper},workdir={work}");
    let mount = Program::new("mount").args(["-t", "overlay", "overlay", "-o", &options, &merged]);
    let works = mount.succeeds();
    if works {
        Program::new("umount").args([&merged]).run_quietly()?;
    }
    fs::remove_dir_all(&probe).map_err(TaskError::file("remove", probe))?;
    Ok(if works { "overlay2" } else { "vfs" })
}
