//! Podman's socket instead of Docker's. If Podman is not installed, or cannot run a container, the test does nothing
//! and says so.

#![cfg(test)]
#![cfg(feature = "docker-tests")]

mod common;

use std::fs;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use common::docker::{project, request_at, socket, transfer};
use common::engine::{command, unmount_below};
use common::{Sandbox, eventually, proc, within};
use serde_json::json;

/// Podman's service, with its own storage and network namespace.
struct Podman {
    folder: tempfile::TempDir,
    service: Child,
}

impl Podman {
    /// `None` if Podman cannot run here.
    fn start() -> Option<Self> {
        let version = command("podman")
            .arg("--version")
            .stderr(Stdio::null())
            .output()
            .ok()?;
        eprintln!("{}", String::from_utf8_lossy(&version.stdout).trim());
        let memory = Path::new("/dev/shm");
        let place = if memory.is_dir() {
            memory.to_owned()
        } else {
            std::env::temp_dir()
        };
        let folder = tempfile::Builder::new().prefix("hxp").tempdir_in(place).unwrap();
        // Its default limits may be higher than this machine's root may set.
        let settings = "[containers]\ndefault_ulimits = [\"nofile=1024:1024\", \"nproc=1024:1024\"]\n";
        fs::write(folder.path().join("containers.conf"), settings).unwrap();
        let mut service = command("unshare");
        service.args(["--net", "setpriv", "--pdeathsig", "KILL", "podman"]);
        arguments(&mut service, folder.path());
        let address = format!("unix://{}/podman.sock", folder.path().display());
        let service = service
            .args(["system", "service", "--time", "0", &address])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let podman = Self { folder, service };
        within(common::PATIENCE, "podman answers", || {
            UnixStream::connect(podman.socket()).ok()
        });
        let (_, image) = transfer(&socket(), "GET", "/images/harness-test%2Fprogram/get", &[]);
        let (status, said) = transfer(&podman.socket(), "POST", "/images/load", &image);
        assert_eq!(status, 200, "{}", String::from_utf8_lossy(&said));
        podman.runs_containers().then_some(podman)
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("podman.sock")
    }

    /// Whether it can run a container here at all.
    fn runs_containers(&self) -> bool {
        let body = json!({"Image": IMAGE, "Cmd": ["whoami"]});
        let (_, made) = request_at(
            &self.socket(),
            "POST",
            "/containers/create?name=probe",
            Some(&body),
        );
        let (status, said) = request_at(&self.socket(), "POST", "/containers/probe/start", None);
        if status != 204 {
            eprintln!("podman runs no container here: {made} {said}");
        }
        // Podman may fail to remove a container that ends at this moment.
        eventually("the probe is gone", || {
            let (status, _) = request_at(&self.socket(), "DELETE", "/containers/probe?force=1", None);
            (status == 404).then_some(())
        });
        status == 204
    }

    fn of(&self, kind: &str) -> Vec<String> {
        let (_, found) = request_at(&self.socket(), "GET", &format!("/{kind}"), None);
        let found = found.as_array().cloned().unwrap_or_default();
        found
            .iter()
            .map(|one| format!("{} {}", one["Name"], one["Names"]))
            .collect()
    }
}

fn arguments(podman: &mut Command, folder: &Path) {
    let path = |name: &str| folder.join(name).display().to_string();
    podman
        .env("CONTAINERS_CONF", path("containers.conf"))
        .args(["--root", &path("root"), "--runroot", &path("run")])
        .args([
            "--network-config-dir",
            &path("networks"),
            "--tmpdir",
            &path("tmp"),
        ])
        .args(["--cgroup-manager", "cgroupfs", "--events-backend", "none"]);
}

impl Drop for Podman {
    fn drop(&mut self) {
        let mut remove = command("podman");
        arguments(&mut remove, self.folder.path());
        let _ = remove
            .args(["rm", "--all", "--force"])
            .stdout(Stdio::null())
            .status();
        let _ = self.service.kill();
        let _ = self.service.wait();
        for left in proc::mentioning(self.folder.path()) {
            proc::kill(left.pid);
        }
        unmount_below(self.folder.path());
    }
}

const IMAGE: &str = "localhost/harness-test/program";

#[test]
fn containers_live_on_podman_as_on_docker() {
    let Some(podman) = Podman::start() else {
        eprintln!("podman is not here: nothing tested");
        return;
    };
    let name = project("podman");
    let services = format!(
        r#"name: {name}
services:
  stays: {{type: docker, image: {IMAGE}, volumes: ["data:/data"], health_check: {{command: "true"}}}}
  web: {{type: docker, image: {IMAGE}, command: [listen, "7000", hello]}}
  dials: {{type: docker, image: {IMAGE}, command: [dial, "${{web.ip}}", "7000"], oneshot: true, restart: {{policy: on-failure, max_restarts: 5}}}}
  chat: {{type: docker, image: {IMAGE}, command: [chat, "300", "5"], oneshot: true}}
  crash: {{type: docker, image: {IMAGE}, command: [crash, "7", "300"]}}
  again: {{type: docker, image: {IMAGE}, restart: always}}
"#
    );
    let mut sandbox = Sandbox::with_file("podman", &services);
    sandbox.set_env("DOCKER_HOST", format!("unix://{}", podman.socket().display()));
    sandbox.harness(&["start"]);
    sandbox.await_state("stays", "running/healthy");
    sandbox.await_state("dials", "completed/none");
    sandbox.await_state("chat", "completed/none");
    sandbox.await_state("crash", "failed/none");
    assert_eq!(sandbox.service("crash")["exit_code"], 7);
    sandbox.ok(&["logs", "dials"]).says("dials | hello");
    let chat = sandbox.ok(&["logs", "chat"]).stdout;
    for line in 1..=300 {
        assert_eq!(
            chat.lines()
                .filter(|l| l.ends_with(&format!("line {line}")))
                .count(),
            1,
            "{line}"
        );
    }
    sandbox
        .harness(&["exec", "stays", "--", "sh", "-c", "echo inside; exit 5"])
        .code(5)
        .says("inside");
    // Nothing is lost when the daemon is killed.
    let pid = sandbox.daemon_pid().unwrap();
    proc::kill(pid);
    eventually("the daemon is gone", || (!proc::is_alive(pid)).then_some(()));
    sandbox.ok(&["daemon", "start"]);
    sandbox.await_state("stays", "running/healthy");
    assert_eq!(sandbox.service("again")["restarts"], 0);
    // A container that others kill is started again.
    let killed = format!("/containers/{name}-again/kill");
    assert_eq!(request_at(&podman.socket(), "POST", &killed, None).0, 204);
    eventually("it is started again", || {
        let again = sandbox.service("again");
        (again["restarts"] == 1 && again["status"] == "running").then_some(())
    });
    sandbox.ok(&["stop", "--all"]);
    let stopped = sandbox.json(&["stop", "--all", "--volumes"]);
    assert_eq!(stopped["volumes"], json!([format!("{name}_data")]));
    assert_eq!(podman.of("containers/json?all=1"), [""; 0]);
    assert_eq!(
        podman.of("networks").len(),
        1,
        "its own: {:?}",
        podman.of("networks")
    );
}
