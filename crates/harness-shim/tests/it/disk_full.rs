//! A full disk: output is dropped and counted, and everything else goes on. Needs root, to mount a small disk.

use std::path::{Path, PathBuf};
use std::process::Command;

use harness_shim::control::{Reply, Request};
use harness_shim::log::{GapCause, ReadItem, Reader};
use harness_shim::run_dir::{LaunchSpec, Outcome, Stdin};

use crate::support::{Run, is_root, perl, until};

/// A disk of one megabyte. It is unmounted when this is dropped.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(at: &Path) -> Option<Self> {
        if !is_root() {
            return None;
        }
        let status = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=1m", "tmpfs"])
            .arg(at)
            .status();
        if !status.is_ok_and(|status| status.success()) {
            eprintln!("skipped: cannot mount");
            return None;
        }
        Some(Self(at.to_owned()))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[test]
fn what_does_not_fit_is_dropped_and_counted() {
    let home = tempfile::tempdir().unwrap();
    let Some(disk) = SmallDisk::mount(home.path()) else {
        return;
    };
    let filler = disk.0.join("filler");
    // 20,000 lines (2 MB) that fill the disk, then a pause, then 1000 lines that fit.
    let script = r#"$| = 1; my $x = "x" x 92;
        for (0..19_999) { printf "%07d $x\n", $_ } print "full\n" x 10; <STDIN>;
        for (0..999) { printf "after $x\n" }"#;
    std::fs::write(&filler, vec![0; 500_000]).unwrap();
    let spec = LaunchSpec {
        stdin: Stdin::Keep,
        ..perl(script)
    };
    let mut run = Run::start_in(&disk.0.join("run"), &spec);
    // It waits for input when its last output has been handled.
    until("it waits", || {
        let wchan = std::fs::read_to_string(format!("/proc/{}/wchan", run.pid())).unwrap_or_default();
        let syscall = std::fs::read_to_string(format!("/proc/{}/syscall", run.pid())).unwrap_or_default();
        wchan.contains("pipe_read") || wchan.contains("anon_pipe_read") || syscall.starts_with("0 0x0 ")
    });
    assert_eq!(run.ask(&Request::Ping), Reply::Ok);
    std::fs::remove_file(&filler).unwrap();
    assert_eq!(run.ask(&Request::Stdin(b"go\n".to_vec())), Reply::Ok);
    let record = run.ended();
    assert_eq!(record.outcome, Outcome::Exited(0));
    assert!(
        record.dropped_log_lines > 0 && record.dropped_log_bytes > 1_000_000,
        "{record:?}"
    );

    let mut reader = Reader::open(run.dir.log_dir()).unwrap();
    let (mut lines, mut bytes, mut gap) = (0, 0, 0);
    let mut last = Vec::new();
    loop {
        match reader.next().unwrap() {
            ReadItem::Record(record) => {
                lines += record.data.iter().filter(|b| **b == b'\n').count() as u64;
                bytes += record.data.len() as u64;
                last = record.data;
            }
            ReadItem::Gap { lines, cause } => {
                assert_eq!(cause, GapCause::Dropped);
                gap += lines;
            }
            ReadItem::End => break,
        }
    }
    assert_eq!(gap, record.dropped_log_lines);
    assert_eq!(lines + gap, 20_000 + 10 + 1000);
    assert_eq!(bytes + record.dropped_log_bytes, 20_000 * 101 + 50 + 1000 * 99);
    assert!(last.ends_with(b"x\n"));
}

/// The space of the exit record is reserved from the beginning.
#[test]
fn the_exit_record_is_written_on_a_full_disk() {
    let home = tempfile::tempdir().unwrap();
    let Some(disk) = SmallDisk::mount(home.path()) else {
        return;
    };
    let script = r#"$| = 1; for (0..30_000) { print "x" x 92, "\n" } exit 11"#;
    let mut run = Run::start_in(&disk.0.join("run"), &perl(script));
    let record = run.ended();
    assert_eq!(record.outcome, Outcome::Exited(11));
    assert!(record.dropped_log_bytes > 1_000_000);
}
