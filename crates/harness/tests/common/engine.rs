//! A Docker engine for one test, which can be killed, ended and started again. It has its own storage, socket,
//! control groups and network namespace (so ports that it publishes cannot be reached from here), and the image
//! `harness-test/program` from the engine that the tests share. Needs root, like `dockerd`.

use std::fs::{self, File};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;

use super::docker::{request_at, socket, transfer};
use super::{proc, within};

/// The image that the tests run on it.
const IMAGE: &str = "harness-test/program";

/// How long a `dockerd` may take to answer, or to end.
const PATIENCE: Duration = Duration::from_secs(90);

/// Its programs, by the names that the kernel knows.
const PROGRAMS: [&str; 3] = ["dockerd", "containerd", "containerd-shim"];

/// An engine. When it is dropped, it and everything on it are killed and removed, whatever its state.
pub(crate) struct PrivateEngine {
    folder: tempfile::TempDir,
    /// Keeps the network namespace alive.
    holder: Child,
    dockerd: Option<Child>,
    /// Flags beyond the usual ones.
    flags: Vec<String>,
    /// Its socket, if the socket outlives it.
    listener: Option<UnixListener>,
}

impl PrivateEngine {
    /// A running engine with the image, started with these flags beyond the usual ones.
    pub(crate) fn start(flags: &[&str]) -> Self {
        let mut engine = Self::down(flags);
        engine.up();
        engine.load(IMAGE);
        engine
    }

    /// The same with its storage on a separate disk of this size, to fill it. `None`, with a message that says why,
    /// if nothing can be mounted.
    pub(crate) fn start_on_disk(size: &str, flags: &[&str]) -> Option<Self> {
        let mut engine = Self::down(flags);
        fs::create_dir(engine.path("data")).unwrap();
        let mounted = command("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"])
            .arg(engine.path("data"))
            .status();
        if !mounted.is_ok_and(|status| status.success()) {
            eprintln!("skipped: cannot mount a small disk");
            return None;
        }
        engine.up();
        engine.load(IMAGE);
        Some(engine)
    }

    /// Leaves only this many bytes free on its disk.
    pub(crate) fn fill_disk(&self, room: u64) {
        let mut file = File::create(self.path("data/filler")).unwrap();
        for size in [1 << 20, 4096] {
            while std::io::Write::write_all(&mut file, &vec![0; size]).is_ok() {}
        }
        let size = file.metadata().unwrap().len();
        file.set_len(size.saturating_sub(room)).unwrap();
    }

    /// Frees the space again.
    pub(crate) fn empty_disk(&self) {
        fs::remove_file(self.path("data/filler")).unwrap();
    }

    /// An engine that is not started yet, and has no image.
    pub(crate) fn down(flags: &[&str]) -> Self {
        // In memory, because an engine syncs often.
        let memory = Path::new("/dev/shm");
        let place = if memory.is_dir() {
            memory.to_owned()
        } else {
            std::env::temp_dir()
        };
        let folder = tempfile::Builder::new().prefix("hxe").tempdir_in(place).unwrap();
        let holder = command("unshare")
            .args(["--net", "setpriv", "--pdeathsig", "KILL", "sh", "-c"])
            .arg("ip link set lo up; echo up; exec sleep 3600")
            .stdout(Stdio::piped())
            .spawn();
        let mut holder = holder.expect("unshare, of util-linux");
        let mut word = [0; 3];
        std::io::Read::read_exact(holder.stdout.as_mut().unwrap(), &mut word).unwrap();
        Self {
            folder,
            holder,
            dockerd: None,
            flags: flags.iter().map(|flag| (*flag).to_owned()).collect(),
            listener: None,
        }
    }

    /// An engine whose socket stays when it ends, as with systemd: clients wait for the next engine.
    pub(crate) fn start_activated(flags: &[&str]) -> Self {
        let mut engine = Self::down(flags);
        engine.listener = Some(UnixListener::bind(engine.socket()).unwrap());
        engine.up();
        engine.load(IMAGE);
        engine
    }

    /// Its socket.
    pub(crate) fn socket(&self) -> PathBuf {
        self.path("docker.sock")
    }

    /// The pid of its `dockerd`.
    pub(crate) fn pid(&self) -> u32 {
        self.dockerd.as_ref().expect("dockerd runs").id()
    }

    /// Sends it a request.
    pub(crate) fn request(&self, method: &str, path: &str, body: Option<&Value>) -> (u16, Value) {
        request_at(&self.socket(), method, path, body)
    }

    /// Starts it, and waits until it answers.
    pub(crate) fn up(&mut self) {
        self.launch();
        within(PATIENCE, "dockerd answers", || {
            if let Some(status) = self.dockerd.as_mut().unwrap().try_wait().unwrap() {
                panic!("dockerd ended with {status}:\n{}", self.log());
            }
            UnixStream::connect(self.socket()).ok()?;
            (self.request("GET", "/_ping", None).0 == 200).then_some(())
        });
    }

    /// Starts it, without waiting.
    pub(crate) fn launch(&mut self) {
        assert!(self.dockerd.is_none(), "dockerd runs");
        self.clear_after_a_kill();
        let flag = |name: &str, path: &str| format!("--{name}={}", self.path(path).display());
        fs::write(self.path("daemon.json"), "{}").unwrap();
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.path("dockerd.log"));
        let log = log.unwrap();
        let host = match &self.listener {
            Some(_) => "--host=fd://".to_owned(),
            None => format!("--host=unix://{}", self.socket().display()),
        };
        let mut dockerd = command("nsenter");
        dockerd
            .arg(format!("--net=/proc/{}/ns/net", self.holder.id()))
            // It ends with the test, however the test ends.
            .args(["setpriv", "--pdeathsig", "KILL", "sh", "-c"])
            .arg(match self.listener {
                Some(_) => "exec 3<&0 </dev/null; LISTEN_FDS=1 LISTEN_PID=$$ exec dockerd \"$@\"",
                None => "exec dockerd \"$@\"",
            })
            .args(["dockerd", &host])
            .args([flag("config-file", "daemon.json"), flag("pidfile", "docker.pid")])
            .args([flag("exec-root", "exec"), flag("data-root", "data")])
            .args(["--bridge=none", "--iptables=false", "--ip-masq=false"])
            .args([
                "--exec-opt=native.cgroupdriver=cgroupfs".to_owned(),
                format!("--cgroup-parent=/{}", self.group()),
            ])
            // If the machine's containerd is used: separate from everything else that it runs.
            .arg(format!("--containerd-namespace={}", self.group()))
            .arg(format!("--containerd-plugins-namespace={}-plugins", self.group()))
            .args(&self.flags)
            .stdin(match &self.listener {
                Some(listener) => Stdio::from(OwnedFd::from(listener.try_clone().unwrap())),
                None => Stdio::null(),
            })
            .stdout(log.try_clone().unwrap())
            .stderr(log);
        self.dockerd = Some(dockerd.spawn().expect("dockerd"));
    }

    /// Kills it like a crash, and waits until it is gone. Containers keep running without it.
    pub(crate) fn kill(&mut self) {
        self.end(Signal::KILL);
    }

    /// Tells it to end, and waits until it is gone.
    pub(crate) fn terminate(&mut self) {
        self.end(Signal::TERM);
    }

    fn end(&mut self, signal: Signal) {
        let mut dockerd = self.dockerd.take().expect("dockerd runs");
        proc::signal(dockerd.id(), signal);
        within(PATIENCE, "dockerd ends", || dockerd.try_wait().unwrap());
    }

    /// Copies an image from the shared engine.
    pub(crate) fn load(&self, image: &str) {
        static SAVED: OnceLock<Vec<u8>> = OnceLock::new();
        let name = image.replace('/', "%2F");
        let get = || {
            let (status, bytes) = transfer(&socket(), "GET", &format!("/images/{name}/get"), &[]);
            assert_eq!(status, 200, "cannot get {image}");
            bytes
        };
        let other;
        let bytes = if image == IMAGE {
            SAVED.get_or_init(get)
        } else {
            other = get();
            &other
        };
        let (status, answer) = transfer(&self.socket(), "POST", "/images/load?quiet=1", bytes);
        assert_eq!(status, 200, "{}", String::from_utf8_lossy(&answer));
    }

    /// The end of its log.
    pub(crate) fn log(&self) -> String {
        let text = fs::read(self.path("dockerd.log")).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(30)..].join("\n")
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The unique name of its control group.
    fn group(&self) -> String {
        self.folder
            .path()
            .file_name()
            .unwrap()
            .to_str()
            .unwrap()
            .replace('.', "")
    }

    /// Without this, a new dockerd would try to use the containerd that is just dying with the killed dockerd.
    fn clear_after_a_kill(&self) {
        within(PATIENCE, "dockerd and containerd are gone", || {
            let left = self.programs(&PROGRAMS[..2]);
            left.iter().for_each(|pid| proc::kill(*pid));
            left.is_empty().then_some(())
        });
        for file in ["docker.pid", "exec/containerd/containerd.pid"] {
            let _ = fs::remove_file(self.path(file));
        }
    }

    /// Its processes of these names.
    fn programs(&self, names: &[&str]) -> Vec<u32> {
        let name = |pid: u32| fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        let mut found: Vec<u32> = proc::mentioning(self.folder.path())
            .iter()
            .map(|process| process.pid)
            .collect();
        found.retain(|pid| names.contains(&name(*pid).trim()));
        found
    }

    /// Its control groups: one in each hierarchy of version 1, or the one of version 2.
    fn groups(&self) -> Vec<PathBuf> {
        let root = Path::new("/sys/fs/cgroup");
        let hierarchies = std::iter::once(root.to_owned()).chain(folders_in(root));
        let groups = hierarchies.map(|hierarchy| hierarchy.join(self.group()));
        groups.filter(|group| group.is_dir()).collect()
    }

    fn kill_contained(&self) {
        let mut folders = self.groups();
        while let Some(folder) = folders.pop() {
            let members = fs::read_to_string(folder.join("cgroup.procs")).unwrap_or_default();
            members
                .lines()
                .filter_map(|pid| pid.parse().ok())
                .for_each(proc::kill);
            folders.extend(folders_in(&folder));
        }
    }

    fn unmount(&self) {
        unmount_below(self.folder.path());
    }
}

/// Unmounts everything in a folder.
pub(crate) fn unmount_below(folder: &Path) {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let points = mounts.lines().filter_map(|line| line.split(' ').nth(4));
    let mut points: Vec<&str> = points
        .filter(|point| Path::new(point).starts_with(folder))
        .collect();
    points.reverse();
    for point in points {
        let _ = command("umount")
            .args(["--lazy", point])
            .stderr(Stdio::null())
            .status();
    }
}

impl Drop for PrivateEngine {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the private engine said last:\n{}", self.log());
        }
        if let Some(mut dockerd) = self.dockerd.take() {
            let _ = dockerd.kill();
            let _ = dockerd.wait();
        }
        // Processes in containers are killed first, because their watchers could still start something.
        let deadline = std::time::Instant::now() + Duration::from_secs(20);
        loop {
            self.kill_contained();
            let left = self.programs(&PROGRAMS);
            left.iter().for_each(|pid| proc::kill(*pid));
            if left.is_empty() || std::time::Instant::now() > deadline {
                break;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        self.unmount();
        let _ = self.holder.kill();
        let _ = self.holder.wait();
        for group in self.groups() {
            remove_groups(&group);
        }
    }
}

/// A program that is not the one under test.
#[expect(
    clippy::disallowed_methods,
    reason = "a test starts an engine as a machine would"
)]
pub(crate) fn command(program: &str) -> Command {
    Command::new(program)
}

fn folders_in(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let folders = entries.map(|entry| entry.path());
    folders
        .filter(|path| path.is_dir() && !path.is_symlink())
        .collect()
}

/// Inner groups first. If a dying process is still in a group, tries again for a moment.
fn remove_groups(group: &Path) {
    for inner in folders_in(group) {
        remove_groups(&inner);
    }
    for _ in 0..50 {
        if fs::remove_dir(group).is_ok() {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}
