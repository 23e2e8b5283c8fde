//! Migrations run before the switch; one that fails undoes its deploy.

use stories::Story;

fn story() -> Story {
    let tables = "[database.main]\nengine = \"sqlite\"\nmigrations = \"migrations\"\n";
    let story = Story::harbour_with("needs = [\"database.main\"]", tables);
    story.write("migrations/001_ships.up.sql", "CREATE TABLE ships (id INTEGER PRIMARY KEY, name TEXT NOT NULL);");
    story.write("migrations/001_ships.down.sql", "DROP TABLE ships;");
    story
}

fn tables(story: &Story) -> Vec<String> {
    let path = story.home().join("apps/harbour/dev/data/main.sqlite");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        use sqlx::Connection;
        let mut db =
            sqlx::SqliteConnection::connect(&format!("sqlite://{}", path.display())).await.expect("the database");
        let rows: Vec<(String,)> = sqlx::query_as("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")
            .fetch_all(&mut db)
            .await
            .expect("its tables");
        rows.into_iter().map(|(name,)| name).collect()
    })
}

// proves S4.E3, S4.P2, S4.P3
#[test]
fn a_failing_migration_keeps_the_old_release_and_schema() {
    let story = story();
    story.deploy();
    assert!(tables(&story).contains(&"ships".to_owned()));

    story.write("migrations/002_crew.up.sql", "CREATE TABLE crew (id INTEGER PRIMARY KEY);");
    story.write("migrations/002_crew.down.sql", "DROP TABLE crew;");
    story.write(
        "migrations/003_cargo.up.sql",
        "CREATE TABLE cargo (id INTEGER PRIMARY KEY);\nINSERT INTO nowhere VALUES (1);\n",
    );
    story.mark("two");
    let failed = story.slipway(&["deploy", "--yes"]).expect(1);
    assert!(failed.stderr.contains("003_cargo.up.sql:2"), "file and line: {}", failed.stderr);
    assert!(failed.stderr.contains("nowhere"), "{}", failed.stderr);
    let named = failed.stderr.contains("migrations/003_cargo.up.sql") && !failed.stderr.contains("store/releases");
    assert!(named, "the person's own file is named, not the release's copy: {}", failed.stderr);
    assert_eq!(story.get("/").expect("an answer"), (200, "one".to_owned()));
    let left = tables(&story);
    assert!(!left.contains(&"cargo".to_owned()), "rolled back: {left:?}");
    assert!(!left.contains(&"crew".to_owned()), "reversible migrations of the deploy are run down: {left:?}");
    let status = story.status();
    assert_eq!(status["deploys"][0]["step"], "migrate");

    story.write("migrations/003_cargo.up.sql", "CREATE TABLE cargo (id INTEGER PRIMARY KEY);\n");
    story.deploy();
    let now = tables(&story);
    assert!(now.contains(&"cargo".to_owned()) && now.contains(&"crew".to_owned()), "{now:?}");
    assert_eq!(story.get("/").expect("an answer"), (200, "two".to_owned()));
}

#[test]
fn an_edited_migration_is_refused() {
    let story = story();
    story.deploy();
    story.write("migrations/001_ships.up.sql", "CREATE TABLE boats (id INTEGER PRIMARY KEY);");
    let refused = story.slipway(&["deploy", "--yes"]).expect(1);
    assert!(refused.stderr.contains("001_ships"), "{}", refused.stderr);
    assert_eq!(story.get("/").expect("an answer"), (200, "one".to_owned()));
}

#[test]
fn a_rollback_with_the_database_says_what_is_lost_and_runs_down() {
    let story = story();
    story.deploy();
    story.write("migrations/002_crew.up.sql", "CREATE TABLE crew (id INTEGER PRIMARY KEY);");
    story.write("migrations/002_crew.down.sql", "DROP TABLE crew;");
    story.mark("two");
    story.deploy();
    let asked = story.slipway(&["rollback", "--with-database"]);
    assert_eq!(asked.code, 2, "nobody is here to say yes: {}", asked.stderr);
    assert!(asked.stderr.contains("002_crew"), "{}", asked.stderr);
    assert!(tables(&story).contains(&"crew".to_owned()));
    story.slipway(&["rollback", "--with-database", "--yes"]).expect(0);
    assert_eq!(story.get("/").expect("an answer"), (200, "one".to_owned()));
    assert!(!tables(&story).contains(&"crew".to_owned()));
}

#[test]
fn migrate_by_hand_goes_up_down_and_tells() {
    let story = story();
    story.deploy();
    story.slipway(&["migrate", "new", "add crew"]).expect(0);
    let made: Vec<String> = std::fs::read_dir(story.project().join("migrations"))
        .expect("the folder")
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|name| name.starts_with("002_"))
        .collect();
    assert_eq!(made.len(), 2, "{made:?}");
    let name = made.iter().find(|name| name.ends_with(".up.sql")).expect("an up file").clone();
    story.write(&format!("migrations/{name}"), "CREATE TABLE crew (id INTEGER PRIMARY KEY);");
    let down = name.replace(".up.sql", ".down.sql");
    story.write(&format!("migrations/{down}"), "DROP TABLE crew;");
    let status = story.slipway(&["migrate", "status", "--json"]).expect(0).json();
    assert_eq!(status["main"]["pending"].as_array().map(Vec::len), Some(1), "{status}");
    story.slipway(&["migrate", "up", "--dry-run"]).expect(0);
    assert!(!tables(&story).contains(&"crew".to_owned()));
    story.slipway(&["migrate", "up"]).expect(0);
    assert!(tables(&story).contains(&"crew".to_owned()));
    story.slipway(&["migrate", "down", "1", "--yes"]).expect(0);
    assert!(!tables(&story).contains(&"crew".to_owned()));
}
