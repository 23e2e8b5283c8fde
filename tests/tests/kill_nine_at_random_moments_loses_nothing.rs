//! The command, the agent and the edge are killed (-9) while deploys go on under load.

use std::time::Duration;

use stories::{Load, Story, until};

/// Which release serves once everything has calmed down: exactly one, and the journal agrees.
fn settled(story: &Story) -> String {
    until("one release, no lock", Duration::from_mins(1), || {
        let status = story.slipway(&["status", "--json"]);
        if status.code != 0 {
            return None;
        }
        let status = status.json();
        let revisions = status["traffic"].as_object().map_or(0, serde_json::Map::len);
        let calm = status["lock"].is_null()
            && !status["deploys"].as_array()?.iter().any(|deploy| deploy["status"] == "running");
        let running = status["instances"].as_array()?.iter().all(|instance| instance["revision"] == status["revision"]);
        (calm && running && revisions == 1).then_some(())
    });
    story.get("/").expect("an answer").1
}

#[test]
fn a_killed_command_leaves_one_release_and_the_next_deploy_goes_on() {
    let story = Story::harbour();
    story.deploy();
    let load = Load::start(story.address, "harbour.test", 3);
    for round in 0..6 {
        let marker = format!("round-{round}");
        story.mark(&marker);
        let mut deploy = story.command(&["deploy", "--yes", "--lease", "2s"]).spawn().expect("slipway starts");
        std::thread::sleep(Duration::from_millis(rand::random_range(20..1500)));
        // It may have ended by itself.
        let _ = deploy.kill();
        deploy.wait().expect("it ended");
        if round % 2 == 0 {
            // nobody comes back: the host cleans up by itself once the lease has lapsed
            let serving = settled(&story);
            assert!(serving == marker || !serving.is_empty(), "{serving}");
        }
        let again = story.slipway(&["deploy", "--yes", "--lease", "2s"]).expect(0);
        drop(again);
        assert_eq!(settled(&story), marker);
    }
    let report = load.stop();
    assert_eq!(report.failures, Vec::<String>::new());
}

#[test]
fn a_killed_agent_disturbs_neither_visitors_nor_deploys() {
    let story = Story::harbour_with("size = { replicas = 2 }", "");
    story.deploy();
    let load = Load::start(story.address, "harbour.test", 3);
    until("visitors", Duration::from_secs(10), || (load.requests() > 50).then_some(()));

    // at rest: the same processes go on, and the agent that comes back takes them over
    let pids = |story: &Story| {
        let status = story.status();
        let mut pids: Vec<i64> = status["instances"]
            .as_array()
            .expect("instances")
            .iter()
            .filter_map(|instance| instance["pid"].as_i64())
            .collect();
        pids.sort_unstable();
        pids
    };
    let before = pids(&story);
    let agent = story.agent_pid().expect("an agent runs");
    story.kill(agent);
    until("another agent", Duration::from_secs(10), || story.agent_pid().filter(|pid| *pid != agent));
    until("the same instances, ready", Duration::from_secs(10), || {
        let status = story.slipway(&["status", "--json"]);
        (status.code == 0 && pids(&story) == before).then_some(())
    });

    // in the middle of deploys
    for round in 0..6 {
        let marker = format!("round-{round}");
        story.mark(&marker);
        let deploy = story.command(&["deploy", "--yes"]).spawn().expect("slipway starts");
        std::thread::sleep(Duration::from_millis(rand::random_range(20..1200)));
        if let Some(pid) = story.agent_pid() {
            story.kill(pid);
        }
        let output = deploy.wait_with_output().expect("it ended");
        assert!(output.status.success(), "round {round}: {}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(settled(&story), marker);
    }
    let report = load.stop();
    assert_eq!(report.failures, Vec::<String>::new());
}

#[test]
fn a_killed_edge_loses_only_what_was_in_its_hands() {
    let story = Story::harbour();
    story.deploy();
    let clients = 3;
    let load = Load::start(story.address, "harbour.test", clients);
    until("visitors", Duration::from_secs(10), || (load.requests() > 50).then_some(()));
    let rounds = 4;
    for round in 0..rounds {
        let marker = format!("round-{round}");
        story.mark(&marker);
        let deploy = story.command(&["deploy", "--yes"]).spawn().expect("slipway starts");
        std::thread::sleep(Duration::from_millis(rand::random_range(20..1200)));
        let pid = story.edge_pid().expect("an edge runs");
        story.kill(pid);
        // the listening sockets live on: whoever comes now waits, and is answered
        let (status, _) = story.get("/").expect("an answer in spite of the killed edge");
        assert_eq!(status, 200);
        let output = deploy.wait_with_output().expect("it ended");
        assert!(output.status.success(), "round {round}: {}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(settled(&story), marker);
    }
    let report = load.stop();
    // each kill breaks at most the connections that were open: the clients', one upload, one WebSocket
    assert!(
        report.failures.len() <= rounds * (clients + 2),
        "{} failures: {:#?}",
        report.failures.len(),
        report.failures
    );
}

#[test]
fn a_killed_instance_comes_back_by_itself() {
    let story = Story::harbour_with("size = { replicas = 2 }", "");
    story.deploy();
    let pid = story.status()["instances"][0]["pid"].as_i64().expect("a pid");
    story.kill(i32::try_from(pid).expect("a pid"));
    until("two ready instances again", Duration::from_secs(20), || {
        let status = story.status();
        let instances = status["instances"].as_array()?;
        let ready = instances
            .iter()
            .filter(|instance| instance["state"]["is"] == "ready" && instance["pid"].as_i64() != Some(pid))
            .count();
        (ready == 2).then_some(())
    });
    assert_eq!(story.get("/").expect("an answer").0, 200);
}

#[test]
fn after_a_reboot_start_brings_everything_back_without_building() {
    let story = Story::harbour_with("build = \"sh build.sh\"", "");
    story.write("build.sh", "true");
    story.deploy();
    // what a power cut leaves: not one process
    for _ in 0..3 {
        for pid in story.processes() {
            story.kill(pid);
        }
    }
    until("nobody answers", Duration::from_secs(10), || story.get("/").is_err().then_some(()));
    story.write("build.sh", "exit 1");
    story.slipway(&["start"]).expect(0);
    assert_eq!(story.get("/").expect("an answer"), (200, "one".to_owned()));
}
