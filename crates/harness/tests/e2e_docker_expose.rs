//! The ports that an image EXPOSEs count as declared if the file gives its container no ports.

#![cfg(test)]
#![cfg(feature = "docker-tests")]

mod common;

use common::docker::{DockerSandbox, Image};

const DIAL: &str = "my $s; for (1..200) { $s = IO::Socket::INET->new(PeerAddr => $ENV{DB_IP}, PeerPort => $ENV{DB_PORT}) and last; select undef, undef, undef, 0.05 } print scalar(<$s>), \"HARNESS_DB_PORT=$ENV{HARNESS_DB_PORT}\\n\"";

fn services() -> String {
    format!(
        r#"services:
  db: {{type: docker, build: db}}
  process:
    type: process
    oneshot: true
    binary: perl
    args: [-MIO::Socket::INET, -e, '{DIAL}']
    env: {{DB_IP: "${{db.ip}}", DB_PORT: "${{db.port}}"}}
  container:
    type: docker
    image: harness-test/program
    oneshot: true
    command: [dial, "${{db.ip}}", "${{db.port}}"]
    restart: {{policy: on-failure, max_restarts: 20}}
  literal:
    type: docker
    image: harness-test/program
    oneshot: true
    command: [dial, "${{db.ip}}", "7000"]
    env: {{URL: "tcp://${{db.ip}}:7000"}}
    restart: {{policy: on-failure, max_restarts: 20}}
"#
    )
}

#[test]
fn an_exposed_port_is_the_containers_port() {
    let _image = Image::of("exposed", "db");
    let sandbox = DockerSandbox::new("exposed", &services());
    sandbox.write(
        "db/Dockerfile",
        "FROM harness-test/program\nEXPOSE 7000\nCMD [\"listen\", \"7000\", \"db-says\"]\n",
    );
    let validated = sandbox.ok(&["validate"]);
    assert!(!validated.stderr.contains("warning"), "{validated}");
    // Only the image has the port, and a dry run does not build it.
    sandbox
        .harness(&["start", "--dry-run"])
        .code(2)
        .tells("cannot find out which port the image declares: db: ")
        .tells("is not on this machine yet");
    sandbox.ok(&["start"]);
    let said = sandbox.ok(&["logs"]).stdout;
    assert_eq!(said.matches("db-says").count(), 3, "{said}");
    assert!(said.contains("HARNESS_DB_PORT=7000"), "{said}");
    assert_eq!(sandbox.service("db")["ports"], serde_json::json!([]));
    let env = sandbox.ok(&["env"]).stdout;
    assert!(env.contains("HARNESS_DB_PORT='7000'"), "{env}");
    // Now it is known, and another dry run changes nothing.
    sandbox.ok(&["start", "--dry-run"]);
    let id = sandbox.id("db");
    let again = sandbox.ok(&["start"]);
    assert!(!again.stderr.contains("replaced"), "{again}");
    assert_eq!(sandbox.id("db"), id);
    // A running container has the port of the image it was made from, whatever the next image says.
    sandbox.write(
        "db/Dockerfile",
        "FROM harness-test/program\nEXPOSE 7001\nCMD [\"listen\", \"7001\", \"db-says\"]\n",
    );
    sandbox.ok(&["start"]);
    let env = || sandbox.ok(&["env"]).stdout;
    assert!(env().contains("HARNESS_DB_PORT='7000'"), "{}", env());
    assert_eq!(sandbox.id("db"), id);
    // A start of only the others still knows all services.
    sandbox.ok(&["start", "literal"]);
    assert_eq!(sandbox.service("container")["in_file"], true);
    sandbox.ok(&["restart", "db", "container"]);
    assert!(env().contains("HARNESS_DB_PORT='7001'"), "{}", env());
    sandbox.ok(&["stop", "--all"]);
}

#[test]
fn a_port_that_the_image_does_not_tell_is_asked_for() {
    let _image = Image::of("ambiguous", "db");
    let sandbox = DockerSandbox::new("ambiguous", &services());
    for (exposed, said) in [
        (
            "",
            "db has no `ports`, and its image declares none (EXPOSE): list its port under `ports`",
        ),
        (
            "EXPOSE 7001 7000/udp\n",
            "db has no `ports`, and its image declares several (7000, 7001): list the one you mean",
        ),
    ] {
        sandbox.write("db/Dockerfile", &format!("FROM harness-test/program\n{exposed}"));
        sandbox
            .harness(&["start"])
            .code(2)
            .tells(said)
            .tells("nothing was started");
        assert!(sandbox.containers().is_empty());
    }
    // A failed build is also reported before anything starts.
    sandbox.write("db/Dockerfile", "FROM harness-test/program\nRUN exit 7\n");
    sandbox
        .harness(&["start"])
        .code(2)
        .tells("building the image failed");
    // Starting the service itself does not need the port.
    sandbox.write("db/Dockerfile", "FROM harness-test/program\n");
    sandbox.ok(&["start", "db"]);
}

#[test]
fn a_literal_port_is_warned_of_only_where_it_leads_nowhere() {
    let sandbox = DockerSandbox::new(
        "literal",
        r#"services:
  db: {type: docker, image: harness-test/postgres, ports: ["15432:5432"]}
  inside: {type: docker, image: harness-test/program, env: {A: "${db.ip}:9000"}}
  outside: {type: process, binary: sleep, args: ["1"], env: {A: "${db.ip}:9000"}}
"#,
    );
    let validated = sandbox.ok(&["validate"]);
    assert_eq!(
        validated.stderr.matches("does not declare the port 9000").count(),
        1,
        "{validated}"
    );
    validated.tells(":5:");
}
