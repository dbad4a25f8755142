//! The life of the container tests' engine: it is started, killed, started again, and ended with everything on it. It
//! runs next to the engine that this test itself uses, in a network namespace of its own.

#![cfg(test)]
#![cfg(feature = "docker-tests")]
#![expect(
    clippy::disallowed_methods,
    reason = "the test runs the task as a developer does, and other programs on its engine"
)]

use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// How long anything here may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// The place of a second engine.
struct Machine {
    temporary: tempfile::TempDir,
    run: PathBuf,
    /// Keeps the network namespace alive.
    holder: Child,
}

impl Machine {
    fn new() -> Self {
        // In memory, because an engine syncs a lot.
        let memory = Path::new("/dev/shm");
        let temporary = if memory.is_dir() {
            tempfile::tempdir_in(memory)
        } else {
            tempfile::tempdir()
        };
        let temporary = temporary.unwrap();
        let run = PathBuf::from(format!("/run/harness-env-test-{}", std::process::id()));
        let script =
            "echo 0 > /proc/sys/net/ipv4/ip_forward && ip link set lo up && echo up && exec sleep 600";
        let mut holder = Command::new("unshare")
            .args(["--net", "sh", "-c", script])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut words = [0; 3];
        std::io::Read::read_exact(holder.stdout.as_mut().unwrap(), &mut words).unwrap();
        Self {
            temporary,
            run,
            holder,
        }
    }

    fn cache(&self) -> PathBuf {
        self.temporary.path().join("harness-docker-test-env")
    }

    /// A program that runs in the namespace.
    fn command(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command
            .arg(format!("--net=/proc/{}/ns/net", self.holder.id()))
            .arg(program)
            .env(
                "DOCKER_HOST",
                format!("unix://{}/docker.sock", self.run.display()),
            );
        command
    }

    fn output(&self, program: &str, args: &[&str]) -> String {
        good(self.command(program).args(args))
    }

    /// `cargo xtask env …`
    fn task(&self, args: &[&str]) -> Command {
        let mut command = self.command(env!("CARGO_BIN_EXE_xtask"));
        command
            .arg("env")
            .args(args)
            .env_remove("DOCKER_HOST")
            .env("HARNESS_TEST_DOCKER_RUN", &self.run)
            .env("XDG_CACHE_HOME", self.temporary.path());
        command
    }

    fn pid(&self) -> String {
        fs::read_to_string(self.run.join("docker.pid")).unwrap()
    }

    /// Kills the engine and waits until it is gone.
    fn kill(&self) {
        let pid = self.pid();
        good(Command::new("kill").args(["-9", &pid]));
        let deadline = Instant::now() + PATIENCE;
        while is_alive(&pid) {
            assert!(Instant::now() < deadline, "{pid} does not die");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Fails if anything of the engine still exists.
    fn assert_gone(&self, filter_before: &str) {
        let run = self.run.display().to_string();
        assert!(!self.run.exists(), "{run} is still there");
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
        let cache = self.cache().display().to_string();
        let mounted = mounts
            .lines()
            .find(|line| line.contains(&run) || line.contains(&cache));
        assert_eq!(mounted, None);
        let links = self.output("ip", &["-brief", "link"]);
        assert!(!links.contains("docker0") && !links.contains("br-"), "{links}");
        assert!(!links.contains("veth"), "{links}");
        assert_eq!(self.filter(), filter_before);
        assert_eq!(self.output("cat", &["/proc/sys/net/ipv4/ip_forward"]), "0\n");
        let name = self.run.file_name().unwrap();
        let groups = fs::read_dir("/sys/fs/cgroup").unwrap();
        let mut groups = groups.map(|entry| entry.unwrap().path().join(name));
        assert_eq!(groups.find(|group| group.exists()), None);
        assert!(!Path::new("/sys/fs/cgroup").join(name).exists());
        // The last of them may still be dying.
        let deadline = Instant::now() + PATIENCE;
        while let Some(words) = process_that_names(&run) {
            assert!(Instant::now() < deadline, "still there: {words}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// The rules and policies of the packet filter, without its counters.
    fn filter(&self) -> String {
        let tables = ["filter", "nat"];
        let rules = |table| self.output("iptables", &["--table", table, "--list-rules"]);
        tables.map(rules).concat()
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        if self.run.exists() {
            // The test has already failed and says why.
            let _ = self.task(&["down", "--all"]).output();
        }
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

fn good(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", said(&output));
    String::from_utf8(output.stdout).unwrap()
}

fn said(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

fn is_alive(pid: &str) -> bool {
    let status = fs::read_to_string(format!("/proc/{}/status", pid.trim())).unwrap_or_default();
    !status.is_empty() && !status.contains("State:\tZ")
}

fn process_that_names(needle: &str) -> Option<String> {
    let own = std::process::id().to_string();
    let entries = fs::read_dir("/proc").unwrap().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().into_string().ok());
    let mut pids = pids.filter(|pid| *pid != own && pid.bytes().all(|byte| byte.is_ascii_digit()));
    pids.find_map(|pid| {
        let words = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let words = String::from_utf8_lossy(&words).replace('\0', " ");
        words.contains(needle).then_some(words)
    })
}

/// The tar file from which `up` made the base image.
fn base_of_this_machine() -> Option<PathBuf> {
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let cache = cache.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache")))?;
    let entries = fs::read_dir(cache.join("harness-docker-test-env"))
        .ok()?
        .flatten();
    let mut paths = entries.map(|entry| entry.path());
    paths.find(|path| {
        path.file_name()
            .is_some_and(|name| name.to_string_lossy().starts_with("base-"))
    })
}

#[test]
fn it_comes_up_survives_being_killed_and_leaves_nothing() {
    let root = good(Command::new("id").arg("--user")) == "0\n";
    let foreign = Path::new("/var/run/docker.sock").exists();
    let Some(base) = base_of_this_machine().filter(|_| root && !foreign) else {
        println!(
            "left out: this test needs root, a machine without its own engine, and `cargo xtask env up`"
        );
        return;
    };
    let machine = Machine::new();
    let filter_before = machine.filter();

    // Nothing runs, and that is not an error.
    let status = good(&mut machine.task(&["status"]));
    assert!(status.contains("none answers"), "{status}");
    assert!(good(&mut machine.task(&["down"])).contains("no engine runs"));

    // If Debian's packages cannot be reached, an image that needs them fails with its log, and the engine stays.
    fs::create_dir_all(machine.cache()).unwrap();
    symlink(&base, machine.cache().join(base.file_name().unwrap())).unwrap();
    let output = machine.task(&["up"]).output().unwrap();
    let words = said(&output);
    assert!(!output.status.success(), "{words}");
    assert!(words.contains("cannot build harness-test/postgres"), "{words}");
    assert!(words.contains("Unable to locate package postgresql"), "{words}");

    // It is still enough for an image that needs no packages.
    let up = good(&mut machine.task(&["up", "harness-test/program"]));
    let export = format!("export DOCKER_HOST=unix://{}", machine.run.display());
    assert!(up.contains(&export), "{up}");
    let word = machine.output("docker", &["run", "--rm", "harness-test/program", "env", "HOME"]);
    assert_eq!(word, "HOME=/root\n");

    // Running `up` again changes nothing.
    let pid = machine.pid();
    good(&mut machine.task(&["up", "harness-test/program"]));
    assert_eq!(machine.pid(), pid);
    let status = good(&mut machine.task(&["status"]));
    assert!(status.contains("started from here"), "{status}");
    assert!(status.contains("harness-test/postgres missing"), "{status}");
    assert!(!status.contains("harness-test/program missing"), "{status}");

    // After a kill, with a container that does not want to end, it starts again.
    machine.output("docker", &["network", "create", "left"]);
    let run = [
        "run",
        "--detach",
        "--network",
        "left",
        "--volume",
        "left:/data",
        "--publish",
        "127.0.0.1::7000",
    ];
    machine.output(
        "docker",
        &[&run[..], &["harness-test/program", "stubborn"]].concat(),
    );
    machine.kill();
    good(&mut machine.task(&["up", "harness-test/program"]));
    assert_ne!(machine.pid(), pid);
    let names = machine.output("docker", &["network", "ls", "--format", "{{.Name}}"]);
    assert!(names.lines().any(|name| name == "left"), "{names}");

    // It is not ended while tests use it.
    let users = File::create(machine.cache().join("users")).unwrap();
    users.lock_shared().unwrap();
    let output = machine.task(&["down"]).output().unwrap();
    assert!(
        said(&output).contains("tests use the engine now"),
        "{}",
        said(&output)
    );
    assert!(!output.status.success());
    drop(users);

    // After another kill, with something running on it, it is ended together with that.
    machine.output(
        "docker",
        &[
            "run",
            "--detach",
            "--network",
            "left",
            "harness-test/program",
            "stubborn",
        ],
    );
    machine.kill();
    good(&mut machine.task(&["down"]));
    machine.assert_gone(&filter_before);

    // What was built is kept until somebody asks to remove it.
    good(&mut machine.task(&["up", "harness-test/program"]));
    let ids = machine.output("docker", &["ps", "--all", "--quiet"]);
    assert_eq!(ids, "");
    good(&mut machine.task(&["down", "--all"]));
    machine.assert_gone(&filter_before);
    assert!(!machine.cache().exists());
}
