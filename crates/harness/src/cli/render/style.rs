//! Colours, or none.

use std::fmt::Display;

use anstyle::{AnsiColor, Effects, Style as Ansi};

/// Puts colours around text, if colours are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Style {
    colour: bool,
}

/// Colours for service names, easy to tell apart on light and dark backgrounds.
const NAMES: [AnsiColor; 6] = [
    AnsiColor::Cyan,
    AnsiColor::Yellow,
    AnsiColor::Green,
    AnsiColor::Magenta,
    AnsiColor::Blue,
    AnsiColor::BrightCyan,
];

impl Style {
    /// With colours, or without.
    pub(crate) fn new(colour: bool) -> Self {
        Self { colour }
    }

    /// For what is good.
    pub(crate) fn good(self, text: impl Display) -> String {
        self.paint(AnsiColor::Green.on_default(), text)
    }

    /// For what is wrong.
    pub(crate) fn bad(self, text: impl Display) -> String {
        self.paint(AnsiColor::Red.on_default(), text)
    }

    /// For what is in progress or unclear.
    pub(crate) fn middling(self, text: impl Display) -> String {
        self.paint(AnsiColor::Yellow.on_default(), text)
    }

    /// For what is less important.
    pub(crate) fn dim(self, text: impl Display) -> String {
        self.paint(Ansi::new().effects(Effects::DIMMED), text)
    }

    /// For what is important.
    pub(crate) fn bold(self, text: impl Display) -> String {
        self.paint(Ansi::new().bold(), text)
    }

    /// The word before an error.
    pub(crate) fn error(self, text: impl Display) -> String {
        self.paint(AnsiColor::Red.on_default().bold(), text)
    }

    /// For a service's name. The same number gives the same colour.
    pub(crate) fn name(self, number: usize, text: impl Display) -> String {
        self.paint(NAMES[number % NAMES.len()].on_default(), text)
    }

    fn paint(self, style: Ansi, text: impl Display) -> String {
        let text = text.to_string();
        if self.colour && !text.is_empty() {
            format!("{style}{text}{style:#}")
        } else {
            text
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_come_only_when_wanted() {
        assert_eq!(Style::new(false).good("ok"), "ok");
        assert_eq!(Style::new(true).good("ok"), "\u{1b}[32mok\u{1b}[0m");
    }
}
