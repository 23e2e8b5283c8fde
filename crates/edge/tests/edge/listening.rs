//! Addresses: bound here, or handed over by the shim.

use std::{
    io::{BufRead, BufReader, IoSlice},
    mem::MaybeUninit,
    net::{SocketAddr, TcpListener, TcpStream},
    os::{fd::AsFd, unix::net::UnixListener},
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::Duration,
};

use edge::Options;
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags};

use crate::support::{App, Client, Running, free_address, upstream};

#[test]
fn an_address_in_use_is_reported_with_who_holds_it_and_tried_again() {
    let edge = Running::start();
    let app = App::saying("x");
    let holder = TcpListener::bind(edge.address).unwrap();
    let status = edge.serve(vec![upstream("i", app.address)]);
    assert!(status.listening.is_empty());
    let reason = &status.refused[&edge.address.to_string()];
    assert!(reason.contains("in use by") && reason.contains(&std::process::id().to_string()), "{reason}");
    drop(holder);
    let status = edge.serve(vec![upstream("i", app.address)]);
    assert!(status.refused.is_empty(), "{:?}", status.refused);
    assert_eq!(edge.get("/").text(), "x");
}

#[test]
fn an_address_of_another_machine_is_refused_with_a_mend() {
    let edge = Running::start();
    let mut table = edge.table(Vec::new(), &[]);
    table.listeners[0].address = "192.0.2.1:8080".parse().unwrap();
    let status = edge.put(&table);
    assert!(status.refused["192.0.2.1:8080"].contains("no address 192.0.2.1"), "{:?}", status.refused);
}

#[test]
fn listeners_come_and_go_without_touching_each_other() {
    let edge = Running::start();
    let app = App::saying("x");
    edge.serve(vec![upstream("i", app.address)]);
    let mut stays = edge.client();
    assert_eq!(stays.get("/").text(), "x");
    let mut table = edge.table(
        vec![crate::support::to_pool("/", "p")],
        &[("p", crate::support::pool(vec![upstream("i", app.address)]))],
    );
    let mut second = table.listeners[0].clone();
    second.address = free_address();
    table.listeners.push(second.clone());
    assert_eq!(edge.put(&table).listening.len(), 2);
    assert_eq!(Client::connect(second.address).get("/").text(), "x");
    table.listeners.pop();
    table.version += 1;
    assert_eq!(edge.put(&table).listening, [edge.address]);
    assert!(TcpStream::connect(second.address).is_err());
    let answer = stays.get("/");
    assert_eq!((answer.status, answer.header("connection")), (200, None));
}

#[test]
fn all_addresses_of_both_families_can_be_served_side_by_side() {
    let edge = Running::start();
    let app = App::saying("x");
    let pools = [("p", crate::support::pool(vec![upstream("i", app.address)]))];
    let mut table = edge.table(vec![crate::support::to_pool("/", "p")], &pools);
    let port = edge.address.port();
    table.listeners[0].address = SocketAddr::from(([0, 0, 0, 0], port));
    let mut second = table.listeners[0].clone();
    second.address = SocketAddr::from((std::net::Ipv6Addr::UNSPECIFIED, port));
    table.listeners.push(second);
    let status = edge.put(&table);
    if status.refused.values().all(|reason| reason.contains("no address")) && !status.refused.is_empty() {
        return; // a machine without IPv6
    }
    assert_eq!(status.listening.len(), 2, "{:?}", status.refused);
    assert_eq!(Client::connect(SocketAddr::from(([127, 0, 0, 1], port))).get("/").text(), "x");
    assert_eq!(Client::connect(SocketAddr::from((std::net::Ipv6Addr::LOCALHOST, port))).get("/").text(), "x");
}

#[test]
fn both_workers_accept() {
    let edge = Running::start();
    let app = App::saying("x");
    edge.serve(vec![upstream("i", app.address)]);
    let clients: Vec<Client> = (0..64).map(|_| edge.client()).collect();
    for mut client in clients {
        assert_eq!(client.get("/").text(), "x");
    }
}

/// Holds listening sockets as the shim does.
struct Shim {
    _folder: tempfile::TempDir,
    socket: PathBuf,
    calls: Arc<Mutex<Vec<String>>>,
}

impl Shim {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("shim.sock");
        let listener = UnixListener::bind(&socket).unwrap();
        let calls = Arc::new(Mutex::new(Vec::new()));
        let noted = Arc::clone(&calls);
        std::thread::spawn(move || {
            let mut held: Vec<(SocketAddr, Vec<TcpListener>)> = Vec::new();
            for stream in listener.incoming() {
                let stream = stream.unwrap();
                let mut line = String::new();
                BufReader::new(stream.try_clone().unwrap()).read_line(&mut line).unwrap();
                noted.lock().unwrap().push(line.trim().to_owned());
                let words: Vec<&str> = line.split_whitespace().collect();
                let address: SocketAddr = words[1].parse().unwrap();
                if words[0] == "unlisten" {
                    held.retain(|(one, _)| *one != address);
                    std::io::Write::write_all(&mut &stream, b"{\"ok\":true}\n").unwrap();
                    continue;
                }
                if address.port() == 1 {
                    std::io::Write::write_all(&mut &stream, b"{\"error\":\"held by somebody\"}\n").unwrap();
                    continue;
                }
                let count: usize = words[2].parse().unwrap();
                if !held.iter().any(|(one, _)| *one == address) {
                    held.push((address, (0..count).map(|_| bind(address)).collect()));
                }
                let sockets = &held.iter().find(|(one, _)| *one == address).unwrap().1;
                let descriptors: Vec<_> = sockets.iter().map(AsFd::as_fd).collect();
                let mut space = vec![MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(16))];
                let mut ancillary = SendAncillaryBuffer::new(&mut space);
                assert!(ancillary.push(SendAncillaryMessage::ScmRights(&descriptors)));
                let line = [IoSlice::new(b"{\"ok\":true}\n")];
                rustix::net::sendmsg(&stream, &line, &mut ancillary, SendFlags::empty()).unwrap();
            }
        });
        Self { _folder: folder, socket, calls }
    }

    fn calls(&self) -> Vec<String> {
        self.calls.lock().unwrap().clone()
    }
}

fn bind(address: SocketAddr) -> TcpListener {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM.nonblocking(), None).unwrap();
    socket.set_reuse_address(true).unwrap();
    socket.set_reuse_port(true).unwrap();
    socket.bind(&address.into()).unwrap();
    socket.listen(128).unwrap();
    socket.into()
}

fn options(shim: &Path) -> Options {
    Options { workers: 2, shim: Some(shim.to_owned()), finish: Duration::from_secs(5), ..Options::default() }
}

#[test]
fn visitors_wait_in_the_shims_sockets_while_the_edge_is_replaced() {
    let shim = Shim::start();
    let app = App::saying("x");
    let mut edge = Running::with(&options(&shim.socket));
    let address = edge.address;
    edge.serve(vec![upstream("i", app.address)]);
    assert_eq!(edge.get("/").text(), "x");
    edge.call("POST", "/quit", "");
    edge.wait();
    // nobody accepts now, but the connection is taken by the kernel and the request is in its buffer
    let mut early = Client::connect(address);
    early.write("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    let mut next = Running::with(&options(&shim.socket));
    next.address = address;
    next.serve(vec![upstream("i", app.address)]);
    assert_eq!(early.answer("GET").text(), "x");
    assert_eq!(shim.calls(), vec![format!("listen {address} 2"); 2]);
}

#[test]
fn the_shim_is_told_what_is_not_needed_any_more_and_its_refusals_are_reported() {
    let shim = Shim::start();
    let edge = Running::with(&options(&shim.socket));
    edge.serve(Vec::new());
    let mut table = edge.table(Vec::new(), &[]);
    table.listeners[0].address = "127.0.0.1:1".parse().unwrap();
    let status = edge.put(&table);
    assert_eq!(status.refused["127.0.0.1:1"], "held by somebody");
    let address = edge.address;
    assert_eq!(
        shim.calls(),
        [format!("listen {address} 2"), format!("unlisten {address}"), "listen 127.0.0.1:1 2".to_owned()]
    );
    assert!(TcpStream::connect(address).is_err(), "the shim closed it");
}

#[test]
fn a_shim_that_is_gone_is_a_reason_and_not_a_crash() {
    let edge = Running::with(&options(Path::new("/nowhere/shim.sock")));
    let status = edge.serve(Vec::new());
    assert!(status.refused[&edge.address.to_string()].contains("/nowhere/shim.sock"), "{:?}", status.refused);
}
