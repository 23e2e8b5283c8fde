//! What a shim must never show, and how small it must stay.

use std::{fs, path::Path};

use crate::bed::{Bed, eventually};

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
    let mut spec = bed.sh("echo plain $API_KEY_VALUE end; printf 'half %.9s' $API_KEY_VALUE; sleep 0.05; \
         echo ${API_KEY_VALUE#?????????} whole; echo password=hunter2 >&2; \
         printf '%s' $API_KEY_VALUE | base64; exec sleep 600");
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

/// Memory in KiB that belongs to a process alone, and how much of it the dynamic loader wrote into copies of the
/// program's pages (relocations: they grow with the program, not with what the shim does).
///
/// Pages of the program's file itself are left out, which `smaps` also calls private when no other process has touched
/// the same ones, and dirty when the file was just linked.
fn private(pid: u32) -> (u64, u64) {
    let (mut all, mut relocated, mut is_program) = (0, 0, false);
    for line in fs::read_to_string(format!("/proc/{pid}/smaps")).unwrap().lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        if words[0].contains('-') {
            is_program = words.last().is_some_and(|path| path.ends_with("agent-test"));
        } else if words[0] == "Anonymous:" {
            let size: u64 = words[1].parse().unwrap();
            all += size;
            relocated += if is_program { size } else { 0 };
        }
    }
    (all, relocated)
}

#[tokio::test]
async fn a_shim_stays_small_also_after_a_burst() {
    let bed = Bed::new();
    let mut spec = bed.sh("sleep 0.3; yes 'a line of some forty bytes, many times' | head -n 200000; \
         head -c 300000 /dev/zero | tr '\\0' x; echo; echo done; exec sleep 600");
    spec.secrets.extend((0..20).map(|number| format!("secret-value-{number}-of-thirty-bytes")));
    for number in 0..60 {
        spec.env.insert(format!("VARIABLE_{number}"), "x".repeat(200));
    }
    let running = bed.start(&spec).await;
    let (idle, relocated) = private(running.shim_pid());
    bed.line("done").await;
    let (busy, _) = private(running.shim_pid());
    println!("private memory with 20 secrets: {idle} KiB, after a burst {busy} KiB, {relocated} KiB of it relocations");
    if !cfg!(debug_assertions) {
        assert!(busy < 1024, "{busy} KiB");
    }
    assert!(busy - relocated < 512, "{busy} KiB, {relocated} KiB of it relocations");
    running.kill().await.unwrap();
}
