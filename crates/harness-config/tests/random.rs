//! No text makes the loader panic, and every mistake that it reports has a place in the text.

#![cfg(test)]

mod common;

use common::Folder;
use harness_config::import::{from_compose, from_package_json, from_procfile};
use harness_config::{LoadError, load};
use proptest::prelude::*;

fn survives(text: &str) {
    let folder = Folder::new(text);
    match load(&folder.options_with(&[("A", "1"), ("A_KEY", "hunter2")])) {
        Ok(loaded) => {
            loaded.warnings.render(false);
        }
        Err(LoadError::Invalid(diagnostics)) => {
            let lines = u32::try_from(text.split('\n').count()).unwrap();
            assert!(!diagnostics.is_empty());
            for diagnostic in &diagnostics {
                assert!(
                    (1..=lines).contains(&diagnostic.line) && diagnostic.column >= 1,
                    "{diagnostic:?}"
                );
            }
            assert!(!diagnostics.render(true).contains("hunter2"));
        }
        Err(other) => panic!("{other}"),
    }
}

/// Words and values that a file could contain, right and wrong.
fn value() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("process".to_owned()),
        Just("docker".to_owned()),
        Just("5432".to_owned()),
        Just("~".to_owned()),
        Just("true".to_owned()),
        Just("${A}".to_owned()),
        Just("\"${A_KEY}\"".to_owned()),
        Just("\"${a.ip}:80 ${b.port.x} é\"".to_owned()),
        Just("'${A:-${B:-x}} $$ ${'".to_owned()),
        Just("\"8080:80/udp\"".to_owned()),
        Just("1h30m".to_owned()),
        Just("~/x/../y".to_owned()),
        "[a-z0-9:/.$-]{0,8}".prop_map(|text| format!("\"{text}\"")),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(|items| format!("[{}]", items.join(", "))),
            prop::collection::vec((key(), inner), 0..4).prop_map(|pairs| {
                let pairs: Vec<String> = pairs.iter().map(|(k, v)| format!("{k}: {v}")).collect();
                format!("{{{}}}", pairs.join(", "))
            }),
        ]
    })
}

fn key() -> impl Strategy<Value = String> {
    prop::sample::select(vec![
        "type",
        "network",
        "host",
        "binary",
        "args",
        "working_dir",
        "user",
        "limits",
        "image",
        "build",
        "command",
        "volumes",
        "env",
        "env_file",
        "inherit_env",
        "files",
        "ports",
        "dependencies",
        "health_check",
        "startup_timeout",
        "stop_signal",
        "restart",
        "max_restarts",
        "oneshot",
        "profiles",
        "logs",
        "hooks",
        "tcp",
        "http",
        "log",
        "service",
        "condition",
        "port",
        "name",
        "target",
        "template",
        "a",
        "b",
        "max_size",
        "policy",
        "A_TOKEN",
        "before_start",
        "resources",
        "cpus",
        "x",
    ])
    .prop_map(str::to_owned)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn any_text(text in "\\PC{0,80}(\n[ \\-a-z:{}\\[\\]$\"'&*|>#]{0,30}){0,6}") {
        survives(&text);
    }

    #[test]
    fn any_service(pairs in prop::collection::vec((key(), value()), 0..12)) {
        let pairs: String = pairs.iter().map(|(k, v)| format!("    {k}: {v}\n")).collect();
        survives(&format!("services:\n  a:\n    type: process\n    binary: sh\n{pairs}  b: {{type: docker, image: x}}\n"));
    }

    #[test]
    fn any_project(pairs in prop::collection::vec((prop::sample::select(vec!["version", "name", "settings", "secrets", "networks", "services", "n"]), value()), 0..6)) {
        let text: String = pairs.iter().map(|(k, v)| format!("{k}: {v}\n")).collect();
        survives(&text);
    }

    #[test]
    fn any_import(text in "(services:\n)?( {0,4}[a-z_.]{1,8}:( [\\[\\]{}a-z0-9\"':$,-]{0,20})?\n){0,8}") {
        for made in [from_compose(&text).ok(), from_procfile(&text, None).ok(), from_package_json(&text).ok()].into_iter().flatten() {
            survives(&made);
        }
    }

    #[test]
    fn what_is_made_of_a_procfile_is_valid(
        lines in prop::collection::vec(("[a-zA-Z0-9_-]{1,12}", "[ -~]{1,40}"), 1..6),
        dotenv in prop::option::of("([A-Z]{1,8}=[ -~]{0,20}\n){0,4}"),
    ) {
        let text: String = lines.iter().map(|(name, command)| format!("{name}: {command}\n")).collect();
        if let Ok(made) = from_procfile(&text, dotenv.as_deref()) {
            let folder = common::Folder::new(&made);
            // What cannot be read in it is told by init.
            folder.write(".env", "");
            common::good(&folder.options());
        }
    }

    #[test]
    fn what_is_made_of_a_package_json_is_valid(
        name in "[ -~]{0,20}",
        dev in "(concurrently |run-p |npm-run-all -p )?[ -~]{1,40}",
        scripts in prop::collection::btree_map("[a-z:*-]{1,10}", "[ -~]{0,20}", 0..5),
    ) {
        let mut all = serde_json::Map::new();
        all.extend(scripts.into_iter().map(|(name, script)| (name, script.into())));
        all.insert("dev".to_owned(), dev.into());
        let text = serde_json::json!({ "name": name, "scripts": all }).to_string();
        let made = from_package_json(&text).unwrap();
        common::good(&common::Folder::new(&made).options());
    }
}
