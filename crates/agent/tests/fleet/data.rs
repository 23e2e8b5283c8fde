//! The data of several hosts: kept by one, reached by all, and by nobody else.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    time::{Duration, Instant},
};

use agent::members::MemberHost;
use engine::{desired::InstanceState, journal::Outcome};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpSocket,
};

use crate::{
    bed::{Bed, DEADLINE, get},
    hosts::{Fleet, address, name},
};

const STORES: &str = r#"
[service.api]
run = "WEB"
port = 4000
health = { path = "/health", up = 1 }
size = { replicas = 2 }
needs = ["database.main", "cache.redis"]

[database.main]
engine = "postgres:15"

[cache.redis]
engine = "redis:7"

[variable]
TOKEN = { secret = true }
"#;

/// The variables of the instance on a host.
async fn variables(bed: &Bed) -> BTreeMap<String, String> {
    let instances = bed.instances().await;
    let api = instances.iter().find(|one| one.state == InstanceState::Ready).unwrap();
    let (status, body) = get(([127, 0, 0, 1], api.port.unwrap()).into(), "api", "/env").await.unwrap();
    assert_eq!(status, 200);
    serde_json::from_str(&body).unwrap()
}

/// User, password and address of a URL.
fn parts(url: &str) -> (&str, &str, SocketAddr) {
    let (user, place) = url.split_once("://").unwrap().1.split_once('@').unwrap();
    let (user, password) = user.split_once(':').unwrap();
    (user, password, place.split('/').next().unwrap().parse().unwrap())
}

/// What a server answers to `hello` from an address of this machine.
async fn ask(from: IpAddr, to: SocketAddr, hello: &[u8]) -> std::io::Result<String> {
    let socket = TcpSocket::new_v4()?;
    socket.bind((from, 0).into())?;
    let mut stream = socket.connect(to).await?;
    stream.write_all(hello).await?;
    let mut answer = vec![0; 1024];
    let read = tokio::time::timeout(DEADLINE, stream.read(&mut answer)).await??;
    Ok(String::from_utf8_lossy(&answer[..read]).into_owned())
}

/// Source: PostgreSQL documentation, section 55.7, `StartupMessage`.
async fn postgres(from: IpAddr, to: SocketAddr, user: &str) -> String {
    let mut message = 196_608_u32.to_be_bytes().to_vec();
    message.extend(format!("user\0{user}\0database\0{user}\0\0").bytes());
    let size = u32::try_from(message.len() + 4).unwrap();
    ask(from, to, &[size.to_be_bytes().as_slice(), &message].concat()).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_host_keeps_the_data_and_only_members_with_the_password_reach_them() {
    let mut fleet = Fleet::of(2).await;
    let revision = fleet.revision(STORES, &[0, 1]).await;
    let report = fleet.deploy(&revision, None).unwrap();
    assert_eq!(report.outcome, Outcome::Succeeded, "{report:?}");

    let (first, second) = (&fleet.beds[0], &fleet.beds[1]);
    assert_eq!(first.observe().await.services.len(), 2, "both servers are on the first host");
    assert!(second.observe().await.services.is_empty());
    let (here, there) = (variables(first).await, variables(second).await);
    let keeper = fleet.members.hosts[0].address;
    let guest = fleet.members.hosts[1].address;
    for url in ["DATABASE_URL", "REDIS_URL"] {
        assert_eq!(here[url].replace("127.0.0.1", &keeper.to_string()), there[url], "but for the way there the same");
    }
    let (user, password, place) = parts(&there["DATABASE_URL"]);
    assert_eq!((user, place.ip(), password.len()), ("shop", keeper, 64));
    migrate::check_connection(&there["DATABASE_URL"], DEADLINE).await.unwrap();
    let wrong = there["DATABASE_URL"].replace(password, "wrong");
    let refused = migrate::check_connection(&wrong, DEADLINE).await.unwrap_err();
    assert!(refused.contains("password authentication failed"), "{refused}");

    // R: may go on with its password; E: refused.
    let stranger = address();
    assert!(postgres(guest, place, "shop").await.starts_with('R'));
    let refused = postgres(guest, place, "postgres").await;
    assert!(refused.starts_with('E') && refused.contains("no pg_hba.conf entry"), "{refused}");
    let refused = postgres(stranger, place, "shop").await;
    assert!(refused.starts_with('E') && refused.contains("no pg_hba.conf entry"), "{refused}");
    let (_, password, cache) = parts(&there["REDIS_URL"]);
    assert_eq!(cache.ip(), keeper);
    let ping = |password: &str| format!("AUTH {password}\r\nPING\r\n");
    assert!(ask(guest, cache, ping(password).as_bytes()).await.unwrap().starts_with("+OK"));
    assert!(ask(guest, cache, b"PING\r\n").await.unwrap().contains("NOAUTH"));
    assert!(ask(guest, cache, ping("wrong").as_bytes()).await.unwrap().contains("WRONGPASS"));
    for (port, what) in [(place.port(), "the database"), (cache.port(), "the cache")] {
        assert!(ask(guest, (guest, port).into(), b"?").await.is_err(), "{what} is not on the second host");
    }

    // What the second host runs beside an instance is told the same, and its health report sees them.
    let told = agent::context(&second.home, &second.scope, &revision, &"api".parse().unwrap()).unwrap();
    assert_eq!(told.env["DATABASE_URL"], there["DATABASE_URL"]);

    // A host that joins is let in, and nothing is started again for it.
    let pid =
        |seen: &engine::desired::Observed| seen.services.iter().find(|one| one.engine == "postgres:15").unwrap().pid;
    let before = pid(&first.observe().await);
    fleet.members.hosts.push(MemberHost { name: name(2), address: stranger, drained: false });
    fleet.put_members().await;
    let began = Instant::now();
    while !postgres(stranger, place, "shop").await.starts_with('R') {
        assert!(began.elapsed() < DEADLINE, "it is not let in");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(pid(&fleet.beds[0].observe().await), before);

    // An empty database in place of one with data would be worse than none.
    fleet.members.hosts[0].drained = true;
    fleet.put_members().await;
    let seen = fleet.beds[1]
        .until("the second host says why it keeps no data", |seen| {
            seen.services.iter().any(|one| matches!(&one.state, InstanceState::Failed { .. }))
        })
        .await;
    let mut states = seen.services.iter().map(|one| &one.state);
    let says = |why: &str| why.starts_with("its data are on host `h0`, and this host has none");
    assert!(states.any(|state| matches!(state, InstanceState::Failed { why } if says(why))), "{seen:?}");
    fleet.members.hosts[0].drained = false;
    fleet.put_members().await;
    fleet.beds[0]
        .until("they are back", |seen| {
            seen.services.iter().filter(|one| one.state == InstanceState::Ready).count() == 2
        })
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_that_is_alone_keeps_its_data_to_itself() {
    let bed = Bed::new().await;
    let text = STORES.replace("replicas = 2", "replicas = 1");
    let revision = bed.revision(&text, &[], &[("TOKEN", "xyzzy-plugh-1")]).await;
    bed.deploy(&revision).await;
    let told = variables(&bed).await;
    migrate::check_connection(&told["DATABASE_URL"], DEADLINE).await.unwrap();
    for url in ["DATABASE_URL", "REDIS_URL"] {
        let (_, _, place) = parts(&told[url]);
        assert!(place.ip().to_string() == "127.0.0.1" && !(16_000..20_000).contains(&place.port()), "{place}");
        let (guest, elsewhere) = (address(), address());
        assert!(ask(guest, (elsewhere, place.port()).into(), b"?").await.is_err(), "{place} alone");
    }
}
