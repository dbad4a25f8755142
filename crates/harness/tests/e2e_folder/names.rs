//! Project names: renamed in the file, listed and forgotten.

use std::fs;

use crate::{Places, file};

#[test]
fn a_project_renamed_in_its_file_is_not_started_beside_itself() {
    let places = Places::new("folder_renamed");
    places.folder("shop", "name: old\n", "api");
    places.ok("shop", "start");
    let pid = places.pid("old", "api");
    let rename = |head: &str| fs::write(places.at("shop/services.yaml"), file(head, "api")).unwrap();
    // Another name, no name, a name from a variable, a name from a second file.
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
        // Verbs that read or stop mean the project that runs, and say so.
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
    // A name given with -p is another project beside it, and never counts as a former name.
    places.ok("shop", "-p ci start");
    places.ok("shop", "start").says("nothing changed");
    assert_eq!(places.means("shop", ""), "new");
    // A stopped project with the file's name does not hide the one that runs.
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
    // With -p it starts beside the project that runs, and the message does not call that one stopped.
    let beside = places.ok("shop", "-p fourth start").tells("are up too: third");
    assert!(!beside.stderr.contains("stopped now: third"), "{beside}");
    places.ok("shop", "-p fourth stop --all");
    places.ok("shop", "-p third stop --all");
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
    // A running project cannot be forgotten.
    let pid = places.pid("shop", "api");
    places
        .run("tmp", "project forget shop")
        .code(1)
        .tells("api")
        .tells("harness -p shop stop --all");
    assert_eq!(places.pid("shop", "api"), pid);
    // A stopped one is removed with its folder, and starts again as a new project.
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
    // The next daemon does not know it either.
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
