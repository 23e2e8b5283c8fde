//! Processes that were started here, and what the kernel says about any process.

use std::{
    fs,
    io::Read as _,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

use crate::fault::{Doing, Fault};

/// A process that ends with this value.
#[derive(Debug)]
pub(crate) struct Running {
    child: Child,
    name: String,
}

impl Running {
    /// Starts a program in the background, silent unless it fails.
    pub(crate) fn start(name: &str, command: &mut Command) -> Result<Self, Fault> {
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .doing(format_args!("{name} does not start"))?;
        Ok(Self { child, name: name.to_owned() })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits until `ready`, at most 15 s, and says what the program wrote when it ended before.
    pub(crate) fn wait_until(&mut self, ready: impl Fn() -> bool) -> Result<(), Fault> {
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(15) {
            if ready() {
                return Ok(());
            }
            if let Ok(Some(status)) = self.child.try_wait() {
                let mut text = String::new();
                if let Some(mut stderr) = self.child.stderr.take() {
                    let _ = stderr.read_to_string(&mut text);
                }
                return Err(Fault::new(format!("{} ended with {status}: {}", self.name, text.trim())));
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        Err(Fault::new(format!("{} was not ready within 15 s", self.name)))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            signal(self.child.id(), Signal::TERM);
            let begun = Instant::now();
            while begun.elapsed() < Duration::from_secs(3) {
                if !matches!(self.child.try_wait(), Ok(None)) {
                    return;
                }
                std::thread::sleep(Duration::from_millis(10));
            }
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// Sends a signal to a process; one that is gone is fine.
pub(crate) fn signal(pid: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        let _ = kill_process(pid, signal);
    }
}

/// CPU time a process has used so far, user and system, in microseconds. Counted in ticks of usually 10 ms.
pub(crate) fn cpu_micros(pid: u32) -> Result<f64, Fault> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).doing(format_args!("process {pid} is gone"))?;
    // the name stands in parentheses and may contain anything
    let rest = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let fields: Vec<&str> = rest.split_whitespace().collect();
    // fields 14 and 15 of proc(5), counted from the one after the name, which is 3
    let ticks: f64 = [11, 12].iter().filter_map(|at| fields.get(*at)?.parse::<f64>().ok()).sum();
    let hertz = u32::try_from(rustix::param::clock_ticks_per_second()).map_or(100.0, f64::from);
    Ok(ticks * 1e6 / hertz)
}

/// Memory of a process, in MiB.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Memory {
    /// Resident, shared pages counted whole.
    pub(crate) resident: f64,
    /// What would be free if it ended.
    pub(crate) private: f64,
}

/// Reads a process's memory.
pub(crate) fn memory(pid: u32) -> Result<Memory, Fault> {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))
        .doing(format_args!("cannot read the memory of process {pid}"))?;
    let mebibytes = |key: &str| -> f64 {
        let line = text.lines().find(|line| line.starts_with(key));
        line.and_then(|line| line.split_whitespace().nth(1)?.parse::<f64>().ok()).unwrap_or(0.0) / 1024.0
    };
    Ok(Memory { resident: mebibytes("Rss:"), private: mebibytes("Private_Clean:") + mebibytes("Private_Dirty:") })
}
