//! What only PostgreSQL has.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod bed;

use std::time::{Duration, Instant};

use bed::{Bed, Files, Server, quiet, up};
use migrate::{Database, Event, Left, MigrateError, Up};

async fn failure(bed: &Bed, text: &str) -> migrate::Failure {
    let files = Files::new(&[("1_a.sql", text)]);
    match bed.up(&files).await.unwrap_err() {
        MigrateError::Failed(failure) => *failure,
        other => panic!("{other}"),
    }
}

// proves S4.E3
#[tokio::test]
async fn an_error_names_file_line_and_column_in_characters() {
    let bed = Bed::postgres().await;
    let found = failure(&bed, "-- größe;\nSELECT 'ä;ö';\n\nSELECT 'äöü', nosuch\n  FROM pg_class;\n").await;
    assert_eq!((found.line, found.column, &*found.sql), (4, 15, "SELECT 'äöü', nosuch"));
    assert_eq!(found.code.as_deref(), Some("42703"));

    let found =
        failure(&bed, "CREATE TABLE t (a int UNIQUE);\nINSERT INTO t VALUES (1);\nINSERT INTO t\n VALUES (1);").await;
    assert_eq!((found.line, found.column), (3, 1), "an error without a position is at its statement");
    assert_eq!(found.detail.as_deref(), Some("Key (a)=(1) already exists."));

    let found = failure(&bed, "DO $$\nBEGIN\n  PERFORM nosuch(1);\nEND $$;").await;
    assert_eq!((found.line, found.left), (1, Left::Nothing));
    assert!(found.context.unwrap().contains("PL/pgSQL"));

    let found = failure(&bed, "CREATE TABLE u (a int);\nINSERT INTO u (b) VALUES (1);").await;
    let shown = found.to_string();
    assert!(shown.contains(" 2 | INSERT INTO u (b) VALUES (1);\n   |                ^\n"), "{shown}");

    let deferred = "CREATE TABLE p (a int PRIMARY KEY);\n\
                    CREATE TABLE c (a int REFERENCES p DEFERRABLE INITIALLY DEFERRED);\nINSERT INTO c VALUES (1);";
    let found = failure(&bed, deferred).await;
    assert!(found.message.starts_with("at the commit: ") && found.left == Left::Nothing, "{found}");
    assert!(bed.admin().await.tables().await.is_empty());
}

#[tokio::test]
async fn an_index_is_made_concurrently_outside_a_transaction() {
    let bed = Bed::postgres().await;
    let files =
        Files::new(&[("1_t.sql", "CREATE TABLE t (a int);"), ("2_i.sql", "CREATE INDEX CONCURRENTLY i ON t (a);")]);
    let error = bed.up(&files).await.unwrap_err().to_string();
    assert!(error.contains("hint: put `-- slipway: no-transaction`"), "{error}");

    // others wait for the lock meanwhile, and must not hold a snapshot the index would wait for
    files.write(
        "2_i.sql",
        "-- slipway: no-transaction\nCREATE INDEX CONCURRENTLY i ON t (a);\nCREATE INDEX CONCURRENTLY j ON t (a);",
    );
    let runs: Vec<_> = (0..4)
        .map(|_| {
            let (url, folder) = (bed.url.clone(), files.read());
            tokio::spawn(async move {
                let mut database = Database::connect(&url, &bed::patient()).await.unwrap();
                migrate::up(&mut database, &folder, &Up::default(), &mut quiet).await.unwrap().len()
            })
        })
        .collect();
    let mut applied = 0;
    for run in runs {
        applied += tokio::time::timeout(Duration::from_secs(30), run).await.expect("a deadlock").unwrap();
    }
    assert_eq!(applied, 1);

    let files = Files::new(&[
        ("1_t.sql", "CREATE TABLE t (a int);"),
        ("2_i.sql", &std::fs::read_to_string(files.path().join("2_i.sql")).unwrap()),
        ("3_rows.sql", "INSERT INTO t VALUES (1), (1);"),
        ("4_u.sql", "-- slipway: no-transaction\nCREATE UNIQUE INDEX CONCURRENTLY u ON t (a);"),
    ]);
    let error = bed.up(&files).await.unwrap_err().to_string();
    assert!(error.contains("invalid index u; drop it"), "{error}");
}

#[tokio::test]
async fn a_table_in_use_is_asked_for_again_and_then_given_up() {
    let bed = Bed::postgres().await;
    let files = Files::new(&[("1_t.sql", "CREATE TABLE t (a int);")]);
    let mut database = bed.connect().await;
    up(&mut database, &files).await.unwrap();
    files.write("2_b.sql", "ALTER TABLE t ADD COLUMN b int;");
    let mut other = bed.admin().await;
    other.run("SET application_name = 'report'; BEGIN; SELECT * FROM t").await;

    let mut tries = 0;
    let begun = Instant::now();
    let count = &mut |event| tries += usize::from(matches!(event, Event::Retrying { .. }));
    let error = migrate::up(&mut database, &files.read(), &Up::default(), count).await.unwrap_err().to_string();
    assert_eq!(tries, 3);
    assert!(error.contains("lock timeout") && error.contains("(report), open for"), "{error}");
    assert!(begun.elapsed() < Duration::from_secs(30));

    let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
    let folder = files.read();
    let run = tokio::spawn(async move {
        let mut events = move |event| drop(tell.send(event));
        migrate::up(&mut database, &folder, &Up::default(), &mut events).await
    });
    while !matches!(told.recv().await, Some(Event::Retrying { .. })) {}
    other.run("COMMIT").await;
    assert_eq!(run.await.unwrap().unwrap()[0].version, 2);
}

#[tokio::test]
async fn a_connection_lost_in_the_middle_leaves_nothing() {
    let bed = Bed::postgres().await;
    let files = Files::new(&[("1_t.sql", "CREATE TABLE t (a int);\nSELECT pg_sleep(60);")]);
    let mut database = bed.connect().await;
    let folder = files.read();
    let url = bed.url.clone();
    let killer = tokio::spawn(async move {
        let mut admin = bed::Admin::connect(&url).await;
        let sleeping = "SELECT 'x' FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'SELECT pg_sleep%' \
                        AND wait_event = 'PgSleep'";
        while admin.ask(sleeping).await.is_empty() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        admin
            .run("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()")
            .await;
    });
    let error = migrate::up(&mut database, &folder, &Up::default(), &mut quiet).await.unwrap_err().to_string();
    assert!(error.contains("1_t.sql:2:1") && error.contains("nothing of it was kept"), "{error}");
    killer.await.unwrap();
    // the same handle comes back by itself
    files.write("1_t.sql", "CREATE TABLE t (a int);");
    assert_eq!(up(&mut database, &files).await.unwrap(), [1]);
}

#[tokio::test]
async fn what_one_migration_sets_does_not_leak() {
    let bed = Bed::postgres().await;
    let files = Files::new(&[
        ("1_a.sql", "CREATE SCHEMA other;\nSET search_path = other;\nSELECT set_config('role', 'pg_monitor', false);"),
        ("2_b.sql", "CREATE TABLE t (a int);"),
    ]);
    bed.up(&files).await.unwrap();
    assert_eq!(bed.admin().await.tables().await, ["t"]);
    assert_eq!(
        bed.admin().await.ask("SELECT schemaname::text FROM pg_tables WHERE tablename = 'migrations'").await,
        ["public"]
    );
}

#[tokio::test]
async fn a_schema_of_the_search_path_holds_the_table() {
    let bed = Bed::postgres().await;
    let url = format!("{}?options=-csearch_path%3Dshop", bed.url);
    let files = Files::tables(1);
    let mut database = Database::connect(&url, &bed::patient()).await.unwrap();
    let error = up(&mut database, &files).await.unwrap_err().to_string();
    assert!(error.contains("search_path"), "{error}");
    bed.admin().await.run("CREATE SCHEMA shop").await;
    up(&mut database, &files).await.unwrap();
    let rows =
        bed.admin().await.ask("SELECT schemaname::text FROM pg_tables WHERE tablename IN ('migrations', 't1')").await;
    assert_eq!(rows, ["shop", "shop"]);
}

// proves S4.E4
#[tokio::test]
async fn a_wrong_password_is_tried_again_and_never_shown() {
    let bed = Bed::postgres().await;
    bed.admin()
        .await
        .run("DO $$ BEGIN CREATE ROLE ann LOGIN PASSWORD 'right'; EXCEPTION WHEN duplicate_object THEN END $$")
        .await;
    let server = Server::get();
    let url = format!("postgres://ann:hunter%402@127.0.0.1:{}/{}", server.port, bed.url.rsplit('/').next().unwrap());
    let begun = Instant::now();
    let error = Database::connect(&url, &migrate::ConnectOptions::default()).await.unwrap_err();
    let (shown, debugged) = (error.to_string(), format!("{error:?}"));
    assert!(shown.contains("tried 4 times in ") && shown.contains("check the user and the password"), "{shown}");
    assert!(shown.contains(&format!("127.0.0.1:{} as `ann`", server.port)), "{shown}");
    assert!(begun.elapsed() >= Duration::from_millis(1750), "250 ms, 500 ms and 1 s of waits");
    for text in [&shown, &debugged] {
        assert!(!text.contains("hunter"), "{text}");
    }
    let mut source = std::error::Error::source(&error);
    while let Some(cause) = source {
        assert!(!cause.to_string().contains("hunter"));
        source = cause.source();
    }
    let health = migrate::check_connection(&url, Duration::from_secs(2)).await.unwrap_err();
    assert!(health.contains("password authentication failed") && !health.contains("hunter"), "{health}");
}
