//! `config`: the file with all files merged, variables replaced, secrets hidden, and where each value comes from.

#![cfg(test)]

mod common;

use common::{Folder, good};
use harness_config::{LoadOptions, Resolved, resolve};

const BASE: &str = r#"
name: shop
secrets: [SESSION]
x-base: &base {type: process, binary: sh, restart: on-failure}
services:
  web:
    <<: *base
    args: [-c, 'echo $HOME $${NOT_OURS} ${GREETING:-hi}']
    env_file: web.env
    env:
      PORT: "${PORT}"
      DB_URL: "postgres://user:${DB_PASSWORD}@${db.ip}:5432/x"
      SESSION: abc
      COUNT: 3
    tty: ${TTY:-true}
    dependencies: [{service: db, condition: started}]
  db: {type: docker, image: "postgres:${TAG:-16}"}
  debug: {type: process, binary: sh, profiles: [debug]}
"#;
const OVER: &str = "services:\n  web: {restart: always, env: {COUNT: \"4\"}}\n";
const WEB_ENV: &str = "PORT=1\nLOG=a b\nAPI_TOKEN=hunter3\n";

fn folder() -> Folder {
    let folder = Folder::new(BASE);
    folder.write("over.yaml", OVER);
    folder.write("web.env", WEB_ENV);
    folder.write(".env", "PORT=8080\nDB_PASSWORD=hunter2\n");
    folder
}

fn options(folder: &Folder) -> LoadOptions {
    let mut options = folder.options_with(&[("TAG", "17")]);
    options.files = vec!["services.yaml".into(), "over.yaml".into()];
    options
}

fn resolved(folder: &Folder) -> Resolved {
    resolve(&options(folder)).unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn files_are_merged_variables_replaced_and_secrets_hidden() {
    let yaml = resolved(&folder()).to_yaml(false);
    for line in [
        "name: shop\n",
        "    args: [\"-c\", \"echo $HOME $${NOT_OURS} hi\"]\n",
        "    restart: always\n",
        "    tty: true\n",
        "      API_TOKEN: \"•••\"\n",
        "      COUNT: \"4\"\n",
        "      DB_URL: \"postgres://user:•••@${db.ip}:5432/x\"\n",
        "      LOG: \"a b\"\n",
        "      PORT: \"8080\"\n",
        "      SESSION: \"•••\"\n",
        "      - service: db\n        condition: started\n",
        "    image: \"postgres:17\"\n",
    ] {
        assert!(yaml.contains(line), "{line}\n{yaml}");
    }
    for absent in ["hunter", "x-base", "debug", "abc"] {
        assert!(!yaml.contains(absent), "{absent}\n{yaml}");
    }
}

#[test]
fn each_value_says_where_it_comes_from() {
    let resolved = resolved(&folder());
    let yaml = resolved.to_yaml(true);
    let origin = |key: &str| {
        let line = yaml.lines().find(|line| line.trim_start().starts_with(key));
        line.and_then(|line| line.split_once("  # "))
            .map(|(_, from)| from.to_owned())
    };
    for (key, from) in [
        ("binary:", "services.yaml:4"),
        ("restart:", "over.yaml:2"),
        ("args:", "services.yaml:8, GREETING by its default"),
        ("tty:", "services.yaml:15, TTY by its default"),
        ("COUNT:", "over.yaml:2"),
        ("LOG:", "web.env:2"),
        ("PORT:", "services.yaml:11, PORT from .env:1"),
        ("DB_URL:", "services.yaml:12, DB_PASSWORD from .env:2"),
        ("image:", "services.yaml:17, TAG from the environment"),
    ] {
        assert_eq!(origin(key).as_deref(), Some(from), "{key}\n{yaml}");
    }
    let origins = resolved.origins();
    assert_eq!(origins["services.web.env.LOG"][0], "web.env:2");
    assert_eq!(
        origins["services.web.dependencies.0.service"][0],
        "services.yaml:16"
    );
    assert_eq!(resolved.to_json()["services"]["web"]["tty"], true);
}

#[test]
fn what_is_printed_can_be_read_again() {
    let printed = resolved(&folder()).to_yaml(true);
    let again = Folder::new(&printed);
    again.write("web.env", WEB_ENV);
    let (first, second) = (good(&options(&folder())).project, good(&again.options()).project);
    let names: Vec<_> = second.services.keys().collect();
    assert_eq!(names, first.services.keys().collect::<Vec<_>>());
    for (name, spec) in &second.services {
        let before = &first.services[name];
        assert_eq!(spec.type_name(), before.type_name());
        assert_eq!((spec.restart, spec.tty), (before.restart, before.tty));
        assert_eq!(spec.dependencies, before.dependencies);
        let shown = |spec: &harness_model::ServiceSpec| {
            let env = spec.env.iter().map(|(name, value)| format!("{name}={value}"));
            env.collect::<Vec<_>>()
        };
        assert_eq!(shown(spec).len(), shown(before).len());
    }
}

#[test]
fn a_profile_brings_its_services_and_a_mistake_is_told() {
    let folder = folder();
    let mut chosen = options(&folder);
    chosen.profiles = ["debug".to_owned()].into();
    let yaml = resolve(&chosen).unwrap().to_yaml(false);
    assert!(yaml.contains("\n  debug:\n"), "{yaml}");
    chosen.project = Some("other".parse().unwrap());
    let named = resolve(&chosen).unwrap();
    assert!(named.to_yaml(true).starts_with("name: other"), "{named:?}");
    folder.write("over.yaml", "services: {web: {bogus: 1}}\n");
    assert!(resolve(&options(&folder)).is_err());
}
