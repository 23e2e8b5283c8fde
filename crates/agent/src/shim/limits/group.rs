//! The control groups of one instance.

use std::{
    ffi::OsStr,
    fs, io,
    path::{Component, Path, PathBuf},
    time::Duration,
};

use rustix::process::Signal;
use serde::{Deserialize, Serialize};

use super::{super::process, hierarchy::Hierarchies};
use crate::shim::Limits;

/// How the names of all groups begin.
pub(super) const PREFIX: &str = "slipway-";

/// Length of one period of the processor's bandwidth control; the kernel's default.
const PERIOD_MICROS: u64 = 100_000;

/// The control groups of an instance; `None` where the system has or allows none.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Groups {
    /// Where memory is limited and counted: in the version 1 hierarchy `memory`, or the same as `unified`.
    #[serde(default)]
    pub memory: Option<PathBuf>,
    /// Where CPU is limited: in the version 1 hierarchy `cpu`, or the same as `unified`.
    #[serde(default)]
    pub cpu: Option<PathBuf>,
    /// The version 2 group: knows every process of the instance, and kills them at one stroke.
    #[serde(default)]
    pub unified: Option<PathBuf>,
}

impl Groups {
    /// Makes the groups for `limits`; those the system does not allow are left out.
    pub(in crate::shim) fn make(name: &Path, limits: Limits) -> Self {
        Self::make_in(&Hierarchies::observe(), name, limits)
    }

    pub(super) fn make_in(hierarchies: &Hierarchies, name: &Path, limits: Limits) -> Self {
        let name = flat(name);
        let mut groups = Self::default();
        if let Some(base) = &hierarchies.unified {
            // Refused unless `prepare` made room; then version 1 or nothing is left, below.
            let _refused = fs::write(base.join("cgroup.subtree_control"), "+memory +cpu");
            groups.unified = folder(base, &name);
        }
        if let Some(group) = &groups.unified {
            let limited = || -> io::Result<()> {
                if let Some(bytes) = limits.memory {
                    fs::write(group.join("memory.max"), bytes.to_string())?;
                    let _no_swap = fs::write(group.join("memory.swap.max"), "0");
                    let _old_kernel = fs::write(group.join("memory.oom.group"), "1");
                }
                Ok(())
            };
            if group.join("memory.max").exists() && limited().is_ok() {
                groups.memory = Some(group.clone());
            }
            let written = limits
                .cpu_millis
                .map(|millis| fs::write(group.join("cpu.max"), format!("{} {PERIOD_MICROS}", quota(millis))));
            if group.join("cpu.max").exists() && !matches!(written, Some(Err(_))) {
                groups.cpu = Some(group.clone());
            }
        }
        if groups.memory.is_none()
            && let Some(group) = hierarchies.memory.as_ref().and_then(|base| folder(base, &name))
        {
            let written = limits.memory.map(|bytes| {
                fs::write(group.join("memory.limit_in_bytes"), bytes.to_string())?;
                let _no_swap = fs::write(group.join("memory.memsw.limit_in_bytes"), bytes.to_string());
                io::Result::Ok(())
            });
            groups.memory = keep_if(group, !matches!(written, Some(Err(_))));
        }
        if let (None, Some(millis)) = (&groups.cpu, limits.cpu_millis)
            && let Some(group) = hierarchies.cpu.as_ref().and_then(|base| folder(base, &name))
        {
            let written = fs::write(group.join("cpu.cfs_period_us"), PERIOD_MICROS.to_string())
                .and_then(|()| fs::write(group.join("cpu.cfs_quota_us"), quota(millis).to_string()));
            groups.cpu = keep_if(group, written.is_ok());
        }
        groups
    }

    /// The folders, each once.
    pub(in crate::shim) fn folders(&self) -> Vec<&Path> {
        let mut folders: Vec<&Path> =
            [&self.unified, &self.memory, &self.cpu].into_iter().flatten().map(PathBuf::as_path).collect();
        folders.dedup();
        folders
    }

    /// Every process of the instance that a group knows of.
    pub(in crate::shim) fn members(&self) -> Vec<u32> {
        self.unified.as_ref().or(self.memory.as_ref()).map(|group| process::members(group)).unwrap_or_default()
    }

    /// KILL to every process of the instance, however it tried to get away.
    pub(in crate::shim) fn kill(&self) {
        let at_one_stroke =
            self.unified.as_ref().is_some_and(|group| fs::write(group.join("cgroup.kill"), "1").is_ok());
        if !at_one_stroke {
            for pid in self.members() {
                process::signal(pid, Signal::KILL);
            }
        }
    }

    /// How many processes of the instance the kernel killed for want of memory so far.
    pub(in crate::shim) fn oom_kills(&self) -> u64 {
        let Some(group) = &self.memory else { return 0 };
        ["memory.events", "memory.oom_control"]
            .iter()
            .find_map(|file| find_number(&group.join(file), "oom_kill"))
            .unwrap_or(0)
    }

    /// Removes the groups once their processes are gone. The kernel needs a moment after the last one: at most half a
    /// second is spent on waiting.
    pub(in crate::shim) fn remove(&self) {
        for folder in self.folders() {
            for _ in 0..100 {
                match fs::remove_dir(folder) {
                    Err(error) if error.kind() == io::ErrorKind::ResourceBusy => {
                        std::thread::sleep(Duration::from_millis(5));
                    }
                    _ => break,
                }
            }
        }
    }
}

/// The number after `name` in a file of `name number` lines.
pub(super) fn find_number(file: &Path, name: &str) -> Option<u64> {
    let text = fs::read_to_string(file).ok()?;
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.trim().parse().ok())
}

/// The group, unless its limit could not be set: then it is of no use.
fn keep_if(group: PathBuf, is_limited: bool) -> Option<PathBuf> {
    if is_limited {
        return Some(group);
    }
    let _left_behind = fs::remove_dir(group);
    None
}

/// Makes the group's folder, or takes the one an earlier shim left; `None` when processes cannot be put there.
fn folder(base: &Path, name: &str) -> Option<PathBuf> {
    let folder = base.join(name);
    // An empty one is made anew: `sweep` must see that it is young.
    let _in_use_or_not_there = fs::remove_dir(&folder);
    match fs::create_dir(&folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return None,
        _ => {}
    }
    let is_open = fs::OpenOptions::new().write(true).open(folder.join("cgroup.procs")).is_ok();
    keep_if(folder, is_open)
}

/// Microseconds per period; the kernel takes no less than 1000.
fn quota(millis: u32) -> u64 {
    (u64::from(millis) * PERIOD_MICROS / 1000).max(1000)
}

/// One level is enough, and spares handing controllers down through the levels between.
fn flat(name: &Path) -> String {
    let parts: Vec<_> = name
        .components()
        .filter_map(|part| match part {
            Component::Normal(part) => Some(OsStr::to_string_lossy(part).replace('\n', "_")),
            _ => None,
        })
        .collect();
    format!("{PREFIX}{}", parts.join("-"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A delegated version 2 hierarchy as plain files: what would be told to the kernel.
    #[test]
    fn version_two_gets_memory_cpu_and_no_swap() {
        let base = tempfile::tempdir().unwrap();
        let group = base.path().join("slipway-shop-api-1");
        fs::create_dir(&group).unwrap();
        for file in ["cgroup.procs", "memory.max", "cpu.max"] {
            fs::write(group.join(file), "").unwrap();
        }
        let hierarchies = Hierarchies { unified: Some(base.path().to_owned()), ..Default::default() };
        let limits = Limits { memory: Some(64 << 20), cpu_millis: Some(250), open_files: None };
        let groups = Groups::make_in(&hierarchies, Path::new("shop/api-1"), limits);
        assert_eq!(groups.unified.as_deref(), Some(group.as_path()));
        assert_eq!(groups.folders(), [group.as_path()]);
        let read = |file: &str| fs::read_to_string(group.join(file)).unwrap();
        assert_eq!(read("memory.max"), "67108864");
        assert_eq!(read("memory.swap.max"), "0");
        assert_eq!(read("cpu.max"), "25000 100000");
        assert_eq!(fs::read_to_string(base.path().join("cgroup.subtree_control")).unwrap(), "+memory +cpu");
    }

    #[test]
    fn a_name_never_leaves_its_base() {
        assert_eq!(flat(Path::new("/../../etc/x y")), "slipway-etc-x y");
    }

    #[test]
    fn counts_are_read_from_both_versions() {
        let folder = tempfile::tempdir().unwrap();
        let groups = Groups { memory: Some(folder.path().to_owned()), ..Default::default() };
        assert_eq!(groups.oom_kills(), 0);
        fs::write(folder.path().join("memory.oom_control"), "oom_kill_disable 0\nunder_oom 0\noom_kill 3\n").unwrap();
        assert_eq!(groups.oom_kills(), 3);
        fs::write(folder.path().join("memory.events"), "low 0\noom 2\noom_kill 1\noom_group_kill 0\n").unwrap();
        assert_eq!(groups.oom_kills(), 1);
    }
}
