//! A folder of migrations is read whole or refused with every problem at once.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod bed;

use bed::Files;
use migrate::{Engine, Folder, MigrateError};

fn problems(error: MigrateError) -> Vec<String> {
    let MigrateError::Problems(problems) = error else { panic!("{error}") };
    problems
        .0
        .into_iter()
        .map(|problem| {
            let name = problem.path.file_name().unwrap().to_string_lossy().into_owned();
            let line = problem.line.map_or(String::new(), |line| format!(":{line}"));
            format!("{name}{line}: {}", problem.reason)
        })
        .collect()
}

#[test]
fn every_problem_of_a_folder_is_told_at_once() {
    let files = Files::new(&[
        ("001_a.up.sql", "SELECT 1"),
        ("001_b.up.sql", "SELECT 1"),
        ("002_c.down.sql", "SELECT 1"),
        ("003_empty.up.sql", "-- nothing\n/* here */ ;\n"),
        ("004_x.up.sql", "SELECT 1"),
        ("004_y.down.sql", "SELECT 1"),
        ("V5__flyway.sql", "SELECT 1"),
        ("6.sql", "SELECT 1"),
        ("000_zero.sql", "SELECT 1"),
        ("99999999999999999999_big.sql", "SELECT 1"),
        ("7_UP.SQL", "SELECT 1"),
        ("README.md", "not SQL"),
        (".hidden.sql", ""),
    ]);
    std::fs::write(files.path().join("008_latin.up.sql"), b"SELECT 1;\nSELECT '\xe9'").unwrap();
    std::fs::create_dir(files.path().join("009_folder")).unwrap();
    std::os::unix::fs::symlink("nowhere", files.path().join("010_gone.up.sql")).unwrap();
    insta::assert_snapshot!(problems(Folder::read(files.path()).unwrap_err()).join("\n"));
}

#[test]
fn numbers_may_have_gaps_and_plain_files_only_go_up() {
    let files = Files::new(&[("010_b.sql", "SELECT 1"), ("2_a.up.sql", "SELECT 1"), ("2_a.down.sql", "SELECT 1")]);
    let folder = files.read();
    let seen: Vec<_> = folder
        .migrations
        .iter()
        .map(|migration| (migration.version, &*migration.name, migration.reversible()))
        .collect();
    assert_eq!(seen, [(2, "a", true), (10, "b", false)]);
    assert_eq!(folder.next(), 11);
}

#[test]
fn line_ends_and_byte_order_marks_change_no_checksum() {
    let checksum = |text: &str| Files::new(&[("1_a.sql", text)]).read().migrations[0].checksum.clone();
    assert_eq!(checksum("SELECT 1;\nSELECT 2;\n"), checksum("\u{feff}SELECT 1;\r\nSELECT 2;\r\n"));
    assert_ne!(checksum("SELECT 1"), checksum("SELECT 2"));
}

#[test]
fn a_missing_folder_and_a_foreign_one_say_the_mend() {
    let files = Files::new(&[]);
    assert_eq!(files.read().migrations, []);
    let missing = Folder::read(files.path().join("nowhere")).unwrap_err().to_string();
    assert!(missing.contains("slipway migrate new"), "{missing}");
    std::fs::create_dir(files.path().join("20240101_init")).unwrap();
    files.write("20240101_init/migration.sql", "SELECT 1");
    let prisma = Folder::read(files.path()).unwrap_err().to_string();
    assert!(prisma.contains("npx prisma migrate deploy"), "{prisma}");
}

#[test]
fn statements_that_cannot_be_migrated_are_found_without_a_database() {
    let files = Files::new(&[
        ("1_a.up.sql", "SELECT 1;\nBEGIN;\nSELECT 2;\nCOMMIT;"),
        ("1_a.down.sql", "SELECT 'x"),
        ("2_b.up.sql", "COPY t FROM stdin;"),
    ]);
    let found = problems(files.read().check(Engine::Postgres).unwrap_err());
    insta::assert_snapshot!(found.join("\n"));
}

#[test]
fn new_migrations_are_numbered_named_and_unfinished_until_written() {
    let files = Files::new(&[("0007_a.up.sql", "SELECT 1")]);
    let (up, down) = migrate::create(files.path(), "Add users' e-mail!").unwrap();
    assert_eq!(up.file_name().unwrap(), "0008_add_users_e_mail.up.sql");
    assert_eq!(down.file_name().unwrap(), "0008_add_users_e_mail.down.sql");
    assert_eq!(problems(Folder::read(files.path()).unwrap_err()).len(), 2, "an unwritten template is no migration");
    std::fs::write(up, "SELECT 1").unwrap();
    std::fs::write(down, "SELECT 1").unwrap();
    assert_eq!(files.read().next(), 9);

    let fresh = Files::new(&[]);
    let (up, _) = migrate::create(fresh.path().join("db/migrations"), "first").unwrap();
    assert_eq!(up.file_name().unwrap(), "001_first.up.sql");
    migrate::create(fresh.path(), " --- ").unwrap_err();
}
