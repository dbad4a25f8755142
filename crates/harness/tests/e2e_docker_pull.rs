//! Pulling and building: reported while it runs, ended when it is no longer wanted, explained when it fails. The test
//! runs its own registry on this machine.

#![cfg(test)]
#![cfg(feature = "docker-tests")]

mod common;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use common::docker::{DockerSandbox, project, request};
use common::eventually;
use rustix::process::Signal;

/// How a registry answers every request.
#[derive(Clone, Copy)]
enum Manner {
    /// It has nothing.
    NotFound,
    /// It answers something that is not a registry's answer.
    Garbage,
    /// It never answers.
    Silent,
}

/// A registry on 127.0.0.1, which engines use without TLS.
struct Registry {
    port: u16,
    /// Connections that are open.
    open: Arc<AtomicUsize>,
}

impl Registry {
    fn new(manner: Manner) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let open = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&open);
        // Ends with the test program.
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let count = Arc::clone(&count);
                std::thread::spawn(move || {
                    count.fetch_add(1, Ordering::SeqCst);
                    serve(stream, manner);
                    count.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        Self { port, open }
    }

    fn image(&self) -> String {
        format!("127.0.0.1:{}/shop/web:1", self.port)
    }

    fn await_open(&self, wanted: bool) {
        eventually("the engine asks, or asks no more", || {
            ((self.open.load(Ordering::SeqCst) > 0) == wanted).then_some(())
        });
    }
}

fn serve(mut stream: TcpStream, manner: Manner) {
    let mut request = [0; 4096];
    while stream.read(&mut request).is_ok_and(|read| read > 0) {
        let (status, body) = match manner {
            Manner::NotFound => (
                "404 Not Found",
                r#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}"#,
            ),
            Manner::Garbage => ("200 OK", "<html>it works</html>"),
            Manner::Silent => continue,
        };
        let answer = format!(
            "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        if stream.write_all(answer.as_bytes()).is_err() {
            return;
        }
    }
}

fn service(image: &str) -> String {
    format!(
        "services:\n  app: {{type: docker, image: \"{image}\"}}\n  plain: {{type: process, binary: sleep, args: [1000]}}\n"
    )
}

#[test]
fn what_a_registry_does_not_give_is_named() {
    for (manner, why) in [(Manner::NotFound, "manifest unknown"), (Manner::Garbage, "")] {
        let registry = Registry::new(manner);
        let sandbox = DockerSandbox::new("registry", &service(&registry.image()));
        let start = sandbox.harness(&["start"]).code(18);
        let said = format!(
            "image `{}` is not on this machine and could not be pulled",
            registry.image()
        );
        assert!(
            start.stderr.contains(&said) && start.stderr.contains(why),
            "{start}"
        );
        assert!(start.stderr.contains("docker pull, build or load"), "{start}");
        assert_eq!(sandbox.state("plain"), "running/none");
    }
}

#[test]
fn a_stop_does_not_wait_for_a_pull() {
    let registry = Registry::new(Manner::Silent);
    let sandbox = DockerSandbox::new("pulling", &service(&registry.image()));
    sandbox.ok(&["start", "-d"]);
    registry.await_open(true);
    let began = Instant::now();
    sandbox.ok(&["stop", "app"]);
    // If the pull were not cancelled, the stop would wait until its own timeout.
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    assert_eq!(sandbox.state("app"), "stopped/none");
    registry.await_open(false);
}

#[test]
fn an_interrupted_start_leaves_the_pull_to_the_daemon_and_says_so() {
    let registry = Registry::new(Manner::Silent);
    let sandbox = DockerSandbox::new("interrupted", &service(&registry.image()));
    let start = sandbox.spawn(&["start"]);
    registry.await_open(true);
    let doing = format!("pulling image {}", registry.image());
    eventually("the pull is told", || {
        start.stderr().contains(&doing).then_some(())
    });
    let began = Instant::now();
    start.signal(Signal::INT);
    start.wait(common::PATIENCE).code(130);
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    assert_eq!(sandbox.state("app"), "starting/none");
    sandbox.ok(&["stop", "--all"]);
    registry.await_open(false);
}

#[test]
fn a_pull_that_does_not_move_ends_with_the_startup_timeout() {
    let registry = Registry::new(Manner::Silent);
    let services = service(&registry.image()).replace("app: {", "app: {startup_timeout: 2, ");
    let sandbox = DockerSandbox::new("stalled", &services);
    let start = sandbox.harness(&["start"]).code(18);
    let said = format!("not launched within 2s: pulling image {}", registry.image());
    assert!(start.stderr.contains(&said), "{start}");
    registry.await_open(false);
}

/// A service with a port that only its image declares, and one that refers to it: the plan needs the image.
fn asked_for_its_port(image: &str) -> String {
    format!(
        "services:\n  db: {{type: docker, startup_timeout: 300, image: \"{image}\"}}\n  \
         app: {{type: process, binary: sleep, args: [1000], env: {{DB: \"${{db.port}}\"}}}}\n  \
         plain: {{type: process, binary: sleep, args: [1000]}}\n"
    )
}

#[test]
fn an_interrupted_start_gives_up_what_is_pulled_before_its_plan() {
    let registry = Registry::new(Manner::Silent);
    let sandbox = DockerSandbox::new("unplanned", &asked_for_its_port(&registry.image()));
    let start = sandbox.spawn(&["start"]);
    registry.await_open(true);
    let doing = format!("pulling image {}", registry.image());
    eventually("the pull is told", || {
        start.stderr().contains(&doing).then_some(())
    });
    start.signal(Signal::INT);
    let start = start.wait(common::PATIENCE).code(130);
    assert!(start.stderr.contains("nothing was started"), "{start}");
    let start = sandbox.harness(&["start", "--timeout", "2"]).code(17);
    assert!(start.stderr.contains("db (starting: pulling image"), "{start}");
    assert!(start.stderr.contains("nothing was started"), "{start}");
    registry.await_open(false);
    sandbox.harness(&["status"]).code(3);
}

#[test]
fn a_stop_gives_up_what_is_pulled_before_a_plan() {
    let registry = Registry::new(Manner::Silent);
    let plain = "services:\n  plain: {type: process, binary: sleep, args: [1000]}\n";
    let sandbox = DockerSandbox::new("unplanned_stop", plain);
    sandbox.ok(&["start"]);
    sandbox.replace("services.yaml", plain, &asked_for_its_port(&registry.image()));
    let start = sandbox.spawn(&["start"]);
    registry.await_open(true);
    sandbox.ok(&["stop", "--all"]);
    let start = start.wait(common::PATIENCE);
    assert!(
        start.stderr.contains("cancelled before anything was started"),
        "{start}"
    );
    registry.await_open(false);
    assert_eq!(sandbox.state("plain"), "stopped/none");
}

#[test]
fn a_pull_before_a_plan_that_does_not_move_ends_with_the_startup_timeout() {
    let registry = Registry::new(Manner::Silent);
    let services =
        asked_for_its_port(&registry.image()).replace("startup_timeout: 300", "startup_timeout: 2");
    let sandbox = DockerSandbox::new("unplanned_stalled", &services);
    let start = sandbox.harness(&["start"]).code(2);
    let said = format!(
        "db: its image did not arrive within 2s: pulling image {}",
        registry.image()
    );
    assert!(start.stderr.contains(&said), "{start}");
    registry.await_open(false);
}

#[test]
fn a_stop_does_not_wait_for_a_build() {
    let sandbox = DockerSandbox::new("building", "services:\n  app: {type: docker, build: ctx}\n");
    sandbox.write(
        "ctx/Dockerfile",
        "FROM harness-test/base\nRUN echo slow-step-begins && sleep 300\n",
    );
    let start = sandbox.spawn(&["start"]);
    eventually("the build is told", || {
        let image = format!("building image {}-app", project("building"));
        start.stderr().contains(&image).then_some(())
    });
    eventually("its steps are told", || {
        let events = sandbox.ok(&["events"]).stdout;
        (events.contains("building image") && events.contains("slow-step-begins")).then_some(())
    });
    let began = Instant::now();
    sandbox.ok(&["stop", "app"]);
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    start.wait(common::PATIENCE);
    assert_eq!(sandbox.state("app"), "stopped/none");
    // The engine also ends the step of the build.
    eventually("nothing of the build runs", || {
        let (_, running) = request("GET", "/containers/json", None);
        let of_build = |container: &&serde_json::Value| {
            container["Command"]
                .as_str()
                .is_some_and(|command| command.contains("slow-step-begins"))
        };
        running
            .as_array()
            .unwrap()
            .iter()
            .find(of_build)
            .is_none()
            .then_some(())
    });
}
