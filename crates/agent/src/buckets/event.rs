//! What functions are told of objects.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use stack::{Kind, ResourceName, ResourceRef};

use crate::{environment::Environment, error::Error, functions::CloudEvent};

/// An object came or went. Kept in the index until it is handed on; its id stays the same when that is tried again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Happening {
    pub(super) id: String,
    pub(super) created: bool,
    pub(super) key: String,
    pub(super) size: u64,
    pub(super) etag: String,
    pub(super) version: Option<String>,
    /// Milliseconds since 1970.
    pub(super) at: i64,
}

/// Tells the functions of a bucket. Durable when it returns.
pub(super) async fn hand_on(
    environment: &Environment,
    name: &ResourceName,
    bucket: &str,
    happening: Happening,
) -> Result<(), Error> {
    let source = ResourceRef { kind: Kind::Bucket, name: name.clone() };
    let scope = &environment.scope;
    let Happening { id, created, key, size, etag, version, at } = happening;
    let kind = if created { "slipway.bucket.object-created" } else { "slipway.bucket.object-removed" };
    let data = serde_json::json!({
        "bucket": bucket, "key": key, "size": size, "etag": etag, "versionId": version,
    });
    let mut event = CloudEvent::new(format!("/{}/{}/{source}", scope.app, scope.environment), kind, data).about(key);
    event.id = id;
    event.time = Timestamp::from_millisecond(at).ok();
    crate::functions::emit(environment, &source, event).await
}
