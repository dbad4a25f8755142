//! The text of a services.yaml, of a compose file that it names, and of the files from which `init` makes one.

use std::path::{Path, PathBuf};

use harness_config::import::{from_compose, from_package_json, from_procfile};
use harness_config::{Diagnostics, LoadError, LoadOptions, Loaded, load};
use harness_model::secret::is_secret_name;
use harness_model::spec::{Kind, ServiceSpec};
use harness_model::{Part, ProjectSpec, Template};

use crate::folder;

pub(crate) const WORDS: &[&str] = &[
    "services:\n  a:\n    type: process\n    binary: sh\n",
    "services:\n  a:\n    image: x\n",
    "  c: {type: compose, file: services.yaml, service: a}\n",
    "    environment: [A, B=$A_KEY, \"C=${EMPTY:-${A_KEY-x}}\"]\n",
    "    depends_on: {b: {condition: service_completed_successfully, restart: true}}\n",
    "    networks: {n: {ipv4_address: 10.1.1.2, aliases: [x]}}\n",
    "networks: {n: {ipam: {config: [{subnet: 10.1.1.0/24}]}}, m: {external: true}}\n",
    "    volumes: [v:/v, ./x:/x:ro, {type: tmpfs, target: /t}]\nvolumes: {v: {name: $A}}\n",
    "    ports: [\"80-81:90-91/udp\", \"${A}:2\", {target: 3}]\n",
    "    healthcheck: {test: [CMD-SHELL, x], interval: 1s}\n",
    "    deploy: {resources: {limits: {cpus: 1, memory: 5mb}}}\n",
    "    build: {context: ., args: [A]}\n    command: a \"b c\"\n",
    "  b: {type: docker, image: x}\n",
    "networks:\n  n: {type: lan, nodes: [{host: h}]}\n",
    "secrets: [A, B]\n",
    "    env:\n      A_KEY: ${A_KEY}\n",
    "    env: [A=1, \"B_TOKEN=${A_KEY}\"]\n",
    "    args: [\"${b.ip}:${b.port}\"]\n",
    "    ports: [5432, \"53/udp\", {name: x, port: 0}]\n",
    "    dependencies: [b, {service: b, condition: healthy}]\n",
    "    health_check: {tcp: \"localhost:1\"}\n",
    "    startup_timeout: 1h30m\n",
    "    logs: {max_size: 1k, max_files: 2}\n",
    "    files: [{template: t, target: x}]\n",
    "    restart: always\n",
    "    profiles: [p]\n",
    "${A}",
    "${A_KEY}",
    "${NO:-${A:-x}}",
    "${NO:?y}",
    "${",
    "$$",
    "${a.ip}",
    "&x ",
    "*x",
    "<<: *x",
    "|\n  ",
    ">-\n  ",
    "? ",
    "- ",
    ": ",
    "# ",
    "---\n",
    "...\n",
    "!!str ",
    "%YAML 1.2\n",
    "\"\\u00e9\\x41\\ud83d\"",
    "'",
    "\"",
    "\t",
    "\r\n",
    "\u{feff}",
    "\u{85}",
    "\u{2028}",
    "é",
    "\u{1F600}",
    "[",
    "]",
    "{",
    "}",
    ", ",
    "~",
    ".inf",
    "0x10",
    "1e999",
    "A_PASSWORD",
];

/// A value that no input contains by chance.
const SECRET: &str = "c0rrect-h0rse-battery";

/// A file is a project, or it is wrong at places inside it. Each reading must give the same result.
pub(crate) fn check(data: &[u8]) {
    folder::with(|folder| {
        project(folder, data);
        composed(folder, data);
        if let Ok(text) = std::str::from_utf8(data) {
            for made in [
                from_compose(text).ok(),
                from_procfile(text, None).ok(),
                from_package_json(text).ok(),
            ]
            .into_iter()
            .flatten()
            {
                imported(folder, &made);
            }
        }
    });
}

/// The options for loading. The variables' names decide which values are secret.
pub(crate) fn options(folder: &Path) -> LoadOptions {
    let variables = [("A", "1"), ("A_KEY", SECRET), ("EMPTY", ""), ("DOLLARS", "$${A}")];
    LoadOptions {
        files: vec![PathBuf::from("services.yaml")],
        environment: variables.map(|(k, v)| (k.to_owned(), v.to_owned())).into(),
        home: Some(PathBuf::from("/home/someone")),
        cwd: folder.to_path_buf(),
        ..LoadOptions::default()
    }
}

/// The value of the secret variable of [`options`], unless the input contains it too.
fn unseen_secret(text: &str) -> Option<&'static str> {
    (!text.contains(SECRET)).then_some(SECRET)
}

fn project(folder: &Path, data: &[u8]) {
    std::fs::write(folder.join("services.yaml"), data).unwrap();
    let options = options(folder);
    let first = load(&options);
    let Ok(text) = std::str::from_utf8(data) else {
        assert!(matches!(first, Err(LoadError::Read { .. })));
        return;
    };
    match (first, load(&options)) {
        (Ok(first), Ok(second)) => {
            assert_eq!(first.project, second.project);
            assert_eq!(first.warnings, second.warnings);
            loaded(&first, text);
        }
        (Err(LoadError::Invalid(first)), Err(LoadError::Invalid(second))) => {
            assert_eq!(first, second);
            assert!(!first.is_empty());
            diagnostics(&first, "services.yaml", text);
        }
        (first, second) => panic!("{first:?}\n{second:?}"),
    }
}

/// A compose file gives some services, or it is wrong at places inside it. Each reading must give the same result.
fn composed(folder: &Path, data: &[u8]) {
    const SERVICES: &str = "services: {all-of-it: {type: compose, file: stack.yml}}\n";
    std::fs::write(folder.join("stack.yml"), data).unwrap();
    std::fs::write(folder.join("services.yaml"), SERVICES).unwrap();
    let options = options(folder);
    let Ok(text) = std::str::from_utf8(data) else {
        assert!(matches!(load(&options), Err(LoadError::Invalid(_))));
        return;
    };
    match (load(&options), load(&options)) {
        (Ok(first), Ok(second)) => {
            assert_eq!(first.project, second.project);
            assert_eq!(first.warnings, second.warnings);
            specified(&first, text);
        }
        (Err(LoadError::Invalid(first)), Err(LoadError::Invalid(second))) => {
            assert_eq!(first, second);
            // Messages about an empty file are placed in the file that names it.
            if first.iter().all(|diagnostic| diagnostic.file == "stack.yml") {
                diagnostics(&first, "stack.yml", text);
            }
        }
        (first, second) => panic!("{first:?}\n{second:?}"),
    }
}

/// Every mistake has a place in the text, can be shown, and does not show a secret.
pub(crate) fn diagnostics(diagnostics: &Diagnostics, file: &str, text: &str) {
    let lines: Vec<&str> = text.split('\n').collect();
    for diagnostic in diagnostics {
        assert_eq!(diagnostic.file, file);
        let line = lines.get((diagnostic.line as usize).wrapping_sub(1));
        let Some(line) = line else {
            panic!("line {} of {}: {diagnostic:?}", diagnostic.line, lines.len());
        };
        let columns = line.chars().count() + 1;
        assert!(
            (1..=columns).contains(&(diagnostic.column as usize)),
            "column {} of {columns}: {diagnostic:?}",
            diagnostic.column
        );
        assert!(!diagnostic.message.is_empty());
    }
    let shown = diagnostics.render(true) + &diagnostics.render(false) + &diagnostics.to_json().to_string();
    if let Some(secret) = unseen_secret(text) {
        assert!(!shown.contains(secret), "{shown}");
    }
    let json = diagnostics.to_json();
    assert_eq!(json.as_array().map(Vec::len), Some(diagnostics.len()));
}

fn loaded(loaded: &Loaded, text: &str) {
    diagnostics(&loaded.warnings, "services.yaml", text);
    specified(loaded, text);
}

fn specified(loaded: &Loaded, text: &str) {
    loaded.missing_files.render(true);
    let project = &loaded.project;
    let json = serde_json::to_string(project).unwrap();
    let again: ProjectSpec = serde_json::from_str(&json).unwrap();
    assert_eq!(&again, project);
    if let Some(secret) = unseen_secret(text) {
        assert!(!format!("{project:?}").contains(secret));
    }
    for (name, service) in &project.services {
        assert!(loaded.all_services.contains(name));
        assert_eq!(again.services[name].digest(), service.digest());
        for dependency in service.dependencies.iter().filter(|d| d.required) {
            assert!(project.services.contains_key(&dependency.service));
        }
        secrets(project, service, text);
        resolved(service);
    }
}

/// A secret must be marked as one, and must not be in an argument.
fn secrets(project: &ProjectSpec, service: &ServiceSpec, text: &str) {
    for (name, value) in &service.env {
        if is_secret_name(name) || project.secrets.contains(name) {
            let plain = |part: &Part| matches!(part, Part::Text(_));
            assert!(!value.parts().iter().any(plain), "{name} is not secret");
        }
    }
    for template in service.templates() {
        for part in template.parts() {
            if let (Part::Text(part), Some(secret)) = (part, unseen_secret(text)) {
                assert!(!part.contains(secret));
            }
        }
    }
    let words: Vec<&Template> = match &service.kind {
        Kind::Process(p) => p.args.iter().collect(),
        Kind::Container(d) => d.command.iter().chain(&d.entrypoint).flatten().collect(),
        Kind::Package(p) => p.args.iter().collect(),
        Kind::Other { settings, .. } => settings.templates(),
    };
    assert!(!words.iter().any(|word| word.has_secret()));
}

/// Resolving must replace the references and nothing else.
fn resolved(service: &ServiceSpec) {
    let resolved = service
        .resolve(|reference| Ok::<_, ()>(format!("<{}>", reference.service)))
        .unwrap();
    assert!(resolved.templates().iter().all(|t| t.references().count() == 0));
    assert_eq!(resolved.secrets(), service.secrets());
    let references: usize = service.templates().iter().map(|t| t.references().count()).sum();
    assert_eq!(resolved.digest() == service.digest(), references == 0);
    assert_eq!(service.templates().len(), resolved.templates().len());
}

/// What `init` makes must at least be readable as YAML.
fn imported(folder: &Path, text: &str) {
    std::fs::write(folder.join("services.yaml"), text).unwrap();
    if let Err(LoadError::Invalid(found)) = load(&options(folder)) {
        for diagnostic in &found {
            assert!(
                !diagnostic.message.starts_with("not valid YAML"),
                "{}\n{text}",
                diagnostic.message
            );
        }
        diagnostics(&found, "services.yaml", text);
    }
}
