//! TLS with certificates on both sides, made from an environment's identity.

use std::sync::{Arc, LazyLock};

use rustls::{
    ClientConfig, RootCertStore, ServerConfig,
    crypto::{CryptoProvider, ring},
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
    server::WebPkiClientVerifier,
    version::TLS13,
};

use crate::{error::Error, members::Identity};

static PROVIDER: LazyLock<Arc<CryptoProvider>> = LazyLock::new(|| Arc::new(ring::default_provider()));

/// What a host needs to call its peers and to answer them.
pub(crate) struct Keys {
    identity: Identity,
    /// The identity's name: asked for by who calls, and how who answers finds the environment.
    pub(super) name: String,
    /// The same, for TLS.
    pub(super) server_name: ServerName<'static>,
    /// To call.
    pub(super) client: Arc<ClientConfig>,
    /// To answer those that have a certificate of the same authority.
    pub(super) server: Arc<ServerConfig>,
}

impl Keys {
    /// Reads an identity. Fails when it is none.
    pub(crate) fn of(identity: &Identity) -> Result<Self, Error> {
        Self::read(identity).map_err(|reason| {
            Error::failed(format!("the identity of the environment's hosts is of no use: {reason}; deploy again"))
        })
    }

    /// Whether they were made from this identity.
    pub(super) fn is_of(&self, identity: &Identity) -> bool {
        self.identity == *identity
    }

    fn read(identity: &Identity) -> Result<Self, String> {
        let name = identity.server_name();
        let server_name = ServerName::try_from(name.clone()).map_err(plain)?;
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(identity.authority.as_bytes()).map_err(plain)?).map_err(plain)?;
        let roots = Arc::new(roots);
        let chain = vec![CertificateDer::from_pem_slice(identity.certificate.as_bytes()).map_err(plain)?];
        let key = PrivateKeyDer::from_pem_slice(identity.key.as_bytes()).map_err(plain)?;
        let verifier = WebPkiClientVerifier::builder_with_provider(roots.clone(), PROVIDER.clone()).build();
        let server = ServerConfig::builder_with_provider(PROVIDER.clone())
            .with_protocol_versions(&[&TLS13])
            .map_err(plain)?
            .with_client_cert_verifier(verifier.map_err(plain)?)
            .with_single_cert(chain.clone(), key.clone_key())
            .map_err(plain)?;
        let client = ClientConfig::builder_with_provider(PROVIDER.clone())
            .with_protocol_versions(&[&TLS13])
            .map_err(plain)?
            .with_root_certificates(roots)
            .with_client_auth_cert(chain, key)
            .map_err(plain)?;
        let identity = identity.clone();
        Ok(Self { identity, name, server_name, client: Arc::new(client), server: Arc::new(server) })
    }
}

fn plain(error: impl std::fmt::Display) -> String {
    error.to_string()
}
