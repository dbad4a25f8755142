//! TLS settings of both sides: TLS 1.3 only, both certificates required, no session resumption.

use std::path::Path;
use std::sync::Arc;

use futures_rustls::pki_types::pem::PemObject;
use futures_rustls::pki_types::{CertificateDer, PrivateKeyDer};
use futures_rustls::rustls::client::Resumption;
use futures_rustls::rustls::crypto::{CryptoProvider, ring};
use futures_rustls::rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use futures_rustls::rustls::version::TLS13;
use futures_rustls::rustls::{ClientConfig, Error, RootCertStore, ServerConfig};

use super::{TlsDir, TlsError, files};

impl TlsDir {
    /// The settings of a server. It accepts only clients of our authority.
    ///
    /// # Errors
    /// When a file is missing, exposed or damaged.
    pub fn server_config(&self) -> Result<Arc<ServerConfig>, TlsError> {
        let (roots, provider) = (Arc::new(self.roots()?), provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider.clone())
            .build()
            .map_err(|source| TlsError::Verifier {
                path: self.file("ca.pem"),
                source,
            })?;
        let (chain, key) = self.identity("server")?;
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&TLS13])
            .map_err(self.unusable())?
            .with_client_cert_verifier(verifier)
            .with_single_cert(chain, key)
            .map_err(self.unusable())?;
        // With a ticket, a client could connect with a certificate that has expired since.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Ok(Arc::new(config))
    }

    /// The settings of a client. It trusts only servers of our authority.
    ///
    /// # Errors
    /// When a file is missing, exposed or damaged.
    pub fn client_config(&self) -> Result<Arc<ClientConfig>, TlsError> {
        let (chain, key) = self.identity("client")?;
        let mut config = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&TLS13])
            .map_err(self.unusable())?
            .with_root_certificates(self.roots()?)
            .with_client_auth_cert(chain, key)
            .map_err(self.unusable())?;
        config.resumption = Resumption::disabled();
        Ok(Arc::new(config))
    }

    fn roots(&self) -> Result<RootCertStore, TlsError> {
        let mut roots = RootCertStore::empty();
        roots
            .add(self.certificate(&self.file("ca.pem"))?)
            .map_err(self.unusable())?;
        Ok(roots)
    }

    fn identity(
        &self,
        stem: &str,
    ) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), TlsError> {
        let path = self.file(&format!("{stem}.key"));
        let pem = self.required(&path, files::read_key(&path)?)?;
        let key =
            PrivateKeyDer::from_pem_slice(&pem).map_err(|source| TlsError::DamagedPem { path, source })?;
        Ok((vec![self.certificate(&self.file(&format!("{stem}.pem")))?], key))
    }

    fn certificate(&self, path: &Path) -> Result<CertificateDer<'static>, TlsError> {
        let pem = self.required(path, files::read(path)?)?;
        CertificateDer::from_pem_slice(&pem).map_err(|source| TlsError::DamagedPem {
            path: path.to_owned(),
            source,
        })
    }

    fn unusable(&self) -> impl Fn(Error) -> TlsError + '_ {
        |source| TlsError::Unusable {
            path: self.path.clone(),
            source,
        }
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}
