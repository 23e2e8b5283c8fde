//! Back to what was, with the values it ran with, without losing a request.

use std::time::Duration;

use stories::{Load, Story, until};

#[test]
fn a_rollback_brings_the_old_release_back() {
    let story = Story::harbour();
    story.deploy();
    story.mark("two");
    story.deploy();
    let load = Load::start(story.address, "harbour.test", 2);
    until("visitors", Duration::from_secs(10), || (load.requests() > 50).then_some(()));
    story.slipway(&["rollback", "--yes"]).expect(0);
    assert_eq!(story.get("/").expect("an answer"), (200, "one".to_owned()));
    let report = load.stop();
    assert_eq!(report.failures, Vec::<String>::new());

    let status = story.status();
    assert_eq!(status["deploys"][0]["kind"], "rollback");
    assert_eq!(status["deploys"][0]["status"], "succeeded");

    // by number, forwards again
    story.slipway(&["rollback", "#2", "--yes"]).expect(0);
    assert_eq!(story.get("/").expect("an answer"), (200, "two".to_owned()));
}

#[test]
fn a_rollback_brings_the_old_values_back() {
    let story =
        Story::harbour_with("env = { GREETING = \"${GREETING}\" }", "[variable]\nGREETING = { default = \"ahoy\" }\n");
    story.deploy();
    assert_eq!(story.get("/env").expect("an answer").1, "ahoy");
    story.slipway(&["deploy", "--yes", "--set", "GREETING=farewell"]).expect(0);
    assert_eq!(story.get("/env").expect("an answer").1, "farewell");
    story.slipway(&["rollback", "--yes"]).expect(0);
    assert_eq!(story.get("/env").expect("an answer").1, "ahoy");
}

#[test]
fn a_rollback_to_nowhere_says_so() {
    let story = Story::harbour();
    story.deploy();
    let refused = story.slipway(&["rollback", "--yes"]);
    assert_ne!(refused.code, 0);
    assert!(refused.stderr.contains("no earlier release"), "{}", refused.stderr);
    let refused = story.slipway(&["rollback", "deadbeef", "--yes"]);
    assert_ne!(refused.code, 0);
    assert!(refused.stderr.contains("deadbeef"), "{}", refused.stderr);
    assert_eq!(story.get("/").expect("an answer"), (200, "one".to_owned()));
}
