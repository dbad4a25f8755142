//! The credentials that `docker login` stored for the user of the daemon.
//!
//! They are read from where Docker's clients look, for each pull, because people may log in while the daemon runs:
//!
//! ```text
//!  $DOCKER_CONFIG/config.json, else ~/.docker/config.json
//!    credHelpers.<registry>, else credsStore ──▶ docker-credential-<name> get
//!    neither ──▶ auths.<registry>: auth (base64 of user:password), identitytoken, registrytoken
//! ```
//!
//! A registry is identified by its host and port, and Docker Hub by `https://index.docker.io/v1/`. An image without a
//! registry in its name belongs to Docker Hub. The credentials are passed to the engine with a single request, and
//! are not kept.
//!
//! If credentials cannot be read, public images still work: the pull is tried without credentials. The reason is in
//! the daemon's log, and is also shown if the registry refuses.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use blocking::unblock;
use harness_model::SecretString;
use serde::Deserialize;

use crate::registry::Registry;
use crate::registry::credentials::Credentials;
use crate::registry::helper::{self, HelperError};

/// Docker's settings file.
const FILE: &str = "config.json";

/// Its largest size, in bytes.
const MAX_SIZE: u64 = 4 << 20;

/// Why there are no credentials.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CredentialsError {
    /// The file cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Unreadable { path: PathBuf, source: std::io::Error },
    /// It is not what Docker writes. Its content is not shown.
    #[error(
        "{} is not what `docker login` writes (line {line}, column {column}): fix it, or remove it and log in again",
        path.display()
    )]
    Malformed {
        path: PathBuf,
        line: usize,
        column: usize,
    },
    /// One of its entries cannot be understood.
    #[error("the `auth` of `{server}` in {} is not base64 of user:password: log in again", path.display())]
    BadAuth { server: String, path: PathBuf },
    /// The helper that the file names gave no credentials.
    #[error("cannot get credentials from the helper that {} names, `{helper}`: {source}", path.display())]
    Helper {
        helper: String,
        path: PathBuf,
        source: HelperError,
    },
}

/// The credentials that the docker program keeps. They are read again for each pull.
#[derive(Debug)]
pub(crate) struct Kept {
    path: PathBuf,
    file: File,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct File {
    auths: Option<BTreeMap<String, Option<Entry>>>,
    cred_helpers: Option<BTreeMap<String, String>>,
    creds_store: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
struct Entry {
    auth: Option<SecretString>,
    username: Option<String>,
    password: Option<SecretString>,
    identitytoken: Option<SecretString>,
    registrytoken: Option<SecretString>,
}

impl Kept {
    /// Reads the file in this folder. Without a folder there are no credentials.
    ///
    /// # Errors
    /// When the file cannot be read, or is not what Docker writes.
    pub(crate) async fn read(folder: Option<&Path>) -> Result<Self, CredentialsError> {
        let Some(folder) = folder else {
            return Ok(Self {
                path: PathBuf::new(),
                file: File::default(),
            });
        };
        let path = folder.join(FILE);
        unblock(move || {
            let bytes = match harness_files::read(&path, MAX_SIZE).map_err(std::io::Error::from) {
                Ok(bytes) => bytes,
                Err(error)
                    if matches!(
                        error.kind(),
                        std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory
                    ) =>
                {
                    b"{}".to_vec()
                }
                Err(source) => return Err(CredentialsError::Unreadable { path, source }),
            };
            match serde_json::from_slice(&bytes) {
                Ok(file) => Ok(Self { path, file }),
                // The parser's message may contain the values.
                Err(error) => Err(CredentialsError::Malformed {
                    line: error.line(),
                    column: error.column(),
                    path,
                }),
            }
        })
        .await
    }

    /// Where it is kept, as text for people.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The registries that it contains something about.
    pub(crate) fn registries(&self) -> Vec<Registry> {
        let auths = self.file.auths.iter().flat_map(BTreeMap::keys);
        let helpers = self.file.cred_helpers.iter().flat_map(BTreeMap::keys);
        let mut found: Vec<Registry> = auths
            .chain(helpers)
            .map(|server| Registry::of_server(server))
            .collect();
        found.sort();
        found.dedup();
        found
    }

    /// The credentials for a registry, if there are any.
    ///
    /// # Errors
    /// When there may be some, but they cannot be read.
    pub(crate) async fn of(&self, registry: &Registry) -> Result<Option<Credentials>, CredentialsError> {
        let found = match self.helper(registry) {
            Some(name) => self.ask(name, registry).await?,
            None => self.written(registry)?,
        };
        Ok(found.filter(|credentials| !credentials.is_empty()))
    }

    /// The helper that keeps what is not in the file.
    fn helper(&self, registry: &Registry) -> Option<&str> {
        let own = self
            .file
            .cred_helpers
            .as_ref()
            .and_then(|all| find(all, registry));
        let name = own.or(self.file.creds_store.as_ref())?;
        Some(name.as_str()).filter(|name| !name.is_empty())
    }

    async fn ask(&self, name: &str, registry: &Registry) -> Result<Option<Credentials>, CredentialsError> {
        let program = format!("docker-credential-{name}");
        let answer = helper::get(&program, registry.server(), helper::ANSWER).await;
        answer.map_err(|source| CredentialsError::Helper {
            helper: program,
            path: self.path.clone(),
            source,
        })
    }

    fn written(&self, registry: &Registry) -> Result<Option<Credentials>, CredentialsError> {
        let auths = self.file.auths.as_ref();
        let Some(Some(entry)) = auths.and_then(|auths| find(auths, registry)) else {
            return Ok(None);
        };
        let text = |value: &Option<SecretString>| value.clone().unwrap_or_default();
        let mut credentials = Credentials {
            server: registry.server().to_owned(),
            source: self.path.display().to_string(),
            username: entry.username.clone().unwrap_or_default(),
            password: text(&entry.password),
            identity_token: text(&entry.identitytoken),
            registry_token: text(&entry.registrytoken),
        };
        let auth = entry.auth.as_ref().filter(|auth| !auth.expose().is_empty());
        if let Some(auth) = auth {
            let (username, password) = decoded(auth).ok_or_else(|| CredentialsError::BadAuth {
                server: registry.server().to_owned(),
                path: self.path.clone(),
            })?;
            (credentials.username, credentials.password) = (username, password);
        }
        Ok(Some(credentials))
    }
}

/// What is kept for a registry: under its own name, or else under an older one.
fn find<'a, T>(kept: &'a BTreeMap<String, T>, registry: &Registry) -> Option<&'a T> {
    let older = || kept.iter().find(|(server, _)| registry.is_kept_as(server));
    kept.get(registry.server())
        .or_else(|| older().map(|(_, value)| value))
}

fn decoded(auth: &SecretString) -> Option<(String, SecretString)> {
    let text = String::from_utf8(STANDARD.decode(auth.expose()).ok()?).ok()?;
    let (username, password) = text.split_once(':')?;
    // Docker's clients have written such endings.
    Some((
        username.to_owned(),
        SecretString::new(password.trim_matches('\0')),
    ))
}

#[cfg(test)]
mod tests {
    use futures_lite::future::block_on;

    use super::*;

    fn kept(file: &str) -> Result<Kept, CredentialsError> {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(FILE), file).unwrap();
        block_on(Kept::read(Some(folder.path())))
    }

    fn of(file: &str, image: &str) -> Result<Option<Credentials>, CredentialsError> {
        block_on(kept(file)?.of(&Registry::of_image(image)))
    }

    /// User, password and tokens.
    fn found(file: &str, image: &str) -> Option<[String; 4]> {
        let found = of(file, image).unwrap()?;
        let secrets = [found.password, found.identity_token, found.registry_token];
        let [password, identity, registry] = secrets.map(|secret| secret.expose().to_owned());
        Some([found.username, password, identity, registry])
    }

    #[test]
    fn the_forms_of_the_file_are_read() {
        let auth = STANDARD.encode("me:pass:word\0");
        let image = "registry.example:5000/shop/web:1";
        let me = Some(["me", "pass:word", "", ""].map(str::to_owned));
        for (server, wanted) in [
            ("registry.example:5000", &me),
            ("https://registry.example:5000/v2/", &me),
            ("registry.example", &None),
            ("https://index.docker.io/v1/", &None),
        ] {
            let file = format!(r#"{{"auths":{{"{server}":{{"auth":"{auth}"}}}},"currentContext":"x"}}"#);
            assert_eq!(found(&file, image), *wanted, "{server}");
        }
        let plain = r#"{"auths":{"registry.example:5000":{"username":"me","password":"pass:word"}}}"#;
        assert_eq!(found(plain, image), me);
        let token = r#"{"auths":{"registry.example:5000":{"auth":"MDA6","identitytoken":"long","registrytoken":"r"}}}"#;
        assert_eq!(
            found(token, image),
            Some(["00", "", "long", "r"].map(str::to_owned))
        );
        for nothing in [
            "{}",
            r#"{"auths":null,"credHelpers":null}"#,
            r#"{"auths":{"registry.example:5000":{}}}"#,
            r#"{"auths":{"registry.example:5000":null}}"#,
            r#"{"credsStore":"","credHelpers":{"registry.example:5000":""}}"#,
        ] {
            assert_eq!(found(nothing, image), None, "{nothing}");
        }
    }

    #[test]
    fn docker_hub_is_kept_under_its_old_address() {
        let auth = STANDARD.encode("me:it");
        let file = |server: &str| format!(r#"{{"auths":{{"{server}":{{"auth":"{auth}"}}}}}}"#);
        for image in ["postgres", "shop/web", "docker.io/shop/web"] {
            for server in ["https://index.docker.io/v1/", "docker.io"] {
                assert!(found(&file(server), image).is_some(), "{server} {image}");
            }
            assert!(found(&file("https://index.docker.io/v1/access-token"), image).is_none());
        }
        let told = of(&file("docker.io"), "postgres").unwrap().unwrap();
        assert_eq!(told.json()["serveraddress"], "https://index.docker.io/v1/");
    }

    #[test]
    fn a_file_that_makes_no_sense_is_named_without_its_values() {
        for (file, why) in [
            ("{\"auths\": {\n\"r.example\": \"sesame\"}}", "(line 2, column "),
            (r#"{"auths":{"r.example":{"auth":["sesame"]}}}"#, "fix it"),
            ("sesame", "is not what `docker login` writes"),
            (
                r#"{"auths":{"r.example":{"auth":"sesame!"}}}"#,
                "the `auth` of `r.example` in",
            ),
            (
                r#"{"auths":{"r.example":{"auth":"c2VzYW1l"}}}"#,
                "is not base64 of user:password",
            ),
        ] {
            let error = of(file, "r.example/web").unwrap_err();
            let said = format!("{error} {error:?}");
            assert!(said.contains(why) && said.contains(FILE), "{said}");
            assert!(!said.contains("sesame") && !said.contains("c2VzYW1l"), "{said}");
        }
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join(FILE)).unwrap();
        let error = block_on(Kept::read(Some(folder.path()))).unwrap_err();
        assert!(error.to_string().starts_with("cannot read "), "{error}");
        std::fs::remove_dir(folder.path().join(FILE)).unwrap();
        assert!(block_on(Kept::read(Some(folder.path()))).is_ok());
    }

    #[test]
    fn helpers_are_chosen_by_registry_and_told_of_when_they_are_not_there() {
        let file =
            r#"{"credsStore":"hx-all","credHelpers":{"https://own.example/":"hx-own","none.example":""}}"#;
        for (image, helper) in [
            ("own.example/web", Some("hx-own")),
            ("other.example/web", Some("hx-all")),
            ("postgres", Some("hx-all")),
            ("none.example/web", None),
        ] {
            let kept = kept(file).unwrap();
            assert_eq!(kept.helper(&Registry::of_image(image)), helper, "{image}");
        }
        let error = of(file, "own.example/web").unwrap_err().to_string();
        assert!(
            error.contains("`docker-credential-hx-own`: it is not in the daemon's PATH"),
            "{error}"
        );
        let names = kept(file).unwrap().registries();
        assert_eq!(
            names.iter().map(Registry::to_string).collect::<Vec<_>>(),
            ["none.example", "own.example"]
        );
    }
}
