//! Processes as `/proc` shows them.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::Path,
};

use rustix::{
    fd::OwnedFd,
    process::{Pid, PidfdFlags, Signal, kill_process, kill_process_group, pidfd_open},
};

/// One line of `/proc/PID/stat`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stat {
    pub(super) pid: u32,
    pub(super) state: char,
    pub(super) parent: u32,
    pub(super) session: u32,
    /// User and system time in clock ticks.
    pub(super) cpu_ticks: u64,
    /// In clock ticks since boot: with the pid it names a process for ever.
    pub(super) start_time: u64,
    /// In pages.
    pub(super) resident: u64,
}

impl Stat {
    /// Reads the state of a process; `None` when there is none of that id.
    pub(super) fn find(pid: u32) -> Option<Self> {
        Self::parse(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
    }

    /// The name is in parentheses and may itself hold spaces and parentheses: what counts follows the last one.
    /// Source: `proc_pid_stat(5)`.
    fn parse(line: &str) -> Option<Self> {
        let pid = line.split_once(' ')?.0.parse().ok()?;
        let (_, rest) = line.rsplit_once(')')?;
        let fields: Vec<&str> = rest.split_whitespace().collect();
        let number = |field: usize| fields.get(field - 3)?.parse::<u64>().ok();
        Some(Self {
            pid,
            state: fields.first()?.chars().next()?,
            parent: u32::try_from(number(4)?).ok()?,
            session: fields.get(3)?.parse::<i64>().ok().and_then(|id| u32::try_from(id).ok()).unwrap_or(0),
            cpu_ticks: number(14)? + number(15)?,
            start_time: number(22)?,
            resident: number(24)?,
        })
    }

    /// It ended and only waits for its parent to notice.
    pub(super) fn is_dead(&self) -> bool {
        matches!(self.state, 'Z' | 'X' | 'x')
    }
}

/// Which boot of the machine this is.
pub(super) fn boot_id() -> io::Result<String> {
    Ok(fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim().to_owned())
}

/// A handle on the live process with this id and start time; `None` when it ended or the id belongs to another
/// process by now.
///
/// The handle comes first: once it is open, the id cannot be given to another process unnoticed.
pub(super) fn open(pid: u32, start_time: u64) -> io::Result<Option<OwnedFd>> {
    let Some(id) = to_pid(pid) else { return Ok(None) };
    let handle = match pidfd_open(id, PidfdFlags::NONBLOCK) {
        Ok(handle) => handle,
        Err(rustix::io::Errno::SRCH | rustix::io::Errno::INVAL) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    Ok(Stat::find(pid).filter(|stat| stat.start_time == start_time && !stat.is_dead()).map(|_| handle))
}

/// Every process there is, by id.
pub(super) fn all() -> BTreeMap<u32, Stat> {
    let Ok(entries) = fs::read_dir("/proc") else { return BTreeMap::new() };
    entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter_map(|pid| Some((pid, Stat::find(pid)?)))
        .collect()
}

/// Children of `ancestor`, their children and so on, in no order, without those that ended.
pub(super) fn descendants(ancestor: u32) -> Vec<u32> {
    let processes = all();
    let mut children: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    for stat in processes.values() {
        children.entry(stat.parent).or_default().push(stat.pid);
    }
    let mut found = Vec::new();
    let mut seen = BTreeSet::from([ancestor]);
    let mut waiting = vec![ancestor];
    while let Some(pid) = waiting.pop() {
        for child in children.get(&pid).into_iter().flatten().copied().filter(|child| seen.insert(*child)) {
            waiting.push(child);
            found.push(child);
        }
    }
    found.retain(|pid| processes.get(pid).is_some_and(|stat| !stat.is_dead()));
    found
}

/// Processes of the session that a program leads or led, without those that ended. Sessions 0 (kernel threads, and
/// whoever came from outside of this process namespace) and 1 belong to no program and have none.
pub(super) fn session(id: u32, start_time: u64) -> Vec<Stat> {
    if id <= 1 {
        return Vec::new();
    }
    let all = all();
    if all.get(&id).is_some_and(|leader| leader.start_time != start_time) {
        return Vec::new();
    }
    all.into_values().filter(|stat| stat.session == id && !stat.is_dead()).collect()
}

/// Sends a signal to the process group that a program leads or led; one that is gone is no error.
///
/// The kernel gives its id to no other process while there is one in the group or session. Once all are gone it may.
pub(super) fn signal_group(group: u32, start_time: u64, signal: Signal) {
    if Stat::find(group).is_some_and(|leader| leader.start_time != start_time) {
        return;
    }
    if let Some(id) = to_pid(group) {
        let _gone = kill_process_group(id, signal);
    }
}

/// Sends a signal to one process; one that is gone is no error.
pub(super) fn signal(pid: u32, signal: Signal) {
    if let Some(id) = to_pid(pid) {
        let _gone = kill_process(id, signal);
    }
}

/// Closes every file but stdin, stdout and stderr: those that were passed on by mistake, which would keep pipes of a
/// stranger open for as long as a program runs. To be called before anything is opened.
pub(super) fn close_inherited() {
    let Ok(open) = fs::read_dir("/proc/self/fd") else { return };
    // Collected first: the list is itself an open file, and closed by then.
    let numbers: Vec<i32> = open.filter_map(|file| file.ok()?.file_name().to_str()?.parse().ok()).collect();
    for number in numbers.into_iter().filter(|number| *number > 2) {
        let _closed_already = nix::unistd::close(number);
    }
}

/// Process ids from `cgroup.procs`.
pub(super) fn members(group: &Path) -> Vec<u32> {
    let text = fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
    text.lines().filter_map(|line| line.parse().ok()).collect()
}

/// `None` for 0 and what is beyond any process id: neither may reach `kill`, where they mean "all of us".
fn to_pid(pid: u32) -> Option<Pid> {
    i32::try_from(pid).ok().filter(|pid| *pid > 1).and_then(Pid::from_raw)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_spaces_and_parentheses_is_skipped() {
        let line = "4242 (a) S 1 (b)) R 7 4242 4241 0 -1 4194304 1 0 0 0 30 12 0 0 20 0 1 0 98765 1000 55 0 0";
        let stat = Stat::parse(line).unwrap();
        assert_eq!(
            stat,
            Stat { pid: 4242, state: 'R', parent: 7, session: 4241, cpu_ticks: 42, start_time: 98765, resident: 55 }
        );
    }

    #[test]
    fn a_process_is_known_by_id_and_start_time() {
        let me = Stat::find(std::process::id()).unwrap();
        assert!(open(me.pid, me.start_time).unwrap().is_some());
        assert!(open(me.pid, me.start_time + 1).unwrap().is_none());
        assert!(open(0, 1).unwrap().is_none());
    }

    #[test]
    fn no_signal_ever_goes_to_everybody() {
        assert!(to_pid(0).is_none());
        assert!(session(0, 0).is_empty() && session(1, 0).is_empty());
        let me = Stat::find(std::process::id()).unwrap();
        assert!(session(me.pid, me.start_time + 1).is_empty());
        assert!(to_pid(1).is_none());
        assert!(to_pid(u32::MAX).is_none());
    }
}
