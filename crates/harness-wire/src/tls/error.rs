//! What can be wrong with the files of a [`TlsDir`](super::TlsDir).

use std::io;
use std::path::PathBuf;

use futures_rustls::{pki_types, rustls};

/// Why certificates cannot be made or used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read, written or locked.
    #[error("cannot {operation} {}", path.display())]
    File {
        /// `read`, `write`, `lock`, …
        operation: &'static str,
        /// Which file or folder.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A file that must be there is not.
    #[error("{} is missing; {remedy}", path.display())]
    Missing {
        /// Which file.
        path: PathBuf,
        /// What to do.
        remedy: &'static str,
    },
    /// Others than its owner may read a key, so it may be known to them.
    #[error("{} can be read by others (mode {mode:04o}); if nobody did, run: chmod 600 '{}'", path.display(), path.display())]
    Exposed {
        /// Which key.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// A file is no PEM of the expected kind.
    #[error("{} is damaged; remove it to have it made anew", path.display())]
    DamagedPem {
        /// Which file.
        path: PathBuf,
        /// What the parser said.
        #[source]
        source: pki_types::pem::Error,
    },
    /// A file holds PEM, but no certificate in it.
    #[error("{} is damaged: it holds no X.509 certificate; remove it to have it made anew", path.display())]
    DamagedCertificate {
        /// Which file.
        path: PathBuf,
    },
    /// A file holds PEM, but no usable key in it.
    #[error("{} is damaged: it holds no usable private key; remove it to have it made anew", path.display())]
    DamagedKey {
        /// Which file.
        path: PathBuf,
        /// What the parser said.
        #[source]
        source: rcgen::Error,
    },
    /// The certificate authority and its key do not belong together.
    #[error("{} does not belong to {}; restore the right one", certificate.display(), key.display())]
    Mismatch {
        /// The certificate.
        certificate: PathBuf,
        /// The key.
        key: PathBuf,
    },
    /// A certificate begins in the future, and no other can be made.
    #[error(
        "{} is not valid yet: set the clock of this machine right; if it is right, put {} back, or remove the \
         whole folder to begin with a new authority",
        path.display(),
        key.display()
    )]
    NotYetValid {
        /// The certificate.
        path: PathBuf,
        /// The key of the authority, which is not there.
        key: PathBuf,
    },
    /// A certificate has ended, and no other can be made.
    #[error(
        "{} has expired by the clock of this machine, and {} is not there to make a new one: put it back, or remove \
         the whole folder to begin with a new authority",
        path.display(),
        key.display()
    )]
    Expired {
        /// The certificate.
        path: PathBuf,
        /// The key of the authority, which is not there.
        key: PathBuf,
    },
    /// A certificate could not be issued.
    #[error("cannot issue {}", path.display())]
    Issue {
        /// Which certificate.
        path: PathBuf,
        /// Why.
        #[source]
        source: rcgen::Error,
    },
    /// The TLS library refuses the certificates.
    #[error("cannot use the certificates in {}", path.display())]
    Unusable {
        /// Their folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: rustls::Error,
    },
    /// The TLS library refuses the authority for checking clients.
    #[error("cannot check clients with {}", path.display())]
    Verifier {
        /// The authority's certificate.
        path: PathBuf,
        /// Why.
        #[source]
        source: rustls::server::VerifierBuilderError,
    },
}
