//! Makes the YAML reference for people from the table of keys.

use crate::keys::{Key, SECTIONS, SERVICE_TYPES, Section, Shape, WIDE};

/// The text about hooks.
const HOOKS: &str = "
Hooks belong to one start of their service. What `before_start`, `after_healthy` and `before_stop` leave in the
background lives at most as long as the service. The service counts as stopped, and starts again, only when all of it
is gone. A stop ends a `before_start` or `after_healthy` that still runs. `after_stop` runs after every end (a stop, a
crash, a `oneshot` that is done), as described in the file that the service was started with. It runs at least once: if
the daemon dies meanwhile, it runs a second time. If `before_start` fails, the start fails. `status`, `why` and
`events` report the failure of other hooks.
";

const INTRODUCTION: &str = "\
# services.yaml

<!-- Generated from the schema; do not edit. -->

One file describes a project: its networks and its services. Unknown keys are errors, and so are keys that a service's
type does not have. `-c` may be given several times: maps are merged deeply, scalars and lists are replaced. Relative
paths are relative to the file they are written in, and `~` is the home of the user who calls `harness`. At the top
level, keys that begin with `x-` are ignored, so that YAML anchors can be put there.

## Values

| kind | how it is written |
|---|---|
| duration | seconds as a number (`10`, `2.5`), or with units: `500ms`, `30s`, `2m`, `1h30m`, `1d` |
| size | bytes as a number, or with a unit: `k`, `m`, `g`, `t`, `KiB`, `MiB` … are powers of 1024, `KB`, `MB` … of 1000 |
| command | a string, which is split into words as a shell does, but no shell runs it; or a list of words |
| variables | a map, or a list of `NAME=value`; numbers are kept as written, booleans need quotes |
| port | `5432`, `\"5353/udp\"`, for docker also `\"8080:80\"` and `\"127.0.0.1:8080:80/udp\"`, or a map |

## Variables and references

They can be used in every string value.

| written | means |
|---|---|
| `${VAR}` | the environment variable, else the one in `.env` next to the first file; an error if neither has it |
| `${VAR:-default}` | `default` if the variable is unset or empty; it may contain more `${…}` |
| `${VAR:?message}` | an error with this message if the variable is unset or empty |
| `${service.ip}` | the address at which this service reaches the other one |
| `${service.host}` | the name or address of the host that the other one runs on |
| `${service.port}` | its only port, or its first one |
| `${service.port.NAME}` | its port with that name |
| `$$` | a plain `$` |
| `$NAME` | is not replaced |

A reference to a service implies a dependency on it. Secrets are the variables under `secrets`, and those with
PASSWORD, SECRET or CREDENTIAL in their names, or with TOKEN or KEY as the last word of their names. Their values are
never shown and must not be used in arguments and commands: pass them through `env` or `files`. In output, in answers
of checks and in other text from programs, they are found and hidden, also in the forms in which JSON, URLs and base64
write them. Very short and common values (`postgres`, `false`, the name of a service) are not searched for there;
`validate` lists them.

## Where a service runs

On the network `local`, it runs on this machine. On another network, it runs on the node that `host` names by its
`host` or `name`; if the network has exactly one node, it runs on that one. Relative paths there start from the home of
the SSH user. Docker and compose services run on this machine only.

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
| text that is not UTF-8 | in `.env` a warning for its line, and an error where its variable is used; in an `env_file` an error. A `.env` in UTF-16, as Windows programs write it, is read | Compose takes the bytes as they are, and refuses UTF-16 |
| a folder called `.env` | passed over | the same in Compose |

The environment beats `.env`, and a later line an earlier one.

## Containers

A container is named `<project>-<service>` and is removed when it ends; its output is kept. The engine is the one that
the docker program would use in the environment of the user who starts the daemon: `DOCKER_HOST`, else the current
context, else this machine's engine. Named volumes are kept until `harness stop --all --volumes`.

- Each network with containers has a subnet: the network's `subnet`, unless that is loopback; else one that is chosen
  once and does not overlap with any network that this machine is on. Containers find each other there by the names of
  their services, and this machine as `host.docker.internal`.
- `${x.ip}` and `${x.port}` say where the referring service reaches `x`. A process reaches a container where it is
  published, or at the container's own address if it publishes nothing. Containers reach each other at their own
  addresses and inner ports. A container reaches a process at this machine's address on its network. The process must
  listen there: a process that listens on 127.0.0.1 cannot be reached from a container.
- In `health_check`, `localhost` is the container itself and ports are those inside it; a `command` runs inside it.
- Without a `health_check`, the HEALTHCHECK of the image is used: its command, interval, timeout, retries and start
  period. If the file has no `startup_timeout`, it is 60 s, or longer if these values need it. By default, dependents
  then wait until the container is healthy, or until it is started if the image has no HEALTHCHECK.
- Without a `stop_signal`, the STOPSIGNAL of the image is used, or SIGTERM if the image has none.
- If the source of a volume is a path that does not exist, it is created as a folder by the user. A named volume has
  the name `<project>_<name>` and is kept when the project is stopped.
- The environment is `env`, the addresses of its dependencies, and what `inherit_env` lists; nothing else from this
  machine. `inherit_env: true` takes everything except PATH, HOME and the other variables that every program needs; for
  these, the image's own values are used.
  Variables that are not UTF-8 are left out: the engine takes only text.
- `files` are put into the container before it starts; a relative target is relative to its `working_dir`, else to the
  image's.
- If the file lists no `ports`, the ports in `expose` count as declared, or else those that the image EXPOSEs:
  `${x.port}` is then the one port in this list, at the container's own address. Such an image is pulled or built
  before anything starts.
- Hooks: `before_start` and `after_stop` run on this machine, in the file's folder, because there is no container at
  that time; `after_healthy` and `before_stop` run inside the container. All have the service's environment; those on
  this machine have its own PATH, HOME and the other variables that every program needs.
- `image` is pulled if it is not on this machine; with `build` it is built at each start, and unchanged steps come from
  the engine's cache.
- Refused: `stop_mode: group`, and secrets in `labels`, `command`, `entrypoint` and `build.args`. Everybody who can use
  the engine can read those, and build arguments stay in the image. Put secrets into `env` or `files`.
- A line appears in `logs` when it is complete; with `tty` or `stdin` also before, so that prompts are visible. Ctrl-D
  ends the input of a terminal; a `stdin` without a terminal stays open as long as its container runs.

## Services of a compose file

`type: compose` turns services of a compose file into docker services, as they are described there. Everything under
Containers applies to them too.

- `service: db` is one service, with the name of its entry. Other keys next to `service` override those of the compose
  file: maps (`env`, `labels`) are merged, everything else is replaced; `dependencies` replaces `depends_on`.
- `services: [a, b]`, or neither key, is a group: each service keeps its name from the compose file, and the name of
  the entry stands for all of them in `dependencies` and in every command that takes several services
  (`harness stop shop`, `harness logs -f shop`). The entry's `dependencies` are added to each service, and its
  `profiles` apply to those that have none. A service with its own entry counts as described in that entry.
- Services that a service needs by `depends_on` are included, under their own names or those of their entries, in the
  profiles of the services that need them. A service that others wait for to complete is a oneshot.
- In the compose file `${…}` means what it means to Docker Compose; values come from the environment, else from `.env`
  next to that file. Its relative paths start from its folder, its `name` is ignored, and an override file next to it
  is not read.
- In its `env_file`s variables are replaced too, with variables of the environment, of the `.env` next to it, of the
  service's `environment`, and of earlier lines.
- Its networks become networks of the project, under their names, with their `ipam` subnet, `ipv4_address` and aliases;
  a docker service can join one with `network: NAME`. `default` is `local` unless the file describes it. A service is
  reached at its address on its first network; containers reach it at its address on a network that both are on.
  Networks and volumes that are `external` must exist, and are kept; a service that is only on such networks is on
  `local` too.
- Ports are published on 127.0.0.1 unless an address is given, as everywhere in harness.
- A key without a counterpart is refused at its place in the compose file. `start_interval` has no effect, and a
  warning says so. Among the refused keys are `extends`, `include`, `secrets`, `configs`, `network_mode`, unnamed
  volumes and more than one replica.
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

/// The anchor that Markdown renderers make from a heading.
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
