//! The text files of a run directory: the spec in `lock`, `identity`, `exit`.

use std::ffi::OsStr;
use std::fmt::Debug;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use harness_shim::run_dir::{EXIT, IDENTITY, LOCK, LaunchSpec, ParseError, RunDir, RunDirError};

use crate::folder;

pub(crate) const WORDS: &[&str] = &[
    "harness-spec 1\n",
    "harness-identity 1\n",
    "harness-exit 1\n",
    "run_id ",
    "program ",
    "cwd ",
    "arg ",
    "env ",
    "user ",
    "limit open_files 64\n",
    "limit ",
    "stdin keep\n",
    "tty 80 24\n",
    "stop 15 mixed 10000000000\n",
    "log 1 1\n",
    "cgroup /x\n",
    "shim ",
    "main ",
    "started_at_ns ",
    "ended_at_ns ",
    "outcome exited 3\n",
    "outcome signaled 9\n",
    "outcome spawn-failed exec 2\n",
    "stop_requested true\n",
    "killed false\n",
    "dropped_log_bytes 1\n",
    "dropped_log_lines 1\n",
    "\\n",
    "\\0",
    "\\\\",
    "\\x",
    "=",
    "\n",
];

/// A file is refused, or it says the same after it was written again. Nothing in it may be ignored.
pub(crate) fn check(data: &[u8]) {
    folder::with(|folder| {
        let dir = RunDir::open(folder).unwrap();
        file(
            folder,
            LOCK,
            data,
            || dir.read_spec(),
            |spec| dir.write_spec(spec),
        );
        file(
            folder,
            IDENTITY,
            data,
            || dir.read_identity().map(Option::unwrap),
            |identity| dir.write_identity(identity),
        );
        file(
            folder,
            EXIT,
            data,
            || dir.read_exit().map(Option::unwrap),
            |exit| dir.write_exit(exit),
        );
        any_bytes(&dir, data);
    });
}

fn file<T: PartialEq + Debug>(
    folder: &Path,
    name: &str,
    data: &[u8],
    read: impl Fn() -> Result<T, RunDirError>,
    write: impl Fn(&T) -> Result<(), RunDirError>,
) {
    let path = folder.join(name);
    std::fs::write(&path, data).unwrap();
    let Some(value) = understood(read()) else {
        return;
    };
    write(&value).unwrap();
    let canonical = std::fs::read(&path).unwrap();
    assert_eq!(read().unwrap(), value);

    // An unknown key is an error, wherever it is.
    std::fs::write(&path, [&canonical[..], b"new_key 1\n"].concat()).unwrap();
    assert!(matches!(
        read(),
        Err(RunDirError::Parse {
            source: ParseError::BadLine(_),
            ..
        })
    ));
    let title = canonical.iter().position(|byte| *byte == b'\n').unwrap();
    let mut newer = canonical.clone();
    newer[title - 1] = b'2';
    std::fs::write(&path, newer).unwrap();
    assert!(matches!(
        read(),
        Err(RunDirError::Parse {
            source: ParseError::NewerFormat { found: 2, known: 1 },
            ..
        })
    ));
    // So is a file that was cut short inside a line.
    std::fs::write(&path, &canonical[..canonical.len() - 1]).unwrap();
    assert!(read().is_err());
}

/// The result, unless the file is damaged. The error must be about that damage.
fn understood<T>(result: Result<T, RunDirError>) -> Option<T> {
    match result {
        Ok(value) => Some(value),
        Err(RunDirError::Parse { source, .. }) => {
            assert!(!source.to_string().is_empty());
            None
        }
        Err(other) => panic!("{other}"),
    }
}

/// Arguments, variables and paths can be any bytes, and must come back unchanged.
fn any_bytes(dir: &RunDir, data: &[u8]) {
    let mut pieces = data.split(|byte| *byte == b'|').map(OsStr::from_bytes);
    let mut spec = LaunchSpec::new("p", "c", "r");
    let or = |piece: Option<&OsStr>, other: &str| match piece {
        Some(piece) if !piece.is_empty() => piece.to_owned(),
        _ => other.into(),
    };
    spec.program = or(pieces.next(), "p").into();
    spec.cwd = or(pieces.next(), "c").into();
    spec.env = vec![("A_KEY".into(), or(pieces.next(), ""))];
    spec.cgroup = pieces.next().map(Into::into);
    spec.user = pieces.next().map(|user| user.to_string_lossy().into_owned());
    spec.args = pieces.map(OsStr::to_owned).collect();
    dir.write_spec(&spec).unwrap();
    assert_eq!(dir.read_spec().unwrap(), spec);
}
