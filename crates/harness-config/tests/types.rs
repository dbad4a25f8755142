//! Types and probes that a program adds: their keys are read, refused and described like those of the table.

#![cfg(test)]

use std::fs;
use std::path::PathBuf;

use harness_config::{
    Key, LoadError, LoadOptions, Loaded, Mistake, ProbeType, Section, ServiceType, Shape, TypeError, Types,
    json_schema, json_schema_with, load,
};
use harness_model::spec::{Kind, Probe, Setting, Settings};
use serde_json::json;

static CHIME: Section = Section {
    name: "chime",
    title: "a chime",
    plural: "chimes",
    required: &["at"],
    extensible: false,
    keys: &[
        Key::new("at", Shape::Whole { min: 1, max: 12 }, "The hour."),
        Key::new("password", Shape::Text, "What it must not tell."),
    ],
};

static CLOCK: ServiceType = ServiceType {
    name: "clock",
    keys: &[
        Key::new("every", Shape::Duration, "The time between two ticks."),
        Key::new(
            "command",
            Shape::Words,
            "Its own meaning of a key of other types.",
        ),
        Key::new("say", Shape::Text, "What it says."),
        Key::new("loud", Shape::Bool, "Whether it is loud."),
        Key::new("chimes", Shape::List(&Shape::Section(&CHIME)), "When it chimes."),
    ],
    required: &["every"],
    lacks: &["tty"],
    check: |settings| {
        let Some(Setting::List(chimes)) = settings.0.get("chimes") else {
            return Vec::new();
        };
        let at = |chime: &Setting| match chime {
            Setting::Map(Settings(chime)) => chime.get("at").cloned(),
            _ => None,
        };
        let thirteenth = |(index, chime): (usize, &Setting)| {
            (at(chime) == Some(Setting::Number(11.into()))).then(|| Mistake {
                path: vec!["chimes".to_owned(), index.to_string(), "at".to_owned()],
                message: "nobody is up at eleven".to_owned(),
                help: Some("write 10".to_owned()),
            })
        };
        chimes.iter().enumerate().filter_map(thirteenth).collect()
    },
};

static TICKS: ProbeType = ProbeType {
    key: Key::new(
        "ticks",
        Shape::Whole { min: 1, max: 9 },
        "How often it must tick.",
    ),
    check: |_| Vec::new(),
};

fn types() -> Types {
    Types::default().with(&CLOCK).unwrap().with_probe(&TICKS).unwrap()
}

fn read(services: &str, types: Types) -> Result<Loaded, String> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("services.yaml");
    fs::write(&file, format!("version: \"1.0\"\nname: t\nservices:\n{services}")).unwrap();
    let options = LoadOptions {
        files: vec![PathBuf::from("services.yaml")],
        environment: [("API_TOKEN".to_owned(), "hunter2-long".to_owned())].into(),
        cwd: folder.path().to_owned(),
        types,
        ..LoadOptions::default()
    };
    load(&options).map_err(|error| match error {
        LoadError::Invalid(mistakes) => mistakes.render(false),
        other => other.to_string(),
    })
}

#[test]
fn a_type_is_read_by_its_keys() {
    let loaded = read(
        "  db: {type: process, binary: sleep}
  c:
    type: clock
    every: 2m
    command: [say, \"${db.ip}\"]
    say: \"${API_TOKEN} to ${db.host}\"
    loud: true
    chimes: [{at: 12, password: hush}]
    health_check: {ticks: 3}
",
        types(),
    )
    .unwrap();
    let spec = &loaded.project.services["c"];
    assert_eq!(spec.type_name(), "clock");
    assert_eq!(spec.dependencies.len(), 1, "the reference implies one");
    let secrets: Vec<_> = spec
        .secrets()
        .iter()
        .map(|secret| secret.expose().to_owned())
        .collect();
    assert_eq!(secrets, ["hush", "hunter2-long"]);
    let resolved = spec.resolve(|_| Ok::<_, ()>("127.0.0.1".to_owned())).unwrap();
    let Kind::Other { settings, .. } = &resolved.kind else {
        panic!("{:?}", resolved.kind);
    };
    let read: serde_json::Value = settings.read().unwrap();
    let expected = json!({
        "every": 120_000,
        "command": ["say", "127.0.0.1"],
        "say": "hunter2-long to 127.0.0.1",
        "loud": true,
        "chimes": [{"at": 12, "password": "hush"}],
    });
    assert_eq!(read, expected);
    let check = spec.health_check.as_ref().unwrap();
    let ticks = Probe::Other {
        name: "ticks".to_owned(),
        setting: Setting::Number(3.into()),
    };
    assert_eq!(check.probe, ticks);
    assert_eq!(check.probe.describe(), "ticks 3");
}

#[test]
fn every_mistake_in_a_type_is_told_with_its_place() {
    let said = read(
        "  c:
    type: clock
    evry: 2m
    image: x
    loud: 3
    tty: true
    chimes:
      - {at: 13}
      - {att: 1}
    health_check: {tick: 3}
  d:
    type: clock
    every: 1s
    chimes: [{at: 1}, {at: 11}]
  e: {type: clok}
",
        types(),
    )
    .unwrap_err();
    for expected in [
        "the clock service `c` needs `every`",
        "unknown key `evry`\n --> services.yaml:6:5",
        "did you mean `every`?",
        "a clock service has no `image`\n --> services.yaml:7:5",
        "services.yaml:8:11",
        "a clock service has no `tty`\n --> services.yaml:9:5",
        "`13` is not a whole number from 1 to 12\n  --> services.yaml:11:14",
        "unknown key `att`\n  --> services.yaml:12:10",
        "unknown key `tick`\n  --> services.yaml:13:20",
        "did you mean `ticks`?",
        "`http`, `tcp`, `command`, `log`, `ticks`",
        "nobody is up at eleven\n  --> services.yaml:17:28",
        "write 10",
        "unknown type `clok`",
        "did you mean `clock`?",
    ] {
        let plain = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(plain(&said).contains(&plain(expected)), "no {expected}\n{said}");
    }
}

#[test]
fn without_the_program_the_type_is_not_known() {
    let said = read("  c: {type: clock, every: 1s}\n", Types::default()).unwrap_err();
    assert!(said.contains("unknown type `clock`"), "{said}");
    let said = read(
        "  c: {type: process, binary: x, health_check: {ticks: 1}}\n",
        Types::default(),
    )
    .unwrap_err();
    assert!(said.contains("unknown key `ticks`"), "{said}");
}

#[test]
fn a_type_runs_on_no_node_unless_somebody_can_reach_one() {
    let said = read(
        "  c: {type: clock, every: 1s, network: far}\nnetworks:\n  far: {type: lan, nodes: [{host: h}]}\n",
        types(),
    )
    .unwrap_err();
    assert!(
        said.contains("a clock service cannot run on a node yet"),
        "{said}"
    );
}

#[test]
fn names_that_are_taken_are_refused() {
    static PROCESS: ServiceType = ServiceType {
        name: "process",
        keys: &[],
        required: &[],
        lacks: &[],
        check: |_| Vec::new(),
    };
    static GREEDY: ServiceType = ServiceType {
        name: "greedy",
        keys: &[Key::new("env", Shape::Text, "Every service has it.")],
        required: &[],
        lacks: &[],
        check: |_| Vec::new(),
    };
    static HTTP: ProbeType = ProbeType {
        key: Key::new("http", Shape::Text, "There is one."),
        check: |_| Vec::new(),
    };
    assert_eq!(
        types().with(&PROCESS).unwrap_err(),
        TypeError::Taken { name: "process" }
    );
    assert_eq!(
        types().with(&CLOCK).unwrap_err(),
        TypeError::Taken { name: "clock" }
    );
    assert_eq!(
        types().with_probe(&HTTP).unwrap_err(),
        TypeError::Taken { name: "http" }
    );
    let error = types().with(&GREEDY).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the type `greedy` cannot have the key `env`: every service has it"
    );
}

#[test]
fn the_schema_has_the_added_types() {
    assert_eq!(json_schema_with(&Types::default()), json_schema());
    let schema = json_schema_with(&types());
    let service = &schema["$defs"]["service"];
    assert!(service["properties"]["type"].to_string().contains("\"clock\""));
    assert!(service["properties"]["every"].is_object());
    let both = service["properties"]["command"]["anyOf"].as_array().unwrap();
    assert_eq!(both.len(), 2, "that of docker, and that of the clock");
    let rules = service["allOf"].as_array().unwrap();
    let rule = |name: &str| {
        let of = |rule: &&serde_json::Value| rule["if"]["properties"]["type"]["const"] == name;
        &rules.iter().find(of).unwrap()["then"]
    };
    assert_eq!(rule("process")["properties"]["every"], false);
    assert_eq!(rule("clock")["properties"]["image"], false);
    assert_eq!(rule("clock")["properties"]["tty"], false);
    assert!(rule("clock")["properties"]["command"].is_object());
    assert_eq!(rule("clock")["required"], json!(["every"]));
    assert!(rule("docker")["properties"].get("command").is_none());
    assert!(schema["$defs"]["health_check"]["properties"]["ticks"].is_object());
}
