//! The link between edges of the hosts of one environment: TLS, certificates of one identity on both sides.
//!
//! | header | from | says |
//! |---|---|---|
//! | `Slipway-Pool` | the asking edge | the exported pool that is to answer; `check POOL` asks only whether it could |
//! | `Slipway-Peer` | the answering edge | this answer is its own: [`UNSENT`] or [`BROKE`] |
//!
//! Both mean something on such a connection only, and neither leaves it.

use std::{io, sync::Arc, time::Duration};

use http::{HeaderName, HeaderValue};
use rustls::{
    ClientConfig, RootCertStore, ServerConfig,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
    server::WebPkiClientVerifier,
    version::TLS13,
};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};

use crate::{
    table,
    upstream::UNACKNOWLEDGED,
    way::{Line, Way},
};

/// Which pool is asked for.
pub(crate) const POOL: HeaderName = HeaderName::from_static("slipway-pool");
/// Begins the value of [`POOL`] when nothing is to be passed on.
pub(crate) const CHECK: &str = "check ";
/// Why a peer answers itself.
pub(crate) const PEER: HeaderName = HeaderName::from_static("slipway-peer");
/// No instance took the request: another host may be asked, whatever the request is.
pub(crate) const UNSENT: HeaderValue = HeaderValue::from_static("unsent");
/// An instance took the request and broke off: another host may be asked if the request may be repeated.
pub(crate) const BROKE: HeaderValue = HeaderValue::from_static("broke");

/// A host of the same network that does not shake hands in this time is not there.
const HANDSHAKE: Duration = Duration::from_secs(2);

/// How certificates are shown and checked.
pub(crate) struct Identity {
    document: table::Identity,
    name: ServerName<'static>,
    client: TlsConnector,
    server: Arc<ServerConfig>,
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Identity").field(&self.name).finish()
    }
}

impl Identity {
    /// Reads certificates and key, or says what is wrong with them.
    pub(crate) fn new(name: &str, document: &table::Identity) -> Result<Self, String> {
        let server_name = ServerName::try_from(name.to_owned())
            .map_err(|_| "its name is not a DNS name: name it as in `production.shop`".to_owned())?;
        let chain = certificates("certificate", &document.certificate)?;
        let key = PrivateKeyDer::from_pem_slice(document.key.as_bytes())
            .map_err(|error| format!("its `key` is not a private key in PEM: {error}"))?;
        let mut roots = RootCertStore::empty();
        for authority in certificates("authority", &document.authority)? {
            roots.add(authority).map_err(|error| format!("its `authority` cannot be used: {error}"))?;
        }
        let (roots, provider) = (Arc::new(roots), Arc::new(ring::default_provider()));
        let unusable = |error: &dyn std::fmt::Display| format!("its certificates cannot be used: {error}");
        let peers = WebPkiClientVerifier::builder_with_provider(Arc::clone(&roots), Arc::clone(&provider))
            .build()
            .map_err(|error| unusable(&error))?;
        let server = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&[&TLS13])
            .map_err(|error| unusable(&error))?
            .with_client_cert_verifier(peers)
            .with_single_cert(chain.clone(), key.clone_key())
            .map_err(|error| unusable(&error))?;
        let client = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&TLS13])
            .map_err(|error| unusable(&error))?
            .with_root_certificates(roots)
            .with_client_auth_cert(chain, key)
            .map_err(|error| unusable(&error))?;
        Ok(Self {
            document: document.clone(),
            name: server_name,
            client: TlsConnector::from(Arc::new(client)),
            server: Arc::new(server),
        })
    }

    /// Whether it has these certificates and this key.
    pub(crate) fn is_of(&self, document: &table::Identity) -> bool {
        let table::Identity { authority, certificate, key, exports: _ } = document;
        self.document.authority == *authority && self.document.certificate == *certificate && self.document.key == *key
    }

    /// Whether both stand for the same.
    pub(crate) fn is_same(self: &Arc<Self>, other: &Arc<Self>) -> bool {
        Arc::ptr_eq(self, other) || (self.name == other.name && self.is_of(&other.document))
    }

    /// Shakes hands with the edge at the other end.
    pub(crate) async fn secure(&self, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        let handshake = self.client.connect(self.name.clone(), stream);
        tokio::time::timeout(HANDSHAKE, handshake).await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
    }

    /// How connections of peers are taken.
    pub(crate) fn server(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.server)
    }
}

fn certificates(what: &str, text: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text.as_bytes()).collect();
    match found {
        Ok(found) if !found.is_empty() => Ok(found),
        Ok(_) => Err(format!("its `{what}` has no certificate in PEM")),
        Err(error) => Err(format!("its `{what}` is not a certificate in PEM: {error}")),
    }
}

/// A pool of another host.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) way: Arc<Way>,
    /// Value of [`POOL`].
    pub(crate) pool: HeaderValue,
}

impl Link {
    /// `None`: the pool's name cannot be a header's value.
    pub(crate) fn new(way: &Arc<Way>, pool: &str) -> Option<Self> {
        Some(Self { way: Arc::clone(way), pool: HeaderValue::from_str(pool).ok()? })
    }

    /// Whether both lead to the same pool by the same way.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        self.pool == other.pool && Arc::ptr_eq(&self.way, &other.way)
    }

    /// Shakes hands with the edge at the other end. The connection breaks off when its host is lost.
    pub(crate) async fn secure(&self, stream: TcpStream) -> io::Result<Line<TlsStream<TcpStream>>> {
        stream.set_nodelay(true)?;
        watch(&stream)?;
        Ok(self.way.enter(self.way.identity().secure(stream).await?))
    }
}

/// The [`way`](crate::way) finds out that the host is gone. A firewall between may still have forgotten this one
/// connection: then it ends as one to an instance of this host would.
fn watch(stream: &TcpStream) -> io::Result<()> {
    let socket = socket2::SockRef::from(stream);
    let alive = socket2::TcpKeepalive::new().with_time(UNACKNOWLEDGED / 3).with_interval(UNACKNOWLEDGED / 6);
    socket.set_tcp_keepalive(&alive.with_retries(3))?;
    socket.set_tcp_user_timeout(Some(UNACKNOWLEDGED))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_with_an_identity_is_said_and_keys_never_are() {
        let document = table::Identity {
            authority: "none".to_owned(),
            certificate: "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n".to_owned(),
            key: "THE-KEY".to_owned(),
            exports: ["pool".to_owned()].into(),
        };
        assert!(!format!("{document:?}").contains("THE-KEY"), "{document:?}");
        for (name, certificate, says) in [
            ("not a name", "", "is not a DNS name"),
            ("live.shop", "", "its `certificate` has no certificate in PEM"),
            ("live.shop", &document.certificate, "its `certificate` is not a certificate in PEM"),
        ] {
            let document = table::Identity { certificate: certificate.to_owned(), ..document.clone() };
            let wrong = Identity::new(name, &document).unwrap_err();
            assert!(wrong.contains(says) && !wrong.contains("THE-KEY"), "{wrong}");
        }
    }
}
