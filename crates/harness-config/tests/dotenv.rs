//! The `.env` beside services.yaml: read as Docker Compose reads it, and no obstacle where it is not used.

#![cfg(test)]

mod common;

use common::{Folder, good, mistakes};
use harness_config::{LoadOptions, Loaded};

/// A service whose `V` is this template, beside this `.env`.
fn folder(template: &str, dotenv: &str) -> Folder {
    let folder = Folder::new(&format!(
        "services:\n  a: {{type: process, binary: sh, env: {{V: '{template}'}}}}\n"
    ));
    folder.write(".env", dotenv);
    folder
}

fn options(folder: &Folder) -> LoadOptions {
    folder.options_with(&[("SHELL_VAR", "shell"), ("DB_PASSWORD", "hunter2")])
}

fn exposed(loaded: &Loaded) -> String {
    loaded.project.services["a"].env["V"].expose().unwrap()
}

/// What `${A}` is.
fn value(dotenv: &str) -> String {
    exposed(&good(&options(&folder("${A}", dotenv))))
}

#[test]
fn values_are_those_that_compose_reads() {
    let pem = "-----BEGIN KEY-----\nMIIE+a/b==\n-----END KEY-----";
    for (dotenv, expected) in [
        (format!("B=1\nA=\"{pem}\"\nC=2\n"), pem),
        (format!("A='{pem}\n' # the key\n"), &format!("{pem}\n")),
        ("A= # note\n".to_owned(), ""),
        ("A=\t# note\n".to_owned(), ""),
        ("A=x# no note\n".to_owned(), "x# no note"),
        ("export A=1\n".to_owned(), "1"),
        ("my.key=1\nmy-key=2\n1st=3\nA=4\n".to_owned(), "4"),
        ("SHELL_VAR\nA=5\n".to_owned(), "5"),
        ("A=\"a\\tb\\\\n\\\"\"\n".to_owned(), "a\tb\\n\""),
        ("A='a\\tb'\r\nB=1\r\n".to_owned(), "a\\tb"),
        ("A: yaml\n".to_owned(), "yaml"),
        ("B=b\nA=${B}-$SHELL_VAR-${NONE:-c}\n".to_owned(), "b-shell-c"),
        ("B=b\nA='${B}'\n".to_owned(), "${B}"),
        ("A=\"\\${B}\" \n".to_owned(), "${B}"),
    ] {
        assert_eq!(value(&dotenv), expected, "{dotenv}");
    }
}

#[test]
fn a_name_alone_is_the_variable_of_the_environment() {
    let loaded = good(&options(&folder(
        "${SHELL_VAR}${NOT_SET:-}",
        "SHELL_VAR\nNOT_SET\n",
    )));
    assert_eq!(exposed(&loaded), "shell");
    assert!(loaded.warnings.is_empty(), "{}", loaded.warnings);
}

#[test]
fn what_is_made_of_a_secret_is_one() {
    let folder = folder("${URL}", "URL=pg://u:${DB_PASSWORD}@h\n");
    let loaded = good(&options(&folder));
    assert_eq!(exposed(&loaded), "pg://u:hunter2@h");
    assert_eq!(loaded.project.services["a"].env["V"].to_string(), "•••");
}

#[test]
fn a_line_that_cannot_be_read_is_a_mistake_only_where_it_is_used() {
    for (line, reason) in [
        ("A='open", "a quote in the value of `A` is not closed"),
        ("A=\"x\" y", "text follows the closing quote of `A`"),
        ("A=${GONE:?say it}", "variable `GONE` is not set: say it"),
        ("A=${open", "this `${` has no `}`"),
        ("A=${db.ip}", "`${db…}` is not understood after the name"),
        ("A=a\0b", "a NUL is not allowed here"),
    ] {
        let dotenv = format!("B=1\n{line}\n");
        let loaded = good(&options(&folder("${B}", &dotenv)));
        assert_eq!(exposed(&loaded), "1");
        let warned: Vec<String> = loaded
            .warnings
            .iter()
            .map(|d| format!("{}:{} {}", d.file, d.line, d.message))
            .collect();
        assert_eq!(warned, [format!(".env:2 {reason}")], "{line}");

        for template in ["${A}", "${A:-x}"] {
            let told = mistakes(&options(&folder(template, &dotenv)));
            let told: Vec<String> = told.iter().map(|d| d.message.clone()).collect();
            assert_eq!(
                told,
                [format!("variable `A` cannot be read: {reason} (.env:2:1)")],
                "{line}"
            );
        }

        let folder = folder("${A}", &dotenv);
        let mut set = options(&folder);
        set.environment.insert("A".to_owned(), "of the shell".to_owned());
        assert_eq!(exposed(&good(&set)), "of the shell");
    }
}

#[test]
fn a_line_that_is_not_utf_8_is_a_mistake_only_where_it_is_used() {
    let latin = b"# f\xfcr B\nB=1 # m\xfcller\nA=M\xfcnchen\nC=2\n";
    let folder_of = |template: &str, bytes: &[u8]| {
        let folder = folder(template, "");
        std::fs::write(folder.path().join(".env"), bytes).unwrap();
        folder
    };
    let loaded = good(&options(&folder_of("${C}", latin)));
    assert_eq!(exposed(&loaded), "2");
    let shown = loaded.warnings.render(false);
    assert!(
        shown.contains(".env:3") && shown.contains("this is not UTF-8"),
        "{shown}"
    );
    assert!(!shown.contains("nchen"), "{shown}");
    let told = mistakes(&options(&folder_of("${A}", latin)));
    let told: Vec<&str> = told.iter().map(|d| d.message.as_str()).collect();
    assert_eq!(
        told,
        ["variable `A` cannot be read: this is not UTF-8 (.env:3:1)"]
    );
}

#[test]
fn a_file_in_utf_16_is_read() {
    let big: Vec<u8> = "\u{feff}A=grün 😀\r\nB=1\r\n"
        .encode_utf16()
        .flat_map(u16::to_be_bytes)
        .collect();
    let little: Vec<u8> = big.chunks(2).flat_map(|pair| [pair[1], pair[0]]).collect();
    // Half a character at the end.
    let torn = [little.as_slice(), b"#"].concat();
    for bytes in [big, little, torn] {
        let folder = folder("${A}${B}", "");
        std::fs::write(folder.path().join(".env"), bytes).unwrap();
        let loaded = good(&options(&folder));
        assert_eq!(exposed(&loaded), "grün 😀1");
        assert!(loaded.warnings.is_empty(), "{}", loaded.warnings);
    }
}

#[test]
fn a_line_that_names_nothing_is_a_warning_that_shows_no_value() {
    let loaded = good(&options(&folder("x", "hunter3 hunter4\nA B=hunter5\n=hunter6\n")));
    let shown = loaded.warnings.render(false);
    assert_eq!(loaded.warnings.len(), 3, "{shown}");
    assert!(!shown.contains("hunter"), "{shown}");
}

#[test]
fn a_folder_of_that_name_is_passed_over() {
    let folder = Folder::new("services:\n  a: {type: process, binary: sh, env: {V: '${SHELL_VAR}'}}\n");
    folder.write(".env/bin/activate", "");
    let loaded = good(&options(&folder));
    assert_eq!(exposed(&loaded), "shell");
    assert!(loaded.warnings.is_empty(), "{}", loaded.warnings);
}

#[test]
fn an_env_file_of_a_service_is_read_the_same_way_but_for_its_dollars() {
    let folder = Folder::new("services:\n  a: {type: process, binary: sh, env_file: a.env, env: {V: ''}}\n");
    folder.write(
        "a.env",
        "PEM='l1\nl2'\nEMPTY= # note\nmy.name=1\nSHELL_VAR\nDB_PASSWORD\nNOT_SET\nRAW=${x} $y\n",
    );
    let loaded = good(&options(&folder));
    let env: Vec<String> = loaded.project.services["a"]
        .env
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    assert_eq!(
        env,
        [
            "DB_PASSWORD=•••",
            "EMPTY=",
            "PEM=l1\nl2",
            "RAW=${x} $y",
            "SHELL_VAR=shell",
            "V=",
            "my.name=1"
        ]
    );
}
