//! What a program writes is kept: whole, in order, bounded and redacted.

use std::{fs, os::unix::fs::symlink, path::Path};

use agent::log::{self, Stream, Writer};
use proptest::prelude::*;
use secrets::redact::Redactor;

fn writer(folder: &Path, bounds: (u64, u32), secrets: &[&str]) -> Writer {
    let redactor = Redactor::new(secrets.iter().map(|secret| (*secret).to_owned()));
    Writer::new(folder, "service.api", "api-1", bounds, redactor)
}

fn lines(folder: &Path) -> Vec<String> {
    log::read(folder, usize::MAX).unwrap().into_iter().map(|line| line.line).collect()
}

#[test]
fn chunks_become_lines() {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = writer(folder.path(), (1 << 20, 5), &[]);
    for chunk in ["one\ntw", "o\r\n", "", "\n", "thr", "ee", "\nfour"] {
        writer.push(Stream::Out, chunk.as_bytes());
    }
    writer.push(Stream::Err, b"bad \xff\xc3 byte\n");
    assert_eq!(lines(folder.path()), ["one", "two", "", "three", "bad \u{fffd}\u{fffd} byte"]);
    writer.finish();
    let all = log::read(folder.path(), usize::MAX).unwrap();
    let four = all.last().unwrap();
    assert_eq!((four.line.as_str(), four.stream.as_str(), four.instance.as_str()), ("four", "out", "api-1"));
}

#[test]
fn files_stay_within_their_bounds() {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = writer(folder.path(), (10_000, 3), &[]);
    for number in 0..2000 {
        writer.push(Stream::Out, format!("line {number}\n").as_bytes());
    }
    let files: Vec<u64> =
        fs::read_dir(folder.path()).unwrap().map(|file| file.unwrap().metadata().unwrap().len()).collect();
    assert_eq!(files.len(), 3);
    assert!(files.iter().all(|bytes| *bytes <= 10_000), "{files:?}");
    let lines = lines(folder.path());
    let first: usize = lines[0].strip_prefix("line ").unwrap().parse().unwrap();
    assert!(first > 1000);
    assert!((first..2000).map(|number| format!("line {number}")).eq(lines), "a gap");
}

#[test]
fn a_long_line_becomes_several_with_a_mark() {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = writer(folder.path(), (1 << 20, 5), &[]);
    let long = "äöü€ ".repeat(20_000);
    for chunk in long.as_bytes().chunks(999) {
        writer.push(Stream::Out, chunk);
    }
    writer.push(Stream::Out, b"\nshort\n");
    let lines = lines(folder.path());
    let (short, pieces) = lines.split_last().unwrap();
    assert_eq!(short, "short");
    assert!(pieces.len() > 2 && pieces.iter().all(|piece| piece.len() <= (64 << 10) + 8));
    let joined: String = pieces.iter().map(|piece| piece.trim_matches('…')).collect();
    assert_eq!(joined, long);
    assert!(pieces[0].ends_with('…') && pieces[1].starts_with('…') && !pieces[0].starts_with('…'));
}

// proves S4.P7
#[test]
fn a_secret_on_a_cut_is_redacted() {
    let secret = "a-secret-of-a-certain-length";
    let folder = tempfile::tempdir().unwrap();
    for offset in 0..80 {
        let mut writer = writer(folder.path(), (1 << 20, 2), &[secret]);
        let text = format!(
            "{}{secret}{}password=hunter2 end\n",
            "x".repeat((60 << 10) - 50 + offset),
            " ".repeat((60 << 10) - 40)
        );
        writer.push(Stream::Out, text.as_bytes());
    }
    // Without an end, and longer than any buffer.
    let mut endless = writer(folder.path(), (1 << 20, 2), &[secret]);
    endless.push(Stream::Err, format!("token={} after\n", "hunter2-".repeat(40_000)).as_bytes());
    for file in fs::read_dir(folder.path()).unwrap() {
        let text = fs::read_to_string(file.unwrap().path()).unwrap();
        assert!(!text.contains(secret) && !text.contains("hunter2"));
    }
    assert!(lines(folder.path()).iter().any(|line| line.ends_with("after")));
}

#[test]
fn a_full_disk_loses_lines_and_tells_so() {
    let folder = tempfile::tempdir().unwrap();
    let current = folder.path().join("service.api@api-1.log");
    symlink("/dev/full", &current).unwrap();
    let mut writer = writer(folder.path(), (1 << 20, 5), &[]);
    writer.push(Stream::Out, b"one\ntwo\n");
    writer.push(Stream::Err, b"three\n");
    assert_eq!(writer.lost(), 3);
    fs::remove_file(&current).unwrap();
    writer.push(Stream::Out, b"four\n");
    assert_eq!(lines(folder.path()), ["3 lines lost: disk full", "four"]);
    assert_eq!(writer.lost(), 3);
}

#[test]
fn a_record_that_was_torn_spoils_no_other() {
    let folder = tempfile::tempdir().unwrap();
    writer(folder.path(), (1 << 20, 5), &[]).push(Stream::Out, b"one\n");
    let current = folder.path().join("service.api@api-1.log");
    let mut torn = fs::read_to_string(&current).unwrap();
    torn.push_str("2026-11-25T16:12:13.123");
    fs::write(&current, torn).unwrap();
    writer(folder.path(), (1 << 20, 5), &[]).push(Stream::Out, b"two\n");
    assert_eq!(lines(folder.path()), ["one", "two"]);
}

#[test]
fn several_instances_share_a_folder() {
    let folder = tempfile::tempdir().unwrap();
    std::thread::scope(|scope| {
        for instance in ["api-1", "api-2", "api-3"] {
            let folder = folder.path();
            scope.spawn(move || {
                let mut writer = Writer::new(folder, "service.api", instance, (20_000, 50), Redactor::new([]));
                for number in 0..500 {
                    writer.push(Stream::Out, format!("{number}\n").as_bytes());
                }
            });
        }
    });
    let all = log::read(folder.path(), usize::MAX).unwrap();
    assert_eq!(all.len(), 1500);
    assert!(all.is_sorted_by_key(|line| line.at));
    for instance in ["api-1", "api-2", "api-3"] {
        let own = all.iter().filter(|line| line.instance == instance).map(|line| line.line.clone());
        assert!(own.eq((0..500).map(|number| number.to_string())), "{instance}");
    }
}

proptest! {
    // proves S4.P7
    #[test]
    fn no_known_value_reaches_a_file_however_the_stream_is_cut(
        secrets in proptest::collection::vec("[a-zA-Z0-9/+=@:_!-]{4,40}", 1..4),
        texts in proptest::collection::vec("[ -~ä]{0,30}", 2..8),
        sizes in proptest::collection::vec(1_usize..20, 1..10),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let names: Vec<&str> = secrets.iter().map(String::as_str).collect();
        let mut writer = writer(folder.path(), (1 << 20, 5), &names);
        let mut stream = String::new();
        for (number, text) in texts.iter().enumerate() {
            stream.push_str(text);
            stream.push_str(&secrets[number % secrets.len()]);
            stream.push_str(if number % 3 == 2 { "\n" } else { "" });
        }
        let mut bytes = stream.as_bytes();
        for size in sizes.iter().cycle() {
            let (chunk, rest) = bytes.split_at((*size).min(bytes.len()));
            writer.push(Stream::Out, chunk);
            bytes = rest;
            if bytes.is_empty() {
                break;
            }
        }
        writer.finish();
        for line in lines(folder.path()) {
            for secret in &secrets {
                prop_assert!(!line.contains(secret.as_str()), "{secret:?} in {line:?}");
            }
        }
    }
}
