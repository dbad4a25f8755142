//! Limits of what a system can pass to a program.

use harness_model::spec::Kind;
use harness_model::{Part, ServiceSpec, Template};

use crate::diagnostics::Finding;
use crate::read::Reader;
use crate::source::Span;

/// The longest argument, and the longest variable with its name: 32 pages including the NUL at the end
/// (`MAX_ARG_STRLEN`).
pub(crate) const LONGEST_ARGUMENT: usize = 32 * 4096 - 1;

/// The largest total size of arguments and environment, whatever stack limit a program has.
const LARGEST_TOTAL: usize = 6 << 20;

/// The longest path (`PATH_MAX`, without the NUL at the end), and the longest name in one.
const LONGEST_PATH: usize = 4095;
const LONGEST_NAME: usize = 255;

/// Why a NUL is not allowed.
pub(crate) const NUL_HELP: &str = "a program cannot receive text that contains a NUL";

/// The length of the known parts of a template.
fn length(template: &Template) -> usize {
    let known = template.parts().iter().map(|part| match part {
        Part::Text(text) => text.len(),
        Part::Secret(secret) => secret.expose().len(),
        Part::Reference(_) => 0,
    });
    known.sum()
}

impl Reader<'_> {
    /// Reports an argument that is too long.
    pub(crate) fn check_argument(&self, span: Span, argument: &Template) {
        let length = length(argument);
        if length > LONGEST_ARGUMENT {
            self.report(
                Finding::error(
                    span,
                    format!(
                        "this argument has {length} bytes, but a program can receive at most {LONGEST_ARGUMENT}"
                    ),
                )
                .help("put it into a file with `files`"),
            );
        }
    }

    /// Reports a variable that is too long.
    pub(crate) fn check_variable(&self, span: Span, name: &str, value: &Template) {
        let length = name.len() + 1 + length(value);
        if length > LONGEST_ARGUMENT {
            self.report(
                Finding::error(
                    span,
                    format!(
                        "the variable `{name}` has {length} bytes, but a program can receive at most \
                            {LONGEST_ARGUMENT}"
                    ),
                )
                .help("put it into a file with `files`"),
            );
        }
    }

    /// Reports a path that is too long, and returns `false` then.
    pub(crate) fn check_path(&self, span: Span, path: &str) -> bool {
        let message = if path.len() > LONGEST_PATH {
            format!(
                "this path has {} bytes, but a path can have at most {LONGEST_PATH}",
                path.len()
            )
        } else if let Some(name) = path.split('/').find(|name| name.len() > LONGEST_NAME) {
            format!(
                "a name in this path has {} bytes, but a name can have at most {LONGEST_NAME}",
                name.len()
            )
        } else {
            return true;
        };
        self.report(Finding::error(span, message));
        false
    }

    /// Reports a service with variables and arguments that are each short enough, but too large together.
    pub(crate) fn check_total(&self, span: Span, spec: &ServiceSpec) {
        let args: &[Template] = match &spec.kind {
            Kind::Process(process) => &process.args,
            Kind::Container(docker) => docker.command.as_deref().unwrap_or_default(),
            _ => &[],
        };
        let args: usize = args.iter().map(|arg| length(arg) + 1).sum();
        let env: usize = spec
            .env
            .iter()
            .map(|(name, value)| name.len() + length(value) + 2)
            .sum();
        if args + env > LARGEST_TOTAL {
            self.report(
                Finding::error(
                    span,
                    format!(
                        "its arguments and variables have {} bytes together, but a program can receive at \
                            most {LARGEST_TOTAL}",
                        args + env
                    ),
                )
                .help("put some of it into files with `files`"),
            );
        }
    }
}
