//! Makes inputs from others: a small mutator for the bounded runs, which does the same for the same seed.

/// Longer inputs only cost time.
const MAX_LEN: usize = 32 * 1024;

/// SplitMix64: every seed gives another sequence.
pub(crate) struct Rng(u64);

impl Rng {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`; 0 if there is none.
    fn below(&mut self, bound: usize) -> usize {
        (self.next() % (bound.max(1) as u64)) as usize
    }

    /// One of these.
    fn pick<'a, T>(&mut self, items: &'a [T]) -> Option<&'a T> {
        items.get(self.below(items.len()))
    }

    fn byte(&mut self) -> u8 {
        self.next() as u8
    }
}

/// Numbers that often break something.
const NUMBERS: [&str; 12] = [
    "0",
    "-1",
    "1",
    "127",
    "256",
    "65535",
    "65536",
    "4294967296",
    "9007199254740993",
    "18446744073709551615",
    "18446744073709551616",
    "1e309",
];

/// Makes the next input.
pub(crate) fn mutate(rng: &mut Rng, corpus: &[Vec<u8>], words: &[&str]) -> Vec<u8> {
    let mut data = rng.pick(corpus).cloned().unwrap_or_default();
    // Usually only a few changes: after many changes at once, hardly anything is nearly right.
    for _ in 0..1 << rng.below(5) {
        step(rng, &mut data, corpus, words);
        data.truncate(MAX_LEN);
    }
    data
}

fn step(rng: &mut Rng, data: &mut Vec<u8>, corpus: &[Vec<u8>], words: &[&str]) {
    let at = rng.below(data.len() + 1);
    match rng.below(14) {
        0 => flip(rng, data),
        1 => {
            if let Some(byte) = data.get_mut(at) {
                *byte = [0, 1, 0x7f, 0x80, 0xff, b'\n', b' '][rng.below(7)];
            }
        }
        2 => {
            let byte = rng.byte();
            data.insert(at, byte);
        }
        3 => drop(data.drain(range(rng, data.len()))),
        4 => {
            // Repeats a piece, once or many times.
            let piece = data[range(rng, data.len())].to_vec();
            let times = 1 << rng.below(8);
            let piece = piece.repeat(times.min(MAX_LEN / piece.len().max(1)));
            data.splice(at..at, piece);
        }
        5 => {
            let other = rng.pick(corpus).cloned().unwrap_or_default();
            let piece = other[range(rng, other.len())].to_vec();
            data.splice(at..at, piece);
        }
        6 => {
            // The beginning of this input and the end of another.
            let other = rng.pick(corpus).cloned().unwrap_or_default();
            data.truncate(at);
            data.extend_from_slice(&other[rng.below(other.len() + 1)..]);
        }
        7 => data.truncate(at),
        8..=9 => {
            let word = rng.pick(words).copied().unwrap_or_default();
            data.splice(at..at, word.bytes());
        }
        10 => {
            let word = rng.pick(words).copied().unwrap_or_default();
            let over = range(rng, data.len());
            data.splice(over, word.bytes());
        }
        11 => {
            let number = NUMBERS[rng.below(NUMBERS.len())];
            let digits = digits_at(data, at);
            data.splice(digits, number.bytes());
        }
        12 => binary_number(rng, data, at),
        _ => swap_lines(rng, data),
    }
}

fn flip(rng: &mut Rng, data: &mut [u8]) {
    let at = rng.below(data.len());
    if let Some(byte) = data.get_mut(at) {
        *byte ^= 1 << rng.below(8);
    }
}

/// A part of the data, usually a short one.
fn range(rng: &mut Rng, len: usize) -> std::ops::Range<usize> {
    let start = rng.below(len + 1);
    let longest = len - start;
    let longest = if rng.below(4) == 0 {
        longest
    } else {
        longest.min(16)
    };
    start..start + rng.below(longest + 1)
}

/// The digits that begin at or after `at`, or an empty range there.
fn digits_at(data: &[u8], at: usize) -> std::ops::Range<usize> {
    let is_digit = |byte: &u8| byte.is_ascii_digit();
    let start = match data[at..].iter().position(is_digit) {
        Some(offset) => at + offset,
        None => return at..at,
    };
    let len = data[start..].iter().take_while(|byte| is_digit(byte)).count();
    start..start + len
}

/// Writes a number of 2, 4 or 8 bytes that often breaks something.
fn binary_number(rng: &mut Rng, data: &mut [u8], at: usize) {
    let value = [0, 1, u64::MAX, u64::MAX / 2, 1 << 20, (1 << 20) + 1, 1 << 32, 24][rng.below(8)];
    let size = 2 << rng.below(3);
    let bytes = if rng.below(2) == 0 {
        value.to_le_bytes()[..size].to_vec()
    } else {
        value.to_be_bytes()[8 - size..].to_vec()
    };
    if let Some(place) = data.get_mut(at..at + size) {
        place.copy_from_slice(&bytes);
    }
}

fn swap_lines(rng: &mut Rng, data: &mut Vec<u8>) {
    let mut lines: Vec<Vec<u8>> = data
        .split_inclusive(|b| *b == b'\n')
        .map(<[u8]>::to_vec)
        .collect();
    let (a, b) = (rng.below(lines.len()), rng.below(lines.len()));
    if !lines.is_empty() {
        lines.swap(a, b);
    }
    *data = lines.concat();
}
