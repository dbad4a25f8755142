//! A digest depends only on the meaning: it shows any change of the meaning, but not the order in which maps are
//! written.

#![cfg(test)]

use std::path::Path;

use harness_model::ServiceSpec;
use serde_json::Value;

/// Every service in the records of the corpus.
fn specs() -> Vec<Value> {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/records");
    let read =
        |name: &str| -> Value { serde_json::from_slice(&std::fs::read(corpus.join(name)).unwrap()).unwrap() };
    let project = read("project");
    let services = project.pointer("/record/spec/services").unwrap();
    let mut out: Vec<Value> = services.as_object().unwrap().values().cloned().collect();
    out.push(read("service_db").pointer("/record/spec").unwrap().clone());
    assert!(out.len() > 3);
    out
}

fn spec(value: &Value) -> Option<ServiceSpec> {
    serde_json::from_value(value.clone()).ok()
}

/// The paths of all values that contain no further values, as JSON pointers.
fn leaves(value: &Value, path: &str, out: &mut Vec<String>) {
    let escaped = |key: &str| key.replace('~', "~0").replace('/', "~1");
    match value {
        Value::Object(map) => map
            .iter()
            .for_each(|(key, value)| leaves(value, &format!("{path}/{}", escaped(key)), out)),
        Value::Array(items) => items
            .iter()
            .enumerate()
            .for_each(|(at, value)| leaves(value, &format!("{path}/{at}"), out)),
        _ => out.push(path.to_owned()),
    }
}

/// Other values that could be there instead.
fn others(value: &Value) -> Vec<Value> {
    match value {
        Value::Bool(value) => vec![Value::from(!value)],
        Value::Number(number) => vec![Value::from(number.as_u64().unwrap_or(0) + 1)],
        Value::String(text) => ["x", "-x"]
            .into_iter()
            .map(|more| Value::from(format!("{text}{more}")))
            .chain(["always", "no", "group", "udp", "healthy", "started", "none"].map(Value::from))
            .collect(),
        _ => vec![
            Value::from(7),
            Value::from("x"),
            serde_json::json!([[{"text": "x"}]]),
        ],
    }
}

#[test]
fn every_field_changes_the_digest() {
    let mut changed = 0;
    for value in specs() {
        let original = spec(&value).unwrap();
        let mut paths = Vec::new();
        leaves(&value, "", &mut paths);
        for path in paths {
            for other in others(value.pointer(&path).unwrap()) {
                let mut edited = value.clone();
                *edited.pointer_mut(&path).unwrap() = other;
                let Some(edited) = spec(&edited).filter(|edited| *edited != original) else {
                    continue;
                };
                // Neither of these changes what runs.
                let aside = path.starts_with("/profiles") || path.contains("/origin/");
                assert_eq!(edited.digest() == original.digest(), aside, "{path}");
                assert_eq!(edited.changes_since(&original).is_empty(), aside, "{path}");
                changed += 1;
            }
        }
    }
    assert!(changed > 100, "{changed}");
}

#[test]
fn the_order_of_maps_does_not() {
    for value in specs() {
        let backwards: ServiceSpec = serde_json::from_str(&reversed(&value)).unwrap();
        assert_eq!(backwards.digest(), spec(&value).unwrap().digest());
    }
}

/// JSON with the keys of every map in reverse order.
fn reversed(value: &Value) -> String {
    match value {
        Value::Object(map) => {
            let entries: Vec<String> = map
                .iter()
                .rev()
                .map(|(key, value)| format!("{}:{}", Value::from(key.as_str()), reversed(value)))
                .collect();
            format!("{{{}}}", entries.join(","))
        }
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(reversed).collect();
            format!("[{}]", items.join(","))
        }
        other => other.to_string(),
    }
}
