//! Commands that a container cannot run. The engine tells of them as if they had run: by a line of output in the words of
//! its runtime, and by an exit code that is the same whatever was wrong.

use harness_model::{ExitStatus, foreign};
use harness_shim::words::NO_PROGRAM;

/// What the runtime's line begins with.
const BEGINNING: &[u8] = b"OCI runtime exec failed";

/// The longest such line that is held back, in bytes.
const MOST: usize = 8 << 10;

/// The exit codes that engines give a command that did not run.
const CODES: [i32; 2] = [126, 127];

/// Holds output back as long as it may be such a line.
#[derive(Debug, Default)]
pub(crate) struct Held {
    bytes: Vec<u8>,
    is_decided: bool,
}

/// How a command ended that did not run, as shells tell it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Refused {
    /// 127 if its program does not exist, 126 if it cannot be run.
    pub(crate) exit: ExitStatus,
    /// Why, for a person.
    pub(crate) words: String,
}

impl Held {
    /// Takes a piece of output, and returns what need not be held back.
    pub(crate) fn take(&mut self, piece: Vec<u8>) -> Vec<u8> {
        if self.is_decided {
            return piece;
        }
        self.bytes.extend(piece);
        let common = self
            .bytes
            .iter()
            .zip(BEGINNING)
            .take_while(|(a, b)| a == b)
            .count();
        let may_be = common == self.bytes.len().min(BEGINNING.len()) && self.bytes.len() <= MOST;
        if may_be { Vec::new() } else { self.release() }
    }

    /// What is held back, which is output like any other.
    pub(crate) fn release(&mut self) -> Vec<u8> {
        self.is_decided = true;
        std::mem::take(&mut self.bytes)
    }

    /// Why `program` did not run, if that is what was held back.
    pub(crate) fn refused(&self, program: &str, exit: ExitStatus) -> Option<Refused> {
        let is_code = matches!(exit, ExitStatus::Code(code) if CODES.contains(&code));
        if !is_code || !self.bytes.starts_with(BEGINNING) {
            return None;
        }
        let said = String::from_utf8_lossy(&self.bytes).to_lowercase();
        let program = foreign::shown(program);
        let is_missing = [
            "executable file not found",
            "no such file or directory",
            "not a directory",
        ];
        let (code, words) = if is_missing.iter().any(|words| said.contains(words)) {
            (127, format!("`{program}` was not found in the container"))
        } else if said.contains("permission denied") {
            (
                126,
                format!("cannot run `{program}` in the container: permission denied"),
            )
        } else if said.contains("exec format error") {
            (
                126,
                format!("cannot run `{program}` in the container: {NO_PROGRAM}"),
            )
        } else {
            let line = String::from_utf8_lossy(&self.bytes);
            (
                126,
                format!(
                    "cannot run `{program}` in the container: {}",
                    foreign::shown(line.trim())
                ),
            )
        };
        Some(Refused {
            exit: ExitStatus::Code(code),
            words,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MISSING: &str = "OCI runtime exec failed: exec failed: unable to start container process: exec: \"x\": executable file not found in $PATH: unknown\r\n";

    fn held(pieces: &[&str]) -> (Held, String) {
        let mut held = Held::default();
        let passed: Vec<u8> = pieces
            .iter()
            .flat_map(|piece| held.take(piece.as_bytes().to_vec()))
            .collect();
        (held, String::from_utf8(passed).unwrap())
    }

    #[test]
    fn what_did_not_run_has_the_codes_of_a_shell() {
        for (said, code) in [
            (MISSING, 127),
            (
                "OCI runtime exec failed: exec: \"./x\": stat ./x: no such file or directory: unknown",
                127,
            ),
            (
                "OCI runtime exec failed: exec: \"/etc\": permission denied: unknown",
                126,
            ),
            ("OCI runtime exec failed: exec /x: exec format error", 126),
            ("OCI runtime exec failed: something else", 126),
        ] {
            for engine in [126, 127] {
                let (held, passed) = held(&[&said[..10], &said[10..]]);
                assert_eq!(passed, "");
                let refused = held.refused("x", ExitStatus::Code(engine)).unwrap();
                assert_eq!(refused.exit, ExitStatus::Code(code), "{said}");
            }
        }
    }

    #[test]
    fn other_output_passes_at_once_and_whole() {
        for pieces in [
            &["OCI", " runtime is fine\n", "more"][..],
            &["hello ", "OCI runtime exec failed"],
            &["", "\n"],
        ] {
            let (held, passed) = held(pieces);
            assert_eq!(passed, pieces.concat());
            assert_eq!(held.refused("x", ExitStatus::Code(126)), None);
        }
        // A program may say so itself, and end well.
        let (mut said, passed) = held(&[MISSING]);
        assert_eq!(
            (said.refused("x", ExitStatus::Code(0)), passed),
            (None, String::new())
        );
        assert_eq!(said.release(), MISSING.as_bytes());
        let long = MISSING.repeat(100);
        assert_eq!(held(&[&long]).1, long);
    }
}
