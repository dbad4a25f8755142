//! The protocol as JSON Schema.

use schemars::generate::SchemaSettings;
use serde_json::{Value, json};

use crate::message::{ClientMessage, PROTOCOL_VERSION, ServerMessage};

/// JSON Schema (2020-12) of every text message: everything valid by `ClientMessage` may be sent to a server,
/// everything a server sends is valid by `ServerMessage`. Binary messages are described in
/// [`message::DataFrame`](crate::message::DataFrame).
pub fn protocol_schema() -> Value {
    let mut generator = SchemaSettings::draft2020_12().into_generator();
    let client = generator.subschema_for::<ClientMessage>();
    let server = generator.subschema_for::<ServerMessage>();
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": format!("harness protocol, version {PROTOCOL_VERSION}"),
        "anyOf": [client, server],
        "$defs": generator.take_definitions(true),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reference_of_the_schema_is_defined() {
        fn references(value: &Value, found: &mut Vec<String>) {
            match value {
                Value::Object(map) => {
                    if let Some(Value::String(to)) = map.get("$ref") {
                        found.push(to.clone());
                    }
                    map.values().for_each(|v| references(v, found));
                }
                Value::Array(items) => items.iter().for_each(|v| references(v, found)),
                _ => {}
            }
        }
        let schema = protocol_schema();
        let mut found = Vec::new();
        references(&schema, &mut found);
        assert!(found.len() > 10, "{found:?}");
        for reference in found {
            let pointer = reference.strip_prefix('#').unwrap();
            assert!(schema.pointer(pointer).is_some(), "{reference}");
        }
        assert!(schema.pointer("/$defs/ClientMessage").is_some());
        assert!(schema.pointer("/$defs/ServerMessage").is_some());
    }
}
