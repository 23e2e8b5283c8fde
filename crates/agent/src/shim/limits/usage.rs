//! What an instance uses.

use std::{fs, path::Path, time::Duration};

use serde::{Deserialize, Serialize};

use super::{
    super::{Record, process, process::Stat},
    group::find_number,
    hierarchy::Hierarchies,
};

/// What all processes of an instance use together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Bytes of memory that cannot be had back for the asking: without file cache that nobody uses.
    pub memory: u64,
    /// Processor time since the program started. Without a version 2 group, that of processes which ended is missing.
    pub cpu: Duration,
    /// How many processes.
    pub processes: u32,
}

/// Looks at the control groups, or where there are none at the processes of the program's session.
pub fn usage(record: &Record) -> Usage {
    let groups = &record.groups;
    let mut stats: Vec<Stat> = groups.members().into_iter().filter_map(Stat::find).collect();
    if stats.is_empty() {
        stats = process::session(record.pid, record.pid_start_time);
    }
    let memory = groups.memory.as_deref().and_then(working_set).unwrap_or_else(|| {
        // Pages the processes share with each other are counted once, with the first.
        let page = rustix::param::page_size() as u64;
        let first = stats.iter().map(|stat| stat.resident).max().unwrap_or(0);
        let all: u64 = stats.iter().map(|stat| stat.resident.saturating_sub(shared(stat.pid))).sum();
        let largest = stats.iter().max_by_key(|stat| stat.resident);
        let own = largest.map_or(0, |stat| stat.resident.saturating_sub(shared(stat.pid)));
        (first + all - own) * page
    });
    let cpu = groups.unified.as_ref().and_then(|group| find_number(&group.join("cpu.stat"), "usage_usec"));
    let cpu = cpu.map_or_else(
        || {
            let ticks: u64 = stats.iter().map(|stat| stat.cpu_ticks).sum();
            Duration::from_millis(ticks * 1000 / rustix::param::clock_ticks_per_second().max(1))
        },
        Duration::from_micros,
    );
    Usage { memory, cpu, processes: u32::try_from(stats.len()).unwrap_or(u32::MAX) }
}

/// Bytes of memory that the control groups of a process use, whoever made them; `None` where they cannot be seen.
pub fn memory_around(pid: u32) -> Option<u64> {
    let groups = Hierarchies::of(pid);
    groups.memory.or(groups.unified).as_deref().and_then(working_set)
}

/// Processor time that the control group of a process has used, whoever made it; `None` where it cannot be seen.
pub fn cpu_around(pid: u32) -> Option<Duration> {
    let group = Hierarchies::of(pid).unified?;
    find_number(&group.join("cpu.stat"), "usage_usec").map(Duration::from_micros)
}

/// Memory of a group without inactive file cache, in bytes.
fn working_set(group: &Path) -> Option<u64> {
    let number = |file: &str| fs::read_to_string(group.join(file)).ok()?.trim().parse::<u64>().ok();
    let (used, cache) = match number("memory.current") {
        Some(used) => (used, "inactive_file"),
        None => (number("memory.usage_in_bytes")?, "total_inactive_file"),
    };
    Some(used.saturating_sub(find_number(&group.join("memory.stat"), cache).unwrap_or(0)))
}

/// Pages of a process that are mapped from files or shared. Source: `proc_pid_statm(5)`.
fn shared(pid: u32) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/statm")).unwrap_or_default();
    text.split_whitespace().nth(2).and_then(|pages| pages.parse().ok()).unwrap_or(0)
}
