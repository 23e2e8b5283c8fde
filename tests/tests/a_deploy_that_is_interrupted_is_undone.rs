//! Ctrl-C is a request to stop safely, and so is a CI system that ends the command.

use std::time::Duration;

use rustix::process::Signal;
use stories::{Story, until};

fn send(signal: Signal, child: &std::process::Child) {
    let pid = i32::try_from(child.id()).ok().and_then(rustix::process::Pid::from_raw).expect("a pid");
    rustix::process::kill_process(pid, signal).expect("it runs");
}

#[test]
fn in_the_build_the_command_is_ended_and_the_record_says_so() {
    let story = Story::harbour_with("build = \"sh build.sh\"", "");
    story.write("build.sh", "true");
    story.deploy();
    story.write("build.sh", "touch building; sleep 600");
    story.mark("two");
    let deploy = story.command(&["deploy", "--yes"]).spawn().expect("slipway starts");
    until("the build", Duration::from_secs(20), || story.project().join("building").exists().then_some(()));
    send(Signal::INT, &deploy);
    let output = deploy.wait_with_output().expect("it ends");
    assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stderr));
    let status = story.status();
    assert_eq!(status["deploys"][0]["status"], "failed");
    assert_eq!(status["deploys"][0]["step"], "build");
    assert_eq!(story.get("/").expect("an answer"), (200, "one".to_owned()));
    // the lock is free at once
    story.write("build.sh", "true");
    story.deploy();
    assert_eq!(story.get("/").expect("an answer"), (200, "two".to_owned()));
}

#[test]
fn while_the_new_release_starts_it_is_taken_away_again() {
    let story = Story::harbour();
    story.deploy();
    story.write("faults.txt", "unhealthy");
    story.mark("two");
    let deploy = story.command(&["deploy", "--yes"]).spawn().expect("slipway starts");
    until("the new instance", Duration::from_secs(20), || {
        let status = story.slipway(&["status", "--json"]);
        (status.code == 0 && status.json()["instances"].as_array().is_some_and(|instances| instances.len() == 2))
            .then_some(())
    });
    send(Signal::TERM, &deploy);
    let output = deploy.wait_with_output().expect("it ends");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains("stopping safely") && stderr.contains("as was asked"), "{stderr}");
    assert_eq!(story.get("/").expect("an answer"), (200, "one".to_owned()));
    until("only the old instance", Duration::from_secs(20), || {
        (story.status()["instances"].as_array().map(Vec::len) == Some(1)).then_some(())
    });
}
