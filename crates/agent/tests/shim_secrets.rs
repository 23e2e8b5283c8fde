//! What a shim must never show, and how small it must stay.

mod shim_support;

use std::{fs, path::Path};

use agent::shim;
use shim_support::{Bed, binary, eventually};

const SECRET: &str = "s3cr3t-v4lue-Xy/91";

/// Whether any file below a folder holds a text.
fn holds(folder: &Path, text: &str) -> Option<String> {
    for entry in fs::read_dir(folder).unwrap().flatten() {
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            if let Some(found) = holds(&entry.path(), text) {
                return Some(found);
            }
        } else if kind.is_file()
            && fs::read(entry.path()).unwrap().windows(text.len()).any(|window| window == text.as_bytes())
        {
            return Some(entry.path().display().to_string());
        }
    }
    None
}

// proves S4.P7
#[tokio::test]
async fn a_secret_is_in_no_argument_and_in_no_file() {
    let bed = Bed::new();
    let mut spec = bed.sh(
        "echo plain $API_KEY_VALUE end; printf 'half %.9s' $API_KEY_VALUE; sleep 0.05; \
         echo ${API_KEY_VALUE#?????????} whole; echo password=hunter2 >&2; \
         printf '%s' $API_KEY_VALUE | base64; exec sleep 600",
    );
    spec.env.insert("API_KEY_VALUE".to_owned(), SECRET.to_owned());
    spec.secrets.push(SECRET.to_owned());
    let running = bed.start(&spec).await;
    eventually("all lines", || bed.lines().len() == 4).await;
    let mut lines = bed.lines();
    lines.sort();
    assert_eq!(lines, ["[redacted]", "half [redacted] whole", "password=[redacted]", "plain [redacted] end"]);
    for pid in [running.pid(), running.shim_pid()] {
        let arguments = fs::read(format!("/proc/{pid}/cmdline")).unwrap();
        assert!(!String::from_utf8_lossy(&arguments).contains(SECRET));
    }
    let environment = fs::read(format!("/proc/{}/environ", running.shim_pid())).unwrap();
    assert!(!String::from_utf8_lossy(&environment).contains(SECRET), "the shim's own environment");
    running.kill().await.unwrap();
    assert_eq!(holds(bed.path(), SECRET), None);
    assert_eq!(holds(bed.path(), "hunter2"), None);
}

/// Private memory of a process in KiB.
fn private(pid: u32) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap();
    let number = |name: &str| {
        let line = text.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap()
    };
    number("Private_Clean:") + number("Private_Dirty:")
}

#[tokio::test]
async fn a_shim_stays_small_also_after_a_burst() {
    let bed = Bed::new();
    // A second one, as on any host: pages of the program's file are shared, and no shim's own.
    let mut other = bed.sh("exec sleep 600");
    other.instance = "other-1".to_owned();
    let second = shim::start(binary(), &bed.path().join("other"), &other).await.unwrap();
    let mut spec = bed.sh("yes 'a line of some forty bytes, many times' | head -n 200000; echo done; exec sleep 600");
    spec.secrets.extend((0..20).map(|number| format!("secret-value-{number}-of-thirty-bytes")));
    for number in 0..60 {
        spec.env.insert(format!("VARIABLE_{number}"), "x".repeat(200));
    }
    let idle = private(second.shim_pid());
    let running = bed.start(&spec).await;
    bed.line("done").await;
    let busy = private(running.shim_pid());
    println!("private memory: idle {idle} KiB, with 20 secrets and after a burst {busy} KiB");
    assert!(idle < 1500 && busy < 1500, "{idle} KiB, {busy} KiB");
    running.kill().await.unwrap();
    second.kill().await.unwrap();
}
