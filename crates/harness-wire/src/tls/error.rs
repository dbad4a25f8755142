//! Errors about the files of a [`TlsDir`](super::TlsDir).

use std::io;
use std::path::PathBuf;

use futures_rustls::{pki_types, rustls};

/// Why certificates cannot be created or used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read, written or locked.
    #[error("cannot {operation} {}", path.display())]
    File {
        /// `read`, `write`, `lock`, …
        operation: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A required file is missing.
    #[error("{} is missing; {remedy}", path.display())]
    Missing {
        /// The file.
        path: PathBuf,
        /// What to do.
        remedy: &'static str,
    },
    /// Users other than its owner can read a key, so they may know it.
    #[error(
        "other users can read {} (mode {mode:04o}); if nobody has read it, run: chmod 600 '{}'",
        path.display(), path.display()
    )]
    Exposed {
        /// The key.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// A file is not PEM of the expected kind.
    #[error("{} is damaged; remove it, and a new one is created", path.display())]
    DamagedPem {
        /// The file.
        path: PathBuf,
        /// What the parser said.
        #[source]
        source: pki_types::pem::Error,
    },
    /// A file is PEM, but does not contain a certificate.
    #[error("{} is damaged: it contains no X.509 certificate; remove it, and a new one is created", path.display())]
    DamagedCertificate {
        /// The file.
        path: PathBuf,
    },
    /// A file is PEM, but does not contain a usable key.
    #[error("{} is damaged: it contains no usable private key; remove it, and a new one is created", path.display())]
    DamagedKey {
        /// The file.
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
    /// A certificate begins in the future, and no new one can be made.
    #[error(
        "{} is not valid yet: set this machine's clock; if the clock is right, restore {}, or remove the \
         whole folder to begin with a new authority",
        path.display(),
        key.display()
    )]
    NotYetValid {
        /// The certificate.
        path: PathBuf,
        /// The key of the authority, which is missing.
        key: PathBuf,
    },
    /// A certificate has expired, and no new one can be made.
    #[error(
        "{} has expired by the clock of this machine, and {} is missing, which is needed to make a new \
            one: restore it, or remove the whole folder to begin with a new authority",
        path.display(),
        key.display()
    )]
    Expired {
        /// The certificate.
        path: PathBuf,
        /// The key of the authority, which is missing.
        key: PathBuf,
    },
    /// A certificate could not be issued.
    #[error("cannot issue {}", path.display())]
    Issue {
        /// The certificate.
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
