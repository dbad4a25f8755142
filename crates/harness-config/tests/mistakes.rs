//! Every mistake in a file is reported at its exact place, with what to do about it.

#![cfg(test)]

mod common;

use common::{Folder, mistakes};

/// A file of one process service with these further lines, which begin at line 5.
fn process(more: &str) -> String {
    format!("services:\n  a:\n    type: process\n    binary: sh\n{more}")
}

/// A file of one docker service with these further lines, which begin at line 5.
fn docker(more: &str) -> String {
    format!("services:\n  a:\n    type: docker\n    image: x\n{more}")
}

/// `line:column message (help)` of each mistake of a text.
fn said(text: &str) -> Vec<String> {
    let variables = [("A_PASSWORD", "hunter2"), ("A_EMPTY", ""), ("A_FLAG", "maybe")];
    let folder = Folder::new(text);
    let mistakes = mistakes(&folder.options_with(&variables));
    assert!(!mistakes.to_string().contains("hunter2"));
    mistakes
        .iter()
        .map(|d| {
            let help = d
                .help
                .as_ref()
                .map(|help| format!(" ({help})"))
                .unwrap_or_default();
            let said = format!("{}:{} {}{help}", d.line, d.column, d.message);
            said.replace(&folder.path().display().to_string(), "FOLDER")
        })
        .collect()
}

#[test]
fn keys() {
    assert_eq!(
        said(&process("    retries: 3\n")),
        ["5:5 unknown key `retries` (it belongs in `health_check`)",]
    );
    assert_eq!(
        said(&process("    retires: 3\n")),
        ["5:5 unknown key `retires` (did you mean `retries` in `health_check`?)",]
    );
    assert_eq!(
        said(&process("    depends_on: [b]\n    environment: {}\n")),
        [
            "5:5 unknown key `depends_on` (did you mean `dependencies`?)",
            "6:5 unknown key `environment` (did you mean `env`?)",
        ]
    );
    assert_eq!(
        said(&process("    image: x\n")),
        ["5:5 a process service has no `image` (only for type `docker`, `compose`)",]
    );
    assert_eq!(
        said(&process("    health_check: {tcp: 80, retires: 3}\n")),
        ["5:29 unknown key `retires` (did you mean `retries`?)",]
    );
    assert_eq!(
        said(&process("    ports: [{port: 1, nmae: x}]\n")),
        ["5:23 unknown key `nmae` (did you mean `name`?)",]
    );
    assert_eq!(
        said(&process("    ulimits: {nofile: 3}\n")),
        ["5:5 a process service has no `ulimits` (did you mean `limits`?)",]
    );
    assert_eq!(
        said("nmae: x\nservices: {}\n"),
        ["1:1 unknown key `nmae` (did you mean `name`?)",]
    );
    assert_eq!(
        said("services:\n  a: {type: compose, file: x, binary: y, package: z}\n"),
        [
            "2:28 cannot read the compose file FOLDER/x: No such file or directory (os error 2)",
            "2:31 a compose service has no `binary` (only for type `process`, `remote`, `package`)",
            "2:42 a compose service has no `package` (only for type `package`)",
        ]
    );
    assert_eq!(
        said(&process("    hooks: {before: x}\n")),
        [
            "5:13 unknown key `before` (the keys of `hooks` are `before_start`, `after_healthy`, `before_stop`, `after_stop`)",
        ]
    );
    assert_eq!(
        said(&process(
            "    hooks:\n      before_start: {timeout: 5}\n      after_healthy: {command: x, timeout: 0}\n      before_stop: {command: x, time: 5}\n      after_stop:\n"
        )),
        [
            "6:7 `before_start` needs `command`",
            "7:44 `timeout` must be longer than zero",
            "8:33 unknown key `time` (the keys of a hook are `command`, `timeout`)",
            "9:7 `after_stop` has no value (expected a command (a string or a list of words), or a map with the keys of a hook)",
        ]
    );
    assert_eq!(
        said("x-anchors: {a: &a {type: process, binary: sh}}\nservices:\n  a: {<<: *a, bogus: 1}\n"),
        ["3:15 unknown key `bogus`",]
    );
}

#[test]
fn types() {
    assert_eq!(
        said(&process("    args: 5\n")),
        ["5:11 `args` must be a list of strings, found the number `5`",]
    );
    assert_eq!(
        said(&process("    args: [true]\n")),
        ["5:12 expected a string or a number, found the boolean `true` (put quotes around it)",]
    );
    assert_eq!(
        said(&process("    stdin: yes\n")),
        ["5:12 expected `true` or `false`, found `yes` (write `true`)",]
    );
    assert_eq!(
        said(&process("    stdin: 1\n")),
        ["5:12 expected `true` or `false`, found the number `1`",]
    );
    assert_eq!(
        said(&process("    working_dir: [x]\n")),
        ["5:18 expected a string, found a list",]
    );
    assert_eq!(
        said(&process("    working_dir:\n")),
        ["5:5 `working_dir` has no value (expected a string)",]
    );
    assert_eq!(
        said("services: [a]\n"),
        ["1:11 `services` must be a map of names to services, found a list",]
    );
    assert_eq!(
        said("services:\n  a: 5\n"),
        ["2:6 expected a map with the keys of a service, found the number `5`",]
    );
    assert_eq!(
        said("- a\n"),
        ["1:1 expected a map with the keys of a services.yaml, found a list",]
    );
    assert_eq!(said(""), ["1:1 a services.yaml needs `services`",]);
    assert_eq!(
        said("services:\n  a: {type: process, binary: 5}\n"),
        ["2:30 expected a string, found the number `5`",]
    );
    assert_eq!(
        said(&process("    env: 5\n")),
        ["5:10 `env` must be a map, or a list of strings, found the number `5`",]
    );
    assert_eq!(
        said(&process("    dependencies: b\n")),
        ["5:19 `dependencies` must be a list, found a string",]
    );
    assert_eq!(
        said(&process("    oneshot: \"${A_FLAG}\"\n")),
        ["5:14 expected `true` or `false`, found `maybe`",]
    );
    assert_eq!(
        said(&docker(
            "    labels: [a]\n    resources: {cpus: many, memory: 1q, pids: -1}\n    volumes: [/data]\n"
        )),
        [
            "5:13 `labels` must be a map, found a list",
            "6:23 `many` is not a number of cores (write it as `0.5` or `2`)",
            "6:37 `1q` is not a size (write bytes (`1048576`), or `64MiB`, `512k`, `1GiB`)",
            "6:47 `-1` is not a whole number",
            "7:15 `/data` does not say where the volume goes (write `source:target`)",
        ]
    );
}

#[test]
fn env() {
    assert_eq!(
        said(&process("    env: {A: true, B: ~, C: [1], \"D=\": x}\n")),
        [
            "5:14 the value of `A` is a boolean, but variables are text (put quotes around it: \"true\")",
            "5:23 the variable `B` has no value (write \"\" for an empty one, or list the name under `inherit_env`)",
            "5:29 expected a string or a number, found a list",
            "5:34 this cannot be the name of a variable",
        ]
    );
    assert_eq!(
        said(&process("    env: [A=1, B, 5]\n")),
        [
            "5:16 expected `NAME=value` (to take a variable from your own environment, list it under `inherit_env`)",
            "5:19 expected `NAME=value`, found the number `5`",
        ]
    );
}

#[test]
fn twice() {
    assert_eq!(
        said(&process("    binary: x\n")),
        ["5:5 `binary` is written twice",]
    );
    assert_eq!(said(&process("  a: {}\n")), ["5:3 `a` is written twice",]);
    assert_eq!(
        said(&process("    env: {A: 1, A: 2}\n")),
        ["5:17 `A` is written twice",]
    );
    assert_eq!(
        said(&process(
            "    ports: [80, 80]\n    dependencies: [b, b]\n  b: {type: process, binary: x}\n"
        )),
        ["5:17 this port is written twice", "6:23 `b` is written twice",]
    );
    assert_eq!(
        said(&process(
            "    restart: {policy: always, max_restarts: 1}\n    max_restarts: 2\n"
        )),
        ["6:5 `max_restarts` is written twice: here and in `restart`",]
    );
}

#[test]
fn values() {
    assert_eq!(
        said(&process("    startup_timeout: soon\n")),
        ["5:22 `soon` is not a duration (write seconds (`10`), or `500ms`, `2m`, `1h30m`)",]
    );
    assert_eq!(
        said(&process("    startup_timeout: 0\n    shutdown_timeout: -1\n")),
        [
            "5:22 `startup_timeout` must be longer than zero",
            "6:23 `-1` is not a duration (write seconds (`10`), or `500ms`, `2m`, `1h30m`)",
        ]
    );
    assert_eq!(
        said(&process("    restart: sometimes\n")),
        [
            "5:14 unknown restart policy `sometimes` (it is one of `no`, `on-failure`, `always`, `unless-stopped`)",
        ]
    );
    assert_eq!(
        said(&process("    restart: false\n")),
        ["5:14 unknown restart policy `false` (it is one of `no`, `on-failure`, `always`, `unless-stopped`)",]
    );
    assert_eq!(
        said(&process("    max_restarts: 3\n")),
        ["5:5 `max_restarts` has no effect without a restart policy (write `restart: on-failure`)",]
    );
    assert_eq!(
        said(&process("    oneshot: true\n    restart: always\n")),
        [
            "6:5 a oneshot is done when it exits 0, but this would start it again (write `restart: on-failure`, or leave `oneshot` out)",
        ]
    );
    assert_eq!(
        said(&process("    stop_signal: SIGTREM\n    stop_mode: all\n")),
        [
            "5:18 `SIGTREM` is not a signal (did you mean `SIGTERM`?)",
            "6:16 unknown stop_mode `all` (it is one of `mixed`, `group`)",
        ]
    );
    assert_eq!(
        said(&process("    logs: {max_size: 1zb, max_files: 0}\n")),
        [
            "5:22 `1zb` is not a size (write bytes (`1048576`), or `64MiB`, `512k`, `1GiB`)",
            "5:38 `0` is not a whole number from 1 to 1000",
        ]
    );
    assert_eq!(
        said(&process("    logs: {max_size: 1k}\n")),
        ["5:12 `max_size` must be at least 64KiB",]
    );
    assert_eq!(
        said("version: 2\nservices: {}\n"),
        ["1:10 version `2` of the file format is not known (the version is \"1.0\")",]
    );
    assert_eq!(
        said("version: 1\nservices: {}\n"),
        ["1:10 version `1` of the file format is not known (the version is \"1.0\")",]
    );
    assert_eq!(
        said("name: My App\nservices: {}\n"),
        [
            "1:7 `My App` is not a valid project name: it may contain only letters, digits, `-` and `_` (use `my-app`)",
        ]
    );
    assert_eq!(
        said("services:\n  a.b: {type: process, binary: x}\n"),
        [
            "2:3 `a.b` is not a valid service name: it must not contain a dot, which separates a service from its field in `${service.ip}`",
        ]
    );
    assert_eq!(
        said("secrets: [A B]\nservices: {}\n"),
        ["1:11 this is not the name of a variable (list names; the values come from the environment)",]
    );
    assert_eq!(
        said("settings: {startup_timeout: x, bogus: 1}\nservices: {}\n"),
        [
            "1:29 `x` is not a duration (write seconds (`10`), or `500ms`, `2m`, `1h30m`)",
            "1:32 unknown key `bogus` (the keys of `settings` are `startup_timeout`, `shutdown_timeout`, `restart`, `logs`, `inherit_env`)",
        ]
    );
}

#[test]
fn ports() {
    assert_eq!(
        said(&process("    ports: [70000]\n")),
        ["5:13 `70000` is not a port (a port is a number from 0 to 65535)",]
    );
    assert_eq!(
        said(&process("    ports: [\"8080:80\"]\n")),
        ["5:13 only a container has a target port (write the port that the process listens on)",]
    );
    assert_eq!(
        said(&process("    ports: [\"80-90\", \"x\", \"80/sctp\", [1]]\n")),
        [
            "5:13 `80-90` is not a port (ranges are not supported; list each port)",
            "5:22 `x` is not a port (write `5432`, `\"8080:80\"`, `\"127.0.0.1:8080:80/udp\"`, or a map with `name` and `port`)",
            "5:27 `80/sctp` is not a port (the protocol is `tcp` or `udp`)",
            "5:38 expected a port, found a list (write `5432`, `\"8080:80\"`, `\"127.0.0.1:8080:80/udp\"`, or a map with `name` and `port`)",
        ]
    );
    assert_eq!(
        said(&process("    ports: {web: 99999, \"a b\": 80}\n")),
        [
            "5:18 `99999` is not a port (a port is a number from 0 to 65535)",
            "5:25 `a b` is not a valid port name: it may contain only letters, digits, `-` and `_`",
        ]
    );
    assert_eq!(
        said(&process(
            "    ports: [{name: x}, {port: 1, host_ip: h, target: 2, protocol: icmp}]\n"
        )),
        [
            "5:13 a port needs `port`",
            "5:43 `h` is not an IP address",
            "5:46 only a container has a target port (write the port that the process listens on)",
            "5:67 unknown protocol `icmp` (it is one of `tcp`, `udp`)",
        ]
    );
    assert_eq!(
        said(&docker("    ports: [0, \"80:0\", \"1.2.3:80:80\"]\n")),
        [
            "5:13 port 0 selects a free port, but the port inside the container is not given (write `\"0:5432\"`)",
            "5:16 `80:0` is not a port (the port inside the container must be known, so it cannot be 0)",
            "5:24 `1.2.3:80:80` is not a port (write `5432`, `\"8080:80\"`, `\"127.0.0.1:8080:80/udp\"`, or a map with `name` and `port`)",
        ]
    );
    assert_eq!(
        said(
            "services:\n  a: {type: process, binary: x, ports: [80]}\n  b: {type: process, binary: x, ports: [80]}\n"
        ),
        ["3:41 `b` and `a` both want port 80 (give one of them another port)",]
    );
}

#[test]
fn missing() {
    assert_eq!(
        said("services:\n  a: {binary: x}\n"),
        ["2:3 service `a` needs `type`",]
    );
    assert_eq!(
        said("services:\n  a: {type: procces, binary: x}\n"),
        ["2:13 unknown type `procces` (did you mean `process`?)",]
    );
    assert_eq!(
        said("services:\n  a: {type: process}\n  b: {type: docker}\n  c: {type: compose}\n"),
        [
            "2:3 the process service `a` needs `binary`",
            "3:3 the docker service `b` needs `image` or `build`",
            "4:3 the compose service `c` needs `file`",
        ]
    );
    assert_eq!(
        said(
            "networks:\n  n: {type: lan, nodes: [{host: h}]}\n  m: {}\nservices:\n  a: {type: remote, network: n}\n  b: {type: package, network: n}\n  c: {type: process, binary: x, network: m}\n"
        ),
        [
            "3:3 network `m` needs `type`",
            "5:3 the remote service `a` needs `binary`",
            "6:3 the package service `b` needs `package`",
        ]
    );
    assert_eq!(
        said(&process(
            "    files: [{template: x}, {target: y}]\n    restart: {max_restarts: 1}\n"
        )),
        [
            "5:13 a file needs `target`",
            "5:28 a file needs `template`",
            "6:5 `restart` needs `policy`",
        ]
    );
}

#[test]
fn networks() {
    assert_eq!(
        said(
            "networks:\n  n: {type: lan, subnet: 10.0.0.0/99, nodes: [{host: \"a b\"}, {host: \"u@h:22\"}, {host: h, ssh_port: 0}]}\n  local: {type: lan}\n  k: {type: local, nodes: [{host: h}], config_path: x}\nservices: {}\n"
        ),
        [
            "2:26 `10.0.0.0/99` is not a subnet (write an address and a prefix length, as in `192.168.1.0/24`)",
            "2:54 `a b` is not a host",
            "2:69 `u@h:22` is not a host (the user and port have their own keys, `ssh_user` and `ssh_port`)",
            "2:100 `0` is not a whole number from 1 to 65535",
            "3:11 the network `local` is this machine, so its type must be `local` (give the network another name)",
            "4:20 a network of type `local` is this machine and has no nodes (use type `lan` or `wireguard`)",
            "4:40 only a network of type `wireguard` has a `config_path`",
        ]
    );
    assert_eq!(
        said(
            "networks:\n  n: {type: lan, nodes: [{host: h1, name: one}, {host: h2}]}\n  empty: {type: wireguard}\nservices:\n  a: {type: process, network: n, binary: x}\n  b: {type: remote, network: n, binary: x, host: oen}\n  c: {type: docker, network: n, image: x}\n  d: {type: remote, binary: x}\n  e: {type: process, binary: x, network: empty}\n  f: {type: process, binary: x, host: h1}\n  g: {type: process, binary: x, network: lcal}\n  h: {type: process, binary: x, network: nowhere}\n"
        ),
        [
            "5:31 the network `n` has several nodes, so `host` is needed (one of `one`, `h2`)",
            "6:50 the network `n` has no host `oen` (did you mean `one`?)",
            "7:30 a docker service cannot run on a node yet, but `n` has only nodes (give it the network `local`)",
            "8:3 a remote service needs a network with nodes, but `local` is this machine (give it a `network` of type `lan` or `wireguard`)",
            "9:42 the network `empty` has no nodes to run on (list its hosts under `nodes`)",
            "10:39 the network `local` is this machine and has no hosts (leave `host` out, or give a `network` of type `lan` or `wireguard`)",
            "11:42 there is no network `lcal` (did you mean `local`?)",
            "12:42 there is no network `nowhere` (the networks are `empty`, `local`, `n`)",
        ]
    );
    assert_eq!(
        said(
            "networks:\n  n: {type: lan, nodes: [{host: h, package_deploy: false}]}\nservices:\n  a: {type: package, package: x.tgz, network: n}\n"
        ),
        ["4:47 the node `h` has `package_deploy: false`",]
    );
}

#[test]
fn dependencies() {
    assert_eq!(
        said(&process("    dependencies: [b, aa]\n")),
        [
            "5:20 there is no service `b` (the services are `a`)",
            "5:23 there is no service `aa` (the services are `a`)",
        ]
    );
    assert_eq!(
        said(&process("    dependencies: [a]\n")),
        [
            "5:20 dependency cycle: a -> a (remove one of these dependencies; `condition: none` uses only the address)",
        ]
    );
    assert_eq!(
        said(&process(
            "    dependencies: [{service: b, condition: log}, {service: c, pattern: x}, {service: d, condition: log, pattern: \"(\"}, {condition: ready}]\n  b: &b {type: process, binary: x}\n  c: *b\n  d: *b\n"
        )),
        [
            "5:33 `condition: log` needs `pattern`",
            "5:63 `pattern` needs `condition: log` (write `condition: log`, or leave it out)",
            "5:114 not a regular expression: unclosed group",
            "5:120 a dependency needs `service`",
            "5:132 unknown condition `ready` (it is one of `started`, `healthy`, `completed`, `log`, `none`)",
        ]
    );
    assert_eq!(
        said(
            "services:\n  a: {type: process, binary: x, dependencies: [b]}\n  b: {type: process, binary: x, dependencies: [c]}\n  c: {type: process, binary: x, env: {X: \"${a.ip}\"}}\n"
        ),
        [
            "2:48 dependency cycle: a -> b -> c -> a (remove one of these dependencies; `condition: none` uses only the address)",
        ]
    );
    assert_eq!(
        said(
            "services:\n  z: {type: process, binary: x, dependencies: [y]}\n  y: {type: process, binary: x, dependencies: [z]}\n  b: {type: process, binary: x, dependencies: [a]}\n  a: {type: process, binary: x, dependencies: [b]}\n"
        ),
        [
            "3:48 dependency cycle: y -> z -> y (remove one of these dependencies; `condition: none` uses only the address)",
            "5:48 dependency cycle: a -> b -> a (remove one of these dependencies; `condition: none` uses only the address)",
        ]
    );
    assert_eq!(
        said(
            "services:\n  a: {type: process, binary: x, dependencies: [{service: b, condition: healthy}, {service: c, condition: completed}]}\n  b: {type: process, binary: x}\n  c: {type: process, binary: x}\n"
        ),
        [
            "2:58 `b` can never be healthy: it has no health check (give `b` a `health_check`, or write `condition: started`)",
            "2:92 `c` is meant to keep running, not to complete (give `c` `oneshot: true`, or write another condition)",
        ]
    );
    assert_eq!(
        said(
            "services:\n  a: {type: process, binary: x, dependencies: [b, {service: c, required: false}], env: {B: \"${b.ip}\"}}\n  b: {type: process, binary: x, profiles: [debug]}\n  c: {type: process, binary: x, profiles: [debug]}\n"
        ),
        [
            "2:48 the service `b` is not in the chosen profiles (choose it with `--profile debug`, or write `required: false`)",
            "2:93 the service `b` is not in the chosen profiles (choose it with `--profile debug`)",
        ]
    );
}

#[test]
fn variables() {
    assert_eq!(
        said(&process("    env: {A: \"x ${UNDEFINED} y ${A_PASWORD}\"}\n")),
        [
            "5:17 variable `UNDEFINED` is not set (set it, or write `${UNDEFINED:-default}`)",
            "5:32 variable `A_PASWORD` is not set (did you mean `A_PASSWORD`?)",
        ]
    );
    assert_eq!(
        said(&process(
            "    args: [\"${A_PASSWORD}\"]\n    binary: \"${A_PASSWORD}\"\n"
        )),
        [
            "5:13 the secret `A_PASSWORD` must not be used here: everybody on the machine can read the arguments of a process (pass it through `env` or `files`)",
            "6:5 `binary` is written twice",
        ]
    );
    assert_eq!(
        said(&process(
            "    hooks: {before_start: \"echo ${A_PASSWORD}\"}\n    health_check: {command: [x, \"${A_PASSWORD}\"]}\n"
        )),
        [
            "5:33 the secret `A_PASSWORD` must not be used here: everybody on the machine can read the arguments of a process (pass it through `env` or `files`)",
            "6:34 the secret `A_PASSWORD` must not be used here: everybody on the machine can read the arguments of a process (pass it through `env` or `files`)",
        ]
    );
    assert_eq!(
        said(&process(
            "    env: {A: \"${open\", B: \"${}\", C: \"${A-b}\", D: \"${A?b}\", E: \"${1}\", F: \"${A!}\"}\n"
        )),
        [
            "5:15 this `${` has no `}` (`$${` is a plain `${`)",
            "5:28 `${}` does not name a variable (write `${VAR}`, `${VAR:-default}`, `${VAR:?message}` or `${service.ip}`; `$$` is a plain `$`)",
            "5:38 `-` after a variable needs a colon (write `${A:-…}`)",
            "5:51 `?` after a variable needs a colon (write `${A:?…}`)",
            "5:64 `${1}` does not name a variable (write `${VAR}`, `${VAR:-default}`, `${VAR:?message}` or `${service.ip}`; `$$` is a plain `$`)",
            "5:75 `${A…}` is not understood after the name (write `${VAR}`, `${VAR:-default}`, `${VAR:?message}` or `${service.ip}`; `$$` is a plain `$`)",
        ]
    );
    assert_eq!(
        said(&process(
            "    env: {A: \"${A_EMPTY:?set it please}\", B: \"${NOPE:-${NOPE2}}\"}\n"
        )),
        [
            "5:15 variable `A_EMPTY` is not set: set it please",
            "5:47 variable `NOPE2` is not set (set it, or write `${NOPE2:-default}`)",
        ]
    );
    assert_eq!(
        said(&process(
            "    startup_timeout: \"${A_PASSWORD}\"\n    user: \"${b.ip}\"\n"
        )),
        [
            "5:23 the secret `A_PASSWORD` must not be used here: this value is visible to everybody (pass it through `env` or `files`)",
            "6:12 `${b.ip}` cannot be used here: its value is known only once services start (addresses can be used in env, args, files, health checks, hooks and volumes)",
        ]
    );
    assert_eq!(
        said(&process(
            "    args:\n      - \"tab\\t\\u00e9 ${UNDEFINED}\"\n      - |\n        line\n        é ${UNDEFINED}\n"
        )),
        [
            "6:22 variable `UNDEFINED` is not set (set it, or write `${UNDEFINED:-default}`)",
            "9:11 variable `UNDEFINED` is not set (set it, or write `${UNDEFINED:-default}`)",
        ]
    );
}

#[test]
fn references() {
    assert_eq!(
        said(&process(
            "    env: {A: \"${b.ip}\", B: \"${a.prot}\", C: \"${a.port}\", D: \"${aa.ip}\", E: \"${a.port.x}\", F: \"${a.port.}\", G: \"${.ip}\", H: \"${a.}\"}\n"
        )),
        [
            "5:15 there is no service `b` (the services are `a`)",
            "5:29 a service has no `prot` (did you mean `${a.port}`?)",
            "5:45 the service `a` has no ports (list its port under `ports` of `a`)",
            "5:61 there is no service `aa` (the services are `a`)",
            "5:76 the service `a` has no port `x` (its named ports: none; give one a `name`)",
            "5:94 `` is not a valid port name: it is empty (a service has `ip`, `host`, `port` and `port.NAME`)",
            "5:111 `` is not a valid service name: it is empty (write `${VAR}`, `${VAR:-default}`, `${VAR:?message}` or `${service.ip}`; `$$` is a plain `$`)",
            "5:124 a service has no `` (a service has `ip`, `host`, `port` and `port.NAME`)",
        ]
    );
    assert_eq!(
        said(&process(
            "    ports: [{name: http, port: 80}]\n    env: {A: \"${a.port.htp}\", B: \"${a.port.http}\"}\n"
        )),
        ["6:15 the service `a` has no port `htp` (did you mean `http`?)",]
    );
}

#[test]
fn health() {
    assert_eq!(
        said(&process("    health_check: {}\n")),
        ["5:5 this health check has no probe (give it one of `http`, `tcp`, `command`, `log`)",]
    );
    assert_eq!(
        said(&process("    health_check: {http: \"localhost:80\"}\n")),
        ["5:26 `localhost:80` is not a URL (write it as `http://localhost:8080/health`)",]
    );
    for (check, expected) in [
        (
            "tcp: 80, method: GET",
            "`method` needs `http`, which is missing here",
        ),
        (
            "http: \"http://x/\", insecure: true",
            "`insecure` is only for an `https://` URL",
        ),
        (
            "http: \"http://x/\", ca: ca.pem",
            "`ca` is only for an `https://` URL",
        ),
        (
            "http: \"https://x/\", method: \"G T\"",
            "`G T` is not an HTTP method (write `GET`, `HEAD`, `POST`, …)",
        ),
        (
            "http: \"https://x/\", status: 2000",
            "`2000` is not a status code: write `204`, `2xx` or `200-204`",
        ),
        (
            "http: \"https://x/\", status: [200, never]",
            "`never` is not a status code: write `204`, `2xx` or `200-204`",
        ),
        (
            "http: \"https://x/\", headers: {\"a b\": x}",
            "`a b` is not the name of a header",
        ),
        (
            "http: \"https://x/\", headers: {a: \"x\\n\"}",
            "the value of the header `a` has control characters",
        ),
    ] {
        let said = said(&process(&format!("    health_check: {{{check}}}\n")));
        let words: Vec<&str> = said
            .iter()
            .filter_map(|said| Some(said.split_once(' ')?.1))
            .collect();
        assert_eq!(words, [expected], "{check}");
    }
    for url in ["http://me:pw@x/", "http://me:${A_PASSWORD}@x/"] {
        let file = process(&format!("    health_check: {{http: \"{url}\"}}\n"));
        let said = said(&file).join("\n");
        assert!(
            said.contains("5:26 a URL with a user or password in it cannot be probed"),
            "{said}"
        );
    }
    assert_eq!(
        said(&process(
            "    health_check: {http: \"http://x:99999/\", tcp: 5}\n"
        )),
        [
            "5:26 `http://x:99999/` is not a URL (write it as `http://localhost:8080/health`)",
            "5:45 a health check has one probe, but this one has several",
        ]
    );
    assert_eq!(
        said(&process("    health_check: {log: \"(\", args: [x]}\n")),
        [
            "5:25 not a regular expression: unclosed group",
            "5:30 `args` needs `command`, which is missing here",
        ]
    );
    assert_eq!(
        said(&process("    health_check: {command: \"a 'b\"}\n")),
        ["5:29 a quote in this command is not closed",]
    );
    assert_eq!(
        said(&process(
            "    health_check: {command: [], interval: 0, retries: 0}\n"
        )),
        [
            "5:29 this command is empty",
            "5:43 `interval` must be longer than zero",
            "5:55 `0` is not a whole number of at least 1",
        ]
    );
    assert_eq!(
        said(&process("    health_check: {tcp: \"host\"}\n")),
        ["5:25 `host` is not an address to connect to (write `host:port`, or a port of localhost)",]
    );
    assert_eq!(
        said(&process("    health_check: {tcp: \"0\"}\n")),
        ["5:25 `0` is not an address to connect to (write `host:port`, or a port of localhost)",]
    );
    assert_eq!(
        said(&process("    health_check: 5\n")),
        ["5:19 expected a map with the keys of `health_check`, found the number `5`",]
    );
}

#[test]
fn yaml() {
    assert_eq!(
        said("a: 1\nb: c: d\n"),
        ["2:5 not valid YAML: mapping values are not allowed in this context",]
    );
    assert_eq!(
        said("services: {}\n---\nservices: {}\n"),
        [
            "3:1 a second YAML document begins here (one file holds one document; give several files with several `-c`)",
        ]
    );
    assert_eq!(
        said("services: {a: [}\n"),
        ["1:15 not valid YAML: mismatched bracket '[' closed by '}'",]
    );
    assert_eq!(
        said("services: {? {a: 1} : 2}\n"),
        [
            "1:14 a key must be a plain word, not a list or a map (put quotes around a value that begins with `{` or `[`)",
        ]
    );
}

#[test]
fn an_escaped_twin_does_not_move_the_place() {
    assert_eq!(
        said(&process("    env: {A: \"$${X} ${X}\", B: '$${Y} it''s ${Y}'}\n")),
        [
            "5:21 variable `X` is not set (set it, or write `${X:-default}`)",
            "5:44 variable `Y` is not set (set it, or write `${Y:-default}`)",
        ]
    );
}

#[test]
fn a_nul_stands_nowhere() {
    const HELP: &str =
        "a NUL (`\\0`) is not allowed here (a program cannot receive text that contains a NUL)";
    let at = |text: &str| {
        let said = said(text);
        assert!(said.iter().any(|said| said.ends_with(HELP)), "{text}: {said:?}");
        said
    };
    for (text, place) in [
        (process("    env: {A: \"x\\0y\"}\n"), "5:14"),
        (process("    env:\n      - \"A=\\x00\"\n"), "6:9"),
        (process("    env: {\"A\\u0000\": x}\n"), "5:11"),
        (process("    args: [a, \"b\\0\"]\n"), "5:15"),
        (process("    working_dir: \"/tmp/\\0\"\n"), "5:18"),
        (process("    user: \"a\\0\"\n"), "5:11"),
        (process("    health_check: {command: \"test \\0\"}\n"), "5:29"),
        (process("    health_check: {log: \"\\0\"}\n"), "5:25"),
        (process("    hooks: {before_start: [\"x\\0\"]}\n"), "5:28"),
        (process("    files: [{template: \"a\\0\", target: b}]\n"), "5:24"),
        (process("    env_file: \"a\\0\"\n"), "5:15"),
        (process("    profiles: [\"a\\0\"]\n"), "5:16"),
        (docker("    volumes: [\"./a\\0:/b\"]\n"), "5:15"),
        (docker("    command: \"a \\0\"\n"), "5:14"),
        (docker("    labels: {\"a\\0\": b}\n"), "5:14"),
        (
            docker("    environment: {}\n    env: {A: \"${A_NONE:-\\0}\"}\n"),
            "6:14",
        ),
        ("name: \"a\\0b\"\nservices: {}\n".to_owned(), "1:7"),
        ("secrets: [\"A\\0\"]\nservices: {}\n".to_owned(), "1:11"),
    ] {
        let said = at(&text);
        assert!(
            said.iter().any(|said| said == &format!("{place} {HELP}")),
            "{text}: {said:?}"
        );
    }
    // The parser would ignore everything after it.
    assert_eq!(
        said("services:\n  a: {type: process, binary: sh} # \0\n  b: {type: nonsense}\n"),
        ["2:36 not valid YAML: there is a NUL here (is this a text file?)"]
    );
}

#[test]
fn a_nul_stands_in_no_env_file() {
    let folder = Folder::new(&process("    env_file: app.env\n    env: {A: \"${A:-x}\"}\n"));
    folder.write(".env", "OK=1\nA=b\0c\n");
    folder.write("app.env", "X=1\nexport MY_TOKEN='hunter2\0'\n");
    let mistakes = mistakes(&folder.options());
    let said: Vec<_> = mistakes
        .iter()
        .map(|d| format!("{}:{}:{} {}", d.file, d.line, d.column, d.message))
        .collect();
    assert_eq!(
        said,
        [
            "services.yaml:6:15 variable `A` cannot be read: a NUL is not allowed here (.env:2:1)",
            "app.env:2:1 a NUL is not allowed here"
        ]
    );
    assert!(!mistakes.render(false).contains("hunter2"));
}

#[test]
fn what_is_longer_than_a_program_can_be_given() {
    let long = "x".repeat(131_071);
    let fits = &long[..131_071 - 2];
    let folder = Folder::new(&process(&format!("    env: {{A: {fits}}}\n    args: [{long}]\n")));
    assert!(harness_config::load(&folder.options()).is_ok());
    let too_long = |more: &str| {
        let said = said(&process(more));
        assert_eq!(said.len(), 1, "{said:?}");
        said[0].clone()
    };
    assert_eq!(
        too_long(&format!("    env: {{A: {long}}}\n")),
        "5:14 the variable `A` has 131073 bytes, but a program can receive at most 131071 (put it into a file with `files`)"
    );
    for more in [
        format!("    args: [a, {long}y]\n"),
        format!("    health_check: {{command: [sh, -c, {long}y]}}\n"),
        format!("    health_check: {{command: sh, args: [{long}y]}}\n"),
        format!("    hooks: {{after_stop: [{long}y]}}\n"),
    ] {
        assert!(
            too_long(&more).contains("this argument has 131072 bytes"),
            "{}",
            too_long(&more)
        );
    }
    assert!(
        too_long(&format!("    working_dir: /{}\n", "d/".repeat(3000)))
            .contains("a path can have at most 4095")
    );
    assert!(
        too_long(&format!("    working_dir: /{}\n", "d".repeat(256)))
            .contains("a name in this path has 256 bytes")
    );

    // Each of them is short enough, but all together are too long.
    let value = "x".repeat(100_000);
    let lines = |from: usize| -> String { (from..from + 35).map(|n| format!("V{n}={value}\n")).collect() };
    let folder = Folder::new(&process("    env_file: [one.env, two.env]\n"));
    folder.write("one.env", &lines(0)).write("two.env", &lines(35));
    let mistakes = mistakes(&folder.options());
    let first = mistakes.iter().next().unwrap();
    assert_eq!((first.line, first.column), (2, 3));
    assert!(
        first.message.starts_with("its arguments and variables have 70"),
        "{}",
        first.message
    );

    let folder = Folder::new(&process("    env_file: one.env\n"));
    folder.write("one.env", &format!("A={long}\n"));
    let mistakes = common::mistakes(&folder.options());
    assert!(mistakes.to_string().contains("5:15"), "{mistakes}");
}

#[test]
fn names_and_programs_that_cannot_be() {
    for (more, wanted) in [
        (
            "    env: {\"A=B\": x}\n",
            "5:11 this cannot be the name of a variable",
        ),
        (
            "    env: {\"\": x}\n",
            "5:11 this cannot be the name of a variable",
        ),
        (
            "    env: [\"=x\"]\n",
            "5:11 this cannot be the name of a variable",
        ),
        ("    user: \"\"\n", "5:11 `user` is empty"),
        (
            "    hooks: {before_start: [\"\", x]}\n",
            "5:27 the program of this command is empty",
        ),
        (
            "    health_check: {command: '\"\" x'}\n",
            "5:29 the program of this command is empty",
        ),
    ] {
        assert_eq!(said(&process(more)), [wanted], "{more}");
    }
}

#[test]
fn targets_that_are_the_projects_own() {
    for (target, wanted) in [
        ("a.in", "`target` is the template itself"),
        ("./a.in", "`target` is the template itself"),
        (
            "services.yaml",
            "`target` is a file that the project is read from",
        ),
        (
            "FOLDER/services.yaml",
            "`target` is a file that the project is read from",
        ),
        // It does not exist yet, but the next start would read it.
        (".env", "`target` is a file that the project is read from"),
        ("conf/", "`target` names a folder, not a file"),
    ] {
        let folder = Folder::new("");
        let target = target.replace("FOLDER", &folder.path().display().to_string());
        folder.write(
            "services.yaml",
            &process(&format!("    files: [{{template: a.in, target: {target}}}]\n")),
        );
        let mistakes = mistakes(&folder.options());
        let said: Vec<_> = mistakes
            .iter()
            .map(|d| (d.line, d.column, d.message.as_str()))
            .collect();
        assert_eq!(said, [(5, 38, wanted)], "{target}");
    }
}
