//! Wrapping commands, layer by layer.

use super::*;
use crate::command::{StdinMode, WindowSize};

fn argv(command: &Command) -> Vec<String> {
    std::iter::once(&command.program)
        .chain(&command.args)
        .map(|word| word.to_string_lossy().into_owned())
        .collect()
}

fn secretive() -> Command {
    Command::new("psql")
        .args(["-c", "select 'it''s'"])
        .env("PGPASSWORD", "hunter2")
        .cwd("/srv/my app")
}

#[test]
fn docker_takes_values_from_the_clients_environment() {
    let wrapped = Docker::new("db").wrap(secretive().user("postgres")).unwrap();
    assert_eq!(
        argv(&wrapped),
        [
            "docker",
            "exec",
            "-e",
            "PGPASSWORD",
            "-w",
            "/srv/my app",
            "-u",
            "postgres",
            "db",
            "psql",
            "-c",
            "select 'it''s'"
        ]
    );
    assert_eq!(
        wrapped
            .env
            .get("PGPASSWORD".as_ref() as &std::ffi::OsStr)
            .unwrap(),
        "hunter2"
    );
}

#[test]
fn docker_leaves_its_clients_own_variables_alone() {
    let wrapped = Docker::new("db")
        .wrap(Command::new("env").env("PATH", "/opt/bin"))
        .unwrap();
    assert_eq!(
        argv(&wrapped),
        ["docker", "exec", "-e", "PATH=/opt/bin", "db", "env"]
    );
    assert!(wrapped.env.is_empty());
}

#[test]
fn docker_asks_for_stdin_and_terminal_only_when_needed() {
    let docker = Docker::new("db").client("podman");
    let piped = docker.wrap(Command::new("cat").stdin(StdinMode::Piped)).unwrap();
    assert_eq!(argv(&piped), ["podman", "exec", "-i", "db", "cat"]);
    let tty = docker
        .wrap(Command::new("top").tty(WindowSize::default()))
        .unwrap();
    assert_eq!(argv(&tty), ["podman", "exec", "-i", "-t", "db", "top"]);
    assert!(tty.tty.is_some());
}

#[test]
fn ssh_sends_the_environment_ahead_of_stdin() {
    let ssh = Ssh::new("node1")
        .user("deploy")
        .port(2222)
        .key("/keys/id")
        .option("ConnectTimeout=5");
    let wrapped = ssh.wrap(secretive()).unwrap();
    let words = argv(&wrapped);
    assert_eq!(
        words[..words.len() - 1],
        [
            "ssh",
            "-o",
            "BatchMode=yes",
            "-o",
            "ConnectTimeout=5",
            "-p",
            "2222",
            "-o",
            "IdentitiesOnly=yes",
            "-i",
            "/keys/id",
            "-l",
            "deploy",
            "-T",
            "node1",
            "--"
        ]
    );
    assert!(!words.concat().contains("hunter2"));
    assert!(wrapped.env.is_empty(), "the client itself needs none of it");
    assert_eq!(
        String::from_utf8(wrapped.preamble).unwrap(),
        "export PGPASSWORD=hunter2\nend-of-environment\n"
    );
}

#[test]
fn layers_nest_from_the_innermost_outwards() {
    let inner = Docker::new("db").wrap(secretive()).unwrap();
    let outer = Ssh::new("node1").wrap(inner).unwrap();
    let words = argv(&outer);
    assert_eq!(words[0], "ssh");
    let line = words.last().unwrap();
    assert!(
        line.contains("docker exec -e PGPASSWORD -w '/srv/my app' db psql"),
        "{line}"
    );
    assert!(!line.contains("hunter2"));

    let twice = Ssh::new("bastion").wrap(outer).unwrap();
    assert!(
        String::from_utf8(twice.preamble).unwrap().contains("hunter2"),
        "the inner host's preamble travels through the outer one"
    );
}

#[test]
fn what_a_place_cannot_do_is_refused() {
    let ssh = Ssh::new("node1").user("deploy");
    assert!(matches!(
        ssh.wrap(Command::new("id").user("root")),
        Err(LayerError::UserSwitch { .. })
    ));
    assert!(ssh.wrap(Command::new("id").user("deploy")).is_ok());
    assert!(matches!(
        ssh.wrap(Command::new("top").env("A", "b").tty(WindowSize::default())),
        Err(LayerError::EnvironmentOnTerminal { .. })
    ));
    assert!(matches!(
        ssh.wrap(Command::new("env").env("a-b;rm", "x")),
        Err(LayerError::VariableName { .. })
    ));
    for name in ["", "-oProxyCommand=x", "a b"] {
        assert!(matches!(
            Ssh::new(name).wrap(Command::new("id")),
            Err(LayerError::Destination(_))
        ));
        assert!(matches!(
            Docker::new(name).wrap(Command::new("id")),
            Err(LayerError::Destination(_))
        ));
    }
    assert_eq!(
        Local::new().wrap(Command::new("id").user("nobody")),
        Err(LayerError::ShimNeeded)
    );
}

#[test]
fn the_supervisor_switches_user_and_takes_the_terminal() {
    let local = Local::with_shim("/opt/harness-shim");
    let wrapped = local
        .wrap(
            Command::new("top")
                .arg("-b")
                .user("nobody")
                .cwd("/tmp")
                .tty(WindowSize::default()),
        )
        .unwrap();
    assert_eq!(
        argv(&wrapped),
        [
            "/opt/harness-shim",
            "command",
            "--user",
            "nobody",
            "--cwd",
            "/tmp",
            "--tty",
            "--",
            "top",
            "-b"
        ]
    );
    assert_eq!(
        argv(&local.wrap(Command::new("top")).unwrap()),
        ["/opt/harness-shim", "command", "--", "top"]
    );
    assert_eq!(
        Local::new().wrap(Command::new("top")).unwrap(),
        Command::new("top")
    );
}

/// What a host's `sh` does with the line that `ssh` gets, with the same stdin. It runs the real reader.
#[test]
fn a_hosts_shell_restores_the_command() {
    let value = "it's\n\"$HOME\" `x` \\n\nend-of-environment\n\n";
    let command = Command::new("sh")
        .args([
            "-c",
            "printf %s \"$VALUE\"; pwd; cat; printf '<%s>' \"$@\"",
            "sh",
            "a b",
            "",
            "$x",
        ])
        .env("VALUE", value)
        .env("OTHER", "1")
        .cwd("/usr/bin")
        .stdin(StdinMode::Piped);
    let wrapped = Ssh::new("node1").wrap(command).unwrap();
    let mut remote = Command::new("sh")
        .arg("-c")
        .arg(wrapped.args.last().unwrap().clone());
    remote.stdin = wrapped.stdin;
    remote.preamble = wrapped.preamble;

    let mut running = crate::Executor::local().spawn(remote).unwrap();
    let mut stdin = running.take_stdin().unwrap();
    let output = async_io::block_on(async {
        futures_lite::AsyncWriteExt::write_all(&mut stdin, b"what follows")
            .await
            .unwrap();
        drop(stdin);
        let mut output = Vec::new();
        while let Some(event) = running.next_event().await.unwrap() {
            if let crate::ProcessEvent::Stdout(bytes) = event {
                output.extend(bytes);
            }
        }
        String::from_utf8(output).unwrap()
    });
    assert_eq!(output, format!("{value}/usr/bin\nwhat follows<a b><><$x>"));
}
