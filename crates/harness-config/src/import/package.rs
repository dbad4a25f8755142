//! package.json: what its script for development runs, side by side.
//!
//! | the script | becomes |
//! |---|---|
//! | `concurrently "npm:api" "vite"` | a service for each command |
//! | `npm-run-all -p api "watch:*"`, `run-p api web` | a service for each script |
//! | anything else | one service |

use std::collections::BTreeSet;

use harness_model::ProjectName;
use serde_json::{Map, Value};

use super::emit::{self, Lines, quoted, scalar};
use super::{ImportError, header, in_shell, service_name, unique};

/// The scripts that are tried, in this order.
const SCRIPTS: [&str; 4] = ["dev", "start", "serve", "watch"];

/// The options of `concurrently` that a value follows, but for the names.
const WITH_VALUE: [&str; 24] = [
    "-c",
    "--prefix-colors",
    "-p",
    "--prefix",
    "-l",
    "--prefix-length",
    "-t",
    "--timestamp-format",
    "-m",
    "--max-processes",
    "-s",
    "--success",
    "-P",
    "--name-separator",
    "--restart-tries",
    "--restart-after",
    "--hide",
    "--teardown",
    "--default-input-target",
    "--kill-signal",
    "--kill-timeout",
    "--shell",
    "--cwd",
    "--pad-prefix-length",
];

/// What one service runs.
enum Run {
    /// A script of the file.
    Script(String),
    /// A command for a shell, which finds the programs of the packages that are installed.
    Command(String),
}

/// A services.yaml for a package.json.
///
/// # Errors
/// When it is not JSON, or has no script that keeps running.
pub fn from_package_json(text: &str) -> Result<String, ImportError> {
    let json: Value = serde_json::from_str(text.trim_start_matches('\u{feff}'))?;
    let none = Map::new();
    let scripts = json.get("scripts").and_then(Value::as_object).unwrap_or(&none);
    let script = SCRIPTS
        .into_iter()
        .find_map(|name| Some((name, scripts.get(name)?.as_str()?)));
    let (script, command) = script.ok_or(ImportError::NoScript)?;
    let manager = manager(&json);
    let runs = side_by_side(command, scripts, manager).unwrap_or_else(|| {
        let name = ProjectName::from_lossy(json.get("name").and_then(Value::as_str).unwrap_or(script));
        vec![(name.to_string(), Run::Script(script.to_owned()))]
    });
    let mut lines = Lines::default();
    let mut names = BTreeSet::new();
    let mut taken = BTreeSet::from([script.to_owned()]);
    for (name, run) in runs {
        lines.put(1, &unique(&service_name(&name), &mut names), "");
        lines.put(2, "type", "process");
        match run {
            Run::Script(script) => {
                lines.put(2, "binary", manager);
                let script = emit::literal(&script);
                lines.put(2, "args", &format!("[run, {}]", quoted(&script)));
                taken.insert(script);
            }
            Run::Command(command) => in_shell(
                &mut lines,
                &format!("PATH=\"$PWD/node_modules/.bin:$PATH\"; {command}"),
            ),
        }
    }
    let mut out = header();
    if let Some(name) = json.get("name").and_then(Value::as_str) {
        out.push_str(&format!(
            "name: {}\n",
            scalar(ProjectName::from_lossy(name).as_str())
        ));
    }
    out.push_str(&format!(
        "\n# What `{manager} run {script}` runs, with your whole environment, as it does there.\n"
    ));
    // One that the script itself runs is not left out.
    let runs = |name: &str| {
        command
            .split(|c: char| c.is_whitespace() || "\"':;&|".contains(c))
            .any(|word| word == name)
    };
    let others: Vec<&str> = scripts
        .keys()
        .map(String::as_str)
        .filter(|name| !taken.contains(*name) && !runs(name))
        .collect();
    if !others.is_empty() {
        let mut comment = Lines::default();
        comment.comment(0, &format!("Not taken over: {}.", others.join(", ")));
        out.push_str(&comment.finish());
    }
    out.push_str(&format!(
        "settings:\n  inherit_env: true\n\nservices:\n{}",
        lines.finish()
    ));
    Ok(out)
}

/// The program that runs scripts here.
fn manager(json: &Value) -> &'static str {
    let named = json
        .get("packageManager")
        .and_then(Value::as_str)
        .unwrap_or("npm");
    let name = named.split('@').next();
    ["pnpm", "yarn", "bun"]
        .into_iter()
        .find(|known| name == Some(known))
        .unwrap_or("npm")
}

/// What a script runs side by side, with names; `None` if it is not one of the programs known for that alone.
fn side_by_side(command: &str, scripts: &Map<String, Value>, manager: &str) -> Option<Vec<(String, Run)>> {
    let words = shell_words::split(command).ok()?;
    let has_operators = words
        .iter()
        .any(|word| matches!(&**word, "&&" | "||" | ";" | "|" | "&" | ">"));
    let (program, args) = words.split_first()?;
    let runs = match program.as_str() {
        _ if has_operators => return None,
        "concurrently" | "conc" => concurrently(args, scripts, manager),
        "run-p" => all(args, scripts)?,
        // What stands before the option runs one after the other.
        "npm-run-all" | "npm-run-all2"
            if args.first().is_some_and(|arg| arg == "-p" || arg == "--parallel") =>
        {
            all(args, scripts)?
        }
        _ => return None,
    };
    (!runs.is_empty()).then_some(runs)
}

fn concurrently(args: &[String], scripts: &Map<String, Value>, manager: &str) -> Vec<(String, Run)> {
    let mut names = Vec::new();
    let mut commands = Vec::new();
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        match arg.as_str() {
            // What follows is passed on to the commands.
            "--" => break,
            "-n" | "--names" => names = args.next().map(|names| list(names)).unwrap_or_default(),
            option if WITH_VALUE.contains(&option) => drop(args.next()),
            option if option.starts_with("--names=") => names = list(&option["--names=".len()..]),
            option if option.starts_with('-') => {}
            command => commands.push(command),
        }
    }
    let mut out = Vec::new();
    for (index, command) in commands.into_iter().enumerate() {
        let given = names.get(index).filter(|name| !name.is_empty());
        let runner = ["npm:", "pnpm:", "yarn:", "bun:"];
        let short = runner.iter().find_map(|runner| command.strip_prefix(runner));
        let long = ["npm run ", "pnpm run ", "yarn run ", "bun run "];
        let long = long.iter().find_map(|runner| command.strip_prefix(runner));
        let long = long.map(str::trim).filter(|script| scripts.contains_key(*script));
        match short.or(long) {
            // With arguments of its own, it is a command like any other.
            Some(script) if script.contains(char::is_whitespace) => {
                let name = script.split_whitespace().next().unwrap_or(script);
                let name = given.cloned().unwrap_or_else(|| name.to_owned());
                out.push((name, Run::Command(format!("{manager} run {script}"))));
            }
            Some(script) => {
                for found in matching(script, scripts) {
                    let name = given.cloned().unwrap_or_else(|| found.clone());
                    out.push((name, Run::Script(found)));
                }
            }
            None => {
                let name = given.cloned().unwrap_or_else(|| program_of(command));
                out.push((name, Run::Command(command.to_owned())));
            }
        }
    }
    out
}

/// The scripts that `run-p` is given; `None` if it is given something else.
fn all(args: &[String], scripts: &Map<String, Value>) -> Option<Vec<(String, Run)>> {
    let mut out = Vec::new();
    for pattern in args.iter().filter(|arg| !arg.starts_with('-')) {
        let found = matching(pattern, scripts);
        if found.is_empty() {
            return None;
        }
        out.extend(
            found
                .into_iter()
                .map(|script| (script.clone(), Run::Script(script))),
        );
    }
    Some(out)
}

/// The scripts of a name, or of a pattern with a `*`.
fn matching(pattern: &str, scripts: &Map<String, Value>) -> Vec<String> {
    match pattern.split_once('*') {
        None if scripts.contains_key(pattern) => vec![pattern.to_owned()],
        None => Vec::new(),
        Some((before, after)) => {
            let after = after.trim_start_matches('*');
            let fits = |name: &&String| {
                name.len() >= before.len() + after.len() && name.starts_with(before) && name.ends_with(after)
            };
            scripts.keys().filter(fits).cloned().collect()
        }
    }
}

fn list(names: &str) -> Vec<String> {
    names.split(',').map(|name| name.trim().to_owned()).collect()
}

/// The name of the program that a command runs.
fn program_of(command: &str) -> String {
    let is_program =
        |word: &&str| !word.contains('=') && !matches!(*word, "cross-env" | "npx" | "env" | "exec");
    let program = command.split_whitespace().find(is_program).unwrap_or("command");
    program.rsplit('/').next().unwrap_or(program).to_owned()
}
