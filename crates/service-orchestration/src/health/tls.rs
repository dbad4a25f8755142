//! TLS for http checks: whom to trust, and what is wrong with a certificate in one line.

use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use async_io::Async;
use blocking::unblock;
use futures_rustls::TlsConnector;
use futures_rustls::client::TlsStream;
use futures_rustls::pki_types::pem::PemObject;
use futures_rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use futures_rustls::rustls::client::danger::{
    HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier,
};
use futures_rustls::rustls::client::{WebPkiServerVerifier, verify_server_name};
use futures_rustls::rustls::crypto::{CryptoProvider, ring};
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
    stream: Async<std::net::TcpStream>,
) -> Result<TlsStream<Async<std::net::TcpStream>>, ProbeOutcome> {
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
            trusting_also(roots, certificates)
        }
        Trust::Anybody => {
            let provider = Arc::new(ring::default_provider());
            let config = builder(&provider)?
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(TrustAnybody(provider)))
                .with_no_client_auth();
            Ok(Arc::new(config))
        }
    }
}

fn builder(
    provider: &Arc<CryptoProvider>,
) -> Result<rustls::ConfigBuilder<ClientConfig, rustls::WantsVerifier>, ProbeOutcome> {
    ClientConfig::builder_with_provider(Arc::clone(provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| ProbeOutcome::Unknown(format!("cannot set TLS up: {error}")))
}

fn trusting(roots: RootCertStore) -> Result<Arc<ClientConfig>, ProbeOutcome> {
    let provider = Arc::new(ring::default_provider());
    let config = builder(&provider)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

/// Trusts authorities, and the certificates of the same file themselves: what people make for one server is often its own
/// authority, which the rules for authorities refuse.
fn trusting_also(
    roots: RootCertStore,
    certificates: Vec<CertificateDer<'static>>,
) -> Result<Arc<ClientConfig>, ProbeOutcome> {
    let provider = Arc::new(ring::default_provider());
    let web = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
        .build()
        .map_err(|error| ProbeOutcome::Unknown(format!("cannot set TLS up: {error}")))?;
    let verifier = Arc::new(TrustListed { web, certificates });
    let config = builder(&provider)?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    Ok(Arc::new(config))
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
            _ => super::connect::io_line(error),
        },
    }
}

/// Takes what authorities have signed, and the very certificates that are listed, if they are for the host and the server
/// has their keys.
#[derive(Debug)]
struct TrustListed {
    web: Arc<WebPkiServerVerifier>,
    certificates: Vec<CertificateDer<'static>>,
}

impl ServerCertVerifier for TrustListed {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let judged = self
            .web
            .verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
        match judged {
            // An authority that is a server, too: everything else about it was not looked at yet.
            Err(rustls::Error::InvalidCertificate(CertificateError::Other(_)))
                if self.certificates.iter().any(|listed| listed == end_entity) =>
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
        self.web.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.web.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.web.supported_verify_schemes()
    }
}

/// Takes any certificate for any name; signatures are checked all the same.
struct TrustAnybody(Arc<CryptoProvider>);

impl fmt::Debug for TrustAnybody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TrustAnybody")
    }
}

impl ServerCertVerifier for TrustAnybody {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
