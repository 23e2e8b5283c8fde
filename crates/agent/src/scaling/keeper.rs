//! Follows the load of an environment's services.

use std::{collections::BTreeMap, sync::Arc, time::Instant};

use engine::desired::{Instance, InstanceState, Scaled};
use stack::{ResourceName, Revision, ScaleAt, Service};

use super::{Pace, course::Course, meter::Meter};
use crate::{client::THIS_MACHINE, environment::Environment, health, host::Host, revision::Loaded, state::LeaseState};

/// Looks at the load now and then; an environment without a service that scales costs nothing.
pub(crate) async fn run(host: Arc<Host>, environment: Arc<Environment>) {
    let mut changes = environment.watch();
    let mut courses = BTreeMap::new();
    let mut meter = Meter::default();
    loop {
        changes.mark_unchanged();
        let scales = leading(&environment).is_some_and(|loaded| loaded.resolved.stack.services.values().any(scales));
        if scales {
            tokio::select! {
                () = host.stopping.cancelled() => return,
                () = tokio::time::sleep(host.pace.look) => {}
            }
            let (looked, pace) = (environment.clone(), host.pace);
            let look = tokio::task::spawn_blocking(move || {
                let moved = look(&looked, &mut courses, &mut meter, pace);
                (courses, meter, moved)
            });
            let moved;
            (courses, meter, moved) = match look.await {
                Ok(looked) => looked,
                Err(error) => {
                    tracing::error!(scope = %environment.scope, "a look at the load broke down: {error}");
                    (BTreeMap::new(), Meter::default(), false)
                }
            };
            if moved {
                environment.touch();
            }
        } else {
            tokio::select! {
                () = host.stopping.cancelled() => return,
                told = changes.changed() => if told.is_err() { return },
            }
        }
    }
}

/// Every service whose number follows its load, as it is now.
pub(crate) fn scaled(environment: &Environment) -> Vec<Scaled> {
    let Some(loaded) = leading(environment) else { return Vec::new() };
    let services = loaded.resolved.stack.services.iter().filter(|(_, service)| scales(service));
    let one = |(name, service): (&ResourceName, &Service)| {
        let bounds = environment.bounds(name, service, &loaded.revision);
        Scaled {
            host: THIS_MACHINE.to_owned(),
            service: name.clone(),
            replicas: environment.replicas(name, service, &loaded.revision),
            min: bounds.min,
            max: bounds.max,
            why: environment.scaling.find(name).map_or("not measured yet".to_owned(), |number| number.why),
        }
    };
    services.map(one).collect()
}

/// The revision most visitors get, once it was read.
fn leading(environment: &Environment) -> Option<Arc<Loaded>> {
    let revision = health::leading(&environment.desired())?;
    environment.revisions.find(&revision)
}

/// Whether a service's number follows its load.
fn scales(service: &Service) -> bool {
    aim(service).is_some()
}

fn aim(service: &Service) -> Option<&ScaleAt> {
    service.size.scale_at.as_ref().filter(|_| service.size.replicas.min < service.size.replicas.max)
}

/// One look at every service. Says whether a number changed.
fn look(
    environment: &Environment,
    courses: &mut BTreeMap<ResourceName, Course>,
    meter: &mut Meter,
    pace: Pace,
) -> bool {
    let Some(loaded) = leading(environment) else { return false };
    let instances = environment.instances();
    meter.retain(|id| instances.contains_key(id));
    courses.retain(|name, _| loaded.resolved.stack.services.contains_key(name));
    let held = matches!(environment.state().lease(Instant::now()), LeaseState::Held(_));
    let mut changed = false;
    for (name, service) in &loaded.resolved.stack.services {
        let Some(aim) = aim(service) else { continue };
        let now = Instant::now();
        let kept = environment.replicas(name, service, &loaded.revision);
        let course = courses.entry(name.clone()).or_insert_with(|| Course::new(kept, now));
        let ready = ready(&instances, &loaded.revision, name);
        // Measured in any case, so that the next look knows what was used since.
        let load = meter.measure(environment, service, &ready);
        // While somebody deploys, or instances begin or end, the load says nothing about the number.
        if held || ready.len() != kept as usize {
            continue;
        }
        let number = course.look(environment.bounds(name, service, &loaded.revision), load, aim, now, pace);
        let replicas = number.replicas;
        if environment.scaling.set(name, number.clone()) && replicas != kept {
            tracing::info!(scope = %environment.scope, service = %name, from = kept, to = replicas, "{}", number.why);
            changed = true;
        }
    }
    changed
}

fn ready(instances: &BTreeMap<String, Instance>, revision: &Revision, service: &ResourceName) -> Vec<Instance> {
    let ready = instances.values().filter(|instance| {
        instance.revision == *revision && instance.service == *service && instance.state == InstanceState::Ready
    });
    ready.cloned().collect()
}
