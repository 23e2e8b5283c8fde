//! Following logs: every line once, in order, whatever happens to the files.

use std::{fs, time::Duration};

use agent::log::{self, Follow, Stream, Writer};
use secrets::redact::Redactor;

async fn next(follow: &mut Follow) -> String {
    let next = tokio::time::timeout(Duration::from_secs(20), follow.next());
    next.await.expect("a line in time").unwrap().line
}

fn writer(folder: &std::path::Path, instance: &str, bounds: (u64, u32)) -> Writer {
    Writer::new(folder, "service.api", instance, bounds, Redactor::new([]))
}

#[tokio::test]
async fn the_last_lines_come_first_and_then_the_new_ones() {
    let folder = tempfile::tempdir().unwrap();
    let logs = folder.path().join("api");
    let mut early = log::follow(folder.path(), 10).await.unwrap();
    let mut writer = writer(&logs, "api-1", (1 << 20, 5));
    writer.push(Stream::Out, b"one\ntwo\nthree\n");
    let mut late = log::follow(folder.path(), 2).await.unwrap();
    for line in ["one", "two", "three"] {
        assert_eq!(next(&mut early).await, line);
    }
    writer.push(Stream::Out, b"four\n");
    for line in ["two", "three", "four"] {
        assert_eq!(next(&mut late).await, line);
    }
    // An instance that starts later, in a folder of its own.
    self::writer(&folder.path().join("web"), "web-1", (1 << 20, 5)).push(Stream::Err, b"hello\n");
    assert_eq!(next(&mut late).await, "hello");
    assert_eq!(next(&mut early).await, "four");
    assert_eq!(next(&mut early).await, "hello");
}

#[tokio::test]
async fn rotation_between_and_during_looks_loses_and_doubles_nothing() {
    const LINES: u32 = 10_000;
    let folder = tempfile::tempdir().unwrap();
    let logs = folder.path().to_owned();
    let mut follow = log::follow(&logs, 0).await.unwrap();
    let writing = tokio::task::spawn_blocking(move || {
        let mut writer = writer(&logs, "api-1", (20_000, 10_000));
        for number in 0..LINES {
            writer.push(Stream::Out, format!("{number}\n").as_bytes());
            if number % 100 == 0 {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
    });
    for number in 0..LINES {
        assert_eq!(next(&mut follow).await, number.to_string());
    }
    writing.await.unwrap();
    assert!(fs::read_dir(folder.path()).unwrap().count() > 5);
}

#[tokio::test]
async fn beginning_to_follow_while_lines_are_written_misses_none() {
    let folder = tempfile::tempdir().unwrap();
    let logs = folder.path().to_owned();
    let (stop, stopped) = std::sync::mpsc::channel::<()>();
    let writing = tokio::task::spawn_blocking(move || {
        let mut writer = writer(&logs, "api-1", (2_000, 10_000));
        let mut number = 0;
        while stopped.try_recv().is_err() {
            writer.push(Stream::Out, format!("{number}\n").as_bytes());
            number += 1;
            if number % 20 == 0 {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
    });
    for last in [1, 5, 50, 500, 0] {
        for _ in 0..2 {
            let mut follow = log::follow(folder.path(), last).await.unwrap();
            let first: u32 = next(&mut follow).await.parse().unwrap();
            for number in first + 1..first + 600 {
                assert_eq!(next(&mut follow).await, number.to_string());
            }
        }
    }
    stop.send(()).unwrap();
    writing.await.unwrap();
}

#[tokio::test]
async fn a_future_that_is_dropped_loses_no_line() {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = writer(folder.path(), "api-1", (1 << 20, 5));
    writer.push(Stream::Out, b"old\n");
    let mut follow = log::follow(folder.path(), 0).await.unwrap();
    for number in 0..200_u32 {
        writer.push(Stream::Out, format!("{number}\n").as_bytes());
    }
    let mut seen = Vec::new();
    while seen.len() < 200 {
        if let Ok(line) = tokio::time::timeout(Duration::from_micros(100_300), follow.next()).await {
            seen.push(line.unwrap().line);
        }
    }
    assert!(seen.into_iter().eq((0..200_u32).map(|number| number.to_string())));
}

#[tokio::test]
async fn an_emptied_file_is_followed_on() {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = writer(folder.path(), "api-1", (1 << 20, 5));
    writer.push(Stream::Out, b"one\n");
    let mut follow = log::follow(folder.path(), 1).await.unwrap();
    assert_eq!(next(&mut follow).await, "one");
    fs::File::create(folder.path().join("service.api@api-1.log")).unwrap();
    // A look at the empty file: nothing looks while nobody asks for a line.
    tokio::time::timeout(Duration::from_millis(400), follow.next()).await.unwrap_err();
    writer.push(Stream::Out, b"two\n");
    assert_eq!(next(&mut follow).await, "two");
}
