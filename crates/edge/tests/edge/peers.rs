//! Edges of several hosts: what comes to one is answered by instances of all, over real TLS.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use edge::{
    Options,
    table::{Identity, Limit, PathRule, Peer, Pool, Table, Upstream},
};
use observe::probe::Probe;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use tokio_rustls::rustls::{
    self, ClientConfig, ClientConnection, RootCertStore, StreamOwned,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};

use crate::support::{App, Client, PATIENCE, RawApp, Running, eventually, free_address, pool, to_pool, upstream};

/// What the hosts of an environment share.
pub(crate) fn identity(name: &str) -> Identity {
    let key = KeyPair::generate().unwrap();
    let mut authority = CertificateParams::new(Vec::new()).unwrap();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let signed = authority.self_signed(&key).unwrap();
    let issuer = Issuer::new(authority, key);
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec![name.to_owned()]).unwrap().signed_by(&key, &issuer).unwrap();
    Identity {
        authority: signed.pem(),
        certificate: certificate.pem(),
        key: key.serialize_pem(),
        exports: BTreeSet::new(),
    }
}

/// One host: an edge with a door for peers.
pub(crate) struct Host {
    pub(crate) edge: Running,
    pub(crate) door: SocketAddr,
    identity: Identity,
    pub(crate) mine: Vec<Upstream>,
    others: Vec<Upstream>,
    probe: Option<Probe>,
    hold: Duration,
    rule: PathRule,
}

pub(crate) const NAME: &str = "live.shop";
/// What peers ask for.
const EXPORT: &str = "api@r1";

impl Host {
    pub(crate) fn new(identity: &Identity, mine: Vec<Upstream>) -> Self {
        let port = free_address().port();
        let [a, b, c] = std::array::from_fn(|_| rand_byte());
        let door = SocketAddr::from((Ipv4Addr::new(127, a, b, c), port));
        Self {
            edge: start(),
            door,
            identity: identity.clone(),
            mine,
            others: Vec::new(),
            probe: None,
            hold: Duration::ZERO,
            rule: to_pool("/", "api"),
        }
    }

    pub(crate) fn knows(&mut self, other: &Self, instances: u32) {
        let mut one = upstream(&format!("at-{}", other.door), other.door);
        one.peer = Some(Peer { identity: NAME.to_owned(), pool: EXPORT.to_owned(), instances });
        self.others.push(one);
    }

    fn table(&self) -> Table {
        let visitors = Pool {
            upstreams: self.mine.iter().chain(&self.others).cloned().collect(),
            probe: self.probe.clone(),
            hold: self.hold,
        };
        let mut table =
            self.edge.table(vec![self.rule.clone()], &[("api", visitors), (EXPORT, pool(self.mine.clone()))]);
        table.peer_listeners.insert(self.door);
        let mut identity = self.identity.clone();
        identity.exports.insert(EXPORT.to_owned());
        table.identities.insert(NAME.to_owned(), identity);
        table
    }

    pub(crate) fn serve(&self) {
        let status = self.edge.put(&self.table());
        assert!(status.refused.is_empty(), "{:?}", status.refused);
        assert!(status.listening.contains(&self.door), "{:?}", status.listening);
    }
}

/// An edge that leaves nobody time to finish, as the end of its host would.
fn start() -> Running {
    Running::with(&Options { workers: 2, finish: Duration::ZERO, ..Options::default() })
}

fn rand_byte() -> u8 {
    use std::hash::BuildHasher;
    let word = std::hash::RandomState::new().hash_one(std::process::id());
    u8::try_from(word % 250 + 2).unwrap()
}

/// Two hosts of one environment that serve.
pub(crate) fn two(here: Vec<Upstream>, there: Vec<Upstream>) -> (Host, Host) {
    let identity = identity(NAME);
    let count = u32::try_from(there.len()).unwrap();
    let (mut here, there) = (Host::new(&identity, here), Host::new(&identity, there));
    here.knows(&there, count);
    there.serve();
    here.serve();
    (here, there)
}

fn count(client: &mut Client, requests: usize) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for _ in 0..requests {
        let answer = client.get("/");
        *counts.entry(if answer.status == 200 { answer.text() } else { answer.status.to_string() }).or_default() += 1;
    }
    counts
}

/// Somebody at a door for peers.
fn knock(door: SocketAddr, name: &str, shown: &Identity, trusted: &Identity) -> std::io::Result<Client> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(trusted.authority.as_bytes()).unwrap()).unwrap();
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(roots);
    let config = if shown.key.is_empty() {
        builder.with_no_client_auth()
    } else {
        let chain = vec![CertificateDer::from_pem_slice(shown.certificate.as_bytes()).unwrap()];
        builder.with_client_auth_cert(chain, PrivateKeyDer::from_pem_slice(shown.key.as_bytes()).unwrap()).unwrap()
    };
    let session = ClientConnection::new(Arc::new(config), name.to_owned().try_into().unwrap()).unwrap();
    let stream = TcpStream::connect(door).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut tls = StreamOwned::new(session, stream);
    // a plain connection between the test and TLS, so that the test's client speaks to either
    let middle = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = Client::connect(middle.local_addr().unwrap());
    let (mut plain, _) = middle.accept().unwrap();
    while tls.conn.is_handshaking() {
        tls.conn.complete_io(&mut tls.sock)?;
    }
    std::thread::spawn(move || {
        // one request, one answer
        let mut bytes = [0; 4096];
        let read = plain.read(&mut bytes).unwrap();
        let mut answer = Vec::new();
        if tls.write_all(&bytes[..read]).and_then(|()| tls.flush()).is_ok() {
            let _ = tls.read_to_end(&mut answer);
        }
        let _ = plain.write_all(&answer);
    });
    Ok(client)
}

fn ask(door: SocketAddr, name: &str, shown: &Identity, trusted: &Identity, export: &str) -> Option<(u16, String)> {
    let mut client = knock(door, name, shown, trusted).ok()?;
    client.write(format!("GET / HTTP/1.1\r\nHost: shop\r\nSlipway-Pool: {export}\r\nConnection: close\r\n\r\n"));
    let answer = client.try_answer("GET").ok()?;
    Some((answer.status, answer.text()))
}

#[test]
fn visitors_spread_evenly_over_the_instances_of_all_hosts() {
    let apps: Vec<App> = ["here", "there 1", "there 2", "there 3"].into_iter().map(App::saying).collect();
    let up = |number: usize| upstream(&number.to_string(), apps[number].address);
    let (here, there) = two(vec![up(0)], vec![up(1), up(2), up(3)]);
    let counts = count(&mut here.edge.client(), 800);
    assert!(counts.len() == 4 && counts.values().all(|count| (140..=260).contains(count)), "{counts:?}");
    let traffic = here.edge.status().traffic;
    assert_eq!(traffic["api"]["r1"].requests, 800, "counted where they came in");
    assert_eq!(there.edge.status().traffic["api"].get("r1").map_or(0, |one| one.requests), 0);
    assert_eq!(there.edge.status().traffic[EXPORT]["r1"].requests, 800 - counts["here"] as u64);
}

#[test]
fn revisions_share_visitors_by_weight_over_all_hosts() {
    let apps: Vec<App> = ["old", "new"].into_iter().map(App::saying).collect();
    let (mut here, there) = two(vec![upstream("a", apps[0].address)], vec![upstream("b", apps[1].address)]);
    here.mine[0].weight = 75;
    here.mine[0].revision = "r0".to_owned();
    here.others[0].weight = 25;
    here.serve();
    let counts = count(&mut here.edge.client(), 800);
    assert!((140..=260).contains(&counts["new"]), "{counts:?}");
    drop(there);
}

#[test]
fn one_connection_to_a_peer_carries_many_requests() {
    let app = App::saying("there");
    let (here, there) = two(vec![], vec![upstream("b", app.address)]);
    let mut client = here.edge.client();
    assert_eq!(count(&mut client, 200), BTreeMap::from([("there".to_owned(), 200)]));
    // one for the requests (they came one after the other), one for the check, one that watches the host
    eventually("no more than three are open", || there.edge.status().connections <= 3);
}

#[test]
fn what_the_first_edge_says_of_the_visitor_arrives_unchanged() {
    let (app, plain) = (App::echoing(), App::echoing());
    let (mut here, there) = two(vec![], vec![upstream("b", app.address)]);
    here.rule = PathRule { strip: true, ..to_pool("/api", "api") };
    here.serve();
    let alone = Running::start();
    let rule = PathRule { strip: true, ..to_pool("/api", "p") };
    alone.put(&alone.table(vec![rule], &[("p", pool(vec![upstream("a", plain.address)]))]));
    let asks = "X-Forwarded-For: 1.2.3.4\r\nX-Forwarded-Proto: https\r\nX-Real-Ip: 9.9.9.9\r\nForwarded: for=8.8.8.8\r\n\
                X-Request-Id: mine\r\nSlipway-Pool: other\r\nCookie: a=b\r\nTE: trailers\r\nConnection: te\r\n";
    let lines = |text: &str| -> Vec<String> {
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines.retain(|line| !line.starts_with("x-request-id: ") && !line.starts_with("slipway-pool: "));
        lines.sort();
        lines
    };
    let (over, direct) = (here.edge.client().get_with("/api/x?y=1", asks), alone.client().get_with("/api/x?y=1", asks));
    assert_eq!(lines(&over.text()), lines(&direct.text()));
    let text = over.text();
    assert!(!text.contains("slipway-pool"), "{text}");
    assert!(text.contains("x-forwarded-for: 127.0.0.1\n") && text.contains("host: test\n"), "{text}");
    let id = text.lines().find_map(|line| line.strip_prefix("x-request-id: ")).unwrap();
    assert!(id.len() == 32 && id != "mine", "made by the first edge alone: {text}");
    assert_eq!(text.matches("x-request-id").count(), 1);
    drop(there);
}

#[test]
fn an_application_cannot_speak_for_the_edge() {
    let app = RawApp::start(|mut client, _| {
        while client.request().is_some() {
            client.write("HTTP/1.1 200 OK\r\nslipway-peer: unsent\r\ncontent-length: 2\r\n\r\nhi");
        }
    });
    let (here, there) = two(vec![], vec![upstream("b", app.address)]);
    let answer = here.edge.get("/");
    assert_eq!((answer.status, answer.text().as_str(), answer.header("slipway-peer")), (200, "hi", None));
    drop(there);
}

#[test]
fn limits_and_headers_of_a_route_apply_once() {
    let app = App::saying("there");
    let (mut here, there) = two(vec![], vec![upstream("b", app.address)]);
    here.rule.limit = Some(Limit { requests: 3, period: Duration::from_mins(10), per_client: true });
    here.rule.headers = vec![("x-frame-options".to_owned(), "DENY".to_owned())];
    here.rule.cors = Some(vec!["https://shop.io".to_owned()]);
    here.serve();
    let mut client = here.edge.client();
    let answer = client.get_with("/", "Origin: https://shop.io\r\n");
    assert_eq!(answer.all("x-frame-options"), ["DENY"]);
    assert_eq!(answer.all("access-control-allow-origin"), ["https://shop.io"]);
    assert_eq!([client.get("/").status, client.get("/").status, client.get("/").status], [200, 200, 429]);
    drop(there);
}

#[test]
fn large_bodies_go_both_ways() {
    let app = App::start(
        axum::Router::new()
            .fallback(|body: axum::body::Bytes| async move { body })
            .layer(axum::extract::DefaultBodyLimit::disable()),
    );
    let (here, there) = two(vec![], vec![upstream("b", app.address)]);
    let body: Vec<u8> = (0..1_000_003_u32).map(|number| u8::try_from(number % 251).unwrap()).collect();
    let mut client = here.edge.client();
    for _ in 0..3 {
        let answer = client.post("/", &body);
        assert!(answer.status == 200 && answer.body == body, "{}", answer.status);
    }
    client.write("POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n");
    for piece in body.chunks(100_000) {
        client.write(format!("{:x}\r\n", piece.len()));
        client.write(piece);
        client.write("\r\n");
    }
    client.write("0\r\n\r\n");
    assert_eq!(client.answer("POST").body, body);
    drop(there);
}

#[test]
fn websockets_pass_both_edges_and_end_on_both_sides() {
    let app = RawApp::start(|mut client, _| {
        let head = client.request().unwrap().to_ascii_lowercase();
        assert!(head.contains("upgrade: websocket") && head.contains("connection: upgrade"), "{head}");
        client.write("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
        let mut bytes = [0; 64];
        while let Ok(read @ 1..) = client.stream.read(&mut bytes) {
            client.write(&bytes[..read]);
        }
        client.write("bye");
    });
    let (here, there) = two(vec![], vec![upstream("b", app.address)]);
    let mut client = here.edge.client();
    client.write("GET / HTTP/1.1\r\nHost: test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
    assert_eq!(client.head().unwrap().status, 101);
    for text in ["one", "two"] {
        client.write(text);
        let mut back = [0; 3];
        client.stream.read_exact(&mut back).unwrap();
        assert_eq!(back, text.as_bytes());
    }
    let tunnels = |host: &Host| host.edge.status().upstreams.values().map(|one| one.tunnels).sum::<u64>();
    assert_eq!((tunnels(&here), tunnels(&there)), (1, 1));
    client.stream.get_ref().shutdown(std::net::Shutdown::Write).unwrap();
    assert_eq!(client.rest().unwrap(), b"bye", "last words");
    eventually("both tunnels are over", || tunnels(&here) == 0 && tunnels(&there) == 0);
}

#[test]
fn an_answer_that_breaks_off_never_looks_complete() {
    let app = RawApp::start(|mut client, _| {
        client.request();
        client.write("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n");
    });
    let (here, there) = two(vec![], vec![upstream("b", app.address)]);
    let mut client = here.edge.client();
    client.write("GET / HTTP/1.1\r\nHost: test\r\n\r\n");
    assert!(client.try_answer("GET").is_err());
    drop(there);
}

// proves S4.10
#[test]
fn a_host_that_dies_costs_no_request_that_may_be_repeated() {
    let (local, dying, third) = (App::saying("here"), App::saying("dying"), App::saying("third"));
    let identity = identity(NAME);
    let mut here = Host::new(&identity, vec![upstream("a", local.address)]);
    let mut there = Host::new(&identity, vec![upstream("b", dying.address)]);
    let other = Host::new(&identity, vec![upstream("c", third.address)]);
    here.knows(&there, 1);
    here.knows(&other, 1);
    here.probe =
        Some(Probe { path: None, every: Duration::from_millis(50), timeout: Duration::from_secs(1), up: 2, down: 3 });
    other.serve();
    there.serve();
    here.serve();
    let counts = count(&mut here.edge.client(), 90);
    assert_eq!(counts.len(), 3, "{counts:?}");
    let failed = AtomicUsize::new(0);
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut client = here.edge.client();
                while !stop.load(Ordering::Relaxed) {
                    let began = Instant::now();
                    if client.get("/").status != 200 || began.elapsed() > Duration::from_secs(5) {
                        failed.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
        there.edge.kill();
        let id = format!("at-{}", there.door);
        eventually("its host is out of the rotation", || !here.edge.status().upstreams[&id].healthy);
        there.edge = start();
        there.serve();
        eventually("its host is back", || here.edge.status().upstreams[&id].healthy);
        stop.store(true, Ordering::Relaxed);
    });
    assert_eq!(failed.into_inner(), 0);
    assert_eq!(count(&mut here.edge.client(), 90).len(), 3);
}

#[test]
fn instances_that_die_on_another_host_cost_nothing_either() {
    let (local, mut dying) = (App::saying("here"), App::saying("dying"));
    let (here, there) = two(vec![upstream("a", local.address)], vec![upstream("b", dying.address)]);
    assert_eq!(count(&mut here.edge.client(), 50).len(), 2);
    dying.kill();
    assert_eq!(count(&mut here.edge.client(), 100), BTreeMap::from([("here".to_owned(), 100)]));
    let answer = here.edge.client().ask("POST", "/", "Content-Length: 0\r\n");
    assert_eq!(answer.text(), "here", "nobody had it, so it may be sent again");
    drop(there);
}

#[test]
fn a_body_that_no_instance_took_is_sent_to_another_host_whole() {
    let local = App::start(
        axum::Router::new()
            .fallback(|body: axum::body::Bytes| async move { body })
            .layer(axum::extract::DefaultBodyLimit::disable()),
    );
    let (mut here, mut there) = two(vec![upstream("a", local.address)], vec![]);
    // asked most of the time, as far as the first edge knows; its own instance refuses connections
    here.others[0].peer.as_mut().unwrap().instances = 50;
    there.mine.push(upstream("b", free_address()));
    let body: Vec<u8> = (0..300_000_u32).map(|number| u8::try_from(number % 251).unwrap()).collect();
    for mine in [vec![upstream("b", free_address())], vec![]] {
        there.mine = mine;
        there.serve();
        for round in 0..10 {
            // forgets what it learned of the other host
            here.others[0].id = format!("{round}");
            here.serve();
            let mut client = here.edge.client();
            let answer = client.post("/", &body);
            assert!(answer.status == 200 && answer.body == body, "{}", answer.status);
            assert_eq!(client.post("/", b"again").text(), "again", "the connection is good for the next");
        }
    }
    let asked = there.edge.status().requests;
    assert!(asked > 5, "it was asked {asked} times");
}

#[test]
fn a_request_that_broke_an_instance_is_repeated_elsewhere_only_if_it_may_be() {
    let local = App::saying("here");
    let asked = Arc::new(Mutex::new(Vec::new()));
    let seen = asked.clone();
    let breaking = RawApp::start(move |mut client, _| {
        let head = client.request().unwrap_or_default();
        seen.lock().unwrap().push(head.split(' ').next().unwrap_or_default().to_owned());
    });
    let (here, there) = two(vec![upstream("a", local.address)], vec![upstream("b", breaking.address)]);
    for _ in 0..20 {
        assert_eq!(here.edge.get("/").text(), "here");
    }
    assert!(asked.lock().unwrap().iter().any(|method| method == "GET"), "the other host was asked too");
    let answers: BTreeSet<u16> =
        (0..20).map(|_| here.edge.client().ask("POST", "/", "Content-Length: 0\r\n").status).collect();
    assert_eq!(answers, BTreeSet::from([200, 502]), "each is sent to one instance only");
    let posts = asked.lock().unwrap().iter().filter(|method| *method == "POST").count();
    assert!((1..=20).contains(&posts), "{posts}");
    drop(there);
}

#[test]
fn a_dead_address_holds_a_visitor_for_a_second_and_not_again() {
    let local = App::saying("here");
    let identity = identity(NAME);
    let mut here = Host::new(&identity, vec![upstream("a", local.address)]);
    let gone = Host::new(&identity, vec![]);
    here.knows(&gone, 1000);
    here.serve();
    // a socket that listens and takes nobody, once its queue is full, is as silent as a host that is gone
    let silent = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    silent.bind(&gone.door.into()).unwrap();
    silent.listen(1).unwrap();
    let _queue: Vec<_> = (0..4)
        .map(|_| {
            let one = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM.nonblocking(), None).unwrap();
            let _ = one.connect(&gone.door.into());
            one
        })
        .collect();
    let began = Instant::now();
    assert_eq!(here.edge.get("/").text(), "here");
    let took = began.elapsed();
    assert!(took < Duration::from_secs(4), "{took:?}");
    let began = Instant::now();
    assert_eq!(count(&mut here.edge.client(), 100), BTreeMap::from([("here".to_owned(), 100)]));
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
}

#[test]
fn only_the_environments_own_certificate_opens_its_pools() {
    let app = App::saying("there");
    let ours = identity(NAME);
    let host = Host::new(&ours, vec![upstream("b", app.address)]);
    let mut table = host.table();
    let mut theirs = identity("live.other");
    theirs.exports = ["other@r1".to_owned()].into();
    table.identities.insert("live.other".to_owned(), theirs.clone());
    let other = App::saying("other");
    table.pools.insert("other@r1".to_owned(), pool(vec![upstream("o", other.address)]));
    table.pools.insert("private".to_owned(), pool(vec![upstream("p", other.address)]));
    host.edge.put(&table);

    let ask = |name: &str, shown: &Identity, export: &str| {
        ask(host.door, name, shown, if name == NAME { &ours } else { &theirs }, export)
    };
    assert_eq!(ask(NAME, &ours, EXPORT), Some((200, "there".to_owned())));
    assert_eq!(ask("live.other", &theirs, "other@r1"), Some((200, "other".to_owned())), "chosen by its name");
    for export in ["other@r1", "private", "", "check other@r1"] {
        let answer = ask(NAME, &ours, export);
        assert!(matches!(answer, Some((503, _))), "{export:?}: {answer:?}");
    }
    assert!(matches!(ask("live.other", &theirs, EXPORT), Some((503, _))));
    assert_eq!(ask(NAME, &theirs, EXPORT), None, "another environment's certificate");
    assert_eq!(ask("live.other", &ours, "other@r1"), None);
    assert_eq!(ask("live.unknown", &ours, EXPORT), None);
    let stranger = Identity { key: String::new(), ..identity(NAME) };
    assert_eq!(ask(NAME, &stranger, EXPORT), None, "none at all");
    let mut plain = Client::connect(host.door);
    plain.write("GET / HTTP/1.1\r\nHost: test\r\n\r\n");
    assert!(plain.try_answer("GET").is_err(), "no TLS");

    // with the next identity the former one is good for nothing
    let next = identity(NAME);
    let mut replaced = Host { identity: next.clone(), ..host };
    replaced.mine.clear();
    replaced.mine.push(upstream("b", app.address));
    replaced.serve();
    assert_eq!(self::ask(replaced.door, NAME, &ours, &next, EXPORT), None);
    assert_eq!(self::ask(replaced.door, NAME, &next, &next, EXPORT), Some((200, "there".to_owned())));
}

#[test]
fn an_impostor_at_a_peers_address_is_not_trusted() {
    let (local, stranger) = (App::saying("here"), App::saying("stranger"));
    let mut here = Host::new(&identity(NAME), vec![upstream("a", local.address)]);
    let impostor = Host::new(&identity(NAME), vec![upstream("s", stranger.address)]);
    here.knows(&impostor, 1);
    impostor.serve();
    here.serve();
    assert_eq!(count(&mut here.edge.client(), 50), BTreeMap::from([("here".to_owned(), 50)]));
}

#[test]
fn a_pool_with_peers_is_not_exported_so_that_nothing_goes_round_in_circles() {
    let (here, there) = two(vec![], vec![]);
    for (change, says) in [
        (
            (|table: &mut Table| {
                table.identities.get_mut(NAME).unwrap().exports.insert("api".to_owned());
            }) as fn(&mut Table),
            "exports the pool `api`, which has an upstream on another host",
        ),
        (
            |table| {
                table.identities.get_mut(NAME).unwrap().exports.insert("nothing".to_owned());
            },
            "exports the pool `nothing`, which the table does not have",
        ),
        (|table| table.identities.clear(), "names the identity `live.shop`, which the table does not have"),
        (|table| table.identities.get_mut(NAME).unwrap().key.clear(), "the identity `live.shop`: its `key` is not"),
        (
            |table| {
                let address = table.listeners[0].address;
                table.peer_listeners.insert(address);
            },
            "has two listeners",
        ),
    ] {
        let mut table = here.table();
        change(&mut table);
        let (status, body) = here.edge.call("PUT", "/table", &serde_json::to_string(&table).unwrap());
        assert!(status == 422 && body.contains(says), "{status} {body}");
    }
    assert_eq!(here.edge.get("/").status, 503, "it serves on");
    drop(there);
}

#[test]
fn visitors_are_held_until_a_peer_has_an_instance() {
    let app = App::saying("there");
    let (mut here, mut there) = two(vec![], vec![]);
    here.hold = Duration::from_secs(15);
    here.serve();
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| here.edge.get("/"));
        std::thread::sleep(Duration::from_millis(300));
        there.mine.push(upstream("b", app.address));
        there.serve();
        assert_eq!(waiting.join().unwrap().text(), "there");
    });
}
