//! `buckets.json` of one environment: where its buckets are reached, and the keys that open them.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use stack::ResourceName;

use crate::{
    error::Error,
    files,
    members::Identity,
    ports::{self, Port, Ports},
};

/// Ports that the hosts of an environment agree on without asking each other: the first and how many, below those of
/// data services.
const AGREED: (u16, u16) = (14_000, 2_000);

/// What signs requests. Has no `Debug`: it must not be printed by accident.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Keys {
    /// Told with each request.
    pub(crate) access: String,
    /// Told to nobody.
    pub(crate) secret: String,
}

/// What outlives the agent.
#[derive(Clone, Serialize, Deserialize)]
struct Kept {
    /// For programs of this host.
    port: u16,
    keys: Keys,
    /// For visitors, by bucket: every request there is for that one.
    #[serde(default)]
    routes: BTreeMap<ResourceName, u16>,
}

/// The book, open.
#[derive(Default)]
pub(super) struct Book {
    path: PathBuf,
    kept: Option<Kept>,
    held: BTreeMap<u16, Port>,
}

impl Keys {
    fn new() -> Self {
        let digits = format!("{:032X}", rand::random::<u128>());
        Self { access: format!("SLIP{}", &digits[..16]), secret: secrets::generate(0).expose().to_owned() }
    }

    /// Those of an environment of many hosts: each host knows them without being told.
    pub(super) fn of(identity: &Identity) -> Self {
        let derive = |context| blake3::Hash::from(blake3::derive_key(context, identity.secret.as_bytes())).to_hex();
        let access = derive("slipway 2026 access key of buckets").to_uppercase();
        Self {
            access: format!("SLIP{}", &access[..16]),
            secret: derive("slipway 2026 secret key of buckets").to_string(),
        }
    }
}

/// The port at which the hosts of an environment reach `what` of each other.
pub(super) fn agreed_port(identity: &Identity, what: &str) -> u16 {
    let key = blake3::derive_key("slipway 2026 ports of buckets", identity.secret.as_bytes());
    let hash = blake3::keyed_hash(&key, what.as_bytes());
    let [first, second, ..] = *hash.as_bytes();
    AGREED.0 + u16::from_be_bytes([first, second]) % AGREED.1
}

impl Book {
    /// Reads the book in an environment's folder; without one it is empty.
    pub(super) fn open(folder: &Path) -> Result<Self, Error> {
        let path = folder.join("buckets.json");
        let kept = files::find_json(&path, "restore it from a backup, or remove it and deploy again")?;
        Ok(Self { path, kept, held: BTreeMap::new() })
    }

    /// Keeps the ports from being given out to others.
    pub(super) fn keep(&mut self, ports: &Ports) {
        let numbers = self.kept.iter().flat_map(|kept| std::iter::once(kept.port).chain(kept.routes.values().copied()));
        self.held = numbers.map(|number| (number, ports.keep(number))).collect();
    }

    /// Port and keys for programs, once there were any.
    pub(super) fn find(&self) -> Option<(u16, Keys)> {
        self.kept.as_ref().map(|kept| (kept.port, kept.keys.clone()))
    }

    /// Ports for visitors.
    pub(super) fn routes(&self) -> BTreeMap<ResourceName, u16> {
        self.kept.as_ref().map(|kept| kept.routes.clone()).unwrap_or_default()
    }

    /// Gives out a port and keys unless there are, and a port for each of `routed`. Durable when it returns.
    pub(super) fn enter(&mut self, routed: &[ResourceName], ports: &Ports) -> Result<(), Error> {
        let lacking: Vec<&ResourceName> = match &self.kept {
            Some(kept) => routed.iter().filter(|name| !kept.routes.contains_key(*name)).collect(),
            None => routed.iter().collect(),
        };
        if self.kept.is_some() && lacking.is_empty() {
            return Ok(());
        }
        let mut taken = Vec::new();
        let mut take = || -> Result<u16, Error> {
            let port = ports.take(ports::INSTANCES)?;
            let number = port.number();
            taken.push(port);
            Ok(number)
        };
        let mut kept = match &self.kept {
            Some(kept) => kept.clone(),
            None => Kept { port: take()?, keys: Keys::new(), routes: BTreeMap::new() },
        };
        for name in lacking {
            kept.routes.insert(name.clone(), take()?);
        }
        // Only what is on disk becomes true.
        files::replace_json(&self.path, &kept)?;
        self.kept = Some(kept);
        self.held.extend(taken.into_iter().map(|port| (port.number(), port)));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_and_ports_stay_and_are_for_the_owner_alone() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let ports = Ports::default();
        let names = |names: &[&str]| names.iter().map(|name| name.parse().unwrap()).collect::<Vec<ResourceName>>();
        let mut book = Book::open(folder.path()).unwrap();
        assert!(book.find().is_none());
        book.enter(&names(&["assets"]), &ports).unwrap();
        let (port, keys) = book.find().unwrap();
        let assets = book.routes()[&names(&["assets"])[0]];
        let mut again = Book::open(folder.path()).unwrap();
        again.keep(&ports);
        again.enter(&names(&["assets", "files"]), &ports).unwrap();
        assert!(again.find().unwrap() == (port, keys.clone()) && again.routes().values().any(|port| *port == assets));
        assert_eq!(again.routes().len(), 2);
        assert!(keys.access.len() == 20 && keys.secret.len() >= 43);
        let mode = std::fs::metadata(folder.path().join("buckets.json")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}
