//! What a folder means if it has its own file, no file, or a file above it.

use std::fs;
use std::os::unix::fs::symlink;

use crate::{Places, verbs};

#[test]
fn a_file_that_was_never_started_means_nobody_else() {
    let places = Places::new("folder_own_file");
    places.folder("shop", "name: shop\n", "api");
    // Beside it, below it, under another file name, and with a file given from inside it: all with the same service.
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
    // If a file cannot be read, the one above it is not used instead.
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
    // Verbs that only read may use the only project there is.
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
    // A folder where a project was started with another file means that project, and restarts it with that file.
    places.ok("dev", "-c dev.yaml start");
    let pid = places.pid("dev", "api");
    assert_eq!(places.means("dev", ""), "dev");
    places.ok("dev", "restart");
    assert_ne!(places.pid("dev", "api"), pid);
    // So does a folder if its file was deleted. Folders below it without a project do not.
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
fn what_runs_nearer_than_a_file_found_above_is_not_passed_over() {
    let places = Places::new("folder_nearer");
    places.folder("top", "name: top\n", "api");
    // Its own file is deleted, has a name that harness does not look for, or is a folder.
    for name in ["gone", "given", "torn"] {
        places.folder(&format!("top/{name}"), &format!("name: {name}\n"), "api");
        fs::create_dir(places.at(&format!("top/{name}/src"))).unwrap();
    }
    fs::rename(
        places.at("top/given/services.yaml"),
        places.at("top/given/dev.yaml"),
    )
    .unwrap();
    places.ok("top/gone", "start");
    places.ok("top/given", "-c dev.yaml start");
    places.ok("top/torn", "start");
    fs::remove_file(places.at("top/gone/services.yaml")).unwrap();
    fs::remove_file(places.at("top/torn/services.yaml")).unwrap();
    fs::create_dir(places.at("top/torn/services.yaml")).unwrap();
    let nearer = ["gone", "given", "torn"];
    let pids = || nearer.map(|name| places.pid(name, "api"));
    let before = pids();
    // The file above was never started, and then it was.
    for above in [None, Some("top")] {
        if above.is_some() {
            places.ok("top", "start");
        }
        let top = above.map(|name| places.pid(name, "api"));
        for name in nearer {
            let mut all = verbs("api");
            all.extend(["stop --all", "restart", "restart api"].map(str::to_owned));
            for folder in [format!("top/{name}"), format!("top/{name}/src")] {
                for verb in &all {
                    let refused = places.run(&folder, verb).code(3).tells(&format!("{name} ("));
                    refused.tells("top/services.yaml").tells("-p");
                }
            }
        }
        assert_eq!(pids(), before);
        assert_eq!(above.map(|name| places.pid(name, "api")), top);
    }
    let refused = places.run("top/gone", "--json stop --all").code(3).json();
    assert_eq!(refused["error"]["projects"], serde_json::json!(["gone", "top"]));
    // A given file is used, and a stopped project is not in the way.
    assert_eq!(places.means("top/gone", "-c ../services.yaml"), "top");
    assert_eq!(places.means("top/given", "-c dev.yaml"), "given");
    assert_eq!(places.means("top", ""), "top");
    for name in nearer {
        places
            .ok("tmp", &format!("-p {name} stop --all"))
            .says("1 service stopped");
        assert_eq!(places.means(&format!("top/{name}/src"), ""), "top");
    }
    places.ok("top/gone", "restart");
    places.ok("top/gone", "stop --all").says("1 service stopped");
}
