//! What a bucket is to be, as the stack says it.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use stack::ResourceName;

use crate::{bindings, error::Error, revision::Loaded};

/// One bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Definition {
    /// In the stack.
    pub(crate) name: ResourceName,
    /// What programs call it.
    pub(crate) bucket: String,
    /// Old versions are kept.
    pub(crate) versions: bool,
    /// Anybody may read its objects.
    pub(crate) public: bool,
    /// Objects, and versions that are not the latest any more, are compressed after this.
    pub(crate) archive_after: Option<Duration>,
    /// Both are removed after this.
    pub(crate) delete_after: Option<Duration>,
    /// Origins whose pages may use it; `*` is any.
    pub(crate) cors: Vec<String>,
}

impl Definition {
    /// The buckets of a release. Fails when a text of theirs cannot be filled in.
    pub(crate) fn all(loaded: &Loaded) -> Result<BTreeMap<ResourceName, Arc<Self>>, Error> {
        let buckets = loaded.resolved.stack.buckets.iter();
        let all = buckets.map(|(name, bucket)| {
            let mut cors = Vec::new();
            for text in &bucket.cors {
                let text = bindings::expand(loaded, &format!("bucket.{name}.cors"), text)?;
                let origins = text.split(',').map(|origin| origin.trim().trim_end_matches('/'));
                cors.extend(origins.filter(|origin| !origin.is_empty()).map(str::to_owned));
            }
            let definition = Self {
                name: name.clone(),
                bucket: wire_name(loaded, name),
                versions: bucket.versions,
                public: bucket.public,
                archive_after: bucket.archive_after.map(|period| period.0),
                delete_after: bucket.delete_after.map(|period| period.0),
                cors,
            };
            Ok((name.clone(), Arc::new(definition)))
        });
        all.collect()
    }

    /// The name of its folder.
    pub(crate) fn folder(&self) -> String {
        format!("bucket-{}", self.name)
    }
}

/// What programs call a bucket.
pub(crate) fn wire_name(loaded: &Loaded, name: &ResourceName) -> String {
    let bucket = loaded.resolved.stack.buckets.get(name);
    bucket.and_then(|bucket| bucket.name.clone()).unwrap_or_else(|| name.to_string())
}
