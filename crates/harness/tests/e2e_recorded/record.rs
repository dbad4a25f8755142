//! Records a home with the programs of a commit. `cargo xtask record COMMIT` builds them from history and calls this.
//! The result is like after a power cut: everything is suspended, copied and then killed.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::common::{Output, PATIENCE, Running, Sandbox, eventually, proc};
use crate::place::{BLOCK, BOOT, Place, SAID, TREE, digest, kept};
use crate::scene::{FILE, OTHER, SERVICES};

#[test]
#[ignore = "records a home for later versions to read: cargo xtask record COMMIT"]
fn record_a_home() {
    let variable = |name: &str| std::env::var(name).unwrap_or_else(|_| panic!("{name} is set"));
    let (commit, programs) = (variable("HARNESS_RECORD"), variable("HARNESS_EARLIER"));
    let (_place, sandbox) = Place::take(&commit);
    let to = kept().join(&commit);
    assert!(
        !to.exists(),
        "{} already exists: recorded homes are never changed",
        to.display()
    );
    let recorder = Recorder { sandbox, programs };
    let _stopping = recorder.bring_about();
    let said = recorder.said();
    let processes = proc::mentioning(recorder.sandbox.root());
    processes
        .iter()
        .for_each(|process| proc::signal(process.pid, Signal::STOP));
    keep(recorder.sandbox.root(), &to);
    processes.iter().for_each(|process| proc::kill(process.pid));
    eventually("all of it is gone", || {
        proc::mentioning(recorder.sandbox.root()).is_empty().then_some(())
    });
    fs::write(to.join(SAID), format!("{said:#}\n")).unwrap();
    // Today's daemon has nothing to clean up.
    fs::remove_dir_all(recorder.sandbox.home()).unwrap();
}

struct Recorder {
    sandbox: Sandbox,
    programs: String,
}

impl Recorder {
    /// Runs that version's `harness`, without this machine's environment.
    fn harness(&self, args: &[&str]) -> Output {
        self.spawn(args).wait(PATIENCE)
    }

    fn spawn(&self, args: &[&str]) -> Running {
        let at = |folder: &str| self.sandbox.root().join(folder).display().to_string();
        let env = [
            "-i".to_owned(),
            format!("HARNESS_HOME={}", at("home")),
            "HARNESS_PORT=0".to_owned(),
            format!("HOME={}", at("user")),
            format!("TMPDIR={}", at("tmp")),
            "PATH=/usr/bin:/bin".to_owned(),
            "TZ=UTC".to_owned(),
            format!("{}/harness", self.programs),
        ];
        let words: Vec<&str> = env
            .iter()
            .map(String::as_str)
            .chain(args.iter().copied())
            .collect();
        self.sandbox.command("env", &words)
    }

    fn status(&self) -> BTreeMap<String, Value> {
        let status = self.harness(&["--json", "status"]).code(0).json();
        let services = status["services"].as_array().unwrap().iter();
        services
            .map(|service| (service["name"].as_str().unwrap().to_owned(), service.clone()))
            .collect()
    }

    /// Brings every service into the state that is recorded. Returns the running stop command, which must not end
    /// before the home is copied.
    fn bring_about(&self) -> Running {
        self.sandbox.write("services.yaml", FILE);
        self.sandbox.write("web.template", "greet ${database.host}\n");
        self.sandbox.write("../other/services.yaml", OTHER);
        self.harness(&["start", "-d"]).code(0);
        let other = self.sandbox.root().join("other/services.yaml");
        let other = other.to_str().unwrap();
        self.harness(&["-c", other, "start"]).code(0);
        self.harness(&["-c", other, "start", "--profile", "loud"]).code(0);
        self.harness(&["-c", other, "stop", "stopped"]).code(0);
        self.harness(&["stop", "rests"]).code(0);
        let stopping = self.spawn(&["stop", "ends"]);
        let mut last = String::new();
        eventually("every service is as it is to be recorded", || {
            let status = self.status();
            let wrong = SERVICES.iter().find_map(|service| {
                let word = |key: &str| status[service.name][key].as_str().unwrap_or("null").to_owned();
                let is = format!("{}/{}", word("status"), word("health"));
                (is != service.when).then(|| format!("{} is {is}", service.name))
            });
            let wrong = wrong.unwrap_or_default();
            if wrong != last {
                eprintln!("{wrong}");
                last.clone_from(&wrong);
            }
            wrong.is_empty().then_some(())
        });
        stopping
    }

    /// What that version says about the services and their logs.
    fn said(&self) -> Value {
        let mut logs = serde_json::Map::new();
        for service in SERVICES {
            let said = self.harness(&["--json", "logs", service.name]).stdout;
            let lines = crate::lines(&said);
            let log = json!({"lines": lines.len(), "last": lines.last(), "digest": digest(&lines)});
            logs.insert(service.name.to_owned(), log);
        }
        json!({"status": self.status(), "logs": logs})
    }
}

/// Keeps a copy of what is needed of everything below `root`.
fn keep(root: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    let mut tree = String::new();
    for path in below(root) {
        let inner = path.strip_prefix(root).unwrap().to_str().unwrap();
        let first = inner.split('/').next().unwrap();
        if matches!(first, "tmp" | "user") || inner.starts_with("home/tls") {
            continue;
        }
        assert!(!inner.contains(' '), "{inner}");
        let meta = fs::symlink_metadata(&path).unwrap();
        let mode = meta.permissions().mode() & 0o777;
        let kept = to.join(inner);
        let kind = if meta.is_dir() {
            fs::create_dir_all(&kept).unwrap();
            "dir".to_owned()
        } else if meta.file_type().is_socket() {
            "socket".to_owned()
        } else if inner.starts_with("home/bin/") {
            "empty".to_owned()
        } else {
            keep_file(&path, &kept, meta.len())
        };
        let (kind, blocks) = kind.split_once(' ').unwrap_or((kind.as_str(), ""));
        let blocks = blocks.to_owned() + if blocks.is_empty() { "" } else { " " };
        tree += &format!("{kind} {mode:o} {blocks}{inner}\n");
    }
    fs::write(to.join(TREE), tree).unwrap();
}

/// Writes the copy of a file, and returns its line for `TREE`.
fn keep_file(from: &Path, to: &Path, length: u64) -> String {
    let bytes = fs::read(from).unwrap();
    let is_zeros = |block: &[u8]| block.iter().all(|byte| *byte == 0);
    let blocks: Vec<(usize, &[u8])> = bytes
        .chunks(BLOCK)
        .enumerate()
        .filter(|(_, block)| !is_zeros(block))
        .collect();
    if blocks.len() * 2 < bytes.len() / BLOCK {
        let numbers: Vec<String> = blocks.iter().map(|(number, _)| number.to_string()).collect();
        let content: Vec<u8> = blocks.iter().flat_map(|(_, block)| block.to_vec()).collect();
        fs::write(to, content).unwrap();
        return format!("blocks {length} {}", numbers.join(","));
    }
    // Remove what identifies the machine.
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    let bytes = match String::from_utf8(bytes) {
        Ok(text) => text.replace(boot.trim(), BOOT).into_bytes(),
        Err(error) => error.into_bytes(),
    };
    fs::write(to, bytes).unwrap();
    "file".to_owned()
}

/// Everything below a folder, with each folder before its content.
fn below(folder: &Path) -> Vec<PathBuf> {
    let mut entries: Vec<PathBuf> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    entries.sort();
    entries
        .into_iter()
        .flat_map(|path| {
            let is_dir = fs::symlink_metadata(&path).unwrap().is_dir();
            let inner = if is_dir { below(&path) } else { Vec::new() };
            std::iter::once(path).chain(inner)
        })
        .collect()
}
