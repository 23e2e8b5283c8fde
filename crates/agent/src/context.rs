//! What a program of a service would be given: for a command that a person runs beside the instances.

use std::{collections::BTreeMap, path::PathBuf};

use release::Store;
use stack::{ResourceName, Revision};

use crate::{
    bindings::{self, Place},
    buckets,
    error::Error,
    home::Home,
    internal::Internal,
    protocol::Scope,
    revision::Loaded,
    services::Book,
    topics::{self, Publishing},
};

/// The folder and the variables of a service's programs.
#[derive(Clone)]
pub struct Context {
    /// The release's files of the service.
    pub folder: PathBuf,
    /// All variables; secrets among them. Those of a single instance (`PORT`, `SLIPWAY_INSTANCE`) are not set.
    pub env: BTreeMap<String, String>,
}

/// Reads what `service` of `revision` is given in `scope`. Asks no agent.
///
/// Fails when the release or its values are not in `home`, or it has no such service.
pub fn context(home: &Home, scope: &Scope, revision: &Revision, service: &ResourceName) -> Result<Context, Error> {
    let store = Store::open(home.store()).map_err(|error| Error::failed(error.to_string()))?;
    let folder = home.environment(scope);
    let loaded = Loaded::read(&store, scope, &folder, revision)?;
    let of = loaded.service(service)?;
    let internal = Internal::open(&folder.join("internal.json"))?.of(revision);
    let servers = Book::open(&folder)?.urls();
    let buckets = buckets::access(&folder)?;
    let publishing = Publishing::open(&folder)?.address().clone();
    let place = Place { data: folder.join("data"), internal, servers, buckets, publishing };
    let mut env = bindings::of_service(scope, &loaded, of, &place)?.env;
    env.extend(topics::events_url(&loaded, service, place.publishing.as_ref()));
    env.insert("SLIPWAY_SERVICE".to_owned(), service.to_string());
    Ok(Context { folder: loaded.files(&of.source)?.to_owned(), env })
}
