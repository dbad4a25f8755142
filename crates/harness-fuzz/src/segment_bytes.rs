//! Log segments as bytes, repaired just enough that a reader looks into them.

use std::path::Path;

const MAGIC: &[u8] = b"HRNSLOG\n";
const SEGMENT_HEADER: usize = 36;
const RECORD_HEADER: usize = 24;
/// The place of the check in a record header.
const CHECK: std::ops::Range<usize> = 22..24;

/// Whether these bytes should be used as segments.
pub(crate) fn are_segments(data: &[u8]) -> bool {
    data.starts_with(MAGIC)
}

/// Writes each part that begins like a segment as a segment. A record with the check 0 gets the right check, because
/// a mutation rarely guesses it and would never get past it.
pub(crate) fn write(folder: &Path, data: &[u8]) {
    let mut starts: Vec<usize> = (0..data.len())
        .filter(|at| data[*at..].starts_with(MAGIC))
        .collect();
    starts.push(data.len());
    for (index, ends) in starts.windows(2).enumerate() {
        let mut segment = data[ends[0]..ends[1]].to_vec();
        repair(&mut segment);
        std::fs::write(folder.join(format!("{:06}.seg", index + 1)), segment).unwrap();
    }
}

fn repair(segment: &mut [u8]) {
    let mut at = SEGMENT_HEADER;
    while let Some(header) = segment.get_mut(at..at + RECORD_HEADER) {
        if header[CHECK] == [0, 0] {
            let check = check(&header[..CHECK.start]);
            header[CHECK].copy_from_slice(&check);
        }
        let length: [u8; 4] = header[16..20].try_into().unwrap();
        at = at.saturating_add(RECORD_HEADER + u32::from_le_bytes(length) as usize);
    }
}

/// FNV-1a folded to 16 bits.
fn check(bytes: &[u8]) -> [u8; 2] {
    let mut hash: u32 = 0x811c_9dc5;
    for byte in bytes {
        hash = (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193);
    }
    let [a, b, c, d] = hash.to_le_bytes();
    [a ^ c, b ^ d]
}
