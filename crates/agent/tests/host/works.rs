//! Tasks, jobs, bindings, sites and logs.

use std::{collections::BTreeMap, fs, time::Duration};

use agent::{
    LogQuery,
    protocol::{Call, Reply, Run},
};
use engine::target::{TargetError, Task, TaskEnd};

use crate::bed::{Bed, DEADLINE, kill9};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn services_get_their_environment_and_call_each_other_within_their_revision() {
    // proves S0.6, S0.8: the same code, bound to what the environment has
    let bed = Bed::new().await;
    let text = r#"
[service.web]
run = "WEB"
port = 4000
health = { path = "/health", up = 1 }
needs = ["service.api", "database.main"]
env = { GREETING = "hello ${NAME}", MODE = "x" }

[service.api]
run = "WEB"
port = 4001
health = { path = "/health", up = 1 }

[database.main]
engine = "sqlite"

[route."shop.test"]
"/" = "service.web"

[variable]
NAME = { default = "world" }
"#;
    let revision = bed.revision(text, &[], &[]).await;
    // Before it has a visitor its services reach each other.
    bed.want(&[&revision], &[]).await;
    bed.until("both are ready", |seen| {
        seen.instances.len() == 2 && seen.instances.iter().all(|one| one.state == engine::desired::InstanceState::Ready)
    })
    .await;
    bed.deploy(&revision).await;
    let (_, body) = bed.get("anything.example", "/env").await.unwrap();
    let env: BTreeMap<String, String> = serde_json::from_str(&body).unwrap_or_else(|error| panic!("{error}: {body}"));
    let data = bed.folder().join("data");
    assert_eq!(env["GREETING"], "hello world");
    assert_eq!(env["DATABASE_URL"], format!("sqlite://{}/main.sqlite", data.display()));
    assert_eq!(env["MAIN_DATABASE_URL"], env["DATABASE_URL"]);
    assert_eq!(env["SLIPWAY_DATA"], data.display().to_string());
    assert_eq!(env["SLIPWAY_SERVICE"], "web");
    assert_eq!((env["SLIPWAY_APP"].as_str(), env["SLIPWAY_ENVIRONMENT"].as_str()), ("shop", "dev"));
    assert_eq!(env["SLIPWAY_RELEASE"], revision.release.as_str());
    assert_eq!(env["SLIPWAY_INSTANCE"], format!("web-{}-1", &revision.release.as_str()[..8]));
    let api = bed.instances().await.into_iter().find(|one| one.service.as_str() == "api").unwrap();
    let (_, body) = bed.get("shop.test.localhost", "/call/api").await.unwrap();
    assert_eq!(body, format!("pid {}", api.pid.unwrap()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn migrations_are_listed_copied_applied_seeded_and_reverted() {
    // proves S4.P2, S4.P3, S4.E3
    let bed = Bed::new().await;
    let text = r#"
[service.api]
run = "WEB"
port = 4000
needs = ["database.main"]

[database.main]
engine = "sqlite"
migrations = "migrations"
seed = "seed.sql"
"#;
    let files = [
        ("migrations/001_users.up.sql", "CREATE TABLE users (name TEXT);"),
        ("migrations/001_users.down.sql", "DROP TABLE users;"),
        ("migrations/002_age.up.sql", "ALTER TABLE users ADD age INTEGER;"),
        ("migrations/002_age.down.sql", "ALTER TABLE users DROP COLUMN age;"),
        ("seed.sql", "INSERT INTO users VALUES ('ann', 40), ('bob', 50);"),
    ];
    let revision = bed.revision(text, &files, &[]).await;
    let file = bed.folder().join("data/main.sqlite");
    let pending = || async {
        match bed.task(Task::PendingMigrations { revision: revision.clone() }).await.unwrap() {
            TaskEnd::Migrations { migrations } => migrations,
            other => panic!("{other:?}"),
        }
    };
    let listed = pending().await;
    assert_eq!(listed.iter().map(|one| (one.version, one.reversible)).collect::<Vec<_>>(), [(1, true), (2, true)]);
    assert!(!file.exists(), "a look changes nothing");
    let migrate = Task::Migrate { revision: revision.clone() };
    assert_eq!(bed.task(migrate.clone()).await.unwrap(), TaskEnd::Migrations { migrations: listed.clone() });
    assert!(pending().await.is_empty());
    assert_eq!(bed.task(migrate.clone()).await.unwrap(), TaskEnd::Migrations { migrations: vec![] });
    let backup = Task::Backup { revision: revision.clone(), deploy: 7 };
    assert_eq!(bed.task(backup).await.unwrap(), TaskEnd::Done);
    let copy = bed.folder().join("data/backups/main-7.sqlite");
    assert!(fs::read(&copy).unwrap().windows(3).any(|bytes| bytes == b"bob"), "the seed was sown, and copied");
    let down = Task::MigrateDown { revision: revision.clone(), migrations: listed[1..].to_vec() };
    assert_eq!(bed.task(down).await.unwrap(), TaskEnd::Migrations { migrations: listed[1..].to_vec() });
    assert_eq!(pending().await, listed[1..]);
    assert_eq!(bed.task(migrate).await.unwrap(), TaskEnd::Migrations { migrations: listed[1..].to_vec() });
    // A bad one is named with its file and line, and leaves nothing.
    let mut broken = files.to_vec();
    broken.push(("migrations/003_bad.up.sql", "CREATE TABLE a (b TEXT);\nINSERT INTO nowhere VALUES (1);"));
    let revision = bed.revision(text, &broken, &[]).await;
    let Err(TargetError::Failed { reason }) = bed.task(Task::Migrate { revision }).await else { panic!() };
    assert!(reason.contains("003_bad.up.sql:2") && reason.contains("nowhere"), "{reason}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_foreign_migration_runs_in_the_services_files() {
    // proves S0.14
    let bed = Bed::new().await;
    let text = |script: &str| {
        format!(
            "[service.api]\nrun = \"WEB\"\nport = 4000\nneeds = [\"database.main\"]\n\
             [database.main]\nengine = \"sqlite\"\nmigrate = \"sh {script}\"\n"
        )
    };
    let files =
        [("good.sh", "echo migrated $DATABASE_URL > $SLIPWAY_DATA/done"), ("bad.sh", "echo schema is wrong; exit 5")];
    let good = bed.revision(&text("good.sh"), &files, &[]).await;
    let end = bed.task(Task::Migrate { revision: good }).await.unwrap();
    assert!(matches!(end, TaskEnd::Migrations { ref migrations } if migrations[0].version == 0), "{end:?}");
    assert!(fs::read_to_string(bed.folder().join("data/done")).unwrap().contains("main.sqlite"));
    let bad = bed.revision(&text("bad.sh"), &files, &[]).await;
    let Err(TargetError::Failed { reason }) = bed.task(Task::Migrate { revision: bad }).await else { panic!() };
    assert!(reason.contains("ended with code 5") && reason.contains("schema is wrong"), "{reason}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_runs_with_a_services_files_and_environment() {
    let bed = Bed::new().await;
    let text = "[service.api]\nrun = \"WEB\"\nport = 4000\nenv = { COLOUR = \"blue\" }\n[variable]\nTOKEN = { secret = true }\n";
    let revision = bed.revision(text, &[("hello.txt", "from the release")], &[("TOKEN", "s3cr3t-t0k3n-value")]).await;
    let command = ["sh", "-c", "cat hello.txt; echo; echo $COLOUR $TOKEN; exit 4"].map(str::to_owned).to_vec();
    let end = bed.task(Task::Run { revision, service: "api".parse().unwrap(), command }).await.unwrap();
    let TaskEnd::Exited { code, output } = end else { panic!("{end:?}") };
    assert_eq!(code, 4);
    assert!(output.starts_with("from the release\nblue ") && !output.contains("s3cr3t"), "{output}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_runs_when_its_time_comes_and_survives_the_agent() {
    let mut bed = Bed::new().await;
    let text = r#"
[service.api]
run = "WEB"
port = 4000

[job.tick]
run = "sh tick.sh"
schedule = "* * * * *"
service = "api"
retries = 1

[job.endless]
run = "sleep 1000"
schedule = "* * * * *"
service = "api"
timeout = "200ms"
"#;
    // The first attempt fails; the second goes on while the agent is killed.
    let tick = "echo tick $SLIPWAY_INSTANCE; if [ ! -e $SLIPWAY_DATA/tried ]; then touch $SLIPWAY_DATA/tried; exit 9; fi; \
                echo $$ > $SLIPWAY_DATA/pid; while [ ! -e $SLIPWAY_DATA/go ]; do sleep 0.05; done; echo done";
    let revision = bed.revision(text, &[("tick.sh", tick)], &[]).await;
    bed.deploy(&revision).await;
    let runs = || async {
        match bed.call(Call::Runs).await {
            Ok(Reply::Runs { runs }) => runs,
            other => panic!("{other:?}"),
        }
    };
    let until = async |what: &str, holds: &dyn Fn(&[Run]) -> bool| {
        let began = std::time::Instant::now();
        loop {
            let now = runs().await;
            if holds(&now) {
                return now;
            }
            assert!(began.elapsed() < DEADLINE + Duration::from_mins(1), "{what}: {now:?}\n{}", bed.agent_log());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let data = bed.folder().join("data");
    until("the second attempt", &|runs| runs.iter().any(|run| run.attempt == 2)).await;
    while !data.join("pid").exists() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let pid = fs::read_to_string(data.join("pid")).unwrap();
    bed.kill_agent();
    bed.start_agent().await;
    fs::write(data.join("go"), "").unwrap();
    let ended = loop {
        let Ok(Reply::Runs { runs }) = bed.call(Call::Runs).await else { panic!() };
        if runs.iter().any(|run| run.code == Some(0)) {
            break runs;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    let of = |name: &'static str| ended.iter().rev().filter(move |run| run.name == name);
    let codes: Vec<_> = of("job.tick").take(2).map(|run| (run.attempt, run.code)).collect();
    assert_eq!(codes, [(1, Some(9)), (2, Some(0))], "oldest first");
    assert_eq!(of("job.endless").next().and_then(|run| run.code), Some(124), "past its time limit");
    assert_eq!(fs::read_to_string(data.join("pid")).unwrap(), pid, "it was neither killed nor repeated");
    let query = LogQuery { service: Some("tick".to_owned()), ..LogQuery::default() };
    let mut logs = bed.client().logs(&bed.scope, &query).await.unwrap();
    let mut lines = Vec::new();
    while let Some(line) = logs.next().await {
        lines.push(line.unwrap());
    }
    assert!(lines.iter().all(|line| line.source == "job.tick"), "{lines:?}");
    assert!(lines.iter().any(|line| line.line == "done"), "{lines:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_site_is_served_with_its_headers_and_logs_are_followed() {
    // proves S0.3, S4.P9
    let bed = Bed::new().await;
    let text = r#"
[service.api]
run = "WEB"
port = 4000
health = { path = "/health", up = 1 }

[site.web]
dir = "site"
out = "."
spa = true
headers = { "X-Frame-Options" = "DENY" }

[route."shop.test"]
"/" = "site.web"
"/api" = { to = "service.api", strip = true }
"#;
    let revision = bed.revision(text, &[("site/index.html", "<h1>shop</h1>")], &[]).await;
    bed.deploy(&revision).await;
    let (status, body) = bed.get("shop.test", "/index.html").await.unwrap();
    assert_eq!((status, body.as_str()), (200, "<h1>shop</h1>"));
    let (status, body) = bed.get("shop.test", "/api/").await.unwrap();
    assert!(status == 200 && body.starts_with("pid "), "{status} {body}");
    let table = fs::read_to_string(bed.home.edge_folder().join("table.json")).unwrap();
    assert!(table.contains("default-src 'self'") && table.contains("frame-ancestors 'self'"), "{table}");
    assert!(table.contains("DENY"), "the site's own header counts");

    let mut logs = bed.client().logs(&bed.scope, &LogQuery { follow: true, ..LogQuery::default() }).await.unwrap();
    let mut seen = Vec::new();
    loop {
        let line = tokio::time::timeout(DEADLINE, logs.next()).await.unwrap().unwrap().unwrap();
        seen.push(line.line.clone());
        if line.line.starts_with("listens on") {
            break;
        }
    }
    kill9(bed.instances().await[0].pid.unwrap());
    let next = tokio::time::timeout(DEADLINE, logs.next()).await.unwrap().unwrap().unwrap();
    assert_eq!((next.source.as_str(), next.stream.as_str()), ("service.api", "out"), "{seen:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_agent_is_small_and_still() {
    let mut bed = Bed::new().await;
    let text = "[service.api]\nrun = \"WEB\"\nport = 4000\nhealth = { path = \"/health\" }\n\
                [job.nightly]\nrun = \"true\"\nschedule = \"@daily\"\n";
    let revision = bed.revision(text, &[], &[]).await;
    bed.deploy(&revision).await;
    bed.kill_agent();
    bed.start_agent().await;
    let look = || observe::process::find(bed.agent_pid()).unwrap().unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let before = look();
    tokio::time::sleep(Duration::from_secs(10)).await;
    let after = look();
    let spent = after.cpu.saturating_sub(before.cpu);
    let own = bed.agent_memory();
    println!("agent: {} KiB, {} of them its own, {spent:?} CPU in 10 s", after.resident >> 10, own >> 10);
    assert!(own < 30 << 20, "{own} bytes");
    // 0.5 % of a core; a debug build takes some times as much, so the bar itself is measured by `bench`.
    assert!(spent <= Duration::from_millis(150), "{spent:?} in 10 s");
}
