//! `env status`: shows what runs, where, and which images there are.

use super::engine::{self, Engine};
use super::error::EnvError;
use super::firewall::Firewall;
use super::images;
use super::places::Places;

/// One line for each fact.
pub(crate) fn report(places: &Places) -> Result<String, EnvError> {
    let mut lines = match engine::find(places) {
        Some(engine) => of(&engine)?,
        None => vec!["engine   none answers: cargo xtask env up".to_owned()],
    };
    lines.push(format!("cache    {}", places.cache.display()));
    Ok(lines.join("\n") + "\n")
}

fn of(engine: &Engine) -> Result<Vec<String>, EnvError> {
    let docker = &engine.docker;
    let whose = if engine.ours { "" } else { "not " };
    let mut lines = vec![format!(
        "engine   Docker {} at {}, {whose}started from here",
        engine.version,
        docker.host()
    )];
    let driver = docker.lines(&["info", "--format", "{{.Driver}}"])?.concat();
    let slow = if driver == "vfs" {
        " (slow, because overlayfs does not work here)"
    } else {
        ""
    };
    lines.push(format!("storage  {driver}{slow}"));
    if engine.ours && Firewall::probe() == Firewall::None {
        lines.push(format!("network  {}", EnvError::NoFirewall));
    }
    let running = docker.lines(&["ps", "--quiet"])?.len();
    let present = docker.lines(&["ps", "--quiet", "--all"])?.len();
    lines.push(format!("running  {running} of {present} containers"));
    let there = images::sizes(docker)?;
    for name in images::names() {
        let size = there
            .iter()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        lines.push(format!(
            "image    {name} {}",
            size.unwrap_or("missing: cargo xtask env up")
        ));
    }
    Ok(lines)
}
