//! Which limits this system can hold.

use std::{fs, io, path::Path, sync::LazyLock, time::Duration};

use serde::{Deserialize, Serialize};

use super::{
    super::{Limits, process},
    group::{Groups, PREFIX},
    hierarchy::{Hierarchies, LEAF},
};

/// By what means a limit is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Means {
    /// Control group, version 2.
    CgroupV2,
    /// Control group, version 1.
    CgroupV1,
    /// Not by the kernel: memory is polled by the agent, CPU is not limited.
    Soft,
}

/// Which limits the kernel holds here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Support {
    /// Memory.
    pub memory: Means,
    /// CPU.
    pub cpu: Means,
    /// Every process of an instance can be killed at one stroke (`cgroup.kill`, Linux 5.14). Otherwise the shim walks
    /// its descendants, which is as thorough and takes longer.
    pub whole_kill: bool,
}

/// Which limits hold here, tried out once by making a group and removing it again. After [`prepare`], if at all.
pub fn support() -> Support {
    static FOUND: LazyLock<Support> = LazyLock::new(try_out);
    *FOUND
}

fn try_out() -> Support {
    let limits = Limits { memory: Some(1 << 30), cpu_millis: Some(1000), open_files: None };
    let groups = Groups::make(Path::new(&format!("trial-{}", std::process::id())), limits);
    let means = |group: &Option<_>| match group {
        None => Means::Soft,
        group if *group == groups.unified => Means::CgroupV2,
        Some(_) => Means::CgroupV1,
    };
    let found = Support {
        memory: means(&groups.memory),
        cpu: means(&groups.cpu),
        whole_kill: groups.unified.as_ref().is_some_and(|group| group.join("cgroup.kill").exists()),
    };
    groups.remove();
    found
}

/// Removes groups that shims left which were killed together with their programs, wherever this process may make some.
///
/// A group in use stays: the kernel removes none with processes. One whose kept program waits for its next start is
/// made again by its shim.
pub fn sweep() {
    let Hierarchies { unified, memory, cpu } = Hierarchies::observe();
    for base in [unified, memory, cpu].into_iter().flatten() {
        let groups = fs::read_dir(base).into_iter().flatten().flatten();
        for group in groups.filter(|group| group.file_name().to_string_lossy().starts_with(PREFIX)) {
            // One that was made a moment ago waits for its first process.
            let age =
                group.metadata().and_then(|metadata| metadata.modified()).ok().and_then(|made| made.elapsed().ok());
            if age.is_some_and(|age| age > Duration::from_mins(1)) && group.file_name() != LEAF {
                let _in_use = fs::remove_dir(group.path());
            }
        }
    }
}

/// Makes room for groups with controllers on a version 2 system: moves every process of this process's group into a
/// group below, since a group that hands controllers down may hold none. Does nothing on other systems. To be called
/// once when the agent starts, before it starts instances; fails where the group is not delegated, and then limits
/// are soft.
pub fn prepare() -> io::Result<()> {
    let hierarchies = Hierarchies::observe();
    let Some(base) = hierarchies.unified else { return Ok(()) };
    let controllers = fs::read_to_string(base.join("cgroup.controllers"))?;
    if !controllers.split_whitespace().any(|one| one == "memory") {
        return Ok(());
    }
    let leaf = base.join(LEAF);
    fs::create_dir_all(&leaf)?;
    // A process may start another between the look and the move.
    for _ in 0..10 {
        let members = process::members(&base);
        if members.is_empty() {
            break;
        }
        for pid in members {
            fs::write(leaf.join("cgroup.procs"), pid.to_string())?;
        }
    }
    fs::write(base.join("cgroup.subtree_control"), "+memory +cpu")
}
