//! Which clients may connect, and which may not.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_tungstenite::client_async;
use async_tungstenite::tungstenite::{self, Message, client::IntoClientRequest};
use futures_lite::{AsyncReadExt, AsyncWriteExt};
use futures_rustls::pki_types::{CertificateDer, pem::PemObject};
use futures_rustls::rustls::crypto::ring;
use futures_rustls::rustls::{ClientConfig, RootCertStore};
use harness_wire::client::{ClientError, ConnectError, Disconnect, connect};
use harness_wire::message::{ErrorCode, ServerBody};
use harness_wire::server::{AcceptError, Limits, Phase};
use harness_wire::tls::TlsDir;
use serde_json::json;

use crate::support::{Server, client_dir, echo, in_time, spawn_on_smol};

const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);

fn impatient() -> Limits {
    Limits {
        handshake_timeout: Duration::from_secs(1),
        ..Limits::default()
    }
}

async fn refused_by_tls(server: &Server, tls: &TlsDir) {
    let error = in_time(server.connect_with(tls)).await.unwrap_err();
    assert!(
        matches!(
            error,
            ConnectError::Tls { .. } | ConnectError::ClientCertificate { .. }
        ),
        "{error:?}"
    );
    let error = server.refusal().await;
    assert!(matches!(error, AcceptError::Tls(_)), "{error:?}");
    server.control().await;
}

#[test]
fn a_client_without_a_certificate_is_refused() {
    smol::block_on(async {
        let server = Server::start(spawn_on_smol(), Limits::default()).await;
        let mut roots = RootCertStore::empty();
        let ca = CertificateDer::from_pem_file(server.tls.path().join("ca.pem")).unwrap();
        roots.add(ca).unwrap();
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        // In TLS 1.3 the client may think it is connected, until it reads.
        if let Ok(mut stream) = in_time(server.tls(Arc::new(config))).await {
            assert!(in_time(stream.read(&mut [0; 10])).await.is_err());
        }
        assert!(matches!(server.refusal().await, AcceptError::Tls(_)));
        server.control().await;
    });
}

#[test]
fn a_foreign_client_is_refused_and_a_foreign_server_is_not_trusted() {
    smol::block_on(async {
        let server = Server::start(spawn_on_smol(), Limits::default()).await;
        let home = tempfile::tempdir().unwrap();
        let foreign = TlsDir::new(home.path().join("tls"));
        foreign.ensure(SystemTime::now()).unwrap();
        refused_by_tls(&server, &client_dir(home.path(), &server.tls, &foreign, "client")).await;
        refused_by_tls(&server, &client_dir(home.path(), &foreign, &server.tls, "client")).await;
    });
}

#[test]
fn an_expired_certificate_and_a_servers_are_refused() {
    smol::block_on(async {
        let home = tempfile::tempdir().unwrap();
        let tls = TlsDir::new(home.path().join("tls"));
        tls.ensure(SystemTime::now() - 2 * YEAR).unwrap();
        let old = tempfile::tempdir().unwrap();
        let expired = client_dir(old.path(), &tls, &tls, "client");
        tls.ensure(SystemTime::now()).unwrap();
        let copies = tempfile::tempdir().unwrap();
        let misused = client_dir(copies.path(), &tls, &tls, "server");
        let server = Server::start_with(spawn_on_smol(), Limits::default(), home, tls).await;
        refused_by_tls(&server, &expired).await;
        refused_by_tls(&server, &misused).await;
    });
}

#[test]
fn garbage_instead_of_tls_is_refused() {
    smol::block_on(async {
        let server = Server::start(spawn_on_smol(), Limits::default()).await;
        let noise: Vec<u8> = (0..200_000_u32)
            .map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8)
            .collect();
        for garbage in [&b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"[..], &[0; 64], &noise] {
            let mut tcp = server.tcp().await;
            let _ = tcp.write_all(garbage).await;
            assert!(matches!(server.refusal().await, AcceptError::Tls(_)));
            server.control().await;
        }
    });
}

#[test]
fn who_stops_in_the_middle_of_the_handshake_is_cut_off() {
    smol::block_on(async {
        let server = Server::start(spawn_on_smol(), impatient()).await;
        let mut silent = server.tcp().await;
        let mut half = server.tcp().await;
        half.write_all(&[22, 3, 1]).await.unwrap();
        let _no_request = server.tls(server.tls.client_config().unwrap()).await.unwrap();
        let mut endless = server.tls(server.tls.client_config().unwrap()).await.unwrap();
        endless.write_all(b"GET /harness HTTP/1.1\r\nX: ").await.unwrap();
        endless.flush().await.unwrap();
        let _no_hello = server.raw_socket().await;
        let mut phases = Vec::new();
        for _ in 0..5 {
            match server.refusal().await {
                AcceptError::Timeout { phase, .. } => phases.push(phase.to_string()),
                other => panic!("{other:?}"),
            }
        }
        phases.sort();
        assert_eq!(
            phases,
            [
                Phase::Tls,
                Phase::Tls,
                Phase::Upgrade,
                Phase::Upgrade,
                Phase::Hello
            ]
            .map(|phase| phase.to_string())
        );
        assert_eq!(in_time(silent.read(&mut [0; 10])).await.unwrap_or(0), 0);
        server.control().await;
    });
}

#[test]
fn a_full_house_turns_newcomers_away_until_there_is_room() {
    smol::block_on(async {
        let limits = Limits {
            max_connections: 2,
            max_unauthenticated: 1,
            ..impatient()
        };
        let server = Server::start(spawn_on_smol(), limits).await;
        let half_open = server.tcp().await;
        let mut more = server.tcp().await;
        assert_eq!(in_time(more.read(&mut [0; 10])).await.unwrap_or(0), 0);
        assert!(matches!(server.refusal().await, AcceptError::Timeout { .. }));
        drop(half_open);

        let (first, second) = (server.connect().await, server.connect().await);
        echo(&first, "1").await;
        echo(&second, "2").await;
        let third = server.connect().await;
        let refused = in_time(third.request(harness_wire::message::Request::Projects {})).await;
        let Err(ClientError::Disconnected(why)) = refused else {
            panic!("{refused:?}")
        };
        assert!(
            matches!(&*why, Disconnect::Refused(body) if body.message.contains("2 connections")),
            "{why:?}"
        );
        echo(&first, "still here").await;
        drop(first);
        server.end().await.unwrap();
        server.control().await;
    });
}

#[test]
fn browsers_and_other_resources_are_refused() {
    smol::block_on(async {
        let server = Server::start(spawn_on_smol(), Limits::default()).await;
        for (url, origin, status) in [
            ("ws://harness.internal/harness", Some("https://evil.example"), 403),
            ("ws://harness.internal/harness", Some("null"), 403),
            ("ws://harness.internal/other", None, 404),
        ] {
            let tls = server.tls(server.tls.client_config().unwrap()).await.unwrap();
            let mut request = url.into_client_request().unwrap();
            if let Some(origin) = origin {
                request.headers_mut().insert("Origin", origin.parse().unwrap());
            }
            let error = in_time(client_async(request, tls)).await.unwrap_err();
            assert!(
                matches!(&error, tungstenite::Error::Http(r) if r.status() == status),
                "{error:?}"
            );
            match (status, server.refusal().await) {
                (403, AcceptError::Origin) | (404, AcceptError::Resource) => {}
                (_, other) => panic!("{other:?}"),
            }
            server.control().await;
        }
        let mut tls = server.tls(server.tls.client_config().unwrap()).await.unwrap();
        tls.write_all(b"POST /harness HTTP/1.1\r\n\r\n").await.unwrap();
        tls.flush().await.unwrap();
        assert!(matches!(server.refusal().await, AcceptError::Upgrade(_)));
        server.control().await;
    });
}

#[test]
fn a_hello_must_come_first_and_name_a_version_we_speak() {
    smol::block_on(async {
        let server = Server::start(spawn_on_smol(), Limits::default()).await;
        let mut raw = server.raw_socket().await;
        raw.say(json!({"v": 9, "id": 0, "hello": {"versions": [8, 9], "program": "harness 9.0"}}))
            .await;
        let ServerBody::Error(body) = raw.hear().await.body else {
            panic!()
        };
        assert_eq!(body.code, ErrorCode::Version);
        assert!(body.message.contains("harness 9.0"), "{}", body.message);
        assert!(matches!(server.refusal().await, AcceptError::Version { offered, .. } if offered == [8, 9]));

        // A newer client that still speaks our version may connect.
        let mut raw = server.raw_socket().await;
        raw.say(json!({"v": 2, "id": 0, "hello": {"versions": [1, 2], "program": "harness 2.0"}}))
            .await;
        let ServerBody::Hello(hello) = raw.hear().await.body else {
            panic!()
        };
        assert_eq!(hello.versions, [1]);

        for first in [
            Message::text(r#"{"v":1,"id":1,"request":{"projects":{}}}"#),
            Message::text("hello?"),
            Message::binary(vec![0; 20]),
        ] {
            let mut raw = server.raw_socket().await;
            raw.send(first).await;
            assert!(matches!(raw.hear().await.body, ServerBody::Error(_)));
            let error = server.refusal().await;
            assert!(
                matches!(error, AcceptError::NoHello | AcceptError::Malformed(_)),
                "{error:?}"
            );
            server.control().await;
        }
    });
}

#[test]
fn a_client_knows_why_it_got_no_connection() {
    smol::block_on(async {
        let server = Server::start(spawn_on_smol(), Limits::default()).await;
        // A port that was free a moment ago.
        let free = std::net::TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap();
        let error = connect(free, &server.tls, "x").await.err().unwrap();
        assert!(matches!(error, ConnectError::Refused { .. }), "{error:?}");
        let missing = TlsDir::new(server.tls.path().join("none"));
        let error = connect(server.address, &missing, "x").await.err().unwrap();
        assert!(matches!(error, ConnectError::Certificates(_)), "{error:?}");
        let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let error = in_time(connect(silent.local_addr().unwrap(), &server.tls, "x"))
            .await
            .err()
            .unwrap();
        assert!(matches!(error, ConnectError::Timeout { .. }), "{error:?}");
    });
}
