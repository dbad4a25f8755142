//! A sandbox with a daemon that uses a Docker engine, and direct requests to the engine: through its API over the
//! socket, without harness and without its client.

use std::io::{Read, Write};
use std::ops::{Deref, DerefMut};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::engine::PrivateEngine;
use super::{Sandbox, eventually};

/// The engine that the tests use: `DOCKER_HOST`, else this machine's.
pub(crate) fn socket() -> PathBuf {
    let host = std::env::var("DOCKER_HOST").unwrap_or_default();
    host.strip_prefix("unix://")
        .unwrap_or("/var/run/docker.sock")
        .into()
}

/// Sends a request to the engine; returns the status and the answer.
pub(crate) fn request(method: &str, path: &str, body: Option<&Value>) -> (u16, Value) {
    request_at(&socket(), method, path, body)
}

/// Sends a request to the engine at a socket.
pub(crate) fn request_at(socket: &Path, method: &str, path: &str, body: Option<&Value>) -> (u16, Value) {
    let body = body.map(Value::to_string).unwrap_or_default();
    let (status, answer) = transfer(socket, method, path, body.as_bytes());
    (status, serde_json::from_slice(&answer).unwrap_or(Value::Null))
}

/// Sends bytes to an engine and returns the bytes of its answer.
pub(crate) fn transfer(socket: &Path, method: &str, path: &str, body: &[u8]) -> (u16, Vec<u8>) {
    let stream = UnixStream::connect(socket);
    let mut stream =
        stream.unwrap_or_else(|error| panic!("a Docker engine at {}: {error}", socket.display()));
    let kind = if path.starts_with("/images/load") {
        "x-tar"
    } else {
        "json"
    };
    // In HTTP 1.0 the connection ends with the answer.
    let head = format!(
        "{method} /v1.41{path} HTTP/1.0\r\nHost: docker\r\nContent-Type: application/{kind}\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(body).unwrap();
    let mut answer = Vec::new();
    // The answer is cut off if the engine is killed.
    let _ = stream.read_to_end(&mut answer);
    let end = answer
        .windows(4)
        .position(|four| four == b"\r\n\r\n")
        .unwrap_or(answer.len());
    let head = String::from_utf8_lossy(&answer[..end]);
    let status = head
        .split(' ')
        .nth(1)
        .and_then(|code| code.parse().ok())
        .unwrap_or(0);
    (status, answer.split_off((end + 4).min(answer.len())))
}

/// A separate home, with projects that no other test has.
pub(crate) struct DockerSandbox {
    sandbox: Option<Sandbox>,
    home: String,
    engine: PathBuf,
}

impl DockerSandbox {
    /// With these services, in a project of this name. At the end, everything they made in the engine must be gone.
    pub(crate) fn new(name: &str, services: &str) -> Self {
        Self::with_file(name, &format!("name: {}\n{services}", project(name)))
    }

    /// The same on the test's own engine.
    pub(crate) fn on(engine: &PrivateEngine, name: &str, services: &str) -> Self {
        let services = format!("name: {}\n{services}", project(name));
        Self::of(Sandbox::with_file(name, &services), engine.socket())
    }

    /// With this services.yaml. Before anything starts, it must name a project that no other test has.
    pub(crate) fn with_file(name: &str, services: &str) -> Self {
        Self::of(Sandbox::with_file(name, services), socket())
    }

    /// With a copy of the files of `examples/<example>`, in a project named after the test.
    pub(crate) fn with_example(name: &str, example: &str) -> Self {
        let sandbox = Sandbox::with_example(name, example);
        let called = |project: &str| format!("\nname: {project}\n");
        sandbox.replace("services.yaml", &called(example), &called(&project(name)));
        Self::of(sandbox, socket())
    }

    fn of(mut sandbox: Sandbox, engine: PathBuf) -> Self {
        sandbox.set_env("DOCKER_HOST", format!("unix://{}", engine.display()));
        let home = sandbox.home().to_str().unwrap().to_owned();
        Self {
            sandbox: Some(sandbox),
            home,
            engine,
        }
    }

    /// Makes the daemon use another engine. Call it before the daemon is started.
    pub(crate) fn use_engine_at(&mut self, socket: &std::path::Path) {
        let host = format!("unix://{}", socket.display());
        self.set_env("DOCKER_HOST", host);
    }

    /// The socket of its engine.
    pub(crate) fn engine(&self) -> PathBuf {
        self.engine.clone()
    }

    /// Sends a request to the engine of this sandbox.
    pub(crate) fn request(&self, method: &str, path: &str, body: Option<&Value>) -> (u16, Value) {
        request_at(&self.engine, method, path, body)
    }

    fn of_home(&self, kind: &str, all: &str) -> Vec<Value> {
        let filter = format!("%7B%22label%22:%5B%22harness.home={}%22%5D%7D", self.home);
        let (status, answer) = self.request("GET", &format!("/{kind}?{all}filters={filter}"), None);
        assert_eq!(status, 200, "{answer}");
        answer.as_array().unwrap().clone()
    }

    /// The containers of this home, including those that do not run.
    pub(crate) fn containers(&self) -> Vec<Value> {
        self.of_home("containers/json", "all=1&")
    }

    /// The networks of this home.
    pub(crate) fn networks(&self) -> Vec<Value> {
        self.of_home("networks", "")
    }

    /// The id of a service's container.
    pub(crate) fn id(&self, service: &str) -> Option<String> {
        let of = |container: &Value| container["Labels"]["harness.service"] == service;
        let found = self.containers().into_iter().find(of)?;
        Some(found["Id"].as_str().unwrap().to_owned())
    }

    /// What the engine knows of a service's container.
    pub(crate) fn inspect(&self, service: &str) -> Value {
        let id = self
            .id(service)
            .unwrap_or_else(|| panic!("{service} has no container"));
        self.request("GET", &format!("/containers/{id}/json"), None).1
    }

    /// Kills the daemon, and waits until it is gone.
    pub(crate) fn kill_daemon(&self) {
        let pid = self.daemon_pid().expect("a daemon runs");
        super::proc::kill(pid);
        eventually("the daemon is gone", || {
            (!super::proc::is_alive(pid)).then_some(())
        });
    }
}

impl Deref for DockerSandbox {
    type Target = Sandbox;
    fn deref(&self) -> &Sandbox {
        self.sandbox.as_ref().unwrap()
    }
}

impl DerefMut for DockerSandbox {
    fn deref_mut(&mut self) -> &mut Sandbox {
        self.sandbox.as_mut().unwrap()
    }
}

impl Drop for DockerSandbox {
    fn drop(&mut self) {
        drop(self.sandbox.take());
        if std::thread::panicking() && UnixStream::connect(&self.engine).is_err() {
            // The test failed while its engine was away.
            return;
        }
        let mut left = Vec::new();
        for container in self.containers() {
            let id = container["Id"].as_str().unwrap();
            self.request("DELETE", &format!("/containers/{id}?force=1&v=1"), None);
            left.push(container["Names"].to_string());
        }
        for network in self.networks() {
            let name = network["Name"].as_str().unwrap();
            self.request("DELETE", &format!("/networks/{name}"), None);
            left.push(format!("network {name}"));
        }
        let filter = format!("%7B%22label%22:%5B%22harness.home={}%22%5D%7D", self.home);
        let (_, volumes) = self.request("GET", &format!("/volumes?filters={filter}"), None);
        // Harness keeps named volumes on purpose.
        for volume in volumes["Volumes"].as_array().into_iter().flatten() {
            self.request(
                "DELETE",
                &format!("/volumes/{}", volume["Name"].as_str().unwrap()),
                None,
            );
        }
        if !std::thread::panicking() {
            assert!(left.is_empty(), "left in the engine: {left:?}");
        }
    }
}

/// An image that a test builds; removed when the test ends.
pub(crate) struct Image(String);

impl Image {
    /// The one that a service of a test's project is built into.
    pub(crate) fn of(name: &str, service: &str) -> Self {
        Self(format!("{}-{service}", project(name)))
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        request("DELETE", &format!("/images/{}?force=1", self.0), None);
    }
}

/// The project of a test. It is unique, because all tests share the engine's container names.
pub(crate) fn project(name: &str) -> String {
    format!("hx-{}-{}", name.replace('_', "-"), std::process::id())
}
