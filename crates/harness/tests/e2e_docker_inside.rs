//! What a container gets, and the ways into it: addresses, volumes, limits, commands, streams.

#![cfg(test)]
#![cfg(feature = "docker-tests")]

mod common;

use common::docker::{DockerSandbox, project};
use common::eventually;
use rustix::process::Signal;

#[test]
fn addresses_are_right_from_every_place() {
    // The process listens on every address, because a container reaches it at the gateway. The engine accepts
    // connections to a published port before the program does, so the test asks for a line.
    let sandbox = DockerSandbox::new(
        "places",
        r#"services:
  inside: {type: docker, image: harness-test/program, command: [listen, "7000", "inside-says"], ports: ["0:7000"]}
  hidden: {type: docker, image: harness-test/program, command: [listen, "7001", "hidden-says"]}
  outside:
    type: process
    binary: perl
    args: [-MIO::Socket::INET, -e, 'my $l = IO::Socket::INET->new(LocalAddr => "0.0.0.0", LocalPort => $ENV{P}, Listen => 5, ReuseAddr => 1) or die $!; while (my $c = $l->accept) { print $c "outside-says\n"; close $c }']
    env: {P: "${outside.port}"}
    ports: [0]
    health_check: {tcp: "localhost:${outside.port}"}
  from-process:
    type: process
    oneshot: true
    binary: perl
    args: [-MIO::Socket::INET, -e, 'for ([$ENV{A}, $ENV{AP}], [$ENV{B}, 7001], [$ENV{HARNESS_INSIDE_IP}, $ENV{HARNESS_INSIDE_PORT}]) { my $l; my $t = $_; for (1..200) { my $s = IO::Socket::INET->new(PeerAddr => $t->[0], PeerPort => $t->[1]); $l = <$s> if $s; last if defined $l; select undef, undef, undef, 0.05 } print $l }']
    env: {A: "${inside.ip}", AP: "${inside.port}", B: "${hidden.ip}"}
  from-container:
    type: docker
    image: harness-test/program
    oneshot: true
    command: [dial, "${inside.ip}", "${inside.port}"]
  by-name:
    type: docker
    image: harness-test/program
    oneshot: true
    command: [dial, "${inside.host}", "7000"]
    restart: {policy: on-failure, max_restarts: 5}
  to-host:
    type: docker
    image: harness-test/program
    oneshot: true
    command: [dial, "${outside.ip}", "${outside.port}"]
  to-host-by-name:
    type: docker
    image: harness-test/program
    oneshot: true
    command: [dial, host.docker.internal, "${outside.port}"]
"#,
    );
    sandbox.ok(&["start"]);
    let said = |service: &str| sandbox.ok(&["logs", service]).stdout;
    let process = said("from-process");
    assert!(
        process.contains("inside-says") && process.contains("hidden-says"),
        "{process}"
    );
    assert_eq!(process.matches("inside-says").count(), 2, "{process}");
    for (service, word) in [
        ("from-container", "inside-says"),
        ("by-name", "inside-says"),
        ("to-host", "outside-says"),
        ("to-host-by-name", "outside-says"),
    ] {
        assert!(said(service).contains(word), "{service}: {}", said(service));
    }
    sandbox.ok(&["stop", "--all"]);
    assert!(sandbox.networks().is_empty());
}

#[test]
fn the_files_subnet_is_the_networks() {
    let sandbox = DockerSandbox::new(
        "subnet",
        "networks:\n  local: {type: local, subnet: 10.199.77.0/24}\nservices:\n  a: {type: docker, image: harness-test/program}\n",
    );
    sandbox.ok(&["start"]);
    let network = &sandbox.networks()[0];
    assert_eq!(network["IPAM"]["Config"][0]["Subnet"], "10.199.77.0/24");
    let addresses = sandbox.inspect("a")["NetworkSettings"]["Networks"].to_string();
    assert!(addresses.contains("\"IPAddress\":\"10.199.77.2\""), "{addresses}");
}

#[test]
fn what_few_containers_need_they_get() {
    let sandbox = DockerSandbox::new(
        "options",
        r#"services:
  app:
    type: docker
    image: harness-test/base
    command: [sleep, "1000"]
    shm_size: 16MiB
    ulimits: {nofile: "100:200", core: 0}
    dns: [192.0.2.53, 192.0.2.54]
    sysctls: {net.ipv4.ip_default_ttl: 77}
    security_opt: ["no-new-privileges:true"]
    group_add: [4242]
    devices: ["/dev/null:/dev/nothing:r", /dev/zero]
    platform: linux
"#,
    );
    sandbox.ok(&["start", "app"]);
    let inside = |script: &str| {
        let said = sandbox.ok(&["exec", "app", "--", "sh", "-c", script]);
        said.stdout.trim().to_owned()
    };
    assert!(inside("grep ' /dev/shm ' /proc/mounts").contains("size=16384k"));
    assert_eq!(inside("ulimit -Sn; ulimit -Hn; ulimit -Sc"), "100\n200\n0");
    assert_eq!(inside("cat /proc/sys/net/ipv4/ip_default_ttl"), "77");
    assert_eq!(
        inside("grep NoNewPrivs /proc/self/status | tr -d '[:blank:]'"),
        "NoNewPrivs:1"
    );
    assert_eq!(inside("id -G"), "0 4242");
    assert_eq!(inside("test -c /dev/nothing && head -c 3 /dev/zero | wc -c"), "3");
    // Names within the project must still be found, so the engine's own server comes before these.
    let host_config = sandbox.inspect("app")["HostConfig"].clone();
    assert_eq!(
        host_config["Dns"],
        serde_json::json!(["192.0.2.53", "192.0.2.54"])
    );
}

#[test]
fn what_is_written_is_what_the_container_gets() {
    let sandbox = DockerSandbox::new(
        "given",
        r#"services:
  app:
    type: docker
    image: harness-test/base
    entrypoint: [sh, -c]
    command: ['echo "$GREETING from $$(id -u) in $$(pwd)"; cat /conf/app.conf /etc/app/greeting; cat /etc/hosts; echo kept >> /keep/file; sleep 1000']
    env: {GREETING: hello, DB_PASSWORD: hunter2}
    env_file: more.env
    user: 65534
    working_dir: /tmp
    volumes: ["./made:/made", "./app.conf:/conf/app.conf:ro", "data:/keep"]
    tmpfs: ["/scratch:size=1m"]
    files: [{template: greeting.tpl, target: /etc/app/greeting}]
    extra_hosts: ["printer:192.0.2.7"]
    labels: {team: shop}
    init: true
    cap_drop: [NET_RAW]
    resources: {cpus: "0.5", memory: 64M, pids: 50}
  root:
    type: docker
    image: harness-test/base
    command: [sh, -c, 'chmod 777 /keep; echo ready; sleep 1000']
    volumes: ["data:/keep"]
"#,
    );
    sandbox.write("more.env", "FROM_FILE=yes\n");
    sandbox.write("app.conf", "configured\n");
    sandbox.write("greeting.tpl", "rendered for ${root.host}\n");
    sandbox.ok(&["start"]);
    for line in [
        "hello from 65534 in /tmp",
        "configured",
        "rendered for root",
        "printer",
    ] {
        eventually(line, || {
            sandbox.ok(&["logs", "app"]).stdout.contains(line).then_some(())
        });
    }
    let app = sandbox.inspect("app");
    let (config, host) = (&app["Config"], &app["HostConfig"]);
    assert_eq!(config["Labels"]["team"], "shop");
    assert!(!config["Labels"].to_string().contains("hunter2"), "{config}");
    assert!(config["Env"].to_string().contains("FROM_FILE=yes"), "{config}");
    assert_eq!(
        (&host["NanoCpus"], &host["Memory"]),
        (&500_000_000.into(), &(64 << 20).into())
    );
    assert_eq!((&host["PidsLimit"], &host["Init"]), (&50.into(), &true.into()));
    assert_eq!(host["CapDrop"][0], "NET_RAW");
    let volume = format!("{}_data", project("given"));
    assert!(host["Binds"].to_string().contains(&volume), "{host}");
    // Harness makes the folder as the user, not the engine as root. Here both are the same user, so only check that
    // it exists.
    assert!(sandbox.project().join("made").is_dir());
    sandbox
        .harness(&["exec", "app", "--", "sh", "-c", "echo x > /conf/app.conf"])
        .code(2);
}

#[test]
fn commands_run_inside() {
    let sandbox = DockerSandbox::new(
        "inside",
        r#"services:
  app:
    type: docker
    image: harness-test/base
    command: [sh, -c, 'sleep 0.3; touch /tmp/ready; sleep 1000']
    health_check: {command: [test, -e, /tmp/ready]}
    env: {WORD: inside}
"#,
    );
    sandbox.ok(&["start"]).tells("app      healthy");
    assert!(!std::path::Path::new("/tmp/ready").exists());
    sandbox
        .harness(&["exec", "app", "--", "sh", "-c", "echo out; echo err >&2; exit 9"])
        .code(9)
        .says("out\n")
        .tells("err\n");
    let mut copied = sandbox.spawn(&["exec", "-i", "app", "--", "sh", "-c", "cat; echo $WORD"]);
    copied.type_in(b"typed\n");
    let copied = copied.wait(common::PATIENCE).code(0);
    assert_eq!(copied.stdout, "typed\ninside\n", "{copied}");
    let missing = sandbox.harness(&["exec", "app", "--", "no-such-program"]);
    assert!(matches!(missing.code, Some(126 | 127)), "{missing}");
    // Ctrl-C ends what runs inside.
    let running = sandbox.spawn(&["exec", "app", "--", "sleep", "4321"]);
    let runs = || {
        !sandbox
            .harness(&[
                "exec",
                "app",
                "--",
                "sh",
                "-c",
                "grep -lxz '432[1]' /proc/[0-9]*/cmdline 2>/dev/null",
            ])
            .stdout
            .is_empty()
    };
    eventually("it runs inside", || runs().then_some(()));
    running.signal(Signal::INT);
    running.wait(common::PATIENCE);
    eventually("it has ended inside", || (!runs()).then_some(()));
    // And what the command itself started ends when the client is gone.
    let running = sandbox.spawn(&["exec", "app", "--", "sh", "-c", "sleep 4321 & sleep 4321; true"]);
    eventually("it runs inside", || runs().then_some(()));
    running.signal(Signal::KILL);
    running.wait(common::PATIENCE);
    eventually("all of it has ended inside", || (!runs()).then_some(()));
}

#[test]
fn stdin_reaches_the_container() {
    let sandbox = DockerSandbox::new(
        "stdin",
        "services:\n  echo: {type: docker, image: harness-test/program, command: [echo], stdin: true}\n",
    );
    sandbox.ok(&["start"]);
    let mut attached = sandbox.spawn(&["attach", "echo"]);
    // Attaching takes effect only a moment after the start.
    eventually("it answers", || {
        attached.type_in(b"hello\n");
        std::thread::sleep(std::time::Duration::from_millis(200));
        attached.stdout().contains("got: hello").then_some(())
    });
    attached.signal(Signal::INT);
    attached.wait_or_kill(std::time::Duration::from_secs(5));
    sandbox.kill_daemon();
    sandbox.ok(&["daemon", "start"]);
    // The end of the daemon was not the end of its stdin.
    assert_eq!(sandbox.state("echo"), "running/none");
}

#[test]
fn a_terminal_inside_has_a_size_and_an_interrupt() {
    let sandbox = DockerSandbox::new(
        "terminal",
        "services:\n  app: {type: docker, image: harness-test/program}\n",
    );
    sandbox.ok(&["start"]);
    // `script` provides a terminal; its size changes after the first one was reported.
    let inside = format!(
        "stty rows 33 cols 101; T=$(tty); (until test -e go; do sleep 0.05; done; stty -F $T rows 40 cols 90) & exec {} exec -it app -- program tty",
        env!("CARGO_BIN_EXE_harness")
    );
    let mut session = sandbox.command("script", &["-qec", &inside, "/dev/null"]);
    eventually("the first size", || {
        let said = session.stdout();
        (said.contains("33") && said.contains("101")).then_some(())
    });
    sandbox.write("go", "");
    eventually("the second size", || {
        let said = session.stdout();
        (said.contains("40") && said.contains("90")).then_some(())
    });
    session.type_in(&[3]);
    session.wait(common::PATIENCE).code(130);
}

#[test]
fn exec_ends_as_a_shell_does_where_its_command_cannot_be_run() {
    let sandbox = DockerSandbox::new(
        "exec_codes",
        "services:\n  a: {type: docker, image: harness-test/program, entrypoint: [sleep, \"1000\"]}\n",
    );
    sandbox.ok(&["start"]);
    let exec = |words: &[&str]| sandbox.harness(&[&["exec", "a", "--"], words].concat());
    exec(&["no-such"])
        .code(127)
        .tells("`no-such` was not found in the container");
    exec(&["./no/such"]).code(127).tells("`./no/such` was not found");
    exec(&["/etc"])
        .code(126)
        .tells("cannot run `/etc` in the container: permission denied");
    exec(&["/etc/passwd"]).code(126);
    exec(&["sh", "-c", "echo OCI; exit 126"]).code(126).says("OCI");
    exec(&["sh", "-c", "printf O; exit 3"]).code(3).says("O");
    exec(&["sh", "-c", "echo OCI runtime exec failed"])
        .code(0)
        .says("OCI runtime exec failed");
}
