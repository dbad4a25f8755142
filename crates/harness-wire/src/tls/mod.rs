//! Mutual TLS with our own authority: the certificates of one harness home, and the TLS settings made from them.
//!
//! The authority is valid for ten years, leaf certificates for one year; they are renewed with the same key when 30
//! days are left. All begin two days in the past, and a renewed one begins no later than the one before. So a
//! certificate that was renewed while the clock was ahead is still valid when the clock is corrected. Keys are
//! written before their certificates, so the next [`TlsDir::ensure`] completes whatever a crash leaves behind. A file
//! that others can read, or that is damaged, is never replaced silently: the error names it.
//!
//! The client does not check the address that it connects to. It checks the name [`SERVER_NAME`] under our own
//! authority, so that a daemon can be reached at any address.

mod config;
mod error;
mod files;
mod issue;

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use harness_model::WallTime;
use rcgen::{Issuer, KeyPair};

pub use error::TlsError;
pub use futures_rustls::rustls::{ClientConfig, ServerConfig};
use issue::{Facts, Role};

/// The name that every server certificate has and every client checks.
pub const SERVER_NAME: &str = "harness.internal";

/// The folder `<home>/tls`: `ca.pem`, `ca.key`, `server.pem`, `server.key`, `client.pem`, `client.key`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsDir {
    path: PathBuf,
    extra_names: Vec<String>,
}

/// What [`TlsDir::ensure`] did; empty if nothing was needed.
#[derive(Debug, Default)]
pub struct Ensured {
    /// Files that were missing and have been created.
    pub created: Vec<PathBuf>,
    /// Certificates that were replaced: near their end, not valid yet, or not matching their key, their authority or
    /// the wanted names.
    pub renewed: Vec<PathBuf>,
    /// Certificates that are near their end and could not be replaced. They are still valid.
    pub overdue: Vec<Overdue>,
}

/// When the certificates of a home are valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Term {
    /// The time from which all of them are valid.
    pub begin: WallTime,
    /// The time when the first of them must be renewed.
    pub renewal: WallTime,
}

/// Whether a certificate is valid at some time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Validity {
    /// It is valid.
    Valid,
    /// It begins later. The clock is probably wrong.
    NotYet,
    /// It has expired.
    Expired,
}

/// A certificate that could not be replaced in time.
#[derive(Debug)]
pub struct Overdue {
    /// The certificate.
    pub path: PathBuf,
    /// Why it could not be replaced.
    pub error: TlsError,
}

impl Ensured {
    /// Whether nothing had to be done.
    pub fn is_unchanged(&self) -> bool {
        self.created.is_empty() && self.renewed.is_empty() && self.overdue.is_empty()
    }
}

impl TlsDir {
    /// The folder at this path. Nothing is read yet.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            extra_names: Vec::new(),
        }
    }

    /// Adds DNS names or IP addresses to the server certificate, for clients other than ours. It always has
    /// [`SERVER_NAME`], `localhost`, `127.0.0.1` and `::1`.
    #[must_use]
    pub fn with_server_names(mut self, names: impl IntoIterator<Item = String>) -> Self {
        self.extra_names = names.into_iter().collect();
        self
    }

    /// The path of the folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Creates missing files, and renews certificates that are near their end. Callers in several processes wait for
    /// each other. Blocks on the disk.
    ///
    /// # Errors
    /// When a file cannot be read or written, others can read a key, a file is damaged, or something must be signed
    /// but the authority's key is missing. A certificate that is only near its end is no reason to fail: see
    /// [`Ensured::overdue`].
    pub fn ensure(&self, now: SystemTime) -> Result<Ensured, TlsError> {
        let _lock = files::lock_private_dir(&self.path)?;
        let mut done = Ensured::default();
        let authority = self.ensure_authority(now, &mut done)?;
        let mut names: Vec<String> = [SERVER_NAME, "localhost", "127.0.0.1", "::1"]
            .map(String::from)
            .to_vec();
        for name in &self.extra_names {
            if !names.contains(name) {
                names.push(name.clone());
            }
        }
        self.ensure_leaf(Role::Server, &names, &authority, now, &mut done)?;
        self.ensure_leaf(Role::Client, &[], &authority, now, &mut done)?;
        Ok(done)
    }

    /// When the server certificate expires.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn server_certificate_expiry(&self) -> Result<WallTime, TlsError> {
        let path = self.file("server.pem");
        Ok(Facts::parse(&path, &self.required(&path, files::read(&path)?)?)?.not_after)
    }

    /// When the server's and the client's certificates are both valid.
    ///
    /// # Errors
    /// When one cannot be read.
    pub fn term(&self) -> Result<Term, TlsError> {
        let facts = |name: &str| {
            let path = self.file(name);
            Facts::parse(&path, &self.required(&path, files::read(&path)?)?)
        };
        let (server, client) = (facts("server.pem")?, facts("client.pem")?);
        let authority = facts("ca.pem")?;
        let end = server.not_after.min(client.not_after);
        let ahead = u64::try_from(issue::LEAF_RENEWAL.as_nanos()).unwrap_or(u64::MAX);
        Ok(Term {
            begin: server.not_before.max(client.not_before).max(authority.not_before),
            renewal: WallTime(end.0.saturating_sub(ahead)),
        })
    }

    /// Whether the client's own certificate is valid at this time.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn client_validity(&self, now: SystemTime) -> Result<Validity, TlsError> {
        let path = self.file("client.pem");
        Ok(Facts::parse(&path, &self.required(&path, files::read(&path)?)?)?.validity(now))
    }

    fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    fn required(&self, path: &Path, content: Option<Vec<u8>>) -> Result<Vec<u8>, TlsError> {
        content.ok_or_else(|| TlsError::Missing {
            path: path.to_owned(),
            remedy: "start the daemon of this home once, which creates them",
        })
    }

    fn ensure_authority(&self, now: SystemTime, done: &mut Ensured) -> Result<Authority, TlsError> {
        let (key_path, path) = (self.file("ca.key"), self.file("ca.pem"));
        let existing = match files::read(&path)? {
            Some(pem) => Some(Facts::parse(&path, &pem)?),
            None => None,
        };
        let (existing, key) = match (existing, files::read_key(&key_path)?) {
            (existing, Some(pem)) => (existing, issue::parse_key(&key_path, &pem)?),
            // The authority's key may be kept elsewhere. It is needed only when something must be signed.
            (Some(facts), None) => {
                usable(&facts, &path, &key_path, now)?;
                return Ok(Authority {
                    facts,
                    signer: None,
                    key_path,
                });
            }
            (None, None) => {
                let (key, pem) = issue::new_key(&key_path)?;
                files::replace(&key_path, pem.as_bytes())?;
                done.created.push(key_path.clone());
                (None, key)
            }
        };
        let facts = match existing {
            Some(facts) if facts.public_key != key.public_key_raw() => {
                return Err(TlsError::Mismatch {
                    certificate: path,
                    key: key_path,
                });
            }
            Some(facts) if facts.lasts(now, issue::AUTHORITY_RENEWAL) => facts,
            former => {
                let renewed = issue::authority(&path, &key, former.as_ref(), now).and_then(|pem| {
                    files::replace(&path, pem.as_bytes())?;
                    Facts::parse(&path, pem.as_bytes())
                });
                match (renewed, former) {
                    (Ok(facts), former) => {
                        note(done, former.is_some(), &path);
                        facts
                    }
                    (Err(error), Some(facts)) if facts.lasts(now, Duration::ZERO) => {
                        done.overdue.push(Overdue { path, error });
                        facts
                    }
                    (Err(error), _) => return Err(error),
                }
            }
        };
        Ok(Authority {
            signer: Some(issue::issuer(&self.file("ca.pem"), &facts.der, key)?),
            facts,
            key_path,
        })
    }

    fn ensure_leaf(
        &self,
        role: Role,
        names: &[String],
        authority: &Authority,
        now: SystemTime,
        done: &mut Ensured,
    ) -> Result<(), TlsError> {
        let stem = match role {
            Role::Server => "server",
            Role::Client => "client",
        };
        let (key_path, path) = (
            self.file(&format!("{stem}.key")),
            self.file(&format!("{stem}.pem")),
        );
        let key = match files::read_key(&key_path)? {
            Some(pem) => issue::parse_key(&key_path, &pem)?,
            None => {
                let (key, pem) = issue::new_key(&key_path)?;
                files::replace(&key_path, pem.as_bytes())?;
                done.created.push(key_path);
                key
            }
        };
        let existing = match files::read(&path)? {
            Some(pem) => Some(Facts::parse(&path, &pem)?),
            None => None,
        };
        let fits = |leaf: &Facts| {
            leaf.public_key == key.public_key_raw()
                && leaf.authority_key_id == authority.facts.subject_key_id
                && names.iter().all(|name| leaf.names.contains(name))
        };
        let existing = existing.as_ref();
        let kept = existing.filter(|leaf| fits(leaf));
        if kept.is_some_and(|leaf| leaf.lasts(now, issue::LEAF_RENEWAL)) {
            return Ok(());
        }
        if let (None, Some(leaf)) = (&authority.signer, kept) {
            usable(leaf, &path, &authority.key_path, now)?;
        }
        let issued = match &authority.signer {
            Some(signer) => issue::leaf(&path, role, &key, names, signer, existing, now)
                .and_then(|pem| files::replace(&path, pem.as_bytes())),
            None => Err(TlsError::Missing {
                path: authority.key_path.clone(),
                remedy: "restore it, or remove the whole folder to begin with a new authority",
            }),
        };
        match issued {
            Ok(()) => note(done, existing.is_some(), &path),
            Err(error) if kept.is_some_and(|leaf| leaf.lasts(now, Duration::ZERO)) => {
                done.overdue.push(Overdue { path, error });
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }
}

/// Checks that a certificate is valid, if it cannot be replaced because the authority's key is missing.
fn usable(certificate: &Facts, path: &Path, key: &Path, now: SystemTime) -> Result<(), TlsError> {
    let (path, key) = (path.to_owned(), key.to_owned());
    match certificate.validity(now) {
        Validity::Valid => Ok(()),
        Validity::NotYet => Err(TlsError::NotYetValid { path, key }),
        Validity::Expired => Err(TlsError::Expired { path, key }),
    }
}

struct Authority {
    facts: Facts,
    signer: Option<Issuer<'static, KeyPair>>,
    key_path: PathBuf,
}

fn note(done: &mut Ensured, existed: bool, path: &Path) {
    let list = if existed {
        &mut done.renewed
    } else {
        &mut done.created
    };
    list.push(path.to_owned());
}
