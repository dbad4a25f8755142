//! All paths to one file are one project; copies of the file are not.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use crate::common::{PATIENCE, Sandbox};
use crate::{Places, file, verbs};

/// A folder that is mounted in a second place, until dropped.
struct Mount<'a>(&'a Sandbox, PathBuf);

impl<'a> Mount<'a> {
    /// `None` if mounting is not allowed.
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
    // With -p both can be chosen: the project that runs, with its own file, or a new one with this file.
    let restart = places.ok("copy", "-p shop restart");
    restart.tells(shop.to_str().unwrap());
    let pid = places.pid("shop", "api");
    places.ok("copy", "-p second start");
    assert_eq!(places.means("copy", ""), "second");
    places.ok("copy", "-p second stop --all");
    assert_eq!(places.pid("shop", "api"), pid);
    // Taking over is reported.
    let taken = places.ok("linked", "-p shop start");
    taken
        .tells("project `shop` was started from")
        .tells("linked/services.yaml");
    places.run("shop", "status").code(1).tells("linked/services.yaml");
    places.ok("linked", "stop --all");
    // A stopped project is not taken over either.
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
    // A folder that is mounted in another place has two paths without a link.
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
    // Without a name in the file, each folder has its own project.
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
    // With a name, they are ways to one project, which is started in one of them.
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
