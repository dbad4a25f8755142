//! What `harness init` writes is valid, whatever file it reads.

#![cfg(test)]

mod common;

use common::{Folder, good};
use harness_config::import::{ImportError, from_compose, from_procfile, starter};
use harness_model::Template;
use harness_model::spec::{Condition, Probe, ServiceKind};

#[test]
fn the_starter_is_valid_and_needs_only_sh() {
    let loaded = good(&Folder::new(&starter("My App")).options());
    assert!(loaded.warnings.is_empty());
    assert_eq!(loaded.project.name.as_str(), "my-app");
    assert!(starter("x").starts_with("# yaml-language-server: $schema="));
    for service in loaded.project.services.values() {
        assert!(matches!(&service.kind, ServiceKind::Process(p) if p.binary.to_string() == "sh"));
    }
    assert_eq!(
        loaded.project.services["clock"].dependencies[0].condition,
        Condition::Completed
    );
}

#[test]
fn a_procfile_becomes_processes_in_a_shell() {
    let text =
        from_procfile("# c\nweb: serve -p $PORT ${X:-1} | tee \"log\" $$\n\nworker-1:  run it \n").unwrap();
    let loaded = good(&Folder::new(&text).options());
    let args = |name: &str| match &loaded.project.services[name].kind {
        ServiceKind::Process(p) => p.args.iter().map(Template::to_string).collect::<Vec<_>>(),
        other => panic!("{other:?}"),
    };
    assert_eq!(args("web"), ["-c", "serve -p $PORT ${X:-1} | tee \"log\" $$"]);
    assert_eq!(args("worker-1"), ["-c", "run it"]);
    let services = &loaded.project.services;
    let port = |name: &str| services[name].env["PORT"].to_string();
    assert_eq!((port("web"), port("worker-1")), ("5000".into(), "5100".into()));
    // A service that does not use the port need not listen.
    assert_eq!(services["web"].ports[0].port, 5000);
    assert!(services["worker-1"].ports.is_empty());
    assert!(matches!(
        from_procfile("web\n"),
        Err(ImportError::BadLine { line: 1 })
    ));
    assert!(matches!(from_procfile("# x\n"), Err(ImportError::NoServices)));
}

const COMPOSE: &str = r#"
version: "3.8"
name: Shop
services:
  db:
    image: postgres:15
    environment: {POSTGRES_PASSWORD: $DB_PASSWORD, DEBUG: true, PORT: 5432, PASSED:}
    ports: ["5432:5432", "9000", {target: 80, published: 8080, protocol: udp}, "70-80:70-80"]
    volumes: [data:/var/lib, ./conf:/conf:ro, /anonymous, {type: bind, source: ./x, target: /x, read_only: true}]
    healthcheck: {test: [CMD-SHELL, "pg_isready -U ${PGUSER-postgres}"], interval: 1m30s, retries: 5}
    restart: on-failure:3
    networks: [back]
    stop_grace_period: 30s
  web.app:
    build: {context: ., target: prod}
    command: serve --name "a b"
    environment: ["A=1: x", PASSED]
    depends_on: {db: {condition: service_healthy}, cache: {condition: service_started}}
    labels: [a=b]
    profiles: [full]
    tty: true
    ipc: host
  cache:
    image: redis
    depends_on: [db]
    restart: "no"
    healthcheck: {test: redis-cli ping}
"#;

#[test]
fn a_compose_file_becomes_docker_services() {
    let text = from_compose(COMPOSE).unwrap();
    let mut options = Folder::new(&text).options_with(&[("DB_PASSWORD", "x")]);
    let folder = Folder::new(&text);
    options.cwd = folder.path().to_path_buf();
    options.profiles = ["full".to_owned()].into();
    let project = good(&options).project;
    assert_eq!(project.name.as_str(), "shop");
    let db = &project.services["db"];
    let env: Vec<String> = db.env.iter().map(|(k, v)| format!("{k}={v}")).collect();
    assert_eq!(env, ["DEBUG=true", "PORT=5432", "POSTGRES_PASSWORD=•••"]);
    let ports: Vec<String> = db
        .ports
        .iter()
        .map(|p| format!("{}:{:?}", p.port, p.target))
        .collect();
    assert_eq!(
        ports[..4],
        ["5432:None", "0:Some(9000)", "8080:Some(80)", "70:None"]
    );
    let Probe::Command(words) = &db.health_check.as_ref().unwrap().probe else {
        panic!()
    };
    assert_eq!(words[2].to_string(), "pg_isready -U postgres");
    let web = &project.services["web-app"];
    assert!(web.tty);
    let needs: Vec<(String, Condition)> = web
        .dependencies
        .iter()
        .map(|d| (d.service.to_string(), d.condition.clone()))
        .collect();
    assert_eq!(
        needs,
        [
            ("db".into(), Condition::Healthy),
            ("cache".into(), Condition::Started)
        ]
    );
    for what in [
        "`networks`",
        "the unnamed volume /anonymous is not supported",
        "`ipc` of a compose service is not supported",
    ] {
        assert!(text.contains(&format!("# not imported: {what}")), "{text}");
    }
}

#[test]
fn what_is_no_compose_file_is_refused() {
    assert!(matches!(from_compose("a: b: c"), Err(ImportError::NotYaml(_))));
    assert!(matches!(from_compose("a: 1\n"), Err(ImportError::NoServices)));
    assert!(matches!(
        from_compose("services: {}\n"),
        Err(ImportError::NoServices)
    ));
}
