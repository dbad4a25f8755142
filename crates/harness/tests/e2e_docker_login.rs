//! Images that registries give only to logged-in users. The tests run their own registries on this machine: they have
//! one image, ask for credentials in both possible ways, and repeat in their refusals the credentials they got.

#![cfg(test)]
#![cfg(feature = "docker-tests")]

mod common;

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use common::docker::{DockerSandbox, Image, request};
use sha2::{Digest, Sha256};

const USER: &str = "keeper";

/// At every offset, its base64 form contains all characters in which the two alphabets differ.
const PASSWORD: &str = "open>>>???~~~ÿÿÿ-sesame";

const IDENTITY_TOKEN: &str = "identity-of-sesame";

const BEARER_TOKEN: &str = "borne-by-sesame";

/// How a registry wants to get credentials.
#[derive(Clone, Copy, PartialEq)]
enum Scheme {
    /// With each request.
    Basic,
    /// In exchange for a token.
    Bearer,
}

/// A registry on 127.0.0.1, which engines use without TLS, and its image.
struct Registry {
    port: u16,
}

impl Registry {
    fn new(scheme: Scheme) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        // Ends with the test program.
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                std::thread::spawn(move || serve(stream, scheme, port));
            }
        });
        Self { port }
    }

    fn name(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    fn image(&self) -> String {
        format!("{}/shop/web:1", self.name())
    }

    /// What `docker login` writes for it.
    fn login(&self, password: &str) -> String {
        let auth = STANDARD.encode(format!("{USER}:{password}"));
        format!(r#"{{"auths":{{"{}":{{"auth":"{auth}"}}}}}}"#, self.name())
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        request("DELETE", &format!("/images/{}?force=1", self.image()), None);
    }
}

/// The parts of a request that registries use.
struct Asked {
    path: String,
    authorization: String,
    body: String,
}

fn asked(stream: &mut impl BufRead) -> Option<Asked> {
    let mut line = String::new();
    stream.read_line(&mut line).ok().filter(|read| *read > 0)?;
    let path = line.split(' ').nth(1)?.to_owned();
    let mut headers = HashMap::new();
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).ok().filter(|read| *read > 0)?;
        let Some((name, value)) = line.split_once(':') else {
            break;
        };
        headers.insert(name.to_lowercase(), value.trim().to_owned());
    }
    let length = headers
        .get("content-length")
        .and_then(|length| length.parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    stream.read_exact(&mut body).ok()?;
    Some(Asked {
        path,
        authorization: headers.remove("authorization").unwrap_or_default(),
        body: String::from_utf8_lossy(&body).into_owned(),
    })
}

fn serve(stream: TcpStream, scheme: Scheme, port: u16) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut stream = stream;
    // An engine tries TLS first, and waits for an answer.
    let is_tls = |first: &[u8]| first.first() == Some(&0x16);
    if reader.fill_buf().is_ok_and(is_tls) {
        return;
    }
    while let Some(asked) = asked(&mut reader) {
        let (status, headers, body) = answer(&asked, scheme, port);
        let head = format!(
            "HTTP/1.1 {status}\r\n{headers}Content-Length: {}\r\n\r\n",
            body.len()
        );
        if stream.write_all(head.as_bytes()).is_err() || stream.write_all(&body).is_err() {
            return;
        }
    }
}

fn answer(asked: &Asked, scheme: Scheme, port: u16) -> (&'static str, String, Vec<u8>) {
    let basic = format!("Basic {}", STANDARD.encode(format!("{USER}:{PASSWORD}")));
    let refused = |challenge: String| {
        let shown = format!("{} {}", asked.authorization, asked.body);
        let error =
            serde_json::json!({"errors": [{"code": "UNAUTHORIZED", "message": format!("not with {shown}")}]});
        ("401 Unauthorized", challenge, error.to_string().into_bytes())
    };
    let json = |kind: &str, text: String| {
        let digest = digest(text.as_bytes());
        let headers = format!("Content-Type: {kind}\r\nDocker-Content-Digest: {digest}\r\n");
        ("200 OK", headers, text.into_bytes())
    };
    if asked.path.starts_with("/token") {
        let refreshed = asked.body.contains(&format!("refresh_token={IDENTITY_TOKEN}"));
        if asked.authorization != basic && !refreshed {
            return refused(String::new());
        }
        let token = serde_json::json!({"token": BEARER_TOKEN, "access_token": BEARER_TOKEN});
        return json("application/json", token.to_string());
    }
    let (wanted, challenge) = match scheme {
        Scheme::Basic => (basic, "Basic realm=\"shop\"".to_owned()),
        Scheme::Bearer => (
            format!("Bearer {BEARER_TOKEN}"),
            format!("Bearer realm=\"http://127.0.0.1:{port}/token\",service=\"shop\""),
        ),
    };
    if asked.authorization != wanted {
        return refused(format!("WWW-Authenticate: {challenge}\r\n"));
    }
    let (layer, config, manifest) = image(port);
    match asked.path.rsplit('/').next().unwrap_or_default() {
        _ if asked.path.contains("/manifests/") => {
            json("application/vnd.docker.distribution.manifest.v2+json", manifest)
        }
        blob if blob == digest(config.as_bytes()) => json("application/octet-stream", config),
        blob if blob == digest(&layer) => ("200 OK", String::new(), layer),
        _ => ("200 OK", String::new(), Vec::new()),
    }
}

fn digest(bytes: &[u8]) -> String {
    let hex: String = Sha256::digest(bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    format!("sha256:{hex}")
}

/// An image with a single file: its layer, its configuration and its manifest.
fn image(port: u16) -> (Vec<u8>, String, String) {
    let text = port.to_string();
    let mut header = tar::Header::new_ustar();
    header.set_size(text.len() as u64);
    header.set_mode(0o644);
    let mut tar = tar::Builder::new(Vec::new());
    tar.append_data(&mut header, "port", text.as_bytes()).unwrap();
    let layer = tar.into_inner().unwrap();
    let architecture = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    let config = serde_json::json!({
        "architecture": architecture, "os": "linux", "config": {},
        "rootfs": {"type": "layers", "diff_ids": [digest(&layer)]},
    })
    .to_string();
    let manifest = serde_json::json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.docker.distribution.manifest.v2+json",
        "config": {
            "mediaType": "application/vnd.docker.container.image.v1+json",
            "size": config.len(), "digest": digest(config.as_bytes()),
        },
        "layers": [{
            "mediaType": "application/vnd.docker.image.rootfs.diff.tar.gzip",
            "size": layer.len(), "digest": digest(&layer),
        }],
    })
    .to_string();
    (layer, config, manifest)
}

/// A service on that image. The image has no programs, so the service gets this machine's.
fn service(image: &str) -> String {
    let programs = ["/usr", "/bin", "/lib", "/lib64"];
    let mounts = programs.iter().filter(|folder| Path::new(folder).is_dir());
    let mounts: Vec<String> = mounts.map(|folder| format!("\"{folder}:{folder}:ro\"")).collect();
    format!(
        "services:\n  web: {{type: docker, {image}, shutdown_timeout: 1, command: [/usr/bin/sleep, \"1000\"], volumes: [{}]}}\n",
        mounts.join(", ")
    )
}

fn sandbox(name: &str, image: &str) -> DockerSandbox {
    let mut sandbox = DockerSandbox::new(name, &service(image));
    let folder = sandbox.root().join("docker");
    std::fs::create_dir(&folder).unwrap();
    sandbox.set_env("DOCKER_CONFIG", folder.to_str().unwrap());
    sandbox
}

fn write_config(sandbox: &DockerSandbox, text: &str) {
    std::fs::write(sandbox.root().join("docker/config.json"), text).unwrap();
}

/// A program of this name in the PATH of a sandbox that has no daemon yet.
fn helper(sandbox: &mut DockerSandbox, name: &str, script: &str) {
    let folder = sandbox.root().join("helpers");
    std::fs::create_dir_all(&folder).unwrap();
    let program = folder.join(format!("docker-credential-{name}"));
    std::fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    let path = std::env::var("PATH").unwrap();
    sandbox.set_env("PATH", format!("{}:{path}", folder.display()));
}

/// Looks for secrets in everything that harness shows and stores.
fn assert_nowhere(sandbox: &DockerSandbox, secrets: &[&str]) {
    let mut secrets: Vec<String> = secrets.iter().map(|secret| (*secret).to_owned()).collect();
    let basic = secrets
        .iter()
        .map(|secret| STANDARD.encode(format!("{USER}:{secret}")));
    secrets.extend(basic.collect::<Vec<_>>());
    let told = |args: &[&str]| {
        let output = sandbox.harness(args);
        format!("{}{}", output.stdout, output.stderr)
    };
    let mut all = vec![
        ("why".to_owned(), told(&["why", "web"])),
        ("events".to_owned(), told(&["events"])),
        ("logs".to_owned(), told(&["logs", "web"])),
        ("status".to_owned(), told(&["status", "--json"])),
        ("daemon logs".to_owned(), told(&["daemon", "logs", "-n", "1000"])),
    ];
    let mut folders = vec![sandbox.home()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap().flatten() {
            match entry.file_type().unwrap() {
                kind if kind.is_dir() => folders.push(entry.path()),
                kind if kind.is_file() => {
                    let bytes = std::fs::read(entry.path()).unwrap_or_default();
                    let text = String::from_utf8_lossy(&bytes).into_owned();
                    all.push((entry.path().display().to_string(), text));
                }
                _ => {}
            }
        }
    }
    for (place, text) in all {
        for secret in &secrets {
            assert!(!text.contains(secret), "a secret is shown in {place}");
        }
    }
}

#[test]
fn a_pull_shows_what_docker_login_left_when_it_is_made() {
    let registry = Registry::new(Scheme::Basic);
    let mut sandbox = sandbox("login", &format!("image: \"{}\"", registry.image()));
    // Even this level does not log what the engine gets.
    sandbox.set_env("HARNESS_LOG", "trace");
    let (name, file) = (registry.name(), sandbox.root().join("docker/config.json"));
    let login = format!("`docker login {name}`");

    let start = sandbox.harness(&["start"]).code(18);
    let said = format!(
        "registry {name} was given no credentials, because {} has none for it: run {login}",
        file.display()
    );
    assert!(start.stderr.contains(&said), "{start}");

    write_config(&sandbox, &registry.login("wrong>sesame"));
    let start = sandbox.harness(&["start"]).code(18);
    let said = format!("registry {name} refuses the credentials from {}", file.display());
    assert!(
        start.stderr.contains(&said) && start.stderr.contains(&login),
        "{start}"
    );
    // The message contains the registry's text, without the repeated credentials.
    assert!(start.stderr.contains("not with Basic •••"), "{start}");
    assert_nowhere(&sandbox, &["wrong>sesame"]);

    write_config(&sandbox, "{\"auths\": \"sesame\"}");
    let start = sandbox.harness(&["start"]).code(18);
    let said = format!("{} is not what `docker login` writes", file.display());
    assert!(
        start.stderr.contains(&said) && !start.stderr.contains("sesame"),
        "{start}"
    );

    // Credentials are read when the image is pulled, not when the daemon starts.
    write_config(&sandbox, &registry.login(PASSWORD));
    sandbox.ok(&["start"]);
    assert_eq!(sandbox.state("web"), "running/none");
    assert_nowhere(&sandbox, &[PASSWORD, "wrong>sesame"]);
    sandbox.ok(&["stop", "--all"]);
}

#[test]
fn helpers_are_asked_and_their_tokens_exchanged() {
    let registry = Registry::new(Scheme::Bearer);
    let mut sandbox = sandbox("helper", &format!("image: \"{}\"", registry.image()));
    let name = registry.name();
    let told = |user: &str, secret: &str| {
        format!(
            "[ \"$1 $(cat)\" = \"get {name}\" ] && echo '{{\"Username\":\"{user}\",\"Secret\":\"{secret}\"}}'"
        )
    };
    helper(&mut sandbox, "hx-token", &told("<token>", IDENTITY_TOKEN));
    helper(&mut sandbox, "hx-broken", "echo the keys are lost; exit 1");
    helper(
        &mut sandbox,
        "hx-empty",
        "echo credentials not found in native keychain; exit 1",
    );

    for (helper, why) in [
        (
            "hx-missing",
            "`docker-credential-hx-missing`: it is not in the daemon's PATH",
        ),
        (
            "hx-broken",
            "`docker-credential-hx-broken`: it failed (exit status: 1): the keys are lost",
        ),
        ("hx-empty", "has none for it"),
    ] {
        write_config(&sandbox, &format!(r#"{{"credsStore":"{helper}"}}"#));
        let start = sandbox.harness(&["start"]).code(18);
        assert!(start.stderr.contains(why), "{start}");
        assert!(
            start.stderr.contains(&format!("`docker login {name}`")),
            "{start}"
        );
    }

    let file = format!(r#"{{"credsStore":"hx-missing","credHelpers":{{"{name}":"hx-token"}}}}"#);
    write_config(&sandbox, &file);
    sandbox.ok(&["start"]);
    assert_eq!(sandbox.state("web"), "running/none");
    assert_nowhere(&sandbox, &[IDENTITY_TOKEN, BEARER_TOKEN]);
    sandbox.ok(&["stop", "--all"]);
}

#[test]
fn a_build_begins_with_an_image_that_wants_credentials() {
    let registry = Registry::new(Scheme::Bearer);
    let sandbox = sandbox("login_build", "build: ctx");
    let _image = Image::of("login_build", "web");
    let dockerfile = format!("FROM {} AS base\nFROM base\nLABEL made=here\n", registry.image());
    sandbox.write("ctx/Dockerfile", &dockerfile);

    let start = sandbox.harness(&["start"]).code(18);
    let login = format!("`docker login {}`", registry.name());
    assert!(start.stderr.contains("building the image failed"), "{start}");
    assert!(start.stderr.contains(&login), "{start}");

    write_config(&sandbox, &registry.login(PASSWORD));
    sandbox.ok(&["start"]);
    assert_eq!(sandbox.state("web"), "running/none");
    assert_nowhere(&sandbox, &[PASSWORD, BEARER_TOKEN]);
    sandbox.ok(&["stop", "--all"]);
}
