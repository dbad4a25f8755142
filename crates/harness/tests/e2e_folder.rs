//! A folder means its project: with a file of its own only that file's, wherever it was moved or linked to; a copy, or a
//! folder without a file, never somebody else's services.

#![cfg(test)]

mod common;

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use common::{Output, PATIENCE, Sandbox, proc};

/// A file with one service that sleeps; `head` comes before its services.
fn file(head: &str, service: &str) -> String {
    format!(
        "version: \"1.0\"\n{head}services:\n  {service}:\n    type: process\n    binary: sleep\n    args: [1000]\n"
    )
}

struct Places {
    sandbox: Sandbox,
}

impl Places {
    fn new(name: &str) -> Self {
        Self {
            sandbox: Sandbox::new(name),
        }
    }

    fn at(&self, path: &str) -> PathBuf {
        self.sandbox.root().join(path)
    }

    /// A folder with a services.yaml.
    fn folder(&self, path: &str, head: &str, service: &str) {
        fs::create_dir_all(self.at(path)).unwrap();
        fs::write(self.at(path).join("services.yaml"), file(head, service)).unwrap();
    }

    fn run(&self, folder: &str, words: &str) -> Output {
        let words: Vec<&str> = words.split_whitespace().collect();
        self.sandbox.harness_in(&self.at(folder), &words)
    }

    fn ok(&self, folder: &str, words: &str) -> Output {
        self.run(folder, words).code(0)
    }

    /// The pid of a service of a project, wherever that is.
    fn pid(&self, project: &str, service: &str) -> Option<u64> {
        let status = self
            .ok("tmp", &format!("--json -p {project} status {service}"))
            .json();
        status["services"][0]["pid"].as_u64()
    }

    /// The project that a folder means.
    fn means(&self, folder: &str, words: &str) -> String {
        let status = self.ok(folder, &format!("--json {words} status")).json();
        status["project"].as_str().unwrap().to_owned()
    }
}

/// Every verb that means a project by its place, with a service.
fn verbs(service: &str) -> Vec<String> {
    let of_service = ["why", "service show", "stop", "wait", "logs", "status", "events"];
    let mut verbs: Vec<String> = of_service
        .iter()
        .map(|verb| format!("{verb} {service}"))
        .collect();
    verbs.extend(["status", "logs", "wait", "graph", "env", "service list", "events"].map(str::to_owned));
    verbs.push(format!("exec {service} -- true"));
    verbs.push(format!("attach --no-stdin {service}"));
    verbs
}

#[test]
fn a_file_that_was_never_started_means_nobody_else() {
    let places = Places::new("folder_own_file");
    places.folder("shop", "name: shop\n", "api");
    // Beside it, below it, under another file name, and by a file given from within it: all with the same service.
    places.folder("blog", "", "api");
    places.folder("shop/inner", "name: inner\n", "api");
    places.folder("yml", "", "api");
    fs::rename(places.at("yml/services.yaml"), places.at("yml/services.yml")).unwrap();
    places.folder("wiki", "name: wiki\n", "api");
    places.ok("shop", "start");
    let pid = places.pid("shop", "api");
    for (folder, given) in [
        ("blog", ""),
        ("shop/inner", ""),
        ("yml", ""),
        ("shop", "-c ../wiki/services.yaml "),
        ("shop", "-c inner/services.yaml "),
    ] {
        for verb in verbs("api") {
            places
                .run(folder, &format!("{given}{verb}"))
                .code(3)
                .tells("no project was started from")
                .tells("services.y");
        }
        places
            .ok(folder, &format!("{given}stop --all"))
            .says("nothing was started from this file");
    }
    assert_eq!(places.pid("shop", "api"), pid);
    // A file that cannot be read is no reason to go on to the one above it.
    fs::create_dir(places.at("shop/torn")).unwrap();
    symlink("nowhere", places.at("shop/torn/services.yaml")).unwrap();
    for verb in ["stop --all", "status", "restart", "start"] {
        places.run("shop/torn", verb).code(2).tells("cannot read");
    }
    places
        .run("shop", "-c tpyo.yaml stop --all")
        .code(2)
        .tells("tpyo.yaml");
    assert_eq!(places.pid("shop", "api"), pid);
    // Once started, it is a project like any other.
    places.ok("blog", "start");
    assert_eq!(places.means("blog", ""), "blog");
    places.ok("blog", "stop --all").says("1 service stopped");
    assert_eq!(places.pid("shop", "api"), pid);
}

#[test]
fn a_moved_folder_takes_its_project_along() {
    let places = Places::new("folder_moved");
    // Its name stands in the file, comes from the folder, stands in a broken file, or comes from a variable.
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
        // A word the first time, and never again.
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
            // By its folder it would be another project now, beside the one that runs.
            let start = places.run(&moved, "start").code(1).tells("project `plain`");
            start.tells("harness -p plain stop --all");
            assert_eq!(places.pid(name, "api"), pid);
        }
        places.ok(&moved, "stop --all").says("1 service stopped");
        assert!(!proc::is_alive(u32::try_from(pid.unwrap()).unwrap()));
    }
    // A start is as good as a look; what it was started with has changed with the folder.
    places.ok("elsewhere/named-2", "start");
    fs::rename(places.at("elsewhere/named-2"), places.at("back")).unwrap();
    places.ok("back", "start --dry-run").says("api");
    let start = places.ok("back", "start");
    let start = start.tells("project `named` was moved").tells("replaced");
    assert_eq!(start.stderr.matches("moved").count(), 1, "{start}");
    // Another folder where it was is none of its own.
    places.folder("elsewhere/named-2", "name: named\n", "api");
    places
        .run("elsewhere/named-2", "stop --all")
        .code(1)
        .tells("/back/services.yaml");
    places.ok("back", "stop --all").says("1 service stopped");
}

#[test]
fn a_copy_with_the_same_name_is_refused_by_every_verb() {
    let places = Places::new("folder_copy");
    places.folder("shop", "name: shop\n", "api");
    places.ok("shop", "start");
    let pid = places.pid("shop", "api");
    let (shop, copies) = (
        places.at("shop/services.yaml"),
        ["copy", "linked", "deep/er/shop"],
    );
    for copy in copies {
        fs::create_dir_all(places.at(copy)).unwrap();
        let to = places.at(copy).join("services.yaml");
        match copy {
            "linked" => fs::hard_link(&shop, &to).unwrap(),
            _ => drop(fs::copy(&shop, &to).unwrap()),
        }
        let mut all = verbs("api");
        all.extend(
            [
                "stop --all",
                "restart",
                "start",
                "start --dry-run",
                "start -d",
                "run -- true",
            ]
            .map(str::to_owned),
        );
        for verb in all {
            let refused = places
                .run(copy, &verb)
                .code(1)
                .tells("project `shop`")
                .tells("-p");
            for path in [&shop, &to] {
                assert!(
                    refused.stderr.contains(path.to_str().unwrap()),
                    "{path:?}\n{refused}"
                );
            }
        }
        let refused = places.run(copy, "--json status").code(1).json();
        assert_eq!(refused["error"]["code"], "name_taken");
        assert_eq!(places.pid("shop", "api"), pid, "{copy}");
    }
    // With -p either is meant: the project that runs, by its own file, or another one of this file.
    let restart = places.ok("copy", "-p shop restart");
    restart.tells(shop.to_str().unwrap());
    let pid = places.pid("shop", "api");
    places.ok("copy", "-p second start");
    assert_eq!(places.means("copy", ""), "second");
    places.ok("copy", "-p second stop --all");
    assert_eq!(places.pid("shop", "api"), pid);
    // Taking over is said.
    let taken = places.ok("linked", "-p shop start");
    taken
        .tells("project `shop` was started from")
        .tells("linked/services.yaml");
    places.run("shop", "status").code(1).tells("linked/services.yaml");
    places.ok("linked", "stop --all");
    // What is stopped is not taken over either.
    places.run("copy", "start").code(1).tells("linked/services.yaml");
}

#[test]
fn every_way_to_a_file_means_the_same_project() {
    let places = Places::new("folder_ways");
    places.folder("shop", "name: shop\n", "api");
    fs::create_dir_all(places.at("shop/src/deep")).unwrap();
    fs::write(places.at("shop/extra.yaml"), "description: more\n").unwrap();
    symlink(places.at("shop"), places.at("way")).unwrap();
    symlink("services.yaml", places.at("shop/link.yaml")).unwrap();
    places.ok("way", "-c services.yaml start");
    let pid = places.pid("shop", "api");
    let absolute = format!("-c {}", places.at("way/../shop/services.yaml").display());
    for (folder, given) in [
        ("shop", ""),
        ("shop/src/deep", ""),
        ("way", ""),
        ("way/src", ""),
        ("way", "-c ./services.yaml"),
        ("shop/src", "-c ../services.yaml"),
        ("tmp", "-c ../way/services.yaml"),
        ("tmp", &absolute),
        ("shop", "-c link.yaml"),
        ("tmp", "-c ../way/link.yaml"),
        ("shop", "-c services.yaml -c extra.yaml"),
    ] {
        assert_eq!(places.means(folder, given), "shop", "{folder} {given}");
        places
            .ok(folder, &format!("{given} start"))
            .says("nothing changed");
        assert_eq!(places.pid("shop", "api"), pid, "{folder} {given}");
    }
    // A folder that is mounted in another place has two paths that no link joins.
    let mounted = Mount::bind(&places.sandbox, &places.at("shop"), &places.at("mounted"));
    if mounted.is_some() {
        assert_eq!(places.means("mounted", ""), "shop");
        assert_eq!(places.means("mounted/src", ""), "shop");
        assert_eq!(places.means("shop", ""), "shop");
        places.ok("mounted", "stop --all").says("1 service stopped");
    } else {
        eprintln!("not allowed to mount: that way is not tried");
        places.ok("shop", "stop --all");
    }
}

#[test]
fn a_link_to_a_common_file_belongs_to_its_folder() {
    let places = Places::new("folder_links");
    places.folder("common", "", "api");
    for folder in ["one", "two", "four", "five"] {
        fs::create_dir(places.at(folder)).unwrap();
        symlink("../common/services.yaml", places.at(folder).join("services.yaml")).unwrap();
    }
    // Without a name in it, each folder has a project of its own.
    places.ok("one", "start");
    let pid = places.pid("one", "api");
    for verb in verbs("api") {
        places
            .run("two", &verb)
            .code(3)
            .tells("no project was started from");
    }
    places.ok("two", "stop --all").says("nothing to stop");
    places.ok("two", "start");
    places.ok("two", "stop --all").says("1 service stopped");
    assert_eq!(places.pid("one", "api"), pid);
    fs::rename(places.at("one"), places.at("three")).unwrap();
    places.ok("three", "status").tells("project `one` was moved");
    places.ok("three", "stop --all").says("1 service stopped");
    // With one, they are ways to one project, which is started in one of them.
    fs::write(places.at("common/services.yaml"), file("name: shop\n", "api")).unwrap();
    places.ok("four", "start");
    let pid = places.pid("shop", "api");
    assert_eq!(places.means("five", ""), "shop");
    for verb in ["start", "restart"] {
        let refused = places.run("five", verb).code(1).tells("project `shop`");
        for folder in ["four", "five"] {
            assert!(
                refused.stderr.contains(places.at(folder).to_str().unwrap()),
                "{refused}"
            );
        }
    }
    assert_eq!(places.pid("shop", "api"), pid);
    places.ok("five", "stop --all").says("1 service stopped");
}

/// A folder that is there twice, until dropped.
struct Mount<'a>(&'a Sandbox, PathBuf);

impl<'a> Mount<'a> {
    /// Nothing where that is not allowed.
    fn bind(sandbox: &'a Sandbox, from: &Path, to: &Path) -> Option<Self> {
        fs::create_dir(to).unwrap();
        let words = ["--bind", from.to_str().unwrap(), to.to_str().unwrap()];
        let mount = sandbox.command("mount", &words).wait(PATIENCE);
        (mount.code == Some(0)).then(|| Self(sandbox, to.to_owned()))
    }
}

impl Drop for Mount<'_> {
    fn drop(&mut self) {
        let words = ["--lazy", self.1.to_str().unwrap()];
        self.0.command("umount", &words).wait_or_kill(PATIENCE);
    }
}

#[test]
fn a_project_renamed_in_its_file_is_not_started_beside_itself() {
    let places = Places::new("folder_renamed");
    places.folder("shop", "name: old\n", "api");
    places.ok("shop", "start");
    let pid = places.pid("old", "api");
    let rename = |head: &str| fs::write(places.at("shop/services.yaml"), file(head, "api")).unwrap();
    // Another name, none at all, one that a variable gives, one of a second file.
    fs::write(places.at("shop/name.yaml"), "name: new\n").unwrap();
    for (head, given) in [
        ("name: new\n", ""),
        ("", ""),
        ("name: ${UNSET:-new}\n", ""),
        ("name: old\n", "-c services.yaml -c name.yaml "),
    ] {
        rename(head);
        for verb in ["start", "restart", "start -d", "start --dry-run", "run -- true"] {
            let refused = places.run("shop", &format!("{given}{verb}")).code(1);
            refused.tells("project `old`").tells("harness -p old stop --all");
        }
        // What looks or stops means what runs, and says so.
        places
            .ok("shop", &format!("{given}status"))
            .tells("this is project `old`");
        places
            .ok("shop", &format!("{given}exec api -- true"))
            .tells("harness -p old stop --all");
        assert_eq!(places.pid("old", "api"), pid, "{head:?} {given}");
        assert_eq!(
            places.ok("tmp", "--json project list").json()["projects"]
                .as_array()
                .unwrap()
                .len(),
            1
        );
    }
    rename("name: new\n");
    places
        .ok("shop", "stop --all")
        .says("1 service stopped")
        .tells("`old`");
    places.ok("shop", "start").tells("harness project forget");
    assert_eq!(places.means("shop", ""), "new");
    places.ok("shop", "project forget old").says("forgotten");
    let again = places.ok("shop", "start").says("nothing changed");
    assert!(!again.stderr.contains("old"), "{again}");
    // A name given with -p is a project beside it, and is never taken for a former one.
    places.ok("shop", "-p ci start");
    places.ok("shop", "start").says("nothing changed");
    assert_eq!(places.means("shop", ""), "new");
    // What is down under the file's name does not hide what runs.
    places
        .ok("shop", "stop --all")
        .says("1 service stopped")
        .tells("ci");
    places.ok("shop", "-p ci stop --all");
    rename("name: third\n");
    places
        .run("shop", "status")
        .code(3)
        .tells("several projects")
        .tells("ci, new");
    places.ok("shop", "start");
    rename("name: new\n");
    places.run("shop", "stop --all").code(3).tells("third");
    places.ok("shop", "-p third stop --all");
}

#[test]
fn without_a_file_a_change_asks_which_project() {
    let places = Places::new("folder_no_file");
    places.folder("shop", "name: shop\n", "api");
    fs::create_dir_all(places.at("shop/src")).unwrap();
    places.folder("dev", "name: dev\n", "api");
    fs::rename(places.at("dev/services.yaml"), places.at("dev/dev.yaml")).unwrap();
    places
        .run("tmp", "status")
        .code(3)
        .tells("no project has been started");
    places.ok("shop", "start");
    let pid = places.pid("shop", "api");
    // Nothing can go wrong by looking at the only project there is.
    for verb in [
        "status",
        "logs",
        "why api",
        "graph",
        "events",
        "service list",
        "service show api",
    ] {
        places.ok("tmp", verb).tells("project `shop`");
    }
    for verb in [
        "stop --all",
        "stop api",
        "restart",
        "restart api",
        "exec api -- true",
        "attach --no-stdin api",
        "wait",
        "env",
    ] {
        let asked = places.run("tmp", verb).code(3).tells("-p").tells("shop (");
        asked.tells("shop/services.yaml");
    }
    places.ok("tmp", "-p shop restart");
    assert_ne!(places.pid("shop", "api"), pid);
    // A folder from which one was started by another file means it, and restarts it by that.
    places.ok("dev", "-c dev.yaml start");
    let pid = places.pid("dev", "api");
    assert_eq!(places.means("dev", ""), "dev");
    places.ok("dev", "restart");
    assert_ne!(places.pid("dev", "api"), pid);
    // So does one whose file was deleted; folders below it, with nothing of their own, do not.
    fs::remove_file(places.at("shop/services.yaml")).unwrap();
    assert_eq!(places.means("shop", ""), "shop");
    assert_eq!(places.means("tmp", "-c ../shop/services.yaml"), "shop");
    let both = places.run("shop/src", "stop --all").code(3).tells("shop (");
    both.tells("dev (");
    places.run("tmp", "status").code(3).tells("dev (");
    places.run("shop", "restart").code(2).tells("shop/services.yaml");
    let asked = places.run("tmp", "--json stop --all").code(3).json();
    assert_eq!(asked["error"]["projects"], serde_json::json!(["dev", "shop"]));
    places.ok("shop", "stop --all").says("1 service stopped");
    places.ok("dev", "stop --all").says("1 service stopped");
}

#[test]
fn what_was_moved_and_lost_its_name_is_never_passed_for_stopped() {
    let places = Places::new("folder_lost");
    places.folder("shop", "", "api");
    places.ok("shop", "start");
    // As `mv` does it between disks: another folder, with the same content.
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
fn projects_are_listed_and_forgotten() {
    let places = Places::new("folder_forget");
    places
        .ok("tmp", "project list")
        .says("no project has been started");
    places.folder("shop", "name: shop\n", "api");
    places.folder("blog", "name: blog\n", "web");
    places.ok("shop", "start");
    places.ok("blog", "start");
    places.ok("blog", "stop --all");
    let list = places.ok("tmp", "project list");
    let rows: Vec<Vec<&str>> = list
        .stdout
        .lines()
        .map(|line| line.split_whitespace().collect())
        .collect();
    let (blog, shop) = (places.at("blog/services.yaml"), places.at("shop/services.yaml"));
    assert_eq!(
        rows[1],
        ["blog", "stopped", "0/1", blog.to_str().unwrap()],
        "{list}"
    );
    assert_eq!(rows[2], ["shop", "up", "1/1", shop.to_str().unwrap()], "{list}");
    let list = places.ok("tmp", "--json project list").json();
    assert_eq!(
        list["projects"][1],
        serde_json::json!({"name": "shop", "file": shop, "state": "up", "services": 1, "up": 1})
    );
    // What runs is not forgotten.
    let pid = places.pid("shop", "api");
    places
        .run("tmp", "project forget shop")
        .code(1)
        .tells("api")
        .tells("harness -p shop stop --all");
    assert_eq!(places.pid("shop", "api"), pid);
    // The rest goes with its folder, and is started anew as if it had never been.
    let folder = places.sandbox.home().join("projects/blog");
    assert!(folder.join("web").is_dir());
    places
        .ok("tmp", "project forget blog")
        .says("blog forgotten: 1 service")
        .says(folder.to_str().unwrap());
    assert!(!folder.exists());
    let left: Vec<_> = fs::read_dir(places.sandbox.home().join("projects"))
        .unwrap()
        .collect();
    assert_eq!(left.len(), 1, "{left:?}");
    places.run("blog", "status").code(3);
    places.ok("blog", "stop --all").says("nothing to stop");
    places.ok("tmp", "project forget blog").says("nothing to forget");
    places
        .ok("tmp", "project forget shpo")
        .says("did you mean `shop`?");
    // Nor does the next daemon know it.
    places.ok("tmp", "daemon restart");
    let gone = places.ok("tmp", "--json project forget blog").json();
    assert_eq!(gone["forgotten"], false);
    places.ok("blog", "start");
    let status = places.ok("blog", "--json service show web").json();
    assert_eq!(status["generation"], 1);
    places.ok("blog", "stop --all");
    places.ok("shop", "stop --all");
    let gone = places.ok("tmp", "--json project forget shop").json();
    assert_eq!(gone["services"], serde_json::json!(["api"]));
}
