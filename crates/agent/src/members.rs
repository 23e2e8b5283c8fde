//! The hosts of one environment, and how they know each other (docs/adr/0006-many-hosts.md).

use std::{fmt, net::IpAddr, path::Path};

use jiff::Timestamp;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
};
use serde::{Deserialize, Serialize};

use crate::{error::Error, files};

/// Where an agent answers its peers, on the host's private address: TLS, certificates on both sides.
pub const PEER_PORT: u16 = 7350;
/// Where an edge takes visitors from the edges of its peers, on the host's private address: TLS, certificates on both
/// sides.
pub const EDGE_PORT: u16 = 7351;
/// Where the host that keeps an environment's data lets its peers reach them: buckets, and servers of databases, caches
/// and queues. Which port is whose follows from the environment's identity.
pub const DATA_PORTS: std::ops::RangeInclusive<u16> = 14_000..=19_999;

/// The hosts of one environment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Members {
    /// The newest list wins.
    pub changed_at: Timestamp,
    /// In order: what must be once is on the first that lives, or, with data, on the first that is not drained.
    pub hosts: Vec<MemberHost>,
    /// How they know each other.
    pub identity: Identity,
}

/// One host of an environment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberHost {
    /// As in `a.example.org`: unique in the environment.
    pub name: String,
    /// Where its peers reach it: an address of a network that only they share, if there is one.
    pub address: IpAddr,
    /// No instances are to run on it, and no visitors are sent to it.
    pub drained: bool,
}

/// What the hosts of one environment share and nobody else has. Its `Debug` shows no keys.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// 64 hexadecimal digits: keys for ids of values and passwords are derived from it.
    pub secret: String,
    /// The certificate authority, PEM.
    pub authority: String,
    /// The certificate every host shows, signed by the authority, PEM.
    pub certificate: String,
    /// Its private key, PEM.
    pub key: String,
}

impl Identity {
    /// An identity that nobody has: the authority's own key is forgotten, so that it never signs a second certificate.
    /// The certificates do not expire, and clocks that are wrong are no matter.
    pub fn generate() -> Result<Self, Error> {
        let secret = blake3::Hash::from_bytes(rand::random()).to_hex().to_string();
        Self::of(secret).map_err(|error| Error::failed(format!("cannot make the identity of an environment: {error}")))
    }

    fn of(secret: String) -> Result<Self, rcgen::Error> {
        let name = server_name(&secret);
        let authority_key = KeyPair::generate()?;
        let mut authority = CertificateParams::default();
        authority.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        authority.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        authority.distinguished_name.push(DnType::CommonName, format!("authority of {name}"));
        let key = KeyPair::generate()?;
        let mut certificate = CertificateParams::new([name.clone()])?;
        certificate.distinguished_name.push(DnType::CommonName, name);
        certificate.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        certificate.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let authority_pem = authority.self_signed(&authority_key)?.pem();
        let certificate = certificate.signed_by(&key, &Issuer::new(authority, authority_key))?;
        Ok(Self { secret, authority: authority_pem, certificate: certificate.pem(), key: key.serialize_pem() })
    }

    /// The DNS name in the certificate, one of its own for each identity: a peer asks for it as the server's name, and
    /// a listener chooses the environment by it. It tells nothing about the environment.
    pub fn server_name(&self) -> String {
        server_name(&self.secret)
    }
}

fn server_name(secret: &str) -> String {
    let digest =
        blake3::Hasher::new_derive_key("slipway 2026 name of an identity").update(secret.as_bytes()).finalize();
    format!("{}.slipway.internal", &digest.to_hex()[..32])
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").field("server_name", &self.server_name()).finish_non_exhaustive()
    }
}

/// `members.json` of one environment on one host.
#[derive(Serialize, Deserialize)]
pub(crate) struct Kept {
    /// This host's name in the list.
    pub(crate) me: String,
    /// The list.
    pub(crate) members: Members,
}

impl Kept {
    /// What an environment's folder holds.
    pub(crate) fn find(folder: &Path) -> Result<Option<Self>, Error> {
        files::find_json(&folder.join("members.json"), "remove it and deploy again")
    }

    /// Writes it, for the agent's user alone; durable before it returns.
    pub(crate) fn keep(&self, folder: &Path) -> Result<(), Error> {
        files::replace_json(&folder.join("members.json"), self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_identities_share_nothing_and_no_key_is_shown() {
        let (one, other) = (Identity::generate().unwrap(), Identity::generate().unwrap());
        assert_ne!(one.server_name(), other.server_name());
        assert_ne!(one.authority, other.authority);
        assert_eq!(one.secret.len(), 64);
        let shown = format!("{one:?}");
        assert!(!shown.contains(&one.secret) && !shown.contains("PRIVATE"), "{shown}");
    }
}
