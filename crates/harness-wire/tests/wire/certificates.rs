//! The certificates of a home are made, renewed, repaired or refused.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use harness_wire::server::Limits;
use harness_wire::tls::{TlsDir, TlsError, Validity};

use crate::support::{Server, client_dir, in_time, spawn_on_smol};

const DAY: Duration = Duration::from_secs(24 * 3600);
const FILES: [&str; 6] = [
    "ca.key",
    "ca.pem",
    "server.key",
    "server.pem",
    "client.key",
    "client.pem",
];

struct Home {
    folder: tempfile::TempDir,
    tls: TlsDir,
}

impl Home {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let tls = TlsDir::new(folder.path().join("tls"));
        Self { folder, tls }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.tls.path().join(name)
    }

    fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.file(name)).unwrap()
    }

    async fn works(self) {
        let Self { folder, tls } = self;
        let server = Server::start_with(spawn_on_smol(), Limits::default(), folder, tls).await;
        server.control().await;
    }
}

fn names(paths: &[PathBuf]) -> Vec<&str> {
    paths
        .iter()
        .map(|p| p.file_name().unwrap().to_str().unwrap())
        .collect()
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn what_is_missing_is_made_once_and_private() {
    let home = Home::new();
    let now = SystemTime::now();
    let ensured = home.tls.ensure(now).unwrap();
    assert_eq!(names(&ensured.created), FILES);
    assert_eq!(mode(home.tls.path()), 0o700);
    for name in FILES {
        assert_eq!(mode(&home.file(name)), 0o600, "{name}");
    }
    assert_eq!(fs::read_dir(home.tls.path()).unwrap().count(), FILES.len());
    let before = FILES.map(|name| home.read(name));
    assert!(home.tls.ensure(now).unwrap().is_unchanged());
    assert_eq!(FILES.map(|name| home.read(name)), before);
    let left = home.tls.server_certificate_expiry().unwrap().since(now.into());
    assert!(left > 364 * DAY && left <= 365 * DAY, "{left:?}");
}

#[test]
fn each_file_that_is_lost_is_made_again() {
    for lost in FILES {
        smol::block_on(async {
            let home = Home::new();
            let now = SystemTime::now();
            home.tls.ensure(now).unwrap();
            fs::remove_file(home.file(lost)).unwrap();
            fs::write(home.file("server.new"), "left by a crash").unwrap();
            let ensured = home.tls.ensure(now).unwrap();
            match lost {
                // Nothing has to be signed, so it is not needed yet.
                "ca.key" => assert!(ensured.is_unchanged()),
                _ => assert_eq!(names(&ensured.created), [lost]),
            }
            home.works().await;
        });
    }
}

#[test]
fn leaves_are_renewed_with_their_keys_a_month_before_their_end() {
    let home = Home::new();
    let born = SystemTime::now();
    home.tls.ensure(born).unwrap();
    let expiry = home.tls.server_certificate_expiry().unwrap();
    let keys = ["server.key", "client.key", "ca.key", "ca.pem"].map(|name| home.read(name));
    assert!(home.tls.ensure(born + 334 * DAY).unwrap().is_unchanged());
    let ensured = home.tls.ensure(born + 336 * DAY).unwrap();
    assert_eq!(names(&ensured.renewed), ["server.pem", "client.pem"]);
    assert!(ensured.created.is_empty());
    let later = home.tls.server_certificate_expiry().unwrap().since(expiry);
    assert!(later > 335 * DAY && later < 337 * DAY, "{later:?}");
    assert_eq!(
        ["server.key", "client.key", "ca.key", "ca.pem"].map(|name| home.read(name)),
        keys
    );
    assert!(home.tls.ensure(born + 337 * DAY).unwrap().is_unchanged());
}

#[test]
fn a_renewed_authority_is_still_the_one_that_old_clients_know() {
    smol::block_on(async {
        let home = Home::new();
        home.tls.ensure(SystemTime::now() - 9 * 365 * DAY).unwrap();
        let elsewhere = tempfile::tempdir().unwrap();
        let old_authority = client_dir(elsewhere.path(), &home.tls, &home.tls, "client");
        let ensured = home.tls.ensure(SystemTime::now()).unwrap();
        assert_eq!(names(&ensured.renewed), ["ca.pem", "server.pem", "client.pem"]);
        fs::copy(home.file("client.pem"), old_authority.path().join("client.pem")).unwrap();
        let Home { folder, tls } = home;
        let server = Server::start_with(spawn_on_smol(), Limits::default(), folder, tls).await;
        in_time(server.connect_with(&old_authority)).await.unwrap();
        server.control().await;
    });
}

#[test]
fn a_clock_set_back_a_day_changes_nothing_and_further_back_renews() {
    smol::block_on(async {
        let home = Home::new();
        home.tls.ensure(SystemTime::now() + DAY).unwrap();
        assert!(home.tls.ensure(SystemTime::now()).unwrap().is_unchanged());
        home.works().await;

        let home = Home::new();
        home.tls.ensure(SystemTime::now() + 4 * DAY).unwrap();
        let ensured = home.tls.ensure(SystemTime::now()).unwrap();
        assert_eq!(names(&ensured.renewed), ["ca.pem", "server.pem", "client.pem"]);
        home.works().await;
    });
}

/// With a clock that is a year ahead the leaves are renewed, eleven years ahead the authority too; then the clock is
/// corrected.
#[test]
fn what_is_renewed_while_the_clock_is_ahead_holds_when_it_is_set_right() {
    let rounds: [&[i32]; 5] = [&[400], &[400, 800], &[4_000], &[400, 4_000, 8_000], &[-40, 400]];
    for jumps in rounds {
        let home = Home::new();
        let now = SystemTime::now();
        home.tls.ensure(now).unwrap();
        for days in jumps {
            let then = match days {
                0.. => now + DAY * days.unsigned_abs(),
                _ => now - DAY * days.unsigned_abs(),
            };
            assert!(
                !home.tls.ensure(then).unwrap().renewed.is_empty(),
                "{days} of {jumps:?}"
            );
            assert_eq!(
                home.tls.client_validity(then).unwrap(),
                Validity::Valid,
                "{jumps:?}"
            );
        }
        assert_eq!(
            home.tls.client_validity(now).unwrap(),
            Validity::Valid,
            "{jumps:?}"
        );
        assert!(home.tls.term().unwrap().begin <= now.into(), "{jumps:?}");
        smol::block_on(in_time(home.works()));
    }
}

#[test]
fn a_key_that_others_can_read_is_refused_with_the_remedy() {
    for key in ["ca.key", "server.key", "client.key"] {
        for exposed in [0o640, 0o604, 0o620] {
            let home = Home::new();
            home.tls.ensure(SystemTime::now()).unwrap();
            set_mode(&home.file(key), exposed);
            let error = home.tls.ensure(SystemTime::now()).unwrap_err();
            assert!(matches!(&error, TlsError::Exposed { mode, .. } if *mode == exposed));
            let remedy = format!("chmod 600 '{}'", home.file(key).display());
            assert!(error.to_string().ends_with(&remedy), "{error}");
            match key {
                "server.key" => assert!(matches!(home.tls.server_config(), Err(TlsError::Exposed { .. }))),
                "client.key" => assert!(matches!(home.tls.client_config(), Err(TlsError::Exposed { .. }))),
                _ => {}
            }
            set_mode(&home.file(key), 0o600);
            assert!(home.tls.ensure(SystemTime::now()).unwrap().is_unchanged());
        }
    }
}

#[test]
fn an_open_folder_is_closed() {
    let home = Home::new();
    fs::create_dir(home.tls.path()).unwrap();
    set_mode(home.tls.path(), 0o755);
    home.tls.ensure(SystemTime::now()).unwrap();
    assert_eq!(mode(home.tls.path()), 0o700);
}

#[test]
fn a_damaged_file_is_named_and_left_alone() {
    for name in FILES {
        let home = Home::new();
        home.tls.ensure(SystemTime::now()).unwrap();
        let whole = home.read(name);
        let kind = if name.ends_with("key") {
            "PRIVATE KEY"
        } else {
            "CERTIFICATE"
        };
        let hollow = format!("-----BEGIN {kind}-----\nAAAA\n-----END {kind}-----\n");
        for damage in [
            &b""[..],
            b"\xff\xfe\0",
            &whole[..whole.len() / 2],
            hollow.as_bytes(),
        ] {
            fs::write(home.file(name), damage).unwrap();
            let error = home.tls.ensure(SystemTime::now()).unwrap_err();
            assert!(
                error.to_string().contains(home.file(name).to_str().unwrap()),
                "{error}"
            );
            assert_eq!(home.read(name), damage);
        }
    }
}

#[test]
fn an_authority_that_is_not_of_its_key_is_refused() {
    let (home, other) = (Home::new(), Home::new());
    home.tls.ensure(SystemTime::now()).unwrap();
    other.tls.ensure(SystemTime::now()).unwrap();
    fs::copy(other.file("ca.pem"), home.file("ca.pem")).unwrap();
    let error = home.tls.ensure(SystemTime::now()).unwrap_err();
    assert!(matches!(error, TlsError::Mismatch { .. }), "{error:?}");
}

#[test]
fn without_the_authoritys_key_all_is_well_until_something_must_be_signed() {
    let home = Home::new();
    let now = SystemTime::now();
    home.tls.ensure(now).unwrap();
    fs::remove_file(home.file("ca.key")).unwrap();
    assert!(home.tls.ensure(now).unwrap().is_unchanged());
    let overdue = home.tls.ensure(now + 340 * DAY).unwrap().overdue;
    assert_eq!(overdue.len(), 2, "still valid, but must be renewed: {overdue:?}");
    assert!(overdue[0].error.to_string().contains("ca.key"), "{overdue:?}");
    let error = home.tls.ensure(now + 366 * DAY).unwrap_err();
    assert!(
        matches!(&error, TlsError::Expired { path, .. } if path.ends_with("server.pem")),
        "{error}"
    );
    let error = home.tls.ensure(now + 3_700 * DAY).unwrap_err();
    assert!(
        matches!(&error, TlsError::Expired { path, key } if path.ends_with("ca.pem") && key.ends_with("ca.key")),
        "{error}"
    );
    let error = home.tls.ensure(now - 3 * DAY).unwrap_err();
    assert!(error.to_string().contains("clock"), "{error}");
}

#[test]
fn what_cannot_be_renewed_is_used_to_its_end() {
    let home = Home::new();
    let born = SystemTime::now();
    home.tls.ensure(born).unwrap();
    // A folder in the way cannot be removed like a file.
    for name in ["server.new", "client.new"] {
        fs::create_dir(home.file(name)).unwrap();
    }
    let before = home.read("server.pem");
    let ensured = home.tls.ensure(born + 340 * DAY).unwrap();
    assert_eq!(ensured.overdue.len(), 2, "{ensured:?}");
    assert_eq!(home.read("server.pem"), before);
    home.tls.ensure(born + 366 * DAY).unwrap_err();
    for name in ["server.new", "client.new"] {
        fs::remove_dir(home.file(name)).unwrap();
    }
    let ensured = home.tls.ensure(born + 366 * DAY).unwrap();
    assert_eq!(names(&ensured.renewed), ["server.pem", "client.pem"]);
}

#[test]
fn renewal_is_due_when_the_first_certificate_is_near_its_end() {
    let home = Home::new();
    let born = SystemTime::now();
    home.tls.ensure(born).unwrap();
    let left = home.tls.term().unwrap().renewal.since(born.into());
    assert!(left > 334 * DAY && left <= 335 * DAY, "{left:?}");
    assert_eq!(home.tls.client_validity(born).unwrap(), Validity::Valid);
    assert_eq!(
        home.tls.client_validity(born - 3 * DAY).unwrap(),
        Validity::NotYet
    );
    assert_eq!(
        home.tls.client_validity(born + 366 * DAY).unwrap(),
        Validity::Expired
    );
}

#[test]
fn leaves_of_another_authority_are_replaced() {
    smol::block_on(async {
        let (home, other) = (Home::new(), Home::new());
        home.tls.ensure(SystemTime::now()).unwrap();
        other.tls.ensure(SystemTime::now()).unwrap();
        for name in ["ca.pem", "ca.key"] {
            fs::copy(other.file(name), home.file(name)).unwrap();
        }
        let ensured = home.tls.ensure(SystemTime::now()).unwrap();
        assert_eq!(names(&ensured.renewed), ["server.pem", "client.pem"]);
        home.works().await;
    });
}

#[test]
fn extra_names_are_added_to_the_server() {
    let home = Home::new();
    home.tls.ensure(SystemTime::now()).unwrap();
    let named = home.tls.clone().with_server_names([
        "box.example".to_owned(),
        "10.1.2.3".to_owned(),
        "fd00::1".to_owned(),
    ]);
    assert_eq!(
        names(&named.ensure(SystemTime::now()).unwrap().renewed),
        ["server.pem"]
    );
    assert!(named.ensure(SystemTime::now()).unwrap().is_unchanged());
    let bad = home.tls.clone().with_server_names(["häl lo".to_owned()]);
    assert!(matches!(
        bad.ensure(SystemTime::now()),
        Err(TlsError::Issue { .. })
    ));
}

#[test]
fn many_at_once_make_one_set() {
    smol::block_on(async {
        let home = Home::new();
        std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8)
                .map(|_| scope.spawn(|| home.tls.ensure(SystemTime::now()).unwrap()))
                .collect();
            let made: usize = threads.into_iter().map(|t| t.join().unwrap().created.len()).sum();
            assert_eq!(made, FILES.len());
        });
        home.works().await;
    });
}
