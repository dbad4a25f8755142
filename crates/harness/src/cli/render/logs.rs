//! Log lines of several services in one stream.
//!
//! An unfinished line is printed as far as it goes. The next piece from the same source continues it, anything else
//! begins a new line. The output of services is printed unchanged; on a terminal it is made [harmless](TerminalText).

use std::collections::BTreeMap;

use harness_model::ServiceName;
use harness_wire::message::LogLine;
use jiff::tz::TimeZone;
use serde_json::{Value, json};

use super::harmless::TerminalText;
use super::open_lines::{Joint, OpenLines};
use super::{Style, timestamp};

/// Turns log lines into the text to print, in order.
#[derive(Debug)]
pub(crate) struct LogPrinter {
    style: Style,
    zone: TimeZone,
    timestamps: bool,
    width: usize,
    colours: BTreeMap<ServiceName, usize>,
    lines: OpenLines,
    /// `None`: the output is not changed.
    terminal: Option<TerminalText>,
}

impl LogPrinter {
    /// A printer for these services (others may follow). `timestamps` puts the time before each line.
    pub(crate) fn new<'a>(
        services: impl IntoIterator<Item = &'a ServiceName>,
        timestamps: bool,
        zone: TimeZone,
        style: Style,
    ) -> Self {
        let mut printer = Self {
            style,
            zone,
            timestamps,
            width: 0,
            colours: BTreeMap::new(),
            lines: OpenLines::default(),
            terminal: None,
        };
        for service in services {
            printer.meet(service);
        }
        printer
    }

    /// Makes the output harmless for a terminal, with or without the services' colours.
    #[must_use]
    pub(crate) fn for_terminal(mut self, colours: bool) -> Self {
        self.terminal = Some(TerminalText::new(colours));
        self
    }

    fn meet(&mut self, service: &ServiceName) -> usize {
        self.width = self.width.max(service.as_str().len());
        if let Some(number) = self.colours.get(service) {
            return *number;
        }
        let number = self.colours.len();
        self.colours.insert(service.clone(), number);
        number
    }

    /// Appends a line for people.
    pub(crate) fn line(&mut self, line: &LogLine, out: &mut Vec<u8>) {
        let joint = self.lines.next(line);
        if joint == Joint::Nowhere {
            return;
        }
        if let Joint::Begins { ends_other } = joint {
            if ends_other {
                self.end(out);
            }
            let number = self.meet(&line.service);
            if self.timestamps {
                out.extend_from_slice(self.style.dim(timestamp(line.time, &self.zone)).as_bytes());
                out.push(b' ');
            }
            let name = format!("{:<width$} |", line.service, width = self.width);
            out.extend_from_slice(self.style.name(number, &name).as_bytes());
            out.push(b' ');
        }
        match &mut self.terminal {
            Some(terminal) => terminal.piece(&line.text, out),
            None => out.extend_from_slice(&line.text),
        }
        if !line.partial {
            self.end(out);
        }
    }

    fn end(&mut self, out: &mut Vec<u8>) {
        if let Some(terminal) = &mut self.terminal {
            terminal.end(out);
        }
        out.push(b'\n');
    }

    /// Ends a line left open, if there is one.
    pub(crate) fn finish(&mut self, out: &mut Vec<u8>) {
        if self.lines.end() {
            self.end(out);
        }
    }
}

/// `{"service","time","stream","generation","partial","line"}`; bytes that are not UTF-8 are replaced.
pub(crate) fn json(line: &LogLine) -> Value {
    json!({
        "service": line.service,
        "time": timestamp(line.time, &TimeZone::UTC),
        "stream": if line.stderr { "stderr" } else { "stdout" },
        "generation": line.generation,
        "partial": line.partial,
        "line": String::from_utf8_lossy(&line.text),
    })
}

/// The note that lines are missing.
pub(crate) fn gap(service: &ServiceName, lines: u64) -> String {
    let noun = if lines == 1 { "line" } else { "lines" };
    format!(
        "-- {lines} {noun} of {service} were dropped before they could be read (rotation or a full disk)\n"
    )
}

#[cfg(test)]
mod tests {
    use harness_model::WallTime;

    use super::*;

    fn line(service: &str, text: &str, stderr: bool, partial: bool) -> LogLine {
        LogLine {
            time: WallTime(1_700_000_000_123_000_000),
            generation: 1,
            stderr,
            partial,
            service: ServiceName::new(service).unwrap(),
            text: text.into(),
        }
    }

    fn printed(timestamps: bool, colour: bool, lines: &[LogLine]) -> String {
        let names = [
            ServiceName::new("db").unwrap(),
            ServiceName::new("worker").unwrap(),
        ];
        let mut printer = LogPrinter::new(&names, timestamps, TimeZone::UTC, Style::new(colour));
        let mut out = Vec::new();
        for line in lines {
            printer.line(line, &mut out);
        }
        printer.finish(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn names_are_aligned_and_keep_their_colour() {
        let lines = [
            line("db", "ready", false, false),
            line("worker", "hi", false, false),
        ];
        assert_eq!(printed(false, false, &lines), "db     | ready\nworker | hi\n");
        assert_eq!(
            printed(true, false, &lines[..1]),
            "2023-11-14T22:13:20.123+00:00 db     | ready\n"
        );
        let coloured = printed(
            false,
            true,
            &[lines[0].clone(), lines[1].clone(), lines[0].clone()],
        );
        assert_eq!(coloured.matches("\u{1b}[36mdb     |").count(), 2, "{coloured}");
    }

    #[test]
    fn an_unfinished_line_is_continued_by_its_own_stream_only() {
        let lines = [
            line("db", "pass", false, true),
            line("db", "word: ", false, true),
            line("worker", "tick", false, false),
            line("db", "ok", false, false),
            line("db", "half", true, true),
        ];
        assert_eq!(
            printed(false, false, &lines),
            "db     | password: \nworker | tick\ndb     | ok\ndb     | half\n"
        );
    }

    #[test]
    fn the_end_of_a_line_that_another_came_after_is_no_line() {
        let lines = [
            line("db", "ready> ", false, true),
            line("worker", "tick", false, false),
            line("db", "", false, false),
            line("db", "", false, false),
            line("db", "ready> ", false, true),
            line("db", "", false, false),
            line("db", "lost", false, true),
        ];
        assert_eq!(
            printed(false, false, &lines),
            "db     | ready> \nworker | tick\ndb     | \ndb     | ready> \ndb     | lost\n"
        );
        // Another generation does not continue the line.
        let mut next = line("db", "", false, false);
        next.generation = 2;
        let lines = [lines[0].clone(), lines[1].clone(), next];
        assert_eq!(
            printed(false, false, &lines),
            "db     | ready> \nworker | tick\ndb     | \n"
        );
    }

    #[test]
    fn on_a_terminal_a_line_can_neither_hurt_nor_colour_the_next() {
        let db = ServiceName::new("db").unwrap();
        let mut printer = LogPrinter::new([&db], false, TimeZone::UTC, Style::new(false)).for_terminal(true);
        let mut out = Vec::new();
        for line in [
            line("db", "\u{1b}[31mred\r", false, false),
            line("db", "\u{1b}[2J\u{1b}[3", false, true),
            line("worker", "1m\u{1b}[32mgreen", false, true),
        ] {
            printer.line(&line, &mut out);
        }
        printer.finish(&mut out);
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "db | \u{1b}[31mred\u{1b}[0m\ndb | ␛[2J␛[3\nworker | 1m\u{1b}[32mgreen\u{1b}[0m\n"
        );
    }

    #[test]
    fn json_lines_have_every_key() {
        let value = json(&line("db", "x", true, false));
        assert_eq!(
            value.to_string(),
            "{\"generation\":1,\"line\":\"x\",\"partial\":false,\"service\":\"db\",\"stream\":\"stderr\",\
             \"time\":\"2023-11-14T22:13:20.123+00:00\"}"
        );
    }
}
