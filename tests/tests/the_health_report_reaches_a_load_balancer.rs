//! `health = "/…"` of an environment: what a load balancer in front of the host asks.

use std::time::{Duration, Instant};

use stories::{Story, until};

fn story() -> Story {
    let tables = "[database.main]\nengine = \"sqlite\"\nmigrations = \"migrations\"\n";
    let story = Story::harbour_with("needs = [\"database.main\"]", tables);
    story.write("migrations/001_ships.up.sql", "CREATE TABLE ships (id INTEGER PRIMARY KEY);");
    let stack =
        story.read("slipway.toml").replace("target = \"local\"", "target = \"local\"\nhealth = \"/status/health\"");
    story.write("slipway.toml", &stack);
    story.deploy();
    story
}

// proves S4.4
#[test]
fn it_has_the_documented_shape() {
    let story = story();
    let (status, body) = story.get("/status/health").expect("an answer");
    assert_eq!(status, 200, "{body}");
    let report: serde_json::Value = serde_json::from_str(&body).expect("JSON");
    assert_eq!(report["status"], "healthy", "{report}");
    assert!(report["timestamp"].is_string() && report["version"].is_string() && report["uptime"].is_u64(), "{report}");
    assert_eq!(report["checks"]["database"]["status"], "healthy");
    assert!(report["checks"]["database"]["responseTime"].is_u64(), "{report}");
    for key in ["used", "total", "percentage"] {
        assert!(report["checks"]["memory"][key].is_u64(), "{key} in {report}");
    }
    // the application's own paths stay its own
    assert_eq!(story.get("/health").expect("an answer").1, r#"{"status":"healthy"}"#);
}

// proves S4.P5, S4.P4
#[test]
fn a_lost_database_is_503_and_a_killed_agent_is_waited_for() {
    let story = story();
    let database = story.home().join("apps/harbour/dev/data/main.sqlite");
    for suffix in ["", "-wal", "-shm"] {
        let _ = std::fs::remove_file(format!("{}{suffix}", database.display()));
    }
    std::fs::create_dir(&database).expect("something that is no database");
    let body = until("503", Duration::from_secs(10), || {
        let asked = Instant::now();
        let (status, body) = story.get("/status/health").ok()?;
        assert!(asked.elapsed() < Duration::from_secs(2), "{:?}", asked.elapsed());
        (status == 503).then_some(body)
    });
    assert!(body.contains("\"unhealthy\""), "{body}");

    let agent = story.agent_pid().expect("an agent runs");
    story.kill(agent);
    std::thread::sleep(Duration::from_millis(1_050)); // older than what the edge remembers
    let asked = Instant::now();
    let (status, body) = story.get("/status/health").expect("an answer");
    assert!(asked.elapsed() < Duration::from_secs(2), "{:?}", asked.elapsed());
    assert_eq!(status, 503);
    assert!(body.contains("\"checks\""), "{body}");
}
