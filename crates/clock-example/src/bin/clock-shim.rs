//! The supervisor of one process: see the crate `harness-shim`.

fn main() -> std::process::ExitCode {
    harness_shim::main()
}
