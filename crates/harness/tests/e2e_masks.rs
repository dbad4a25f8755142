//! What Harness hides and what it does not: secrets in text that others write, in every form, but never Harness's own
//! words.

#![cfg(test)]

mod common;

use common::{Output, Sandbox};

/// Secrets whose values are words that Harness uses.
const COMMON: &str = r#"
name: shop
secrets: [STATE_WORD]
services:
  postgres:
    type: process
    binary: sh
    args: [-c, 'echo "postgres exited, false, healthy: warehouse"; exec sleep 1000']
    env: {POSTGRES_PASSWORD: postgres, A_KEY: exited, TOKENIZERS_PARALLELISM: "false", PIN_SECRET: "42"}
  warehouse:
    type: process
    binary: sh
    args: [-c, 'exit 3']
    env: {DB_PASSWORD: warehouse, NEXT_TOKEN: failed}
    dependencies: [postgres]
  shop-front:
    type: process
    binary: sleep
    args: [1000]
    env: {FRONT_CREDENTIALS: warehouse, STATE_WORD: "${STATE_WORD}"}
    dependencies: [{service: warehouse, condition: started}]
    health_check: {command: "false", interval: 1}
    startup_timeout: 1
"#;

#[test]
fn its_own_words_are_never_hidden() {
    let mut sandbox = Sandbox::with_file("own_words", COMMON);
    sandbox.set_env("STATE_WORD", "dependency");
    let start = sandbox.harness(&["start"]).code(18);
    let mut told = vec![start.stderr.clone()];
    assert!(
        start.stderr.contains("✗ warehouse failed: exited 3 after "),
        "{start}"
    );
    for args in [
        &["status"][..],
        &["why", "warehouse"],
        &["why", "shop-front"],
        &["graph"],
        &["--json", "status"],
        &["start", "--dry-run"],
        &["logs"],
    ] {
        let output: Output = sandbox.harness(args);
        told.extend([output.stdout, output.stderr]);
    }
    for text in told {
        assert!(!text.contains("•••"), "{text}");
    }
    sandbox
        .ok(&["why", "shop-front"])
        .says("warehouse")
        .says("exited 3");
    sandbox
        .ok(&["logs", "postgres"])
        .says("postgres exited, false, healthy: warehouse");
    // Where Harness itself shows the variable, each is hidden, whatever its value.
    let shown = sandbox.json(&["service", "show", "postgres"]).to_string();
    for name in ["POSTGRES_PASSWORD", "A_KEY", "PIN_SECRET"] {
        assert!(shown.contains(&format!("\"{name}\":\"•••\"")), "{name}: {shown}");
    }
    assert!(shown.contains("\"TOKENIZERS_PARALLELISM\":\"false\""), "{shown}");
    let validated = sandbox.ok(&["validate"]);
    for note in [
        "note: the value of POSTGRES_PASSWORD (postgres) is a common word, or a name in this file, so it \
            is not hidden in output",
        "note: the value of DB_PASSWORD (warehouse) is a common word",
        "note: the value of PIN_SECRET (postgres) is very short",
    ] {
        assert!(validated.stderr.contains(note), "{validated}");
    }
    assert!(!validated.stderr.contains("STATE_WORD"), "{validated}");
}

const ODD: &str = "grün\"quagga/7?>a+b c&d<e'f";

/// How programs write that in JSON and in URLs.
const FORMS: &[&str] = &[
    r#"{"password": "grün\"quagga/7?>a+b c&d<e'f"}"#,
    r#"{"password": "gr\u00fcn\"quagga/7?>a+b c&d<e'f"}"#,
    r#"{"password": "gr\u00FCn\"quagga/7?>a+b c&d<e'f"}"#,
    r#"{"password": "gr\u00fcn\"quagga\/7?>a+b c&d<e'f"}"#,
    r#"{"password": "grün\"quagga/7?\u003ea+b c\u0026d\u003ce'f"}"#,
    "postgres://app:gr%C3%BCn%22quagga%2F7%3F%3Ea%2Bb%20c%26d%3Ce%27f@localhost/db",
    "postgres://app:gr%c3%bcn%22quagga%2f7%3f%3ea%2bb%20c%26d%3ce%27f@localhost/db",
    "GET /gr%C3%BCn%22quagga/7%3F%3Ea%2Bb%20c%26d%3Ce%27f",
    "GET /?q=gr%C3%BCn%22quagga%2F7%3F%3Ea%2Bb+c%26d%3Ce%27f",
    "GET /?q=gr%C3%BCn%22quagga%2F7%3F%3Ea%2Bb%20c%26d%3Ce'f",
];

/// Prints it in all of these forms, and in base64 at every offset.
const SAY: &str = r#"
printf '%s\n' "$ODD_SECRET"
cat forms
for before in '' u: us: user:; do
  printf 'Basic '; printf '%s' "$before$ODD_SECRET:after" | base64 -w 0; echo
  printf 'Basic '; printf '%s' "$before$ODD_SECRET:after" | base64 -w 0 | tr '+/' '-_'; echo
done
echo "$OTHERS"
"#;

#[test]
fn every_form_of_a_secret_is_hidden_wherever_others_say_it() {
    let mut sandbox = Sandbox::with_file(
        "forms",
        r#"
services:
  keeper:
    type: process
    binary: sleep
    args: [1000]
    env: {KEEPER_PASSWORD: "${KEEPER_PASSWORD}"}
  talker:
    type: process
    binary: sh
    args: [-c, 'sh say.sh; echo said; exec sleep 1000']
    env: &all {ODD_SECRET: "${ODD_SECRET}", OTHERS: "${COPY_SECRET}"}
    health_check: {log: said}
  failing:
    type: process
    binary: sh
    args: [-c, 'sh say.sh >&2; exit 3']
    env: *all
  unhealthy:
    type: process
    binary: sleep
    args: [1000]
    env: *all
    startup_timeout: 1
    health_check: {command: [sh, -c, 'sh say.sh | tr "\n" " "; exit 1'], interval: 1}
  refused:
    type: process
    binary: sleep
    args: [1000]
    env: *all
    hooks: {before_start: [sh, -c, 'sh say.sh | tr "\n" " "; exit 1']}
  from-a-file:
    type: process
    binary: sh
    args: [-c, 'cat stolen; exit 4']
    hooks: {before_start: [sh, -c, 'cat stolen >&2; exit 5']}
"#,
    );
    sandbox.set_env("ODD_SECRET", ODD);
    sandbox.set_env("KEEPER_PASSWORD", "quagga-keeper-4451");
    sandbox.set_env("COPY_SECRET", "quagga-copied-9917");
    sandbox.write("say.sh", SAY);
    sandbox.write("forms", &format!("{}\n", FORMS.join("\n")));
    // Another service's secret, which this one does not have.
    sandbox.write("stolen", "it is quagga-keeper-4451\n");
    let mut told = Vec::new();
    let start = sandbox.harness(&["start", "--report", "out"]).code(18);
    told.push(start.stderr);
    for name in ["talker", "failing", "unhealthy", "refused", "from-a-file"] {
        for args in [
            &["logs", name][..],
            &["why", name],
            &["--json", "why", name],
            &["status", name],
        ] {
            let output = sandbox.harness(args);
            told.extend([output.stdout, output.stderr]);
        }
    }
    told.push(sandbox.read("out/junit.xml"));
    told.push(sandbox.read("out/report.json"));
    for log in ["talker", "failing"] {
        told.push(sandbox.read(&format!("out/logs/{log}.log")));
    }
    told.push(std::fs::read_to_string(sandbox.home().join("logs/daemon.log")).unwrap_or_default());
    // The middle of every form of it; base64 has three forms.
    let pieces = [
        "quagga",
        "cXVhZ2dh",
        "F1YWdnY",
        "xdWFnZ2",
        "copied-9917",
        "keeper-4451",
    ];
    for text in &told {
        for piece in pieces {
            assert!(!text.contains(piece), "{piece} in\n{text}");
        }
    }
    let logs = sandbox.ok(&["logs", "talker"]).stdout;
    let hidden = |text: &str| logs.matches(text).count();
    assert_eq!(hidden(r#"{"password": "•••"}"#), 5, "{logs}");
    assert_eq!(hidden("postgres://app:•••@localhost/db"), 2, "{logs}");
    assert_eq!(hidden("GET /?q=•••"), 2, "{logs}");
    assert_eq!(hidden("Basic "), 8, "{logs}");
    assert!(logs.contains("said"), "{logs}");
}

#[test]
fn a_variable_that_is_no_longer_taken_for_a_secret_replaces_nothing() {
    let sandbox = Sandbox::with_file(
        "reclassified",
        "secrets: [LEVEL]\nservices:\n  api: {type: process, binary: sleep, args: [1000], env: {LEVEL: loud, OTHER: '1'}}\n",
    );
    sandbox.ok(&["start"]);
    let pid = sandbox.pid("api");
    for (from, to) in [
        ("secrets: [LEVEL]\n", ""),
        ("services:", "secrets: [OTHER]\nservices:"),
    ] {
        sandbox.replace("services.yaml", from, to);
        for _ in 0..2 {
            sandbox.ok(&["start"]);
            assert_eq!(sandbox.pid("api"), pid);
        }
    }
    let shown = sandbox.json(&["service", "show", "api"]).to_string();
    assert!(
        shown.contains("\"LEVEL\":\"loud\"") && shown.contains("\"OTHER\":\"•••\""),
        "{shown}"
    );
    sandbox.replace("services.yaml", "loud", "quiet");
    sandbox.ok(&["start"]).tells("LEVEL changed");
    assert_ne!(sandbox.pid("api"), pid);
}
