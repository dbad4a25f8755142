//! TLS for http checks: whom to trust, and what is wrong with a certificate in one line.

use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use blocking::unblock;
use command_executor::host::Connection;
use futures_rustls::TlsConnector;
use futures_rustls::client::TlsStream;
use futures_rustls::pki_types::pem::PemObject;
use futures_rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use futures_rustls::rustls::client::danger::{
    HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier,
};
use futures_rustls::rustls::client::{WebPkiServerVerifier, verify_server_name};
use futures_rustls::rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, ring};
use futures_rustls::rustls::server::ParsedCertificate;
use futures_rustls::rustls::{
    self, CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
};

use crate::machine::ProbeOutcome;

/// The largest file with authorities that is read, in bytes.
const MAX_CA: u64 = 4 << 20;

/// Whom an https check trusts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Trust {
    /// The authorities that this machine trusts.
    #[default]
    System,
    /// The authorities in this PEM file, which is read for each probe: it may be renewed.
    Authorities(PathBuf),
    /// Anybody.
    Anybody,
}

/// Connects over TLS to `name` on a connection that is open.
pub(super) async fn connect(
    trust: &Trust,
    name: &str,
    stream: Box<dyn Connection>,
) -> Result<TlsStream<Box<dyn Connection>>, ProbeOutcome> {
    let config = config(trust).await?;
    let host = name.trim_start_matches('[').trim_end_matches(']').to_owned();
    let server = ServerName::try_from(host).map_err(|_| {
        ProbeOutcome::Unhealthy(format!("`{name}` is not a name that a certificate can have"))
    })?;
    let connected = TlsConnector::from(config).connect(server, stream).await;
    connected.map_err(|error| ProbeOutcome::Unhealthy(words(&error)))
}

async fn config(trust: &Trust) -> Result<Arc<ClientConfig>, ProbeOutcome> {
    /// Those of this machine are more than a hundred, and are read once.
    static SYSTEM: OnceLock<Arc<ClientConfig>> = OnceLock::new();
    match trust {
        Trust::System => {
            if let Some(config) = SYSTEM.get() {
                return Ok(Arc::clone(config));
            }
            let roots = unblock(system_roots).await?;
            let config = trusting(roots)?;
            Ok(Arc::clone(SYSTEM.get_or_init(|| config)))
        }
        Trust::Authorities(path) => {
            let path = path.clone();
            let (roots, certificates) = unblock(move || authorities(path)).await?;
            let roots = WebPkiServerVerifier::builder_with_provider(
                Arc::new(roots),
                Arc::new(ring::default_provider()),
            )
            .build()
            .map_err(cannot_set_up)?;
            verifying(Accepted::Listed { roots, certificates })
        }
        Trust::Anybody => verifying(Accepted::Anybody),
    }
}

fn trusting(roots: RootCertStore) -> Result<Arc<ClientConfig>, ProbeOutcome> {
    let config = builder(ring::default_provider())?.with_root_certificates(roots);
    Ok(Arc::new(config.with_no_client_auth()))
}

fn verifying(accepted: Accepted) -> Result<Arc<ClientConfig>, ProbeOutcome> {
    let provider = ring::default_provider();
    let algorithms = provider.signature_verification_algorithms;
    let config = builder(provider)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Verifier { accepted, algorithms }));
    Ok(Arc::new(config.with_no_client_auth()))
}

fn builder(
    provider: CryptoProvider,
) -> Result<rustls::ConfigBuilder<ClientConfig, rustls::WantsVerifier>, ProbeOutcome> {
    ClientConfig::builder_with_provider(Arc::new(provider))
        .with_safe_default_protocol_versions()
        .map_err(cannot_set_up)
}

fn cannot_set_up(error: impl fmt::Display) -> ProbeOutcome {
    ProbeOutcome::Unknown(format!("cannot set TLS up: {error}"))
}

fn system_roots() -> Result<RootCertStore, ProbeOutcome> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(found.certs);
    match roots.is_empty() {
        true => Err(ProbeOutcome::Unhealthy(
            "this machine has no certificate authorities; name one with `ca:`".to_owned(),
        )),
        false => Ok(roots),
    }
}

/// The authorities of a file, and all certificates of it.
fn authorities(path: PathBuf) -> Result<(RootCertStore, Vec<CertificateDer<'static>>), ProbeOutcome> {
    let bad = |why: String| {
        ProbeOutcome::Unhealthy(format!(
            "cannot read the authorities in {}: {why}",
            path.display()
        ))
    };
    let text = harness_files::read_guarded(&path, MAX_CA).map_err(|error| bad(error.to_string()))?;
    let mut roots = RootCertStore::empty();
    let mut certificates = Vec::new();
    for certificate in CertificateDer::pem_slice_iter(&text) {
        let certificate = certificate.map_err(|error| bad(error.to_string()))?;
        roots
            .add(certificate.clone())
            .map_err(|error| bad(error.to_string()))?;
        certificates.push(certificate);
    }
    match roots.is_empty() {
        true => Err(bad("no certificate is in it".to_owned())),
        false => Ok((roots, certificates)),
    }
}

/// What went wrong, for a person.
fn words(error: &std::io::Error) -> String {
    let tls = error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match tls {
        Some(rustls::Error::InvalidCertificate(why)) => {
            let why = match why {
                CertificateError::UnknownIssuer => {
                    "its authority is not trusted (`ca:` names it, `insecure: true` trusts anybody)"
                        .to_owned()
                }
                CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                    "it has expired".to_owned()
                }
                CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                    "it is not valid yet".to_owned()
                }
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                    "it is for another host".to_owned()
                }
                other => other.to_string(),
            };
            format!("the certificate is not good: {why}")
        }
        Some(rustls::Error::InvalidMessage(_)) => "no TLS answer: is this port plain http?".to_owned(),
        Some(other) => format!("TLS failed: {other}"),
        None => match error.kind() {
            std::io::ErrorKind::UnexpectedEof => "closed the connection during the TLS handshake".to_owned(),
            _ => super::outcome::io_line(error),
        },
    }
}

/// Takes certificates that the rules for authorities refuse. That the server has the key of its certificate is checked all
/// the same.
#[derive(Debug)]
struct Verifier {
    accepted: Accepted,
    algorithms: WebPkiSupportedAlgorithms,
}

/// The certificates that a [`Verifier`] takes.
#[derive(Debug)]
enum Accepted {
    /// Any, for any name.
    Anybody,
    /// What these authorities have signed, and these very certificates, for the host that is asked: what people make for
    /// one server is often its own authority.
    Listed {
        roots: Arc<WebPkiServerVerifier>,
        certificates: Vec<CertificateDer<'static>>,
    },
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let Accepted::Listed { roots, certificates } = &self.accepted else {
            return Ok(ServerCertVerified::assertion());
        };
        let judged = roots.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
        match judged {
            // An authority that is a server, too. Its time was looked at before that, its name was not.
            Err(rustls::Error::InvalidCertificate(CertificateError::Other(_)))
                if certificates.iter().any(|listed| listed == end_entity) =>
            {
                verify_server_name(&ParsedCertificate::try_from(end_entity)?, server_name)?;
                Ok(ServerCertVerified::assertion())
            }
            judged => judged,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(message, cert, dss, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
