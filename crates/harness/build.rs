//! Links `harness-shim`, and no other program of this package, statically where that is possible: hundreds of
//! shims wait at the same time, and a static one needs half the memory. ADR 010 explains how and why.

#![expect(
    clippy::disallowed_methods,
    reason = "it asks the compiler, before any crate is built"
)]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs, io};

/// The libraries that rustc asks the linker for, and the static archives to use instead.
const STAND_INS: [(&str, &str); 7] = [
    ("gcc_s", "libgcc_eh.a libgcc.a libc.a"),
    ("c", "libc.a libgcc_eh.a libgcc.a"),
    ("m", "libm.a"),
    ("rt", "librt.a"),
    ("pthread", "libpthread.a"),
    ("util", "libutil.a"),
    ("dl", "libdl.a"),
];

fn main() -> io::Result<()> {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=HARNESS_DYNAMIC_SHIM");
    if !is_native_gnu_linux() || env::var_os("HARNESS_DYNAMIC_SHIM").is_some() || !archives_are_there() {
        return Ok(());
    }
    let dir = PathBuf::from(env::var_os("OUT_DIR").ok_or(io::ErrorKind::NotFound)?).join("static");
    write_stand_ins(&dir)?;
    for arg in [&*format!("-L{}", dir.display()), "-static", "-no-pie"] {
        println!("cargo::rustc-link-arg-bin=harness-shim={arg}");
    }
    Ok(())
}

/// Whether the program is built for this machine: the C library found here is of no use for another target.
fn is_native_gnu_linux() -> bool {
    let is = |name: &str, value: &str| env::var(name).is_ok_and(|found| found == value);
    is("CARGO_CFG_TARGET_OS", "linux")
        && is("CARGO_CFG_TARGET_ENV", "gnu")
        && env::var("HOST") == env::var("TARGET")
}

/// Whether the compiler that links has all the archives. Some distributions leave out those of the C library.
fn archives_are_there() -> bool {
    STAND_INS
        .iter()
        .flat_map(|(_, archives)| archives.split(' '))
        .all(|archive| {
            let found = Command::new("cc")
                .arg(format!("-print-file-name={archive}"))
                .output();
            // If the compiler does not find the archive, it prints the name unchanged.
            found.is_ok_and(|output| Path::new(String::from_utf8_lossy(&output.stdout).trim()).is_absolute())
        })
}

/// Writes a linker script for each library. The linker finds the script first and so takes the archives.
fn write_stand_ins(dir: &Path) -> io::Result<()> {
    fs::create_dir_all(dir)?;
    for (library, archives) in STAND_INS {
        let archives: Vec<String> = archives
            .split(' ')
            .map(|archive| format!("-l:{archive}"))
            .collect();
        fs::write(
            dir.join(format!("lib{library}.so")),
            format!("GROUP({})\n", archives.join(" ")),
        )?;
    }
    Ok(())
}
