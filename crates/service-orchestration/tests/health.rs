//! Probes against real servers on loopback that answer, refuse, hang and misbehave.

#![cfg(test)]

mod health_support;

use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use health_support::{Server, State, eventually, free_port, on_every_runtime, read_request, wait_for_close};
use service_orchestration::health::{ProbeConfigError, ProbeLimiter, Prober, http, tcp};
use service_orchestration::machine::ProbeOutcome;

/// Longer than any good probe takes, even on a busy machine.
const PATIENT: Duration = Duration::from_secs(10);
/// For probes that are meant to run out of time.
const HASTY: Duration = Duration::from_millis(200);

const V4: &str = "127.0.0.1:0";
const V6: &str = "[::1]:0";

fn probe(prober: &dyn Prober, timeout: Duration) -> ProbeOutcome {
    smol::block_on(prober.probe(timeout))
}

fn ask(server: &Server, timeout: Duration) -> ProbeOutcome {
    probe(&http(&server.url("/health")).expect("a good URL"), timeout)
}

fn unhealthy(answer: &str) -> ProbeOutcome {
    ProbeOutcome::Unhealthy(answer.to_owned())
}

#[test]
fn statuses_decide_on_every_runtime() {
    let cases = [
        ("200 OK\r\nContent-Length: 2\r\n\r\nok", ProbeOutcome::Healthy),
        ("204 No Content\r\n\r\n", ProbeOutcome::Healthy),
        (
            "301 Moved\r\nLocation: http://127.0.0.1:9/\r\nContent-Length: 0\r\n\r\n",
            ProbeOutcome::Healthy,
        ),
        ("304 Not Modified\r\n\r\n", ProbeOutcome::Healthy),
        (
            "404 Nope\r\nContent-Length: 0\r\n\r\n",
            unhealthy("answered 404 Not Found"),
        ),
        (
            "503 X\r\nContent-Length: 0\r\n\r\n",
            unhealthy("answered 503 Service Unavailable"),
        ),
        ("599 X\r\nContent-Length: 0\r\n\r\n", unhealthy("answered 599")),
    ];
    for (answer, expected) in cases {
        let whole: &'static str = Box::leak(format!("HTTP/1.1 {answer}").into_boxed_str());
        let server = Server::answering(V4, whole);
        let prober = http(&server.url("/health")).unwrap();
        on_every_runtime(|| async {
            assert_eq!(prober.probe(PATIENT).await, expected, "{answer}");
        });
        assert_eq!(server.state.accepted.load(SeqCst), 3);
        eventually("every connection is closed in good order", || {
            server.state.closed_well.load(SeqCst) == 3
        });
    }
}

#[test]
fn the_request_is_what_servers_expect() {
    let seen = Arc::new(Mutex::new(String::new()));
    let sink = Arc::clone(&seen);
    let server = Server::start(V4, move |mut stream, _| {
        *sink.lock().unwrap() = read_request(&mut stream);
        drop(stream.write_all(b"HTTP/1.0 200 OK\r\n\r\nfine"));
    });
    let prober = http(&format!(
        "http://LocalHost:{}/a/b?deep=1#part",
        server.address.port()
    ))
    .unwrap();
    assert_eq!(probe(&prober, PATIENT), ProbeOutcome::Healthy);
    let request = seen.lock().unwrap().to_lowercase();
    assert!(request.starts_with("get /a/b?deep=1 http/1.1\r\n"), "{request}");
    assert!(
        request.contains(&format!("host: localhost:{}\r\n", server.address.port())),
        "{request}"
    );
    assert!(request.contains("user-agent: harness\r\n"), "{request}");
}

#[test]
fn a_redirect_is_not_followed() {
    let elsewhere = Server::answering(V4, "HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n");
    let location = elsewhere.url("/");
    let server = Server::start(V4, move |mut stream, state| {
        read_request(&mut stream);
        let head = format!("HTTP/1.1 302 Found\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n");
        drop(stream.write_all(head.as_bytes()));
        wait_for_close(&mut stream, state);
    });
    assert_eq!(ask(&server, PATIENT), ProbeOutcome::Healthy);
    assert_eq!(elsewhere.state.accepted.load(SeqCst), 0);
}

#[test]
fn nobody_listens() {
    let port = free_port();
    let refused = unhealthy("connection refused");
    for host in ["127.0.0.1", "[::1]", "localhost"] {
        let prober = http(&format!("http://{host}:{port}/")).unwrap();
        assert_eq!(probe(&prober, PATIENT), refused, "http {host}");
        let prober = tcp(&format!("{host}:{port}")).unwrap();
        assert_eq!(probe(&prober, PATIENT), refused, "tcp {host}");
    }
}

#[test]
fn a_server_that_hangs_is_given_up_and_its_connection_closed() {
    let server = Server::silent(V4);
    let prober = http(&server.url("/")).unwrap();
    on_every_runtime(|| async {
        let begun = Instant::now();
        assert_eq!(prober.probe(HASTY).await, unhealthy("no answer within 200ms"));
        assert!(begun.elapsed() < PATIENT);
    });
    eventually("no connection is left open", || {
        server.state.accepted.load(SeqCst) == 3 && server.state.open.load(SeqCst) == 0
    });
}

#[test]
fn a_full_backlog_runs_into_the_timeout() {
    // Nobody accepts: once the backlog is full, connecting itself hangs.
    let listener = TcpListener::bind(V4).unwrap();
    rustix::net::listen(&listener, 0).unwrap();
    let address = listener.local_addr().unwrap();
    let mut waiting = Vec::new();
    let prober = tcp(&address.to_string()).unwrap();
    eventually("the backlog is full", || {
        if let Ok(stream) = TcpStream::connect_timeout(&address, HASTY) {
            waiting.push(stream);
            return false;
        }
        true
    });
    assert_eq!(probe(&prober, HASTY), unhealthy("no answer within 200ms"));
}

#[test]
fn answers_that_are_not_http() {
    for garbage in [
        "SSH-2.0-OpenSSH_9.9\r\n",
        "\0\0\0\x08\x04\x52\x16\x2f",
        "HTTP/9.9 banana\r\n\r\n",
    ] {
        let server = Server::answering(V4, garbage);
        match ask(&server, HASTY) {
            ProbeOutcome::Unhealthy(answer) => {
                assert!(
                    answer.starts_with("no valid HTTP answer: "),
                    "{garbage:?}: {answer}"
                );
            }
            other => panic!("{garbage:?}: {other:?}"),
        }
    }
    let server = Server::start(V4, |mut stream, _| drop(read_request(&mut stream)));
    assert_eq!(
        ask(&server, PATIENT),
        unhealthy("closed the connection without an answer")
    );
    let server = Server::start(V4, |mut stream, _| {
        read_request(&mut stream);
        drop(stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Le"));
    });
    assert_eq!(
        ask(&server, PATIENT),
        unhealthy("closed the connection without an answer")
    );
}

#[test]
fn an_endless_head_is_not_read_into_memory() {
    let server = Server::start(V4, |mut stream, state| {
        read_request(&mut stream);
        drop(stream.write_all(b"HTTP/1.1 200 OK\r\n"));
        write_until_closed(
            &mut stream,
            state,
            b"X-Filler: xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\r\n",
        );
    });
    assert!(matches!(ask(&server, PATIENT), ProbeOutcome::Unhealthy(_)));
    eventually("the connection is closed", || server.state.open.load(SeqCst) == 0);
}

#[test]
fn a_huge_body_is_not_read() {
    let server = Server::start(V4, |mut stream, state| {
        read_request(&mut stream);
        drop(stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100000000000\r\n\r\n"));
        write_until_closed(&mut stream, state, &[b'x'; 65_536]);
    });
    assert_eq!(ask(&server, PATIENT), ProbeOutcome::Healthy);
    eventually("the connection is closed", || server.state.open.load(SeqCst) == 0);
    let written = server.state.written.load(SeqCst);
    assert!(written < 32 << 20, "{written} bytes went into the sockets");
}

fn write_until_closed(stream: &mut TcpStream, state: &State, chunk: &[u8]) {
    while stream.write_all(chunk).is_ok() {
        state.written.fetch_add(chunk.len(), SeqCst);
    }
}

#[test]
fn a_body_that_never_ends_does_not_hold_the_answer_back() {
    let server = Server::answering(
        V4,
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n",
    );
    let begun = Instant::now();
    assert_eq!(ask(&server, PATIENT), ProbeOutcome::Healthy);
    assert!(begun.elapsed() < PATIENT / 2);
    // Too short to wait for the body: the head has answered.
    eventually("the head is in time", || {
        ask(&server, Duration::from_millis(90)) == ProbeOutcome::Healthy
    });
}

#[test]
fn slow_heads_have_until_the_timeout() {
    let drip = |mut stream: TcpStream, _: &State| {
        read_request(&mut stream);
        for byte in b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n" {
            if stream.write_all(&[*byte]).is_err() {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    };
    let server = Server::start(V4, drip);
    assert_eq!(ask(&server, HASTY), unhealthy("no answer within 200ms"));
    assert_eq!(ask(&server, PATIENT), ProbeOutcome::Healthy);
}

#[test]
fn localhost_is_both_families() {
    for listen in [V4, V6] {
        let server = Server::answering(listen, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
        let port = server.address.port();
        let prober = http(&format!("http://localhost:{port}/")).unwrap();
        assert_eq!(probe(&prober, PATIENT), ProbeOutcome::Healthy, "http {listen}");
        let prober = tcp(&format!("localhost:{port}")).unwrap();
        assert_eq!(probe(&prober, PATIENT), ProbeOutcome::Healthy, "tcp {listen}");
        eventually("both probes were seen", || {
            server.state.accepted.load(SeqCst) == 2
        });
    }
}

#[test]
fn names_are_resolved_within_the_timeout() {
    // Too long for a name server to be asked.
    let name = "x".repeat(64);
    let prober = http(&format!("http://{name}:8080/")).unwrap();
    match probe(&prober, Duration::from_secs(2)) {
        ProbeOutcome::Unhealthy(answer) => assert!(
            answer == format!("the name {name} cannot be resolved") || answer == "no answer within 2s",
            "{answer}"
        ),
        other => panic!("{other:?}"),
    }
}

#[test]
fn many_probes_stay_under_the_cap() {
    const CAP: usize = 8;
    let server = Server::start(V4, |mut stream, state| {
        read_request(&mut stream);
        std::thread::sleep(Duration::from_millis(5));
        drop(stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"));
        wait_for_close(&mut stream, state);
    });
    let prober = Arc::new(http(&server.url("/")).unwrap());
    let limiter = ProbeLimiter::new(CAP);
    let executor = smol::Executor::new();
    let probes: Vec<_> = (0..200)
        .map(|_| {
            let (limiter, prober) = (limiter.clone(), Arc::clone(&prober));
            executor.spawn(async move { limiter.probe(&*prober, PATIENT).await })
        })
        .collect();
    smol::block_on(executor.run(async {
        for probe in probes {
            assert_eq!(probe.await, ProbeOutcome::Healthy);
        }
    }));
    assert_eq!(server.state.accepted.load(SeqCst), 200);
    // The server may see that a connection is closed only a moment after the next one is opened.
    let most = server.state.most_open.load(SeqCst);
    assert!((CAP / 2..=CAP * 2).contains(&most), "{most} at once");
}

#[test]
fn places_are_given_in_the_order_they_were_asked_for() {
    let limiter = ProbeLimiter::new(1);
    let executor = smol::LocalExecutor::new();
    let order = std::rc::Rc::new(std::cell::RefCell::new(Vec::new()));
    smol::block_on(executor.run(async {
        let first = limiter.acquire().await;
        let mut waiting = Vec::new();
        for number in 0..10 {
            let (limiter, order) = (limiter.clone(), std::rc::Rc::clone(&order));
            waiting.push(executor.spawn(async move {
                let _permit = limiter.acquire().await;
                order.borrow_mut().push(number);
            }));
        }
        // Whoever gives up while waiting does not take a place.
        smol::future::yield_now().await;
        waiting.remove(4).cancel().await;
        drop(first);
        for task in waiting {
            task.await;
        }
    }));
    assert_eq!(*order.borrow(), [0, 1, 2, 3, 5, 6, 7, 8, 9]);
}

#[test]
fn what_cannot_be_probed_is_refused() {
    let refused = |url: &str| http(url).unwrap_err();
    assert!(matches!(
        refused("localhost:8080/health"),
        ProbeConfigError::MissingScheme { .. }
    ));
    assert!(matches!(
        refused("ftp://localhost/"),
        ProbeConfigError::UnknownScheme { .. }
    ));
    for url in [
        "http://",
        "http:///path",
        "http://localhost:99999/",
        "http://localhost:0/",
        "http://localhost:x/",
        "http://localhost:+80/",
        "http://localhost::80/",
        "http://a b/",
        "http://[::1/",
    ] {
        assert!(
            matches!(refused(url), ProbeConfigError::InvalidUrl { .. }),
            "{url}"
        );
    }
    for address in [
        "",
        "localhost",
        "localhost:",
        "localhost:0",
        "localhost:70000",
        ":80",
        "::1:80",
        "a b:1",
        "h:+1",
    ] {
        assert!(tcp(address).is_err(), "{address}");
    }
}

#[test]
fn nothing_shows_credentials() {
    for url in [
        "http://admin:hunter2@localhost:8080/",
        "http://admin:hun/ter2hunter2@localhost/",
        "https://admin:hunter2@localhost/",
        "admin:hunter2@localhost/",
        "ftp://admin:hunter2@localhost/",
        "http://localhost:8080:80/?token=hunter2",
        "https://localhost:8080:80/?token=hunter2",
        "localhost:8080/?token=hunter2",
    ] {
        let error = http(url).unwrap_err();
        assert!(!format!("{error} {error:?}").contains("hunter2"), "{error:?}");
    }
    let probe = http("http://localhost:8080/x?token=hunter2").unwrap();
    assert_eq!(format!("{probe:?}"), "HttpProbe(GET localhost:8080/x?…)");
}

#[test]
fn ports_are_those_of_the_scheme() {
    let shown = |url: &str| format!("{:?}", http(url).unwrap());
    assert_eq!(shown("http://[::1]/"), "HttpProbe(GET [::1]:80/)");
    assert_eq!(shown("http://10.0.0.1"), "HttpProbe(GET 10.0.0.1:80/)");
    assert_eq!(shown("https://10.0.0.1"), "HttpProbe(GET 10.0.0.1:443/)");
}
