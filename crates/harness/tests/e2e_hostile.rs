//! Malicious clients against the real daemon: it stays small, still answers everybody else, and is the same
//! afterwards.

#![cfg(test)]

mod common;

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_tungstenite::tungstenite::protocol::frame::Frame;
use async_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};
use async_tungstenite::tungstenite::{Bytes, Message};
use common::siege::{Siege, answer, in_time, say, selector, status_request};
use common::{proc, within};
use futures_lite::{AsyncReadExt, AsyncWriteExt, FutureExt, StreamExt};
use futures_rustls::pki_types::{CertificateDer, pem::PemObject};
use futures_rustls::rustls::crypto::ring;
use futures_rustls::rustls::{ClientConfig, RootCertStore};
use serde_json::{Value, json};

fn without_certificate(siege: &Siege) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    let ca = siege.tls.path().join("ca.pem");
    roots.add(CertificateDer::from_pem_file(ca).unwrap()).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    Arc::new(config)
}

#[test]
fn hundreds_of_strangers_at_once_disturb_nobody() {
    let siege = Siege::new("strangers");
    let mut silent: Vec<TcpStream> = (0..300).map(|_| siege.tcp()).collect();
    siege.goes_on();
    for stream in silent.iter().step_by(2) {
        // The daemon has already closed some of them.
        let _ = stream.shutdown(Shutdown::Write);
    }
    // Clients that reset the connection in the middle of a TLS record.
    for _ in 0..100 {
        let mut stream = siege.tcp();
        let _ = stream.write_all(&[22, 3, 1, 2, 0, 1, 0]);
        let _ = rustix::net::sockopt::set_socket_linger(&stream, Some(Duration::ZERO));
    }
    smol::block_on(async {
        let config = without_certificate(&siege);
        for _ in 0..50 {
            if let Ok(mut stream) = siege.tls(Arc::clone(&config)).await {
                // In TLS 1.3 a client may think that it is connected, until it reads.
                assert!(in_time("the end", stream.read(&mut [0; 10])).await.is_err());
            }
        }
    });
    siege.goes_on();
    // A possible ClientHello, byte by byte, for longer than the handshake may take.
    let mut slow: Vec<TcpStream> = (0..60).map(|_| siege.tcp()).collect();
    let hello = [22, 3, 1, 1, 0, 1, 0, 0, 252, 3, 3]
        .into_iter()
        .chain(std::iter::repeat(7));
    let began = Instant::now();
    for byte in hello.take(30) {
        for stream in &mut slow {
            // Closed after five seconds.
            let _ = stream.write_all(&[byte]);
        }
        std::thread::sleep(Duration::from_millis(200));
        if began.elapsed() < Duration::from_secs(4) {
            siege.goes_on();
        }
    }
    for stream in silent.iter_mut().chain(&mut slow) {
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        // The connection ends or is reset, and the answer is at most a TLS alert.
        let mut heard = Vec::new();
        let _ = stream.read_to_end(&mut heard);
        assert!(heard.len() < 100, "{heard:?}");
    }
    siege.is_over();
}

#[test]
fn who_is_slow_after_tls_is_thrown_out_too() {
    let siege = Siege::new("slow");
    smol::block_on(async {
        let mut upgrades = Vec::new();
        let mut hellos = Vec::new();
        for _ in 0..20 {
            upgrades.push(siege.authenticated().await);
            hellos.push(siege.upgraded().await);
        }
        let request =
            b"GET /harness HTTP/1.1\r\nHost: harness.internal\r\nX-Slow: aaaaaaaaaaaaaaaaaaaaaaaaaaa";
        for byte in request.iter().take(30) {
            for stream in &mut upgrades {
                let _ = stream.write_all(&[*byte]).await;
                let _ = stream.flush().await;
            }
            for socket in &mut hellos {
                // A frame that never ends.
                let _ = socket
                    .get_mut()
                    .write_all(&[if *byte == b'G' { 0x81 } else { 0xfe }])
                    .await;
                let _ = socket.get_mut().flush().await;
            }
            async_io::Timer::after(Duration::from_millis(200)).await;
        }
        for mut stream in upgrades {
            let _ = in_time("the end", stream.read_to_end(&mut Vec::new())).await;
        }
        for mut socket in hellos {
            in_time("the end", async {
                while let Some(Ok(_)) = socket.next().await {}
            })
            .await;
        }
        siege.goes_on();

        // Headers that never end, large ones and many of them.
        for header in [
            "X: ".to_owned() + &"y".repeat(1 << 20),
            "X: y\r\n".repeat(100_000),
        ] {
            let mut tls = siege.authenticated().await;
            let request = format!("GET /harness HTTP/1.1\r\nHost: harness.internal\r\n{header}\r\n\r\n");
            // The daemon may hang up before it has heard all of it.
            let _ = tls.write_all(request.as_bytes()).await;
            let _ = tls.flush().await;
            let _ = in_time("the end", tls.read_to_end(&mut Vec::new())).await;
        }
    });
    siege.is_over();
}

fn raw(opcode: Data, last: bool, payload: Vec<u8>) -> Message {
    Message::Frame(Frame::message(payload, OpCode::Data(opcode), last))
}

#[test]
fn a_client_that_breaks_the_rules_ends_itself_and_nothing_else() {
    let siege = Siege::new("rules");
    let text = |json: &str| Message::text(json.to_owned());
    let follow = json!({"v": 1, "id": 5, "request": {"events": {"project": null, "services": [], "follow": true, "since": null}}});
    let follow = follow.to_string();
    let broken: Vec<(&str, Vec<Message>)> = vec![
        ("malformed JSON", vec![text(r#"{"v":1,"id":1,"request":"#)]),
        ("deep nesting", vec![text(&"[".repeat(1 << 20))]),
        (
            "deep nesting in a request",
            vec![text(&format!(
                r#"{{"v":1,"id":1,"request":{{"action":{{"name":"x","input":{}"#,
                "[".repeat(1 << 20)
            ))],
        ),
        ("wrong types", vec![text(r#"{"v":"1","id":[],"request":7}"#)]),
        (
            "a negative id",
            vec![text(r#"{"v":1,"id":-1,"request":{"projects":{}}}"#)],
        ),
        (
            "an id beyond 64 bits",
            vec![text(
                r#"{"v":1,"id":18446744073709551616,"request":{"projects":{}}}"#,
            )],
        ),
        ("id 0", vec![text(r#"{"v":1,"id":0,"request":{"projects":{}}}"#)]),
        ("an id in flight", vec![text(&follow), text(&follow)]),
        (
            "another version",
            vec![text(r#"{"v":2,"id":1,"request":{"projects":{}}}"#)],
        ),
        (
            "negative credit",
            vec![text(&follow), text(r#"{"v":1,"id":5,"credit":-1}"#)],
        ),
        (
            "absurd credit",
            vec![text(&follow), text(r#"{"v":1,"id":5,"credit":1e30}"#)],
        ),
        (
            "a text message over the limit",
            vec![text(&" ".repeat((16 << 20) + 1))],
        ),
        (
            "a binary message over the limit",
            vec![Message::binary(vec![0; (1 << 20) + 10])],
        ),
        ("half a binary header", vec![Message::binary(vec![0; 8])]),
        ("an unknown channel", vec![Message::binary(vec![200; 64])]),
        (
            "fragments without end",
            std::iter::once(raw(Data::Text, false, vec![b' '; 1 << 20]))
                .chain((0..20).map(|_| raw(Data::Continue, false, vec![b' '; 1 << 20])))
                .collect(),
        ),
        (
            "a continuation of nothing",
            vec![raw(Data::Continue, true, vec![b'x'])],
        ),
        ("no UTF-8", vec![raw(Data::Text, true, vec![0xff, 0xfe])]),
    ];
    for (what, messages) in broken {
        siege.is_thrown_out(what, messages);
        siege.goes_on();
    }
    siege.is_over();
}

#[test]
fn what_is_within_the_rules_is_answered_however_odd() {
    let siege = Siege::new("odd");
    smol::block_on(async {
        let mut socket = siege.session().await;
        // The largest id, and the largest message.
        say(&mut socket, &status_request(u64::MAX)).await;
        assert!(answer(&mut socket, u64::MAX).await.get("response").is_some());
        let mut large = status_request(2).to_string();
        large.push_str(&" ".repeat((16 << 20) - large.len()));
        socket.send(Message::text(large)).await.unwrap();
        assert!(answer(&mut socket, 2).await.get("response").is_some());
        // For unknown verbs and shapes, only the request is refused.
        for (id, request) in [
            (3, json!({"fly": {}})),
            (4, json!({"status": 7})),
            (5, json!(null)),
        ] {
            say(&mut socket, &json!({"v": 1, "id": id, "request": request})).await;
            assert!(answer(&mut socket, id).await.get("error").is_some());
        }
        // Messages that belong to no request are ignored: a full binary message, credit, a cancel.
        let mut frame = 77_u64.to_be_bytes().to_vec();
        frame.push(0);
        frame.resize(9 + (1 << 20), b'x');
        socket.send(Message::binary(frame)).await.unwrap();
        say(&mut socket, &json!({"v": 1, "id": 77, "credit": u64::MAX})).await;
        say(&mut socket, &json!({"v": 1, "id": 2, "cancel": {}})).await;
        // Credit cannot wrap around.
        say(&mut socket, &json!({"v": 1, "id": 8, "request": {"events": {"project": selector(), "services": [], "follow": true, "since": null}}})).await;
        for _ in 0..100 {
            say(&mut socket, &json!({"v": 1, "id": 8, "credit": u64::MAX})).await;
        }
        say(&mut socket, &json!({"v": 1, "id": 8, "cancel": {}})).await;
        answer(&mut socket, 8).await;
        say(&mut socket, &status_request(9)).await;
        assert!(answer(&mut socket, 9).await.get("response").is_some());
    });
    siege.goes_on();

    // A flood of pings from a client that does not read the pongs until the end.
    smol::block_on(async {
        let socket = siege.session().await;
        let (mut sender, mut receiver) = socket.split();
        let ping = Message::Ping(Bytes::from(vec![b'p'; 125]));
        let flood = async {
            for _ in 0..100_000 {
                sender.send(ping.clone()).await.unwrap();
            }
            sender
                .send(Message::text(status_request(1).to_string()))
                .await
                .unwrap();
        };
        // The daemon may stop reading from a client that reads nothing. Then the client reads, so that both continue.
        let read = async {
            async_io::Timer::after(Duration::from_secs(3)).await;
            loop {
                if let Message::Text(_) = receiver.next().await.unwrap().unwrap() {
                    return;
                }
            }
        };
        in_time(
            "an answer after the pings",
            futures_lite::future::zip(flood, read),
        )
        .await;
    });
    siege.is_over();
}

#[test]
fn ten_thousand_requests_that_are_cancelled_at_once_leave_nothing() {
    let siege = Siege::new("cancelled");
    smol::block_on(async {
        let (mut sender, mut receiver) = siege.session().await.split();
        const REQUESTS: u64 = 10_000;
        let ask = async {
            for id in 1..=REQUESTS {
                let request = match id % 3 {
                    0 => {
                        json!({"logs": {"project": selector(), "services": [], "follow": true, "tail": null, "since": null, "until": null, "grep": null}})
                    }
                    1 => {
                        json!({"events": {"project": selector(), "services": [], "follow": true, "since": null}})
                    }
                    _ => json!({"wait": {"project": selector(), "services": ["calm"], "until": "stopped"}}),
                };
                for message in [
                    json!({"v": 1, "id": id, "request": request}),
                    json!({"v": 1, "id": id, "cancel": {}}),
                ] {
                    sender.send(Message::text(message.to_string())).await.unwrap();
                }
            }
        };
        // Each gets exactly one answer, which may be a refusal.
        let hear = async {
            let mut answers = 0;
            while answers < REQUESTS {
                if let Message::Text(text) = receiver.next().await.unwrap().unwrap() {
                    let message: Value = serde_json::from_str(&text).unwrap();
                    answers += u64::from(message.get("event").is_none());
                }
            }
        };
        let both = futures_lite::future::zip(ask, hear);
        let expired = async {
            async_io::Timer::after(Duration::from_secs(120)).await;
            panic!("not every request is answered");
        };
        both.or(expired).await;
    });
    siege.goes_on();

    // More requests than may be in flight: the excess is refused, the others continue.
    smol::block_on(async {
        let mut socket = siege.session().await;
        for id in 1..=300 {
            let wait = json!({"wait": {"project": selector(), "services": ["calm"], "until": "stopped"}});
            say(&mut socket, &json!({"v": 1, "id": id, "request": wait})).await;
        }
        for id in 257..=300 {
            assert!(answer(&mut socket, id).await.get("error").is_some());
        }
    });
    siege.is_over();
}

#[test]
fn streams_that_nobody_reads_cost_a_bounded_amount() {
    let siege = Siege::new("unread");
    let sockets = smol::block_on(async {
        let mut sockets = Vec::new();
        for index in 0..50 {
            let mut socket = siege.session().await;
            let request = if index % 2 == 0 {
                json!({"logs": {"project": selector(), "services": ["flood"], "follow": true, "tail": null, "since": null, "until": null, "grep": null}})
            } else {
                json!({"events": {"project": selector(), "services": [], "follow": true, "since": null}})
            };
            say(&mut socket, &json!({"v": 1, "id": 1, "request": request})).await;
            // It grants unlimited credit.
            say(&mut socket, &json!({"v": 1, "id": 1, "credit": u64::MAX})).await;
            sockets.push(socket);
        }
        sockets
    });
    siege.sandbox.write("go", "");
    // The flood is as large as it gets when its service sleeps.
    within(Duration::from_secs(90), "the flood is over", || {
        siege.goes_on();
        let pid = siege.sandbox.pid("flood");
        proc::command(pid).starts_with("sleep 100000").then_some(())
    });
    for _ in 0..10 {
        siege.goes_on();
    }
    drop(sockets);
    siege.is_over();
}
