//! Env files of compose files, and the `.env` beside one, are read by the rules of Docker Compose.

#![cfg(test)]

mod common;

use common::{Folder, good, mistakes};
use harness_config::{LoadOptions, Loaded};

const ALL: &str = "services:\n  stack: {type: compose, file: stack/compose.yml}\n";

/// A compose file with a service `a` that has these env files and this environment.
fn folder(environment: &str, files: &[(&str, &str)]) -> Folder {
    let folder = Folder::new(ALL);
    let names: Vec<&str> = files
        .iter()
        .map(|(name, _)| *name)
        .filter(|name| *name != ".env")
        .collect();
    let compose = format!(
        "services:\n  a:\n    image: x\n    env_file: [{}]\n    environment: {{{environment}}}\n",
        names.join(", ")
    );
    folder.write("stack/compose.yml", &compose);
    for (name, text) in files {
        folder.write(&format!("stack/{name}"), text);
    }
    folder
}

fn options(folder: &Folder) -> LoadOptions {
    folder.options_with(&[("SHELL_VAR", "shell"), ("DB_PASSWORD", "hunter2"), ("EMPTY", "")])
}

/// The variables of `a`, in the form that may be shown.
fn env(loaded: &Loaded) -> Vec<String> {
    let env = loaded.project.services["a"].env.iter();
    env.map(|(name, value)| format!("{name}={value}")).collect()
}

fn warnings(loaded: &Loaded) -> Vec<String> {
    let warnings = loaded.warnings.iter();
    warnings
        .map(|w| format!("{}:{} {}", w.file, w.line, w.message))
        .collect()
}

#[test]
fn values_have_variables_unless_they_are_in_single_quotes() {
    let folder = folder(
        "",
        &[(
            "a.env",
            "A=${SHELL_VAR}-$SHELL_VAR\nB=\"<${SHELL_VAR}>\"\nC='${SHELL_VAR} $A'\nD=${NONE:-${A}}\nE=${EMPTY-x}${EMPTY:-y}${SHELL_VAR:+z}\nF=$$A \\$\nG=\"\\$A\"\nSHELL_VAR\nNONE\nH=\"two\nlines of $A\"\n",
        )],
    );
    let loaded = good(&options(&folder));
    assert_eq!(
        env(&loaded),
        [
            "A=shell-shell",
            "B=<shell>",
            "C=${SHELL_VAR} $A",
            "D=shell-shell",
            "E=yz",
            "F=$A \\$",
            "G=$A",
            "H=two\nlines of shell-shell",
            "SHELL_VAR=shell"
        ]
    );
    assert!(loaded.warnings.is_empty(), "{}", loaded.warnings);
}

#[test]
fn the_environment_beats_the_dotenv_file_the_service_and_earlier_lines() {
    let folder = folder(
        "C: service, D: service",
        &[
            (
                ".env",
                "SHELL_VAR=dotenv\nB=dotenv\nC=dotenv\nOF_SHELL=<${SHELL_VAR}>\nOF_FILE=<${B}>\n",
            ),
            (
                "one.env",
                "SHELL_VAR=line\nB=line\nD=line\nE=line\nE=later\nALL=$SHELL_VAR $B $C $D $E $OF_SHELL $OF_FILE\n",
            ),
            ("two.env", "F=${E:-of another file}\n"),
        ],
    );
    let loaded = good(&options(&folder));
    assert_eq!(
        env(&loaded),
        [
            "ALL=shell dotenv dotenv service later <shell> <dotenv>",
            "B=line",
            "C=service",
            "D=service",
            "E=later",
            "F=of another file",
            "SHELL_VAR=line"
        ]
    );
}

#[test]
fn what_is_made_of_a_secret_is_one() {
    let folder = folder(
        "FROM_DOTENV: \"${MADE}\"",
        &[
            (".env", "MADE=x${DB_PASSWORD}\n"),
            (
                "a.env",
                "URL=pg://u:${DB_PASSWORD}@h\nCOPY=<$URL>\nMY_TOKEN=$SHELL_VAR\nDB_PASSWORD\nPLAIN=$SHELL_VAR\n",
            ),
        ],
    );
    let loaded = good(&options(&folder));
    assert_eq!(
        env(&loaded),
        [
            "COPY=<•••>",
            "DB_PASSWORD=•••",
            "FROM_DOTENV=•••",
            "MY_TOKEN=•••",
            "PLAIN=shell",
            "URL=pg://u:•••@h"
        ]
    );
    let copy = loaded.project.services["a"].env["COPY"].expose().unwrap();
    assert_eq!(copy, "<pg://u:hunter2@h>");
}

#[test]
fn what_is_wrong_is_told_at_its_line_and_never_shows_a_secret() {
    let folder = folder(
        "",
        &[
            (".env", "A=${NOT_THERE}\n"),
            (
                "a.env",
                "# c\nA=${GONE}\nMY_TOKEN=hunter$two\nB=${GONE:?say it}\nC=${open\nD=${x.ip}\nMY_KEY=${hunter3:?hunter4}\nE='open\n",
            ),
        ],
    );
    let mistakes = mistakes(&options(&folder));
    let told: Vec<String> = mistakes
        .iter()
        .map(|d| format!("{}:{} {}", d.file, d.line, d.message))
        .collect();
    assert_eq!(
        told,
        [
            "stack/a.env:4 variable `GONE` is not set: say it",
            "stack/a.env:5 this `${` has no `}`",
            "stack/a.env:6 `${x…}` is not understood after the name",
            "stack/a.env:7 a `$` in the value of `MY_KEY` names a variable that is not set, or has no meaning",
            "stack/a.env:8 a quote in the value of `E` is not closed",
        ]
    );
    let shown = mistakes.render(false);
    assert!(!shown.contains("hunter"), "{shown}");
}

#[test]
fn a_variable_that_is_not_set_is_empty_and_told_once() {
    let folder = folder(
        "",
        &[
            (".env", "A=<${NOT_THERE}>\n"),
            ("a.env", "B=<$GONE>\nMY_TOKEN=x$two\n"),
        ],
    );
    folder.write(
        "stack/compose.yml",
        "services:\n  a: {image: x, env_file: [.env, a.env]}\n  b: {image: x, env_file: [.env, a.env]}\n",
    );
    let loaded = good(&options(&folder));
    assert_eq!(env(&loaded), ["A=<>", "B=<>", "MY_TOKEN=•••"]);
    assert_eq!(
        warnings(&loaded),
        [
            "stack/.env:1 variable `NOT_THERE` is not set: it is empty here",
            "stack/a.env:1 variable `GONE` is not set: it is empty here",
            "stack/a.env:2 a `$` in the value of `MY_TOKEN` names a variable that is not set, or has no meaning",
        ]
    );
}

#[test]
fn an_env_file_of_services_yaml_stays_literal_beside_one() {
    let folder = folder("", &[("a.env", "A=$SHELL_VAR\n")]);
    folder.write("b.env", "A=$SHELL_VAR\n");
    folder.write(
        "services.yaml",
        "services:\n  a: {type: compose, file: stack/compose.yml, service: a, env_file: b.env}\n",
    );
    assert_eq!(env(&good(&options(&folder))), ["A=$SHELL_VAR"]);
}
