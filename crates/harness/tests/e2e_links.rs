//! Root does not follow a link that a service's user could have made, and replaces only regular files of the service
//! itself. These tests need root, to act as other users.

#![cfg(test)]

mod common;

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use common::{Output, Sandbox, eventually};
use rustix::fs::{CWD, FileType, Mode, RenameFlags, mknodat, renameat_with};

/// The user `nobody`.
const NOBODY: u32 = 65534;

/// A sandbox with these services, a template, a folder that only root may read, and `run`, which belongs to the user
/// `nobody`. `None` without root.
fn sandbox(name: &str, services: &str) -> Option<Sandbox> {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: only root can be others");
        return None;
    }
    let sandbox = Sandbox::with_file(name, &format!("version: \"1.0\"\nservices:\n{services}"));
    sandbox.write("app.in", "port = 80\n");
    let secret = sandbox.root().join("secret");
    fs::create_dir(&secret).unwrap();
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o700)).unwrap();
    fs::write(secret.join("own"), "root's own").unwrap();
    theirs(&sandbox.project().join("run"));
    Some(sandbox)
}

fn theirs(path: &Path) {
    fs::create_dir_all(path).unwrap();
    chown(path, Some(NOBODY), Some(NOBODY)).unwrap();
}

/// A service that sleeps, with these further lines.
fn sleeper(name: &str, more: &str) -> String {
    format!("  {name}:\n    type: process\n    binary: sleep\n    args: [1000]\n{more}")
}

/// The same with one rendered file.
fn renders(name: &str, more: &str, target: &str) -> String {
    sleeper(
        name,
        &format!("    files: [{{template: app.in, target: {target}}}]\n{more}"),
    )
}

const AS_NOBODY: &str = "    user: nobody\n    working_dir: run\n";

/// Checks that the folder that only root may read is unchanged.
fn nothing_in_secret(sandbox: &Sandbox) {
    let secret = sandbox.root().join("secret");
    let names: Vec<_> = fs::read_dir(&secret)
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(names, ["own"]);
    assert_eq!(fs::read_to_string(secret.join("own")).unwrap(), "root's own");
    assert_eq!(fs::metadata(secret.join("own")).unwrap().uid(), 0);
}

/// A start that fails, with this reason for this path.
#[track_caller]
fn refused(sandbox: &Sandbox, args: &[&str], path: &str, why: &str) -> Output {
    let output = sandbox.harness(args).code(18);
    let said = format!("{}{}", output.stdout, output.stderr);
    assert!(
        said.contains(path) && said.contains(why),
        "no `{path}`, `{why}`\n{output}"
    );
    output
}

fn fifo(path: &Path) {
    mknodat(CWD, path, FileType::Fifo, Mode::from_raw_mode(0o666), 0).unwrap();
}

#[test]
fn a_folder_of_the_services_user_that_becomes_a_link_leads_root_nowhere() {
    let services = renders("app", AS_NOBODY, "run/conf/app.toml")
        + &renders("deep", AS_NOBODY, "run/a/b/c/app.toml")
        + &renders("file", AS_NOBODY, "run/own");
    let Some(sandbox) = sandbox("link_parent", &services) else {
        return;
    };
    let run = sandbox.project().join("run");
    sandbox.ok(&["start"]);
    for file in ["conf/app.toml", "a/b/c/app.toml", "own"] {
        let meta = fs::metadata(run.join(file)).unwrap();
        assert_eq!(
            (meta.uid(), meta.gid(), meta.mode() & 0o777),
            (NOBODY, NOBODY, 0o644),
            "{file}"
        );
        assert_eq!(fs::read_to_string(run.join(file)).unwrap(), "port = 80\n");
    }
    // Nothing else is left beside them.
    assert_eq!(fs::read_dir(run.join("conf")).unwrap().count(), 1);

    let secret = sandbox.root().join("secret");
    for (service, folder) in [("app", "conf"), ("deep", "a/b")] {
        fs::remove_dir_all(run.join(folder)).unwrap();
        symlink(&secret, run.join(folder)).unwrap();
        refused(
            &sandbox,
            &["restart", service],
            &format!("run/{folder}"),
            "Permission denied",
        );
    }
    fs::remove_file(run.join("own")).unwrap();
    symlink(secret.join("own"), run.join("own")).unwrap();
    refused(&sandbox, &["restart", "file"], "run/own", "Permission denied");
    nothing_in_secret(&sandbox);

    // A link to a place where the user may write is allowed.
    theirs(&run.join("elsewhere"));
    fs::remove_file(run.join("conf")).unwrap();
    symlink("elsewhere", run.join("conf")).unwrap();
    sandbox.ok(&["start", "app"]);
    assert_eq!(
        fs::read_to_string(run.join("elsewhere/app.toml")).unwrap(),
        "port = 80\n"
    );
}

#[test]
fn where_there_is_no_other_user_a_link_of_others_is_named() {
    let services = renders("app", "    working_dir: run\n", "run/conf/app.toml")
        + &renders("file", "", "run/own")
        + &renders("sticky", "", "open/conf/app.toml")
        + &renders("same", "    user: root\n", "run/conf/app.toml");
    let Some(sandbox) = sandbox("link_named", &services) else {
        return;
    };
    let (run, secret) = (sandbox.project().join("run"), sandbox.root().join("secret"));
    let open = sandbox.project().join("open");
    fs::create_dir(&open).unwrap();
    fs::set_permissions(&open, fs::Permissions::from_mode(0o1777)).unwrap();
    symlink(&secret, run.join("conf")).unwrap();
    symlink(secret.join("own"), run.join("own")).unwrap();
    symlink(&secret, open.join("conf")).unwrap();
    const WHY: &str = "is a link that others could have put there";
    for (service, link) in [
        ("app", "run/conf"),
        ("file", "run/own"),
        ("sticky", "open/conf"),
        ("same", "run/conf"),
    ] {
        refused(
            &sandbox,
            &["start", service],
            &format!("{link} {WHY}"),
            "is not followed",
        );
    }
    nothing_in_secret(&sandbox);
    // Without it, the same places are written to.
    for link in [run.join("conf"), run.join("own"), open.join("conf")] {
        fs::remove_file(link).unwrap();
    }
    sandbox.ok(&["start"]);
    assert_eq!(fs::metadata(run.join("conf/app.toml")).unwrap().uid(), 0);
    assert!(open.join("conf/app.toml").is_file());
}

#[test]
fn links_of_roots_where_nobody_else_may_write_are_followed() {
    let services = renders("plain", "", "conf/app.toml")
        + &renders("other", "    user: nobody\n", "conf/other.toml")
        + &renders("file", "    user: nobody\n", "own.toml")
        + &sleeper("inside", "    working_dir: there\n");
    let Some(sandbox) = sandbox("link_own", &services) else {
        return;
    };
    let at = |name: &str| sandbox.project().join(name);
    fs::create_dir(at("real")).unwrap();
    symlink("real", at("conf")).unwrap();
    symlink("real/file.toml", at("own.toml")).unwrap();
    symlink(at("real"), at("there")).unwrap();
    sandbox.ok(&["start"]);
    for (file, owner) in [("app.toml", 0), ("other.toml", NOBODY), ("file.toml", NOBODY)] {
        assert_eq!(
            fs::metadata(at("real").join(file)).unwrap().uid(),
            owner,
            "{file}"
        );
    }
    let cwd = fs::read_link(format!("/proc/{}/cwd", sandbox.pid("inside"))).unwrap();
    assert_eq!(cwd, at("real").canonicalize().unwrap());
}

#[test]
fn a_secret_is_for_the_services_user_alone() {
    let services =
        renders("app", AS_NOBODY, "run/app.toml") + &renders("etc", "    user: nobody\n", "etc/app.toml");
    let Some(mut sandbox) = sandbox("link_secret", &services) else {
        return;
    };
    sandbox.set_env("A_PASSWORD", "hunter2");
    sandbox.write("app.in", "password = ${A_PASSWORD}\n");
    sandbox.ok(&["start"]);
    for file in ["run/app.toml", "etc/app.toml"] {
        let meta = fs::metadata(sandbox.project().join(file)).unwrap();
        assert_eq!((meta.uid(), meta.mode() & 0o777), (NOBODY, 0o600), "{file}");
        assert_eq!(sandbox.read(file), "password = hunter2\n");
    }
}

#[test]
fn the_kernel_decides_where_the_user_may_write() {
    // Others may write to `shared`, but this user may not: root does not write there for the user.
    let services = renders("app", "    user: nobody\n", "shared/app.toml")
        + &renders("none", "    user: no-such-user\n", "run/app.toml");
    let Some(sandbox) = sandbox("link_kernel", &services) else {
        return;
    };
    let shared = sandbox.project().join("shared");
    fs::create_dir(&shared).unwrap();
    chown(&shared, Some(1), Some(1)).unwrap();
    let output = refused(
        &sandbox,
        &["start", "app"],
        "shared/app.toml",
        "Permission denied",
    );
    let said = format!("{}{}", output.stdout, output.stderr);
    assert!(said.contains("as user nobody, because uid 1 owns"), "{output}");
    refused(
        &sandbox,
        &["start", "none"],
        "run/app.toml",
        "there is no user `no-such-user` on this machine",
    );
    assert_eq!(fs::read_dir(&shared).unwrap().count(), 0);
}

#[test]
fn a_user_who_swaps_a_folder_for_a_link_all_the_time_never_wins() {
    let services = renders("root", "    working_dir: run\n", "run/conf/root.toml")
        + &renders("other", AS_NOBODY, "run/conf/other.toml");
    let Some(sandbox) = sandbox("link_race", &services) else {
        return;
    };
    let (run, secret) = (sandbox.project().join("run"), sandbox.root().join("secret"));
    theirs(&run.join("conf"));
    symlink(&secret, run.join("link")).unwrap();
    sandbox.ok(&["start"]);
    let stop = AtomicBool::new(false);
    let mut ended = [0, 0];
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                renameat_with(
                    CWD,
                    run.join("conf"),
                    CWD,
                    run.join("link"),
                    RenameFlags::EXCHANGE,
                )
                .unwrap();
            }
        });
        for _ in 0..12 {
            let output = sandbox.harness(&["restart"]);
            ended[usize::from(output.code != Some(0))] += 1;
        }
        stop.store(true, Ordering::Relaxed);
    });
    nothing_in_secret(&sandbox);
    assert!(ended[1] > 0, "the link was met: {ended:?}");
}

#[test]
fn what_is_no_regular_file_and_what_is_the_projects_own_is_never_replaced() {
    let services = [
        "fifo", "device", "linked", "socket", "template", "config", "second", "folder",
    ]
    .map(|name| renders(name, "", &format!("places/{name}")))
    .concat()
        + &renders("user-fifo", AS_NOBODY, "run/fifo")
        + &renders("user-template", AS_NOBODY, "run/template");
    let Some(sandbox) = sandbox("link_kept", &services) else {
        return;
    };
    sandbox.write("second.yaml", "description: more\n");
    let (places, run) = (sandbox.project().join("places"), sandbox.project().join("run"));
    fs::create_dir(&places).unwrap();
    fifo(&places.join("fifo"));
    fifo(&run.join("fifo"));
    symlink("/dev/null", places.join("device")).unwrap();
    symlink("fifo", places.join("linked")).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(places.join("socket")).unwrap();
    fs::hard_link(sandbox.project().join("app.in"), places.join("template")).unwrap();
    fs::hard_link(sandbox.project().join("app.in"), run.join("template")).unwrap();
    symlink("../services.yaml", places.join("config")).unwrap();
    symlink("../second.yaml", places.join("second")).unwrap();
    fs::create_dir(places.join("folder")).unwrap();
    let config = sandbox.read("services.yaml");
    for (service, why) in [
        ("fifo", "it is a pipe (FIFO)"),
        ("device", "it is a device"),
        ("linked", "it is a pipe (FIFO)"),
        ("socket", "it is a socket"),
        ("template", "a file of the project itself"),
        ("config", "a file of the project itself"),
        ("second", "a file of the project itself"),
        ("folder", "it is a folder"),
        ("user-fifo", "it is a pipe (FIFO)"),
        ("user-template", "a file of the project itself"),
    ] {
        let args = ["-c", "services.yaml", "-c", "second.yaml", "start", service];
        let path = service
            .strip_prefix("user-")
            .map_or_else(|| format!("places/{service}"), |name| format!("run/{name}"));
        refused(&sandbox, &args, &path, why);
    }
    assert!(fs::metadata(places.join("fifo")).unwrap().file_type().is_fifo());
    assert!(fs::metadata("/dev/null").unwrap().file_type().is_char_device());
    assert_eq!(sandbox.read("services.yaml"), config);
    assert_eq!(
        (sandbox.read("app.in"), sandbox.read("second.yaml")),
        ("port = 80\n".into(), "description: more\n".into())
    );
}

#[test]
fn a_service_of_roots_does_not_run_where_a_link_of_others_leads() {
    let services = sleeper("app", "    working_dir: run/here\n")
        + &sleeper("other", "    working_dir: run/here\n    user: nobody\n");
    let Some(sandbox) = sandbox("link_cwd", &services) else {
        return;
    };
    let here = sandbox.project().join("run/here");
    symlink("/usr", &here).unwrap();
    refused(
        &sandbox,
        &["start", "app"],
        "run/here is a link that others could have put there",
        "working_dir",
    );
    // As its own user, it may go wherever that user can.
    sandbox.ok(&["start", "other"]);
    let cwd = |service: &str| fs::read_link(format!("/proc/{}/cwd", sandbox.pid(service))).unwrap();
    assert_eq!(cwd("other"), Path::new("/usr"));
    sandbox.ok(&["exec", "other", "--", "pwd"]).says("/usr");
    fs::remove_file(&here).unwrap();
    fs::create_dir(&here).unwrap();
    sandbox.ok(&["start", "app"]);
    assert_eq!(cwd("app"), here.canonicalize().unwrap());
    // The same rule holds for commands beside it.
    fs::rename(&here, sandbox.project().join("run/kept")).unwrap();
    symlink("/usr", &here).unwrap();
    let output = sandbox.harness(&["exec", "app", "--", "pwd"]);
    assert!(
        output.code != Some(0) && !output.stdout.contains("/usr"),
        "{output}"
    );
}

#[test]
fn a_report_is_written_through_no_link_of_others() {
    let Some(sandbox) = sandbox("link_report", &sleeper("app", "")) else {
        return;
    };
    let report = sandbox.project().join("run/report");
    let secret = sandbox.root().join("secret");
    fs::create_dir(&report).unwrap();
    sandbox.ok(&["start"]);
    for (place, target) in [
        (report.join("junit.xml"), secret.join("own")),
        (report.join("logs"), secret.clone()),
    ] {
        symlink(target, &place).unwrap();
        let output = sandbox.harness(&["start", "--report", "run/report"]);
        assert!(
            output.code != Some(0) && output.stderr.contains("is a link that others"),
            "{output}"
        );
        fs::remove_file(place).unwrap();
        let _ = fs::remove_dir_all(report.join("logs"));
    }
    fifo(&report.join("report.json"));
    let output = sandbox.harness(&["start", "--report", "run/report"]);
    assert!(
        output.code != Some(0) && output.stderr.contains("it is a pipe (FIFO)"),
        "{output}"
    );
    nothing_in_secret(&sandbox);
    fs::remove_file(report.join("report.json")).unwrap();
    sandbox.ok(&["start", "--report", "run/report"]);
    assert!(report.join("junit.xml").is_file() && report.join("report.json").is_file());
}

#[test]
fn init_writes_through_no_link_of_others() {
    let Some(sandbox) = sandbox("link_init", "") else {
        return;
    };
    let run = sandbox.project().join("run");
    symlink(sandbox.root().join("secret"), run.join("folder")).unwrap();
    fs::create_dir(run.join("file")).unwrap();
    symlink(sandbox.root().join("secret/made"), run.join("file/services.yaml")).unwrap();
    for folder in ["run/folder", "run/folder/below", "run/file"] {
        let output = sandbox.harness(&["init", folder, "--from", "example"]);
        assert!(
            output.code != Some(0) && output.stderr.contains("is a link that others"),
            "{folder}: {output}"
        );
    }
    nothing_in_secret(&sandbox);
    sandbox.ok(&["init", "run/plain", "--from", "example"]);
    assert!(run.join("plain/services.yaml").is_file());
}

#[test]
fn roots_daemon_has_no_home_that_others_could_swap() {
    let Some(mut sandbox) = sandbox("link_home", &sleeper("app", "")) else {
        return;
    };
    let home: PathBuf = sandbox.project().join("run/home");
    let usual = sandbox.home();
    sandbox.set_env("HARNESS_HOME", home.to_str().unwrap());
    sandbox
        .harness(&["start"])
        .code(1)
        .tells("uid 65534 owns")
        .tells("HARNESS_HOME");
    assert!(!home.join("daemon.json").exists());
    sandbox.set_env("HARNESS_HOME", usual.to_str().unwrap());
    sandbox.ok(&["start"]);
    eventually("it runs", || {
        (sandbox.state("app") == "running/none").then_some(())
    });
}
