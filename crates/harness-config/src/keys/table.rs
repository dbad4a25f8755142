//! The table itself, one section after the other.

use super::{Key, SERVICE_TYPES, Section, Shape};

const STRINGS: Shape = Shape::List(&Shape::Text);
const SCALARS: Shape = Shape::List(&Shape::Scalar);
const COUNT: Shape = Shape::Whole {
    min: 0,
    max: u64::MAX,
};
const SMALL: Shape = Shape::Whole {
    min: 0,
    max: u32::MAX as u64,
};
const PORT_NUMBER: Shape = Shape::Whole { min: 0, max: 65535 };
const ENV: Shape = Shape::Any(&[Shape::Map(&Shape::Scalar), SCALARS]);
const RESTART_SHAPE: Shape = Shape::Any(&[Shape::Choice(&RESTART_WORDS), Shape::Section(&RESTART)]);
const HOOK_SHAPE: Shape = Shape::Any(&[Shape::Words, Shape::Section(&HOOK)]);
const INHERIT: Shape = Shape::Any(&[Shape::Bool, STRINGS]);

/// The words of `restart`.
pub(crate) const RESTART_WORDS: [&str; 4] = ["no", "on-failure", "always", "unless-stopped"];
/// The words of a dependency's `condition`.
pub(crate) const CONDITIONS: [&str; 5] = ["started", "healthy", "completed", "log", "none"];

const PROGRAMS: &[&str] = &["process", "remote"];
const WITH_BINARY: &[&str] = &["process", "remote", "package"];
const WITH_FOLDER: &[&str] = &["process", "remote", "docker", "compose"];
/// Next to `service` in an entry of `type: compose`, these keys override those of the compose file.
const DOCKER: &[&str] = &["docker", "compose"];
const COMPOSE: &[&str] = &["compose"];
const PACKAGE: &[&str] = &["package"];

/// The whole file.
pub(crate) static PROJECT: Section = Section {
    name: "project",
    title: "a services.yaml",
    plural: "projects",
    required: &["services"],
    extensible: true,
    keys: &[
        Key::new(
            "version",
            Shape::Scalar,
            "The version of this format: `\"1.0\"` or `1.0`.",
        ),
        Key::new("name", Shape::Text, "The project's name, unique in a daemon.").or("the folder's name"),
        Key::new("description", Shape::Text, "What the project is, for people."),
        Key::new(
            "settings",
            Shape::Section(&SETTINGS),
            "Defaults for every service of the file.",
        ),
        Key::new(
            "secrets",
            STRINGS,
            "Names of variables whose values are never shown. Names that contain PASSWORD, SECRET or \
                CREDENTIAL, or have TOKEN or KEY as their last word, need not be listed.",
        ),
        Key::new(
            "networks",
            Shape::Map(&Shape::Section(&NETWORK)),
            "The places that services run in. `local`, this machine, always exists.",
        ),
        Key::new(
            "services",
            Shape::Map(&Shape::Section(&SERVICE)),
            "The services to run.",
        ),
    ],
};

/// `settings`.
pub(crate) static SETTINGS: Section = Section {
    name: "settings",
    title: "`settings`",
    plural: "settings",
    required: &[],
    extensible: false,
    keys: &[
        Key::new(
            "startup_timeout",
            Shape::Duration,
            "`startup_timeout` of services that have none.",
        ),
        Key::new(
            "shutdown_timeout",
            Shape::Duration,
            "`shutdown_timeout` of services that have none.",
        ),
        Key::new(
            "restart",
            RESTART_SHAPE,
            "`restart` of services that have none (oneshots excepted).",
        ),
        Key::new(
            "logs",
            Shape::Section(&LOGS),
            "`logs` of services that have none.",
        ),
        Key::new(
            "inherit_env",
            INHERIT,
            "`inherit_env` of services that have none.",
        ),
    ],
};

/// A network.
pub(crate) static NETWORK: Section = Section {
    name: "network",
    title: "a network",
    plural: "networks",
    required: &["type"],
    extensible: false,
    keys: &[
        Key::new(
            "type",
            Shape::Choice(&["local", "lan", "wireguard"]),
            "`local`: this machine. `lan`: hosts reached over SSH. `wireguard`: hosts reached over SSH through a tunnel that exists already.",
        ),
        Key::new(
            "subnet",
            Shape::Text,
            "Its addresses, as in `192.168.1.0/24`. A loopback subnet is a pool of addresses for processes.",
        ),
        Key::new(
            "config_path",
            Shape::Text,
            "The WireGuard configuration file. Only for `type: wireguard`.",
        ),
        Key::new("nodes", Shape::List(&Shape::Section(&NODE)), "The hosts on it."),
    ],
};

/// A node of a network.
pub(crate) static NODE: Section = Section {
    name: "node",
    title: "a node",
    plural: "nodes",
    required: &["host"],
    extensible: false,
    keys: &[
        Key::new("host", Shape::Text, "Its address or DNS name."),
        Key::new(
            "name",
            Shape::Text,
            "A short name that a service's `host` may use.",
        ),
        Key::new("ssh_user", Shape::Text, "The user to log in as.").or("as ssh decides"),
        Key::new("ssh_key", Shape::Text, "The private key file.").or("as ssh decides"),
        Key::new("ssh_port", Shape::Whole { min: 1, max: 65535 }, "The SSH port.").or("22"),
        Key::new(
            "package_deploy",
            Shape::Bool,
            "Whether packages may be deployed to it.",
        )
        .or("true"),
    ],
};

/// A service.
pub(crate) static SERVICE: Section = Section {
    name: "service",
    title: "a service",
    plural: "services",
    required: &["type"],
    extensible: false,
    keys: &[
        Key::new("type", Shape::Choice(&SERVICE_TYPES), "What it is: a local process, a container, services of a compose file, a process on an SSH host, or a package deployed to one."),
        Key::new("network", Shape::Text, "The network it runs on. A process or package on a network with exactly one node runs on that node.").or("local"),
        Key::new("host", Shape::Text, "The node it runs on, by `host` or `name`; needed when the network has several."),
        Key::new("binary", Shape::Text, "The program. With a slash: a path relative to this file (on a \
            node: to the home there). Without: looked up in PATH. For a package: the program in it, if it \
            is not the one that its manifest names.").of(WITH_BINARY),
        Key::new("args", SCALARS, "Its arguments.").of(WITH_BINARY),
        Key::new("working_dir", Shape::Text, "The folder it runs in.").or("this file's folder; on a node the home; in a container the image's").of(WITH_FOLDER),
        Key::new("user", Shape::Scalar, "The user it runs as: `user` or `user:group`, names or numbers.").or("the user who runs the daemon; on a \
            node the SSH user; in a container the image's").of(WITH_FOLDER),
        Key::new("umask", Shape::Scalar, "The permission bits that its new files do not get, in octal: `022`, `\"0077\"`.").or("the umask of the shell that started it").of(PROGRAMS),
        Key::new("limits", Shape::Section(&LIMITS), "Resource limits (setrlimit).").of(PROGRAMS),
        Key::new("image", Shape::Text, "The image to run; with `build`, the name the built image gets.").of(DOCKER),
        Key::new("build", Shape::Any(&[Shape::Text, Shape::Section(&BUILD)]), "How to build the image: the context folder, or a map.").of(DOCKER),
        Key::new("command", Shape::Words, "Replaces the image's CMD.").of(DOCKER),
        Key::new("entrypoint", Shape::Words, "Replaces the image's ENTRYPOINT.").of(DOCKER),
        Key::new("volumes", STRINGS, "`source:target[:ro]`. A source with a leading `./`, `../`, `~` or `/` is a path, otherwise a named volume.").of(DOCKER),
        Key::new("tmpfs", Shape::Any(&[Shape::Text, STRINGS]), "Folders in memory.").of(DOCKER),
        Key::new("extra_hosts", STRINGS, "`name:address` entries for its hosts file.").of(DOCKER),
        Key::new("labels", Shape::Map(&Shape::Scalar), "Labels of the container.").of(DOCKER),
        Key::new("init", Shape::Bool, "Whether an init process reaps zombies in it.").or("false").of(DOCKER),
        Key::new("privileged", Shape::Bool, "Full access to the host.").or("false").of(DOCKER),
        Key::new("cap_add", STRINGS, "Capabilities to add.").of(DOCKER),
        Key::new("cap_drop", STRINGS, "Capabilities to drop.").of(DOCKER),
        Key::new("resources", Shape::Section(&RESOURCES), "The most that it may use.").of(DOCKER),
        Key::new("container_name", Shape::Text, "Its name in the engine.").or("`<project>-<service>`").of(DOCKER),
        Key::new("hostname", Shape::Text, "Its own host name.").or("the container's id").of(DOCKER),
        Key::new("read_only", Shape::Bool, "Whether its root file system is read-only.").or("false").of(DOCKER),
        Key::new("expose", SCALARS, "Ports that it listens on but does not publish: `8080`, \
            `\"5353/udp\"`.").of(DOCKER),
        Key::new("shm_size", Shape::Size, "The size of its `/dev/shm`.").or("64MiB").of(DOCKER),
        Key::new("ulimits", Shape::Map(&Shape::Scalar), "Resource limits by the engine's names, `soft` or \
            `soft:hard`, -1 for no limit: `nofile: \"1024:65536\"`.").or("as the engine decides").of(DOCKER),
        Key::new("dns", Shape::Any(&[Shape::Text, STRINGS]), "The addresses of its name servers.").or("as the engine decides").of(DOCKER),
        Key::new("sysctls", Shape::Map(&Shape::Scalar), "Its own kernel parameters: `net.core.somaxconn: \
            1024`.").of(DOCKER),
        Key::new("security_opt", STRINGS, "Options of the security modules: `no-new-privileges:true`.").of(DOCKER),
        Key::new("group_add", SCALARS, "More groups for its user.").of(DOCKER),
        Key::new("devices", STRINGS, "Devices of this machine: `/dev/fuse`, `/dev/sda:/dev/xvda:r`.").of(DOCKER),
        Key::new("platform", Shape::Text, "The platform of its image, if there are several: `linux/arm64`.").or("as the engine decides").of(DOCKER),
        Key::new("file", Shape::Text, "The compose file.").of(COMPOSE),
        Key::new("service", Shape::Text, "The one service of the compose file to run. It gets the name of \
            this entry. Other keys of the entry override those of the compose file.").or("all of them").of(COMPOSE),
        Key::new("services", STRINGS, "The services of the compose file to run. They keep their names; \
            this entry's name stands for all of them in `dependencies`.").or("all of them").of(COMPOSE),
        Key::new("package", Shape::Text, "The package archive, on this machine.").of(PACKAGE),
        Key::new("version", Shape::Scalar, "The package's version.").of(PACKAGE),
        Key::new("install_path", Shape::Text, "Where it is unpacked on the node.").of(PACKAGE),
        Key::new("requires", STRINGS, "Commands that must exist on the node.").of(PACKAGE),
        Key::new("env", ENV, "Its environment: a map, or a list of `NAME=value`. Numbers are kept as written; booleans need quotes."),
        Key::new("env_file", Shape::Any(&[Shape::Text, STRINGS]), "Files of `NAME=value` lines, read as the table below says. `env` beats them; a later file beats an earlier one. A missing file is an error at start, not when validating."),
        Key::new("inherit_env", INHERIT, "What it takes from the environment of whoever starts it besides PATH, HOME, USER, LOGNAME, SHELL, LANG, LC_*, TZ, TMPDIR, XDG_* and SSH_AUTH_SOCK: `true` for everything, or a list of names.").or("false"),
        Key::new("files", Shape::List(&Shape::Section(&FILE)), "Files rendered before it starts, with `${…}` replaced in them."),
        Key::new("ports", Shape::Any(&[Shape::List(&Shape::Any(&[Shape::Scalar, Shape::Section(&PORT)])), Shape::Map(&PORT_NUMBER)]), "What it listens on: `5432`, `\"5353/udp\"`, a map with a name, or `NAME: 5432` pairs. For docker what is published, on 127.0.0.1 unless an address is written: `\"8080:80\"`, `\"0.0.0.0:8080:80\"`. `0` takes a free port."),
        Key::new("dependencies", Shape::List(&Shape::Any(&[Shape::Text, Shape::Section(&DEPENDENCY)])), "What must hold before it starts: names of services, or maps. A `${service.…}` anywhere in the service implies one."),
        Key::new("health_check", Shape::Section(&HEALTH_CHECK), "How to tell whether it is healthy."),
        Key::new("startup_timeout", Shape::Duration, "From its first launch until it must be ready. When it passes, the order fails; what runs then runs on as unhealthy, or is started again if `restart` says so.").or("60, or longer if the health check's own figures need it"),
        Key::new("shutdown_timeout", Shape::Duration, "From the stop signal until SIGKILL.").or("10"),
        Key::new("stop_signal", Shape::Scalar, "The signal that asks it to end, by name or number.").or("SIGTERM; of a container its image's STOPSIGNAL, if that has one"),
        Key::new("stop_mode", Shape::Choice(&["mixed", "group"]), "`mixed`: the main process gets the signal, the rest once it has exited. `group`: all at once.").or("mixed"),
        Key::new("stdin", Shape::Bool, "Whether its stdin is kept open for `attach`.").or("false"),
        Key::new("tty", Shape::Bool, "Whether it gets a terminal instead of pipes.").or("false"),
        Key::new("restart", RESTART_SHAPE, "When to start it again after it ended.").or("no"),
        Key::new("max_restarts", SMALL, "The most restarts in a row.").or("no limit"),
        Key::new("oneshot", Shape::Bool, "Whether it is done when it exits 0, instead of being meant to \
            keep running.").or("false"),
        Key::new("profiles", STRINGS, "The profiles it belongs to; without any, it belongs to all."),
        Key::new("logs", Shape::Section(&LOGS), "How much of its output to keep."),
        Key::new("hooks", Shape::Section(&HOOKS), "Commands to run before and after it starts and stops."),
    ],
};

/// An entry of `files`.
pub(crate) static FILE: Section = Section {
    name: "file",
    title: "a file",
    plural: "files",
    required: &["template", "target"],
    extensible: false,
    keys: &[
        Key::new("template", Shape::Text, "The template, relative to this file."),
        Key::new(
            "target",
            Shape::Text,
            "The path of the file to write, where the service runs. Links that other users could have made \
                are not followed. Only a regular file is replaced, and never one that the project is read \
                from.",
        ),
    ],
};

/// An entry of `ports` as a map.
pub(crate) static PORT: Section = Section {
    name: "port",
    title: "a port",
    plural: "ports",
    required: &["port"],
    extensible: false,
    keys: &[
        Key::new("name", Shape::Text, "Its name, for `${service.port.NAME}`."),
        Key::new(
            "port",
            PORT_NUMBER,
            "The port on the host; `0` selects a free one.",
        ),
        Key::new(
            "target",
            Shape::Whole { min: 1, max: 65535 },
            "The port inside the container. Only for docker.",
        )
        .or("the same"),
        Key::new("host_ip", Shape::Text, "The address it is published on.").or("127.0.0.1"),
        Key::new("protocol", Shape::Choice(&["tcp", "udp"]), "The transport.").or("tcp"),
    ],
};

/// An entry of `dependencies` as a map.
pub(crate) static DEPENDENCY: Section = Section {
    name: "dependency",
    title: "a dependency",
    plural: "dependencies",
    required: &["service"],
    extensible: false,
    keys: &[
        Key::new("service", Shape::Text, "The service that this one needs."),
        Key::new(
            "condition",
            Shape::Choice(&CONDITIONS),
            "The condition that it must meet. `none` uses only its address and does not wait.",
        )
        .or("completed if it is a oneshot, healthy if it has a health check, else started"),
        Key::new(
            "pattern",
            Shape::Text,
            "For `condition: log`: the regular expression that a line of its output must match.",
        ),
        Key::new(
            "restart",
            Shape::Bool,
            "Whether this service restarts when the other one does.",
        )
        .or("false"),
        Key::new(
            "required",
            Shape::Bool,
            "Whether this service cannot start without it.",
        )
        .or("true"),
    ],
};

/// `health_check`.
pub(crate) static HEALTH_CHECK: Section = Section {
    name: "health_check",
    title: "`health_check`",
    plural: "health checks",
    required: &[],
    extensible: false,
    keys: &[
        Key::new(
            "http",
            Shape::Text,
            "A URL, `http://` or `https://`. Answers 2xx and 3xx are good unless `status` or `body` says otherwise. Localhost is the service's own host.",
        ),
        Key::new("method", Shape::Text, "The method of the `http` request.").or("GET"),
        Key::new(
            "headers",
            Shape::Map(&Shape::Scalar),
            "Headers that the `http` request has. `Authorization`, `Cookie` and names like those of secrets are never shown.",
        ),
        Key::new(
            "status",
            Shape::Any(&[Shape::Scalar, SCALARS]),
            "The good status codes of an `http` answer: `204`, `2xx`, `200-204`, or a list.",
        )
        .or("200-399"),
        Key::new(
            "body",
            Shape::Text,
            "A regular expression that the body of an `http` answer must match, in its first 64 KiB.",
        ),
        Key::new(
            "insecure",
            Shape::Bool,
            "Trust any certificate of an `https` server.",
        )
        .or("false"),
        Key::new(
            "ca",
            Shape::Text,
            "A PEM file with the authorities to trust for `https`.",
        )
        .or("those of this machine"),
        Key::new(
            "tcp",
            Shape::Scalar,
            "`host:port`, or a port of localhost, that must accept a connection.",
        ),
        Key::new(
            "command",
            Shape::Words,
            "A command that must exit with 0. It runs where the service runs.",
        ),
        Key::new(
            "log",
            Shape::Text,
            "A regular expression that a line of the output must match.",
        ),
        Key::new("args", SCALARS, "More arguments for `command`."),
        Key::new(
            "interval",
            Shape::Duration,
            "The time between two probes once it is up.",
        )
        .or("10"),
        Key::new("timeout", Shape::Duration, "How long one probe may take.").or("5"),
        Key::new(
            "retries",
            Shape::Whole {
                min: 1,
                max: u32::MAX as u64,
            },
            "How many failures in a row make it unhealthy.",
        )
        .or("3"),
        Key::new(
            "start_period",
            Shape::Duration,
            "A time after the start in which failures do not count.",
        )
        .or("0"),
    ],
};

/// `restart` as a map.
pub(crate) static RESTART: Section = Section {
    name: "restart",
    title: "`restart`",
    plural: "restart policies",
    required: &["policy"],
    extensible: false,
    keys: &[
        Key::new(
            "policy",
            Shape::Choice(&RESTART_WORDS),
            "After which ends to start it again.",
        ),
        Key::new("max_restarts", SMALL, "The most restarts in a row.").or("no limit"),
    ],
};

/// `logs`.
pub(crate) static LOGS: Section = Section {
    name: "logs",
    title: "`logs`",
    plural: "log limits",
    required: &[],
    extensible: false,
    keys: &[
        Key::new("max_size", Shape::Size, "The size of a segment.").or("64MiB"),
        Key::new(
            "max_files",
            Shape::Whole { min: 1, max: 1000 },
            "How many segments to keep.",
        )
        .or("5"),
    ],
};

/// `hooks`.
pub(crate) static HOOKS: Section = Section {
    name: "hooks",
    title: "`hooks`",
    plural: "hooks",
    required: &[],
    extensible: false,
    keys: &[
        Key::new(
            "before_start",
            HOOK_SHAPE,
            "Runs before its process is launched. If it fails, the start fails.",
        ),
        Key::new(
            "after_healthy",
            HOOK_SHAPE,
            "Runs after it became healthy (without a health check: after it started; for a oneshot: after \
                it exited 0).",
        ),
        Key::new("before_stop", HOOK_SHAPE, "Runs before its stop signal."),
        Key::new(
            "after_stop",
            HOOK_SHAPE,
            "Runs after it is gone, however it ended. The service does not start again, and is not shown \
                as stopped, before this has run.",
        ),
    ],
};

/// A hook as a map.
pub(crate) static HOOK: Section = Section {
    name: "hook",
    title: "a hook",
    plural: "hooks",
    required: &["command"],
    extensible: false,
    keys: &[
        Key::new("command", Shape::Words, "The command to run."),
        Key::new(
            "timeout",
            Shape::Duration,
            "How long it may take. After that it is killed, and has failed.",
        )
        .or("60; for `before_start` the `startup_timeout`"),
    ],
};

/// `limits`.
pub(crate) static LIMITS: Section = Section {
    name: "limits",
    title: "`limits`",
    plural: "limits",
    required: &[],
    extensible: false,
    keys: &[
        Key::new("open_files", COUNT, "Open files (RLIMIT_NOFILE)."),
        Key::new("processes", COUNT, "Processes of the user (RLIMIT_NPROC)."),
        Key::new("memory", Shape::Size, "Address space (RLIMIT_AS)."),
        Key::new("core", Shape::Size, "Size of a core dump (RLIMIT_CORE)."),
        Key::new(
            "file_size",
            Shape::Size,
            "Size of a file it may write (RLIMIT_FSIZE).",
        ),
        Key::new("cpu_seconds", COUNT, "CPU time in seconds (RLIMIT_CPU)."),
    ],
};

/// `resources`.
pub(crate) static RESOURCES: Section = Section {
    name: "resources",
    title: "`resources`",
    plural: "resources",
    required: &[],
    extensible: false,
    keys: &[
        Key::new("cpus", Shape::Scalar, "CPU cores, as in `0.5`."),
        Key::new("memory", Shape::Size, "Memory."),
        Key::new("pids", COUNT, "Processes."),
    ],
};

/// `build` as a map.
pub(crate) static BUILD: Section = Section {
    name: "build",
    title: "`build`",
    plural: "builds",
    required: &[],
    extensible: false,
    keys: &[
        Key::new("context", Shape::Text, "The build context.").or("this file's folder"),
        Key::new("dockerfile", Shape::Text, "The Dockerfile, within the context.").or("Dockerfile"),
        Key::new("args", ENV, "Build arguments."),
        Key::new("target", Shape::Text, "The stage to build."),
    ],
};

/// Every section, in the order of the reference.
pub(crate) static SECTIONS: [&Section; 16] = [
    &PROJECT,
    &SETTINGS,
    &NETWORK,
    &NODE,
    &SERVICE,
    &FILE,
    &PORT,
    &DEPENDENCY,
    &HEALTH_CHECK,
    &RESTART,
    &LOGS,
    &HOOKS,
    &HOOK,
    &LIMITS,
    &RESOURCES,
    &BUILD,
];
