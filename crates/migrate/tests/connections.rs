//! Connecting, asking for health, copying.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod bed;

use std::time::{Duration, Instant};

use bed::{Bed, Files, up};
use migrate::{ConnectOptions, Database, MigrateError, check_connection, snapshot_sqlite};

// proves S4.E4
#[tokio::test]
async fn an_unreachable_port_is_tried_four_times_with_growing_waits() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let url = format!("postgres://ann:hunter2@127.0.0.1:{port}/shop");
    let begun = Instant::now();
    let error = Database::connect(&url, &ConnectOptions::default()).await.unwrap_err();
    let MigrateError::Connect { tries: 4, elapsed, .. } = error else { panic!("{error}") };
    assert!(elapsed <= begun.elapsed() && elapsed >= Duration::from_millis(1750), "{elapsed:?}");
    let shown = error.to_string();
    assert!(shown.contains(&format!("`shop` at 127.0.0.1:{port} as `ann`")), "{shown}");
    assert!(shown.contains("refused") && shown.ends_with("host and port are right"), "{shown}");
    assert!(!shown.contains("hunter2") && !format!("{error:?}").contains("hunter2"));
}

// proves S4.E4
#[tokio::test]
async fn a_server_that_comes_up_late_is_reached() {
    let server = bed::Server::get();
    let late = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let real = server.port;
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(400)).await;
        let listener = tokio::net::TcpListener::bind(late).await.unwrap();
        while let Ok((mut visitor, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut there = tokio::net::TcpStream::connect(("127.0.0.1", real)).await.unwrap();
                let _ = tokio::io::copy_bidirectional(&mut visitor, &mut there).await;
            });
        }
    });
    let url = format!("postgres://postgres@127.0.0.1:{}/postgres", late.port());
    Database::connect(&url, &ConnectOptions::default()).await.unwrap().close().await;
}

#[tokio::test]
async fn sqlite_is_made_with_its_folder_and_with_safe_settings() {
    let bed = Bed::sqlite();
    let url = format!("sqlite://{}/a/b/app.db", bed.path().display());
    let looking = ConnectOptions { create: false, ..ConnectOptions::default() };
    let files = Files::tables(2);
    let mut database = Database::connect(&url, &looking).await.unwrap();
    assert_eq!(migrate::pending(&mut database, &files.read()).await.unwrap().len(), 2);
    assert!(matches!(up(&mut database, &files).await, Err(MigrateError::Absent(_))));
    assert!(!bed.path().join("a").exists(), "looking makes nothing");

    let mut database = Database::connect(&url, &ConnectOptions::default()).await.unwrap();
    up(&mut database, &files).await.unwrap();
    let mut admin = bed::Admin::connect(&url).await;
    assert_eq!(admin.ask("SELECT journal_mode FROM pragma_journal_mode").await, ["wal"]);

    std::fs::write(bed.path().join("text.db"), "this is a letter, not a database; it is long enough to be read")
        .unwrap();
    let url = format!("sqlite://{}/text.db", bed.path().display());
    let error = Database::connect(&url, &ConnectOptions::default()).await.unwrap_err().to_string();
    assert!(error.contains("not a database") && error.contains("tried 1 times"), "{error}");
}

#[tokio::test]
async fn a_sqlite_table_is_rebuilt_with_foreign_keys_off_and_checked() {
    let bed = Bed::sqlite();
    let files = Files::new(&[
        (
            "1_t.sql",
            "CREATE TABLE p (a INTEGER PRIMARY KEY);\nCREATE TABLE c (p INTEGER REFERENCES p ON DELETE CASCADE);\n\
             INSERT INTO p VALUES (1);\nINSERT INTO c VALUES (1);",
        ),
        (
            "2_rebuild.sql",
            "-- slipway: foreign-keys-off\nCREATE TABLE q (a INTEGER PRIMARY KEY, b TEXT);\n\
             INSERT INTO q (a) SELECT a FROM p;\nDROP TABLE p;\nALTER TABLE q RENAME TO p;",
        ),
    ]);
    let mut database = bed.connect().await;
    up(&mut database, &files).await.unwrap();
    assert_eq!(bed.admin().await.ask("SELECT CAST(p AS text) FROM c").await, ["1"], "nothing cascaded");
    files.write("3_bad.sql", "-- slipway: foreign-keys-off\nDELETE FROM p;");
    let error = up(&mut database, &files).await.unwrap_err().to_string();
    assert!(error.contains("row 1 of table c refers to a row of p that is missing"), "{error}");
    files.write("3_bad.sql", "INSERT INTO c VALUES (7);");
    let error = up(&mut database, &files).await.unwrap_err().to_string();
    assert!(error.contains("FOREIGN KEY constraint failed"), "they are on again: {error}");
    files.write("3_bad.sql", "PRAGMA foreign_keys = off;");
    let error = up(&mut database, &files).await.unwrap_err().to_string();
    assert!(error.contains("3_bad.sql:1: ") && error.contains("foreign-keys-off"), "{error}");
}

// proves S4.P5
#[tokio::test]
async fn health_is_told_in_time_whatever_the_server_does() {
    let second = Duration::from_secs(1);
    for bed in Bed::both().await {
        bed.up(&Files::tables(1)).await.unwrap();
        assert!(check_connection(&bed.url, Duration::from_secs(5)).await.unwrap() < Duration::from_secs(5));
    }
    let bed = Bed::sqlite();
    check_connection(&bed.url, second).await.unwrap_err();
    assert!(!bed.path().join("app.db").exists(), "asking makes no file");

    // takes the connection and says nothing
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("postgres://ann:hunter2@{}/shop", silent.local_addr().unwrap());
    let begun = Instant::now();
    let error = check_connection(&url, Duration::from_millis(300)).await.unwrap_err();
    assert!(begun.elapsed() < Duration::from_millis(800) && !error.contains("hunter2"), "{error}");
    assert!(error.ends_with("does not answer within 300 ms"), "{error}");
    assert!(!check_connection("mysql://a:hunter2@b/c", second).await.unwrap_err().contains("hunter2"));
}

#[tokio::test]
async fn a_snapshot_is_whole_while_others_write() {
    let bed = Bed::sqlite();
    let files = Files::new(&[("1_t.sql", "CREATE TABLE t (a int, b int);")]);
    bed.up(&files).await.unwrap();
    let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let writer = {
        let (url, stop) = (bed.url.clone(), stop.clone());
        tokio::spawn(async move {
            let mut admin = bed::Admin::connect(&url).await;
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                // two rows at a time, so an odd count is a torn copy
                admin.run("PRAGMA busy_timeout = 5000; BEGIN IMMEDIATE; INSERT INTO t VALUES (1, 1); INSERT INTO t VALUES (2, 2); COMMIT").await;
            }
        })
    };
    let copy = bed.path().join("copy.db");
    for _ in 0..5 {
        let bytes = snapshot_sqlite(bed.path().join("app.db"), &copy).await.unwrap();
        assert_eq!(bytes, copy.metadata().unwrap().len());
        let mut admin = bed::Admin::connect(&format!("sqlite://{}", copy.display())).await;
        assert_eq!(admin.ask("SELECT CAST(count(*) % 2 AS text) FROM t").await, ["0"]);
    }
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    writer.await.unwrap();

    let error = snapshot_sqlite(bed.path().join("none.db"), &copy).await.unwrap_err().to_string();
    assert!(error.contains("no such file"), "{error}");
    let nowhere = bed.path().join("nowhere/copy.db");
    snapshot_sqlite(bed.path().join("app.db"), &nowhere).await.unwrap_err();
    let left: Vec<_> = std::fs::read_dir(bed.path())
        .unwrap()
        .filter(|entry| entry.as_ref().unwrap().file_name().to_string_lossy().contains("partial"))
        .collect();
    assert!(left.is_empty(), "{left:?}");
}
