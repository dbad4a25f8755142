//! Files that are mounted into a container, or written there, do not go through a link that others could have made.

#![cfg(test)]
#![cfg(feature = "docker-tests")]

mod common;

use std::fs;
use std::os::unix::fs::{chown, symlink};
use std::path::Path;

use common::docker::{self, DockerSandbox, Image};
use rustix::fs::{CWD, FileType, Mode, mknodat};

const NOBODY: u32 = 65534;

#[track_caller]
fn refused(sandbox: &DockerSandbox, service: &str, path: &str, why: &str) {
    let output = sandbox.harness(&["start", service]).code(18);
    let said = format!("{}{}", output.stdout, output.stderr);
    assert!(
        said.contains(path) && said.contains(why),
        "no `{path}`, `{why}`\n{output}"
    );
}

fn theirs(path: &Path) {
    fs::create_dir_all(path).unwrap();
    chown(path, Some(NOBODY), Some(NOBODY)).unwrap();
}

#[test]
fn a_volume_is_no_link_that_others_could_have_made() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: only root can be others");
        return;
    }
    let sandbox = DockerSandbox::new(
        "links_volume",
        r#"services:
  app: {type: docker, image: harness-test/base, command: [sleep, "1000"], volumes: ["./data/sub:/x"]}
  below: {type: docker, image: harness-test/base, command: [sleep, "1000"], volumes: ["./data/sub/made:/x"]}
  own: {type: docker, image: harness-test/base, command: [cat, /x/own], oneshot: true, volumes: ["./mine:/x"]}
"#,
    );
    let (data, secret) = (sandbox.project().join("data"), sandbox.root().join("secret"));
    fs::create_dir(&secret).unwrap();
    fs::write(secret.join("own"), "root's own\n").unwrap();
    theirs(&data);
    symlink(&secret, data.join("sub")).unwrap();
    for service in ["app", "below"] {
        refused(
            &sandbox,
            service,
            "data/sub is a link that others could have put there",
            "volume",
        );
    }
    assert_eq!(fs::read_dir(&secret).unwrap().count(), 1);
    // Root's own link, in a folder where nobody else may write.
    symlink(&secret, sandbox.project().join("mine")).unwrap();
    sandbox.ok(&["start", "own"]);
    sandbox.ok(&["logs", "own"]).says("root's own");
    fs::remove_file(data.join("sub")).unwrap();
    sandbox.ok(&["start", "app"]);
    assert!(data.join("sub").is_dir());
}

#[test]
fn a_rendered_file_goes_through_no_link_in_a_volume_and_replaces_no_file_of_the_project() {
    let sandbox = DockerSandbox::new(
        "links_target",
        r#"services:
  link: {type: docker, image: harness-test/base, command: [sleep, "1000"], volumes: ["./data:/data"], files: [{template: a.in, target: /data/conf/a}]}
  file: {type: docker, image: harness-test/base, command: [sleep, "1000"], volumes: ["./data:/data"], files: [{template: a.in, target: /data/own}]}
  pipe: {type: docker, image: harness-test/base, command: [sleep, "1000"], volumes: ["./data:/data"], files: [{template: a.in, target: /data/pipe}]}
  template: {type: docker, image: harness-test/base, command: [sleep, "1000"], volumes: [".:/app"], files: [{template: a.in, target: /app/a.in}]}
  config: {type: docker, image: harness-test/base, command: [sleep, "1000"], volumes: [".:/app"], files: [{template: a.in, target: /app/services.yaml}]}
  good: {type: docker, image: harness-test/base, command: [cat, /data/new/a], oneshot: true, volumes: ["./data:/data"], files: [{template: a.in, target: /data/new/a}]}
"#,
    );
    sandbox.write("a.in", "rendered\n");
    let data = sandbox.project().join("data");
    fs::create_dir(&data).unwrap();
    symlink("/etc", data.join("conf")).unwrap();
    symlink("/etc/hostname", data.join("own")).unwrap();
    mknodat(
        CWD,
        data.join("pipe"),
        FileType::Fifo,
        Mode::from_raw_mode(0o600),
        0,
    )
    .unwrap();
    let config = sandbox.read("services.yaml");
    for (service, path, why) in [
        ("link", "/data/conf", "is a link in a volume"),
        ("file", "/data/own", "is a link in a volume"),
        ("pipe", "/data/pipe", "it is a pipe (FIFO)"),
        ("template", "/app/a.in", "a file of the project itself"),
        ("config", "/app/services.yaml", "a file of the project itself"),
    ] {
        refused(&sandbox, service, path, why);
    }
    assert_eq!(
        (sandbox.read("services.yaml"), sandbox.read("a.in")),
        (config, "rendered\n".to_owned())
    );
    sandbox.ok(&["start", "good"]);
    sandbox.ok(&["logs", "good"]).says("rendered");
}

#[test]
fn a_link_of_the_image_leads_to_no_link_in_a_volume() {
    let _image = Image::of("links_image", "built");
    let renders = |name: &str, volume: &str, target: &str, more: &str| {
        format!(
            "  {name}: {{type: docker, image: {}-built, volumes: [\"{volume}\"], files: [{{template: a.in, target: {target}}}], {more}}}\n",
            docker::project("links_image")
        )
    };
    let sleeps = "command: [sleep, \"1000\"]";
    let services = [
        "services:\n  built: {type: docker, build: image, command: [\"true\"], oneshot: true}\n".to_owned(),
        renders("through", "./data:/data", "/through/a", sleeps),
        renders("last", "./data:/data", "/last", sleeps),
        renders("mounted", "./data:/here/data", "/there/data/conf/a", sleeps),
        renders("config", ".:/here/app", "/there/app/services.yaml", sleeps),
        renders(
            "good",
            "./data:/here/data",
            "/here/data/new/a",
            "oneshot: true, command: [cat, /there/data/new/a]",
        ),
    ];
    let sandbox = DockerSandbox::new("links_image", &services.concat());
    sandbox.write("a.in", "rendered\n");
    sandbox.write(
        "image/Dockerfile",
        "FROM harness-test/base\nRUN mkdir /there && ln -s there /here && ln -s ../data/conf /through && ln -s /data/own /last\n",
    );
    let data = sandbox.project().join("data");
    fs::create_dir(&data).unwrap();
    symlink("/etc", data.join("conf")).unwrap();
    symlink("/etc/hostname", data.join("own")).unwrap();
    sandbox.ok(&["start", "built"]);
    let config = sandbox.read("services.yaml");
    for (service, path, why) in [
        ("through", "/through/a", "/data/conf is a link in a volume"),
        ("last", "/last", "/data/own is a link in a volume"),
        (
            "mounted",
            "/there/data/conf/a",
            "/there/data/conf is a link in a volume",
        ),
        (
            "config",
            "/there/app/services.yaml",
            "a file of the project itself",
        ),
    ] {
        refused(&sandbox, service, path, why);
    }
    assert_eq!(sandbox.read("services.yaml"), config);
    sandbox.ok(&["start", "good"]);
    sandbox.ok(&["logs", "good"]).says("rendered");
}
