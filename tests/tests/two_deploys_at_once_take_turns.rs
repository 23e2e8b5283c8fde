//! The lock: the second deploy is told who holds it, and changes nothing.

use std::time::Duration;

use stories::{Story, until};

#[test]
fn two_deploys_at_once_take_turns() {
    let story = Story::harbour_with("build = \"sh build.sh\"", "");
    story.write("build.sh", "true");
    story.deploy();
    story.write("build.sh", "touch building; sleep 2");
    story.mark("two");
    let mut first = story.command(&["deploy", "--yes"]).spawn().expect("slipway starts");
    until("the first one's build", Duration::from_secs(20), || story.project().join("building").exists().then_some(()));
    let second = story.slipway(&["deploy", "--yes"]).expect(6);
    assert!(second.stderr.contains("holds the lock") && second.stderr.contains('@'), "{}", second.stderr);
    assert!(first.wait().expect("it ends").success());
    assert_eq!(story.get("/").expect("an answer"), (200, "two".to_owned()));
    let status = story.status();
    assert_eq!(status["deploys"].as_array().map(Vec::len), Some(2), "the refused one left no record: {status}");
}
