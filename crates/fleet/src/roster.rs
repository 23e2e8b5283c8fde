//! Tells the hosts of an environment of each other: one list, one identity (docs/adr/0006-many-hosts.md).

use agent::{
    asks::unexpected,
    members::{Identity, MemberHost, Members},
    protocol::{Call, Reply, Scope},
};
use engine::target::TargetError;
use futures_util::future::join_all;
use jiff::{SignedDuration, Timestamp};
use stack::{Problem, Problems};

use crate::host::Host;

/// What the hosts know, newest first; those that do not answer know nothing.
pub(crate) async fn known(hosts: &[Host], scope: &Scope) -> Result<Vec<Option<Members>>, TargetError> {
    let asked = hosts.iter().map(|host| async move {
        match host.ask(|client| async move { client.call(Some(scope), Call::Members).await }).await {
            Ok(Reply::Members { members, .. }) => Ok(members.map(|members| *members)),
            Ok(other) => Err(unexpected(&other)),
            Err(TargetError::Unreachable { .. }) => Ok(None),
            // what it does not understand is told as its version
            Err(_) if host.way.as_ref().is_ok_and(|reached| reached.version != env!("CARGO_PKG_VERSION")) => Ok(None),
            Err(error) => Err(error),
        }
    });
    join_all(asked).await.into_iter().collect()
}

/// The list that every host should hold, or which hosts belong to somebody else's environment of this name.
pub(crate) fn agree(
    hosts: &[Host],
    known: &[Option<Members>],
    scope: &Scope,
    now: Timestamp,
) -> Result<Option<Members>, Problems> {
    let lists = || known.iter().flatten();
    // the identity that most hosts have; of equals, the one whose list is newer
    let count = |secret: &str| lists().filter(|list| list.identity.secret == secret).count();
    let ours = lists().max_by_key(|list| (count(&list.identity.secret), list.changed_at));
    if let Some(ours) = ours {
        let problems = foreign(hosts, known, ours, scope);
        if problems.has_errors() {
            return Err(problems);
        }
    }
    let newest = lists().max_by_key(|list| list.changed_at);
    let before = |name: &str| newest.and_then(|list| list.hosts.iter().find(|host| host.name == name));
    let mut wanted = Vec::new();
    for host in hosts {
        let told = host.way.as_ref().ok().and_then(|reached| reached.address);
        let before = before(&host.name);
        let Some(address) = told.or(before.map(|before| before.address)) else { return Ok(None) };
        let drained = before.is_some_and(|before| before.drained);
        wanted.push(MemberHost { name: host.name.clone(), address, drained });
    }
    let Some(newest) = newest else {
        let Ok(identity) = Identity::generate() else { return Ok(None) };
        return Ok(Some(Members { changed_at: now, hosts: wanted, identity }));
    };
    if newest.hosts == wanted {
        return Ok(Some(newest.clone()));
    }
    let later = newest.changed_at.checked_add(SignedDuration::from_micros(1)).unwrap_or(now);
    Ok(Some(Members { changed_at: now.max(later), hosts: wanted, identity: newest.identity.clone() }))
}

/// Hosts of the present list that do not answer, when the list is about to change and those that answer are not more than
/// half of it: what was decided last may be known to the others only.
pub(crate) fn unheard(hosts: &[Host], known: &[Option<Members>]) -> Vec<String> {
    let Some(list) = known.iter().flatten().max_by_key(|list| list.changed_at) else { return Vec::new() };
    let same =
        list.hosts.len() == hosts.len() && list.hosts.iter().all(|old| hosts.iter().any(|host| host.name == old.name));
    let answers = |name: &str| hosts.iter().any(|host| host.name == name && host.way.is_ok());
    // one that is taken out on purpose is not missed
    let listed = list.hosts.iter().filter(|old| hosts.iter().any(|host| host.name == old.name));
    let silent: Vec<String> = listed.filter(|old| !answers(&old.name)).map(|old| old.name.clone()).collect();
    let heard = list.hosts.iter().filter(|old| answers(&old.name)).count();
    if same || heard * 2 > list.hosts.len() { Vec::new() } else { silent }
}

fn foreign(hosts: &[Host], known: &[Option<Members>], ours: &Members, scope: &Scope) -> Problems {
    let mut problems = Problems::new();
    for (host, list) in hosts.iter().zip(known) {
        let Some(list) = list.as_ref().filter(|list| list.identity.secret != ours.identity.secret) else { continue };
        let others: Vec<&str> =
            list.hosts.iter().map(|host| host.name.as_str()).filter(|name| *name != host.name).collect();
        let with = if others.is_empty() { "alone".to_owned() } else { format!("with {}", others.join(", ")) };
        problems.push(
            Problem::error(
                "host-foreign",
                format!("environment.{}.hosts", scope.environment),
                format!("{} belongs to another fleet of {scope}, {with}", host.name),
            )
            .with_mend(format!(
                "take it out of that fleet first with `slipway host remove {}`, or out of `hosts`",
                host.destination
            )),
        );
    }
    problems
}

/// Gives every host that answers the list, unless it has it.
pub(crate) async fn spread(
    hosts: &[Host],
    known: &[Option<Members>],
    scope: &Scope,
    members: &Members,
) -> Result<(), TargetError> {
    let told =
        hosts.iter().zip(known).filter(|(_, known)| known.as_ref() != Some(members)).map(|(host, _)| async move {
            if host.client().is_none() {
                return Ok(());
            }
            let call = Call::PutMembers { me: host.name.clone(), members: Box::new(members.clone()) };
            match host.ask(|client| async move { client.call(Some(scope), call).await }).await? {
                Reply::Done => Ok(()),
                other => Err(unexpected(&other)),
            }
        });
    join_all(told).await.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::{Reached, Unusable};

    fn host(name: &str, address: Option<&str>) -> Host {
        let way = match address {
            Some(address) => Ok(Reached {
                client: agent::Client::over("/nowhere".into(), name.to_owned()),
                ssh: None,
                version: "1".to_owned(),
                address: Some(address.parse().expect("an address")),
                load: None,
            }),
            None => Err(Unusable::Unreachable("dead".to_owned())),
        };
        Host::new(name.to_owned(), format!("deploy@{name}"), way)
    }

    fn scope() -> Scope {
        Scope { app: "shop".parse().expect("a name"), environment: "live".parse().expect("a name") }
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).expect("a time")
    }

    #[test]
    fn the_first_contact_makes_an_identity_and_later_ones_keep_it() {
        let hosts = [host("a", Some("10.0.0.1")), host("b", Some("10.0.0.2"))];
        let first = agree(&hosts, &[None, None], &scope(), at(5)).expect("no problem").expect("a list");
        assert_eq!(first.hosts.iter().map(|host| host.name.as_str()).collect::<Vec<_>>(), ["a", "b"]);
        let known = [Some(first.clone()), None];
        assert!(agree(&hosts, &known, &scope(), at(9)).expect("no problem") == Some(first.clone()));
        // a third host, in front
        let more = [host("c", Some("10.0.0.3")), hosts[0].clone(), hosts[1].clone()];
        let known = [None, Some(first.clone()), Some(first.clone())];
        let second = agree(&more, &known, &scope(), at(4)).expect("no problem").expect("a list");
        assert!(second.changed_at > first.changed_at && second.identity == first.identity);
        assert_eq!(second.hosts[0].name, "c");
    }

    #[test]
    fn a_drained_host_stays_drained_and_a_dead_one_keeps_its_address() {
        let hosts = [host("a", Some("10.0.0.1")), host("b", Some("10.0.0.2"))];
        let mut list = agree(&hosts, &[None, None], &scope(), at(5)).expect("no problem").expect("a list");
        list.hosts[1].drained = true;
        let hosts = [host("a", Some("10.0.0.1")), host("b", None)];
        assert!(agree(&hosts, &[Some(list.clone()), None], &scope(), at(9)).expect("no problem") == Some(list));
    }

    #[test]
    fn the_list_changes_only_while_most_of_the_old_one_answer() {
        let old = [host("a", Some("10.0.0.1")), host("b", Some("10.0.0.2")), host("c", Some("10.0.0.3"))];
        let list = agree(&old, &[None, None, None], &scope(), at(5)).expect("no problem");
        let grown = |b, c| {
            let new = [host("d", Some("10.0.0.4")), host("e", Some("10.0.0.5"))];
            [&[old[0].clone(), host("b", b), host("c", c)][..], &new].concat()
        };
        let known = [list.clone(), None, None, None, None];
        assert_eq!(unheard(&grown(None, None), &known), ["b", "c"]);
        assert_eq!(unheard(&grown(Some("10.0.0.2"), None), &known), Vec::<String>::new());
        // a list that stays as it is is the group's own matter
        assert_eq!(unheard(&[old[0].clone(), host("b", None), host("c", None)], &known[..3]), Vec::<String>::new());
    }

    #[test]
    fn a_host_of_another_fleet_is_named_with_its_mend() {
        let hosts = [host("a", Some("10.0.0.1")), host("b", Some("10.0.0.2")), host("x", Some("10.0.0.9"))];
        let ours = agree(&hosts[..2], &[None, None], &scope(), at(5)).expect("no problem");
        let other = agree(&hosts[2..], &[None], &scope(), at(7)).expect("no problem");
        let problems = agree(&hosts, &[ours.clone(), ours, other], &scope(), at(9)).expect_err("a foreign host");
        let text = problems.to_string();
        assert!(
            text.contains("x belongs to another fleet of shop/live, alone")
                && text.contains("slipway host remove deploy@x"),
            "{text}"
        );
    }
}
