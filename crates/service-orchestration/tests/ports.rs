//! Who holds a port: real sockets, of this process and of others.

#![cfg(test)]
#![expect(
    clippy::disallowed_methods,
    reason = "a stranger who holds a port is nothing that harness spawned"
)]

use std::io::{BufRead, BufReader};
use std::net::{IpAddr, TcpListener, TcpStream, UdpSocket};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use harness_model::spec::Protocol::{self, Tcp, Udp};
use service_orchestration::ports::{Holder, PortError, holders, is_free};

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

fn held(address: &str, port: u16, protocol: Protocol) -> Vec<Holder> {
    holders(&[(ip(address), port, protocol)]).expect("the tables are readable")
}

fn own_name() -> String {
    let name = std::fs::read_to_string("/proc/self/comm").expect("proc is mounted");
    name.trim_end().to_owned()
}

/// Waits until nobody holds a port with a listener that was dropped. A child that another test is just starting holds
/// it too, until it executes its program.
fn gone(port: u16) {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let found = held("127.0.0.1", port, Tcp);
        if found.is_empty() {
            return;
        }
        assert!(Instant::now() < deadline, "{found:?}");
        std::thread::yield_now();
    }
}

/// A perl program that holds a port until its stdin ends.
struct Stranger {
    child: Child,
    port: u16,
}

impl Stranger {
    fn listening(workers: u32) -> Self {
        let script = "my $s = IO::Socket::INET->new(Listen => 1, LocalAddr => '127.0.0.1') or die; \
             $SIG{TERM} = sub { exit }; my $parent = $$; \
             for (1..$ARGV[0]) { last if !fork } \
             if ($$ == $parent) { $| = 1; print $s->sockport, \"\\n\" } \
             my $line = <STDIN>; kill 'TERM', 0 if $$ == $parent";
        let mut command = Command::new("perl");
        command
            .args(["-MIO::Socket::INET", "-e", script, &workers.to_string()])
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut child = command.spawn().expect("perl is part of Debian");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("piped"))
            .read_line(&mut line)
            .expect("a line");
        let port = line.trim().parse().expect("perl prints its port");
        Self { child, port }
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        drop(self.child.wait());
    }
}

#[test]
fn a_port_of_ours() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let found = held("127.0.0.1", port, Tcp);
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].pid, Some(std::process::id()));
    assert_eq!(found[0].bound, ip("127.0.0.1"));
    assert!(
        found[0].program.as_ref().unwrap().starts_with(&own_name()),
        "{found:?}"
    );
    assert!(!is_free(ip("127.0.0.1"), port, Tcp).unwrap());

    assert_eq!(held("127.0.0.2", port, Tcp), []);
    assert_eq!(held("127.0.0.1", port, Udp), []);
    assert_eq!(held("0.0.0.0", port, Tcp).len(), 1);
    assert!(is_free(ip("127.0.0.2"), port, Tcp).unwrap());
    drop(listener);
    gone(port);
    assert!(is_free(ip("127.0.0.1"), port, Tcp).unwrap());
}

#[test]
fn a_stranger_is_named() {
    let stranger = Stranger::listening(0);
    let found = held("0.0.0.0", stranger.port, Tcp);
    assert_eq!(found.len(), 1, "{found:?}");
    let holder = &found[0];
    assert_eq!((holder.address, holder.bound), (ip("0.0.0.0"), ip("127.0.0.1")));
    let user = holder.user.clone().unwrap();
    let words = format!("perl (pid {}, user {user}, not harness)", stranger.child.id());
    assert_eq!(holder.to_string(), words);
}

#[test]
fn of_workers_the_parent_is_named() {
    let stranger = Stranger::listening(3);
    let found = held("127.0.0.1", stranger.port, Tcp);
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0].pid, Some(stranger.child.id()));
}

#[test]
fn a_holder_may_be_below_a_process_we_know() {
    let (stranger, other) = (Stranger::listening(0), Stranger::listening(0));
    let holder = held("127.0.0.1", stranger.port, Tcp).remove(0);
    assert!(holder.descends_from(stranger.child.id()));
    assert!(holder.descends_from(std::process::id()));
    assert!(!holder.descends_from(other.child.id()));
    drop(stranger);
    assert!(!holder.descends_from(std::process::id()), "it is gone");
}

#[test]
fn wildcards_are_in_the_way_of_every_address() {
    let listener = TcpListener::bind("0.0.0.0:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    assert_eq!(held("127.0.0.1", port, Tcp).len(), 1);
    assert_eq!(held("::1", port, Tcp), []);
    assert_eq!(held("::", port, Tcp).len(), 1);

    // Rust's listener on `::` takes IPv4 too.
    let listener = TcpListener::bind("[::]:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    for address in ["127.0.0.1", "0.0.0.0", "::1", "::", "::ffff:127.0.0.1"] {
        assert_eq!(held(address, port, Tcp).len(), 1, "{address}");
    }
}

#[test]
fn v6_only_leaves_v4_alone() {
    use rustix::net::{AddressFamily, SocketType, bind, getsockname, listen, socket, sockopt};
    let only = socket(AddressFamily::INET6, SocketType::STREAM, None).unwrap();
    sockopt::set_ipv6_v6only(&only, true).unwrap();
    bind(&only, &std::net::SocketAddr::new(ip("::"), 0)).unwrap();
    listen(&only, 1).unwrap();
    let port = std::net::SocketAddr::try_from(getsockname(&only).unwrap())
        .unwrap()
        .port();
    assert_eq!(held("::1", port, Tcp).len(), 1);
    assert_eq!(held("127.0.0.1", port, Tcp), []);
    assert_eq!(held("0.0.0.0", port, Tcp), []);
}

#[test]
fn udp_has_its_own_ports() {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let port = socket.local_addr().unwrap().port();
    let found = held("127.0.0.1", port, Udp);
    assert_eq!(found.len(), 1);
    assert_eq!((found[0].protocol, found[0].pid), (Udp, Some(std::process::id())));
    assert_eq!(held("127.0.0.1", port, Tcp), []);
    assert!(!is_free(ip("127.0.0.1"), port, Udp).unwrap());

    let socket = UdpSocket::bind("[::1]:0").unwrap();
    let port = socket.local_addr().unwrap().port();
    assert_eq!(held("::1", port, Udp).len(), 1);
}

#[test]
fn connections_hold_nothing() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let client = TcpStream::connect(address).unwrap();
    let (server, _) = listener.accept().unwrap();
    drop(listener);
    assert_eq!(
        held("127.0.0.1", address.port(), Tcp),
        [],
        "an accepted connection is no listener"
    );
    drop(server);
    drop(client);
    // The server closed first, so its end is in TIME_WAIT. A restart may bind over that.
    assert!(is_free(address.ip(), address.port(), Tcp).unwrap());
}

#[test]
fn a_whole_plan_is_asked_about_at_once() {
    let (first, second) = (Stranger::listening(0), Stranger::listening(0));
    let any = (ip("127.0.0.1"), 0, Tcp);
    let local = |stranger: &Stranger| (ip("127.0.0.1"), stranger.port, Tcp);
    let found = holders(&[local(&second), any, local(&first), local(&second)]).unwrap();
    let pids: Vec<_> = found.iter().map(|holder| holder.pid.unwrap()).collect();
    assert_eq!(pids, [second.child.id(), first.child.id(), second.child.id()]);
    assert_eq!(holders(&[any]).unwrap(), []);
    assert_eq!(holders(&[]).unwrap(), []);
}

#[test]
fn an_address_of_another_machine_cannot_be_tried() {
    let error = is_free(ip("192.0.2.1"), 80, Tcp).unwrap_err();
    assert!(matches!(error, PortError::Bind { .. }));
    assert_eq!(error.to_string(), "cannot bind 192.0.2.1:80 tcp");
    assert!(std::error::Error::source(&error).is_some());
}

#[test]
fn another_users_process_keeps_its_name_to_itself() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let stranger = Stranger::listening(0);
    let port = stranger.port;
    // On Linux each thread has its own user, which decides what the thread may see of other processes.
    let nobody = rustix::process::Uid::from_raw(65534);
    let unprivileged = std::thread::spawn(move || {
        rustix::thread::set_thread_res_uid(nobody, nobody, nobody).unwrap();
        held("127.0.0.1", port, Tcp)
    });
    let found = unprivileged.join().unwrap();
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0].pid, None);
    assert_eq!(
        found[0].to_string(),
        "a process that cannot be inspected, such as another user's or another daemon (user root)"
    );
}
