//! The shim as a program, for the tests of this crate.

fn main() -> std::process::ExitCode {
    harness_shim::main()
}
