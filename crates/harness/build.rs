//! Links `harness-shim`, and nothing else of this package, statically where that is possible: hundreds of shims
//! wait at a time, and a static one costs half the memory. ADR 010 says how and why this way.

#![expect(
    clippy::disallowed_methods,
    reason = "it asks the compiler, before any crate is there"
)]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs, io};

/// What rustc asks the linker for, and the static archives that stand in for it.
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

/// The C library of elsewhere is not this machine's.
fn is_native_gnu_linux() -> bool {
    let is = |name: &str, value: &str| env::var(name).is_ok_and(|found| found == value);
    is("CARGO_CFG_TARGET_OS", "linux")
        && is("CARGO_CFG_TARGET_ENV", "gnu")
        && env::var("HOST") == env::var("TARGET")
}

/// Whether the compiler that links has all the archives; distributions may leave out the C library's.
fn archives_are_there() -> bool {
    STAND_INS
        .iter()
        .flat_map(|(_, archives)| archives.split(' '))
        .all(|archive| {
            let found = Command::new("cc")
                .arg(format!("-print-file-name={archive}"))
                .output();
            // What it does not find it prints as it was asked.
            found.is_ok_and(|output| Path::new(String::from_utf8_lossy(&output.stdout).trim()).is_absolute())
        })
}

/// Writes a linker script for each library: found first, it makes the linker take the archives.
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
