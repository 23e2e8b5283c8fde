//! What `/proc` says of a process, of a process group and of this host.
//!
//! Everything here is a look that may be out of date when it returns. A process that is gone is `None`, never an
//! error. A pid alone names nothing for long: keep [`Process::start_ticks`] beside it and compare.

use std::{fs, io, path::Path, time::Duration};

use jiff::Timestamp;

use crate::health::Memory;

/// One process as it was last seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    /// Process id.
    pub pid: u32,
    /// The first 15 bytes of its name.
    pub name: String,
    /// What it is doing.
    pub state: State,
    /// Parent.
    pub parent: u32,
    /// Process group.
    pub group: u32,
    /// Session.
    pub session: u32,
    /// Time on a CPU, in user and system mode, without its children.
    pub cpu: Duration,
    /// Threads.
    pub threads: u32,
    /// When it started, in clock ticks since boot: with the pid and [`boot_id`] the identity of a process.
    pub start_ticks: u64,
    /// Resident memory in bytes.
    pub resident: u64,
}

/// What a process is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// On a CPU, or waiting for one.
    Running,
    /// Waits for something.
    Sleeping,
    /// Waits for a disk, and cannot be interrupted.
    Waiting,
    /// Stopped by a signal or a debugger.
    Stopped,
    /// Has ended, and its parent has not asked how.
    Zombie,
    /// Idle, parked or anything newer.
    Other,
}

/// What all processes of a group use together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Processes that have not ended.
    pub processes: u32,
    /// Resident memory in bytes; pages they share count for each of them.
    pub resident: u64,
    /// Time on a CPU so far.
    pub cpu: Duration,
    /// Threads.
    pub threads: u32,
}

/// Looks at one process.
pub fn find(pid: u32) -> io::Result<Option<Process>> {
    let text = match fs::read(format!("/proc/{pid}/stat")) {
        Ok(text) => text,
        Err(error) if gone(&error) => return Ok(None),
        Err(error) => return Err(error),
    };
    let units = Units { ticks: rustix::param::clock_ticks_per_second(), page: rustix::param::page_size() as u64 };
    let parsed = parse_stat(&String::from_utf8_lossy(&text), units);
    parsed.map(Some).ok_or_else(|| io::Error::other(format!("/proc/{pid}/stat is not in the known form")))
}

/// All processes of process group `group`, by pid.
pub fn group(group: u32) -> io::Result<Vec<Process>> {
    Ok(all()?.into_iter().filter(|process| process.group == group).collect())
}

/// All processes that can be seen, by pid.
pub fn all() -> io::Result<Vec<Process>> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc")? {
        // one that ended since the folder was read is no reason to see none
        let Some(pid) = entry?.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        found.extend(find(pid)?);
    }
    found.sort_by_key(|process| process.pid);
    Ok(found)
}

/// The sum over `processes`; those that have ended use nothing any more but their CPU time.
pub fn sum(processes: &[Process]) -> Usage {
    processes.iter().fold(Usage::default(), |sum, process| {
        let alive = process.state != State::Zombie;
        Usage {
            processes: sum.processes + u32::from(alive),
            resident: sum.resident + if alive { process.resident } else { 0 },
            cpu: sum.cpu + process.cpu,
            threads: sum.threads + if alive { process.threads } else { 0 },
        }
    })
}

/// How many files, sockets and pipes a process holds open. `None` when it is gone; an error of kind
/// `PermissionDenied` when it belongs to another user.
pub fn open_files(pid: u32) -> io::Result<Option<usize>> {
    match fs::read_dir(format!("/proc/{pid}/fd")) {
        Ok(entries) => Ok(Some(entries.count())),
        Err(error) if gone(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

/// When a process started, from its [`Process::start_ticks`]; right to about a hundredth of a second, plus how far
/// the clock was set since boot.
pub fn started_at(process: &Process) -> io::Result<Timestamp> {
    let stat = fs::read_to_string("/proc/stat")?;
    let boot = stat.lines().find_map(|line| line.strip_prefix("btime ")?.trim().parse::<i64>().ok());
    let boot = boot.ok_or_else(|| io::Error::other("/proc/stat has no line `btime`"))?;
    let since = ticks(process.start_ticks, rustix::param::clock_ticks_per_second());
    let boot = Timestamp::from_second(boot).map_err(io::Error::other)?;
    boot.checked_add(since).map_err(io::Error::other)
}

/// A name for the time since this host was started; another after each boot.
pub fn boot_id() -> io::Result<String> {
    Ok(fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim().to_owned())
}

/// Memory of the host: `used` is what cannot be had without swapping, `total` what is built in.
pub fn host_memory() -> io::Result<Memory> {
    parse_meminfo(&fs::read_to_string("/proc/meminfo")?)
        .ok_or_else(|| io::Error::other("/proc/meminfo is not in the known form"))
}

/// Memory of a process against what it may use: the tightest limit of its control groups, or else the host's memory.
/// `None` when it is gone.
///
/// Within a control group of its own the group's usage counts, without the page cache that can be dropped at once;
/// otherwise the resident memory does.
pub fn memory(pid: u32) -> io::Result<Option<Memory>> {
    let Some(process) = find(pid)? else { return Ok(None) };
    let host = host_memory()?;
    let membership = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
    let limited = membership
        .lines()
        .find_map(|line| line.strip_prefix("0::/"))
        .and_then(|path| group_memory(Path::new("/sys/fs/cgroup"), path));
    Ok(Some(match limited {
        Some(memory) if memory.total < host.total => memory,
        _ => Memory { used: process.resident, total: host.total },
    }))
}

/// Usage and limit of the control group with the tightest limit on the way from `path` up to `root`.
fn group_memory(root: &Path, path: &str) -> Option<Memory> {
    let number = |folder: &Path, file: &str| fs::read_to_string(folder.join(file)).ok()?.trim().parse::<u64>().ok();
    let start = root.join(path);
    let limits = start.ancestors().take_while(|folder| folder.starts_with(root));
    let (folder, total) =
        limits.filter_map(|folder| Some((folder, number(folder, "memory.max")?))).min_by_key(|(_, limit)| *limit)?;
    let cache = fs::read_to_string(folder.join("memory.stat"))
        .ok()
        .and_then(|stat| stat.lines().find_map(|line| line.strip_prefix("inactive_file ")?.trim().parse::<u64>().ok()));
    Some(Memory { used: number(folder, "memory.current")?.saturating_sub(cache.unwrap_or(0)), total })
}

/// Whether an error only says that the process has ended. Reading the `stat` of one that just did is `ESRCH`.
fn gone(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(rustix::io::Errno::SRCH.raw_os_error())
}

/// What the kernel counts in.
#[derive(Clone, Copy)]
struct Units {
    /// Clock ticks per second.
    ticks: u64,
    /// Bytes of a page.
    page: u64,
}

fn ticks(count: u64, per_second: u64) -> Duration {
    let per_second = per_second.max(1);
    Duration::from_secs(count / per_second) + Duration::from_nanos(count % per_second * 1_000_000_000 / per_second)
}

/// Reads one line of `/proc/PID/stat`. The name is in parentheses and may hold any byte, also `)`, so that fields are
/// counted after the last one. Source: `proc_pid_stat(5)`.
fn parse_stat(text: &str, units: Units) -> Option<Process> {
    let (pid, rest) = text.split_once(" (")?;
    let (name, rest) = rest.rsplit_once(") ")?;
    let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
    // the page counts them from 1, and the state is the third
    let field = |number: usize| fields.get(number - 3).copied();
    let count = |number: usize| field(number)?.parse::<u64>().ok();
    let id = |number: usize| field(number)?.parse::<u32>().ok();
    Some(Process {
        pid: pid.parse().ok()?,
        name: name.to_owned(),
        state: match field(3)? {
            "R" => State::Running,
            "S" => State::Sleeping,
            "D" => State::Waiting,
            "T" | "t" => State::Stopped,
            "Z" | "X" | "x" => State::Zombie,
            _ => State::Other,
        },
        parent: id(4)?,
        group: id(5)?,
        session: id(6)?,
        cpu: ticks(count(14)? + count(15)?, units.ticks),
        threads: id(20)?,
        start_ticks: count(22)?,
        resident: count(24)? * units.page,
    })
}

fn parse_meminfo(text: &str) -> Option<Memory> {
    let kibibytes = |key: &str| {
        let value = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))?;
        value.trim().strip_suffix(" kB")?.parse::<u64>().ok()
    };
    let total = kibibytes("MemTotal")? << 10;
    Some(Memory { used: total.saturating_sub(kibibytes("MemAvailable")? << 10), total })
}

#[cfg(test)]
mod tests {
    use std::{
        io::Read as _,
        os::unix::process::CommandExt as _,
        process::{Command, Stdio},
    };

    use proptest::prelude::*;

    use super::*;

    const UNITS: Units = Units { ticks: 100, page: 4096 };

    fn line(name: &str) -> String {
        format!(
            "4242 ({name}) S 17 4242 4200 0 -1 4194304 1200 0 3 0 250 75 9 9 20 0 6 0 987654 123456789 2500 \
             18446744073709551615 1 1 0 0 0 0 0 4096 0 0 0 0 17 1 0 0 0 0 0 0 0 0 0 0 0 0 0\n"
        )
    }

    #[test]
    fn a_stat_line_is_read_whatever_the_name() {
        for name in ["node", "a) R 1 1 1 (b", ")", "", "tmux: server", "two\nlines"] {
            let process = parse_stat(&line(name), UNITS).unwrap();
            assert_eq!(process.name, name);
            assert_eq!((process.pid, process.parent, process.group, process.session), (4242, 17, 4242, 4200));
            assert_eq!((process.state, process.threads, process.start_ticks), (State::Sleeping, 6, 987_654));
            assert_eq!(process.cpu, Duration::from_millis(3250));
            assert_eq!(process.resident, 2500 * 4096);
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in ".{0,200}", cut in 0usize..200) {
            let _ = parse_stat(&text, UNITS);
            let whole = line("x");
            let _ = parse_stat(whole.get(..cut).unwrap_or_default(), UNITS);
            let _ = parse_meminfo(&text);
        }
    }

    #[test]
    fn this_process_is_found_with_its_memory_and_files() {
        let me = find(std::process::id()).unwrap().unwrap();
        assert_eq!(me.pid, std::process::id());
        assert!(me.resident > 1 << 16 && me.threads >= 1, "{me:?}");
        assert!(open_files(me.pid).unwrap().unwrap() >= 3);
        let age = Timestamp::now().duration_since(started_at(&me).unwrap());
        assert!(age.as_secs().abs() < 3600, "{age:?}");
        let memory = memory(me.pid).unwrap().unwrap();
        assert!(memory.used > 0 && memory.used < memory.total);
        assert_eq!(boot_id().unwrap().len(), 36);
    }

    #[test]
    fn a_group_is_seen_whole_and_its_end_is_seen_too() {
        let mut shell = Command::new("sh")
            .args(["-c", "sleep 60 & echo started; wait"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .process_group(0)
            .spawn()
            .unwrap();
        let mut started = [0; 8];
        shell.stdout.as_mut().unwrap().read_exact(&mut started).unwrap();
        let members = group(shell.id()).unwrap();
        assert_eq!(members.len(), 2, "{members:?}");
        let usage = sum(&members);
        assert_eq!(usage.processes, 2);
        assert_eq!(usage.resident, members[0].resident + members[1].resident);
        assert_eq!(members[1].parent, shell.id());

        for member in &members {
            rustix::process::kill_process(
                rustix::process::Pid::from_raw(i32::try_from(member.pid).unwrap()).unwrap(),
                rustix::process::Signal::KILL,
            )
            .unwrap();
        }
        shell.wait().unwrap();
        assert_eq!(find(shell.id()).unwrap(), None);
        assert_eq!(open_files(shell.id()).unwrap(), None);
        assert_eq!(memory(shell.id()).unwrap(), None);
    }

    #[test]
    fn a_zombie_uses_no_memory() {
        let mut ended = parse_stat(&line("x"), UNITS).unwrap();
        ended.state = State::Zombie;
        assert_eq!(sum(&[ended]), Usage { cpu: Duration::from_millis(3250), ..Usage::default() });
    }

    #[test]
    fn the_tightest_control_group_counts() {
        let root = std::env::temp_dir().join(format!("slipway-observe-{}", std::process::id()));
        let inner = root.join("apps/one");
        fs::create_dir_all(&inner).unwrap();
        let write = |folder: &Path, file: &str, text: &str| fs::write(folder.join(file), text).unwrap();
        write(&inner, "memory.max", "max\n");
        write(&inner, "memory.current", "900\n");
        write(inner.parent().unwrap(), "memory.max", "1000\n");
        write(inner.parent().unwrap(), "memory.current", "950\n");
        write(inner.parent().unwrap(), "memory.stat", "anon 1\ninactive_file 50\n");
        assert_eq!(group_memory(&root, "apps/one"), Some(Memory { used: 900, total: 1000 }));
        assert_eq!(group_memory(&root, "elsewhere"), None);
        fs::remove_dir_all(&root).unwrap();
    }

    #[test]
    fn the_hosts_memory_adds_up() {
        let memory = parse_meminfo("MemTotal:  1000 kB\nMemFree: 1 kB\nMemAvailable:   400 kB\n").unwrap();
        assert_eq!(memory, Memory { used: 600 << 10, total: 1000 << 10 });
        assert!(host_memory().unwrap().total > 1 << 24);
    }
}
