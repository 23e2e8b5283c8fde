//! Laws, for any number of migrations and any way to get there.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod bed;

use bed::{Bed, Files, quiet, up};
use migrate::{Down, Up, Which};
use proptest::prelude::*;

fn block_on<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
}

fn schema_sql(bed: &Bed) -> &'static str {
    if bed.is_sqlite() {
        "SELECT type || ' ' || name || ' ' || COALESCE(sql, '') FROM sqlite_schema WHERE name NOT LIKE 'sqlite_%' ORDER BY 1"
    } else {
        "SELECT table_name::text || ' ' || column_name || ' ' || data_type FROM information_schema.columns \
         WHERE table_schema = 'public' ORDER BY 1"
    }
}

async fn schema(bed: &Bed) -> Vec<String> {
    bed.admin().await.ask(schema_sql(bed)).await
}

#[derive(Debug, Clone)]
enum Move {
    To(u64),
    All,
    Back(usize),
}

fn moves() -> impl Strategy<Value = Vec<Move>> {
    let one = prop_oneof![(1..8u64).prop_map(Move::To), Just(Move::All), (1..4usize).prop_map(Move::Back)];
    proptest::collection::vec(one, 0..6)
}

/// Whatever happened before, `up` ends the same, a second `up` does nothing, and all the way down leaves nothing.
async fn ends_the_same(bed: Bed, straight: Bed, moves: Vec<Move>) -> Result<(), TestCaseError> {
    let files = Files::tables(7);
    let mut database = bed.connect().await;
    up(&mut database, &files).await.unwrap();
    let all_down = Down { which: Which::Steps(usize::MAX), dry_run: false };
    migrate::down(&mut database, &files.read(), &all_down, &mut quiet).await.unwrap();
    let empty = schema(&bed).await;
    for step in moves {
        match step {
            Move::To(to) => {
                let to = Up { to: Some(to.min(7)), ..Up::default() };
                migrate::up(&mut database, &files.read(), &to, &mut quiet).await.unwrap();
            }
            Move::All => drop(up(&mut database, &files).await.unwrap()),
            Move::Back(steps) => {
                let back = Down { which: Which::Steps(steps), dry_run: false };
                migrate::down(&mut database, &files.read(), &back, &mut quiet).await.unwrap();
            }
        }
        // what is recorded is what is there, and it is always a prefix
        let status = migrate::status(&mut database, &files.read()).await.unwrap();
        let recorded: Vec<_> = status.applied().map(|line| format!("t{}", line.version)).collect();
        prop_assert_eq!(&bed.admin().await.tables().await, &recorded);
        prop_assert!(status.applied().map(|line| line.version).eq(1..=recorded.len() as u64));
    }
    up(&mut database, &files).await.unwrap();
    prop_assert!(up(&mut database, &files).await.unwrap().is_empty());
    straight.up(&files).await.unwrap();
    prop_assert_eq!(schema(&bed).await, schema(&straight).await);
    migrate::down(&mut database, &files.read(), &all_down, &mut quiet).await.unwrap();
    prop_assert_eq!(schema(&bed).await, empty);
    prop_assert!(bed.admin().await.tables().await.is_empty());
    Ok(())
}

/// Runners that each go some way, at the same time and in any order, together apply each migration once.
async fn interleaves(bed: Bed, targets: Vec<(u64, u64)>) -> Result<(), TestCaseError> {
    let files = Files::new(&[("1_t.sql", "CREATE TABLE t (n int);")]);
    for n in 2..=6 {
        files.write(&format!("{n}_row.sql"), &format!("INSERT INTO t VALUES ({n});"));
    }
    let furthest = targets.iter().map(|(to, _)| *to).max().unwrap_or(0);
    let runs: Vec<_> = targets
        .into_iter()
        .map(|(to, delay)| {
            let (url, folder) = (bed.url.clone(), files.read());
            tokio::spawn(async move {
                tokio::time::sleep(std::time::Duration::from_millis(delay)).await;
                let mut database = migrate::Database::connect(&url, &bed::patient()).await.unwrap();
                let to = Up { to: Some(to), ..Up::default() };
                migrate::up(&mut database, &folder, &to, &mut quiet).await.unwrap().len()
            })
        })
        .collect();
    let mut applied = 0;
    for run in runs {
        applied += run.await.unwrap();
    }
    prop_assert_eq!(applied as u64, furthest);
    let rows = bed.admin().await.ask("SELECT CAST(n AS text) FROM t ORDER BY t.n").await;
    prop_assert_eq!(rows, (2..=furthest).map(|n| n.to_string()).collect::<Vec<_>>());
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, ..ProptestConfig::default() })]

    // proves S4.P2
    #[test]
    fn any_way_up_ends_the_same_on_sqlite(moves in moves()) {
        block_on(ends_the_same(Bed::sqlite(), Bed::sqlite(), moves))?;
    }

    #[test]
    fn runners_interleave_on_sqlite(targets in proptest::collection::vec((1..=6u64, 0..40u64), 1..5)) {
        block_on(interleaves(Bed::sqlite(), targets))?;
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 6, ..ProptestConfig::default() })]

    // proves S4.P2
    #[test]
    fn any_way_up_ends_the_same_on_postgres(moves in moves()) {
        block_on(async { ends_the_same(Bed::postgres().await, Bed::postgres().await, moves).await })?;
    }

    #[test]
    fn runners_interleave_on_postgres(targets in proptest::collection::vec((1..=6u64, 0..40u64), 1..5)) {
        block_on(async { interleaves(Bed::postgres().await, targets).await })?;
    }
}
