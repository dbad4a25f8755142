//! The JSON Schema of services.yaml, from the table of keys.

use schemars::{Schema, json_schema as schema};
use serde_json::{Map, Value, json};

use crate::keys::{HEALTH_CHECK, Key, PROJECT, SECTIONS, SERVICE, SERVICE_TYPES, Section, Shape};
use crate::types::{ServiceType, Types};

/// A string with `${…}` may be written in place of any value that is not text.
const INTERPOLATED: &str = r"\$\{";

/// The JSON Schema of services.yaml, for editors.
pub fn json_schema() -> Value {
    json_schema_with(&Types::none())
}

/// The same with the types and probes that a program adds.
pub fn json_schema_with(types: &Types) -> Value {
    let mut root = section_schema(&PROJECT);
    root.insert(
        "$schema".into(),
        "https://json-schema.org/draft/2020-12/schema".into(),
    );
    root.insert("title".into(), "services.yaml".into());
    let definitions: Map<String, Value> = SECTIONS
        .into_iter()
        .filter(|section| section.name != PROJECT.name)
        .map(|section| (section.name.to_owned(), with_types(section, types)))
        .collect();
    root.insert("$defs".into(), definitions.into());
    root.to_value()
}

/// The schema of a section, with what the added types and probes put into it.
fn with_types(section: &Section, types: &Types) -> Value {
    let mut schema = section_schema(section).to_value();
    let mut put = |key: &Key| {
        let added = property(key).to_value();
        let beside = &mut schema["properties"][key.name];
        *beside = match beside.take() {
            Value::Null => added,
            before => json!({ "anyOf": [before, added] }),
        };
    };
    if section.name == HEALTH_CHECK.name {
        types.probes().for_each(|added| put(&added.key));
    }
    if section.name != SERVICE.name {
        return schema;
    }
    for added in types.services() {
        added.keys.iter().for_each(&mut put);
    }
    if let Some(Value::Array(words)) = schema.pointer_mut("/properties/type/anyOf/0/enum") {
        words.extend(types.services().map(|added| Value::from(added.name)));
    }
    if let Some(Value::Array(rules)) = schema.get_mut("allOf") {
        for (service_type, rule) in SERVICE_TYPES.into_iter().zip(rules.iter_mut()) {
            let has = |key: &&Key| {
                let own = SERVICE.key(key.name);
                own.is_some_and(|own| own.types.contains(&service_type))
            };
            for key in types
                .services()
                .flat_map(|added| added.keys)
                .filter(|key| !has(key))
            {
                rule["then"]["properties"][key.name] = Value::Bool(false);
            }
        }
        rules.extend(types.services().map(|added| rule_of(added, types)));
    }
    schema
}

/// With this `type`, takes its own keys and refuses those that only other types have.
fn rule_of(added: &ServiceType, types: &Types) -> Value {
    let mut rule = refuse_foreign_keys(added.name);
    let properties = &mut rule["then"]["properties"];
    for key in types.services().flat_map(|other| other.keys) {
        properties[key.name] = Value::Bool(false);
    }
    for key in added.lacks {
        properties[*key] = Value::Bool(false);
    }
    for key in added.keys {
        properties[key.name] = property(key).to_value();
    }
    rule["then"]["required"] = json!(added.required);
    rule
}

fn section_schema(section: &Section) -> Schema {
    let properties: Map<String, Value> = section
        .keys
        .iter()
        .map(|key| (key.name.to_owned(), property(key).to_value()))
        .collect();
    let mut out = schema!({
        "type": "object",
        "properties": properties,
        "additionalProperties": false,
    });
    if !section.required.is_empty() {
        out.insert("required".into(), json!(section.required));
    }
    if section.extensible {
        out.insert("patternProperties".into(), json!({ "^x-": {} }));
    }
    if section.name == SERVICE.name {
        out.insert(
            "allOf".into(),
            SERVICE_TYPES
                .iter()
                .map(|service_type| refuse_foreign_keys(service_type))
                .collect(),
        );
    }
    out
}

/// With this `type`, refuses the keys that only other types have.
fn refuse_foreign_keys(service_type: &str) -> Value {
    let foreign: Map<String, Value> = SERVICE
        .keys
        .iter()
        .filter(|key| !key.types.is_empty() && !key.types.contains(&service_type))
        .map(|key| (key.name.to_owned(), Value::Bool(false)))
        .collect();
    json!({
        "if": { "properties": { "type": { "const": service_type } }, "required": ["type"] },
        "then": { "properties": foreign },
    })
}

fn property(key: &Key) -> Schema {
    let mut out = shape_schema(key.shape);
    if key.shape.is_collection() {
        // `env:` with nothing after it is an empty map or list.
        out = schema!({ "anyOf": [out, { "type": "null" }] });
    }
    let mut doc = key.doc.to_owned();
    if !key.default.is_empty() {
        doc.push_str(&format!(" Default: {}.", key.default));
    }
    if !key.types.is_empty() {
        doc.push_str(&format!(" Only for type {}.", key.types.join(", ")));
    }
    out.insert("description".into(), doc.into());
    out
}

fn or_interpolated(schema: Schema) -> Schema {
    schema!({ "anyOf": [schema, { "type": "string", "pattern": INTERPOLATED }] })
}

fn shape_schema(shape: Shape) -> Schema {
    match shape {
        Shape::Text => schema!({ "type": "string" }),
        Shape::Scalar | Shape::Size => schema!({ "type": ["string", "number"] }),
        Shape::Duration => schema!({ "anyOf": [{ "type": "number", "minimum": 0 }, { "type": "string" }] }),
        Shape::Bool => or_interpolated(schema!({ "type": "boolean" })),
        Shape::Whole { min, max } => or_interpolated(schema!({
            "anyOf": [
                { "type": "integer", "minimum": min, "maximum": max },
                { "type": "string", "pattern": "^[0-9]+$" },
            ],
        })),
        Shape::Words => schema!({
            "anyOf": [
                { "type": "string" },
                { "type": "array", "items": { "type": ["string", "number"] }, "minItems": 1 },
            ],
        }),
        Shape::Choice(words) => or_interpolated(schema!({ "enum": words })),
        Shape::List(item) => schema!({ "type": "array", "items": shape_schema(*item) }),
        Shape::Map(item) => schema!({ "type": "object", "additionalProperties": shape_schema(*item) }),
        Shape::Section(section) => schema!({ "$ref": format!("#/$defs/{}", section.name) }),
        Shape::Any(shapes) => {
            let shapes: Vec<Schema> = shapes.iter().map(|shape| shape_schema(*shape)).collect();
            schema!({ "anyOf": shapes })
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_schema_has_exactly_the_keys_of_the_table() {
        let schema = json_schema();
        for section in SECTIONS {
            let object = if section.name == PROJECT.name {
                &schema
            } else {
                &schema["$defs"][section.name]
            };
            let properties: BTreeSet<&str> = object["properties"]
                .as_object()
                .unwrap()
                .keys()
                .map(String::as_str)
                .collect();
            let keys: BTreeSet<&str> = section.keys.iter().map(|key| key.name).collect();
            assert_eq!(properties, keys, "{}", section.name);
            assert_eq!(
                properties.len(),
                section.keys.len(),
                "a key of {} is written twice",
                section.name
            );
            assert!(
                section.required.iter().all(|key| keys.contains(key)),
                "{}",
                section.name
            );
        }
    }

    #[test]
    fn every_reference_leads_somewhere() {
        let schema = json_schema();
        let text = schema.to_string();
        for (_, rest) in text
            .match_indices("#/$defs/")
            .map(|(at, m)| text.split_at(at + m.len()))
        {
            let name = rest.split('"').next().unwrap();
            assert!(schema["$defs"].get(name).is_some(), "{name}");
        }
    }
}
