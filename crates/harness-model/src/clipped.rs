//! Shortens lines that may be many megabytes long for reports: keeps their beginning and their end.

/// How many bytes to keep of each end.
const END: usize = 2 << 10;

/// A line. If it is long, its middle is left out.
#[derive(Debug, Default)]
pub struct Clipped {
    head: Vec<u8>,
    tail: Vec<u8>,
    /// Whether bytes between the two were left out.
    cut: bool,
}

impl Clipped {
    /// The kept parts of a whole line.
    pub fn of(line: &[u8]) -> Vec<u8> {
        let mut clipped = Self::default();
        clipped.add(line);
        clipped.into_bytes()
    }

    /// Adds a piece at the end.
    pub fn add(&mut self, piece: &[u8]) {
        let (head, rest) = piece.split_at(piece.len().min(END - self.head.len()));
        self.head.extend_from_slice(head);
        // Only the last bytes of a long piece can stay.
        let last = &rest[rest.len().saturating_sub(END)..];
        let excess = (self.tail.len() + rest.len()).saturating_sub(END);
        self.cut |= excess > 0;
        self.tail.drain(..excess.min(self.tail.len()));
        self.tail.extend_from_slice(last);
    }

    /// The line, with `…` for the part that was left out.
    pub fn into_bytes(self) -> Vec<u8> {
        let Self { mut head, tail, cut } = self;
        if !cut {
            head.extend_from_slice(&tail);
            return head;
        }
        // Do not cut a character in two.
        let is_inside = |byte: &u8| byte & 0b1100_0000 == 0b1000_0000;
        let inside = tail.iter().take(3).take_while(|byte| is_inside(byte)).count();
        let begins = head
            .iter()
            .rev()
            .take(3)
            .take_while(|byte| is_inside(byte))
            .count();
        if let Some(at) = head.len().checked_sub(begins + 1)
            && head[at] >= 0b1100_0000
            && (head[at].leading_ones() as usize) > begins + 1
        {
            head.truncate(at);
        }
        head.extend_from_slice("…".as_bytes());
        head.extend_from_slice(&tail[inside..]);
        head
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces(text: &str, size: usize) -> String {
        let mut clipped = Clipped::default();
        for piece in text.as_bytes().chunks(size) {
            clipped.add(piece);
        }
        String::from_utf8(clipped.into_bytes()).unwrap()
    }

    #[test]
    fn a_line_is_whole_unless_it_is_long() {
        for text in ["", "short", &"é".repeat(2 * END / 2)] {
            assert_eq!(pieces(text, 7), text);
            assert_eq!(Clipped::of(text.as_bytes()), text.as_bytes());
        }
    }

    #[test]
    fn of_a_long_line_both_ends_are_kept_wherever_it_is_cut() {
        let text = format!("begin{}end", "x".repeat(10 << 20));
        let whole = pieces(&text, 1 << 16);
        assert!(whole.starts_with("beginx") && whole.ends_with("xend"), "{whole}");
        assert!(whole.contains("x…x") && whole.len() < 3 * END, "{}", whole.len());
        assert_eq!(pieces(&text, 1001), whole);
        assert_eq!(Clipped::of(text.as_bytes()), whole.as_bytes());
    }

    #[test]
    fn no_character_is_cut_in_two() {
        for before in 0..4 {
            let text = format!("{}{}", "x".repeat(before), "•".repeat(END));
            let clipped = pieces(&text, 333);
            assert!(clipped.contains("•…•"), "{before}");
        }
    }
}
