//! Ends what a test's host has started, down to the last process.
//!
//! What shims wrote down is not enough to find it: a shim that has just been started has written nothing yet, and goes on
//! to start its program after the agent is gone. So every process of the machine is looked at.

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

/// Kills every process that works in `folder`, or whose command line or environment names it, and waits until there is
/// none. The folder's name is unique on the machine. Says how many there were at first.
pub(crate) fn end_all_of(folder: &Path) -> usize {
    let began = Instant::now();
    let (first, mut calm) = (end_some_of(folder), 0);
    // one look may miss a process that another one started and then ended
    while calm < 2 {
        calm = if end_some_of(folder) == 0 { calm + 1 } else { 0 };
        if began.elapsed() > Duration::from_secs(30) {
            eprintln!("what works in {} does not end", folder.display());
            break;
        }
    }
    first
}

/// Kills those that are there now. Says how many.
fn end_some_of(folder: &Path) -> usize {
    let mut count = 0;
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let pid = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok()).and_then(Pid::from_raw);
        // held from before the look on, so that no other process gets the signal
        let Some(process) = pid.and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok()) else { continue };
        if is_of(&entry.path(), folder) && pidfd_send_signal(&process, Signal::KILL).is_ok() {
            count += 1;
        }
    }
    count
}

fn is_of(process: &Path, folder: &Path) -> bool {
    if process.ends_with(std::process::id().to_string()) {
        return false;
    }
    let name = folder.as_os_str().as_encoded_bytes();
    let names = |file: &str| {
        fs::read(process.join(file)).is_ok_and(|text| text.windows(name.len()).any(|window| window == name))
    };
    fs::read_link(process.join("cwd")).is_ok_and(|cwd| cwd.starts_with(folder)) || names("cmdline") || names("environ")
}
