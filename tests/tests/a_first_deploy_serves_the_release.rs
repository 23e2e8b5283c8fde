//! From a folder with a stack file to visitors, in one command.

use stories::Story;

#[test]
fn a_first_deploy_serves_the_release() {
    let story = Story::harbour();
    story.deploy();
    assert_eq!(story.get("/").expect("an answer"), (200, "one".to_owned()));

    // proves S4.7: number, version, commit, who, when, previous
    let status = story.status();
    let deploy = &status["deploys"][0];
    assert_eq!(deploy["number"], 1);
    assert_eq!(deploy["status"], "succeeded");
    assert!(deploy["by"].as_str().is_some_and(|by| by.contains('@')), "{deploy}");
    assert!(deploy["ended_at"].is_string());
    assert!(deploy["previous"].is_null());
    assert_eq!(status["instances"][0]["state"]["is"], "ready");
    assert_eq!(status["release"]["number"], 1);

    let releases = story.slipway(&["releases", "--json"]).expect(0).json();
    assert_eq!(releases[0]["number"], 1);
    assert_eq!(releases.as_array().map(Vec::len), Some(1));
}

#[test]
fn the_same_release_again_is_no_deploy() {
    let story = Story::harbour();
    story.deploy();
    let pid = story.get("/pid").expect("an answer").1;
    let again = story.deploy();
    assert!(again.stderr.contains("already"), "{}", again.stderr);
    assert_eq!(story.get("/pid").expect("an answer").1, pid, "nothing was restarted");
    assert_eq!(story.slipway(&["releases", "--json"]).expect(0).json().as_array().map(Vec::len), Some(1));
}

#[test]
fn stop_ends_everything_and_a_deploy_brings_it_back() {
    let story = Story::harbour();
    story.deploy();
    story.slipway(&["stop", "--yes"]).expect(0);
    assert!(story.get("/").is_err(), "nobody answers after stop");
    story.deploy();
    assert_eq!(story.get("/").expect("an answer"), (200, "one".to_owned()));
}
