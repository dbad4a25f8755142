//! Sessions between a well-behaved client and server.

use harness_wire::client::{ClientError, Item};
use harness_wire::message::{Channel, DaemonStopRequest, ErrorCode, Event, Request, Response, TerminalSize};
use harness_wire::server::Limits;
use serde_json::json;

use crate::support::{Server, action, echo, in_time, next, open, pattern, spawn_on_smol, until};

/// How many bytes a server may send on a request that nobody reads: the window, and one more message.
const UNREAD: u64 = (1 << 20) + (64 << 10);

#[test]
fn a_request_is_answered_and_the_programs_introduce_themselves() {
    smol::block_on(async {
        let server = Server::start(spawn_on_smol(), Limits::default()).await;
        let client = server.connect().await;
        assert_eq!(client.server_program(), "test server 1");
        assert_eq!(
            in_time(client.request(Request::Projects {})).await.unwrap(),
            Response::Done {}
        );
        echo(&client, "häl\u{0}lo\n").await;
    });
}

#[test]
fn many_requests_share_a_connection() {
    smol::block_on(async {
        let server = Server::start(spawn_on_smol(), Limits::default()).await;
        let client = server.connect().await;
        let idle = open(&client, "idle", json!(null)).await;
        let tasks: Vec<_> = (0..200)
            .map(|n| {
                let client = client.clone();
                smol::spawn(async move { echo(&client, &format!("number {n}")).await })
            })
            .collect();
        for task in tasks {
            task.await;
        }
        let mut events = open(&client, "events", json!(3)).await;
        for n in 0..3 {
            assert_eq!(next(&mut events).await, Item::Event(Box::new(Event::Missed(n))));
        }
        assert!(matches!(next(&mut events).await, Item::Response(_)));
        assert!(matches!(events.next().await, Err(ClientError::Answered)));
        drop(idle);
    });
}

#[test]
fn a_reader_that_stops_stops_its_own_stream_alone_and_loses_nothing() {
    smol::block_on(async {
        const TOTAL: u64 = 64 << 20;
        let server = Server::start(spawn_on_smol(), Limits::default()).await;
        let client = server.connect().await;
        let mut call = open(&client, "flood", json!(TOTAL)).await;
        until("the window fills", || server.sent() >= (1 << 20) - 50_000).await;
        for n in 0..100 {
            echo(&client, &format!("meanwhile {n}")).await;
        }
        assert!(
            server.sent() <= UNREAD,
            "{} bytes were sent that nobody read",
            server.sent()
        );
        let mut at = 0;
        loop {
            match next(&mut call).await {
                Item::Data { channel, payload } => {
                    assert_eq!(channel, Channel::Stdout);
                    for byte in payload {
                        assert_eq!(byte, pattern(at), "at {at}");
                        at += 1;
                    }
                }
                Item::Response(response) => {
                    assert_eq!(*response, Response::Action(json!(TOTAL)));
                    break;
                }
                Item::Event(event) => panic!("{event:?}"),
            }
        }
        assert_eq!(at, TOTAL);
    });
}

#[test]
fn events_that_nobody_takes_wait_too() {
    smol::block_on(async {
        const TOTAL: u64 = 100_000;
        let server = Server::start(spawn_on_smol(), Limits::default()).await;
        let client = server.connect().await;
        let mut call = open(&client, "events", json!(TOTAL)).await;
        until("events flow", || server.sent() > 1000).await;
        for n in 0..100 {
            echo(&client, &format!("meanwhile {n}")).await;
        }
        // The shortest event has more than 30 bytes.
        assert!(
            server.sent() < UNREAD / 30,
            "{} events were sent that nobody read",
            server.sent()
        );
        for n in 0..TOTAL {
            assert_eq!(next(&mut call).await, Item::Event(Box::new(Event::Missed(n))));
        }
        assert!(matches!(next(&mut call).await, Item::Response(_)));
    });
}

#[test]
fn stdin_flows_as_the_process_takes_it_and_controls_keep_their_place() {
    smol::block_on(async {
        const TOTAL: usize = 3 << 20;
        let server = Server::start(spawn_on_smol(), Limits::default()).await;
        let client = server.connect().await;
        let mut call = open(&client, "cat", json!(null)).await;
        let handle = call.handle();
        let writer = smol::spawn(async move {
            handle
                .resize(TerminalSize {
                    columns: 80,
                    rows: 25,
                })
                .unwrap();
            handle.send_stdin(&vec![7; TOTAL]).await.unwrap();
            handle.signal(2).unwrap();
            handle.close_stdin().unwrap();
            handle
        });
        let mut back = 0;
        let response = loop {
            match next(&mut call).await {
                Item::Data { payload, .. } => {
                    assert!(payload.iter().all(|b| *b == 7));
                    back += payload.len();
                }
                Item::Response(response) => break *response,
                Item::Event(event) => panic!("{event:?}"),
            }
        };
        assert_eq!(back, TOTAL);
        let heard = json!(["Resize(TerminalSize { columns: 80, rows: 25 })", "Signal(2)"]);
        assert_eq!(
            response,
            Response::Action(json!({"total": TOTAL, "heard": heard}))
        );
        let handle = writer.await;
        assert!(matches!(
            handle.send_stdin(b"late").await,
            Err(ClientError::Answered)
        ));
    });
}

#[test]
fn stdin_that_nobody_takes_waits_and_ends_with_the_request() {
    smol::block_on(async {
        let server = Server::start(spawn_on_smol(), Limits::default()).await;
        let client = server.connect().await;
        let mut call = open(&client, "idle", json!(null)).await;
        let handle = call.handle();
        let writer = smol::spawn(async move { handle.send_stdin(&vec![7; 10 << 20]).await });
        echo(&client, "meanwhile").await;
        assert!(!writer.is_finished());
        call.handle().cancel().unwrap();
        assert_eq!(
            next(&mut call).await,
            Item::Response(Box::new(Response::Action(json!("stopped"))))
        );
        assert!(matches!(in_time(writer).await, Err(ClientError::Answered)));
    });
}

#[test]
fn every_request_gets_an_answer_even_if_nobody_gives_one() {
    smol::block_on(async {
        let server = Server::start(spawn_on_smol(), Limits::default()).await;
        let client = server.connect().await;
        let refused = in_time(client.request(action("drop", json!(null)))).await;
        assert!(matches!(&refused, Err(ClientError::Refused(body)) if body.code == ErrorCode::Internal));
        let mut call = open(&client, "hang", json!(null)).await;
        call.handle().cancel().unwrap();
        let refused = in_time(call.next()).await;
        assert!(matches!(&refused, Err(ClientError::Refused(body)) if body.code == ErrorCode::Cancelled));
        // An answer above the limit becomes an error and does not break the connection.
        let refused = in_time(client.request(action("big", json!(17 << 20)))).await;
        assert!(matches!(&refused, Err(ClientError::Refused(body)) if body.code == ErrorCode::Internal));
        let answered = in_time(client.request(action("big", json!(15 << 20))))
            .await
            .unwrap();
        assert_eq!(answered, Response::Action(json!("x".repeat(15 << 20))));
        let too_large = in_time(client.request(action("echo", json!("x".repeat(17 << 20))))).await;
        assert!(matches!(too_large, Err(ClientError::TooLarge { .. })));
        echo(&client, "still here").await;
    });
}

#[test]
fn dropping_a_call_ends_its_stream_on_the_server() {
    smol::block_on(async {
        let server = Server::start(
            spawn_on_smol(),
            Limits {
                max_requests_per_connection: 1,
                ..Limits::default()
            },
        )
        .await;
        let client = server.connect().await;
        for _ in 0..3 {
            let call = open(&client, "flood", json!(u64::MAX)).await;
            until("the flood begins", || server.sent() > 100_000).await;
            drop(call);
            // There is room for one request: this one is accepted when the flood has ended.
            loop {
                match in_time(client.request(action("echo", json!(1)))).await {
                    Ok(_) => break,
                    Err(ClientError::Refused(body)) if body.code == ErrorCode::Invalid => {}
                    Err(other) => panic!("{other:?}"),
                }
            }
        }
    });
}

#[test]
fn both_sides_learn_that_the_other_is_gone() {
    smol::block_on(async {
        let server = Server::start(spawn_on_smol(), Limits::default()).await;
        let client = server.connect().await;
        let call = open(&client, "idle", json!(null)).await;
        drop((client, call));
        server.end().await.unwrap();

        // A client that is cut off without a message.
        let (client, driver) = harness_wire::client::connect(server.address, &server.tls, "x")
            .await
            .unwrap();
        let driver = smol::spawn(driver);
        let mut call = open(&client, "idle", json!(null)).await;
        driver.cancel().await;
        assert!(matches!(
            in_time(call.next()).await,
            Err(ClientError::Disconnected(_))
        ));
        let refused = in_time(client.request(Request::Projects {})).await;
        assert!(matches!(refused, Err(ClientError::Disconnected(_))));
        server.end().await.unwrap();
        server.control().await;
    });
}

#[test]
fn a_closing_server_delivers_its_last_answers() {
    smol::block_on(async {
        let server = Server::start(spawn_on_smol(), Limits::default()).await;
        for _ in 0..20 {
            let client = server.connect().await;
            let mut idle = open(&client, "idle", json!(null)).await;
            let stop = Request::DaemonStop(DaemonStopRequest {
                services: false,
                successor: None,
            });
            assert_eq!(in_time(client.request(stop)).await.unwrap(), Response::Done {});
            assert!(matches!(
                in_time(idle.next()).await,
                Err(ClientError::Disconnected(_))
            ));
            server.end().await.unwrap();
        }
    });
}
