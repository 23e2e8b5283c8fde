//! Agents that know each other: what a dead laptop left is brought to its end, who was away catches up.

use std::time::{Duration, Instant};

use agent::{
    members::Identity,
    protocol::{Call, Reply},
};
use engine::{
    desired::InstanceState,
    journal::{Event, Outcome, Step},
    record,
};
use stack::Revision;
use tokio::io::AsyncWriteExt;

use crate::{
    bed::{Bed, DEADLINE, eventually},
    hosts::{Fleet, Last, address, name},
};

const SERVICE: &str = r#"
[service.web]
run = "WEB"
port = 4000
health = { path = "/health", up = 1 }
size = { replicas = 3 }
env = { RELEASE = "RELEASE" }

[variable]
TOKEN = { secret = true }
"#;

fn service(release: &str) -> String {
    SERVICE.replace("\"RELEASE\"", &format!("\"{release}\""))
}

async fn ready(bed: &Bed, revision: &Revision) -> usize {
    let instances = bed.instances().await;
    instances.iter().filter(|one| one.revision == *revision && one.state == InstanceState::Ready).count()
}

async fn ready_on(fleet: &Fleet, revision: &Revision, wanted: &[usize]) {
    for (bed, count) in fleet.beds.iter().zip(wanted) {
        bed.until("its share of the instances is ready", |seen| {
            let of = seen.instances.iter().filter(|one| one.state == InstanceState::Ready);
            of.clone().count() == *count && of.clone().all(|one| one.revision == *revision)
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_dead_laptop_left_is_brought_to_its_end_by_the_hosts() {
    // proves S0.15, S4.E2: whoever deploys may die at any moment, and the hosts agree on what follows
    let fleet = Fleet::of(3).await;
    let first = fleet.revision(&service("one"), &[0, 1, 2]).await;
    let report = fleet.deploy(&first, None).unwrap();
    assert_eq!(report.outcome, Outcome::Succeeded, "{report:?}");
    ready_on(&fleet, &first, &[1, 1, 1]).await;

    // Before visitors were moved: back to what was.
    let second = fleet.revision(&service("two"), &[0, 1, 2]).await;
    assert_eq!(fleet.deploy(&second, Some(Last::End(Step::Probe))), None, "the laptop died");
    let began = Instant::now();
    let (entries, desired) = fleet.level(&[0, 1, 2]).await;
    println!("recovered after {:?}, the lease of 4 s included", began.elapsed());
    assert!(matches!(record::records(&entries).last().unwrap().outcome(), Some(Outcome::Failed { .. })));
    assert_eq!(desired.traffic, [(first.clone(), 100)].into());
    assert_eq!(desired.running, [first.clone()].into());

    // After all visitors were moved: on to the end.
    assert_eq!(fleet.deploy(&second, Some(Last::End(Step::Shift))), None, "the laptop died");
    let (entries, desired) = fleet.level(&[0, 1, 2]).await;
    assert_eq!(record::records(&entries).last().unwrap().outcome(), Some(&Outcome::Succeeded));
    assert_eq!(desired.traffic, [(second.clone(), 100)].into());
    ready_on(&fleet, &second, &[1, 1, 1]).await;
    let numbers: Vec<u64> =
        entries.iter().filter(|entry| matches!(entry.event, Event::Ended(_))).map(|entry| entry.deploy).collect();
    assert_eq!(numbers, [1, 2, 3], "each deploy ended once");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_that_was_away_catches_up_without_a_laptop() {
    // proves S4.E6: a host that was gone is level again by itself
    let mut fleet = Fleet::of(3).await;
    let first = fleet.revision(&service("one"), &[0, 1, 2]).await;
    assert_eq!(fleet.deploy(&first, None).unwrap().outcome, Outcome::Succeeded);
    fleet.beds[2].kill_agent();
    // The laptop and one host die together; neither the release nor its values ever reached the third.
    let second = fleet.revision(&service("two"), &[0, 1]).await;
    assert_eq!(fleet.deploy_with_loss(&second, Some(Last::End(Step::Shift))), None, "the laptop died");
    let (entries, desired) = fleet.level(&[0, 1]).await;
    assert_eq!(record::records(&entries).last().unwrap().outcome(), Some(&Outcome::Succeeded), "{entries:#?}");
    assert_eq!(desired.traffic, [(second.clone(), 100)].into());

    // What it had that nobody acted on is given up.
    let folder = fleet.beds[2].folder();
    let began = Instant::now();
    fleet.beds[2].start_agent().await;
    let (caught_up, _) = fleet.level(&[0, 1, 2]).await;
    assert_eq!(caught_up, entries);
    println!("a host that was away is level {:?} after its start", began.elapsed());
    ready_on(&fleet, &second, &[1, 1, 1]).await;
    assert!(fleet.beds[2].agent_log().contains("caught up: release"), "{}", fleet.beds[2].agent_log());
    assert_eq!(std::fs::read_dir(folder.join("values")).unwrap().count(), 1, "the same values, the same id");
    let Ok(Reply::Level { done }) = fleet.beds[2].call(Call::Level).await else { panic!() };
    assert_eq!(done, [""; 0], "nothing is left to do");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_majority_a_host_stays_as_it_is_and_says_so() {
    let mut fleet = Fleet::of(3).await;
    let first = fleet.revision(&service("one"), &[0, 1, 2]).await;
    assert_eq!(fleet.deploy(&first, None).unwrap().outcome, Outcome::Succeeded);
    let second = fleet.revision(&service("two"), &[0, 1, 2]).await;
    assert_eq!(fleet.deploy(&second, Some(Last::End(Step::Start))), None, "the laptop died");
    fleet.beds[1].kill_agent();
    fleet.beds[2].kill_agent();
    let before = fleet.state(0).await.unwrap();
    let seen = fleet.beds[0]
        .until("it says why", |seen| seen.troubles.iter().any(|trouble| trouble.contains("no majority")))
        .await;
    assert!(seen.troubles.iter().any(|trouble| trouble.contains("only 1 of 3 hosts answer")), "{:?}", seen.troubles);
    assert_eq!(fleet.state(0).await.unwrap().head, before.head);
    fleet.beds[1].start_agent().await;
    let (entries, desired) = fleet.level(&[0, 1]).await;
    assert!(matches!(record::records(&entries).last().unwrap().outcome(), Some(Outcome::Failed { .. })));
    assert_eq!(desired.running, [first].into());
    fleet.beds[0].until("the trouble is over", |seen| seen.troubles.is_empty()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_that_reaches_nobody_goes_on_with_what_it_has() {
    let mut fleet = Fleet::of(3).await;
    let revision = fleet.revision(&service("one"), &[0, 1, 2]).await;
    assert_eq!(fleet.deploy(&revision, None).unwrap().outcome, Outcome::Succeeded);
    for bed in &mut fleet.beds {
        bed.kill_agent();
    }
    let began = Instant::now();
    fleet.beds[0].start_agent().await;
    println!("an agent that is alone answers {:?} after its start", began.elapsed());
    // What ran went on running.
    let seen = fleet.beds[0].until("it has its share", |seen| seen.expected.get(&revision) == Some(&1)).await;
    assert_eq!(seen.desired.traffic, [(revision.clone(), 100)].into());
    ready_on(&fleet, &revision, &[1]).await;

    // After a power cut it waits for the others before it starts anything, and not for long.
    fleet.power_off(0);
    let began = Instant::now();
    fleet.beds[0].start_agent().await;
    ready_on(&fleet, &revision, &[1]).await;
    println!("it serves {:?} after the power came back", began.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_that_was_rebooted_never_starts_what_is_outdated() {
    let mut fleet = Fleet::of(3).await;
    let first = fleet.revision(&service("one"), &[0, 1, 2]).await;
    assert_eq!(fleet.deploy(&first, None).unwrap().outcome, Outcome::Succeeded);
    fleet.power_off(2);
    let second = fleet.revision(&service("two"), &[0, 1]).await;
    assert_eq!(fleet.deploy_with_loss(&second, None).unwrap().outcome, Outcome::Succeeded);
    let before = fleet.beds[2].agent_log().len();
    let began = Instant::now();
    fleet.beds[2].start_agent().await;
    fleet.level(&[0, 1, 2]).await;
    ready_on(&fleet, &second, &[1, 1, 1]).await;
    println!("a rebooted host serves the new release {:?} after its start", began.elapsed());
    let log = fleet.beds[2].agent_log();
    let outdated = format!("instance=web-{}", &first.release.as_str()[..8]);
    let started = log[before..].lines().filter(|line| line.contains("started") && line.contains(&outdated));
    assert_eq!(started.count(), 0, "{}", &log[before..]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_dies_together_with_the_laptop_the_hosts_end_alike() {
    // proves S4.E2, S4.E6
    let mut fleet = Fleet::of(3).await;
    let mut last = fleet.revision(&service("zero"), &[0, 1, 2]).await;
    assert_eq!(fleet.deploy(&last, None).unwrap().outcome, Outcome::Succeeded);
    let deaths = [
        (Last::End(Step::Ship), 0),
        (Last::Begin(Step::Probe), 1),
        (Last::Begin(Step::Shift), 2),
        (Last::End(Step::Shift), 0),
        (Last::Begin(Step::Drain), 1),
    ];
    for (at, (death, victim)) in deaths.into_iter().enumerate() {
        let wanted = fleet.revision(&service(&format!("number {at}")), &[0, 1, 2]).await;
        assert_eq!(fleet.deploy(&wanted, Some(death)), None, "the laptop died");
        fleet.power_off(victim);
        let living: Vec<usize> = (0..3).filter(|host| *host != victim).collect();
        fleet.level(&living).await;
        fleet.beds[victim].start_agent().await;
        let (entries, desired) = fleet.level(&[0, 1, 2]).await;
        let committed = record::committed(&entries).unwrap();
        assert!(committed == wanted || committed == last, "{death:?}");
        assert_eq!(desired.traffic, [(committed.clone(), 100)].into(), "{death:?}");
        assert_eq!(desired.running, [committed.clone()].into(), "{death:?}");
        ready_on(&fleet, &committed, &[1, 1, 1]).await;
        println!("{death:?} and host {victim}: {:?}", record::records(&entries).last().unwrap().outcome());
        last = committed;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rollback_goes_back_to_what_a_host_never_had() {
    // proves S4.E6: also what was deployed while a host was away can be gone back to
    let mut fleet = Fleet::of(3).await;
    fleet.beds[2].kill_agent();
    let first = fleet.revision(&service("one"), &[0, 1]).await;
    assert_eq!(fleet.deploy_with_loss(&first, None).unwrap().outcome, Outcome::Succeeded);
    let second = fleet.revision(&service("two"), &[0, 1]).await;
    assert_eq!(fleet.deploy_with_loss(&second, None).unwrap().outcome, Outcome::Succeeded);
    fleet.beds[2].start_agent().await;
    fleet.level(&[0, 1, 2]).await;
    assert_eq!(fleet.deploy(&first, None).unwrap().outcome, Outcome::Succeeded);
    ready_on(&fleet, &first, &[1, 1, 1]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_are_spread_over_the_hosts_and_again_when_they_change() {
    // proves S2.10: hosts come, go and are drained without a deploy
    let mut fleet = Fleet::of_strangers(3).await;
    let all = fleet.members.hosts.clone();
    fleet.members.hosts.truncate(2);
    fleet.put_members().await;
    for bed in &fleet.beds[..2] {
        bed.until("it hears the other", |_| true).await;
    }
    fleet.all_alive_of(2).await;
    let two = fleet.beds.split_off(2);
    let revision = fleet.revision(&service("one"), &[0, 1]).await;
    assert_eq!(fleet.deploy(&revision, None).unwrap().outcome, Outcome::Succeeded);
    ready_on(&fleet, &revision, &[2, 1]).await;
    assert_eq!(fleet.beds[0].observe().await.expected[&revision], 2);

    // A new host that never saw the release gets everything from the others.
    fleet.beds.extend(two);
    fleet.members.hosts = all;
    fleet.put_members().await;
    ready_on(&fleet, &revision, &[1, 1, 1]).await;

    fleet.members.hosts[0].drained = true;
    fleet.put_members().await;
    ready_on(&fleet, &revision, &[0, 2, 1]).await;
    let seen = fleet.beds[0].observe().await;
    assert_eq!(seen.expected[&revision], 0);
    assert!(seen.troubles.is_empty(), "{:?}", seen.troubles);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_newer_list_of_hosts_travels_and_an_older_one_is_refused() {
    let mut fleet = Fleet::of(2).await;
    let older = fleet.members.clone();
    fleet.members.changed_at = jiff::Timestamp::now();
    fleet.members.hosts[1].drained = true;
    let put = |me: &str, members| Call::PutMembers { me: me.to_owned(), members: Box::new(members) };
    fleet.beds[0].call(put("h0", fleet.members.clone())).await.unwrap();
    let began = Instant::now();
    loop {
        let Ok(Reply::Members { me, members }) = fleet.beds[1].call(Call::Members).await else { panic!() };
        assert_eq!(me, Some(name(1)));
        if members.is_some_and(|members| *members == fleet.members) {
            break;
        }
        assert!(began.elapsed() < DEADLINE, "the list does not travel");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let refused = fleet.beds[1].call(put("h1", older)).await.unwrap_err().to_string();
    assert!(refused.contains("read its list first"), "{refused}");
    fleet.beds[1].call(put("h1", fleet.members.clone())).await.expect("the same again is done already");
    let mode = std::os::unix::fs::PermissionsExt::mode(
        &std::fs::metadata(fleet.beds[1].folder().join("members.json")).unwrap().permissions(),
    );
    assert_eq!(mode & 0o777, 0o600);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strangers_are_refused_and_environments_do_not_see_each_other() {
    // proves S4.S3: two apps on one host share nothing
    let mut fleet = Fleet::of(2).await;
    let place = (fleet.members.hosts[0].address, agent::members::PEER_PORT);
    // Another environment of the same hosts, on the same listener, with an identity of its own.
    let mut other = fleet.members.clone();
    other.identity = Identity::generate().unwrap();
    let scope = agent::protocol::Scope { app: "bank".parse().unwrap(), environment: "dev".parse().unwrap() };
    for (at, bed) in fleet.beds.iter().enumerate() {
        let call = Call::PutMembers { me: name(at), members: Box::new(other.clone()) };
        bed.client().call(Some(&scope), call).await.unwrap();
    }
    let own = Asker::new(&fleet.members.identity, &fleet.members.identity);
    let (status, body) = own.call(place, &fleet.beds[0].scope, "peer-state").await.unwrap();
    assert_eq!((status, body.contains("peer-state")), (200, true), "{body}");
    let (status, body) = own.call(place, &scope, "peer-state").await.unwrap();
    assert_eq!((status, body.contains("leads to another environment")), (422, true), "{body}");
    let (status, body) = own.call(place, &fleet.beds[0].scope, "runs").await.unwrap();
    assert_eq!((status, body.contains("may not ask this of each other")), (422, true), "{body}");

    // The name of one environment with the certificate of the other, with none, and a name nobody has.
    let name_of = &fleet.members.identity;
    assert!(Asker::with(name_of, Some(&other.identity)).call(place, &scope, "peer-state").await.is_err());
    assert!(Asker::with(name_of, None).call(place, &scope, "peer-state").await.is_err());
    let nobody = Identity::generate().unwrap();
    assert!(Asker::new(&nobody, &nobody).call(place, &scope, "peer-state").await.is_err());
    // Who says nothing keeps nobody else from being answered.
    let mut silent = tokio::net::TcpStream::connect(place).await.unwrap();
    silent.write_all(b"GET / HTTP/1.1\r\n").await.unwrap();
    assert!(own.call(place, &fleet.beds[0].scope, "peer-state").await.is_ok());

    // An identity that was put away opens nothing any more.
    fleet.members.identity = Identity::generate().unwrap();
    fleet.put_members().await;
    assert!(own.call(place, &fleet.beds[0].scope, "peer-state").await.is_err());
    fleet.all_alive().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_that_cannot_be_had_is_a_trouble_until_it_can() {
    let mut fleet = Fleet::of_strangers(2).await;
    let taken = address();
    let squatter = std::net::TcpListener::bind((taken, agent::members::PEER_PORT)).unwrap();
    fleet.members.hosts[1].address = taken;
    fleet.put_members().await;
    let seen = fleet.beds[1].until("it says why", |seen| !seen.troubles.is_empty()).await;
    let place = format!("the other hosts cannot reach this one at {taken}:7350: address already in use");
    assert!(seen.troubles.iter().any(|trouble| trouble.starts_with(&place)), "{:?}", seen.troubles);
    drop(squatter);
    fleet.all_alive().await;
    fleet.beds[1].until("the trouble is over", |seen| seen.troubles.is_empty()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hosts_that_look_at_each_other_hardly_use_the_machine() {
    // proves the bar: an agent idles under 30 MB and 0.5 % of a core
    let fleet = Fleet::of(3).await;
    let revision = fleet.revision(&service("one"), &[0, 1, 2]).await;
    assert_eq!(fleet.deploy(&revision, None).unwrap().outcome, Outcome::Succeeded);
    let usage = |bed: &Bed| observe::process::find(bed.agent_pid()).unwrap().unwrap();
    let before: Vec<_> = fleet.beds.iter().map(usage).collect();
    let began = Instant::now();
    eventually("time passes", || began.elapsed() > Duration::from_secs(10)).await;
    for (bed, before) in fleet.beds.iter().zip(before) {
        let after = usage(bed);
        let cpu = after.cpu.saturating_sub(before.cpu).as_secs_f64() / began.elapsed().as_secs_f64() * 100.0;
        let own = bed.agent_memory();
        println!("an agent of three, unoptimised: {} MiB of its own, {cpu:.2} % of a core", own >> 20);
        // The bar on CPU is that of an optimised agent, which `bench` measures.
        assert!(own < 30 << 20 && cpu < 5.0, "{own} bytes, {cpu:.2} %");
        assert!(ready(bed, &revision).await == 1);
    }
}

/// A stranger that speaks to a host.
struct Asker {
    name: rustls::pki_types::ServerName<'static>,
    config: std::sync::Arc<rustls::ClientConfig>,
}

impl Asker {
    fn new(of: &Identity, with: &Identity) -> Self {
        Self::with(of, Some(with))
    }

    fn with(of: &Identity, with: Option<&Identity>) -> Self {
        use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(of.authority.as_bytes()).unwrap()).unwrap();
        let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
        let builder = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let builder = builder.unwrap().with_root_certificates(roots);
        let config = match with {
            None => builder.with_no_client_auth(),
            Some(with) => {
                let chain = vec![CertificateDer::from_pem_slice(with.certificate.as_bytes()).unwrap()];
                let key = PrivateKeyDer::from_pem_slice(with.key.as_bytes()).unwrap();
                builder.with_client_auth_cert(chain, key).unwrap()
            }
        };
        Self { name: of.server_name().try_into().unwrap(), config: std::sync::Arc::new(config) }
    }

    async fn call(
        &self,
        place: (std::net::IpAddr, u16),
        scope: &agent::protocol::Scope,
        call: &str,
    ) -> std::io::Result<(u16, String)> {
        use tokio::io::AsyncReadExt;
        let asked = async {
            let stream = tokio::net::TcpStream::connect(place).await?;
            let connector = tokio_rustls::TlsConnector::from(self.config.clone());
            let mut stream = connector.connect(self.name.clone(), stream).await?;
            let scope = serde_json::to_string(scope)?;
            let body = format!("{{\"scope\":{scope},\"call\":{{\"call\":\"{call}\"}}}}");
            let head = "POST /v1/call HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: ";
            stream.write_all(format!("{head}{}\r\n\r\n{body}", body.len()).as_bytes()).await?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await?;
            let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
            Ok((status, answer))
        };
        tokio::time::timeout(DEADLINE, asked).await.unwrap()
    }
}
