//! Text that others write can only be read on a terminal, and does nothing else there: the output of services, the
//! answers of probes and hooks, and the names of processes, programs and folders.

#![cfg(test)]

mod common;

use std::fs;

use common::{PATIENCE, Sandbox, eventually, within};
use rustix::process::Signal;

/// Sequences that a terminal acts on: the clipboard, the title, a cleared screen, the cursor, a reset, a string for
/// the terminal, C1 as bytes and as UTF-8, other character sets, deletions, and a reversed writing direction.
const EVIL: &[u8] =
    b"\x1b]52;c;Zm9yZ2Vk\x07\x1b]0;FORGED\x1b\\\x1b[2J\x1b[1;1H\x1bc\x1bP1$r\x1b\\\x9b2J\xc2\x9b2J\
    \xc2\x9d0;FORGED\xc2\x9c\x0e\x05\x08\x7f\xe2\x80\xae\x1b[?1049h\x1b[>4;2m\x1b[8 q";

/// The harmful parts of a text: escapes other than colours, and lines that look like ours.
fn harm(said: &[u8]) -> Vec<String> {
    let mut found = Vec::new();
    let text = match std::str::from_utf8(said) {
        Ok(text) => text.to_owned(),
        Err(error) => {
            found.push(error.to_string());
            String::from_utf8_lossy(said).into_owned()
        }
    };
    let plain = without_colours(&text);
    for (at, c) in plain.char_indices() {
        let turns = matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{2028}' | '\u{2029}');
        if turns || (c.is_control() && !matches!(c, '\n' | '\t')) {
            found.push(format!(
                "{c:?} in {:?}",
                plain[at..].chars().take(20).collect::<String>()
            ));
        }
    }
    found.extend(forged(&plain));
    found
}

fn forged(plain: &str) -> Vec<String> {
    let lines = plain.split(['\n', '\r']);
    let forged = lines.filter(|line| line.trim_start_matches('✓').trim_start().starts_with("FORGED"));
    forged.map(|line| format!("the line {line:?}")).collect()
}

/// Removes `ESC [`, digits and semicolons, `m`.
fn without_colours(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find("\u{1b}[") {
        out.push_str(&rest[..at]);
        let after = &rest[at + 2..];
        let end = after.find(|c: char| !(c.is_ascii_digit() || c == ';' || c == ':'));
        match end.filter(|end| after[*end..].starts_with('m')) {
            Some(end) => rest = &after[end + 1..],
            None => {
                out.push_str("\u{1b}[");
                rest = after;
            }
        }
    }
    out + rest
}

fn shown(said: &[u8]) -> String {
    String::from_utf8_lossy(said).into_owned()
}

/// Runs it on a terminal, and checks that its output does no harm.
#[track_caller]
fn read_only(sandbox: &Sandbox, args: &[&str]) -> String {
    let (_, said) = sandbox.on_terminal(args).wait(PATIENCE);
    assert_eq!(
        harm(&said),
        Vec::<String>::new(),
        "`{}`\n{}",
        args.join(" "),
        shown(&said)
    );
    shown(&said)
}

fn bytes(pieces: &[&[u8]]) -> Vec<u8> {
    pieces.concat()
}

#[test]
fn logs_show_colours_and_nothing_else_of_what_a_service_does() {
    let mut sandbox = Sandbox::with_file(
        "terminal_logs",
        "services:\n  api: {type: process, oneshot: true, binary: cat, args: [out]}\n",
    );
    let said = bytes(&[
        b"evil ",
        EVIL,
        b" end\nover\r\xe2\x9c\x93 FORGED\n\x1b[31mred\x1b[0m plain\n\x1b[1;35mopen\n\x1b[38;5;9;48;2;1;2;3mmany\n",
        b"crlf\r\ncut \x1b[3\ncut \x1b]0;FORGED\n\xff\xfe \xc3\nlast \x1b[4;32mline \x1b[",
    ]);
    fs::write(sandbox.project().join("out"), &said).unwrap();
    sandbox.ok(&["start"]);

    let seen = read_only(&sandbox, &["logs"]);
    for wanted in [
        "\u{1b}[31mred\u{1b}[0m plain",
        // Colours that a service leaves on are turned off at the end of the line.
        "\u{1b}[1;35mopen\u{1b}[0m\n",
        "\u{1b}[38;5;9;48;2;1;2;3mmany\u{1b}[0m\n",
        "\u{1b}[4;32mline \u{1b}[0m␛[\n",
        "␛]52;c;Zm9yZ2Vk␇",
        "over␍✓ FORGED\n",
        "crlf\n",
        "cut ␛[3\n",
        "\\x9b2J\\u{9b}2J",
        "\\xff\\xfe \\xc3\n",
    ] {
        assert!(seen.contains(wanted), "no {wanted:?} in\n{seen:?}");
    }
    let followed = sandbox.on_terminal(&["logs", "-f", "-n", "20"]);
    eventually("it follows", || {
        shown(&followed.said()).contains("last").then_some(())
    });
    followed.signal(Signal::TERM);
    let (_, said_live) = followed.wait(PATIENCE);
    assert_eq!(harm(&said_live), Vec::<String>::new());

    // Without colours, only the colours are removed.
    sandbox.set_env("TERM", "xterm");
    let plain = read_only(&sandbox, &["--no-color", "logs"]);
    assert!(
        plain.contains("| red plain\n") && !plain.contains('\u{1b}'),
        "{plain}"
    );
    let (_, raw) = sandbox
        .on_terminal(&["--no-color", "logs", "--raw"])
        .wait(PATIENCE);
    assert!(
        raw.windows(EVIL.len()).any(|part| part == EVIL),
        "{}",
        shown(&raw)
    );
    let script = format!("{} logs > piped", env!("CARGO_BIN_EXE_harness"));
    sandbox.command("sh", &["-c", &script]).wait(PATIENCE).code(0);
    let piped = fs::read(sandbox.project().join("piped")).unwrap();
    let prefixed = said
        .split(|byte| *byte == b'\n')
        .flat_map(|line| [b"api | ", line, b"\n"].concat());
    assert_eq!(piped, prefixed.collect::<Vec<u8>>(), "{}", shown(&piped));
    // JSON stays the same for programs, and is safe to look at.
    let json = read_only(&sandbox, &["--json", "logs"]);
    assert!(!json.contains('\u{1b}'), "{json}");
    let lines: Vec<serde_json::Value> = json
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines[1]["line"], "over\r✓ FORGED");
    assert_eq!(
        lines[0]["line"],
        String::from_utf8_lossy(&bytes(&[b"evil ", EVIL, b" end"])).as_ref()
    );
}

/// Everything that a service, its file and its checks can say.
const FILE: &str = r#"
version: "1.0"
name: stage
services:
  shown:
    type: process
    binary: sleep
    args: ["1000"]
    env: {SHOWN: "a\e[2J\r✓ FORGED\nFORGED", "N\e[2J": x}
  failing:
    type: process
    binary: sh
    args: [-c, 'cat evil lines >&2; exit 3', "\e]0;FORGED\a\n✓ FORGED"]
  unhealthy:
    type: process
    binary: sleep
    args: ["1000"]
    startup_timeout: 1
    health_check: {command: [sh, -c, "cat lines evil; exit 1"], interval: 1}
  refused:
    type: process
    binary: sleep
    args: ["1000"]
    hooks: {before_start: [sh, -c, "cat lines evil >&2; exit 5"]}
  missing:
    type: process
    binary: "./no\e[2J\r✓ FORGED\n✓ FORGED"
  nowhere:
    type: process
    binary: sleep
    working_dir: "no\e]0;FORGED\a\n✓ FORGED"
  behind:
    type: process
    binary: sleep
    args: ["1000"]
    dependencies: [{service: shown, condition: log, pattern: "never\e\\[2J"}]
"#;

#[test]
fn nothing_that_is_told_of_services_speaks_to_the_terminal() {
    let sandbox = Sandbox::with_file("terminal_told", FILE);
    fs::write(sandbox.project().join("evil"), EVIL).unwrap();
    fs::write(
        sandbox.project().join("lines"),
        "a\r✓ FORGED\n\u{1b}[31mb\u{85}FORGED\u{2028}FORGED ",
    )
    .unwrap();
    let (code, said) = sandbox
        .on_terminal(&[
            "start",
            "--timeout",
            "20",
            "--report",
            "report",
            "failing",
            "unhealthy",
            "refused",
            "missing",
            "nowhere",
        ])
        .wait(PATIENCE);
    assert_eq!(code, Some(18), "{}", shown(&said));
    // Lines are redrawn there with our own sequences.
    let text = shown(&said);
    for evil in [
        "\u{1b}]",
        "\u{1b}P",
        "\u{1b}c",
        "\u{1b}[2J",
        "\u{1b}[1;1H",
        "\u{7}",
        "\u{9b}",
        "\u{202e}",
        "\u{1b}[31mb",
    ] {
        assert!(!text.contains(evil), "{evil:?} in\n{text:?}");
    }
    assert_eq!(forged(&without_colours(&text)), Vec::<String>::new(), "{text:?}");
    assert!(text.contains("last lines") && text.contains("␛[2J"), "{text:?}");
    sandbox.ok(&["start", "-d", "shown", "behind"]);

    for args in [
        &["status"][..],
        &["-v", "status"],
        &["service", "show", "shown"],
        &["service", "show", "failing"],
        &["service", "show", "unhealthy"],
        &["service", "show", "behind"],
        &["why", "failing"],
        &["why", "unhealthy"],
        &["why", "refused"],
        &["why", "missing"],
        &["why", "nowhere"],
        &["why", "behind"],
        &["events"],
        &["graph"],
        &["graph", "--format", "mermaid"],
        &["--json", "status"],
        &["--json", "why", "failing"],
        &["--json", "events"],
        &["--json", "service", "show", "shown"],
        &["logs"],
        &["daemon", "logs"],
        &["daemon", "status"],
        &["exec", "nowhere", "--", "true"],
        &["exec", "shown", "--", "./no\u{1b}[2J\n✓ FORGED"],
        &["start", "no\u{1b}[2J\n✓ FORGED"],
    ] {
        read_only(&sandbox, args);
    }
    // In a pipe the text is just as harmless, because somebody may look at it later.
    for args in [
        &["start", "failing", "unhealthy", "missing"][..],
        &["wait", "failing", "unhealthy"],
        &["why", "failing"],
        &["run", "shown", "--", "false"],
    ] {
        let output = sandbox.harness(args);
        for text in [&output.stdout, &output.stderr] {
            assert_eq!(harm(text.as_bytes()), Vec::<String>::new(), "{output}");
        }
    }
    for file in [
        "report/junit.xml",
        "report/report.json",
        "report/logs/failing.log",
    ] {
        assert!(sandbox.read(file).contains("52;c;"), "{file}");
        assert_eq!(
            harm(sandbox.read(file).as_bytes()),
            Vec::<String>::new(),
            "{file}"
        );
    }
}

#[test]
fn whoever_holds_a_port_cannot_name_itself_a_line_of_ours() {
    let sandbox = Sandbox::new("terminal_holder");
    // The name of a process has room for fifteen bytes.
    let holders = ["\u{1b}[2J\n✓ FORGED", "a\r✓ FORGED", "\u{1b}]0;FORGED\u{7}"];
    for (number, name) in holders.iter().enumerate() {
        let script = "use Socket; socket(my $s, PF_INET, SOCK_STREAM, 0); bind($s, sockaddr_in(0, INADDR_LOOPBACK)); \
                      listen($s, 1); $0 = $ARGV[0]; $| = 1; print +(sockaddr_in(getsockname($s)))[0], \"\\n\"; sleep 1000";
        let holder = sandbox.command("perl", &["-e", script, name]);
        let port = eventually("it listens", || holder.stdout().trim().parse::<u16>().ok());
        let comm = fs::read_to_string(format!("/proc/{}/comm", holder.pid())).unwrap();
        assert!(comm.starts_with(name), "{comm:?}");
        sandbox.write(
            "services.yaml",
            &format!("name: held{number}\nservices:\n  web: {{type: process, binary: sleep, args: ['9'], ports: [{port}]}}\n"),
        );
        let seen = read_only(&sandbox, &["start"]);
        assert!(seen.contains(&format!("port {port} is held by")), "{seen}");
        let piped = sandbox.harness(&["start"]).code(1);
        assert_eq!(harm(piped.stderr.as_bytes()), Vec::<String>::new(), "{piped}");
    }
}

#[test]
fn files_and_folders_of_others_are_named_without_harm() {
    let sandbox = Sandbox::new("terminal_names");
    let folder = sandbox.project().join("f\u{1b}[2J\n✓ FORGED\u{9b}");
    fs::create_dir(&folder).unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.join(name);
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let mistaken = file(
        "bad\u{1b}]0;FORGED\u{7}.yaml",
        "name: other\nservices:\n  a:\n    type: process\n    binary: \"x\"\n    \"k\\e[2J\\n✓ FORGED\": 1\n    \
         restart: \"no\\e[2J\\r✓ FORGED\"\n    env_file: \"\\e[2J\\n✓ FORGED\"\n    health_check: {log: \"(\\e[2J\"}\n",
    );
    let unreadable = file("un\u{1b}[2J.yaml", "a: [\u{1b}[2J\n✓ FORGED: }\n");
    let good = file(
        "services.yaml",
        "name: fine\nservices:\n  a: {type: process, binary: ./nothing, files: [{template: 't\u{202e}', target: u}]}\n",
    );
    let absent = folder.join("none\r✓ FORGED").to_str().unwrap().to_owned();
    for (config, verb) in [
        (&mistaken, "validate"),
        (&unreadable, "validate"),
        (&unreadable, "start"),
        (&absent, "start"),
        (&good, "validate"),
        (&good, "start"),
    ] {
        let args = ["-c", config, verb];
        read_only(&sandbox, &args);
        let piped = sandbox.harness(&args);
        for text in [&piped.stdout, &piped.stderr] {
            assert_eq!(harm(text.as_bytes()), Vec::<String>::new(), "{piped}");
        }
    }
    // Arguments in a script that others wrote, even if harness does not know them.
    read_only(&sandbox, &["statu\u{1b}[2J\n✓ FORGED"]);
    read_only(&sandbox, &["status", "-p", "\u{1b}]0;FORGED\u{7}"]);
    sandbox.write(
        "services.yaml",
        "name: fine\nservices:\n  a: {type: process, binary: sleep, args: ['1000']}\n",
    );
    sandbox.ok(&["start"]);
    fs::write(
        folder.join("services.yaml"),
        "name: fine\nservices:\n  a: {type: process, binary: sleep, args: ['1000']}\n",
    )
    .unwrap();
    let seen = read_only(&sandbox, &["-c", &good, "start"]);
    assert!(seen.contains("error:"), "{seen}");
    within(PATIENCE, "doctor", || {
        read_only(&sandbox, &["doctor"]);
        Some(())
    });
}
