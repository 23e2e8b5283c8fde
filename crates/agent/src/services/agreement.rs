//! On several hosts one keeps the data, and all agree on where it is and with which password, without telling each
//! other: both follow from what they share.

use std::{net::IpAddr, ops::RangeInclusive};

use stack::ResourceRef;

use crate::{environment::Environment, membership::Membership};

/// Ports of servers that other hosts reach: below those of instances, above what people choose.
pub(super) const PORTS: RangeInclusive<u16> = 16_000..=19_999;

/// What the hosts of an environment agree on about its servers. Has no `Debug`: it holds a key.
pub(crate) struct Agreement {
    secret: String,
    /// This host's name.
    pub(super) me: String,
    /// The host with the data.
    pub(super) keeper: String,
    /// Where the others reach it.
    pub(super) address: IpAddr,
    /// The others.
    pub(super) others: Vec<IpAddr>,
}

impl Agreement {
    /// `None`: the environment is on one host that shares nothing with anybody.
    pub(crate) fn of(environment: &Environment) -> Option<Self> {
        Self::in_membership(environment.membership()?.as_ref())
    }

    fn in_membership(membership: &Membership) -> Option<Self> {
        let hosts = &membership.members.hosts;
        // When all are drained the data stay where they would be first.
        let keeper = membership.data_host().or(hosts.first())?;
        Some(Self {
            secret: membership.members.identity.secret.clone(),
            me: membership.me.clone(),
            keeper: keeper.name.clone(),
            address: keeper.address,
            others: hosts.iter().filter(|host| host.name != keeper.name).map(|host| host.address).collect(),
        })
    }

    /// Whether this host keeps the data.
    pub(crate) fn is_here(&self) -> bool {
        self.me == self.keeper
    }

    /// A server's password.
    pub(super) fn password(&self, name: &ResourceRef) -> String {
        self.derive("slipway 2026 password of a data service", name).to_hex().to_string()
    }

    /// Where a server listens, on the address of the host that keeps the data.
    pub(super) fn port(&self, name: &ResourceRef) -> u16 {
        let digest = self.derive("slipway 2026 port of a data service", name);
        let [first, second, ..] = *digest.as_bytes();
        let size = PORTS.end() - PORTS.start() + 1;
        PORTS.start() + u16::from_be_bytes([first, second]) % size
    }

    /// Tells two agreements about a server apart, and nothing else.
    pub(super) fn mark(&self, name: &ResourceRef) -> String {
        self.derive("slipway 2026 mark of a data service", name).to_hex()[..16].to_owned()
    }

    fn derive(&self, purpose: &'static str, name: &ResourceRef) -> blake3::Hash {
        let mut hasher = blake3::Hasher::new_derive_key(purpose);
        hasher.update(self.secret.as_bytes()).update(name.to_string().as_bytes());
        hasher.finalize()
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::members::{Identity, MemberHost, Members};

    /// Of hosts `a`, `b` and `c`, as `me` sees it.
    pub(in crate::services) fn three(identity: &Identity, me: &str, drained: &[&str]) -> Agreement {
        let host = |(name, number): (&str, u8)| MemberHost {
            name: name.to_owned(),
            address: [10, 0, 0, number].into(),
            drained: drained.contains(&name),
        };
        let hosts = [("a", 1), ("b", 2), ("c", 3)].map(host).to_vec();
        let members = Members { changed_at: jiff::Timestamp::now(), hosts, identity: identity.clone() };
        Agreement::in_membership(&Membership { me: me.to_owned(), members, peers: Vec::new() }).unwrap()
    }

    #[test]
    fn all_hosts_come_to_the_same_and_others_do_not() {
        let (identity, other) = (Identity::generate().unwrap(), Identity::generate().unwrap());
        let names: [ResourceRef; 3] =
            ["database.main", "database.other", "cache.main"].map(|name| name.parse().unwrap());
        let all = |identity: &Identity, me: &str| {
            let agreement = three(identity, me, &[]);
            names.clone().map(|name| (agreement.password(&name), agreement.port(&name), agreement.mark(&name)))
        };
        assert_eq!(all(&identity, "a"), all(&identity, "c"));
        let passwords: std::collections::BTreeSet<String> =
            all(&identity, "a").into_iter().chain(all(&other, "a")).map(|(password, ..)| password).collect();
        assert_eq!(passwords.len(), 6);
        assert!(all(&identity, "a").iter().all(|(password, port, _)| password.len() == 64 && PORTS.contains(port)));
        assert!(!all(&identity, "a").iter().any(|(password, _, mark)| password.contains(mark.as_str())));
    }

    #[test]
    fn the_first_host_that_is_not_drained_keeps_the_data() {
        let identity = Identity::generate().unwrap();
        let agreement = three(&identity, "b", &[]);
        assert!(!agreement.is_here() && agreement.address.to_string() == "10.0.0.1");
        assert_eq!(agreement.others, ["10.0.0.2".parse::<IpAddr>().unwrap(), "10.0.0.3".parse().unwrap()]);
        assert!(three(&identity, "b", &["a"]).is_here());
        assert!(three(&identity, "a", &["a", "b", "c"]).is_here(), "they stay");
    }
}
