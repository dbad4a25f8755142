//! The shim for this crate's tests, because they cannot use the binary of another package.

fn main() -> std::process::ExitCode {
    harness_shim::main()
}
