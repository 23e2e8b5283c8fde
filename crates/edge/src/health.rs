//! Active checks: one task per instance and probe, on the control thread, kept over tables that name the same.

use std::{collections::HashMap, net::SocketAddr, sync::Arc};

use observe::probe::{Change, Probe, Threshold};
use tokio::task::AbortHandle;

use crate::{instance::Instance, registry::Registry, shared::Shared, table::Table};

/// What makes two checks the same.
type Key = (String, SocketAddr, ProbeKey);

/// A probe as a key.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct ProbeKey(String);

/// The running checks.
#[derive(Debug, Default)]
pub(crate) struct Checks(HashMap<Key, AbortHandle>);

impl Checks {
    /// Starts what is new in `table` and stops what is gone.
    pub(crate) fn follow(&mut self, table: &Table, registry: &mut Registry, shared: &Arc<Shared>) {
        let mut wanted = HashMap::new();
        for pool in table.pools.values() {
            for upstream in &pool.upstreams {
                if let Some(probe) = &pool.probe {
                    let key = (upstream.id.clone(), upstream.address, ProbeKey(format!("{probe:?}")));
                    wanted.insert(key, probe);
                } else {
                    // without a probe nothing but a failed connection speaks against it
                    let instance = registry.instance(&upstream.id, upstream.address);
                    instance.set_failure(None);
                    instance.set_healthy(true);
                }
            }
        }
        self.0.retain(|key, task| {
            let stays = wanted.contains_key(key);
            if !stays {
                task.abort();
            }
            stays
        });
        for (key, probe) in wanted {
            let (id, address) = (key.0.clone(), key.1);
            self.0.entry(key).or_insert_with(|| {
                let instance = registry.instance(&id, address);
                tokio::spawn(check(instance, probe.clone(), Arc::clone(shared))).abort_handle()
            });
        }
    }
}

/// Asks again and again. The agent has seen a new instance well before it named it, so the first question waits.
async fn check(instance: Arc<Instance>, probe: Probe, shared: Arc<Shared>) {
    let mut threshold = Threshold::new(probe.up, probe.down, instance.healthy());
    loop {
        tokio::time::sleep(probe.every).await;
        let answer = observe::probe::ask(instance.address, &probe).await;
        let change = threshold.record(answer.is_ok());
        instance.set_failure(answer.err().map(|failure| failure.to_string()));
        match change {
            Some(Change::Up) => {
                tracing::info!(instance = instance.id, "healthy again");
                instance.set_healthy(true);
                shared.changed.notify_waiters();
            }
            Some(Change::Down) => {
                tracing::warn!(instance = instance.id, failure = instance.failure(), "unhealthy");
                instance.set_healthy(false);
            }
            None => {}
        }
    }
}
