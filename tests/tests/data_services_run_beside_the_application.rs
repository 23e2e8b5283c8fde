//! A stack asks for PostgreSQL and Redis and names no server: the host runs them.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    time::Duration,
};

use serde_json::Value;
use stories::{Story, until};

const LONG: Duration = Duration::from_mins(1);

/// The newest PostgreSQL of this machine.
fn postgres() -> u32 {
    let installed = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let majors = installed.filter(|entry| entry.path().join("bin/initdb").exists());
    let majors = majors.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    majors.max().expect("PostgreSQL is not installed: apt-get install postgresql redis-server")
}

fn tables(settings: &str) -> String {
    format!(
        "[database.main]\nengine = \"postgres:{}\"\nmigrations = \"migrations\"\nsettings = {{ {settings} }}\n\n\
         [cache.redis]\nengine = \"redis:7\"\nmemory = \"32Mi\"\n",
        postgres()
    )
}

fn story() -> Story {
    let story =
        Story::harbour_with("needs = [\"database.main\", \"cache.redis\"]", &tables("max_connections = \"40\""));
    story.write("migrations/001_ships.up.sql", "CREATE TABLE ships (id SERIAL PRIMARY KEY, name TEXT NOT NULL);");
    story.write("migrations/001_ships.down.sql", "DROP TABLE ships;");
    story
}

fn folder(story: &Story) -> PathBuf {
    story.home().join("apps/harbour/dev")
}

fn book(story: &Story) -> Value {
    let text = std::fs::read_to_string(folder(story).join("services.json")).expect("passwords are kept");
    serde_json::from_str(&text).expect("JSON")
}

/// What `status --json` says of a server.
fn service(story: &Story, name: &str) -> Option<Value> {
    let status = story.slipway(&["status", "--json"]);
    let services = status.json()["services"].as_array()?.clone();
    services.into_iter().find(|service| service["name"] == name)
}

/// The process of a server that is ready.
fn pid(story: &Story, name: &str) -> i32 {
    until(&format!("{name} is ready"), LONG, || {
        let service = service(story, name)?;
        let ready = service["state"]["is"] == "ready";
        service["pid"].as_i64().filter(|_| ready).and_then(|pid| i32::try_from(pid).ok())
    })
}

/// What a visitor gets, once it is an answer of 200.
fn answer(story: &Story, path: &str) -> String {
    until(&format!("an answer at {path}"), LONG, || match story.get(path) {
        Ok((200, body)) => Some(body),
        _ => None,
    })
}

fn alive(pid: i32) -> bool {
    Path::new("/proc").join(pid.to_string()).exists()
}

/// Every file below a folder whose content has one of the words, except those whose name ends as `allowed`.
fn files_with(folder: &Path, words: &[String], allowed: &[&str]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = entry.path();
            let Ok(kind) = entry.file_type() else { continue };
            if kind.is_dir() {
                folders.push(path);
            } else if kind.is_file() && !allowed.iter().any(|end| path.ends_with(end)) {
                let content = std::fs::read(&path).unwrap_or_default();
                if has(&content, words) {
                    found.push(path);
                }
            }
        }
    }
    found
}

fn has(content: &[u8], words: &[String]) -> bool {
    words.iter().any(|word| content.windows(word.len()).any(|window| window == word.as_bytes()))
}

#[test]
fn they_start_before_the_application_and_outlive_its_releases() {
    let story = story();
    story.deploy();
    assert_eq!(answer(&story, "/ships/add"), "1");
    assert_eq!(answer(&story, "/visits"), "1");
    let shown = story.slipway(&["status"]).expect(0);
    assert!(shown.stdout.contains("database.main") && shown.stdout.contains("redis:7"), "{}", shown.stdout);
    let status = story.slipway(&["migrate", "status", "--json"]).expect(0).json();
    assert_eq!(status["main"]["applied"].as_array().map(Vec::len), Some(1), "{status}");
    let health = story.slipway(&["health", "--json"]).expect(0).json();
    assert_eq!(health["checks"]["database"]["status"], "healthy", "{health}");
    assert_eq!(health["checks"]["cache.redis"]["status"], "healthy", "{health}");
    let logs = story.slipway(&["logs", "database.main"]).expect(0);
    assert!(logs.stdout.contains("ready to accept connections"), "{}", logs.stdout);

    // a deploy leaves them alone
    let before = (pid(&story, "database.main"), pid(&story, "cache.redis"));
    story.mark("two");
    story.deploy();
    assert_eq!(answer(&story, "/"), "two");
    assert_eq!((pid(&story, "database.main"), pid(&story, "cache.redis")), before);
    assert_eq!(answer(&story, "/ships/add"), "2");

    // other settings are taken up
    let stack = story.read("slipway.toml").replace("max_connections = \"40\"", "max_connections = \"30\"");
    story.write("slipway.toml", &stack);
    story.deploy();
    until("another PostgreSQL", LONG, || (pid(&story, "database.main") != before.0).then_some(()));
    assert_eq!(pid(&story, "cache.redis"), before.1, "its settings are the same");
    assert_eq!(answer(&story, "/ships"), "2");

    // they end with the application, and their data stay
    let last = (pid(&story, "database.main"), pid(&story, "cache.redis"));
    story.slipway(&["stop", "--yes"]).expect(0);
    assert!(!alive(last.0) && !alive(last.1), "they are stopped");
    let log: Vec<String> = log(&story, "database.main");
    assert!(log.iter().any(|line| line.contains("fast shutdown request")), "{log:#?}");
    assert!(log.iter().any(|line| line.contains("database system is shut down")), "{log:#?}");
    story.deploy();
    assert_eq!(answer(&story, "/ships"), "2");
    assert_eq!(answer(&story, "/visits"), "2");
}

fn log(story: &Story, name: &str) -> Vec<String> {
    let list = std::fs::read_dir(folder(story).join("logs").join(name)).expect("its logs").flatten();
    list.flat_map(|entry| {
        let text = std::fs::read_to_string(entry.path()).unwrap_or_default();
        text.lines().map(str::to_owned).collect::<Vec<_>>()
    })
    .collect()
}

/// The process of a server's shim.
fn shim_pid(story: &Story, id: &str) -> i32 {
    let path = folder(story).join("services").join(id).join("shim.json");
    until(&format!("{} is written", path.display()), LONG, || {
        let record: Value = serde_json::from_str(&std::fs::read_to_string(&path).ok()?).ok()?;
        record["shim_pid"].as_i64().and_then(|pid| i32::try_from(pid).ok())
    })
}

#[test]
fn killed_servers_and_agents_lose_nothing() {
    let story = story();
    story.deploy();
    assert_eq!(answer(&story, "/ships/add"), "1");
    assert_eq!(answer(&story, "/visits"), "1");
    let (database, cache) = (pid(&story, "database.main"), pid(&story, "cache.redis"));

    // without its agent everything goes on, and the next one finds it
    let agent = story.agent_pid().expect("an agent");
    story.kill(agent);
    assert_eq!(answer(&story, "/ships/add"), "2");
    until("another agent", LONG, || story.agent_pid().filter(|pid| *pid != agent));
    assert_eq!((pid(&story, "database.main"), pid(&story, "cache.redis")), (database, cache));

    // agent and server at once
    let agent = story.agent_pid().expect("an agent");
    story.kill(agent);
    story.kill(database);
    until("another PostgreSQL", LONG, || (pid(&story, "database.main") != database).then_some(()));
    assert_eq!(answer(&story, "/ships"), "2");

    // its shim
    let database = pid(&story, "database.main");
    let shim = shim_pid(&story, "database-main");
    story.kill(shim);
    until("another shim", LONG, || (shim_pid(&story, "database-main") != shim).then_some(()));
    assert_eq!(pid(&story, "database.main"), database);

    // server and shim at once
    story.kill(shim_pid(&story, "database-main"));
    story.kill(database);
    until("yet another PostgreSQL", LONG, || (pid(&story, "database.main") != database).then_some(()));
    assert_eq!(answer(&story, "/ships"), "2");

    story.kill(cache);
    until("another Redis", LONG, || (pid(&story, "cache.redis") != cache).then_some(()));
    let visits: u32 = answer(&story, "/visits").parse().expect("a number");
    assert_eq!(visits, 2, "each change is in the append-only file");
    let restarts = service(&story, "cache.redis").expect("it runs")["restarts"].as_u64();
    assert_eq!(restarts, Some(1));
}

/// The version of the RabbitMQ of this machine, as in `3.10`.
fn rabbitmq() -> String {
    let list = std::fs::read_dir("/usr/lib/rabbitmq/lib").into_iter().flatten().flatten();
    let versions =
        list.filter_map(|entry| entry.file_name().to_str()?.strip_prefix("rabbitmq_server-").map(str::to_owned));
    let version = versions.max().expect("RabbitMQ is not installed: apt-get install rabbitmq-server");
    version.split('.').take(2).collect::<Vec<_>>().join(".")
}

/// A queue that was just opened again counts its letters a moment later.
fn both(story: &Story) {
    until("both letters", LONG, || (answer(story, "/letters") == "2").then_some(()));
}

#[test]
fn a_queue_keeps_its_letters_through_kills_and_stops() {
    let queue = format!("[queue.mq]\nengine = \"rabbitmq:{}\"\n", rabbitmq());
    let story = Story::harbour_with("needs = [\"queue.mq\"]", &queue);
    story.deploy();
    assert_eq!(answer(&story, "/letters/add"), "1");
    assert_eq!(answer(&story, "/letters/add"), "2");
    let before = pid(&story, "queue.mq");
    story.mark("two");
    story.deploy();
    assert_eq!(pid(&story, "queue.mq"), before);

    // RabbitMQ itself takes up to three seconds to write down that a queue exists
    let node = folder(&story).join("data/queue-mq/mnesia/harbour-dev-mq@localhost");
    let quorum = node.join("quorum/harbour-dev-mq@localhost");
    let tables = ["LATEST.LOG", "rabbit_durable_queue.DCD", "rabbit_durable_queue.DCL"].map(|name| node.join(name));
    let names = |file: &PathBuf| has(&std::fs::read(file).unwrap_or_default(), &["letters".to_owned()]);
    until("the queue is on the disk", LONG, || {
        let members = ["names.dets", "meta.dets"].iter().all(|name| names(&quorum.join(name)));
        (members && tables.iter().any(names)).then_some(())
    });
    story.kill(story.agent_pid().expect("an agent"));
    story.kill(before);
    until("another RabbitMQ", LONG, || (pid(&story, "queue.mq") != before).then_some(()));
    both(&story);

    let last = pid(&story, "queue.mq");
    story.slipway(&["stop", "--yes"]).expect(0);
    assert!(!alive(last), "it is stopped");
    story.deploy();
    both(&story);

    let book = book(&story);
    let words =
        ["password", "admin_password"].map(|key| book["queue.mq"][key].as_str().expect("a password").to_owned());
    let allowed = ["services.json", "queue-mq/rabbitmq.conf", "queue-mq/.erlang.cookie"];
    assert_eq!(files_with(&story.home(), &words, &allowed), Vec::<PathBuf>::new());
    let line = std::fs::read(format!("/proc/{}/cmdline", pid(&story, "queue.mq"))).expect("it runs");
    assert!(!has(&line, &words));
}

#[test]
fn a_first_deploy_that_fails_leaves_no_server_running() {
    let story = story();
    story.write("faults.txt", "crash");
    story.slipway(&["deploy", "--yes"]).expect(1);
    until("the servers end", LONG, || {
        let status = story.slipway(&["status", "--json"]).json();
        status["services"].as_array().is_some_and(Vec::is_empty).then_some(())
    });
    story.write("faults.txt", "none");
    story.deploy();
    assert_eq!(answer(&story, "/ships/add"), "1");
}

#[test]
fn passwords_are_in_no_log_and_on_no_command_line() {
    use std::{
        io::{Read, Write},
        os::unix::fs::PermissionsExt,
    };
    let story = story();
    story.deploy();
    story.slipway(&["migrate", "status"]).expect(0);
    let book = book(&story);
    let mut words = BTreeSet::new();
    for name in ["database.main", "cache.redis"] {
        for key in ["password", "admin_password"] {
            words.insert(book[name][key].as_str().expect("a password").to_owned());
        }
    }
    let words: Vec<String> = words.into_iter().collect();
    assert_eq!(words.len(), 4);
    let found = files_with(&story.home(), &words, &["services.json", "cache-redis/redis.conf"]);
    assert_eq!(found, Vec::<PathBuf>::new());
    for private in ["services.json", "data/cache-redis/redis.conf", "data/database-main/slipway.conf"] {
        let metadata = std::fs::metadata(folder(&story).join(private)).expect("it is there");
        assert_eq!(metadata.permissions().mode() & 0o777, 0o600, "{private}");
    }
    for data in ["data/database-main", "data/cache-redis"] {
        let metadata = std::fs::metadata(folder(&story).join(data)).expect("it is there");
        assert_eq!(metadata.permissions().mode() & 0o777, 0o700, "{data}");
    }
    for entry in std::fs::read_dir("/proc").expect("processes").flatten() {
        let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        assert!(!has(&line, &words), "{}", String::from_utf8_lossy(&line));
    }
    // as root, servers are not
    if rustix::process::geteuid().is_root() {
        for name in ["database.main", "cache.redis"] {
            let status = std::fs::read_to_string(format!("/proc/{}/status", pid(&story, name))).expect("it runs");
            let uid = status.lines().find_map(|line| line.strip_prefix("Uid:")).expect("its user");
            assert!(!uid.split_whitespace().any(|uid| uid == "0"), "{name} runs as root: {uid}");
        }
    }
    // neither without the password nor from elsewhere
    let port = book["cache.redis"]["port"].as_u64().expect("a port");
    let port = u16::try_from(port).expect("a port");
    let mut stream = std::net::TcpStream::connect(("127.0.0.1", port)).expect("it listens");
    stream.write_all(b"GET visits\r\nQUIT\r\n").expect("it listens");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    assert!(answer.starts_with("-NOAUTH"), "{answer}");
}

#[test]
fn what_is_not_installed_is_named_with_its_command_before_anything_happens() {
    let missing = "[database.main]\nengine = \"postgres:99\"\n\n[cache.redis]\nengine = \"redis:2\"\n";
    let story = Story::harbour_with("needs = [\"database.main\", \"cache.redis\"]", missing);
    let refused = story.slipway(&["deploy", "--yes"]).expect(1);
    let said = refused.stderr.replace('\n', " ");
    assert!(said.contains("`apt-get install postgresql-99`"), "{said}");
    assert!(said.contains(&format!("(installed: {}", postgres())) || said.contains(", "), "{said}");
    assert!(said.contains("Redis 2 is not installed"), "both at once: {said}");
    assert!(!folder(&story).join("data/database-main").exists(), "nothing was begun");

    for (settings, reason) in [
        ("port = \"1\"", "setting `port` is Slipway's"),
        ("max_connexions = \"1\"", "has no setting `max_connexions`"),
        ("max_connections = \"0\"", "write 1 to 262143"),
    ] {
        let story = Story::harbour_with("", &tables(settings));
        story.write("migrations/001_ships.up.sql", "CREATE TABLE ships (id SERIAL PRIMARY KEY, name TEXT NOT NULL);");
        let refused = story.slipway(&["deploy", "--yes"]).expect(1);
        assert!(refused.stderr.contains(reason), "{}", refused.stderr);
        assert!(!folder(&story).join("data/database-main").exists(), "nothing was begun");
    }
}
