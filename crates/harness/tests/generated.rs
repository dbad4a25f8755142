//! The generated files of `docs/` match the code. `cargo xtask generate` writes them: it runs this test with
//! `HARNESS_GENERATE=write`. Without that variable, the test fails if a file is out of date.

#![cfg(test)]

use std::path::Path;

/// Each file with its correct text.
fn files() -> [(&'static str, String); 4] {
    [
        ("cli-reference.md", harness::cli::cli_reference_markdown()),
        ("protocol.schema.json", pretty(&harness_wire::protocol_schema())),
        ("services.schema.json", pretty(&harness_config::json_schema())),
        ("yaml-reference.md", harness_config::reference_markdown()),
    ]
}

fn pretty(schema: &serde_json::Value) -> String {
    format!("{schema:#}\n")
}

#[test]
fn generated_files_are_fresh() {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs");
    let write = std::env::var_os("HARNESS_GENERATE").is_some_and(|value| value == "write");
    let mut stale = Vec::new();
    for (name, text) in files() {
        let path = docs.join(name);
        // A missing file counts as out of date.
        if std::fs::read_to_string(&path).unwrap_or_default() == text {
            continue;
        }
        if write {
            std::fs::create_dir_all(&docs).unwrap();
            std::fs::write(&path, text).unwrap();
        } else {
            stale.push(format!("docs/{name}"));
        }
    }
    assert!(
        stale.is_empty(),
        "out of date: {}; run `cargo xtask generate`",
        stale.join(", ")
    );
}
