//! The JSON Schema of services.yaml, from the table of keys.

use serde_json::{Value, json};

/// The JSON Schema of services.yaml, for editors.
pub fn json_schema() -> Value {
    json!({"type": "object"})
}
