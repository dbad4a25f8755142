//! What a host does besides commands and runs: files, programs, paths, connections, output, and what it adds to a
//! launch. Everything goes through the trait, as for a host that is elsewhere.

#![cfg(test)]

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::sync::Arc;

use command_executor::host::{ConnectError, Endpoint, FileKind, FindError, PutFile, Search};
use command_executor::logs::{Read, ReadItem};
use command_executor::supervised::{Cause, LaunchError, LogLimits, Resource, Stdin};
use command_executor::{Command, Host, Layer, Local, Managed};
use smol::io::{AsyncReadExt, AsyncWriteExt};

mod support;
use support::*;

fn at(home: &Path) -> Arc<dyn Host> {
    Arc::new(Local::new(shim(), home))
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

fn file(target: &Path, content: &str) -> PutFile {
    PutFile {
        target: target.to_owned(),
        content: content.into(),
        mode: 0o640,
        owner: None,
        keep: Vec::new(),
    }
}

#[test]
fn a_file_is_put_as_a_whole_and_replaces_nothing_that_must_stay() {
    let dir = tempfile::tempdir().unwrap();
    let (host, target) = (at(dir.path()), dir.path().join("a/b/config"));
    block_on(host.put(file(&target, "one"))).unwrap();
    let read = || fs::read_to_string(&target).unwrap();
    assert_eq!(read(), "one");
    assert_eq!(fs::metadata(&target).unwrap().permissions().mode() & 0o777, 0o640);
    block_on(host.put(file(&target, "two"))).unwrap();
    assert_eq!(read(), "two");

    // It is the same file under another name.
    let other = dir.path().join("project.yaml");
    fs::hard_link(&target, &other).unwrap();
    let mut kept = file(&target, "three");
    kept.keep = vec![other];
    assert!(block_on(host.put(kept.clone())).is_err());
    assert_eq!(read(), "two");
    assert!(!format!("{kept:?}").contains("three"));

    if !is_root() {
        return eprintln!("the rest was skipped: only root can write for others");
    }
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let mut theirs = file(&dir.path().join("a/theirs"), "four");
    theirs.owner = Some("nobody".to_owned());
    block_on(host.put(theirs.clone())).unwrap();
    assert_ne!(fs::metadata(&theirs.target).unwrap().uid(), 0);
    theirs.owner = Some("no-such-user".to_owned());
    let refused = answered(block_on(host.put(theirs))).unwrap_err();
    assert!(refused.to_string().contains("no-such-user"), "{refused}");
}

#[test]
fn a_program_is_found_for_its_folder() {
    let dir = tempfile::tempdir().unwrap();
    let host = at(dir.path());
    let search = |program: &str, folder: &Path| Search {
        program: program.to_owned(),
        path: "tools:/bin".to_owned(),
        folder: folder.to_owned(),
        is_guarded: false,
    };
    let find = |search| answered(block_on(host.find(search)));
    fs::create_dir(dir.path().join("tools")).unwrap();
    let tool = dir.path().join("tools/tool");
    fs::write(&tool, "#!/bin/sh\n").unwrap();
    fs::set_permissions(&tool, fs::Permissions::from_mode(0o755)).unwrap();
    assert_eq!(find(search("tool", dir.path())).unwrap(), tool);
    assert_eq!(
        find(search("./tools/tool", dir.path())).unwrap(),
        dir.path().join("./tools/tool")
    );
    assert_eq!(find(search("sh", dir.path())).unwrap(), Path::new("/bin/sh"));

    let nowhere = find(search("sh", &dir.path().join("none"))).unwrap_err();
    assert!(matches!(nowhere, FindError::Folder { .. }), "{nowhere}");
    let missing = find(search("no-such-tool", dir.path())).unwrap_err();
    assert!(matches!(missing, FindError::NotInPath { .. }), "{missing}");
    let missing = find(search("./tool", dir.path())).unwrap_err();
    assert!(
        matches!(&missing, FindError::Program { source, .. } if source.kind() == ErrorKind::NotFound),
        "{missing}"
    );

    if !is_root() {
        return eprintln!("the rest was skipped: only root follows no link of others");
    }
    // Others could have made this link.
    let open = dir.path().join("open");
    fs::create_dir(&open).unwrap();
    fs::set_permissions(&open, fs::Permissions::from_mode(0o777)).unwrap();
    let link = open.join("link");
    symlink(dir.path(), &link).unwrap();
    std::os::unix::fs::lchown(&link, Some(65534), None).unwrap();
    assert!(find(search("sh", &link)).is_ok());
    let guarded = Search {
        is_guarded: true,
        ..search("sh", &link)
    };
    let refused = find(guarded).unwrap_err();
    assert!(matches!(refused, FindError::Folder { .. }), "{refused}");
}

#[test]
fn a_path_is_looked_at() {
    let dir = tempfile::tempdir().unwrap();
    let host = at(dir.path());
    let path = dir.path().join("file");
    fs::write(&path, "12345").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    let stat = block_on(host.stat(path.clone())).unwrap();
    assert_eq!((stat.kind, stat.mode, stat.size), (FileKind::File, 0o600, 5));
    assert_eq!(stat.owner, rustix::process::geteuid().as_raw());
    let stat = |path: &Path| answered(block_on(host.stat(path.to_owned())));
    assert_eq!(stat(dir.path()).unwrap().kind, FileKind::Folder);
    assert_eq!(stat(Path::new("/dev/null")).unwrap().kind, FileKind::Other);
    assert_eq!(
        stat(&dir.path().join("none")).unwrap_err().kind(),
        ErrorKind::NotFound
    );
}

#[test]
fn a_connection_carries_bytes_both_ways() {
    let dir = tempfile::tempdir().unwrap();
    let host = at(dir.path());
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let listener = smol::Async::new(listener).unwrap();
    let served = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut asked = [0; 4];
        stream.read_exact(&mut asked).await.unwrap();
        stream
            .write_all(&asked.map(|byte| byte.to_ascii_uppercase()))
            .await
            .unwrap();
    };
    let asked = async {
        let to = Endpoint::parse(&format!("localhost:{port}")).unwrap();
        let mut stream = host.connect(to).await.unwrap();
        stream.write_all(b"ping").await.unwrap();
        let mut said = String::new();
        stream.read_to_string(&mut said).await.unwrap();
        said
    };
    assert_eq!(block_on(smol::future::zip(served, asked)).1, "PING");

    drop(listener);
    let refused = block_on(host.connect(Endpoint::new("127.0.0.1", port).unwrap()));
    let refused = answered(refused).unwrap_err();
    assert!(
        matches!(&refused, ConnectError::Io(error) if error.kind() == ErrorKind::ConnectionRefused),
        "{refused}"
    );
}

/// Reads records until there are no more, with their sequence numbers.
async fn records(host: &dyn Host, run_dir: &Path, from: u64) -> Vec<(u64, Vec<u8>)> {
    let mut found = Vec::new();
    let mut records = host.records(run_dir.to_owned(), from).await.unwrap();
    loop {
        match records.read(1000).await.unwrap() {
            Read::Items(items) => found.extend(items.into_iter().filter_map(|item| match item {
                ReadItem::Record(record) => Some((record.seq, record.data)),
                _ => None,
            })),
            Read::CaughtUp => records.changed().await,
            Read::Over => return found,
        }
    }
}

#[test]
fn the_output_is_read_on_from_any_record_each_once() {
    let dir = tempfile::tempdir().unwrap();
    let (host, run_dir) = (at(dir.path()), dir.path().join("run"));
    let mut spec = sh_spec(&run_dir, "while read -r line; do printf '%080d\\n' $line; done");
    spec.stdin = Stdin::Keep;
    spec.log = LogLimits {
        max_size: 4096,
        max_files: 100,
    };
    let service = block_on(start(&*host, &run_dir, &spec)).unwrap();
    let written = async {
        for line in 0..300 {
            service
                .send_stdin(format!("{line}\n").into_bytes())
                .await
                .unwrap();
        }
        service.close_stdin().await.unwrap();
        service.wait().await.unwrap();
    };
    // One reader begins in what is written only later.
    let (all, ((), late)) = block_on(smol::future::zip(
        records(&*host, &run_dir, 0),
        smol::future::zip(written, records(&*host, &run_dir, 20)),
    ));
    let text: Vec<u8> = all.iter().flat_map(|(_, data)| data.clone()).collect();
    let expected: String = (0..300).map(|line| format!("{line:080}\n")).collect();
    assert!(String::from_utf8(text).unwrap() == expected);
    assert!(
        fs::read_dir(run_dir.join("log")).unwrap().count() > 2,
        "it rotated"
    );
    assert_eq!(
        late,
        all.iter()
            .filter(|(seq, _)| *seq >= 20)
            .cloned()
            .collect::<Vec<_>>()
    );
    for from in [1, all.len() as u64 / 2, all.last().unwrap().0, u64::MAX] {
        let rest: Vec<_> = all.iter().filter(|(seq, _)| *seq >= from).cloned().collect();
        assert_eq!(block_on(records(&*host, &run_dir, from)), rest, "from {from}");
    }
}

#[test]
fn a_refused_launch_says_what_the_machine_shows() {
    let dir = tempfile::tempdir().unwrap();
    let host = at(dir.path());
    let script = dir.path().join("script");
    fs::write(&script, "echo no first line\n").unwrap();
    let binary = dir.path().join("binary");
    fs::write(&binary, b"\0\0\0\0").unwrap();
    for path in [&script, &binary] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let cause = |name: &str, program: &Path, limits: Vec<(Resource, u64)>| {
        let run_dir = dir.path().join(name);
        let mut spec = sh_spec(&run_dir, "exit 0");
        spec.program = program.to_owned();
        spec.limits = limits;
        match block_on(start(&*host, &run_dir, &spec)).unwrap_err() {
            LaunchError::Spawn { cause, .. } => cause,
            error => panic!("{error:?}"),
        }
    };
    assert_eq!(cause("text", &script, Vec::new()), Some(Cause::NoInterpreterLine));
    assert_eq!(cause("bytes", &binary, Vec::new()), None);
    let most: u64 = fs::read_to_string("/proc/sys/fs/nr_open")
        .unwrap()
        .trim()
        .parse()
        .unwrap();
    let limits = vec![(Resource::Core, 0), (Resource::OpenFiles, most + 1)];
    assert_eq!(
        cause("limits", Path::new("/bin/true"), limits),
        Some(Cause::AboveMaximum(vec![(Resource::OpenFiles, most + 1)]))
    );
}

#[test]
fn a_layer_wraps_a_command_at_any_host() {
    let dir = tempfile::tempdir().unwrap();
    let host = at(dir.path());
    let command = sh("echo $A; echo ${B-gone}; cat")
        .env("A", "kept")
        .env("B", "here");
    let command = command
        .stdin(command_executor::StdinMode::Piped)
        .through(Layer::new("env").args(["-u", "B"]))
        .through(Layer::new("nice").args(["-n", "1"]));
    let mut running: Box<dyn Managed> = block_on(host.exec(command)).unwrap();
    let mut stdin = running.take_stdin().unwrap();
    block_on(stdin.write_all(b"and through both")).unwrap();
    drop(stdin);
    let (stdout, _, status) = block_on(collect(&mut *running));
    assert_eq!(
        (String::from_utf8(stdout).unwrap().as_str(), status.code()),
        ("kept\ngone\nand through both", Some(0))
    );
    let signalled = block_on(host.exec(Command::new("sleep").arg("60"))).unwrap();
    signalled.signal_group(15).unwrap();
    block_on(signalled.end()).unwrap();
}
