//! Every mistake a file can have is reported at its exact place, with what to do about it.
#![allow(missing_docs, reason = "a test program")]

mod common;

use common::{Folder, lines, mistakes};

/// A file of one process service with these further lines, which begin at line 5.
fn process(more: &str) -> String {
    format!("services:\n  a:\n    type: process\n    binary: sh\n{more}")
}

#[test]
fn probe() {
    let cases = [
        process("    retires: 3\n"),
        process("    depends_on: [b]\n"),
        process("    image: x\n"),
        process("    args: 5\n"),
        process("    args: [true]\n"),
        process("    stdin: yes\n"),
        process("    startup_timeout: soon\n"),
        process("    startup_timeout: 0\n"),
        process("    ports: [70000]\n"),
        process("    ports: [\"8080:80\"]\n"),
        process("    ports: [\"80-90\"]\n"),
        process("    ports: [{port: 1, nmae: x}]\n"),
        process("    dependencies: [b]\n"),
        process("    dependencies: [a]\n"),
        process("    network: lna\n"),
        process("    host: x\n"),
        process("    env: {A: true, B: ~, C: [1]}\n"),
        process("    env: {A: \"x ${UNDEFINED} y\"}\n"),
        process("    args: [\"${A_PASSWORD}\"]\n"),
        process("    env: {A: \"${b.ip}\"}\n"),
        process("    env: {A: \"${a.prot}\"}\n"),
        process("    env: {A: \"${a.port}\"}\n"),
        process("    env: {A: \"${open\"}\n"),
        process("    restart: sometimes\n"),
        process("    restart: false\n"),
        process("    max_restarts: 3\n"),
        process("    stop_signal: SIGTREM\n"),
        process("    logs: {max_size: 1zb, max_files: 0}\n"),
        process("    health_check: {}\n"),
        process("    health_check: {http: \"localhost:80\"}\n"),
        process("    health_check: {http: \"http://x:99999/\", tcp: 5}\n"),
        process("    health_check: {log: \"(\"}\n"),
        process("    health_check: {command: \"a 'b\"}\n"),
        process("    health_check: {command: [], interval: 0, retries: 0}\n"),
        process("    dependencies: [{service: a, condition: log}]\n"),
        process("    binary: x\n"),
        process("  a: {}\n"),
        "services:\n  a.b: {type: process, binary: x}\n".into(),
        "services:\n  a: {binary: x}\n".into(),
        "services:\n  a: {type: procces, binary: x}\n".into(),
        "services:\n  a: {type: process}\n".into(),
        "services:\n  a: {type: docker}\n".into(),
        "services: [a]\n".into(),
        "version: 2\nservices: {}\n".into(),
        "".into(),
        "- a\n".into(),
        "name: My App\nservices: {}\n".into(),
        "networks:\n  n: {type: lan, subnet: 10.0.0.0/99, nodes: [{host: \"a b\"}]}\nservices: {}\n".into(),
        "networks:\n  n: {type: lan, nodes: [{host: h1, name: one}, {host: h2}]}\nservices:\n  a: {type: process, network: n, binary: x}\n  b: {type: remote, network: n, binary: x, host: oen}\n  c: {type: docker, network: n, image: x}\n  d: {type: remote, binary: x}\n".into(),
        "services:\n  a: {type: process, binary: x, dependencies: [b]}\n  b: {type: process, binary: x, dependencies: [c]}\n  c: {type: process, binary: x, env: {X: \"${a.ip}\"}}\n".into(),
        "services:\n  a: {type: process, binary: x, dependencies: [{service: b, condition: healthy}, {service: c, condition: completed}]}\n  b: {type: process, binary: x}\n  c: {type: process, binary: x}\n".into(),
        "services:\n  a: {type: process, binary: x, ports: [80]}\n  b: {type: process, binary: x, ports: [80]}\n".into(),
    ];
    for case in cases {
        println!(
            "-----\n{}",
            mistakes(&Folder::new(&case).options_with(&[("A_PASSWORD", "hunter2")]))
        );
    }
    let _ = lines;
}
