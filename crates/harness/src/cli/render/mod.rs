//! Makes every table, line and report that people read. Pure: values in, text out.
//!
//! Each module makes whole lines, ended by a line break, and knows nothing about terminals. Colours come from a
//! [`Style`], which returns plain text when there are none. Text from outside is a [`harness_model::ForeignText`],
//! which is always harmless in a line; see [`harmless`].

pub(crate) mod checks;
pub(crate) mod detail;
pub(crate) mod env;
pub(crate) mod events;
pub(crate) mod failure;
pub(crate) mod graph;
pub(crate) mod harmless;
pub(crate) mod junit;
pub(crate) mod logs;
pub(crate) mod open_lines;
pub(crate) mod outcome;
pub(crate) mod ports;
pub(crate) mod progress;
pub(crate) mod projects;
pub(crate) mod remarks;
pub(crate) mod status;
mod style;
mod time;

pub(crate) use harmless::path;
pub(crate) use style::Style;
pub(crate) use time::{age, clock, seconds, timestamp, whole_seconds, with_instants};

/// Names separated by commas.
pub(crate) fn list<T: ToString>(items: impl IntoIterator<Item = T>) -> String {
    let words: Vec<String> = items.into_iter().map(|item| item.to_string()).collect();
    words.join(", ")
}

/// `1 service`, `5 services`.
pub(crate) fn count(number: usize, noun: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {noun}{plural}")
}

/// The smallest width of the name column. It grows with the longest name.
pub(crate) const NAME_WIDTH: usize = 8;

/// How wide the name column must be for these names.
pub(crate) fn name_width<'a>(names: impl IntoIterator<Item = &'a str>) -> usize {
    names.into_iter().map(str::len).fold(NAME_WIDTH, usize::max)
}
