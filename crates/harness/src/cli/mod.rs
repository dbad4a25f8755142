//! The command line of harness.
//!
//! ```text
//! args (clap) -> verbs/<verb>.rs -> context (file, daemon), selection (project) -> wire
//!                      |                                        |
//!                      +---- display, render (words) <-- events-+
//!                      |
//!                      +--> Exit | CliError -> exit (numbers)
//! ```
//!
//! Each verb is one file. A verb asks the daemon and prints the answer; it decides nothing about services. `render`
//! makes the text without any I/O, `exit` makes the exit codes, and only `ui` writes.

mod args;
mod backend;
mod bring_up;
mod completion;
mod context;
mod display;
mod doctor;
mod error;
mod exit;
mod keys;
mod reference;
mod render;
mod report;
mod selection;
mod signals;
mod terminal;
#[cfg(test)]
mod testing;
mod ui;
mod verbs;

use std::process::ExitCode;
use std::rc::Rc;

use harness_config::Types;
use smol::LocalExecutor;

use args::Cli;
use context::Context;
use exit::Exit;
use ui::Ui;

pub use reference::cli_reference_markdown;

/// Runs the program: parses the arguments, runs the verb, and returns the exit code.
pub fn main() -> ExitCode {
    main_with(Types::default())
}

/// The same for a program whose files may have more types of services and more probes. Its daemon has to run them.
pub fn main_with(types: Types) -> ExitCode {
    let cli = match Cli::from_env() {
        Ok(cli) => cli,
        Err(error) => return refuse(&error),
    };
    let ui = Ui::new(&cli.globals);
    let executor = Rc::new(LocalExecutor::new());
    let context = Context {
        globals: cli.globals,
        ui,
        types,
        executor: Rc::clone(&executor),
    };
    let verb = verbs::run(&context, cli.verb);
    let exit = smol::block_on(executor.run(verb)).unwrap_or_else(|error| {
        error.report(&context.ui);
        Exit::from(&error)
    });
    ExitCode::from(exit.code())
}

/// Prints help, the version, or clap's error about the arguments.
fn refuse(error: &clap::Error) -> ExitCode {
    let asked_for = !error.use_stderr();
    let ui = Ui::new(&args::Globals::default());
    let coloured = if asked_for { ui.out_colour } else { ui.err_colour };
    let said = error.render();
    let said = if coloured {
        said.ansi().to_string()
    } else {
        said.to_string()
    };
    // A closed stdout is no reason to fail.
    let _ = if asked_for { ui.out(&said) } else { ui.err(&said) };
    let words: Vec<_> = std::env::args_os()
        .skip(1)
        .take_while(|word| word != "--")
        .collect();
    if !asked_for && words.iter().any(|word| word == "--json") {
        let text = error.to_string();
        let message = text
            .lines()
            .next()
            .unwrap_or_default()
            .trim_start_matches("error: ");
        let body = serde_json::json!({ "error": {
            "code": "usage",
            "message": message,
            "hint": "harness --help",
            "exit_code": Exit::Usage.code(),
        } });
        let _ = ui.out_json(&body);
    }
    ExitCode::from(if asked_for {
        Exit::Ok.code()
    } else {
        Exit::Usage.code()
    })
}
