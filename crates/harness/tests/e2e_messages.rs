//! What harness says where hands expect something else.

#![cfg(test)]

mod common;

use common::{PATIENCE, Sandbox};

const SLEEPER: &str = "name: words\nservices:\n  a: {type: process, binary: sleep, args: [1000]}\n";

#[test]
fn a_wait_of_no_time_looks_once() {
    let sandbox = Sandbox::with_file(
        "wait_zero",
        "name: words\nservices:\n  a: {type: process, binary: sleep, args: [1000]}\n  done: {type: process, oneshot: true, binary: 'true'}\n  slow: {type: process, oneshot: true, binary: sleep, args: [1000], profiles: [slow]}\n",
    );
    sandbox.ok(&["start"]);
    for words in [
        &["wait", "--timeout", "0"][..],
        &["wait", "--timeout", "0", "a"],
        &["wait", "--timeout", "0s", "--for", "completed", "done"],
    ] {
        sandbox.ok(words);
    }
    sandbox.ok(&["start", "--profile", "slow", "-d"]);
    sandbox
        .harness(&["wait", "--timeout", "0", "--for", "completed", "slow"])
        .code(17);
    sandbox.ok(&["stop", "a"]);
    sandbox.harness(&["wait", "--timeout", "0", "a"]).code(18);
}

#[test]
fn an_empty_port_variable_is_one_that_is_not_set() {
    let mut sandbox = Sandbox::with_file("port_empty", SLEEPER);
    sandbox.ok(&["daemon", "start"]);
    sandbox.set_env("HARNESS_PORT", "");
    sandbox.ok(&["start"]);
    sandbox.ok(&["validate"]);
}

#[test]
fn a_port_variable_that_is_none_is_named() {
    let mut sandbox = Sandbox::with_file("port_bad", SLEEPER);
    for port in ["abc", "70000", "-1", "80 ", "\u{1b}[31m"] {
        sandbox.set_env("HARNESS_PORT", port);
        let failed = sandbox.harness(&["status"]).code(2);
        assert!(
            failed.stderr.contains("the variable HARNESS_PORT is `"),
            "{failed}"
        );
        assert!(!failed.stderr.contains('\u{1b}'), "{failed}");
        // Not used, so not wrong.
        sandbox.harness(&["--port", "0", "validate"]).code(0);
        let failed = sandbox.harness(&["--port", "abc", "validate"]).code(2);
        assert!(failed.stderr.contains("--port"), "{failed}");
    }
}

#[test]
fn the_verbs_of_other_tools_name_ours() {
    let sandbox = Sandbox::with_file("verbs_elsewhere", SLEEPER);
    for (theirs, ours) in [
        ("up", "start"),
        ("down", "stop"),
        ("ps", "status"),
        ("tail", "logs"),
    ] {
        let failed = sandbox.harness(&[theirs]).code(2);
        assert!(failed.stderr.contains(&format!("'{ours}'")), "{failed}");
    }
}

#[test]
fn a_folder_that_is_gone_stops_nobody_who_names_the_project() {
    let sandbox = Sandbox::with_file("folder_gone", SLEEPER);
    sandbox.ok(&["start"]);
    let file = sandbox.project().join("services.yaml").display().to_string();
    for words in [
        "-p words status".to_owned(),
        "-p words logs".to_owned(),
        "-p words wait".to_owned(),
        "-p words exec a -- true".to_owned(),
        "-p words why a".to_owned(),
        format!("-c {file} start"),
        format!("-c {file} validate"),
        "-p words stop --all".to_owned(),
    ] {
        let script = format!(
            "mkdir gone; cd gone; rmdir ../gone; exec {} {words}",
            env!("CARGO_BIN_EXE_harness")
        );
        sandbox.command("sh", &["-c", &script]).wait(PATIENCE).code(0);
    }
}

#[test]
fn a_renamed_service_is_told_who_has_its_port() {
    let sandbox = Sandbox::with_file(
        "renamed",
        "name: words\nservices:\n  old: {type: process, binary: sleep, args: [1000], ports: [PORT]}\n",
    );
    let free = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    sandbox.replace("services.yaml", "PORT", &free.to_string());
    sandbox.ok(&["start"]);
    sandbox.replace("services.yaml", "old:", "new:");
    let start = sandbox.harness(&["start"]).code(2);
    assert!(
        start
            .stderr
            .contains("is in use by old, which is no longer in the file and still runs"),
        "{start}"
    );
    assert!(start.stderr.contains("harness start --prune"), "{start}");
    sandbox.ok(&["start", "--prune"]);
    assert_eq!(sandbox.state("new"), "running/none");
}

#[test]
fn a_port_of_another_homes_daemon_is_said_to_be() {
    let (one, two) = (
        Sandbox::with_file("daemon_one", SLEEPER),
        Sandbox::with_file("daemon_two", SLEEPER),
    );
    one.ok(&["daemon", "start"]);
    let port = one.daemon_port().unwrap().to_string();
    let refused = two.harness(&["daemon", "start", "--port", &port]).code(1);
    let expected = format!(
        "port {port} is held by the harness daemon of {}",
        one.home().display()
    );
    assert!(
        refused.stderr.contains(&expected) || refused.stderr.contains("the harness daemon of another home"),
        "{refused}"
    );
    two.replace(
        "services.yaml",
        "args: [1000]",
        &format!("args: [1000], ports: [{port}]"),
    );
    let refused = two.harness(&["start"]).code(1);
    assert!(
        refused.stderr.contains("is held by the harness daemon of "),
        "{refused}"
    );
    assert!(!refused.stderr.contains("not harness"), "{refused}");
}

#[test]
fn a_service_that_ends_during_run_is_named_though_the_command_succeeds() {
    let sandbox = Sandbox::with_file(
        "run_fallen",
        "name: words\nservices:\n  steady: {type: process, binary: sleep, args: [1000]}\n  dead: {type: process, binary: sh, args: [-c, 'while [ ! -e go ]; do sleep 0.02; done; exit 3']}\n",
    );
    let wait =
        "touch go; while ! grep -q failed states; do sleep 0.05; $HARNESS status --json > states; done; true";
    let script = wait.replace("$HARNESS", env!("CARGO_BIN_EXE_harness"));
    let run = sandbox.harness(&["run", "--", "sh", "-c", &script]).code(0);
    assert!(
        run.stderr
            .contains("! dead ended while the command ran and is now failed: exited 3"),
        "{run}"
    );
    assert!(!run.stderr.contains("steady ended"), "{run}");
}

#[test]
fn a_service_of_a_profile_is_told_from_one_that_does_not_exist() {
    let sandbox = Sandbox::with_file(
        "profiles",
        "name: words\nservices:\n  a: {type: process, binary: sleep, args: [1000]}\n  db: {type: process, binary: sleep, args: [1000], profiles: [data, all]}\n  debug: {type: process, binary: sleep, args: [1000], profiles: [tools]}\n",
    );
    for verb in ["start", "restart"] {
        let refused = sandbox.harness(&[verb, "db"]).code(4);
        assert!(refused.stderr.contains("--profile"), "{refused}");
        assert!(!refused.stderr.contains("there is no service"), "{refused}");
    }
    sandbox
        .harness(&["start", "nobody"])
        .code(4)
        .tells("there is no service `nobody`");
    sandbox.ok(&["start", "--profile", "data", "db"]);
    assert_eq!(sandbox.ok(&["__complete-profiles"]).stdout, "all\ndata\ntools\n");
    sandbox.write("services.yaml", "services: nothing\n");
    assert_eq!(sandbox.ok(&["__complete-profiles"]).stdout, "");
}

#[test]
fn an_anchor_may_be_used_a_hundred_times() {
    let mut file =
        "name: words\nx-common: &common {type: process, binary: sleep, args: [1000]}\nservices:\n".to_owned();
    for index in 0..150 {
        file += &format!("  s{index}:\n    <<: *common\n");
    }
    Sandbox::with_file("anchors", &file).ok(&["validate"]);
}

#[test]
fn a_folder_whose_name_is_no_text_says_so() {
    use std::os::unix::ffi::OsStrExt;
    let sandbox = Sandbox::with_file("no_text", SLEEPER);
    let folder = sandbox.root().join(std::ffi::OsStr::from_bytes(b"caf\xe9"));
    std::fs::create_dir(&folder).unwrap();
    std::fs::copy(
        sandbox.project().join("services.yaml"),
        folder.join("services.yaml"),
    )
    .unwrap();
    for words in [&["start"][..], &["validate"], &["status"], &["stop", "--all"]] {
        let refused = sandbox.harness_in(&folder, words).code(2);
        assert!(refused.stderr.contains("is not UTF-8"), "{refused}");
        assert!(refused.stderr.contains("next: "), "{refused}");
    }
}

#[test]
fn config_prints_the_file_as_it_counts_and_starts_no_daemon() {
    let mut sandbox = Sandbox::with_file(
        "config",
        "services:\n  a: {type: process, binary: sleep, args: ['${TIME}'], env: {API_KEY: '${SECRET_KEY}'}}\n",
    );
    sandbox.set_env("SECRET_KEY", "hunter2");
    sandbox.write(".env", "TIME=1000\n");
    let printed = sandbox.ok(&["config"]);
    assert!(printed.stdout.contains("args: [\"1000\"]"), "{printed}");
    assert!(printed.stdout.contains("API_KEY: \"•••\""), "{printed}");
    let origins = sandbox.ok(&["config", "--origins"]);
    assert!(
        origins.stdout.contains("# services.yaml:2, TIME from .env:1"),
        "{origins}"
    );
    assert!(
        origins.stdout.contains("SECRET_KEY from the environment"),
        "{origins}"
    );
    let json = sandbox.json(&["config", "--origins"]);
    assert_eq!(json["config"]["services"]["a"]["args"][0], "1000");
    assert!(!format!("{printed}{origins}{json}").contains("hunter2"));
    sandbox.write("services.yaml", "services: {a: {type: process}}\n");
    sandbox.harness(&["config"]).code(2).tells("needs `binary`");
    assert!(sandbox.daemon_pid().is_none());
}

#[test]
fn inherited_variables_that_are_no_text_arrive_as_they_are() {
    let services = "name: words\nservices:\n  a:\n    type: process\n    binary: sh\n    args: [-c, 'printf %s \"$LATIN|$PLAIN\" | od -An -c >> seen; exec sleep 1000']\n    inherit_env: [LATIN, PLAIN]\n";
    let sandbox = Sandbox::with_file("no_utf8", services);
    let harness = env!("CARGO_BIN_EXE_harness");
    let script = format!("export LATIN=$(printf 'caf\\351') PLAIN=na\u{ef}ve; {harness} start");
    sandbox.command("bash", &["-c", &script]).wait(PATIENCE).code(0);
    let seen = sandbox.read("seen");
    let seen: String = seen.split_whitespace().collect();
    assert_eq!(seen, "caf351|na303257ve");
    // They are kept for restarts, and for commands in the place of the service.
    let said = sandbox.ok(&["exec", "a", "--", "sh", "-c", "printf %s \"$LATIN\" | od -An -c"]);
    assert_eq!(said.stdout.split_whitespace().collect::<String>(), "caf351");
    let latin = sandbox.command(
        "bash",
        &[
            "-c",
            &format!("export LATIN=$(printf 'caf\\351'); {harness} start"),
        ],
    );
    latin.wait(PATIENCE).code(0).says("nothing changed");
}

#[test]
fn init_starts_from_a_package_json_and_writes_nothing_that_is_not_valid() {
    let sandbox = Sandbox::new("init_package");
    sandbox.write(
        "package.json",
        r#"{"name": "shop", "scripts": {"dev": "concurrently -n api,web 'echo api; sleep 1000' 'echo web; sleep 1000'"}}"#,
    );
    sandbox
        .harness(&["init"])
        .code(2)
        .tells("harness init --from package.json");
    sandbox.ok(&["init", "--from", "package.json"]);
    sandbox.ok(&["start"]);
    assert_eq!(sandbox.state("api"), "running/none");
    assert_eq!(sandbox.state("web"), "running/none");
    sandbox.ok(&["logs", "api"]).says("api | api");

    let sandbox = Sandbox::new("init_invalid");
    for (file, text, source, said) in [
        (
            "Procfile",
            "web: a\nweb: b\n",
            "procfile",
            "line 2 is called `web`, and so is line 1",
        ),
        (
            "package.json",
            "{\"scripts\": {}}",
            "package.json",
            "it has no script called `dev`",
        ),
        ("package.json", "{", "package.json", "it is not valid JSON"),
        (
            "compose.yaml",
            "services: {a: {image: x, ports: ['${NOT_SET}:80']}}\n",
            "compose",
            "would not be valid",
        ),
    ] {
        sandbox.write(file, text);
        sandbox.harness(&["init", "--from", source]).code(2).tells(said);
        assert!(!sandbox.project().join("services.yaml").exists(), "{file}");
        std::fs::remove_file(sandbox.project().join(file)).unwrap();
    }
}
