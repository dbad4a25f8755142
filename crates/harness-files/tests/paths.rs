//! What is followed and what is not, and what is never replaced or waited for. Most of it needs root, to act as
//! others.

#![cfg(test)]

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown, lchown, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use harness_files::{
    Content, FileError, FileId, Kind, Who, create, fresh, make_folder, open_folder, open_guarded, place,
    read, read_text, write, write_as_user, write_if_ours,
};
use tempfile::TempDir;

const OTHER: u32 = 65534;

/// A folder of this user in which nobody else can do anything.
fn ours() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("secret")).unwrap();
    dir
}

/// Only root can act as others.
fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// A folder that belongs to another user.
fn theirs(path: &Path) -> PathBuf {
    fs::create_dir(path).unwrap();
    chown(path, Some(OTHER), Some(OTHER)).unwrap();
    path.to_owned()
}

fn folder_with_mode(path: &Path, mode: u32) -> PathBuf {
    fs::create_dir(path).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    path.to_owned()
}

fn content(bytes: &[u8]) -> Content<'_> {
    Content {
        bytes,
        mode: 0o644,
        owner: None,
        keep: &[],
    }
}

fn put(path: &Path) -> Result<(), FileError> {
    write(path, &content(b"new"))
}

fn is_link(error: &FileError, at: &Path) -> bool {
    matches!(error, FileError::Link { link, .. } if link == at)
}

#[test]
fn links_of_ours_in_folders_of_ours_are_followed() {
    let dir = ours();
    let at = |name: &str| dir.path().join(name);
    fs::create_dir(at("real")).unwrap();
    symlink("real", at("conf")).unwrap();
    symlink(at("conf"), at("twice")).unwrap();
    symlink("../real/./made/../app.toml", at("secret/file")).unwrap();
    fs::create_dir(at("real/made")).unwrap();
    put(&at("conf/one")).unwrap();
    put(&at("twice/deep/er/two")).unwrap();
    put(&at("secret/file")).unwrap();
    for file in ["real/one", "real/deep/er/two", "real/app.toml"] {
        assert_eq!(fs::read_to_string(at(file)).unwrap(), "new", "{file}");
    }
    assert!(fs::symlink_metadata(at("secret/file")).unwrap().is_symlink());
    assert_eq!(
        fs::read_dir(at("real")).unwrap().count(),
        4,
        "nothing else is left"
    );
    // A link that leads nowhere: the file at its end is made. A circle of links is an error.
    symlink("real/new/three", at("hanging")).unwrap();
    put(&at("hanging")).unwrap();
    assert_eq!(fs::read_to_string(at("real/new/three")).unwrap(), "new");
    symlink("b", at("a")).unwrap();
    symlink("a", at("b")).unwrap();
    assert!(put(&at("a/x")).is_err() && write_as_user(&at("a"), &content(b"")).is_err());
}

#[test]
fn links_that_others_could_have_made_are_named_and_not_followed() {
    if !is_root() {
        return;
    }
    let dir = ours();
    let at = |name: &str| dir.path().join(name);
    let run = theirs(&at("run"));
    symlink(at("secret"), run.join("conf")).unwrap();
    symlink(at("secret/app.toml"), run.join("app.toml")).unwrap();
    // The owner of the folder could have moved one of root's links there.
    let error = put(&run.join("conf/app.toml")).unwrap_err();
    assert!(is_link(&error, &run.join("conf")), "{error}");
    let words = error.to_string();
    assert!(
        words.contains("run/conf") && words.contains("uid 65534 owns"),
        "{words}"
    );
    assert!(is_link(
        &put(&run.join("app.toml")).unwrap_err(),
        &run.join("app.toml")
    ));

    // Nothing below such a folder is trusted any more, whoever it belongs to.
    fs::create_dir(run.join("roots")).unwrap();
    symlink(at("secret"), run.join("roots/conf")).unwrap();
    assert!(is_link(
        &put(&run.join("roots/conf/x")).unwrap_err(),
        &run.join("roots/conf")
    ));
    // The same, through one of our links that leads there.
    symlink("run/roots", at("way")).unwrap();
    assert!(is_link(
        &put(&at("way/conf/x")).unwrap_err(),
        &run.join("roots/conf")
    ));

    // Folders that a group or everybody may write to, with and without the sticky bit.
    for (name, mode, gid) in [("all", 0o777, 0), ("sticky", 0o1777, 0), ("group", 0o775, OTHER)] {
        let open = folder_with_mode(&at(name), mode);
        chown(&open, Some(0), Some(gid)).unwrap();
        fs::set_permissions(&open, fs::Permissions::from_mode(mode)).unwrap();
        symlink(at("secret"), open.join("conf")).unwrap();
        assert!(
            is_link(&put(&open.join("conf/x")).unwrap_err(), &open.join("conf")),
            "{name}"
        );
        assert!(
            is_link(
                &make_folder(&open.join("conf/x")).unwrap_err(),
                &open.join("conf")
            ),
            "{name}"
        );
        assert!(
            is_link(&open_folder(&open.join("conf")).unwrap_err(), &open.join("conf")),
            "{name}"
        );
        assert!(place(&open.join("conf/x")).is_err() && fresh(&open.join("conf/x"), 0o644).is_err());
        assert!(create(&open.join("conf/x"), 0o644).is_err());
    }
    // A link that root gave away, in a folder that nobody else may write to.
    symlink(at("secret"), at("given")).unwrap();
    lchown(at("given"), Some(OTHER), Some(OTHER)).unwrap();
    assert!(is_link(&put(&at("given/x")).unwrap_err(), &at("given")));
    assert_eq!(fs::read_dir(at("secret")).unwrap().count(), 0);
}

#[test]
fn folders_of_others_are_written_to_where_no_link_is_on_the_way() {
    if !is_root() {
        return;
    }
    let dir = ours();
    let run = theirs(&dir.path().join("run"));
    put(&run.join("conf/app.toml")).unwrap();
    put(&run.join("conf/../conf/./other.toml")).unwrap();
    assert_eq!(fs::read_dir(run.join("conf")).unwrap().count(), 2);
    make_folder(&run.join("data/deep")).unwrap();
    create(&run.join("data/new"), 0o600).unwrap();
    let error = create(&run.join("data/new"), 0o600).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::AlreadyExists, "{error}");
    assert!(run.join("data/deep").is_dir());

    let found = place(&run.join("conf/app.toml")).unwrap();
    assert_eq!(
        (found.path, found.is_folder),
        (run.join("conf/app.toml"), Some(false))
    );
    let exposure = found.exposure.unwrap();
    assert_eq!((exposure.folder, exposure.who), (run.clone(), Who::Owner(OTHER)));
    let exposed = write_if_ours(&run.join("conf/app.toml"), &content(b"x")).unwrap_err();
    assert!(matches!(exposed, FileError::Exposed(_)), "{exposed}");
    // `/tmp` belongs to everybody, but what we made in it is ours.
    assert!(place(&dir.path().join("secret")).unwrap().exposure.is_none());
    let own = dir.path().join("secret/app.toml");
    let given = Content {
        owner: Some((OTHER, OTHER)),
        mode: 0o600,
        ..content(b"given")
    };
    write_if_ours(&own, &given).unwrap();
    let meta = fs::metadata(&own).unwrap();
    use std::os::unix::fs::MetadataExt;
    assert_eq!(
        (meta.uid(), meta.gid(), meta.mode() & 0o777),
        (OTHER, OTHER, 0o600)
    );
}

#[test]
fn whoever_swaps_a_folder_for_a_link_in_time_never_wins() {
    if !is_root() {
        return;
    }
    let dir = ours();
    let run = theirs(&dir.path().join("run"));
    let (secret, conf) = (dir.path().join("secret"), run.join("conf"));
    fs::create_dir(&conf).unwrap();
    symlink(&secret, run.join("link")).unwrap();
    let stop = AtomicBool::new(false);
    let (mut written, mut refused) = (0, 0);
    std::thread::scope(|scope| {
        let swapper = scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                let flags = rustix::fs::RenameFlags::EXCHANGE;
                let (cwd, link) = (rustix::fs::CWD, run.join("link"));
                rustix::fs::renameat_with(cwd, &conf, cwd, &link, flags).unwrap();
            }
        });
        for _ in 0..2000 {
            match put(&conf.join("app.toml")) {
                Ok(()) => written += 1,
                Err(_) => refused += 1,
            }
            let _ = make_folder(&conf.join("made"));
            let _ = create(&conf.join("new"), 0o644);
        }
        stop.store(true, Ordering::Relaxed);
        swapper.join().unwrap();
    });
    assert_eq!(
        fs::read_dir(&secret).unwrap().count(),
        0,
        "{written} written, {refused} refused"
    );
    assert!(written > 0 && refused > 0, "{written} written, {refused} refused");
}

#[test]
fn what_is_no_regular_file_is_never_replaced_nor_read() {
    let dir = ours();
    let at = |name: &str| dir.path().join(name);
    rustix::fs::mknodat(
        rustix::fs::CWD,
        at("fifo"),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::from_raw_mode(0o600),
        0,
    )
    .unwrap();
    let _socket = UnixListener::bind(at("socket")).unwrap();
    symlink("/dev/zero", at("zero")).unwrap();
    symlink("fifo", at("linked")).unwrap();
    for (name, kind) in [
        (at("fifo"), Kind::Pipe),
        (at("linked"), Kind::Pipe),
        (at("socket"), Kind::Socket),
        (at("secret"), Kind::Folder),
        (at("zero"), Kind::Device),
        ("/dev/null".into(), Kind::Device),
    ] {
        let of = |error: FileError| matches!(error, FileError::Kind(found) if found == kind);
        assert!(of(put(&name).unwrap_err()), "{}", name.display());
        assert!(
            of(write_as_user(&name, &content(b"x")).unwrap_err()),
            "{}",
            name.display()
        );
        assert!(of(read(&name, 10).unwrap_err()), "{}", name.display());
        assert!(of(open_guarded(&name).unwrap_err()), "{}", name.display());
    }
    use std::os::unix::fs::FileTypeExt;
    assert!(fs::metadata(at("fifo")).unwrap().file_type().is_fifo());
    assert!(fs::metadata("/dev/null").unwrap().file_type().is_char_device());

    for name in ["", "secret/", "secret/.", "secret/.."] {
        let error = write(&at(name), &content(b"x")).unwrap_err();
        assert!(matches!(error, FileError::NoFile { .. }), "{name}: {error}");
    }
    assert!(matches!(
        put(Path::new("relative")),
        Err(FileError::NoFile { .. })
    ));
    assert!(matches!(put(Path::new("/a\0b")), Err(FileError::NoFile { .. })));
}

#[test]
fn files_that_are_to_be_kept_are_told_by_what_they_are() {
    let dir = ours();
    let at = |name: &str| dir.path().join(name);
    fs::write(at("services.yaml"), "mine").unwrap();
    symlink("services.yaml", at("alias")).unwrap();
    fs::hard_link(at("services.yaml"), at("name")).unwrap();
    let keep = [FileId::of(&at("services.yaml")).unwrap()];
    let kept = Content {
        keep: &keep,
        ..content(b"new")
    };
    for name in ["services.yaml", "alias", "name", "secret/../services.yaml"] {
        assert!(matches!(write(&at(name), &kept), Err(FileError::Kept)), "{name}");
        assert!(
            matches!(write_if_ours(&at(name), &kept), Err(FileError::Kept)),
            "{name}"
        );
    }
    for name in ["services.yaml", "alias", "name"] {
        assert!(
            matches!(write_as_user(&at(name), &kept), Err(FileError::Kept)),
            "{name}"
        );
    }
    write(&at("other.yaml"), &kept).unwrap();
    assert_eq!(fs::read_to_string(at("services.yaml")).unwrap(), "mine");
}

#[test]
fn what_is_read_is_bounded_text() {
    let dir = ours();
    let at = |name: &str| dir.path().join(name);
    fs::write(at("five"), "12345").unwrap();
    fs::write(at("bytes"), b"\xff").unwrap();
    assert_eq!(read_text(&at("five"), 5).unwrap(), "12345");
    assert!(matches!(
        read_text(&at("five"), 4),
        Err(FileError::TooLarge { max: 4 })
    ));
    assert!(matches!(read_text(&at("bytes"), 4), Err(FileError::NotText)));
    let missing = std::io::Error::from(read(&at("none"), 1).unwrap_err());
    assert_eq!(missing.raw_os_error(), Some(2));
    // The kernel writes this file while it is read, so its size is unknown.
    assert!(!read("/proc/self/status".as_ref(), 1 << 20).unwrap().is_empty());
}

#[test]
fn root_reads_through_no_link_that_others_could_have_made() {
    if !is_root() {
        return;
    }
    let dir = ours();
    let at = |name: &str| dir.path().join(name);
    fs::write(at("secret/key"), "hunter2").unwrap();
    let run = theirs(&at("run"));
    symlink(at("secret/key"), run.join("app.env")).unwrap();
    symlink(at("secret"), run.join("conf")).unwrap();
    symlink("secret/key", at("app.env")).unwrap();
    assert!(is_link(
        &open_guarded(&run.join("app.env")).unwrap_err(),
        &run.join("app.env")
    ));
    assert!(is_link(
        &open_guarded(&run.join("conf/key")).unwrap_err(),
        &run.join("conf")
    ));
    assert!(open_guarded(&at("app.env")).is_ok());
    fs::write(run.join("own.env"), "A=1").unwrap();
    assert!(open_guarded(&run.join("own.env")).is_ok());
}

#[test]
fn an_access_control_list_counts_as_others() {
    if !is_root() {
        return;
    }
    let dir = ours();
    let open = folder_with_mode(&dir.path().join("listed"), 0o775);
    assert!(place(&open).unwrap().exposure.is_none(), "root's own group");
    // user::rwx, user:65534:rwx, group::r-x, mask::rwx, other::r-x
    let entries: [(u16, u16, u32); 5] = [
        (1, 7, u32::MAX),
        (2, 7, OTHER),
        (4, 5, u32::MAX),
        (16, 7, u32::MAX),
        (32, 5, u32::MAX),
    ];
    let mut list = 2_u32.to_le_bytes().to_vec();
    for (tag, permissions, id) in entries {
        list.extend(tag.to_le_bytes());
        list.extend(permissions.to_le_bytes());
        list.extend(id.to_le_bytes());
    }
    let set = rustix::fs::setxattr(
        &open,
        "system.posix_acl_access",
        &list,
        rustix::fs::XattrFlags::empty(),
    );
    if set.is_err() {
        eprintln!("skipped: no access control lists on this filesystem");
        return;
    }
    let exposure = place(&open).unwrap().exposure.unwrap();
    assert_eq!(exposure.who, Who::Group(0));
}
