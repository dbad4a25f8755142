//! Files: finding, merging, profiles, `.env`, env files, templates, inherited variables.

#![cfg(test)]

mod common;

use std::path::PathBuf;

use common::{Folder, environment, good, lines_of, mistakes};
use harness_config::{LoadError, LoadOptions, find_config, inherited_environment, load, load_files};
use harness_model::spec::{Condition, Kind};
use harness_model::{ProjectName, Template};

#[test]
fn the_file_is_searched_upwards() {
    let folder = Folder::new("services: {}\n");
    folder.write("a/b/x", "");
    let inner = folder.path().join("a/b");
    assert_eq!(find_config(&inner), Some(folder.path().join("services.yaml")));
    folder.write("a/services.yml", "name: inner\nservices: {}\n");
    assert_eq!(find_config(&inner), Some(folder.path().join("a/services.yml")));
    let options = LoadOptions {
        cwd: inner,
        ..folder.options()
    };
    assert_eq!(good(&options).project.name.as_str(), "inner");
}

#[test]
fn what_is_not_there_is_said() {
    let empty = tempfile::tempdir().unwrap();
    let options = LoadOptions {
        cwd: empty.path().to_path_buf(),
        ..LoadOptions::default()
    };
    match load(&options) {
        Err(LoadError::NotFound { from }) => assert_eq!(from, empty.path()),
        // A folder above the temporary one may contain a services.yaml.
        other => assert!(find_config(empty.path()).is_some(), "{other:?}"),
    }
    let options = LoadOptions {
        files: vec![PathBuf::from("nope.yaml")],
        ..options
    };
    assert!(
        matches!(load(&options), Err(LoadError::Read { path, .. }) if path == empty.path().join("nope.yaml"))
    );
}

#[test]
fn files_that_are_no_text_or_too_large_are_refused() {
    let folder = Folder::new("services: {}\n");
    std::fs::write(folder.path().join("services.yaml"), [0xff, 0xfe, 0]).unwrap();
    assert!(matches!(load(&folder.options()), Err(LoadError::Read { .. })));
    folder.write("services.yaml", &"# x\n".repeat(2 << 20));
    assert!(matches!(load(&folder.options()), Err(LoadError::Read { .. })));
}

#[test]
fn the_name_comes_from_the_option_the_file_or_the_folder() {
    let folder = Folder::new("services: {}\n");
    folder.write("My Project/services.yaml", "services: {}\n");
    let mut options = LoadOptions {
        files: vec![PathBuf::from("My Project/services.yaml")],
        ..folder.options()
    };
    assert_eq!(good(&options).project.name.as_str(), "my-project");
    folder.write("My Project/services.yaml", "name: written\nservices: {}\n");
    assert_eq!(good(&options).project.name.as_str(), "written");
    options.project = Some(ProjectName::new("asked").unwrap());
    assert_eq!(good(&options).project.name.as_str(), "asked");
}

fn two_files(base: &str, over: &str) -> (Folder, LoadOptions) {
    let folder = Folder::new(base);
    folder.write("sub/over.yaml", over);
    let options = LoadOptions {
        files: vec!["services.yaml".into(), "sub/over.yaml".into()],
        ..folder.options()
    };
    (folder, options)
}

#[test]
fn maps_merge_and_the_rest_is_replaced() {
    let (folder, options) = two_files(
        "services:\n  a: {type: process, binary: ./x, args: [1, 2], env: {A: 1, B: 2}}\n",
        "services:\n  a: {args: [3], env: {B: 3, C: 4}, binary: ./y}\n  b: {type: process, binary: sh}\n",
    );
    let project = good(&options).project;
    let a = &project.services["a"];
    let env: Vec<String> = a.env.values().map(Template::to_string).collect();
    assert_eq!(env, ["1", "3", "4"]);
    let Kind::Process(process) = &a.kind else { panic!() };
    assert_eq!(process.args.len(), 1);
    let dir = |path: &str| folder.path().join(path).display().to_string();
    assert_eq!(
        process.binary.to_string(),
        dir("sub/y"),
        "relative to the file it is written in"
    );
    assert_eq!(
        process.working_dir.as_ref().unwrap().to_string(),
        folder.path().display().to_string()
    );
    let Kind::Process(process) = &project.services["b"].kind else {
        panic!()
    };
    assert_eq!(process.working_dir.as_ref().unwrap().to_string(), dir("sub"));
    assert_eq!(
        project.source,
        folder.path().join("services.yaml").canonicalize().unwrap()
    );
}

#[test]
fn mistakes_point_into_the_file_they_are_in() {
    let (_folder, options) = two_files(
        "services:\n  a: {type: process, binary: sh, bogus: 1}\n",
        "services:\n  a:\n    env: {A: true}\n    stdin: 1\n",
    );
    let places: Vec<String> = mistakes(&options)
        .iter()
        .map(|d| format!("{}:{}:{}", d.file, d.line, d.column))
        .collect();
    assert_eq!(
        places,
        ["services.yaml:2:34", "sub/over.yaml:3:14", "sub/over.yaml:4:12"]
    );
}

#[test]
fn every_file_that_is_not_yaml_is_reported() {
    let (_folder, options) = two_files("a: b: c\n", "x: [\n");
    let files: Vec<String> = mistakes(&options).iter().map(|d| d.file.clone()).collect();
    assert_eq!(files, ["services.yaml", "sub/over.yaml"]);
}

const PROFILES: &str = "\
services:
  a: {type: process, binary: sh, dependencies: [{service: b, required: false}]}
  b: {type: process, binary: sh, profiles: [debug, all], env: {X: \"${ONLY_IN_DEBUG}\"}}
  c: {type: process, binary: sh, profiles: [all]}
";

#[test]
fn profiles_choose_services() {
    let folder = Folder::new(PROFILES);
    let loaded = good(&folder.options());
    let names = |loaded: &harness_config::Loaded| -> Vec<String> {
        loaded.project.services.keys().map(ToString::to_string).collect()
    };
    assert_eq!(names(&loaded), ["a"]);
    assert_eq!(loaded.all_services.len(), 3);
    assert!(loaded.project.services["a"].dependencies.is_empty());
    let options = LoadOptions {
        profiles: ["debug".to_owned()].into(),
        ..folder.options_with(&[("ONLY_IN_DEBUG", "1")])
    };
    let loaded = good(&options);
    assert_eq!(names(&loaded), ["a", "b"]);
    assert_eq!(
        loaded.project.services["a"].dependencies[0].condition,
        Condition::Started
    );
}

#[test]
fn a_service_of_another_profile_is_still_read_for_mistakes_but_needs_no_variables() {
    let folder = Folder::new(&PROFILES.replace(
        "binary: sh, profiles: [all]",
        "binary: sh, profiles: [all], stdin: 3",
    ));
    assert_eq!(
        lines_of(&mistakes(&folder.options())),
        ["4:58 expected `true` or `false`, found the number `3`"]
    );
}

#[test]
fn the_environment_beats_the_dotenv_file() {
    let folder = Folder::new(
        "services:\n  a: {type: process, binary: sh, env: {A: \"${A}\", B: \"${B}\", C: \"${C:-c}\"}}\n",
    );
    folder.write(".env", "A=file\nB='file b'\nC=\n");
    let project = good(&folder.options_with(&[("A", "shell")])).project;
    let env: Vec<String> = project.services["a"]
        .env
        .values()
        .map(Template::to_string)
        .collect();
    assert_eq!(env, ["shell", "file b", "c"]);
}

#[test]
fn env_files_lie_under_env_and_are_taken_literally() {
    let folder = Folder::new(
        "services:\n  a: {type: process, binary: sh, env_file: [one.env, two.env], env: {C: env}}\n",
    );
    folder
        .write("one.env", "A=1\nB=1\nC=1\n")
        .write("two.env", "B=${x}\nMY_TOKEN=hunter2\n");
    let loaded = good(&folder.options());
    let env: Vec<String> = loaded.project.services["a"]
        .env
        .values()
        .map(Template::to_string)
        .collect();
    assert_eq!(env, ["1", "${x}", "env", "•••"]);
    assert!(loaded.missing_files.is_empty());
}

#[test]
fn validating_needs_no_file_to_exist() {
    let folder = Folder::new(
        "services:\n  a: {type: process, binary: ./nope, env_file: nope.env, files: [{template: nope, target: x}]}\n",
    );
    let loaded = good(&folder.options());
    let missing: Vec<String> = loaded
        .missing_files
        .iter()
        .map(|d| format!("{}:{}", d.line, d.column))
        .collect();
    assert_eq!(missing, ["2:48"]);
}

const TEMPLATES: &str = "\
services:
  a: {type: process, binary: sh, files: [{template: a.conf, target: out/a.conf}]}
  db: {type: process, binary: sh, ports: [5432], health_check: {tcp: 5432}}
";

#[test]
fn templates_are_read_at_start() {
    let folder = Folder::new(TEMPLATES);
    folder.write(
        "a.conf",
        "url=${db.ip}:${db.port}\nuser=${USER_NAME:-me}\npw=${DB_PASSWORD}\nkeep $host $$1\n",
    );
    folder.write(".env", "DB_PASSWORD=hunter2\n");
    let mut project = good(&folder.options()).project;
    load_files(&mut project, &environment(&[("USER_NAME", "you")])).unwrap();
    let a = &project.services["a"];
    let content = a.files[0].content.as_ref().unwrap();
    assert_eq!(
        content.to_string(),
        "url=${db.ip}:${db.port}\nuser=you\npw=•••\nkeep $host $1\n"
    );
    assert_eq!(a.dependencies.len(), 1);
    assert_eq!(a.dependencies[0].condition, Condition::Healthy);
}

#[test]
fn mistakes_in_templates_are_reported_and_change_nothing() {
    let folder = Folder::new(TEMPLATES);
    let before = good(&folder.options()).project;
    let mut project = before.clone();
    match load_files(&mut project, &environment(&[])) {
        Err(LoadError::Read { path, .. }) => assert_eq!(path, folder.path().join("a.conf")),
        other => panic!("{other:?}"),
    }
    folder.write("a.conf", "x\n  é ${NOPE} ${dc.ip} ${a.port}\n");
    match load_files(&mut project, &environment(&[])) {
        Err(LoadError::Invalid(diagnostics)) => {
            assert_eq!(
                lines_of(&diagnostics),
                [
                    "2:5 variable `NOPE` is not set",
                    "2:13 there is no service `dc` in the chosen profiles",
                    "2:22 the service `a` has no such port",
                ]
            );
            assert_eq!(diagnostics.iter().next().unwrap().file, "a.conf");
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(project, before);
}

#[test]
fn a_template_may_not_close_a_cycle() {
    let folder = Folder::new(
        "services:\n  a: {type: process, binary: sh, files: [{template: t, target: x}]}\n  b: {type: process, binary: sh, dependencies: [a]}\n",
    );
    folder.write("t", "${b.ip}");
    let mut project = good(&folder.options()).project;
    match load_files(&mut project, &environment(&[])) {
        Err(LoadError::Invalid(diagnostics)) => {
            assert_eq!(lines_of(&diagnostics), ["1:1 dependency cycle: a -> b -> a"]);
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn services_inherit_only_what_they_need() {
    let variables = environment(&[
        ("PATH", "p"),
        ("LC_ALL", "c"),
        ("XDG_X", "x"),
        ("FOO", "f"),
        ("BAR", "b"),
    ]);
    let inherited = |inherit: &str| -> Vec<String> {
        let text = format!(
            "services:\n  a: {{type: process, binary: sh, inherit_env: {inherit}}}\n  b: {{type: process, binary: sh}}\n"
        );
        let project = good(&Folder::new(&text).options()).project;
        inherited_environment(&project, &variables).into_keys().collect()
    };
    assert_eq!(inherited("false"), ["LC_ALL", "PATH", "XDG_X"]);
    assert_eq!(inherited("[FOO, NOPE]"), ["FOO", "LC_ALL", "PATH", "XDG_X"]);
    assert_eq!(inherited("true").len(), 5);
}

#[test]
fn a_project_is_the_same_by_every_way_to_its_file() {
    let folder = Folder::new("services: {a: {type: process, binary: ./x}}\n");
    std::os::unix::fs::symlink(folder.path(), folder.path().join("link")).unwrap();
    let by_link = LoadOptions {
        cwd: folder.path().join("link"),
        ..folder.options()
    };
    assert_eq!(good(&by_link).project, good(&folder.options()).project);
}
