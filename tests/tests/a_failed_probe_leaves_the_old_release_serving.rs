//! A release that never becomes healthy is never shown to a visitor.

use std::time::Duration;

use stories::{Load, Story, until};

// proves S4.P11, S4.E5
#[test]
fn a_failed_probe_leaves_the_old_release_serving() {
    let story = Story::harbour_with("start = \"3s\"", "");
    story.deploy();
    let load = Load::start(story.address, "harbour.test", 2);
    until("visitors", Duration::from_secs(10), || (load.requests() > 50).then_some(()));
    story.mark("two");
    story.write("faults.txt", "unhealthy");
    let failed = story.slipway(&["deploy", "--yes"]).expect(1);
    assert!(failed.stderr.contains("the tide is out"), "the probe's answer is shown: {}", failed.stderr);
    assert_eq!(story.get("/").expect("an answer"), (200, "one".to_owned()));
    let status = story.status();
    assert_eq!(status["deploys"][0]["status"], "failed");
    assert_eq!(status["deploys"][0]["step"], "probe");
    let report = load.stop();
    assert_eq!(report.failures, Vec::<String>::new());
    assert_eq!(report.markers, ["one"], "no visitor saw the bad release");

    // and the next good one goes out as if nothing had been
    story.write("faults.txt", "none");
    story.mark("three");
    story.deploy();
    assert_eq!(story.get("/").expect("an answer"), (200, "three".to_owned()));
}

#[test]
fn a_release_that_crashes_at_once_fails_fast_with_its_last_words() {
    let story = Story::harbour();
    story.deploy();
    story.write("faults.txt", "crash");
    story.mark("two");
    let started = std::time::Instant::now();
    let failed = story.slipway(&["deploy", "--yes"]).expect(1);
    assert!(failed.stderr.contains("the pier is gone"), "{}", failed.stderr);
    assert!(started.elapsed() < Duration::from_secs(30), "no need to wait for the start deadline of 60 s");
    assert_eq!(story.get("/").expect("an answer"), (200, "one".to_owned()));
}

#[test]
fn a_release_that_answers_with_errors_is_rolled_back_while_it_bakes() {
    let tables = "[environment.dev.service.web]\nsize = { replicas = 1 }\n";
    let story = Story::harbour_with("", tables);
    let stack =
        story.read("slipway.toml").replace("target = \"local\"", "target = \"local\"\nrollout = \"100% for 20s\"");
    story.write("slipway.toml", &stack);
    story.deploy();
    let load = Load::start(story.address, "harbour.test", 2);
    until("visitors", Duration::from_secs(10), || (load.requests() > 50).then_some(()));
    story.mark("two");
    story.write("faults.txt", "errors");
    let rolled = story.slipway(&["deploy", "--yes"]).expect(4);
    assert!(rolled.stderr.contains("rolled back"), "{}", rolled.stderr);
    assert_eq!(story.get("/").expect("an answer"), (200, "one".to_owned()));
    load.stop();
    let status = story.status();
    assert_eq!(status["deploys"][0]["kind"], "automatic-rollback");
    assert_eq!(status["deploys"][1]["status"], "rolled-back");
}
