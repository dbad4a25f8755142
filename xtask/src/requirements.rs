//! What the tests need on the machine, and how to get it on Debian.

use std::path::Path;

use crate::error::TaskError;
use crate::program::{Program, in_path};

/// Something that the tests run.
struct Requirement {
    /// The Debian package that contains it.
    package: &'static str,
    /// The programs of the package that are used.
    programs: &'static [&'static str],
    /// What they are used for.
    purpose: &'static str,
}

const REQUIREMENTS: [Requirement; 4] = [
    Requirement {
        package: "postgresql",
        programs: &["initdb", "postgres", "pg_isready", "psql", "pgbench"],
        purpose: "the test of examples/postgres",
    },
    Requirement {
        package: "perl",
        programs: &["perl"],
        purpose: "the badly behaved processes of the supervisor's tests",
    },
    Requirement {
        package: "bash",
        programs: &["bash"],
        purpose: "the test of the completions",
    },
    Requirement {
        package: "util-linux",
        programs: &["setsid", "setpriv"],
        purpose: "tests that leave their session or user",
    },
];

/// Makes sure that everything is there. As root on Debian, it installs what is missing.
///
/// # Errors
/// When something is missing and cannot be installed. The error names it.
pub(crate) fn meet() -> Result<(), TaskError> {
    let missing: Vec<&Requirement> = REQUIREMENTS.iter().filter(|needed| !needed.is_met()).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let packages: Vec<&str> = missing.iter().map(|needed| needed.package).collect();
    let debian = Path::new("/etc/debian_version").exists();
    if debian && rustix::process::geteuid().is_root() {
        install(&packages)?;
    }
    let missing: Vec<&Requirement> = missing.into_iter().filter(|needed| !needed.is_met()).collect();
    if missing.is_empty() {
        return Ok(());
    }
    Err(TaskError::Missing {
        missing: missing.iter().map(|needed| needed.describe()).collect(),
        remedy: if debian {
            format!("to install them: sudo apt-get install {}", packages.join(" "))
        } else {
            format!("install them (the Debian packages are {})", packages.join(", "))
        },
    })
}

/// Installs Debian packages, as root.
///
/// # Errors
/// When that fails.
pub(crate) fn install(packages: &[&str]) -> Result<(), TaskError> {
    let apt_get = || Program::new("apt-get").env("DEBIAN_FRONTEND", "noninteractive");
    apt_get().args(["update", "-qq"]).run()?;
    apt_get()
        .args(["install", "-qq", "--yes", "--no-install-recommends"])
        .args(packages)
        .run()
}

impl Requirement {
    fn is_met(&self) -> bool {
        self.programs
            .iter()
            .all(|program| in_path(program) || in_postgresql(program))
    }

    fn describe(&self) -> String {
        format!(
            "  {} ({}), for {}\n",
            self.package,
            self.programs.join(", "),
            self.purpose
        )
    }
}

/// Debian keeps PostgreSQL's programs outside of PATH, in a folder for each version. The example looks there too.
fn in_postgresql(program: &str) -> bool {
    let versions = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten();
    versions
        .into_iter()
        .any(|version| version.path().join("bin").join(program).is_file())
}
