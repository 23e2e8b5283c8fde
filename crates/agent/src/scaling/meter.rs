//! Measures what the ready instances of a service use.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use engine::desired::Instance;
use stack::{Service, Source};

use super::course::Load;
use crate::{
    container,
    environment::Environment,
    files,
    shim::{Record, limits},
};

/// Processor time of instances as it was at the last look.
#[derive(Debug, Default)]
pub(super) struct Meter {
    cpu: BTreeMap<String, Reading>,
    /// Processes of containers, which the engine has to be asked for.
    containers: BTreeMap<String, u32>,
}

#[derive(Debug, Clone, Copy)]
struct Reading {
    pid: Option<u32>,
    used: Duration,
    at: Instant,
}

impl Meter {
    /// What these ready instances of a service used on average since the last look. An instance that was not there
    /// then counts from the next look on.
    pub(super) fn measure(&mut self, environment: &Environment, service: &Service, instances: &[Instance]) -> Load {
        let mut cpu = Vec::new();
        let mut memory = Vec::new();
        for instance in instances {
            let now = Instant::now();
            let (used_memory, used_cpu) = self.usage(environment, service, instance);
            memory.extend(used_memory.or(instance.memory));
            let Some(used) = used_cpu else { continue };
            let reading = Reading { pid: instance.pid, used, at: now };
            let before = self.cpu.insert(instance.id.clone(), reading).filter(|before| before.pid == instance.pid);
            if let Some(before) = before {
                let (spent, time) = (used.saturating_sub(before.used), now.duration_since(before.at));
                // thousandths of a core
                cpu.extend((spent.as_micros() * 1_000).checked_div(time.as_micros()));
            }
        }
        let percent = |sum: u128, count: usize, asked: u64| {
            let share = sum.checked_mul(100)?.checked_div(u128::from(asked) * count as u128)?;
            u32::try_from(share).ok()
        };
        Load {
            cpu: service.size.cpu.and_then(|asked| percent(cpu.iter().sum(), cpu.len(), u64::from(asked.min.0))),
            memory: service
                .size
                .memory
                .and_then(|asked| percent(memory.iter().copied().map(u128::from).sum(), memory.len(), asked.min.0)),
        }
    }

    /// Forgets instances that are gone.
    pub(super) fn retain(&mut self, is_there: impl Fn(&str) -> bool) {
        self.cpu.retain(|id, _| is_there(id));
        self.containers.retain(|id, _| is_there(id));
    }

    /// Memory and processor time of an instance, as far as they can be seen.
    fn usage(
        &mut self,
        environment: &Environment,
        service: &Service,
        instance: &Instance,
    ) -> (Option<u64>, Option<Duration>) {
        if !matches!(service.source, Source::Folder(_)) {
            return (None, self.container_cpu(environment, &instance.id));
        }
        let path = environment.instance_folder(&instance.id).join("shim.json");
        let Ok(Some(record)) = files::find_json::<Record>(&path, "remove it") else { return (None, None) };
        let usage = limits::usage(&record);
        (Some(usage.memory), Some(usage.cpu))
    }

    fn container_cpu(&mut self, environment: &Environment, id: &str) -> Option<Duration> {
        if let Some(used) = self.containers.get(id).copied().and_then(limits::cpu_around) {
            return Some(used);
        }
        let process = release::container::find_process(&container::name(environment, id)).ok()??;
        self.containers.insert(id.to_owned(), process);
        limits::cpu_around(process)
    }
}
