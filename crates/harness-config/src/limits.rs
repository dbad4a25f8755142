//! What no system can give a program.

use harness_model::spec::{ProcessSpec, ServiceKind};
use harness_model::{Part, ServiceSpec, Template};

use crate::diagnostics::Finding;
use crate::read::Reader;
use crate::source::Span;

/// The longest argument, and the longest variable with its name: 32 pages with the NUL behind it (`MAX_ARG_STRLEN`).
pub(crate) const LONGEST_ARGUMENT: usize = 32 * 4096 - 1;

/// The most that arguments and environment take together, however much stack a program is allowed.
const LARGEST_TOTAL: usize = 6 << 20;

/// The longest path (`PATH_MAX`, without the NUL behind it), and the longest name in one.
const LONGEST_PATH: usize = 4095;
const LONGEST_NAME: usize = 255;

/// What is wrong with a NUL.
pub(crate) const NUL_HELP: &str = "no program can be given a text with a NUL in it";

/// The length of what is known of a template.
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
                        "an argument of {length} bytes, and a program can be given {LONGEST_ARGUMENT} at most"
                    ),
                )
                .help("put it into a file, by `files`"),
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
                        "the variable `{name}` has {length} bytes, and a program can be given {LONGEST_ARGUMENT} at most"
                    ),
                )
                .help("put it into a file, by `files`"),
            );
        }
    }

    /// Reports a path that is too long; `false` then.
    pub(crate) fn check_path(&self, span: Span, path: &str) -> bool {
        let message = if path.len() > LONGEST_PATH {
            format!(
                "a path of {} bytes, and the longest is {LONGEST_PATH}",
                path.len()
            )
        } else if let Some(name) = path.split('/').find(|name| name.len() > LONGEST_NAME) {
            format!(
                "a name of {} bytes in a path, and the longest is {LONGEST_NAME}",
                name.len()
            )
        } else {
            return true;
        };
        self.report(Finding::error(span, message));
        false
    }

    /// Reports a service whose program can be given all of its variables and arguments one by one, but not together.
    pub(crate) fn check_total(&self, span: Span, spec: &ServiceSpec) {
        let args: &[Template] = match &spec.kind {
            ServiceKind::Process(ProcessSpec { args, .. })
            | ServiceKind::Remote(ProcessSpec { args, .. }) => args,
            ServiceKind::Docker(docker) => docker.command.as_deref().unwrap_or_default(),
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
                        "its arguments and variables have {} bytes, and a program can be given {LARGEST_TOTAL} at most",
                        args + env
                    ),
                )
                .help("put some of it into files, by `files`"),
            );
        }
    }
}
