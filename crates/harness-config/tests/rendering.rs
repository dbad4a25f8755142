//! The exact text of a mistake for people and for scripts, and what it never contains.

#![cfg(test)]

mod common;

use common::{Folder, mistakes};
use serde_json::json;

const TWO_MISTAKES: &str = "\
services:
  db:
    type: process
    binary: sh
    health_check:
      tcp: 5432
      retires: 3
    restart: on-failure
    restart: always
";

#[test]
fn mistakes_are_shown_with_their_source_lines() {
    let folder = Folder::new(TWO_MISTAKES);
    let expected = "\
error: unknown key `retires`
 --> services.yaml:7:7
  |
7 |       retires: 3
  |       ^^^^^^^ did you mean `retries`?

error: `restart` is written twice
 --> services.yaml:9:5
  |
9 |     restart: always
  |     ^^^^^^^
  |
 ::: services.yaml:8:5
  |
8 |     restart: on-failure
  |     ------- first written here
";
    assert_eq!(mistakes(&folder.options()).render(false), expected);
}

#[test]
fn colours_are_only_added() {
    let mistakes = mistakes(&Folder::new(TWO_MISTAKES).options());
    let colored = mistakes.render(true);
    assert!(colored.contains("\u{1b}[") && colored.contains("retires"));
    assert!(!mistakes.render(false).contains('\u{1b}'));
}

#[test]
fn scripts_get_the_same_as_json() {
    let mistakes = mistakes(&Folder::new(TWO_MISTAKES).options());
    assert_eq!(
        mistakes.to_json()[0],
        json!({
            "severity": "error",
            "file": "services.yaml",
            "line": 7,
            "column": 7,
            "message": "unknown key `retires`",
            "help": "did you mean `retries`?",
        })
    );
    assert_eq!(mistakes.len(), 2);
}

#[test]
fn a_mistake_at_the_end_of_the_file_is_shown() {
    for text in [
        "services:\n  a: [",
        "services:\r\n  a:\r\n    type: proces\r\n",
        "é: \"",
        "a: 'x\n\n",
    ] {
        let rendered = mistakes(&Folder::new(text).options()).render(false);
        assert!(rendered.contains("services.yaml:"), "{rendered}");
        assert!(!rendered.contains('\r'), "{rendered:?}");
    }
}

#[test]
fn literal_secrets_are_not_shown() {
    let text = "\
secrets: [MY_PIN]
services:
  a:
    type: process
    binary: sh
    env: {API_TOKEN: hunter2-a, X: true}
    bogus: {DB_PASSWORD: 'hunter2-b', MY_PIN: 77777}
  b:
    type: docker
    env: [\"DB_PASSWORD=hunter2-c\", oops]
    build: {args: {SECRET_SAUCE: \"hunter2-d ${UNDEFINED} hunter2-e\"}}
    image: x
  c: {type: process, env: {A_KEY: \"${UNDEFINED_KEY:?no} hunter2-f ${B_KEY:-hunter2-g}\", A_KEY: hunter2-h}}
";
    let rendered = mistakes(&Folder::new(text).options()).render(false);
    assert!(
        !rendered.contains("hunter2") && !rendered.contains("77777"),
        "{rendered}"
    );
    assert!(rendered.contains("env: {API_TOKEN: •••, X: true}"), "{rendered}");
    assert!(rendered.contains("••• ${UNDEFINED}•••"), "{rendered}");
    // The carets are below the right text although the line is shorter than in the file.
    let lines: Vec<&str> = rendered.lines().collect();
    let at = lines.iter().position(|line| line.contains("X: true}")).unwrap();
    let column =
        |line: &str, what: &str| line.chars().count() - line[line.find(what).unwrap()..].chars().count();
    assert_eq!(
        column(lines[at], "true}"),
        column(lines[at + 1], "^"),
        "{rendered}"
    );
}

#[test]
fn who_logs_in_by_a_url_is_not_shown() {
    let text = "\
services:
  a:
    type: process
    binary: sh
    args: [\"http://hunter2-a@host/x\", \"say 'db://u:hunter2-${UNDEFINED}-b@host' or c://d/e@f\"]
    health_check: {http: http://admin:hunter2-c@localhost:80/health}
  b: {type: process, binary: curl ftp://u:hunter2-d@host, bogus: 1}
";
    let rendered = mistakes(&Folder::new(text).options()).render(false);
    assert!(!rendered.contains("hunter2"), "{rendered}");
    assert!(rendered.contains("http://•••@host/x"), "{rendered}");
    assert!(
        rendered.contains("'db://•••${UNDEFINED}•••@host' or c://d/e@f"),
        "{rendered}"
    );
    assert!(rendered.contains("http://•••@localhost:80/health"), "{rendered}");
    assert!(rendered.contains("ftp://•••@host"), "{rendered}");
    let broken = Folder::new("services:\n  a: [http://u:hunter2-e@host\n");
    let rendered = mistakes(&broken.options()).render(false);
    assert!(!rendered.contains("hunter2"), "{rendered}");
}

#[test]
fn literal_secrets_of_a_file_that_is_not_yaml_are_not_shown() {
    let text = "services:\n  a:\n    env:\n      DB_PASSWORD: hunter2: x\n";
    let rendered = mistakes(&Folder::new(text).options()).render(false);
    assert!(
        rendered.contains("DB_PASSWORD:•••") && !rendered.contains("hunter2"),
        "{rendered}"
    );
}

#[test]
fn secrets_of_env_files_are_not_shown() {
    let folder = Folder::new("services:\n  a: {type: process, binary: sh, env_file: a.env}\n");
    folder.write("a.env", "A=\"hunter2\nhun ter2\nX Y=hunter2\n");
    folder.write(".env", "DB_PASSWORD='hunter2\n");
    let mistakes = mistakes(&folder.options());
    let places: Vec<String> = mistakes
        .iter()
        .map(|d| format!("{}:{}", d.file.rsplit('/').next().unwrap(), d.line))
        .collect();
    // What is wrong in .env is a warning where nothing uses it.
    assert_eq!(places, ["a.env:1", "a.env:2", "a.env:3"]);
    assert!(!mistakes.render(false).contains("ter2"));
}

#[test]
fn the_column_is_the_one_in_the_file_even_after_a_hidden_secret() {
    let text =
        "services:\n  a: {type: process, binary: sh, env: {MY_TOKEN: a-very-long-secret-value}, bogus: 1}\n";
    let mistakes = mistakes(&Folder::new(text).options());
    let column = text.lines().nth(1).unwrap().find("bogus").unwrap() + 1;
    assert!(
        mistakes
            .render(false)
            .contains(&format!("services.yaml:2:{column}\n")),
        "{mistakes}"
    );
}

#[test]
fn a_flood_of_mistakes_in_one_line_stays_readable() {
    let many: Vec<String> = (0..20_000).map(|n| format!("k{n}: \"${{V{n}}}\"")).collect();
    let text = format!(
        "services: {{a: {{type: process, binary: sh, env: {{{}}}}}}}\n",
        many.join(", ")
    );
    let mistakes = mistakes(&Folder::new(&text).options());
    assert_eq!(mistakes.len(), 500);
    assert!(mistakes.render(false).len() < 500 * 2000);
}

#[test]
fn a_large_value_full_of_variables_is_read_quickly() {
    let text = format!(
        "services: {{a: {{type: docker, image: x, labels: {{A: \"{}\"}}}}}}\n",
        "${X:-$${X} y}".repeat(100_000)
    );
    let began = std::time::Instant::now();
    common::good(&Folder::new(&text).options());
    assert!(began.elapsed().as_secs() < 20, "{:?}", began.elapsed());
}

#[test]
fn secrets_of_several_lines_and_behind_aliases_are_not_shown() {
    let text = "\
x-shared: {pin: &pin hunter2-a, bogus: [}
";
    let broken = mistakes(&Folder::new(text).options()).render(false);
    assert!(broken.contains("not valid YAML"), "{broken}");
    let text = "\
x-shared: {pin: &pin 'hunter2-a ${UNDEFINED}'}
services:
  a:
    type: process
    binary: sh
    env:
      DB_PASSWORD: *pin
      API_TOKEN: |
        hunter2-b
        hunter2-c ${UNDEFINED} hunter2-d
      A_KEY: hunter2-e
        ${UNDEFINED}   hunter2-f
      B_KEY: >-
        hunter2-g ${UNDEFINED}
      C_KEY: \"hunter2-h\\n ${UNDEFINED:?say it}\"
";
    let mistakes = mistakes(&Folder::new(text).options());
    let places: Vec<u32> = mistakes.iter().map(|d| d.line).collect();
    assert_eq!(places, [1, 10, 12, 14, 15]);
    let rendered = mistakes.render(false);
    assert!(!rendered.contains("hunter2"), "{rendered}");
    assert!(
        rendered.contains("\n15 |       C_KEY: ••• ${UNDEFINED"),
        "{rendered}"
    );
}
