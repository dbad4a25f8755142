//! Health checks over https, with headers and expectations, from the file to `status`.

#![cfg(test)]

mod common;

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};

use common::Sandbox;

/// A plain server on loopback that answers every request with this status and body, and keeps the requests.
fn serve(status: &'static str, body: &'static str) -> (u16, Arc<Mutex<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let asked = Arc::new(Mutex::new(String::new()));
    let shared = Arc::clone(&asked);
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let mut request = Vec::new();
            let mut byte = [0];
            while !request.ends_with(b"\r\n\r\n") && matches!(stream.read(&mut byte), Ok(1)) {
                request.push(byte[0]);
            }
            shared
                .lock()
                .unwrap()
                .push_str(&String::from_utf8_lossy(&request));
            let answer = format!(
                "HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            );
            let _ = stream.write_all(answer.as_bytes());
        }
    });
    (port, asked)
}

fn file(check: &str) -> String {
    format!(
        "name: checks\nservices:\n  a:\n    type: process\n    binary: sleep\n    args: [1000]\n    startup_timeout: 2\n    health_check: {{interval: 1, {check}}}\n"
    )
}

#[test]
fn a_check_says_what_it_asks_for_and_expects() {
    let (port, asked) = serve("401 Unauthorized", "{\"state\": \"locked\"}");
    let check = format!(
        "http: 'http://127.0.0.1:{port}/v1', method: options, status: [2xx, 401], body: '\"locked\"', headers: {{X-Team: blue, Authorization: 'Bearer ${{TOKEN}}'}}"
    );
    let mut sandbox = Sandbox::with_file("https_expect", &file(&check));
    sandbox.set_env("TOKEN", "hunter2");
    sandbox.ok(&["start"]);
    assert_eq!(sandbox.state("a"), "running/healthy");
    let asked = asked.lock().unwrap().to_ascii_lowercase();
    for sent in [
        "options /v1 http/1.1\r\n",
        "x-team: blue\r\n",
        "authorization: bearer hunter2\r\n",
    ] {
        assert!(asked.contains(sent), "{asked}");
    }
    // A literal one is hidden too, in whatever shows the file.
    let literal = file(
        "http: 'http://127.0.0.1:1/', headers: {Cookie: 'sess=hunter2222', Authorization: 'Bearer hunter3333'}",
    );
    let other = Sandbox::with_file("https_literal", &literal);
    for words in [&["config"][..], &["config", "--json"], &["config", "--origins"]] {
        let printed = other.ok(words).stdout;
        assert!(
            !printed.contains("hunter2222") && !printed.contains("hunter3333"),
            "{printed}"
        );
    }
    other.replace("services.yaml", "interval: 1", "interval: bogus");
    let told = other.harness(&["validate"]).code(2);
    assert!(
        !told.stderr.contains("hunter2222") && !told.stderr.contains("hunter3333"),
        "{told}"
    );
    for words in [
        &["config"][..],
        &["service", "show", "a"],
        &["service", "show", "a", "--json"],
    ] {
        assert!(!sandbox.ok(words).stdout.contains("hunter2"));
    }
}

#[test]
fn what_is_not_as_expected_is_told() {
    let (port, _) = serve("200 OK", "starting");
    for (name, check, said) in [
        ("status", "status: 204", "answered 200 OK, not 204"),
        ("body", "body: ready", "the body does not match /ready/"),
    ] {
        let sandbox = Sandbox::with_file(
            &format!("https_{name}"),
            &file(&format!("http: 'http://127.0.0.1:{port}/', {check}")),
        );
        let start = sandbox.harness(&["start"]).code(18);
        assert!(start.stderr.contains(said), "{start}");
    }
    let sandbox = Sandbox::with_file(
        "https_plain",
        &file(&format!("http: 'https://localhost:{port}/', timeout: 500ms")),
    );
    let start = sandbox.harness(&["start"]).code(18);
    assert!(start.stderr.contains("last probe  https localhost:"), "{start}");
}

#[test]
fn a_log_check_sees_through_colours() {
    let script = r#"printf '\033[32mserver \033[1mrea\033[0mdy\033[0m on 80\n'; exec sleep 1000"#;
    let sandbox = Sandbox::with_file(
        "https_colours",
        &format!(
            "name: checks\nservices:\n  a:\n    type: process\n    binary: sh\n    args: [-c, {script:?}]\n    health_check: {{log: '^server ready on'}}\n  b:\n    type: process\n    binary: sleep\n    args: [1000]\n    dependencies: [{{service: a, condition: log, pattern: 'ready on 80$'}}]\n"
        ),
    );
    sandbox.ok(&["start"]);
    assert_eq!(sandbox.state("a"), "running/healthy");
    assert_eq!(sandbox.state("b"), "running/none");
}
