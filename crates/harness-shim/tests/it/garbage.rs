//! Whatever is in the files, reading them ends with an answer or an error, and never with a panic.

use std::path::Path;

use harness_shim::control::Request;
use harness_shim::handshake::Handshake;
use harness_shim::log::{ReadItem, Reader, Stream, Writer};
use harness_shim::run_dir::{LogLimits, RunDir};

use crate::support::{Run, sh};

/// A small generator of the xorshift kind: the same garbage in every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % end.max(1) as u64).unwrap()
    }

    /// Changes, cuts, repeats or inserts something.
    fn damage(&mut self, bytes: &mut Vec<u8>) {
        for _ in 0..=self.below(3) {
            let at = self.below(bytes.len());
            let byte = u8::try_from(self.next() % 256).unwrap();
            match self.below(4) {
                0 if !bytes.is_empty() => bytes[at] = byte,
                1 => bytes.truncate(at),
                2 => bytes.insert(at.min(bytes.len()), byte),
                _ => {
                    let tail = bytes[at.min(bytes.len())..].to_vec();
                    bytes.extend(tail.iter().take(100));
                }
            }
        }
    }
}

#[test]
fn damaged_text_files_are_refused_or_read() {
    let mut run = Run::start(&sh("exit 0"));
    run.ended();
    let home = tempfile::tempdir().unwrap();
    let dir = RunDir::create(home.path().join("r")).unwrap();
    let mut random = Random(7);
    let mut refused = 0;
    for name in ["lock", "identity", "exit"] {
        let whole = std::fs::read(run.dir.path().join(name)).unwrap();
        for _ in 0..1500 {
            let mut bytes = whole.clone();
            random.damage(&mut bytes);
            std::fs::write(dir.path().join(name), &bytes).unwrap();
            let error = match name {
                "lock" => dir.read_spec().err(),
                "identity" => dir.read_identity().err(),
                _ => dir.read_exit().err(),
            };
            if let Some(error) = error {
                refused += 1;
                assert!(error.to_string().contains(name), "{error}");
            }
        }
    }
    assert!(refused > 1000, "{refused}");
}

fn read_all(dir: &Path) -> (u64, u64) {
    let mut reader = Reader::open(dir).unwrap();
    let (mut records, mut gaps) = (0, 0);
    loop {
        match reader.next().unwrap() {
            ReadItem::Record(_) => records += 1,
            ReadItem::Gap { .. } => gaps += 1,
            ReadItem::End => return (records, gaps),
        }
        assert!(records + gaps < 100_000);
    }
}

#[test]
fn damaged_segments_are_passed_over() {
    let home = tempfile::tempdir().unwrap();
    let limits = LogLimits {
        max_size: 600,
        max_files: 100,
    };
    let mut writer = Writer::open(home.path(), limits, 1).unwrap();
    for i in 0..60 {
        writer.append(
            if i % 2 == 0 {
                Stream::Stdout
            } else {
                Stream::Stderr
            },
            b"some\nlines\n",
            i,
        );
    }
    assert_eq!(read_all(home.path()), (60, 0));
    let second = home.path().join("000002.seg");
    let whole = std::fs::read(&second).unwrap();
    let mut random = Random(11);
    let mut with_gaps = 0;
    for _ in 0..2000 {
        let mut bytes = whole.clone();
        random.damage(&mut bytes);
        std::fs::write(&second, &bytes).unwrap();
        let (records, gaps) = read_all(home.path());
        with_gaps += u64::from(gaps > 0);
        assert!((43..=80).contains(&records), "{records}");
        Reader::open_tail(home.path(), 30).unwrap().next().unwrap();
    }
    assert!(with_gaps > 500, "{with_gaps}");
    // Damage at the very end counts as the end, until there is a later segment.
    std::fs::write(&second, &whole).unwrap();
    std::fs::write(home.path().join("000777.seg"), [0; 5000]).unwrap();
    assert_eq!(read_all(home.path()), (60, 0));
}

#[test]
fn random_frames_and_lines_are_decoded_or_refused() {
    let mut random = Random(3);
    let whole = Request::Signal {
        signal: 9,
        scope: harness_shim::control::Scope::Tree,
    }
    .encode();
    for _ in 0..20_000 {
        let mut bytes = whole.clone();
        random.damage(&mut bytes);
        if let Ok(Some((request, used))) = Request::decode(&bytes) {
            assert_eq!(request.encode(), bytes[..used]);
        }
        let mut line = b"started 12 34\n".to_vec();
        random.damage(&mut line);
        let _ = Handshake::parse(&line);
    }
}
