//! Many runners at once, and runners that are killed: each migration is applied and recorded, or neither, and never
//! twice.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod bed;

use std::{
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use bed::{Bed, Files, patient, quiet, up};
use migrate::{Database, Direction, Folder, MigrateError, State, Up};

const URL: &str = "MIGRATE_TEST_URL";
const FOLDER: &str = "MIGRATE_TEST_FOLDER";

/// Not a test of its own: what a child process of the tests below does.
#[tokio::test]
async fn child() {
    let (Ok(url), Ok(folder)) = (std::env::var(URL), std::env::var(FOLDER)) else { return };
    let mut database = Database::connect(&url, &patient()).await.unwrap();
    let folder = Folder::read(folder).unwrap();
    migrate::up(&mut database, &folder, &Up::default(), &mut quiet).await.unwrap();
}

fn spawn(url: &str, folder: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child", "--nocapture"])
        .env(URL, url)
        .env(FOLDER, folder)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Each adds one row, so one that ran twice is seen.
fn counting(count: usize) -> Files {
    let files = Files::new(&[("001_t.sql", "CREATE TABLE t (n int);")]);
    for n in 2..=count {
        files.write(&format!("{n:03}_row.sql"), &format!("INSERT INTO t VALUES ({n});"));
    }
    files
}

async fn each_ran_once(bed: &Bed, count: usize) {
    let mut admin = bed.admin().await;
    let rows = admin.ask("SELECT CAST(n AS text) FROM t ORDER BY t.n").await;
    assert_eq!(rows, (2..=count).map(|n| n.to_string()).collect::<Vec<_>>());
    assert_eq!(admin.ask("SELECT CAST(count(*) AS text) FROM migrations").await, [count.to_string()]);
}

// proves S4.P2
#[tokio::test(flavor = "multi_thread")]
async fn six_tasks_apply_each_migration_exactly_once() {
    for bed in Bed::both().await {
        let files = counting(12);
        let runs: Vec<_> = (0..6)
            .map(|_| {
                let (url, folder) = (bed.url.clone(), files.read());
                tokio::spawn(async move {
                    let mut database = Database::connect(&url, &patient()).await?;
                    let applied = migrate::up(&mut database, &folder, &Up::default(), &mut quiet).await?;
                    Ok::<_, MigrateError>(applied.len())
                })
            })
            .collect();
        let mut applied = 0;
        for run in runs {
            applied += run.await.unwrap().unwrap();
        }
        assert_eq!(applied, 12);
        each_ran_once(&bed, 12).await;
    }
}

// proves S4.P2
#[tokio::test]
async fn six_processes_apply_each_migration_exactly_once() {
    for bed in Bed::both().await {
        let files = counting(12);
        let children: Vec<_> = (0..6).map(|_| spawn(&bed.url, files.path())).collect();
        for child in children {
            let ended = child.wait_with_output().unwrap();
            assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
        }
        each_ran_once(&bed, 12).await;
    }
}

#[tokio::test]
async fn a_runner_that_waits_too_long_is_told_who_migrates() {
    for bed in Bed::both().await {
        let slow = if bed.is_sqlite() {
            "CREATE TABLE s AS SELECT count(*) FROM (WITH RECURSIVE n(v) AS (SELECT 1 UNION ALL SELECT v + 1 FROM n \
             LIMIT 500000000) SELECT v FROM n)"
        } else {
            "SELECT pg_sleep(600)"
        };
        let files = Files::new(&[("1_slow.sql", slow)]);
        let mut child = spawn(&bed.url, files.path());
        let hasty = migrate::ConnectOptions { lock_wait: Duration::from_millis(300), ..patient() };
        let mut database = Database::connect(&bed.url, &hasty).await.unwrap();
        // until the child has the lock, an empty folder is migrated without waiting
        let empty = Files::new(&[]);
        let mut waited = false;
        let error = loop {
            match migrate::up(&mut database, &empty.read(), &Up::default(), &mut |_| waited = true).await {
                Ok(_) => tokio::time::sleep(Duration::from_millis(20)).await,
                Err(error) => break error,
            }
        };
        let MigrateError::Locked { holder, .. } = &error else { panic!("{error}") };
        assert!(waited && holder.since.is_some() && holder.pid.is_some(), "{holder:?}");
        let name = holder.name.as_deref().unwrap();
        assert!(name.starts_with("slipway migrate, process ") && name.contains(&child.id().to_string()), "{name}");
        child.kill().unwrap();
        child.wait().unwrap();
        bed.up(&counting(2)).await.unwrap();
    }
}

// proves S4.E3
#[tokio::test]
async fn a_run_killed_at_any_moment_leaves_a_migration_applied_and_recorded_or_neither() {
    for bed in Bed::both().await {
        let pause = if bed.is_sqlite() {
            "INSERT INTO t{n} SELECT v FROM (WITH RECURSIVE n(v) AS (SELECT 1 UNION ALL SELECT v + 1 FROM n LIMIT 30000) \
             SELECT v FROM n) WHERE v < 2"
        } else {
            "INSERT INTO t{n} SELECT 1 FROM pg_sleep(0.01)"
        };
        let files = Files::new(&[]);
        for n in 1..=40 {
            let insert = pause.replace("{n}", &n.to_string());
            files.write(&format!("{n:03}_t.sql"), &format!("CREATE TABLE t{n} (a int);\n{insert};\n{insert};"));
        }
        let mut killed = 0;
        for round in 0u64.. {
            let mut child = spawn(&bed.url, files.path());
            let ended = tokio::task::spawn_blocking(move || {
                // the moments are spread evenly over what a run takes
                std::thread::sleep(Duration::from_millis(60 + round * 17 % 200));
                let ended = child.try_wait().unwrap().is_some();
                let _ = child.kill();
                child.wait().unwrap();
                ended
            })
            .await
            .unwrap();
            killed += usize::from(!ended);
            let mut database = bed.connect().await;
            // the server may still be at the dead runner's last statement: its lock tells when it is over
            up(&mut database, &Files::new(&[])).await.unwrap();
            let mut admin = bed.admin().await;
            let recorded = admin.ask("SELECT CAST(version AS text) FROM migrations ORDER BY migrations.version").await;
            let mut tables = admin.tables().await;
            tables.sort_by_key(|table| table[1..].parse::<u32>().unwrap());
            assert_eq!(tables, recorded.iter().map(|version| format!("t{version}")).collect::<Vec<_>>());
            for table in &tables {
                assert_eq!(admin.ask(&format!("SELECT CAST(count(*) AS text) FROM {table}")).await, ["2"]);
            }
            if recorded.len() == 40 {
                break;
            }
        }
        assert!(killed > 2, "the runs were too fast to be killed");
    }
}

#[tokio::test]
async fn a_run_killed_outside_a_transaction_is_never_recorded_as_applied() {
    for bed in Bed::both().await {
        let pause = if bed.is_sqlite() {
            "DELETE FROM t1 WHERE 1 > (SELECT count(*) FROM (WITH RECURSIVE n(v) AS (SELECT 1 UNION ALL SELECT v + 1 \
             FROM n LIMIT 300000) SELECT v FROM n))"
        } else {
            "SELECT pg_sleep(0.05)"
        };
        let text = (1..=30).map(|n| format!("CREATE TABLE t{n} (a int);\n{pause};")).collect::<Vec<_>>().join("\n");
        let files = Files::new(&[("1_all.sql", &format!("-- slipway: no-transaction\n{text}"))]);
        let mut child = spawn(&bed.url, files.path());
        let mut database = bed.connect().await;
        loop {
            let status = migrate::status(&mut database, &files.read()).await.unwrap();
            match status.migrations[0].state {
                State::Interrupted { done: 5.., .. } => break,
                State::Applied => panic!("too fast to be killed"),
                _ => tokio::time::sleep(Duration::from_millis(5)).await,
            }
        }
        child.kill().unwrap();
        child.wait().unwrap();
        // refused under the lock, so the dead runner's last statement is over
        let error = bed.up(&files).await.unwrap_err().to_string();
        assert!(error.contains("was interrupted") && error.contains("--not-applied"), "{error}");
        let status = migrate::status(&mut database, &files.read()).await.unwrap();
        let State::Interrupted { done, direction: Direction::Up } = status.migrations[0].state else {
            panic!("{status:?}")
        };
        // two statements per table; the one under way may or may not have taken effect
        let tables = u64::try_from(bed.admin().await.tables().await.len()).unwrap();
        assert!(tables == done.div_ceil(2) || tables == (done + 1).div_ceil(2), "{tables} tables, {done} statements");
    }
}
