//! Several hosts: what each asks the others for.

use super::*;
use crate::{
    members::{Identity, MemberHost, Members},
    membership::Peer,
};

/// The membership of host `me` of `a`, `b` and `c`; `ready`: how many instances of which service of which revision the
/// others have.
fn three(me: &str, ready: &[(&str, &Arc<Loaded>, &str, u32)]) -> Membership {
    let hosts: Vec<MemberHost> = ["a", "b", "c"]
        .iter()
        .zip(1..)
        .map(|(name, number)| MemberHost {
            name: (*name).to_owned(),
            address: [10, 0, 0, number].into(),
            drained: false,
        })
        .collect();
    let mut peers: Vec<Peer> = hosts
        .iter()
        .filter(|host| host.name != me)
        .map(|host| Peer {
            name: host.name.clone(),
            address: host.address,
            drained: false,
            alive: true,
            ready: BTreeMap::new(),
        })
        .collect();
    for (host, loaded, service, count) in ready {
        let peer = peers.iter_mut().find(|peer| peer.name == *host).unwrap();
        peer.ready.entry(loaded.revision.clone()).or_default().insert(service.parse().unwrap(), *count);
    }
    let identity = Identity::generate().unwrap();
    Membership { me: me.to_owned(), members: Members { changed_at: jiff::Timestamp::now(), hosts, identity }, peers }
}

fn shown(part: Part) -> String {
    let text = show(&plan(&[part]));
    // routes are the same on every host
    text.lines()
        .filter(|line| !line.contains(" -> ") && !line.contains("/site"))
        .fold(String::new(), |all, line| all + line + "\n")
}

#[test]
fn every_host_sends_visitors_to_the_instances_of_all_that_live() {
    let old = Loaded::of_text(SHOP, "live", 'a', &[]);
    let new = Loaded::of_text(SHOP, "live", 'b', &[]);
    let ready = [
        ("b", &old, "api", 2),
        ("b", &old, "mail", 1),
        ("c", &old, "api", 3),
        ("c", &new, "api", 1),
        ("b", &new, "mail", 0),
    ];
    let part_of = |change: &dyn Fn(&mut Membership)| {
        let instances = vec![
            instance(&old, "api", 1, InstanceState::Ready),
            instance(&new, "api", 2, InstanceState::Draining),
            instance(&new, "mail", 3, InstanceState::Ready),
        ];
        let mut part = part("live", &[(&old, 90), (&new, 10)], instances);
        part.internal.insert(old.revision.clone(), BTreeMap::from([("mail".parse().unwrap(), 32_000)]));
        let mut membership = three("a", &ready);
        change(&mut membership);
        part.membership = Some(Arc::new(membership));
        part
    };
    insta::assert_snapshot!(shown(part_of(&|_| {})), @r#"
    0.0.0.0:80
    127.0.0.1:32000
    pool shop/live/service.api, probe Some(Some("/health"))
      shop/live/api-a-1 127.0.0.1:20001 90 %
      shop/live/service.api@aaaaaaaaaaaa-000000000000@host@b 10.0.0.2:7351 90 %, 2 instances of shop/live/service.api@aaaaaaaaaaaa-000000000000@host
      shop/live/service.api@aaaaaaaaaaaa-000000000000@host@c 10.0.0.3:7351 90 %, 3 instances of shop/live/service.api@aaaaaaaaaaaa-000000000000@host
      shop/live/service.api@bbbbbbbbbbbb-000000000000@host@c 10.0.0.3:7351 10 %, 1 instances of shop/live/service.api@bbbbbbbbbbbb-000000000000@host
    pool shop/live/service.api@aaaaaaaaaaaa-000000000000@host, probe Some(Some("/health"))
      shop/live/api-a-1 127.0.0.1:20001 1 %
    pool shop/live/service.api@bbbbbbbbbbbb-000000000000@host, probe Some(Some("/health"))
    pool shop/live/service.mail@aaaaaaaaaaaa-000000000000, probe Some(None)
      shop/live/service.mail@aaaaaaaaaaaa-000000000000@host@b 10.0.0.2:7351 1 %, 1 instances of shop/live/service.mail@aaaaaaaaaaaa-000000000000@host
    pool shop/live/service.mail@aaaaaaaaaaaa-000000000000@host, probe Some(None)
    pool shop/live/service.mail@bbbbbbbbbbbb-000000000000@host, probe Some(None)
      shop/live/mail-b-3 127.0.0.1:20003 1 %
    "#);

    let made = plan(&[part_of(&|_| {})]);
    assert_eq!(made.doors[&scope("live")].to_string(), "10.0.0.1:7351");
    let (name, identity) = made.table.identities.first_key_value().unwrap();
    assert!(made.table.peer_listeners.contains(&made.doors[&scope("live")]));
    for id in &identity.exports {
        let pool = &made.table.pools[id];
        assert!(pool.upstreams.iter().all(|one| one.peer.is_none()) && pool.hold.is_zero(), "{id}: {pool:?}");
    }
    let asked = made.table.pools.values().flat_map(|pool| &pool.upstreams).filter_map(|one| one.peer.as_ref());
    assert!(asked.clone().count() > 0 && asked.clone().all(|peer| peer.identity == *name));
    // What one host asks for is what the other lets it ask for.
    let mut there = part_of(&|_| {});
    there.membership = Some(Arc::new(three("b", &[])));
    let there = plan(&[there]);
    let exports = &there.table.identities.first_key_value().unwrap().1.exports;
    assert!(asked.clone().all(|peer| exports.contains(&peer.pool)), "{exports:?}");
    let shown = format!("{made:?}");
    assert!(!shown.contains("PRIVATE KEY") && !shown.contains(&identity.key), "no key is shown");

    for change in
        [(|membership: &mut Membership| membership.peers[1].alive = false) as fn(&mut Membership), |membership| {
            membership.peers[1].drained = true;
        }]
    {
        let made = plan(&[part_of(&change)]);
        let upstreams: Vec<&str> =
            made.table.pools["shop/live/service.api"].upstreams.iter().map(|one| one.id.as_str()).collect();
        assert_eq!(upstreams, ["shop/live/api-a-1", "shop/live/service.api@aaaaaaaaaaaa-000000000000@host@b"]);
    }
    // A host that left asks nobody and is asked by nobody.
    let made = plan(&[part_of(&|membership| membership.me = "d".to_owned())]);
    assert!(made.table.identities.is_empty() && made.table.peer_listeners.is_empty() && made.doors.is_empty());
    assert!(made.table.pools.values().flat_map(|pool| &pool.upstreams).all(|one| one.peer.is_none()));
}

#[test]
fn a_drained_host_passes_on_the_visitors_that_still_come_to_it() {
    let only = Loaded::of_text(SHOP, "live", 'a', &[]);
    let mut part = part("live", &[(&only, 100)], vec![]);
    let mut membership = three("a", &[("b", &only, "api", 2)]);
    membership.members.hosts[0].drained = true;
    part.membership = Some(Arc::new(membership));
    let made = plan(&[part]);
    let upstreams = &made.table.pools["shop/live/service.api"].upstreams;
    assert_eq!(upstreams.len(), 1);
    assert_eq!((upstreams[0].address.to_string().as_str(), upstreams[0].weight), ("10.0.0.2:7351", 100));
}

#[test]
fn shares_by_host_are_made_of_whole_hosts() {
    let old = Loaded::of_text(SHOP, "live", 'a', &[]);
    let new = Loaded::of_text(SHOP, "live", 'b', &[]);
    let seen = |percent: u8, me: &str, change: &dyn Fn(&mut Membership, &mut Desired)| {
        let mut part = part("live", &[(&old, 100 - percent), (&new, percent)], vec![]);
        part.desired.by_host = true;
        part.desired.schedules = Some(old.revision.clone());
        let mut membership = three(me, &[]);
        change(&mut membership, &mut part.desired);
        part.membership = Some(Arc::new(membership));
        let shares = peers::shares(&part.desired, part.membership.as_deref());
        let of = |loaded: &Arc<Loaded>| shares.get(&loaded.revision).copied().unwrap_or_default();
        let made = plan(&[part]);
        assert_eq!(
            made.serving[&scope("live")].get(&new.revision).copied().unwrap_or_default(),
            percent,
            "as it was asked"
        );
        let roots = &made.table.sites["shop/live/site.web"].roots;
        let of_new = roots.iter().find(|root| root.revision == new.revision.to_string()).map_or(0, |root| root.weight);
        assert_eq!(of_new, u32::from(of(&new)), "files follow");
        (of(&old), of(&new))
    };
    let plain = |_: &mut Membership, _: &mut Desired| {};
    for (percent, hosts) in [(0, 0), (1, 1), (25, 1), (33, 1), (34, 2), (66, 2), (67, 3), (100, 3)] {
        let on_new = ["a", "b", "c"].iter().filter(|me| seen(percent, me, &plain).1 > 0).count();
        assert_eq!(on_new, hosts, "{percent} % of three hosts");
    }
    assert_eq!(seen(34, "b", &plain), (0, 100));
    assert_eq!(seen(34, "c", &plain), (66, 0), "the old one alone has a share");
    let drained = |membership: &mut Membership, _: &mut Desired| membership.members.hosts[0].drained = true;
    assert_eq!(seen(34, "a", &drained), (66, 34), "a host without instances splits");
    assert_eq!(seen(34, "b", &drained), (0, 100), "one of the two that run");
    assert_eq!(seen(34, "c", &drained), (66, 0));
    assert_eq!(seen(34, "b", &|_, desired| desired.schedules = None), (66, 34), "nobody knows which is newer");
    assert_eq!(seen(34, "b", &|_, desired| desired.by_host = false), (66, 34));
}
