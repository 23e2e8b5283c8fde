//! Where this process's control groups lie.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// The group the agent moves itself to, so that its siblings may have controllers: version 2 allows no processes in
/// a group that hands controllers down.
pub(super) const LEAF: &str = "slipway-agent";

/// The folders below which this process may make groups, as far as there are such hierarchies.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Hierarchies {
    pub(super) unified: Option<PathBuf>,
    pub(super) memory: Option<PathBuf>,
    pub(super) cpu: Option<PathBuf>,
}

impl Hierarchies {
    /// Those of this process.
    pub(super) fn observe() -> Self {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        Self::parse(&read("/proc/self/mountinfo"), &read("/proc/self/cgroup"))
    }

    /// The groups of another process, which made none for itself.
    pub(super) fn of(pid: u32) -> Self {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        Self::parse(&read("/proc/self/mountinfo"), &read(&format!("/proc/{pid}/cgroup")))
    }

    /// Source: `proc_pid_mountinfo(5)` and `cgroups(7)`.
    pub(super) fn parse(mountinfo: &str, own: &str) -> Self {
        let mut found = Self::default();
        for line in mountinfo.lines() {
            let Some((mount, filesystem)) = line.split_once(" - ") else { continue };
            let mount: Vec<&str> = mount.split(' ').collect();
            let filesystem: Vec<&str> = filesystem.split(' ').collect();
            let (Some(root), Some(point), Some(kind)) = (mount.get(3), mount.get(4), filesystem.first()) else {
                continue;
            };
            let has =
                |controller: &str| filesystem.get(2).is_some_and(|all| all.split(',').any(|one| one == controller));
            let folder = |controller: &str| Some(Path::new(point).join(below(root, own_group(own, controller)?)?));
            match *kind {
                "cgroup2" => {
                    found.unified = folder("").map(|own| {
                        if own.ends_with(LEAF) { own.parent().map(Path::to_owned).unwrap_or(own) } else { own }
                    });
                }
                "cgroup" if has("memory") => found.memory = folder("memory"),
                "cgroup" if has("cpu") => found.cpu = folder("cpu"),
                _ => {}
            }
        }
        found
    }
}

/// The path in the line `ID:CONTROLLERS:PATH` with this controller; version 2 has none.
fn own_group<'a>(own: &'a str, controller: &str) -> Option<&'a str> {
    own.lines().find_map(|line| {
        let (_, rest) = line.split_once(':')?;
        let (controllers, path) = rest.split_once(':')?;
        controllers.split(',').any(|one| one == controller).then_some(path)
    })
}

/// A mount may show only a part of the hierarchy: its root. A group outside of it cannot be reached.
fn below<'a>(root: &str, group: &'a str) -> Option<&'a str> {
    let rest = if root == "/" { group } else { group.strip_prefix(root)? };
    Some(rest.trim_start_matches('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_one_beside_an_empty_version_two() {
        let mounts = "\
            30 24 0:26 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory\n\
            31 24 0:27 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu,cpuacct\n\
            32 24 0:28 / /sys/fs/cgroup/unified rw,relatime shared:4 - cgroup2 cgroup rw\n";
        let own = "4:memory:/user.slice/7\n2:cpu,cpuacct:/\n0::/user.slice\n";
        assert_eq!(
            Hierarchies::parse(mounts, own),
            Hierarchies {
                unified: Some("/sys/fs/cgroup/unified/user.slice".into()),
                memory: Some("/sys/fs/cgroup/memory/user.slice/7".into()),
                cpu: Some("/sys/fs/cgroup/cpu/".into()),
            }
        );
    }

    #[test]
    fn beside_the_agent_not_below_it() {
        let mounts = "29 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw,nsdelegate\n";
        let own = "0::/system.slice/slipway.service/slipway-agent\n";
        let found = Hierarchies::parse(mounts, own);
        assert_eq!(found.unified, Some("/sys/fs/cgroup/system.slice/slipway.service".into()));
        assert_eq!(found.memory, None);
    }

    #[test]
    fn a_mount_that_shows_a_part() {
        let mounts = "29 23 0:26 /docker/7 /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n";
        assert_eq!(Hierarchies::parse(mounts, "4:memory:/docker/7/x\n").memory, Some("/sys/fs/cgroup/memory/x".into()));
        assert_eq!(Hierarchies::parse(mounts, "4:memory:/elsewhere\n").memory, None);
    }
}
