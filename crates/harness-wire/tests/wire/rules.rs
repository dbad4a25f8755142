//! Authenticated clients that break the rules: the connection ends with a reason, and the server continues.

use async_tungstenite::tungstenite::Message;
use async_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};
use async_tungstenite::tungstenite::protocol::frame::{Frame, FrameHeader};
use futures_lite::AsyncWriteExt;
use harness_wire::client::ClientError;
use harness_wire::message::{Channel, DataFrame, ErrorCode, ServerBody};
use harness_wire::server::{ConnectionError, Limits, Violation};
use serde_json::json;

use crate::support::{Server, action, echo, in_time, open, spawn_on_smol, until};

fn data(id: u64, channel: Channel, len: usize) -> Message {
    let payload = vec![7; len];
    Message::binary(DataFrame { id, channel, payload }.encode())
}

fn text(json: &str) -> Message {
    Message::text(json.to_owned())
}

#[test]
fn each_broken_rule_ends_the_connection_with_its_reason() {
    smol::block_on(async {
        let server = Server::start(spawn_on_smol(), Limits::default()).await;
        let hang = || text(r#"{"v":1,"id":5,"request":{"action":{"name":"idle","input":null}}}"#);
        type Matches = fn(&ConnectionError) -> bool;
        let cases: Vec<(&str, Vec<Message>, Matches)> = vec![
            ("no JSON", vec![text("{{{")], |e| {
                matches!(e, ConnectionError::Malformed(_))
            }),
            ("deep JSON", vec![Message::text("[".repeat(1 << 20))], |e| {
                matches!(e, ConnectionError::Malformed(_))
            }),
            ("half an envelope", vec![text(r#"{"v":1}"#)], |e| {
                matches!(e, ConnectionError::Malformed(_))
            }),
            (
                "unknown request without id",
                vec![text(r#"{"v":1,"id":0,"request":{"fly":{}}}"#)],
                |e| matches!(e, ConnectionError::Malformed(_)),
            ),
            ("short binary", vec![Message::binary(vec![1, 2, 3])], |e| {
                matches!(e, ConnectionError::MalformedFrame(_))
            }),
            ("unknown channel", vec![Message::binary(vec![9; 30])], |e| {
                matches!(e, ConnectionError::MalformedFrame(_))
            }),
            (
                "large binary",
                vec![data(5, Channel::Stdin, (1 << 20) + 1)],
                |e| matches!(e, ConnectionError::TooLarge { max } if *max == 1 << 20),
            ),
            ("not stdin", vec![data(5, Channel::Stdout, 1)], |e| {
                matches!(e, ConnectionError::Protocol(Violation::Channel))
            }),
            (
                "other version",
                vec![text(r#"{"v":2,"id":1,"request":{"projects":{}}}"#)],
                |e| matches!(e, ConnectionError::Protocol(Violation::Version(2))),
            ),
            (
                "second hello",
                vec![text(r#"{"v":1,"id":0,"hello":{"versions":[1],"program":"x"}}"#)],
                |e| matches!(e, ConnectionError::Protocol(Violation::SecondHello)),
            ),
            (
                "id 0",
                vec![text(r#"{"v":1,"id":0,"request":{"projects":{}}}"#)],
                |e| matches!(e, ConnectionError::Protocol(Violation::RequestId(0))),
            ),
            ("id in use", vec![hang(), hang()], |e| {
                matches!(e, ConnectionError::Protocol(Violation::RequestId(5)))
            }),
            (
                "stdin without credit",
                vec![
                    hang(),
                    data(5, Channel::Stdin, 200 << 10),
                    data(5, Channel::Stdin, 100 << 10),
                ],
                |e| matches!(e, ConnectionError::Protocol(Violation::StdinOverrun(5))),
            ),
            (
                "signal flood",
                std::iter::once(hang())
                    .chain((0..300).map(|_| text(r#"{"v":1,"id":5,"signal":2}"#)))
                    .collect(),
                |e| matches!(e, ConnectionError::Protocol(Violation::InputFlood(5))),
            ),
            (
                "continuation of nothing",
                vec![Message::Frame(Frame::message(
                    "x",
                    OpCode::Data(Data::Continue),
                    true,
                ))],
                |e| matches!(e, ConnectionError::WebSocket(_)),
            ),
            (
                "no UTF-8",
                vec![Message::Frame(Frame::message(
                    vec![0xff, 0xfe],
                    OpCode::Data(Data::Text),
                    true,
                ))],
                |e| matches!(e, ConnectionError::WebSocket(_)),
            ),
        ];
        for (name, messages, expected) in cases {
            let mut raw = server.raw_session().await;
            for message in messages {
                raw.send(message).await;
            }
            let told = raw.hear_refusal().await;
            assert!(!told.is_empty());
            let error = server.end().await.expect_err(name);
            assert!(expected(&error), "{name}: {error:?}");
            server.control().await;
            server.end().await.unwrap();
        }
    });
}

#[test]
fn an_oversized_message_is_refused_by_its_header_alone() {
    smol::block_on(async {
        let server = Server::start(spawn_on_smol(), Limits::default()).await;
        let mut raw = server.raw_session().await;
        let header = FrameHeader {
            opcode: OpCode::Data(Data::Text),
            mask: Some([1, 2, 3, 4]),
            ..FrameHeader::default()
        };
        let mut bytes = Vec::new();
        header.format(1 << 40, &mut bytes).unwrap();
        let stream = raw.socket.get_mut();
        stream.write_all(&bytes).await.unwrap();
        stream.flush().await.unwrap();
        let told = raw.hear_refusal().await;
        assert!(told.contains("larger"), "{told}");
        assert!(matches!(server.end().await, Err(ConnectionError::TooLarge { max }) if max == 16 << 20));

        // The same in pieces that are not too large by themselves.
        let mut raw = server.raw_session().await;
        let mut opcode = Data::Text;
        for _ in 0..17 {
            let piece = Frame::message(vec![b'x'; 1 << 20], OpCode::Data(opcode), false);
            if raw.socket.send(Message::Frame(piece)).await.is_err() {
                break;
            }
            opcode = Data::Continue;
        }
        assert!(matches!(
            server.end().await,
            Err(ConnectionError::TooLarge { .. })
        ));
        server.control().await;
    });
}

#[test]
fn a_request_that_is_not_understood_is_refused_alone() {
    smol::block_on(async {
        let server = Server::start(spawn_on_smol(), Limits::default()).await;
        let mut raw = server.raw_session().await;
        for (id, request) in [
            (1, json!({"fly": {"password": "hunter2"}})),
            (2, json!({"status": {"project": "hunter2"}})),
            (3, json!("hunter2")),
        ] {
            raw.say(json!({"v": 1, "id": id, "request": request})).await;
            let answer = raw.hear().await;
            assert_eq!(answer.id, id);
            let ServerBody::Error(body) = answer.body else {
                panic!("{answer:?}")
            };
            assert_eq!(body.code, ErrorCode::Invalid);
            assert!(!body.message.contains("hunter2"), "{}", body.message);
        }
        // Messages that belong to no request (any more) are ignored.
        raw.say(json!({"v": 1, "id": 77, "cancel": {}})).await;
        raw.say(json!({"v": 1, "id": 77, "credit": 5})).await;
        raw.send(data(77, Channel::Stdin, 10)).await;
        raw.say(json!({"v": 1, "id": 4, "request": {"projects": {}}}))
            .await;
        assert!(matches!(raw.hear().await.body, ServerBody::Response(_)));
    });
}

#[test]
fn requests_beyond_the_limit_are_refused_until_others_end() {
    smol::block_on(async {
        let limits = Limits {
            max_requests_per_connection: 4,
            ..Limits::default()
        };
        let server = Server::start(spawn_on_smol(), limits).await;
        let client = server.connect().await;
        let mut calls = Vec::new();
        for _ in 0..4 {
            calls.push(open(&client, "idle", json!(null)).await);
        }
        for _ in 0..10 {
            let refused = in_time(client.request(action("echo", json!(1)))).await;
            assert!(
                matches!(&refused, Err(ClientError::Refused(body)) if body.code == ErrorCode::Invalid),
                "{refused:?}"
            );
        }
        calls[0].handle().cancel().unwrap();
        in_time(calls[0].response()).await.unwrap();
        echo(&client, "room again").await;
        server.control().await;
    });
}

#[test]
fn a_client_that_reads_nothing_at_all_costs_a_bounded_amount() {
    smol::block_on(async {
        let server = Server::start(spawn_on_smol(), Limits::default()).await;
        let mut raw = server.raw_session().await;
        let flood = json!({"action": {"name": "flood", "input": 1_u64 << 40}});
        raw.say(json!({"v": 1, "id": 1, "request": flood})).await;
        raw.say(json!({"v": 1, "id": 1, "credit": u64::MAX})).await;
        // The socket's buffers and our queue take only a few MiB; then the flood stops.
        let mut last = (server.sent(), std::time::Instant::now());
        until("the flood has stopped", || {
            let sent = server.sent();
            assert!(sent < 64 << 20, "{sent} bytes were sent that nobody read");
            if sent != last.0 {
                last = (sent, std::time::Instant::now());
            }
            sent > 1 << 20 && last.1.elapsed().as_millis() > 300
        })
        .await;
        server.control().await;
    });
}
