//! What a correct file means, key by key.

#![cfg(test)]

mod common;

use std::time::Duration;

use common::{Folder, good, good_text};
use harness_model::spec::{
    Condition, InheritEnv, Kind, Probe, ProcessSpec, Protocol, RestartMode, Signal, StopMode,
};
use harness_model::{Part, SecretString, ServiceSpec, Template};

fn service(more: &str) -> ServiceSpec {
    let text = format!("services:\n  a:\n    type: process\n    binary: sh\n{more}");
    good_text(&text).project.services["a"].clone()
}

fn process(spec: &ServiceSpec) -> &ProcessSpec {
    match &spec.kind {
        Kind::Process(process) => process,
        other => panic!("{other:?}"),
    }
}

fn texts(templates: &[Template]) -> Vec<String> {
    templates.iter().map(Template::to_string).collect()
}

#[test]
fn defaults() {
    let spec = service("");
    assert_eq!(spec.startup_timeout, Duration::from_secs(60));
    assert_eq!(spec.shutdown_timeout, Duration::from_secs(10));
    assert_eq!(
        (spec.stop_signal, spec.stop_mode),
        (Some(Signal(15)), StopMode::Mixed)
    );
    assert_eq!(spec.restart.mode, RestartMode::No);
    assert_eq!((spec.logs.max_size, spec.logs.max_files), (64 << 20, 5));
    assert_eq!(spec.inherit_env, InheritEnv::Minimal);
    assert!(!spec.stdin && !spec.tty && !spec.oneshot);
    assert_eq!(
        process(&spec).binary.to_string(),
        "sh",
        "no slash: looked up in PATH"
    );
}

#[test]
fn settings_are_defaults_for_services() {
    let text = "\
settings: {startup_timeout: 5, shutdown_timeout: 1, restart: {policy: always, max_restarts: 2}, logs: {max_files: 2}, inherit_env: [A]}
services:
  a: {type: process, binary: sh}
  b: {type: process, binary: sh, startup_timeout: 2m, restart: no, logs: {max_size: 1MiB}, inherit_env: false}
  c: {type: process, binary: sh, oneshot: true}
";
    let services = good_text(text).project.services;
    let (a, b) = (&services["a"], &services["b"]);
    assert_eq!(
        (a.startup_timeout.as_secs(), a.shutdown_timeout.as_secs()),
        (5, 1)
    );
    assert_eq!(
        (a.restart.mode, a.restart.max_restarts),
        (RestartMode::Always, Some(2))
    );
    assert_eq!((a.logs.max_size, a.logs.max_files), (64 << 20, 2));
    assert_eq!(a.inherit_env, InheritEnv::Only(["A".to_owned()].into()));
    assert_eq!(
        (b.startup_timeout.as_secs(), b.restart.mode),
        (120, RestartMode::No)
    );
    assert_eq!((b.logs.max_size, b.logs.max_files), (1 << 20, 2));
    assert_eq!(b.inherit_env, InheritEnv::Minimal);
    assert_eq!(
        services["c"].restart.mode,
        RestartMode::No,
        "a oneshot is not kept running"
    );
}

#[test]
fn numbers_are_kept_as_written() {
    let spec = service("    env: {A: 5432, B: 1.10, C: 0x10, D: 007, E: 1_000, F: .5}\n    args: [10, -1]\n");
    let values: Vec<String> = spec.env.values().map(Template::to_string).collect();
    assert_eq!(values, ["5432", "1.10", "0x10", "007", "1_000", ".5"]);
    assert_eq!(texts(&process(&spec).args), ["10", "-1"]);
}

#[test]
fn variables_as_a_list() {
    let spec = service("    env: [A=1, B=x=y, C=]\n");
    let pairs: Vec<(&str, String)> = spec
        .env
        .iter()
        .map(|(k, v)| (k.as_str(), v.to_string()))
        .collect();
    assert_eq!(
        pairs,
        [("A", "1".into()), ("B", "x=y".into()), ("C", String::new())]
    );
}

#[test]
fn ports_in_every_form() {
    let text = "\
services:
  p: {type: process, binary: sh, ports: [5432, \"5353/udp\", {name: admin, port: 0}, \"127.0.0.1:99\"]}
  m: {type: process, binary: sh, ports: {http: 81, admin: \"82/udp\"}}
  d: {type: docker, image: x, ports: [83, \"8080:80\", \"0.0.0.0:8081:80/udp\", \"[::1]:84:84\", \"0:85\", {port: 86, target: 87, host_ip: 127.0.0.2}]}
";
    let services = good_text(text).project.services;
    let ports = |name: &str| {
        let list: Vec<String> = services[name]
            .ports
            .iter()
            .map(|p| {
                let name = p.name.as_ref().map_or("", |name| name.as_str());
                let udp = if p.protocol == Protocol::Udp { "/udp" } else { "" };
                format!(
                    "{name} {}:{}:{:?}{udp}",
                    p.host_ip.as_deref().unwrap_or("-"),
                    p.port,
                    p.target
                )
            })
            .collect();
        list.join(" | ")
    };
    assert_eq!(
        ports("p"),
        " -:5432:None |  -:5353:None/udp | admin -:0:None |  127.0.0.1:99:None"
    );
    assert_eq!(ports("m"), "http -:81:None | admin -:82:None/udp");
    assert_eq!(
        ports("d"),
        " -:83:None |  -:8080:Some(80) |  0.0.0.0:8081:Some(80)/udp |  ::1:84:None |  -:0:Some(85) |  127.0.0.2:86:Some(87)"
    );
    let origin = services["p"].ports[0].origin.as_ref().unwrap();
    assert_eq!((origin.file.as_str(), origin.line), ("services.yaml", 2));
    assert!(origin.text.starts_with("p: {type: process"));
}

#[test]
fn commands_are_split_like_a_shell_does_and_values_stay_whole() {
    let text = "\
services:
  a:
    type: process
    binary: sh
    hooks: {before_start: \"echo 'a b' ${X} \\\"c ${X}\\\" ${NOPE:-d e} $HOME $$x\", after_stop: [x, \"y z\"], before_stop: {command: [echo, \"${X}\"], timeout: 1500ms}}
    health_check: {command: pg_isready -q, args: [-h, \"${a.ip}\"]}
    ports: [1]
";
    let loaded = good(&Folder::new(text).options_with(&[("X", "1 '2")]));
    let spec = &loaded.project.services["a"];
    assert_eq!(
        texts(&spec.hooks.before_start.as_ref().unwrap().words),
        ["echo", "a b", "1 '2", "c 1 '2", "d e", "$HOME", "$x"]
    );
    let after_stop = spec.hooks.after_stop.as_ref().unwrap();
    assert_eq!(texts(&after_stop.words), ["x", "y z"]);
    assert_eq!(after_stop.limit(), Duration::from_secs(60));
    let before_stop = spec.hooks.before_stop.as_ref().unwrap();
    assert_eq!(texts(&before_stop.words), ["echo", "1 '2"]);
    assert_eq!(before_stop.limit(), Duration::from_millis(1500));
    let Probe::Command(words) = &spec.health_check.as_ref().unwrap().probe else {
        panic!()
    };
    assert_eq!(texts(words), ["pg_isready", "-q", "-h", "${a.ip}"]);
    assert!(
        spec.dependencies.is_empty(),
        "a reference to itself implies no dependency"
    );
}

#[test]
fn health_checks() {
    let check = |text: &str| {
        service(&format!("    health_check: {{{text}}}\n"))
            .health_check
            .unwrap()
    };
    assert_eq!(check("tcp: 5432").probe, Probe::Tcp("localhost:5432".into()));
    assert_eq!(check("tcp: \"db:1\"").probe, Probe::Tcp("db:1".into()));
    assert_eq!(check("log: \"ready$\"").probe, Probe::Log("ready$".into()));
    assert_eq!(
        check("http: \"http://[::1]:80/x?y\"").probe,
        Probe::Http("http://[::1]:80/x?y".into())
    );
    let check = check("tcp: 1, interval: 500ms, timeout: 2, retries: 7, start_period: 1m");
    assert_eq!(
        (
            check.interval.as_millis(),
            check.timeout.as_secs(),
            check.retries,
            check.start_period.as_secs()
        ),
        (500, 2, 7, 60)
    );
}

#[test]
fn stop_signals() {
    for (text, number) in [
        ("SIGINT", 2),
        ("int", 2),
        ("9", 9),
        ("\"15\"", 15),
        ("SIGRTMIN+3", 37),
    ] {
        assert_eq!(
            service(&format!("    stop_signal: {text}\n")).stop_signal,
            Some(Signal(number)),
            "{text}"
        );
    }
}

#[test]
fn restart_in_every_form() {
    let restart = |text: &str| {
        let policy = service(&format!("    {text}\n")).restart;
        (policy.mode, policy.max_restarts)
    };
    assert_eq!(restart("restart: no"), (RestartMode::No, None));
    assert_eq!(restart("restart: \"no\""), (RestartMode::No, None));
    assert_eq!(
        restart("restart: on-failure\n    max_restarts: 3"),
        (RestartMode::OnFailure, Some(3))
    );
    assert_eq!(
        restart("restart: {policy: unless-stopped}"),
        (RestartMode::UnlessStopped, None)
    );
}

#[test]
fn paths_are_relative_to_the_file_and_the_home() {
    let folder = Folder::new(
        "\
networks:
  lan: {type: lan, nodes: [{host: h, ssh_key: ~/.ssh/id}]}
services:
  a: {type: process, binary: ./bin/./a, working_dir: sub, files: [{template: t.conf, target: out/t.conf}]}
  b: {type: process, binary: ~/bin/b, working_dir: /tmp}
  c: {type: docker, build: ctx, volumes: [\"./data:/data\", \"named:/x\", \"~/y:/y:ro\", \"/abs:/z\"]}
  d: {type: remote, network: lan, binary: ~/bin/d, working_dir: w}
",
    );
    let loaded = good(&folder.options());
    let services = &loaded.project.services;
    let under = |path: &str| folder.path().join(path).display().to_string();
    let dir = |name: &str| process(&services[name]).working_dir.as_ref().unwrap().to_string();
    assert_eq!(process(&services["a"]).binary.to_string(), under("bin/a"));
    assert_eq!(dir("a"), under("sub"));
    assert_eq!(services["a"].files[0].target.to_string(), under("out/t.conf"));
    assert_eq!(process(&services["b"]).binary.to_string(), "/home/someone/bin/b");
    assert_eq!(dir("b"), "/tmp");
    let Kind::Container(docker) = &services["c"].kind else {
        panic!()
    };
    assert_eq!(
        docker.build.as_ref().unwrap().context.display().to_string(),
        under("ctx")
    );
    assert_eq!(
        texts(&docker.volumes),
        [
            under("data:/data"),
            "named:/x".into(),
            "/home/someone/y:/y:ro".into(),
            "/abs:/z".into()
        ]
    );
    assert_eq!(
        process(&services["d"]).binary.to_string(),
        "bin/d",
        "from the home of the node"
    );
    assert_eq!(dir("d"), "w");
    assert_eq!(
        loaded.project.networks["lan"].nodes[0]
            .ssh_key
            .as_ref()
            .unwrap()
            .to_str(),
        Some("/home/someone/.ssh/id")
    );
}

#[test]
fn a_service_without_working_dir_runs_in_the_folder_of_its_file() {
    let folder = Folder::new("services: {a: {type: process, binary: sh}}\n");
    let loaded = good(&folder.options());
    let expected = folder.path().display().to_string();
    assert_eq!(
        process(&loaded.project.services["a"])
            .working_dir
            .as_ref()
            .unwrap()
            .to_string(),
        expected
    );
}

#[test]
fn conditions_follow_the_target() {
    let text = "\
services:
  db: {type: process, binary: sh, health_check: {tcp: 1}}
  init: {type: process, binary: sh, oneshot: true}
  plain: {type: process, binary: sh, ports: [80]}
  a:
    type: process
    binary: sh
    dependencies: [db, init, {service: plain, condition: log, pattern: ready, restart: true, required: false}]
  b: {type: process, binary: sh, env: {X: \"${plain.ip}${db.host}\"}, dependencies: [{service: db, condition: none}]}
";
    let services = good_text(text).project.services;
    let of = |name: &str| -> Vec<(String, Condition)> {
        services[name]
            .dependencies
            .iter()
            .map(|d| (d.service.to_string(), d.condition.clone()))
            .collect()
    };
    assert_eq!(
        of("a"),
        [
            ("db".into(), Condition::Healthy),
            ("init".into(), Condition::Completed),
            ("plain".into(), Condition::Log("ready".into())),
        ]
    );
    assert!(services["a"].dependencies[2].restart && !services["a"].dependencies[2].required);
    assert_eq!(
        of("b"),
        [
            ("db".into(), Condition::None),
            ("plain".into(), Condition::Started)
        ]
    );
}

#[test]
fn taking_only_an_address_makes_no_cycle() {
    let text = "\
services:
  a: {type: process, binary: sh, env: {X: \"${b.ip}\"}, dependencies: [{service: b, condition: none}]}
  b: {type: process, binary: sh, env: {X: \"${a.ip}\"}}
";
    assert_eq!(good_text(text).project.services.len(), 2);
}

#[test]
fn a_default_of_a_secret_is_one_secret() {
    let folder =
        Folder::new("services:\n  a: {type: process, binary: sh, env: {X: \"${MY_KEY:-ab${A}$$cd}\"}}\n");
    let loaded = good(&folder.options_with(&[("A", "1")]));
    let value = &loaded.project.services["a"].env["X"];
    assert_eq!(value.parts(), [Part::Secret(SecretString::new("ab1$cd"))]);
}

#[test]
fn secrets_are_secret() {
    let text = "\
secrets: [PIN]
services:
  a:
    type: process
    binary: sh
    env:
      URL: \"db://u:${DB_PASSWORD}@x/${PIN}\"
      API_TOKEN: literal
      PIN: 1234
      OTHER: \"${NOT_SET_TOKEN:-fallback}\"
      PLAIN: x
";
    let loaded = good(&Folder::new(text).options_with(&[("DB_PASSWORD", "hunter2"), ("PIN", "9876")]));
    let env = &loaded.project.services["a"].env;
    let shown: Vec<String> = env.values().map(Template::to_string).collect();
    assert_eq!(shown, ["•••", "•••", "•••", "x", "db://u:•••@x/•••"]);
    assert_eq!(env["URL"].expose().unwrap(), "db://u:hunter2@x/9876");
    assert!(matches!(env["API_TOKEN"].parts(), [Part::Secret(_)]));
    assert!(!format!("{:?}", loaded.project).contains("hunter2"));
    assert_eq!(loaded.project.secrets, ["PIN".to_owned()].into());
}

#[test]
fn anchors_aliases_and_merge_keys() {
    let text = "\
x-base: &base {type: process, binary: sh, env: &env {A: 1}}
services:
  a: {<<: *base, env: {<<: *env, B: 2}}
  b: *base
";
    let services = good_text(text).project.services;
    assert_eq!(services["a"].env.len(), 2);
    assert_eq!(services["b"].env["A"].to_string(), "1");
}

#[test]
fn warnings_do_not_refuse() {
    let text = "\
networks:
  lan: {type: lan, subnet: 10.0.0.0/8, nodes: [{host: 192.168.0.1}]}
services:
  db: {type: process, binary: sh, ports: [5432]}
  a: {type: process, binary: sh, env: {OK: \"${db.ip}:5432/x\", BAD: \"${db.ip}:5433\"}}
";
    let loaded = good_text(text);
    let warnings: Vec<String> = loaded
        .warnings
        .iter()
        .map(|w| format!("{}:{} {}", w.line, w.column, w.message))
        .collect();
    assert_eq!(
        warnings,
        [
            "2:3 no service is on the network `lan`",
            "2:55 `192.168.0.1` is not in the network's subnet 10.0.0.0/8",
            "5:69 `db` does not declare the port 5433",
        ]
    );
    assert!(loaded.warnings.render(false).starts_with("warning: "));
}

#[test]
fn a_pool_of_addresses_lets_ports_repeat() {
    let text = "\
networks: {local: {type: local, subnet: 127.0.0.0/8}}
services:
  a: {type: process, binary: sh, ports: [80]}
  b: {type: process, binary: sh, ports: [80]}
";
    assert_eq!(good_text(text).project.services.len(), 2);
}

#[test]
fn every_string_may_hold_variables() {
    let text = "\
name: \"${NAME}\"
services:
  a: {type: \"${TYPE}\", binary: sh, ports: [\"${PORT}\"], oneshot: \"${FLAG}\", startup_timeout: \"${T}s\", stop_signal: \"${S:-INT}\"}
";
    let variables = [
        ("NAME", "n"),
        ("TYPE", "process"),
        ("PORT", "81"),
        ("FLAG", "true"),
        ("T", "7"),
    ];
    let project = good(&Folder::new(text).options_with(&variables)).project;
    let spec = &project.services["a"];
    assert_eq!(
        (project.name.as_str(), spec.ports[0].port, spec.oneshot),
        ("n", 81, true)
    );
    assert_eq!(
        (spec.startup_timeout.as_secs(), spec.stop_signal),
        (7, Some(Signal(2)))
    );
}

#[test]
fn a_path_may_come_from_a_variable_that_is_called_a_key() {
    let text = "\
networks:
  lan: {type: lan, nodes: [{host: h, ssh_key: \"${DEPLOY_KEY}\"}]}
services:
  a: {type: remote, network: lan, binary: x}
";
    let project = good(&Folder::new(text).options_with(&[("DEPLOY_KEY", "/keys/deploy")])).project;
    assert_eq!(
        project.networks["lan"].nodes[0]
            .ssh_key
            .as_ref()
            .unwrap()
            .to_str(),
        Some("/keys/deploy")
    );
}
