//! Commands: a string that is split into words as a shell does, or a list of words.

use harness_model::Template;

use crate::diagnostics::Finding;
use crate::interpolate::{Locator, Piece, scan};
use crate::read::{Allow, Reader};
use crate::source::Span;
use crate::tree::{Kind, Node};

impl Reader<'_> {
    /// A command: a string that is split into words as a shell does, or a list of words. Never empty.
    pub(crate) fn words(&self, node: &Node) -> Option<Vec<Template>> {
        let words = match &node.kind {
            Kind::List(items) => {
                let words: Vec<_> = items
                    .iter()
                    .map(|item| self.template(item, true, Allow::References))
                    .collect();
                words.into_iter().collect::<Option<Vec<_>>>()?
            }
            Kind::String(text) => self.split(node.span, text)?,
            _ => {
                self.wrong_type(node, "a command (a string or a list of words)");
                return None;
            }
        };
        let Some(program) = words.first() else {
            self.report(Finding::error(node.span, "this command is empty"));
            return None;
        };
        if program.is_empty() {
            self.report(Finding::error(node.span, "the program of this command is empty"));
        }
        for word in &words {
            self.check_argument(node.span, word);
        }
        Some(words)
    }

    /// Splits first and replaces variables after that, so that a value with blanks stays one word.
    fn split(&self, span: Span, text: &str) -> Option<Vec<Template>> {
        let pieces = scan(text);
        let mut marked = String::new();
        for (index, piece) in pieces.iter().enumerate() {
            match piece {
                Piece::Text(text) => marked.extend(text.chars().filter(|c| placeholder_index(*c).is_none())),
                Piece::Expr { .. } | Piece::Unclosed { .. } => marked.extend(placeholder(index)),
            }
        }
        let words = match shell_words::split(&marked) {
            Ok(words) => words,
            Err(_) => {
                self.report(Finding::error(span, "a quote in this command is not closed"));
                return None;
            }
        };
        let locator = Locator::new(self.context.sources, span, text);
        let mut out = Vec::new();
        for word in words {
            let mut word_pieces = Vec::new();
            let mut plain = String::new();
            for c in word.chars() {
                if let Some(piece) = placeholder_index(c).and_then(|index| pieces.get(index)) {
                    word_pieces.push(Piece::Text(std::mem::take(&mut plain)));
                    word_pieces.push(piece.clone());
                } else {
                    plain.push(c);
                }
            }
            word_pieces.push(Piece::Text(plain));
            out.push(self.interpolate(&locator, text, word_pieces, Allow::References));
        }
        out.into_iter().collect()
    }
}

/// The first of the supplementary private-use characters. They stand for expressions while words are split.
const PLACEHOLDERS: u32 = 0xF_0000;

fn placeholder(index: usize) -> Option<char> {
    char::from_u32(PLACEHOLDERS.checked_add(u32::try_from(index).ok()?)?)
}

fn placeholder_index(c: char) -> Option<usize> {
    u32::from(c).checked_sub(PLACEHOLDERS).map(|index| index as usize)
}
