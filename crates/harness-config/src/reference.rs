//! The YAML reference for people, from the table of keys.

/// The text of `docs/yaml-reference.md`.
pub fn reference_markdown() -> String {
    String::from("# services.yaml\n")
}
