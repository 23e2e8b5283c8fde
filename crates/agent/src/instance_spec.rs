//! What an instance is, and what its shim is told to run.

use serde::{Deserialize, Serialize};
use stack::{Kind, ResourceName, Revision};

use crate::{
    bindings, command, container, environment::Environment, error::Error, protocol::source_name, revision::Loaded,
    shim::Spec, topics,
};

/// `instance.json`: what a restarted agent must know of an instance beside what its shim tells.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    /// Unique in its environment.
    pub(crate) id: String,
    /// What it was made from.
    pub(crate) revision: Revision,
    /// Which service it is a replica of.
    pub(crate) service: ResourceName,
    /// Where it listens.
    pub(crate) port: u16,
    /// It was ready at least once.
    pub(crate) proven: bool,
    /// It is ready now, as far as its last probe told.
    pub(crate) ready: bool,
    /// How often it was started again.
    pub(crate) restarts: u32,
}

/// Command, folder, environment, limits and secrets of an instance.
pub(crate) fn of(environment: &Environment, loaded: &Loaded, record: &Record) -> Result<Spec, Error> {
    let service = loaded.service(&record.service)?;
    let place = environment.place(&record.revision);
    let mut bound = bindings::of_service(&environment.scope, loaded, service, &place)?;
    bound.env.extend(topics::events_url(loaded, &record.service, place.publishing.as_ref()));
    let own = [
        ("PORT", record.port.to_string()),
        ("SLIPWAY_SERVICE", record.service.to_string()),
        ("SLIPWAY_INSTANCE", record.id.clone()),
    ];
    bound.env.extend(own.map(|(name, value)| (name.to_owned(), value)));
    if let Some(image) = loaded.image(&service.source)? {
        return container::spec(environment, loaded, service, record, image, bound);
    }
    let run = service
        .run
        .as_deref()
        .ok_or_else(|| Error::failed(format!("service `{}` has no `run`; say how it starts", record.service)))?;
    let mut spec = Spec::new(
        command::parse(run)?,
        loaded.files(&service.source)?,
        source_name(Kind::Service, &record.service),
        &record.id,
        environment.logs(&record.service),
    );
    spec.env = bound.env;
    spec.secrets = bound.secrets;
    spec.stop_ms = u64::from(service.stop);
    spec.limits.memory = service.size.memory.map(|memory| memory.max.0);
    spec.limits.cpu_millis = service.size.cpu.map(|cpu| cpu.max.0);
    Ok(spec)
}
