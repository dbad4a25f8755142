//! What `harness init` writes is valid, whatever file it reads.

#![cfg(test)]

mod common;

use common::{Folder, good};
use harness_config::import::{ImportError, from_compose, from_package_json, from_procfile, starter};
use harness_model::Template;
use harness_model::spec::{Condition, InheritEnv, Kind, Probe};

#[test]
fn the_starter_is_valid_and_needs_only_sh() {
    let loaded = good(&Folder::new(&starter("My App")).options());
    assert!(loaded.warnings.is_empty());
    assert_eq!(loaded.project.name.as_str(), "my-app");
    assert!(starter("x").starts_with("# yaml-language-server: $schema="));
    for service in loaded.project.services.values() {
        assert!(matches!(&service.kind, Kind::Process(p) if p.binary.to_string() == "sh"));
    }
    assert_eq!(
        loaded.project.services["clock"].dependencies[0].condition,
        Condition::Completed
    );
}

#[test]
fn a_procfile_becomes_processes_in_a_shell() {
    let text = from_procfile(
        "# c\nweb: serve -p $PORT ${X:-1} | tee \"log\" $$\n\nworker-1:  run it \n",
        None,
    )
    .unwrap();
    let loaded = good(&Folder::new(&text).options());
    let args = |name: &str| match &loaded.project.services[name].kind {
        Kind::Process(p) => p.args.iter().map(Template::to_string).collect::<Vec<_>>(),
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
        from_procfile("web\n", None),
        Err(ImportError::BadLine { line: 1 })
    ));
    assert!(matches!(
        from_procfile("# x\n", None),
        Err(ImportError::NoServices)
    ));
}

#[test]
fn a_procfile_keeps_the_variables_and_the_port_of_its_env_file() {
    let text = from_procfile(
        "\u{feff}web: serve -p $PORT\r\nworker: run\r\n",
        Some("PORT=3000 # here\nLOG=a b\n"),
    )
    .unwrap();
    let folder = Folder::new(&text);
    folder.write(".env", "PORT=3000 # here\nLOG=a b\n");
    let services = good(&folder.options()).project.services;
    for (name, port) in [("web", "3000"), ("worker", "3100")] {
        let env = &services[name].env;
        assert_eq!(
            (env["PORT"].to_string(), env["LOG"].to_string()),
            (port.into(), "a b".into())
        );
        assert_eq!(services[name].inherit_env, InheritEnv::All);
    }
    assert_eq!(services["web"].ports[0].port, 3000);
}

#[test]
fn a_name_that_is_given_twice_is_refused_with_both_its_lines() {
    let error = from_procfile("web: a\n\nworker: b\nweb: c\n", None).unwrap_err();
    assert_eq!(
        error.to_string(),
        "line 4 is called `web`, and so is line 1: give each line its own name"
    );
}

/// The services of a package.json with these scripts: name, program and arguments.
fn packaged(json: &str) -> Vec<(String, String)> {
    let text = from_package_json(json).unwrap();
    let loaded = good(&Folder::new(&text).options());
    assert!(loaded.warnings.is_empty(), "{}", loaded.warnings);
    let services = loaded.project.services.into_iter();
    services
        .map(|(name, spec)| {
            assert_eq!(spec.inherit_env, InheritEnv::All);
            let Kind::Process(process) = spec.kind else {
                panic!("{name} is no process")
            };
            let args: Vec<String> = process.args.iter().map(Template::to_string).collect();
            (name.to_string(), format!("{} {}", process.binary, args.join(" ")))
        })
        .collect()
}

#[test]
fn a_package_json_becomes_what_its_script_runs_side_by_side() {
    const PATH: &str = "PATH=\"$PWD/node_modules/.bin:$PATH\"; ";
    for (scripts, expected) in [
        (
            r#""dev": "concurrently -k -n api,web \"npm:server\" \"vite --port 3000\"", "server": "node s.js""#,
            vec![
                ("api", "npm run server".to_owned()),
                ("web", format!("sh -c {PATH}vite --port 3000")),
            ],
        ),
        (
            r#""start": "concurrently 'npm:watch:*' 'NODE_ENV=x ./bin/serve ${A}'", "watch:css": "a", "watch:js": "b""#,
            vec![
                ("serve", format!("sh -c {PATH}NODE_ENV=x ./bin/serve ${{A}}")),
                ("watch-css", "npm run watch:css".to_owned()),
                ("watch-js", "npm run watch:js".to_owned()),
            ],
        ),
        (
            r#""dev": "concurrently \"npm run a\" \"npm run a\"", "a": "x""#,
            vec![("a", "npm run a".to_owned()), ("a-2", "npm run a".to_owned())],
        ),
        (
            r#""dev": "run-p api web:*", "api": "x", "web:a": "y", "web:b": "z""#,
            vec![
                ("api", "npm run api".to_owned()),
                ("web-a", "npm run web:a".to_owned()),
                ("web-b", "npm run web:b".to_owned()),
            ],
        ),
        (
            r#""dev": "npm-run-all --parallel api web", "api": "x", "web": "y""#,
            vec![
                ("api", "npm run api".to_owned()),
                ("web", "npm run web".to_owned()),
            ],
        ),
        (
            r#""dev": "concurrently -n a,b npm:web 'npm:api -- --port 3'", "web": "x", "api": "y""#,
            vec![
                ("a", "npm run web".to_owned()),
                ("b", format!("sh -c {PATH}npm run api -- --port 3")),
            ],
        ),
        (
            r#""dev": "npm-run-all clean --parallel web api", "clean": "x", "web": "y", "api": "z""#,
            vec![("my-app", "npm run dev".to_owned())],
        ),
        (
            r#""dev": "run-p web 'api -- --port 3'", "web": "y""#,
            vec![("my-app", "npm run dev".to_owned())],
        ),
        (
            r#""dev": "tsc && concurrently a b""#,
            vec![("my-app", "npm run dev".to_owned())],
        ),
        (
            r#""start": "node .", "test": "jest""#,
            vec![("my-app", "npm run start".to_owned())],
        ),
    ] {
        let json = format!(r#"{{"name": "my-app", "scripts": {{{scripts}}}}}"#);
        let expected: Vec<(String, String)> = expected
            .into_iter()
            .map(|(name, command)| (name.to_owned(), command))
            .collect();
        assert_eq!(packaged(&json), expected, "{scripts}");
    }
}

#[test]
fn a_package_json_is_read_with_its_own_package_manager() {
    let pnpm = r#"{"packageManager": "pnpm@9.1.0", "scripts": {"dev": "vite"}}"#;
    assert_eq!(packaged(pnpm), [("dev".to_owned(), "pnpm run dev".to_owned())]);
    let text =
        from_package_json(r#"{"scripts": {"dev": "vite", "test": "jest", "lint": "eslint"}}"#).unwrap();
    assert!(
        text.contains("# Not taken over: test, lint.") || text.contains("# Not taken over: lint, test."),
        "{text}"
    );
    for (text, message) in [
        ("{", "it is not valid JSON"),
        ("{}", "it has no script called `dev`, `start`, `serve` or `watch`"),
        (
            r#"{"scripts": {"test": "x"}}"#,
            "it has no script called `dev`, `start`, `serve` or `watch`",
        ),
    ] {
        assert_eq!(from_package_json(text).unwrap_err().to_string(), message);
    }
}

#[test]
fn compose_services_whose_names_become_one_stay_two() {
    let text = from_compose(
        "services:\n  web.app: {image: a, depends_on: [web-app]}\n  web-app: {image: b, environment: {A: '${NOT_SET}/$ALSO_NOT'}}\n",
    )
    .unwrap();
    let services = good(&Folder::new(&text).options()).project.services;
    let names: Vec<&str> = services.keys().map(|name| name.as_str()).collect();
    assert_eq!(names, ["web-app", "web-app-2"]);
    assert_eq!(services["web-app"].dependencies[0].service.as_str(), "web-app-2");
    assert_eq!(services["web-app-2"].env["A"].to_string(), "/");
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
