//! Folders and files that are moved or renamed, and the names that they may have.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use crate::common::proc;
use crate::{Places, file};

#[test]
fn a_moved_folder_takes_its_project_along() {
    let places = Places::new("folder_moved");
    // Its name is in the file, comes from the folder, is in a broken file, or comes from a variable.
    for (name, head) in [
        ("named", "name: named\n"),
        ("plain", ""),
        ("broken", "name: broken\n"),
        ("varied", "name: ${UNSET:-varied}\n"),
    ] {
        places.folder(name, head, "api");
        places.ok(name, "start");
        let pid = places.pid(name, "api");
        let moved = format!("elsewhere/{name}-2");
        fs::create_dir_all(places.at("elsewhere")).unwrap();
        fs::rename(places.at(name), places.at(&moved)).unwrap();
        if name == "broken" {
            let path = places.at(&moved).join("services.yaml");
            fs::write(&path, file(head, "api") + "\t[\n").unwrap();
        }
        // A message the first time, and never again.
        let told = places.ok(&moved, "--json status");
        assert_eq!(told.json()["project"], name, "{told}");
        let told = told.tells(&format!("project `{name}` was moved"));
        assert!(
            told.stderr.contains(places.at(&moved).to_str().unwrap()),
            "{told}"
        );
        let again = places.ok(&moved, "wait");
        assert!(!again.stderr.contains("moved"), "{again}");
        assert_eq!(places.pid(name, "api"), pid);
        if name == "plain" {
            // By the name of its folder it would now be another project, beside the one that runs.
            let start = places.run(&moved, "start").code(1).tells("project `plain`");
            start.tells("harness -p plain stop --all");
            assert_eq!(places.pid(name, "api"), pid);
        }
        places.ok(&moved, "stop --all").says("1 service stopped");
        assert!(!proc::is_alive(u32::try_from(pid.unwrap()).unwrap()));
    }
    // A start finds it as well as a status does. What it was started with has changed with the folder.
    places.ok("elsewhere/named-2", "start");
    fs::rename(places.at("elsewhere/named-2"), places.at("back")).unwrap();
    places.ok("back", "start --dry-run").says("api");
    let start = places.ok("back", "start");
    let start = start.tells("project `named` was moved").tells("replaced");
    assert_eq!(start.stderr.matches("moved").count(), 1, "{start}");
    // A new folder in the old place does not belong to it.
    places.folder("elsewhere/named-2", "name: named\n", "api");
    places
        .run("elsewhere/named-2", "stop --all")
        .code(1)
        .tells("/back/services.yaml");
    places.ok("back", "stop --all").says("1 service stopped");
}

#[test]
fn what_was_moved_and_lost_its_name_is_never_passed_for_stopped() {
    let places = Places::new("folder_lost");
    places.folder("shop", "", "api");
    places.ok("shop", "start");
    // As `mv` does between disks: another folder, with the same content.
    places.folder("market", "", "api");
    fs::remove_dir_all(places.at("shop")).unwrap();
    for verb in ["stop --all", "status", "wait"] {
        let told = places.run("market", verb).code(3).tells("shop (");
        told.tells("harness -p NAME start");
    }
    places
        .ok("market", "start --dry-run")
        .tells("harness -p NAME start");
    places
        .ok("market", "-p shop start")
        .tells("project `shop` was moved");
    assert_eq!(places.means("market", ""), "shop");
    places.ok("market", "stop --all").says("1 service stopped");
}

#[test]
fn folders_of_any_name_work_or_say_why_not() {
    let places = Places::new("folder_names");
    for folder in [
        "with space",
        "quo\"te's",
        "new\nline",
        "-dash",
        "ünï ☂",
        "$HOME `x`",
        "a.b%s{}",
    ] {
        places.folder(folder, "", "api");
        let at = |words: &[&str]| places.sandbox.harness_in(&places.at(folder), words);
        at(&["start"]).code(0);
        let project = at(&["--json", "status"]).code(0).json()["project"].clone();
        let moved = format!("{folder} 2");
        fs::rename(places.at(folder), places.at(&moved)).unwrap();
        let at = |words: &[&str]| places.sandbox.harness_in(&places.at(&moved), words);
        assert_eq!(
            at(&["--json", "status"]).code(0).json()["project"],
            project,
            "{folder:?}"
        );
        at(&["stop", "--all"]).code(0).says("1 service stopped");
    }
    // Records and arguments are text.
    places.folder("shop", "name: shop\n", "api");
    places.ok("shop", "start");
    let odd = places.sandbox.root().join(OsStr::from_bytes(b"shop\xff"));
    fs::rename(places.at("shop"), &odd).unwrap();
    fs::create_dir(odd.join("src")).unwrap();
    let run = |folder: &Path, words: &[&str]| places.sandbox.harness_in(folder, words);
    for words in [&["start"][..], &["restart"], &["validate"]] {
        run(&odd, words).code(2).tells("not UTF-8");
    }
    for words in [
        &["status"][..],
        &["stop", "--all"],
        &["logs"],
        &["exec", "api", "--", "true"],
    ] {
        run(&odd, words).code(2).tells("not UTF-8").tells("-p");
        run(&odd.join("src"), words).code(2).tells("not UTF-8");
    }
    run(&odd, &["-p", "shop", "stop", "--all"])
        .code(0)
        .says("1 service stopped");
}

#[test]
fn a_file_that_was_renamed_in_its_folder_is_not_passed_for_stopped() {
    let places = Places::new("folder_file_renamed");
    // It is recognized by the folder's name, and by a name in the file.
    for (name, head) in [("plain", ""), ("named", "name: shop\n")] {
        places.folder(name, head, "api");
        let project = if head.is_empty() { name } else { "shop" };
        places.ok(name, "start");
        let at = |file: &str| places.at(name).join(file);
        fs::rename(at("services.yaml"), at("services.yml")).unwrap();
        places
            .ok(name, "status")
            .tells(&format!("project `{project}` was moved"));
        fs::rename(at("services.yml"), at("other.yaml")).unwrap();
        places
            .ok(name, "-c other.yaml stop --all")
            .tells("other.yaml")
            .says("1 service stopped");
    }
    // Projects that only their path can identify: named with -p, renamed as well, with the folder renamed as well.
    for (name, head, start) in [
        ("by-caller", "", "-p by-caller-ci start"),
        ("renamed", "name: before\n", "start"),
        ("folder", "", "start"),
    ] {
        places.folder(name, head, "api");
        places.ok(name, start);
        let folder = if name == "folder" { "folder-2" } else { name };
        fs::rename(places.at(name), places.at(folder)).unwrap();
        fs::remove_file(places.at(folder).join("services.yaml")).unwrap();
        let head = head.replace("before", "after");
        fs::write(places.at(folder).join("services.yml"), file(&head, "api")).unwrap();
        for verb in ["stop --all", "status", "exec api -- true"] {
            let told = places.run(folder, verb).code(3).tells("services.yml");
            let was = places.at(name).join("services.yaml");
            assert!(told.stderr.contains(was.to_str().unwrap()), "{told}");
        }
        let told = places.ok(folder, "start --dry-run");
        told.tells("harness -p NAME start");
    }
    for name in ["by-caller-ci", "before", "folder"] {
        places
            .ok("tmp", &format!("-p {name} stop --all"))
            .says("1 service stopped");
    }
}
