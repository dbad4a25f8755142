//! The YAML reference for people, from the table of keys.

use crate::keys::{Key, SECTIONS, SERVICE_TYPES, Section, Shape, WIDE};

/// What holds for hooks.
const HOOKS: &str = "
Hooks belong to one start of their service. What `before_start`, `after_healthy` and `before_stop` leave in the background
lives as long as the service at most; the service is stopped, and starts again, when all of it is gone. A stop ends a
`before_start` or `after_healthy` that still runs. `after_stop` runs after every end (a stop, a crash, a `oneshot` that is done),
by the file that the service was started with. It runs at least once: a second time if the daemon dies meanwhile. A failed
`before_start` fails the start; the failure of another hook is told by `status`, `why` and `events`.
";

const INTRODUCTION: &str = "\
# services.yaml

<!-- Generated from the schema; do not edit. -->

One file describes a project: its networks and its services. Unknown keys are errors, and so are keys that a service's
type does not have. `-c` may be given several times: maps are merged deeply, scalars and lists are replaced.
Relative paths are relative to the file they are written in, and `~` is the home of whoever calls `harness`. At the top
level, keys that begin with `x-` are passed over: a place for YAML anchors.

## Values

| kind | how it is written |
|---|---|
| duration | seconds as a number (`10`, `2.5`), or with units: `500ms`, `30s`, `2m`, `1h30m`, `1d` |
| size | bytes as a number, or with a unit: `k`, `m`, `g`, `t`, `KiB`, `MiB` … count in 1024s, `KB`, `MB` … in 1000s |
| command | a string, split like a shell splits words but without a shell; or a list of words |
| variables | a map, or a list of `NAME=value`; numbers are kept as written, booleans need quotes |
| port | `5432`, `\"5353/udp\"`, for docker also `\"8080:80\"` and `\"127.0.0.1:8080:80/udp\"`, or a map |

## Variables and references

They may stand in every string value.

| written | means |
|---|---|
| `${VAR}` | the variable of the environment, else of `.env` beside the first file; an error if neither has it |
| `${VAR:-default}` | `default` if the variable is unset or empty; it may hold further `${…}` |
| `${VAR:?message}` | an error with this message if the variable is unset or empty |
| `${service.ip}` | the address at which this service reaches that one |
| `${service.host}` | the name or address of the host it runs on |
| `${service.port}` | its only or first port |
| `${service.port.NAME}` | its port of that name |
| `$$` | a plain `$` |
| `$NAME` | stays as it is |

A reference to a service implies a dependency on it. Values of variables under `secrets`, with PASSWORD, SECRET or
CREDENTIAL in their names, or with TOKEN or KEY as the last word of them, are never shown and must not stand in arguments and
commands: pass them through `env` or `files`. In output, answers of checks and whatever else programs say, they are found as
they are and as JSON, URLs and base64 write them. Very short and common values (`postgres`, `false`, the name of a service) are
not looked for there; `validate` names those.

## Where a service runs

On the network `local`, on this machine. On another network, on the node that `host` names by its `host` or `name`; if the
network has exactly one node, on that one. Relative paths there start from the home of the SSH user. Docker and compose
services run on this machine only.

## .env and env files

`.env` beside the first file gives variables to `${…}`; an `env_file` gives them to a service. Both are read as Docker
Compose reads them:

| written | means | elsewhere |
|---|---|---|
| `A=b c # note` | `b c` | foreman and systemd keep the note |
| `A=b#c`, `A=#c` | `b#c`, `#c` | some take `#c` for a note |
| `A= # note` | empty | python-dotenv gives `# note` |
| `A='b $c \\n'` | as it stands; `\\'` is a quote | the same in a shell, without `\\'` |
| `A=\"b\\n\\\"c\\\"\"` | `\\n \\r \\t \\a \\b \\f \\v \\\" \\\\ \\$` are replaced, any other `\\x` stays | foreman replaces only `\\n` |
| quotes over several lines | a value of several lines, as a PEM | foreman and `docker run` end at the line |
| `A=${B}`, `A=$B`, `A=\"${B:-c}\"` | in `.env` the variable: of the environment, or of an earlier line. In an `env_file` of services.yaml it stays as it stands | in Compose an `env_file` too; foreman, systemd and `docker run` never |
| `NAME` alone | the variable of the environment, if that has it | passed over by foreman |
| `export A=b`, `A: b`, `A = b` | `A=b` | not in `docker run`, not in systemd |
| `my.key=b` | a variable of that name, which `${…}` cannot name | an error in a shell |
| a line that cannot be read | a warning; an error where its variable is used, and in an `env_file` | an error in Compose, passed over by foreman |
| a folder called `.env` | passed over | the same in Compose |

The environment beats `.env`, and a later line an earlier one.

## Containers

A container is named `<project>-<service>` and is removed when it ends; its output stays. The engine is the one that the
docker program would use (`DOCKER_HOST`, else the context in use, else this machine's) in the environment of whoever
starts the daemon. Named volumes stay, until `harness stop --all --volumes`.

- Each network with containers has a subnet: the network's `subnet`, unless that is loopback, or one that is chosen once,
  away from every network that this machine is on.
  Containers find each other there by the names of their services, and this machine as `host.docker.internal`.
- `${x.ip}` and `${x.port}` are where the referring service reaches `x`: a process reaches a container where it is
  published, or at the container's own address if it publishes nothing; containers reach each other at their own
  addresses and inner ports; a container reaches a process at this machine's address on its network. The process must
  listen there: what listens on 127.0.0.1 is not reached from a container.
- In `health_check`, `localhost` is the container itself and ports are those inside it; a `command` runs inside it.
- Without a `health_check`, the HEALTHCHECK of the image counts: its command, interval, timeout, retries and start period
  (where the file has no `startup_timeout`, it is 60 s, or what these figures need). Dependents then wait by default until
  it is healthy, and until it is started where the image has none.
- Without a `stop_signal`, the STOPSIGNAL of the image counts, and SIGTERM where that has none.
- A volume whose source is a path is made as a folder by the user if it is not there; a named one is called
  `<project>_<name>` and stays when the project is stopped.
- The environment is `env`, the addresses of its dependencies, and what `inherit_env` lists; nothing else of this machine's.
  `inherit_env: true` takes everything but PATH, HOME and what else every program needs, which are the image's own.
- `files` are put into it before it starts; a relative target is relative to its `working_dir`, else to the image's.
- `expose`, else what the image EXPOSEs, counts as declared where the file lists no `ports`: `${x.port}` is the one port that
  it tells, at the container's own address. Such an image is fetched or built before anything starts.
- Hooks: `before_start` and `after_stop` run on this machine, in the file's folder, for there is no container then;
  `after_healthy` and `before_stop` run inside it. All have the service's environment; on this machine with its own PATH,
  HOME and what else every program needs.
- `image` is pulled when it is not there; with `build` it is built at each start, unchanged steps from the engine's cache.
- Refused: `stop_mode: group`, and secrets in `labels`, `command`, `entrypoint` and `build.args`: whoever may ask the
  engine reads those, and the last stay in the image. `env` and `files` are the places for secrets.
- A line shows in `logs` when it is complete; with `tty` or `stdin` also before, so that prompts are seen. What ends the input
  of a terminal is Ctrl-D; a `stdin` without one stays open as long as its container runs.

## Services of a compose file

`type: compose` makes docker services of those of a compose file, as they are there; all that holds for containers holds
for them.

- `service: db` is one service, called as its entry is. Other keys beside `service` lie over those of the compose file:
  maps (`env`, `labels`) are merged, everything else is replaced; `dependencies` take the place of `depends_on`.
- `services: [a, b]`, or neither, is a group: each service is called as in the compose file, and the name of the entry
  stands for all of them in `dependencies` and in every command that takes several services (`harness stop shop`,
  `harness logs -f shop`). `dependencies` beside it are added to each, `profiles` hold for those that have none. A service
  with an entry of its own counts as it is there.
- What a service needs by `depends_on` comes along, under its own name or that of its entry, in the profiles of those that
  need it. A service that others wait for to complete is a oneshot.
- In the compose file `${…}` means what it means to Docker Compose; values are of the environment, else of `.env` beside
  that file. Its relative paths start from its folder, its `name` does not count, and an override file beside it is not read.
- In its `env_file`s variables are replaced too, by those of the environment, of the `.env` beside it, of the service's
  `environment`, and of earlier lines.
- Its networks become networks of the project, under their names, with their `ipam` subnet, `ipv4_address` and aliases; a
  docker service may join one by `network: NAME`. `default` is `local` unless the file describes it. A service is known by
  its address on its first network, and to containers by that on a network of both. Networks and volumes that are
  `external` must be there, and stay; a service that is only on such networks is on `local` too.
- Ports are published on 127.0.0.1 unless an address is written, as everywhere here.
- A key that has no counterpart is refused at its place in the compose file. `start_interval` has no effect, which a
  warning says; `extends`, `include`, `secrets`, `configs`, `network_mode`, unnamed volumes and more than one replica
  are among the refused ones.
";

/// The text of `docs/yaml-reference.md`.
pub fn reference_markdown() -> String {
    let mut out = INTRODUCTION.to_owned();
    for section in SECTIONS {
        out.push_str(&section_markdown(section));
    }
    out
}

fn section_markdown(section: &Section) -> String {
    let mut out = format!("\n## {}\n", title(section));
    if section.name != "service" {
        out.push_str(&table(section.keys.iter(), section));
        if section.name == "hooks" {
            out.push_str(HOOKS);
        }
        return out;
    }
    out.push_str("\nEvery type has:\n");
    out.push_str(&table(
        section.keys.iter().filter(|key| key.types.is_empty()),
        section,
    ));
    for service_type in SERVICE_TYPES {
        out.push_str(&format!("\n### `type: {service_type}`\n"));
        out.push_str(&table(
            section
                .keys
                .iter()
                .filter(|key| key.types.contains(&service_type)),
            section,
        ));
    }
    out
}

fn title(section: &Section) -> String {
    match section.name {
        "project" => "Top level".into(),
        "network" => "A network (`networks.NAME`)".into(),
        "node" => "A node (`networks.NAME.nodes`)".into(),
        "service" => "A service (`services.NAME`)".into(),
        "file" => "A file (`files`)".into(),
        "port" => "A port as a map (`ports`)".into(),
        "dependency" => "A dependency as a map (`dependencies`)".into(),
        "hook" => "A hook as a map (`hooks`)".into(),
        name => format!("`{name}`"),
    }
}

fn table<'a>(keys: impl Iterator<Item = &'a Key>, section: &Section) -> String {
    let mut out = String::from("\n| key | value | meaning | default |\n|---|---|---|---|\n");
    for key in keys {
        let default = if section.required.contains(&key.name) {
            "required"
        } else {
            key.default
        };
        out.push_str(&format!(
            "| `{}` | {} | {} | {} |\n",
            key.name,
            value(key.shape).replace('|', "\\|"),
            key.doc.replace('|', "\\|"),
            default
        ));
    }
    out
}

fn value(shape: Shape) -> String {
    match shape {
        Shape::Text => "string".into(),
        Shape::Scalar => "string or number".into(),
        Shape::Bool => "`true`, `false`".into(),
        Shape::Whole { min: 0, max } if max >= WIDE => "whole number".into(),
        Shape::Whole { min, max } if max >= WIDE => format!("whole number from {min}"),
        Shape::Whole { min, max } => format!("{min} to {max}"),
        Shape::Duration => "duration".into(),
        Shape::Size => "size".into(),
        Shape::Words => "command".into(),
        Shape::Choice(words) => words
            .iter()
            .map(|word| format!("`{word}`"))
            .collect::<Vec<_>>()
            .join(", "),
        Shape::List(item) => format!("list of {}", value(*item)),
        Shape::Map(Shape::Scalar) => "variables".into(),
        Shape::Map(item) => format!("map of names to {}", value(*item)),
        Shape::Section(section) => format!("[{0}](#{1})", section.name, anchor(section)),
        Shape::Any([Shape::Map(Shape::Scalar), ..]) => "variables".into(),
        Shape::Any(shapes) => shapes
            .iter()
            .map(|shape| value(*shape))
            .collect::<Vec<_>>()
            .join(" or "),
    }
}

/// The anchor that Markdown renderers make of a heading.
fn anchor(section: &Section) -> String {
    title(section)
        .to_lowercase()
        .chars()
        .filter_map(|c| match c {
            ' ' => Some('-'),
            c if c.is_alphanumeric() || matches!(c, '-' | '_') => Some(c),
            _ => None,
        })
        .collect()
}
