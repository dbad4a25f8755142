//! Issues the authority's and the leaf certificates, and reads existing ones.

use std::path::Path;
use std::time::{Duration, SystemTime};

use futures_rustls::pki_types::CertificateDer;
use futures_rustls::pki_types::pem::PemObject;
use harness_model::WallTime;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose,
};
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::{TlsError, Validity};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// Certificates are valid from this long before they are made, so that a clock that is set back does not invalidate
/// them.
const BACKDATED: Duration = DAY.saturating_mul(2);

/// When a replacement certificate begins. Never later than the one it replaces: it may be made while the clock is
/// wrong, and must still be valid when the clock is corrected.
fn begin(now: SystemTime, former: Option<&Facts>) -> SystemTime {
    let usual = now - BACKDATED;
    let former = former.map(|former| SystemTime::UNIX_EPOCH + Duration::from_nanos(former.not_before.0));
    former.map_or(usual, |former| former.min(usual))
}
/// How long a leaf certificate is valid.
const LEAF_LIFETIME: Duration = DAY.saturating_mul(365);
/// A leaf certificate is renewed when no more than this is left.
pub(super) const LEAF_RENEWAL: Duration = DAY.saturating_mul(30);
/// How long the authority is valid.
const AUTHORITY_LIFETIME: Duration = DAY.saturating_mul(3652);
/// The authority is renewed with the same key when no more than this is left, so that it always outlives the leaves
/// it issues.
pub(super) const AUTHORITY_RENEWAL: Duration = DAY.saturating_mul(365 + 60);

/// The use of a leaf certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Server,
    Client,
}

/// A new ECDSA P-256 key as PKCS #8 PEM.
pub(super) fn new_key(path: &Path) -> Result<(KeyPair, String), TlsError> {
    let key = KeyPair::generate().map_err(issue_failed(path))?;
    let pem = key.serialize_pem();
    Ok((key, pem))
}

/// Parses the key in a file.
pub(super) fn parse_key(path: &Path, pem: &[u8]) -> Result<KeyPair, TlsError> {
    let damaged = |source| TlsError::DamagedKey {
        path: path.to_owned(),
        source,
    };
    let text = std::str::from_utf8(pem).map_err(|_| damaged(rcgen::Error::CouldNotParseKeyPair))?;
    KeyPair::from_pem(text).map_err(damaged)
}

/// Makes a self-signed authority for this key, which replaces an earlier one if given.
pub(super) fn authority(
    path: &Path,
    key: &KeyPair,
    former: Option<&Facts>,
    now: SystemTime,
) -> Result<String, TlsError> {
    let mut params = CertificateParams::default();
    params.not_before = begin(now, former).into();
    params.not_after = (now + AUTHORITY_LIFETIME).into();
    params.distinguished_name = named("harness certificate authority");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    Ok(params.self_signed(key).map_err(issue_failed(path))?.pem())
}

/// Makes a leaf certificate for this key, signed by the authority, which replaces an earlier one if given.
pub(super) fn leaf(
    path: &Path,
    role: Role,
    key: &KeyPair,
    names: &[String],
    authority: &Issuer<'_, KeyPair>,
    former: Option<&Facts>,
    now: SystemTime,
) -> Result<String, TlsError> {
    let mut params = CertificateParams::new(names.to_vec()).map_err(issue_failed(path))?;
    let (common_name, usage) = match role {
        Role::Server => ("harness server", ExtendedKeyUsagePurpose::ServerAuth),
        Role::Client => ("harness client", ExtendedKeyUsagePurpose::ClientAuth),
    };
    params.not_before = begin(now, former).into();
    params.not_after = (now + LEAF_LIFETIME).into();
    params.distinguished_name = named(common_name);
    params.use_authority_key_identifier_extension = true;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![usage];
    Ok(params
        .signed_by(key, authority)
        .map_err(issue_failed(path))?
        .pem())
}

/// The authority's certificate and key, ready to sign.
pub(super) fn issuer(
    path: &Path,
    der: &CertificateDer<'_>,
    key: KeyPair,
) -> Result<Issuer<'static, KeyPair>, TlsError> {
    Issuer::from_ca_cert_der(der, key).map_err(issue_failed(path))
}

fn named(common_name: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, common_name);
    name
}

fn issue_failed(path: &Path) -> impl FnOnce(rcgen::Error) -> TlsError {
    move |source| TlsError::Issue {
        path: path.to_owned(),
        source,
    }
}

/// The facts that matter about an existing certificate.
#[derive(Debug)]
pub(super) struct Facts {
    pub(super) der: CertificateDer<'static>,
    pub(super) not_before: WallTime,
    pub(super) not_after: WallTime,
    /// The DNS names and IP addresses that it is valid for, as text.
    pub(super) names: Vec<String>,
    /// The raw public key.
    pub(super) public_key: Vec<u8>,
    /// Its own key identifier.
    pub(super) subject_key_id: Option<Vec<u8>>,
    /// The key identifier of the signer.
    pub(super) authority_key_id: Option<Vec<u8>>,
}

impl Facts {
    /// Reads the facts of a certificate file.
    pub(super) fn parse(path: &Path, pem: &[u8]) -> Result<Self, TlsError> {
        let der = CertificateDer::from_pem_slice(pem).map_err(|source| TlsError::DamagedPem {
            path: path.to_owned(),
            source,
        })?;
        let damaged = || TlsError::DamagedCertificate {
            path: path.to_owned(),
        };
        let (_, parsed) = X509Certificate::from_der(&der).map_err(|_| damaged())?;
        let mut facts = Self {
            der: der.clone(),
            not_before: wall_time(parsed.validity().not_before.timestamp()),
            not_after: wall_time(parsed.validity().not_after.timestamp()),
            names: Vec::new(),
            public_key: parsed.public_key().subject_public_key.data.to_vec(),
            subject_key_id: None,
            authority_key_id: None,
        };
        for extension in parsed.extensions() {
            match extension.parsed_extension() {
                ParsedExtension::SubjectKeyIdentifier(id) => facts.subject_key_id = Some(id.0.to_vec()),
                ParsedExtension::AuthorityKeyIdentifier(id) => {
                    facts.authority_key_id = id.key_identifier.as_ref().map(|id| id.0.to_vec());
                }
                ParsedExtension::SubjectAlternativeName(san) => {
                    facts.names = san.general_names.iter().filter_map(name_text).collect();
                }
                _ => {}
            }
        }
        Ok(facts)
    }

    /// Whether it is valid at this time.
    pub(super) fn validity(&self, now: SystemTime) -> Validity {
        let now = WallTime::from(now);
        if now < self.not_before {
            Validity::NotYet
        } else if self.not_after <= now {
            Validity::Expired
        } else {
            Validity::Valid
        }
    }

    /// Whether it is valid at this time and for longer than `left` from then on.
    pub(super) fn lasts(&self, now: SystemTime, left: Duration) -> bool {
        self.not_before <= WallTime::from(now) && WallTime::from(now + left) < self.not_after
    }
}

fn wall_time(seconds: i64) -> WallTime {
    WallTime(u64::try_from(seconds).unwrap_or(0).saturating_mul(1_000_000_000))
}

fn name_text(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        GeneralName::IPAddress(bytes) => match *bytes {
            [a, b, c, d] => Some(std::net::Ipv4Addr::new(*a, *b, *c, *d).to_string()),
            bytes => Some(std::net::Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?).to_string()),
        },
        _ => None,
    }
}
