//! Input and terminals.

use std::io::{Read, Write};
use std::time::Duration;

use harness_shim::control::{self, MAX_STDIN, Reply, Request};
use harness_shim::run_dir::{LaunchSpec, Outcome, Stdin, TtySize};

use crate::support::{Run, quick, sh, until};

fn keep(script: &str) -> LaunchSpec {
    LaunchSpec {
        stdin: Stdin::Keep,
        ..sh(script)
    }
}

#[test]
fn input_arrives_and_ends() {
    let mut run = Run::start(&keep("cat; exit 2"));
    assert_eq!(run.ask(&Request::Stdin(b"one\ntw".to_vec())), Reply::Ok);
    assert_eq!(run.ask(&Request::Stdin(b"o\n".to_vec())), Reply::Ok);
    assert_eq!(run.ask(&Request::CloseStdin), Reply::Ok);
    assert_eq!(run.outcome(), Outcome::Exited(2));
    assert_eq!(run.stdout(), ["one", "two"]);
}

#[test]
fn without_kept_stdin_there_is_none() {
    let mut run = Run::start(&sh("cat; echo eof; exec sleep 1000"));
    run.says("eof");
    assert_eq!(run.ask(&Request::Stdin(b"x".to_vec())), Reply::NoStdin);
    assert_eq!(run.ask(&Request::CloseStdin), Reply::NoStdin);
    assert_eq!(run.ask(&Request::Resize { cols: 1, rows: 1 }), Reply::NoTty);
    run.stop(quick(1000));
    run.ended();
}

/// The answer comes when the bytes are in the pipe. Others are served meanwhile.
#[test]
fn a_process_that_does_not_read_holds_up_its_feeder_alone() {
    let mut run = Run::start(&keep("exec sleep 1000"));
    let mut feeder = control::connect(&run.dir).unwrap();
    feeder.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    let mut reply = [9];
    let mut answered = 0;
    loop {
        feeder
            .write_all(&Request::Stdin(vec![b'x'; MAX_STDIN - 1]).encode())
            .unwrap();
        if feeder.read(&mut reply).is_err() {
            break;
        }
        assert_eq!(reply, [0]);
        answered += 1;
        assert!(answered < 10, "a pipe cannot hold so much");
    }
    for _ in 0..100 {
        assert_eq!(run.ask(&Request::Ping), Reply::Ok);
    }
    // These are more clients than are served at once. All are silent, and then gone.
    let silent: Vec<_> = (0..40).map(|_| control::connect(&run.dir).unwrap()).collect();
    drop(silent);
    assert_eq!(run.ask(&Request::Ping), Reply::Ok);
    // The feeder goes away, but what it sent is read before the end of input that another client sends.
    drop(feeder);
    run.stop(quick(100));
    run.ended();
}

#[test]
fn requests_without_waiting_for_answers_are_carried_out() {
    let mut run = Run::start(&keep("sleep 0.2; wc -c"));
    let mut client = control::connect(&run.dir).unwrap();
    for _ in 0..5 {
        client
            .write_all(&Request::Stdin(vec![b'x'; 60_000]).encode())
            .unwrap();
    }
    client.write_all(&Request::CloseStdin.encode()).unwrap();
    drop(client);
    assert_eq!(run.outcome(), Outcome::Exited(0));
    assert_eq!(run.stdout(), ["300000"]);
}

#[test]
fn nonsense_is_answered_and_does_no_harm() {
    let mut run = Run::start(&sh("exec sleep 1000"));
    let mut client = control::connect(&run.dir).unwrap();
    client.write_all(&[3, 0, 0, 0, 1, 200, 0]).unwrap();
    client.write_all(&Request::Ping.encode()).unwrap();
    let mut replies = [9, 9];
    client.read_exact(&mut replies).unwrap();
    assert_eq!(replies, [Reply::Invalid.encode(), Reply::Ok.encode()]);
    client.write_all(&[255; 100]).unwrap();
    let mut rest = Vec::new();
    let _ = client.read_to_end(&mut rest);
    assert_eq!(rest.first(), Some(&Reply::Invalid.encode()));
    assert_eq!(run.ask(&Request::Ping), Reply::Ok);
    run.stop(quick(1000));
    run.ended();
}

#[test]
fn a_terminal_is_one() {
    let script = "tty < /dev/tty; test -t 0 && test -t 1 && test -t 2 && echo all; stty size; \
                  while read line; do echo \"got $line\"; stty size; done; exit 8";
    let spec = LaunchSpec {
        tty: Some(TtySize { cols: 100, rows: 30 }),
        ..sh(script)
    };
    let mut run = Run::start(&spec);
    run.says("all\r");
    run.says("30 100\r");
    assert_eq!(run.ask(&Request::Resize { cols: 90, rows: 20 }), Reply::Ok);
    until("it is told the size", || {
        assert_eq!(run.ask(&Request::Stdin(b"x\n".to_vec())), Reply::Ok);
        run.stdout().contains(&"20 90\r".to_owned())
    });
    run.says("got x\r");
    assert_eq!(run.ask(&Request::CloseStdin), Reply::Ok);
    assert_eq!(run.outcome(), Outcome::Exited(8));
}

/// Output that is written just before the exit is in the log, even through a terminal.
#[test]
fn the_last_words_on_a_terminal_are_logged() {
    for _ in 0..20 {
        let spec = LaunchSpec {
            tty: Some(TtySize { cols: 80, rows: 24 }),
            ..sh("echo last words")
        };
        let mut run = Run::start(&spec);
        run.ended();
        assert_eq!(run.stdout(), ["last words\r"]);
    }
}
