//! `quickstart`: from a fresh clone to running services that you can look at.
//!
//! The services and the daemon keep running, as after any `harness start`.

use std::path::PathBuf;

use crate::error::TaskError;
use crate::program::Program;
use crate::root;

/// Builds the programs, starts the example, shows its status and says how to continue.
pub(crate) fn run() -> Result<(), TaskError> {
    // Use the profile of the tests, because this is a part of their build.
    Program::cargo()
        .args(["build", "--package", "harness", "--bins"])
        .run()?;
    let harness = built("harness")?;
    let file = root().join("examples/quickstart/services.yaml");
    let on_example =
        |verb: &str| Program::new(&harness).args(["-c".as_ref(), file.as_os_str(), verb.as_ref()]);
    on_example("start").run()?;
    on_example("status").run()?;
    let harness = harness.display();
    println!();
    println!("The services are up and stay up. Look at them:   {harness} -p quickstart logs -f");
    println!("Stop them, and then the daemon:                  {harness} -p quickstart stop --all");
    println!("                                                 {harness} daemon stop");
    Ok(())
}

/// A program of the workspace. Cargo puts all of them next to this one.
fn built(name: &str) -> Result<PathBuf, TaskError> {
    let own = std::env::current_exe().map_err(TaskError::file("find", "this program"))?;
    let path = own.with_file_name(name);
    let here = std::env::current_dir().unwrap_or_default();
    Ok(path.strip_prefix(here).map(PathBuf::from).unwrap_or(path))
}
