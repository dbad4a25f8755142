//! Measures how long a new client needs to connect and get one answer, over loopback:
//! `cargo run --release -p harness-wire --example latency`.
#![expect(clippy::print_stdout, reason = "it prints what it measured")]

use std::error::Error;
use std::net::{Ipv4Addr, TcpListener};
use std::time::{Duration, Instant, SystemTime};

use async_io::Async;
use futures_lite::future;
use harness_wire::client::connect;
use harness_wire::message::{Request, Response};
use harness_wire::server::{Limits, accept};
use harness_wire::tls::TlsDir;

const ROUNDS: usize = 200;

fn main() -> Result<(), Box<dyn Error>> {
    let home = tempfile::tempdir()?;
    let tls = TlsDir::new(home.path().join("tls"));
    let start = Instant::now();
    tls.ensure(SystemTime::now())?;
    println!("making all certificates: {:?}", start.elapsed());
    smol::block_on(measure(&tls))
}

async fn measure(tls: &TlsDir) -> Result<(), Box<dyn Error>> {
    let listener = Async::<TcpListener>::bind((Ipv4Addr::LOCALHOST, 0))?;
    let address = listener.get_ref().local_addr()?;
    let config = tls.server_config()?;
    let _server = smol::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let config = config.clone();
            let serve = async move {
                let Ok((connection, driver)) = accept(stream, config, &Limits::default(), "server").await
                else {
                    return;
                };
                let answer = async {
                    while let Some(incoming) = connection.next_request().await {
                        let _ = incoming.responder.respond(Ok(Response::Done {})).await;
                    }
                };
                let _ = future::zip(driver, answer).await;
            };
            smol::spawn(serve).detach();
        }
    });
    let (mut connecting, mut asking) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let start = Instant::now();
        let (client, driver) = connect(address, tls, "latency").await?;
        connecting.push(start.elapsed());
        let request = async { client.request(Request::DaemonStatus {}).await.map(drop) };
        let gone = async {
            driver.await;
            Ok(())
        };
        let start = Instant::now();
        future::or(request, gone).await?;
        asking.push(start.elapsed());
    }
    report("connect", connecting);
    report("request", asking);
    Ok(())
}

fn report(what: &str, mut times: Vec<Duration>) {
    times.sort();
    let at = |part: usize| times.get(times.len() * part / 100).copied().unwrap_or_default();
    println!("{what}: median {:?}, 95 % within {:?}", at(50), at(95));
}
