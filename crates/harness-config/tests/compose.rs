//! `type: compose`: services of a compose file as docker services.

#![cfg(test)]

mod common;

use common::{Folder, good, mistakes};
use harness_config::{LoadOptions, Loaded};
use harness_model::spec::{Condition, DockerSpec, EngineOptions, Kind, Probe, RestartMode, Signal, Ulimit};
use harness_model::{NetworkName, ServiceSpec, Template};

/// A folder with this services.yaml and this compose file.
fn folder(services: &str, compose: &str) -> Folder {
    let folder = Folder::new(services);
    folder.write("stack/compose.yml", compose);
    folder
}

fn options(folder: &Folder) -> LoadOptions {
    folder.options_with(&[("DB_PASSWORD", "hunter2"), ("EMPTY", ""), ("WORDS", "a b")])
}

fn loaded(services: &str, compose: &str) -> Loaded {
    good(&options(&folder(services, compose)))
}

/// One service `a` of a compose file with these keys.
fn one(keys: &str) -> (ServiceSpec, Folder) {
    let folder = folder(
        "services:\n  a: {type: compose, file: stack/compose.yml, service: a}\n",
        &format!(
            "services:\n  a:\n    image: x\n{keys}volumes:\n  data:\n  named: {{name: elsewhere}}\n  theirs: {{external: true}}\n"
        ),
    );
    let loaded = good(&options(&folder));
    (loaded.project.services["a"].clone(), folder)
}

fn docker(spec: &ServiceSpec) -> &DockerSpec {
    match &spec.kind {
        Kind::Container(docker) => docker,
        other => panic!("{other:?}"),
    }
}

fn texts(templates: &[Template]) -> Vec<String> {
    templates.iter().map(|text| text.expose().unwrap()).collect()
}

fn env(spec: &ServiceSpec) -> Vec<String> {
    spec.env
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect()
}

fn needs(spec: &ServiceSpec) -> Vec<String> {
    let needs = spec.dependencies.iter();
    needs
        .map(|need| {
            format!(
                "{} {:?}{}{}",
                need.service,
                need.condition,
                if need.restart { " restart" } else { "" },
                if need.required { "" } else { " optional" }
            )
        })
        .collect()
}

/// `file:line:column message (help)` of each mistake.
fn said(services: &str, compose: &str) -> Vec<String> {
    let folder = folder(services, compose);
    let mistakes = mistakes(&options(&folder));
    assert!(!mistakes.to_string().contains("hunter2"), "{mistakes}");
    mistakes
        .iter()
        .map(|d| {
            let help = d
                .help
                .as_ref()
                .map_or_else(String::new, |help| format!(" ({help})"));
            format!("{}:{}:{} {}{help}", d.file, d.line, d.column, d.message)
        })
        .collect()
}

const ALL: &str = "services:\n  stack: {type: compose, file: stack/compose.yml}\n";

#[test]
fn the_seeds_file_has_two_networks_with_written_addresses() {
    let loaded = loaded(ALL, include_str!("fixtures/seeds/docker-compose.test.yml"));
    let project = &loaded.project;
    assert!(loaded.warnings.is_empty(), "{}", loaded.warnings);
    let names: Vec<&str> = project.services.keys().map(|name| name.as_str()).collect();
    assert_eq!(names, ["lan_node", "wg_node"]);
    for (service, network, subnet, address) in [
        ("lan_node", "lan_network", "192.168.100.0/24", "192.168.100.10"),
        ("wg_node", "wan_network", "10.0.0.0/24", "10.0.0.10"),
    ] {
        let spec = &project.services[service];
        assert_eq!(spec.network.as_str(), network);
        assert_eq!(project.networks[network].subnet, Some(subnet.parse().unwrap()));
        let [attachment] = docker(spec).networks.as_slice() else {
            panic!("{spec:?}");
        };
        assert_eq!(attachment.network.as_str(), network);
        assert_eq!(attachment.ipv4_address.unwrap().to_string(), address);
    }
    assert_eq!(
        texts(&docker(&project.services["lan_node"]).volumes),
        ["/var/run/docker.sock:/var/run/docker.sock"]
    );
}

#[test]
fn each_key_means_what_it_means_to_compose() {
    let (a, folder) = one(r#"    command: run --words $WORDS "c d"
    entrypoint: ["/bin/tool", "${EMPTY:-e}", "$$x"]
    environment: [LIST=1, "DB_PASSWORD", UNSET, "URL=http://u:$DB_PASSWORD@h"]
    ports: ["80", "8080:81", "127.0.0.1:1000-1001:2000-2001/udp", {target: 90, published: "9090", name: web}]
    expose: [5000, "5001-5002/udp"]
    volumes: ["./conf:/conf:ro", "data:/data", ".cache:/cache", "named:/n", {type: volume, source: theirs, target: /t, read_only: true}, {type: tmpfs, target: /run, tmpfs: {size: 1m}}]
    tmpfs: /tmp
    user: "1000:1000"
    working_dir: /w
    hostname: host-a
    container_name: box
    labels: {a: 1, b: true}
    init: true
    read_only: true
    cap_drop: [ALL]
    extra_hosts: ["x=1.2.3.4", "y:1.2.3.5"]
    deploy: {resources: {limits: {cpus: "0.5", pids: 10}}, replicas: 1}
    mem_limit: 512mb
    restart: on-failure:4
    stop_signal: SIGINT
    stop_grace_period: 1m30s
    stdin_open: true
    healthcheck: {test: "curl -f localhost", interval: 3s, retries: 2}
    logging: {driver: json-file, options: {max-size: 10m, max-file: "3"}}
    shm_size: 128mb
    ulimits: {nproc: 100, nofile: {soft: 1024, hard: 2048}, memlock: {soft: -1, hard: -1}}
    dns: 9.9.9.9
    sysctls: [net.core.somaxconn=1024, net.ipv4.tcp_syncookies=0]
    security_opt: ["no-new-privileges:true", "seccomp:unconfined"]
    group_add: [video, 44]
    devices: ["/dev/fuse", "/dev/zero:/dev/null2:r"]
    platform: linux/${ARCH:-amd64}
    x-ours: {}
"#);
    let spec = docker(&a);
    let under = |path: &str| folder.path().join(path).display().to_string();
    assert_eq!(
        texts(spec.command.as_ref().unwrap()),
        ["run", "--words", "a", "b", "c d"]
    );
    assert_eq!(texts(spec.entrypoint.as_ref().unwrap()), ["/bin/tool", "e", "$x"]);
    assert_eq!(env(&a), ["DB_PASSWORD=•••", "LIST=1", "URL=http://u:•••@h"]);
    let ports: Vec<String> = a
        .ports
        .iter()
        .map(|p| {
            format!(
                "{}:{}:{}/{}",
                p.host_ip.as_deref().unwrap_or(""),
                p.port,
                p.target.unwrap_or(p.port),
                p.protocol.as_str()
            )
        })
        .collect();
    assert_eq!(
        ports,
        [
            ":0:80/tcp",
            ":8080:81/tcp",
            "127.0.0.1:1000:2000/udp",
            "127.0.0.1:1001:2001/udp",
            ":9090:90/tcp"
        ]
    );
    assert_eq!(a.ports[4].name.as_ref().unwrap().as_str(), "web");
    assert_eq!(a.ports[1].origin.as_ref().unwrap().file, "stack/compose.yml");
    assert_eq!(spec.expose, ["5000/tcp", "5001/udp", "5002/udp"]);
    assert_eq!(
        texts(&spec.volumes),
        [
            under("stack/conf:/conf:ro"),
            "data:/data".into(),
            under("stack/.cache:/cache"),
            "named:/n".into(),
            "theirs:/t:ro".into()
        ]
    );
    let volume = |name: &str| spec.volume_names.get(name).map(|v| (v.name.as_str(), v.external));
    assert_eq!(volume("data"), None);
    assert_eq!(volume("named"), Some(("elsewhere", false)));
    assert_eq!(volume("theirs"), Some(("theirs", true)));
    assert_eq!(spec.tmpfs, ["/run:size=1m", "/tmp"]);
    assert_eq!(
        (spec.hostname.as_deref(), spec.container_name.as_deref()),
        (Some("host-a"), Some("box"))
    );
    let labels: Vec<String> = spec.labels.iter().map(|(k, v)| format!("{k}={v}")).collect();
    assert_eq!(labels, ["a=1", "b=true"]);
    assert!(spec.init && spec.read_only && !spec.privileged && a.stdin);
    assert_eq!(spec.cap_drop, ["ALL"]);
    assert_eq!(texts(&spec.extra_hosts), ["x:1.2.3.4", "y:1.2.3.5"]);
    assert_eq!(
        (spec.cpus.as_deref(), spec.memory, spec.pids),
        (Some("0.5"), Some(512 << 20), Some(10))
    );
    assert_eq!(
        (a.restart.mode, a.restart.max_restarts),
        (RestartMode::OnFailure, Some(4))
    );
    assert_eq!(
        (a.stop_signal, a.shutdown_timeout.as_secs()),
        (Some(Signal(2)), 90)
    );
    assert_eq!((a.logs.max_size, a.logs.max_files), (10 << 20, 3));
    let check = a.health_check.as_ref().unwrap();
    let Probe::Command(words) = &check.probe else {
        panic!()
    };
    assert_eq!(texts(words), ["sh", "-c", "curl -f localhost"]);
    assert_eq!((check.interval.as_secs(), check.retries), (3, 2));
    assert!(spec.networks.is_empty());
    let texts = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect::<Vec<_>>();
    let limit = |name: &str, soft, hard| (name.to_owned(), Ulimit { soft, hard });
    let parameter = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let options = EngineOptions {
        shm_size: Some(128 << 20),
        ulimits: [
            limit("memlock", -1, -1),
            limit("nofile", 1024, 2048),
            limit("nproc", 100, 100),
        ]
        .into(),
        dns: texts(&["9.9.9.9"]),
        sysctls: [
            parameter("net.core.somaxconn", "1024"),
            parameter("net.ipv4.tcp_syncookies", "0"),
        ]
        .into(),
        security_opt: texts(&["no-new-privileges:true", "seccomp:unconfined"]),
        group_add: texts(&["video", "44"]),
        devices: texts(&["/dev/fuse", "/dev/zero:/dev/null2:r"]),
        platform: Some("linux/amd64".to_owned()),
    };
    assert_eq!(spec.options, options);
}

#[test]
fn anchors_and_the_files_own_variables_are_taken() {
    let folder = folder(
        ALL,
        "x-base: &base\n  image: x\n  restart: always\nservices:\n  a:\n    <<: *base\n    image: y:$TAG\n  b: {<<: *base}\n",
    );
    folder
        .write(".env", "TAG=outer\n")
        .write("stack/.env", "TAG=inner\n");
    let project = good(&options(&folder)).project;
    let image = |name: &str| {
        docker(&project.services[name])
            .image
            .as_ref()
            .unwrap()
            .to_string()
    };
    assert_eq!((image("a"), image("b")), ("y:inner".to_owned(), "x".to_owned()));
    assert_eq!(project.services["a"].restart.mode, RestartMode::Always);
}

#[test]
fn an_unset_variable_is_empty_and_told() {
    let loaded = loaded(ALL, "services:\n  a: {image: \"x${NOPE}\"}\n");
    let warnings: Vec<String> = loaded
        .warnings
        .iter()
        .map(|w| format!("{}:{} {}", w.file, w.line, w.message))
        .collect();
    assert_eq!(
        warnings,
        ["stack/compose.yml:2 variable `NOPE` is not set: it is empty here"]
    );
}

const SHOP: &str = "\
services:
  web:
    image: web
    depends_on: {db: {condition: service_healthy, restart: true}, migrate: {condition: service_completed_successfully}, cache: {condition: service_started, required: false}}
  migrate: {image: web, depends_on: [db]}
  db: {image: pg, healthcheck: {test: [CMD, pg_isready]}, environment: {A: 1, B: 2}, ports: [\"5432:5432\"], restart: on-failure:3}
  cache: {image: redis}
  debug: {image: x, profiles: [debug]}
";

#[test]
fn no_mistake_tells_a_secret_that_stands_in_a_text_whose_form_is_looked_at() {
    let compose = "services:
  a:
    image: x
    ports: [\"${DB_PASSWORD}:80\"]
    networks: {inside: {ipv4_address: \"10.${DB_PASSWORD}.0.1\"}}
    stop_grace_period: ${DB_PASSWORD}
networks:
  inside: {driver: $DB_PASSWORD, ipam: {config: [{subnet: \"${DB_PASSWORD}/24\"}]}}
";
    let told = said(ALL, compose);
    for line in [4, 5, 6, 8] {
        let place = format!("stack/compose.yml:{line}:");
        assert!(
            told.iter().any(|one| one.starts_with(&place)),
            "{line}: {told:#?}"
        );
    }
}

#[test]
fn a_mount_may_have_a_secret_in_it_and_keeps_it() {
    for mount in [
        "\"${DB_PASSWORD:-x}:/in:ro\"",
        "{type: bind, source: $DB_PASSWORD, target: /in, read_only: true}",
    ] {
        let (spec, _folder) = one(&format!("    volumes: [{mount}]\n"));
        let volumes = &docker(&spec).volumes;
        assert_eq!(texts(volumes), ["hunter2:/in:ro"], "{mount}");
        assert!(
            !format!("{volumes:?}{}", volumes[0]).contains("hunter2"),
            "{mount}"
        );
    }
    let wrong = "services:\n  a: {image: x, volumes: [\"${DB_PASSWORD}:/in:wild,$DB_PASSWORD\"]}\n";
    assert!(!said(ALL, wrong).is_empty());
}

#[test]
fn one_service_is_called_as_its_entry_and_brings_what_it_needs() {
    let project = loaded(
        "services:\n  front: {type: compose, file: stack/compose.yml, service: web}\n  database:\n    type: compose\n    file: stack/compose.yml\n    service: db\n    env: [B=3, C=4]\n    ports: [\"0:5432\"]\n    health_check: {tcp: 5432}\n    restart: always\n",
        SHOP,
    )
    .project;
    let names: Vec<&str> = project.services.keys().map(|name| name.as_str()).collect();
    assert_eq!(names, ["cache", "database", "front", "migrate"]);
    assert_eq!(
        needs(&project.services["front"]),
        [
            "database Healthy restart",
            "migrate Completed",
            "cache Started optional"
        ]
    );
    assert!(project.services["migrate"].oneshot);
    let db = &project.services["database"];
    assert_eq!(env(db), ["A=1", "B=3", "C=4"]);
    assert_eq!((db.ports.len(), db.ports[0].port), (1, 0));
    assert!(matches!(db.health_check.as_ref().unwrap().probe, Probe::Tcp(_)));
    assert_eq!(
        (db.restart.mode, db.restart.max_restarts),
        (RestartMode::Always, None)
    );
    let [attachment] = docker(db).networks.as_slice() else {
        panic!()
    };
    assert_eq!(
        (attachment.network.clone(), attachment.aliases.as_slice()),
        (NetworkName::local(), &["db".to_owned()][..])
    );
}

#[test]
fn a_group_stands_for_all_of_its_services() {
    let project = loaded(
        "services:\n  shop: {type: compose, file: stack/compose.yml, dependencies: [first]}\n  first: {type: process, binary: x, oneshot: true}\n  app: {type: process, binary: x, dependencies: [shop]}\n",
        SHOP,
    )
    .project;
    assert_eq!(
        needs(&project.services["app"]),
        ["web Ready", "migrate Completed", "db Healthy", "cache Ready"]
    );
    assert!(!project.services.contains_key("debug"));
    let members: Vec<&str> = project.groups["shop"].iter().map(|name| name.as_str()).collect();
    assert_eq!(members, ["cache", "db", "debug", "migrate", "web"]);
    let unchosen: Vec<&str> = project.unchosen.keys().map(|name| name.as_str()).collect();
    assert_eq!(unchosen, ["debug"]);
    assert_eq!(project.groups.len(), 1);
    assert_eq!(needs(&project.services["cache"]), ["first Completed"]);
    assert_eq!(
        project.services["app"].dependencies[1].condition,
        Condition::Completed
    );
}

#[test]
fn what_is_not_supported_is_refused_at_its_place() {
    let compose = "\
include: [x]
services:
  a:
    image: x
    device_cgroup_rules: [x]
    imagee: y
    network_mode: host
    volumes: [/anonymous, nowhere:/n]
    networks: {lan: {ipv4_address: 10.9.9.9}, none: }
    depends_on: [ghost]
    deploy: {replicas: 2}
    healthcheck: {tset: x}
    user: ${service.ip}
  b: {image: x, privileged: maybe, ports: [a:b], mem_limit: lots}
  c:
    image: x
    ulimits: {nofile: {soft: 3}, nproc: '5:4', core: {soft: 1, hard: 2, x: 3}}
    security_opt: [seccomp:profile.json]
    dns: [here]
networks:
  lan: {driver: macvlan, ipam: {config: [{subnet: 10.1.0.0/24, gateway: 10.1.0.9}]}}
";
    assert_eq!(
        said(ALL, compose),
        [
            "stack/compose.yml:1:1 `include` of a compose file is not supported (give each of those files a service of `type: compose`)",
            "stack/compose.yml:5:5 `device_cgroup_rules` of a compose service is not supported (remove it, or run this service with Docker Compose)",
            "stack/compose.yml:6:5 unknown key `imagee` (did you mean `image`?)",
            "stack/compose.yml:7:5 `network_mode` of a compose service is not supported (leave it out: services are on the project's network, and `networks` adds others)",
            "stack/compose.yml:8:15 the unnamed volume /anonymous is not supported (give it a name: `NAME:/anonymous`, and `NAME` under the `volumes` of the file)",
            "stack/compose.yml:8:27 the compose file has no volume `nowhere` (write `nowhere:` under its `volumes`, or `./nowhere` for a folder)",
            "stack/compose.yml:9:36 `10.9.9.9` is not in the subnet 10.1.0.0/24 of `lan`",
            "stack/compose.yml:9:47 the compose file has no network `none` (write `none:` under its `networks`)",
            "stack/compose.yml:10:18 the compose file has no service `ghost`",
            "stack/compose.yml:11:14 `replicas` of `deploy` is not supported (leave it out: a service is one container)",
            "stack/compose.yml:12:19 `tset` of `healthcheck` is not supported (remove it, or run this service with Docker Compose)",
            "stack/compose.yml:13:11 `${service…}` is not understood after the name (a compose file has `${VAR}`, `${VAR:-default}`, `${VAR:?message}`; `$$` is a plain `$`)",
            "stack/compose.yml:14:29 expected `true` or `false`, found `maybe`",
            "stack/compose.yml:14:44 `a:b` is not a port that can be published (write `8080:80`, `127.0.0.1:8080:80/udp`, or ranges of the same length)",
            "stack/compose.yml:14:61 `lots` is not a size (write bytes (`1048576`), or `64MiB`, `512k`, `1GiB`)",
            "stack/compose.yml:17:15 `nofile` needs `soft` and `hard`",
            "stack/compose.yml:17:41 `5:4` is not a limit (write a number, `soft:hard` with the larger one last, or -1 for no limit)",
            "stack/compose.yml:17:73 `x` of `ulimits` is not supported (remove it, or run this service with Docker Compose)",
            "stack/compose.yml:18:20 a seccomp profile in a file is not supported (write the profile itself after `seccomp=`, or `unconfined`)",
            "stack/compose.yml:19:11 `here` is not an IP address",
            "stack/compose.yml:21:17 this network driver is not supported (use `bridge`, or create the network yourself and write `external: true`)",
            "stack/compose.yml:21:64 `gateway` of `ipam` is not supported (leave it out: it is the first address, 10.1.0.1)",
        ]
    );
}

#[test]
fn entries_that_do_not_fit_are_refused() {
    let compose = "services: {a: {image: x, depends_on: [b]}, b: {image: x}, c.d: {image: x}}\n";
    let refused = |services: &str| said(services, compose);
    assert_eq!(
        refused("services:\n  s: {type: compose, file: nowhere.yml}\n").len(),
        1
    );
    assert_eq!(
        refused("services:\n  s: {type: compose, file: stack/compose.yml, service: aa}\n"),
        ["services.yaml:2:56 the compose file has no service `aa` (its services are `a`, `b`, `c.d`)"]
    );
    assert_eq!(
        refused("services:\n  s: {type: compose, file: stack/compose.yml, services: [b], env: {A: 1}}\n"),
        [
            "services.yaml:2:62 `env` is for one service, but `s` may be several (give that service its own entry, with `service: NAME`)"
        ]
    );
    let clash = refused(
        "services:\n  s: {type: compose, file: stack/compose.yml, service: a}\n  b: {type: process, binary: x}\n",
    );
    assert!(
        clash[0].starts_with(
            "stack/compose.yml:1:44 two services have the name `b`: this one, which `s` needs, and another one"
        ),
        "{clash:?}"
    );
    let dotted = refused("services:\n  s: {type: compose, file: stack/compose.yml}\n");
    assert!(
        dotted[0].contains("`c.d` is not a valid service name") && dotted[0].contains("service: c.d"),
        "{dotted:?}"
    );
    let group = refused(
        "services:\n  s: {type: compose, file: stack/compose.yml, services: [a, b]}\n  p: {type: process, binary: x, args: [\"${s.ip}\"]}\n",
    );
    assert_eq!(
        group,
        ["services.yaml:3:41 there is no service `s` (it is several services: `a`, `b`)"]
    );
}

#[test]
fn what_is_brought_is_in_the_profiles_of_those_that_need_it() {
    let compose = "services: {a: {image: x, depends_on: [b]}, b: {image: x, depends_on: [c]}, c: {image: x}, d: {image: x, depends_on: [c]}}\n";
    let active = |services: &str, profiles: &[&str]| {
        let folder = folder(services, compose);
        let mut options = options(&folder);
        options.profiles = profiles.iter().map(|profile| (*profile).to_owned()).collect();
        let project = good(&options).project;
        project
            .services
            .keys()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
    };
    let a = "services:\n  a: {type: compose, file: stack/compose.yml, service: a, profiles: [one]}\n";
    assert_eq!(active(a, &[]), [""; 0]);
    assert_eq!(active(a, &["one"]), ["a", "b", "c"]);
    let with_d = format!("{a}  d: {{type: compose, file: stack/compose.yml, service: d}}\n");
    assert_eq!(active(&with_d, &[]), ["c", "d"]);
}

#[test]
fn what_is_of_the_wrong_kind_is_told_and_never_dropped() {
    let compose = "\
services:
  a:
    image: [x]
    cap_add: [{A: 1}]
    extra_hosts: {h: [1.1.1.1]}
    deploy: 3
    networks: lan
    depends_on: [[b]]
    healthcheck: {disable: maybe}
    mem_limit: 1m
    x-more: 1
  b: {image: x, deploy: {resources: {limits: {memory: 1m}}}, mem_limit: 2m}
volumes: [v]
";
    let lines: Vec<String> = said(ALL, compose)
        .iter()
        .map(|line| line.split(" (").next().unwrap().to_owned())
        .collect();
    assert_eq!(
        lines,
        [
            "stack/compose.yml:2:3 the docker service `a` needs `image` or `build`",
            "stack/compose.yml:3:12 expected a string, found a list",
            "stack/compose.yml:4:15 expected a string, found a map",
            "stack/compose.yml:5:22 expected a string, found a list",
            "stack/compose.yml:6:13 expected a map, found the number `3`",
            "stack/compose.yml:7:15 `networks` must be a list or a map, found a string",
            "stack/compose.yml:8:18 expected the name of a service, found a list",
            "stack/compose.yml:9:28 expected `true` or `false`, found `maybe`",
            "stack/compose.yml:12:62 this limit is written twice",
            "stack/compose.yml:13:10 expected a map, found a list",
        ]
    );
}

#[test]
fn a_name_that_leads_to_two_services_is_told() {
    let loaded = loaded(
        "services:\n  one: {type: compose, file: stack/compose.yml, service: db}\n  two: {type: compose, file: stack/compose.yml, service: db}\n",
        "services: {db: {image: x}}\n",
    );
    let warnings: Vec<&str> = loaded.warnings.iter().map(|w| w.message.as_str()).collect();
    assert_eq!(warnings, ["`two` and `one` are both found as `db` on `local`"]);
}

#[test]
fn a_flag_may_be_a_text_and_what_only_the_client_needs_has_no_effect() {
    let keys = "    tty: \"true\"\n    init: ${NONE:-true}\n    attach: false\n    develop: {watch: []}\n    ports: [{target: 80, app_protocol: http}]\n";
    let services = format!("services:\n  a:\n    image: x\n{keys}");
    let loaded = loaded(ALL, &services);
    let a = &loaded.project.services["a"];
    assert!(a.tty && docker(a).init);
    let warnings: Vec<(u32, String)> = loaded
        .warnings
        .iter()
        .map(|w| (w.line, w.message.clone()))
        .collect();
    assert_eq!(
        warnings,
        [
            (6, "`attach` has no effect here".to_owned()),
            (7, "`develop` has no effect here".to_owned())
        ]
    );
}

#[test]
fn a_test_that_is_none_is_told_once() {
    assert_eq!(
        said(
            ALL,
            "services:\n  a: {image: x, tty: \"yes\", healthcheck: {test: [curl, x], interval: 5s}}\n"
        ),
        [
            "stack/compose.yml:2:22 expected `true` or `false`, found `yes`",
            "stack/compose.yml:2:49 this is not the test of a health check (write `[CMD, program, …]`, `[CMD-SHELL, command]`, `[NONE]`, or a command of the shell)"
        ]
    );
}
