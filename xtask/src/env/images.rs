//! The images of the tests. They are made from `docker-test-env/` and from Debian's packages, without a registry. An
//! image is made again only when those have changed.

use std::fs;
use std::path::{Path, PathBuf};

use super::docker::{Docker, LABEL};
use super::error::EnvError;
use super::places::Places;
use super::{digest, packages, sources, sweep};
use crate::error::TaskError;
use crate::program::Program;
use crate::root;

/// The image that the others are built on.
const BASE: &str = "harness-test/base";

/// The other images, with their folders in `docker-test-env/images`.
const BUILT: [(&str, &str); 4] = [
    ("harness-test/http", "http"),
    ("harness-test/program", "program"),
    ("harness-test/postgres", "postgres"),
    ("harness-test-node", "node"),
];

/// The image in which all tests can run, isolated from the machine.
const ISOLATED: &str = "harness-test/isolated";

/// The label that contains an image's digest.
const DIGEST: &str = "harness-test.digest";

/// Files that nobody reads in a test.
const LEFT_OUT: [&str; 3] = ["/usr/share/doc/*", "/usr/share/man/*", "/usr/share/locale/*"];

/// The names of all images.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    std::iter::once(BASE).chain(BUILT.iter().map(|(name, _)| *name))
}

/// Builds the images that the engine lacks or has in an old version: the named ones and the base, or all.
pub(crate) fn provide(docker: &Docker, places: &Places, only: &[String]) -> Result<(), EnvError> {
    let suite = suite();
    let packages = base_packages()?;
    let base = digest::of_base(&suite, &packages, &LEFT_OUT.map(str::to_owned));
    if digest_in(docker, BASE).as_deref() != Some(&base) {
        import_base(docker, places, &suite, &packages, &base)?;
    }
    let wanted = |name: &str| only.is_empty() || only.iter().any(|one| one == name);
    for (name, folder) in BUILT.into_iter().filter(|(name, _)| wanted(name)) {
        let folder = root().join("docker-test-env/images").join(folder);
        let digest = digest::of_image(&base, &folder)?;
        if digest_in(docker, name).as_deref() != Some(&digest) {
            build(docker, places, name, &folder, &digest)?;
        }
    }
    Ok(())
}

/// The image of [`super::isolated`]. It is made if it is missing or old.
pub(crate) fn isolated(docker: &Docker, places: &Places) -> Result<&'static str, EnvError> {
    provide(docker, places, &[BASE.to_owned()])?;
    let folder = root().join("docker-test-env/isolated");
    let base = digest_in(docker, BASE).unwrap_or_default();
    let digest = digest::of_image(&base, &folder)?;
    if digest_in(docker, ISOLATED).as_deref() != Some(&digest) {
        build(docker, places, ISOLATED, &folder, &digest)?;
    }
    Ok(ISOLATED)
}

/// Removes the images.
pub(crate) fn remove(docker: &Docker) -> Result<(), EnvError> {
    let labelled = format!("label={DIGEST}");
    let mut found = docker.lines(&["image", "ls", "--quiet", "--filter", &labelled])?;
    found.sort();
    found.dedup();
    if !found.is_empty() {
        docker
            .program(&["image", "rm", "--force"])
            .args(found)
            .run_quietly()?;
    }
    Ok(())
}

/// The names and sizes of the images that exist.
pub(crate) fn sizes(docker: &Docker) -> Result<Vec<String>, EnvError> {
    let labelled = format!("label={DIGEST}");
    docker.lines(&[
        "image",
        "ls",
        "--filter",
        &labelled,
        "--format",
        "{{.Repository}} {{.Size}}",
    ])
}

fn digest_in(docker: &Docker, image: &str) -> Option<String> {
    let format = format!("{{{{index .Config.Labels \"{DIGEST}\"}}}}");
    let answer = docker
        .program(&["image", "inspect", "--format", &format, image])
        .output()
        .ok()?;
    Some(answer.trim().to_owned())
}

fn import_base(
    docker: &Docker,
    places: &Places,
    suite: &str,
    packages: &[String],
    digest: &str,
) -> Result<(), EnvError> {
    let tar = places.cached(&format!("base-{digest}.tar"));
    if !tar.exists() {
        make_root(places, suite, packages, &tar)?;
    }
    let changes = [
        "CMD [\"sh\"]".to_owned(),
        format!("LABEL {DIGEST}={digest} {LABEL}=image"),
    ];
    let import = docker.program(&["import"]);
    let import = import.args(changes.iter().flat_map(|change| ["--change", change.as_str()]));
    Ok(import.args([tar.as_os_str(), BASE.as_ref()]).run_quietly()?)
}

/// Makes the root of a minimal Debian, of the same release as this machine.
fn make_root(places: &Places, suite: &str, chosen: &[String], tar: &Path) -> Result<(), EnvError> {
    packages::images()?;
    for old in fs::read_dir(&places.cache).into_iter().flatten().flatten() {
        if old.file_name().to_string_lossy().starts_with("base-") {
            // It belongs to other packages. If it stays, it only takes space.
            let _ = fs::remove_file(old.path());
        }
    }
    let source = sources::of_release(Path::new("/etc/apt"), suite);
    let source = source.ok_or_else(|| EnvError::NoSource {
        suite: suite.to_owned(),
    })?;
    let sources = write(places, "sources.list", &format!("{source}\n"))?;
    let settings = write(places, "apt.conf", &apt_settings())?;
    let partial = places.cached("partial.tar");
    let command = Program::new("mmdebstrap").args(["--variant=apt", "--dpkgopt=force-unsafe-io"]);
    let command = command
        .args(LEFT_OUT.map(|pattern| format!("--dpkgopt=path-exclude={pattern}")))
        .args([
            format!("--aptopt={}", settings.display()),
            format!("--include={}", chosen.join(",")),
        ])
        .args([suite.as_ref(), partial.as_os_str(), sources.as_os_str()]);
    step(
        places,
        "make the root of the base image",
        "mmdebstrap.log",
        command,
    )?;
    Ok(fs::rename(&partial, tar).map_err(TaskError::file("rename", partial))?)
}

fn build(docker: &Docker, places: &Places, name: &str, folder: &Path, digest: &str) -> Result<(), EnvError> {
    let label = format!("{DIGEST}={digest}");
    // Use the host's network, so that packages come in the same way as on the host.
    let command = docker.program(&[
        "build",
        "--network=host",
        "--force-rm",
        "--label",
        &label,
        "--tag",
        name,
    ]);
    let command = command
        .args(["--label", &format!("{LABEL}=image")])
        .args([folder]);
    let log = format!("build-{}.log", name.replace('/', "-"));
    step(places, &format!("build {name}"), &log, command)?;
    let labelled = format!("label={DIGEST}");
    // The image that had the name before.
    docker
        .program(&["image", "prune", "--force", "--filter", &labelled])
        .run_quietly()?;
    Ok(())
}

/// Runs a long step, with its output in a file.
fn step(places: &Places, what: &str, log: &str, command: Program) -> Result<(), EnvError> {
    eprintln!("going to {what}");
    let log = places.cached(log);
    command.logged(&log).map_err(|error| match error {
        TaskError::Failed { .. } => {
            let last = sweep::last_lines(&log);
            EnvError::Step {
                what: what.to_owned(),
                log,
                last,
            }
        }
        other => other.into(),
    })
}

/// The settings that this machine's apt uses for its sources, for mmdebstrap and the image.
fn apt_settings() -> String {
    let dump = Program::new("apt-config")
        .args(["dump"])
        .output()
        .unwrap_or_default();
    let kept = [
        "Acquire::http::Proxy",
        "Acquire::https::Proxy",
        "Acquire::Check-Date",
        "Acquire::Check-Valid-Until",
    ];
    let lines = dump
        .lines()
        .filter(|line| kept.iter().any(|name| line.starts_with(name)));
    let lines: String = lines.map(|line| format!("{line}\n")).collect();
    format!("{lines}Acquire::Languages \"none\";\n")
}

fn write(places: &Places, name: &str, text: &str) -> Result<PathBuf, EnvError> {
    let path = places.cached(name);
    fs::write(&path, text).map_err(TaskError::file("write", &path))?;
    Ok(path)
}

/// The Debian release of this machine.
fn suite() -> String {
    let text = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let name = text
        .lines()
        .find_map(|line| line.strip_prefix("VERSION_CODENAME="));
    name.unwrap_or("stable").trim_matches('"').to_owned()
}

fn base_packages() -> Result<Vec<String>, EnvError> {
    let path = root().join("docker-test-env/base/packages");
    let text = fs::read_to_string(&path).map_err(TaskError::file("read", path))?;
    Ok(packages_in(&text))
}

/// Parses one name per line, with comments after `#`.
fn packages_in(text: &str) -> Vec<String> {
    let names = text
        .lines()
        .filter_map(|line| line.split('#').next())
        .map(str::trim);
    names.filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remarks_and_empty_lines_are_no_packages() {
        assert_eq!(
            packages_in("# all\nbusybox\n\n  netbase # names\n"),
            ["busybox", "netbase"]
        );
    }

    #[test]
    fn every_folder_of_images_is_built_on_the_base_and_nothing_else_is_there() {
        let images = root().join("docker-test-env/images");
        let entries = fs::read_dir(&images).unwrap();
        let mut there: Vec<String> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        there.sort();
        let mut known: Vec<&str> = BUILT.iter().map(|(_, folder)| *folder).collect();
        known.sort_unstable();
        assert_eq!(there, known);
        for folder in known {
            let text = fs::read_to_string(images.join(folder).join("Dockerfile")).unwrap();
            assert!(text.contains(&format!("FROM {BASE}\n")), "{folder}");
        }
    }
}
