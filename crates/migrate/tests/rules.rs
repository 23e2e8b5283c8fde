//! The rules that hold for SQLite and PostgreSQL alike.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod bed;

use bed::{Bed, Files, quiet, up};
use migrate::{Direction, Down, Event, MigrateError, State, Up, Which};

fn steps(steps: usize) -> Down {
    Down { which: Which::Steps(steps), dry_run: false }
}

async fn states(bed: &Bed, files: &Files) -> Vec<(u64, State)> {
    let status = migrate::status(&mut bed.connect().await, &files.read()).await.unwrap();
    status.migrations.into_iter().map(|line| (line.version, line.state)).collect()
}

// proves S4.P2
// proves S4.P3
// proves S4.3
#[tokio::test]
async fn pending_run_once_in_order_and_are_recorded() {
    for bed in Bed::both().await {
        // each needs the one before, so any other order fails
        let files = Files::new(&[
            ("001_a.up.sql", "CREATE TABLE t (a int);"),
            ("002_b.up.sql", "ALTER TABLE t ADD COLUMN b int;"),
            ("010_c.up.sql", "INSERT INTO t (a, b) VALUES (1, 2);"),
        ]);
        let mut seen = Vec::new();
        let mut database = bed.connect().await;
        migrate::up(&mut database, &files.read(), &Up::default(), &mut |event| seen.push(event)).await.unwrap();
        let versions: Vec<_> = seen
            .iter()
            .map(|event| match event {
                Event::Started { version, direction: Direction::Up, .. } => (*version, "started"),
                Event::Ended { version, direction: Direction::Up, .. } => (*version, "ended"),
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(
            versions,
            [(1, "started"), (1, "ended"), (2, "started"), (2, "ended"), (10, "started"), (10, "ended")]
        );
        assert!(up(&mut database, &files).await.unwrap().is_empty());
        let mut admin = bed.admin().await;
        assert_eq!(admin.ask("SELECT CAST(count(*) AS text) FROM t").await, ["1"], "applied once");
        let rows = admin
            .ask("SELECT CAST(id AS text) || ' ' || CAST(version AS text) || ' ' || name FROM migrations ORDER BY id")
            .await;
        assert_eq!(rows, ["1 1 a", "2 2 b", "3 10 c"]);

        let status = migrate::status(&mut database, &files.read()).await.unwrap();
        assert!(status.is_current() && status.newest() == Some(10));
        let now = jiff::Timestamp::now().as_second();
        for line in &status.migrations {
            let at = line.applied_at.unwrap().as_second();
            assert!((now - 300..=now + 5).contains(&at) && line.millis.is_some(), "{line:?}");
        }
    }
}

// proves S4.E3
#[tokio::test]
async fn a_failing_migration_leaves_nothing_and_the_database_free() {
    for bed in Bed::both().await {
        let files = Files::tables(2);
        files.write(
            "002_t2.up.sql",
            "-- ä comment\nCREATE TABLE t2 (a int);\nINSERT INTO t2 VALUES (1);\n\n  INSERT INTO nosuch\n  VALUES (1);\n",
        );
        let mut database = bed.connect().await;
        let error = up(&mut database, &files).await.unwrap_err();
        let MigrateError::Failed(failure) = &error else { panic!("{error}") };
        assert_eq!((failure.line, failure.column), (5, 15), "{error}");
        assert_eq!(failure.sql, "  INSERT INTO nosuch");
        let text = error.to_string();
        assert!(text.contains("002_t2.up.sql:5:15: ") && text.contains("nosuch"), "{text}");
        assert!(text.contains("nothing of it was kept"), "{text}");
        assert_eq!(bed.admin().await.tables().await, ["t1"], "rolled back");
        assert_eq!(states(&bed, &files).await, [(1, State::Applied), (2, State::Pending)]);
        // the lock is free, for this connection and for another
        files.write("002_t2.up.sql", "CREATE TABLE t2 (a int);");
        assert_eq!(bed.up(&files).await.unwrap(), [2]);
        assert_eq!(up(&mut database, &files).await.unwrap(), [0; 0]);
    }
}

// proves S4.13
#[tokio::test]
async fn a_changed_file_and_a_late_one_are_refused() {
    for bed in Bed::both().await {
        let files = Files::tables(3);
        files.remove("002_t2.up.sql");
        files.remove("002_t2.down.sql");
        bed.up(&files).await.unwrap();

        files.write("002_late.up.sql", "CREATE TABLE late (a int);");
        let error = bed.up(&files).await.unwrap_err().to_string();
        assert!(error.contains("002_late.up.sql") && error.contains("newer 3"), "{error}");
        assert_eq!(states(&bed, &files).await[1], (2, State::OutOfOrder));
        let allowed = Up { allow_out_of_order: true, ..Up::default() };
        let applied = migrate::up(&mut bed.connect().await, &files.read(), &allowed, &mut quiet).await.unwrap();
        assert_eq!(applied[0].version, 2);

        files.write("001_t1.up.sql", "CREATE TABLE t1 (a int, b int);");
        files.write("004_new.up.sql", "CREATE TABLE new (a int);");
        let error = bed.up(&files).await.unwrap_err().to_string();
        assert!(error.contains("001_t1.up.sql") && error.contains("restore it"), "{error}");
        assert_eq!(states(&bed, &files).await[0], (1, State::Changed));
        assert!(!bed.admin().await.tables().await.contains(&"new".to_owned()), "nothing ran");
    }
}

#[tokio::test]
async fn an_older_release_is_not_disturbed_by_newer_migrations() {
    for bed in Bed::both().await {
        let files = Files::tables(3);
        bed.up(&files).await.unwrap();
        files.remove("003_t3.up.sql");
        files.remove("003_t3.down.sql");
        assert_eq!(bed.up(&files).await.unwrap(), [0; 0]);
        assert_eq!(states(&bed, &files).await[2], (3, State::Missing));
        let error = migrate::down(&mut bed.connect().await, &files.read(), &steps(1), &mut quiet)
            .await
            .unwrap_err()
            .to_string();
        assert!(error.contains("from the release that applied it"), "{error}");
    }
}

#[tokio::test]
async fn down_takes_the_newest_back_and_up_again_applies_them() {
    for bed in Bed::both().await {
        let files = Files::tables(4);
        let mut database = bed.connect().await;
        up(&mut database, &files).await.unwrap();
        let reverted = migrate::down(&mut database, &files.read(), &steps(2), &mut quiet).await.unwrap();
        assert_eq!(reverted.iter().map(|applied| applied.version).collect::<Vec<_>>(), [4, 3]);
        assert_eq!(bed.admin().await.tables().await, ["t1", "t2"]);
        assert_eq!(up(&mut database, &files).await.unwrap(), [3, 4]);

        // the engine takes back what a failed deploy applied; what is not applied is no obstacle
        let these = Down { which: Which::Versions(vec![3, 4, 9]), dry_run: false };
        let reverted = migrate::down(&mut database, &files.read(), &these, &mut quiet).await.unwrap();
        assert_eq!(reverted.len(), 2);
        assert!(migrate::down(&mut database, &files.read(), &these, &mut quiet).await.unwrap().is_empty());
        let buried = Down { which: Which::Versions(vec![1]), dry_run: false };
        let error = migrate::down(&mut database, &files.read(), &buried, &mut quiet).await.unwrap_err().to_string();
        assert!(error.contains("migration 2 (t2)"), "{error}");
        migrate::down(&mut database, &files.read(), &steps(9), &mut quiet).await.unwrap();
        assert!(bed.admin().await.tables().await.is_empty());
    }
}

#[tokio::test]
async fn what_has_no_way_down_stays() {
    for bed in Bed::both().await {
        let files = Files::tables(3);
        files.remove("002_t2.down.sql");
        let mut database = bed.connect().await;
        up(&mut database, &files).await.unwrap();
        let error = migrate::down(&mut database, &files.read(), &steps(2), &mut quiet).await.unwrap_err().to_string();
        assert!(error.contains("migration 2 (t2) has no down file"), "{error}");
        assert_eq!(bed.admin().await.tables().await.len(), 3, "nothing was changed");
        let these = Down { which: Which::Versions(vec![1, 2, 3]), dry_run: false };
        let reverted = migrate::down(&mut database, &files.read(), &these, &mut quiet).await.unwrap();
        assert_eq!(reverted.iter().map(|applied| applied.version).collect::<Vec<_>>(), [3]);
        assert_eq!(bed.admin().await.tables().await, ["t1", "t2"]);
    }
}

#[tokio::test]
async fn a_dry_run_changes_nothing() {
    for bed in Bed::both().await {
        let files = Files::tables(3);
        let mut database = bed.connect().await;
        let dry = Up { dry_run: true, to: Some(2), ..Up::default() };
        let would = migrate::up(&mut database, &files.read(), &dry, &mut quiet).await.unwrap();
        assert_eq!(would.iter().map(|applied| applied.version).collect::<Vec<_>>(), [1, 2]);
        assert_eq!(migrate::pending(&mut database, &files.read()).await.unwrap().len(), 3);
        let table = if bed.is_sqlite() { "sqlite_schema WHERE name" } else { "pg_tables WHERE tablename" };
        let tables = bed.admin().await.ask(&format!("SELECT 'x' FROM {table} = 'migrations'")).await;
        assert!(tables.is_empty(), "not even the table `migrations` was made");

        let real = Up { to: Some(2), ..Up::default() };
        migrate::up(&mut database, &files.read(), &real, &mut quiet).await.unwrap();
        let dry = Down { which: Which::Steps(1), dry_run: true };
        assert_eq!(migrate::down(&mut database, &files.read(), &dry, &mut quiet).await.unwrap()[0].version, 2);
        assert_eq!(bed.admin().await.tables().await, ["t1", "t2"]);
        let nowhere = Up { to: Some(7), ..Up::default() };
        let error = migrate::up(&mut database, &files.read(), &nowhere, &mut quiet).await.unwrap_err().to_string();
        assert!(error.contains("no migration 7"), "{error}");
    }
}

#[tokio::test]
async fn a_pending_file_with_its_own_commit_stops_everything_before_it_starts() {
    for bed in Bed::both().await {
        let files = Files::tables(2);
        files.write("002_t2.up.sql", "CREATE TABLE t2 (a int);\nCOMMIT;");
        let error = bed.up(&files).await.unwrap_err().to_string();
        assert!(error.contains("002_t2.up.sql:2: has its own COMMIT"), "{error}");
        assert!(bed.admin().await.tables().await.is_empty());
    }
}

// proves S4.3
#[tokio::test]
async fn a_hand_written_runners_table_is_taken_over() {
    for bed in Bed::both().await {
        let mut admin = bed.admin().await;
        let id = if bed.is_sqlite() { "INTEGER PRIMARY KEY" } else { "SERIAL PRIMARY KEY" };
        admin
            .run(&format!(
                "CREATE TABLE migrations (id {id}, version VARCHAR(255) NOT NULL UNIQUE, name VARCHAR(255) NOT NULL, \
                 applied_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP); CREATE TABLE t1 (a int); \
                 INSERT INTO migrations (version, name) VALUES ('001', 't1')"
            ))
            .await;
        let files = Files::tables(3);
        let lines = migrate::status(&mut bed.connect().await, &files.read()).await.unwrap().migrations;
        assert!(lines[0].state == State::Applied && lines[0].applied_at.is_some(), "{lines:?}");
        assert_eq!(bed.up(&files).await.unwrap(), [2, 3]);
        assert_eq!(admin.ask("SELECT version FROM migrations ORDER BY id").await, ["001", "002", "003"]);
        migrate::down(&mut bed.connect().await, &files.read(), &steps(3), &mut quiet).await.unwrap();
        assert!(admin.tables().await.is_empty());
        assert!(admin.ask("SELECT version FROM migrations").await.is_empty());
    }
}

#[tokio::test]
async fn a_foreign_table_of_that_name_is_left_alone() {
    for bed in Bed::both().await {
        bed.admin().await.run("CREATE TABLE migrations (migration text, batch int)").await;
        let error = bed.up(&Files::tables(1)).await.unwrap_err().to_string();
        assert!(error.contains("belongs to something else") && error.contains("`version`"), "{error}");
    }
}

#[tokio::test]
async fn outside_a_transaction_a_failure_is_marked_and_mended() {
    for bed in Bed::both().await {
        let files = Files::new(&[
            ("1_a.up.sql", "-- slipway: no-transaction\nCREATE TABLE a (x int);\nCREATE TABLE b (x int);\nNONSENSE;"),
            ("1_a.down.sql", "-- no-transaction\nDROP TABLE b; DROP TABLE a;"),
            ("2_c.up.sql", "CREATE TABLE c (x int);"),
        ]);
        let error = bed.up(&files).await.unwrap_err().to_string();
        assert!(error.contains("1_a.up.sql:4:1") && error.contains("2 of its 3 statements took effect"), "{error}");
        let error = bed.up(&files).await.unwrap_err().to_string();
        assert!(error.contains("was interrupted after 2") && error.contains("migrate mend 1"), "{error}");
        let interrupted = State::Interrupted { done: 2, direction: Direction::Up };
        assert_eq!(states(&bed, &files).await[0], (1, interrupted));

        let mut database = bed.connect().await;
        migrate::mend(&mut database, &files.read(), 1, migrate::Mend::Applied, &mut quiet).await.unwrap();
        assert_eq!(up(&mut database, &files).await.unwrap(), [2]);
        migrate::mend(&mut database, &files.read(), 1, migrate::Mend::NotApplied, &mut quiet).await.unwrap_err();

        // one that fails at once leaves no mark
        files.write("3_d.up.sql", "-- no-transaction\nNONSENSE;\nSELECT 1;");
        let error = up(&mut database, &files).await.unwrap_err().to_string();
        assert!(error.contains("nothing of it was kept"), "{error}");
        assert_eq!(states(&bed, &files).await[2], (3, State::Pending));

        // and a sound one is recorded
        files.write("3_d.up.sql", "-- no-transaction\nCREATE TABLE d (x int);\nCREATE INDEX d_x ON d (x);");
        files.write("3_d.down.sql", "-- no-transaction\nDROP INDEX d_x;\nDROP TABLE d;");
        assert_eq!(up(&mut database, &files).await.unwrap(), [3]);
        migrate::down(&mut database, &files.read(), &steps(1), &mut quiet).await.unwrap();
        assert_eq!(states(&bed, &files).await[2], (3, State::Pending));
    }
}

#[tokio::test]
async fn a_run_that_is_cancelled_holds_nothing() {
    for bed in Bed::both().await {
        let slow = if bed.is_sqlite() {
            "INSERT INTO t SELECT value FROM (WITH RECURSIVE n(value) AS (SELECT 1 UNION ALL SELECT value + 1 FROM n \
             LIMIT 30000000) SELECT value FROM n) WHERE value < 0"
        } else {
            "SELECT pg_sleep(60)"
        };
        let files = Files::new(&[("1_a.sql", "CREATE TABLE t (a int);"), ("2_slow.sql", slow)]);
        let mut database = bed.connect().await;
        let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
        let (folder, all) = (files.read(), Up::default());
        let mut events = move |event| {
            let _ = tell.send(event);
        };
        let begun_second = async {
            while let Some(event) = told.recv().await {
                if matches!(event, Event::Started { version: 2, .. }) {
                    return;
                }
            }
        };
        tokio::select! {
            ended = migrate::up(&mut database, &folder, &all, &mut events) => panic!("{ended:?}"),
            () = begun_second => {}
        }
        // whoever comes next, on the same connection or another, finds the second one not there and may run
        files.write("2_slow.sql", "CREATE TABLE u (a int);");
        assert_eq!(up(&mut database, &files).await.unwrap(), [2]);
        assert_eq!(bed.admin().await.tables().await, ["t", "u"]);
    }
}
