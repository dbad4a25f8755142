//! The http check over TLS, and what it may ask for and expect.

#![cfg(test)]

use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_rustls::pki_types::{CertificateDer, PrivateKeyDer};
use futures_rustls::rustls::crypto::ring;
use futures_rustls::rustls::{ServerConfig, ServerConnection, StreamOwned};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use service_orchestration::health::{HttpProbe, Prober, Trust, http};
use service_orchestration::machine::ProbeOutcome;

const ANSWER: &str = "HTTP/1.1 200 OK\r\nContent-Length: 15\r\n\r\nstatus: \"ready\"";

/// A server on loopback that answers each request alike and keeps what it was asked. Its thread ends with the test.
struct Server {
    port: u16,
    asked: Arc<Mutex<String>>,
    /// The certificate of its authority.
    ca: PathBuf,
    _folder: tempfile::TempDir,
}

/// One with a certificate for these names.
fn tls_server(names: &[&str], answer: &'static str) -> Server {
    let mut authority = CertificateParams::new(Vec::new()).unwrap();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let certificate = CertificateParams::new(names)
        .unwrap()
        .signed_by(&key, &authority)
        .unwrap();
    serve_tls(certificate.der().clone(), authority.pem(), &key, answer)
}

/// One with this certificate; `ca` is what its clients list.
fn serve_tls(
    certificate: CertificateDer<'static>,
    ca: String,
    key: &KeyPair,
    answer: &'static str,
) -> Server {
    let provider = Arc::new(ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![certificate],
            PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
        )
        .unwrap();
    let config = Arc::new(config);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ca.pem");
    std::fs::write(&path, ca).unwrap();
    serve(answer, folder, path, move |stream| {
        let connection = ServerConnection::new(Arc::clone(&config)).unwrap();
        Box::new(StreamOwned::new(connection, stream))
    })
}

fn plain_server(answer: &'static str) -> Server {
    let folder = tempfile::tempdir().unwrap();
    let ca = folder.path().join("none");
    serve(answer, folder, ca, |stream| Box::new(stream))
}

trait Stream: Read + Write {}
impl<T: Read + Write> Stream for T {}

fn serve(
    answer: &'static str,
    folder: tempfile::TempDir,
    ca: PathBuf,
    open: impl Fn(std::net::TcpStream) -> Box<dyn Stream> + Send + 'static,
) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let asked = Arc::new(Mutex::new(String::new()));
    let shared = Arc::clone(&asked);
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let mut stream = open(stream);
            let mut request = Vec::new();
            let mut byte = [0];
            while !request.ends_with(b"\r\n\r\n") && matches!(stream.read(&mut byte), Ok(1)) {
                request.push(byte[0]);
            }
            *shared.lock().unwrap() = String::from_utf8_lossy(&request).into_owned();
            let _ = stream.write_all(answer.as_bytes());
            let _ = stream.flush();
        }
    });
    Server {
        port,
        asked,
        ca,
        _folder: folder,
    }
}

fn probe(probe: HttpProbe) -> ProbeOutcome {
    smol::block_on(probe.probe(Duration::from_secs(20)))
}

#[track_caller]
fn is_bad(outcome: ProbeOutcome, words: &str) {
    match outcome {
        ProbeOutcome::Unhealthy(said) => assert!(said.contains(words), "{said}"),
        other => panic!("{other:?}, not {words}"),
    }
}

#[test]
fn a_certificate_must_be_trusted_and_for_the_host() {
    let server = tls_server(&["localhost", "127.0.0.1"], ANSWER);
    let url = format!("https://localhost:{}/health", server.port);
    let trusted = || http(&url).unwrap().trust(Trust::Authorities(server.ca.clone()));
    assert_eq!(probe(trusted()), ProbeOutcome::Healthy);
    assert!(
        server
            .asked
            .lock()
            .unwrap()
            .starts_with("GET /health HTTP/1.1\r\n")
    );
    let by_address = http(&format!("https://127.0.0.1:{}/", server.port)).unwrap();
    assert_eq!(
        probe(by_address.trust(Trust::Authorities(server.ca.clone()))),
        ProbeOutcome::Healthy
    );

    is_bad(probe(http(&url).unwrap()), "its authority is not trusted");
    assert_eq!(
        probe(http(&url).unwrap().trust(Trust::Anybody)),
        ProbeOutcome::Healthy
    );
    is_bad(
        probe(trusted().certified_for("other.example")),
        "it is for another host",
    );
    let missing = server.ca.with_file_name("no.pem");
    is_bad(
        probe(http(&url).unwrap().trust(Trust::Authorities(missing.clone()))),
        "no.pem: ",
    );
    std::fs::write(&missing, "nothing").unwrap();
    is_bad(
        probe(http(&url).unwrap().trust(Trust::Authorities(missing))),
        "no certificate is in it",
    );
}

#[test]
fn a_certificate_that_is_its_own_authority_may_be_listed() {
    // As `openssl req -x509` makes them.
    for is_ca in [
        IsCa::Ca(BasicConstraints::Unconstrained),
        IsCa::NoCa,
        IsCa::ExplicitNoCa,
    ] {
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        params.is_ca = is_ca;
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        let server = serve_tls(certificate.der().clone(), certificate.pem(), &key, ANSWER);
        let url = format!("https://localhost:{}/", server.port);
        let listed = || http(&url).unwrap().trust(Trust::Authorities(server.ca.clone()));
        assert_eq!(probe(listed()), ProbeOutcome::Healthy);
        is_bad(
            probe(listed().certified_for("other.example")),
            "the certificate is not good",
        );
        let other = tls_server(&["localhost"], ANSWER);
        is_bad(
            probe(http(&url).unwrap().trust(Trust::Authorities(other.ca.clone()))),
            "the certificate is not good",
        );
    }
}

#[test]
fn a_certificate_that_is_listed_must_be_valid_today() {
    for is_ca in [IsCa::Ca(BasicConstraints::Unconstrained), IsCa::NoCa] {
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        params.is_ca = is_ca;
        params.not_before = rcgen::date_time_ymd(2000, 1, 1);
        params.not_after = rcgen::date_time_ymd(2001, 1, 1);
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        let server = serve_tls(certificate.der().clone(), certificate.pem(), &key, ANSWER);
        let url = format!("https://localhost:{}/", server.port);
        let listed = http(&url).unwrap().trust(Trust::Authorities(server.ca.clone()));
        is_bad(probe(listed), "it has expired");
    }
}

#[test]
fn a_port_of_another_protocol_says_so() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let _ = stream.read(&mut [0; 1024]);
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
        }
    });
    let https = http(&format!("https://localhost:{port}/")).unwrap();
    is_bad(
        probe(https.trust(Trust::Anybody)),
        "no TLS answer: is this port plain http?",
    );
}

#[test]
fn the_request_and_the_good_answers_are_what_the_file_says() {
    let server = plain_server(ANSWER);
    let url = format!("http://127.0.0.1:{}/x?y", server.port);
    let plain = || http(&url).unwrap();
    let asking = plain()
        .method("HEAD")
        .unwrap()
        .header("X-Token", "hunter2")
        .unwrap();
    let asking = asking.header("Host", "example.test").unwrap();
    assert!(!format!("{asking:?}").contains("hunter2"));
    assert_eq!(probe(asking), ProbeOutcome::Healthy);
    let asked = server.asked.lock().unwrap().clone();
    assert!(asked.starts_with("HEAD /x?y HTTP/1.1\r\n"), "{asked}");
    for header in ["x-token: hunter2\r\n", "host: example.test\r\n"] {
        assert!(asked.to_ascii_lowercase().contains(header), "{asked}");
    }

    let status = |text: &str| {
        text.split(',')
            .map(|range| range.parse().unwrap())
            .collect::<Vec<_>>()
    };
    assert_eq!(probe(plain().status(status("2xx"))), ProbeOutcome::Healthy);
    assert_eq!(probe(plain().status(status("204,200"))), ProbeOutcome::Healthy);
    is_bad(
        probe(plain().status(status("204,3xx"))),
        "answered 200 OK, not 204 or 300-399",
    );
    let absent = plain_server("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n");
    let absent = http(&format!("http://127.0.0.1:{}/", absent.port)).unwrap();
    assert_eq!(probe(absent.status(status("404"))), ProbeOutcome::Healthy);

    assert_eq!(
        probe(plain().body("\"ready\"$".to_owned())),
        ProbeOutcome::Healthy
    );
    is_bad(
        probe(plain().body("^ready".to_owned())),
        "the body does not match /^ready/",
    );
    is_bad(
        probe(plain().status(status("500")).body("ready".to_owned())),
        "answered 200 OK, not 500",
    );
    is_bad(probe(plain().body("(".to_owned())), "not a regular expression");
}

#[test]
fn what_no_request_can_have_is_refused_without_its_value() {
    let error = http("http://localhost/")
        .unwrap()
        .header("X-Key", "hunter2\n")
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "the health check cannot send the header `X-Key`"
    );
    assert!(http("http://localhost/").unwrap().header("a b", "x").is_err());
    assert!(http("http://localhost/").unwrap().method("G T").is_err());
}
