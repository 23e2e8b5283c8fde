//! A build that fails shows the tool's own words and leaves everything as it was.

use stories::Story;

// proves S4.E1
#[test]
fn a_failed_build_keeps_the_old_release() {
    let story = Story::harbour_with("build = \"sh build.sh\"", "");
    story.write("build.sh", "echo building");
    story.deploy();
    story.write("build.sh", "echo the mast is missing >&2; exit 7");
    story.mark("two");
    let failed = story.slipway(&["deploy", "--yes"]).expect(1);
    assert!(failed.stderr.contains("the mast is missing"), "{}", failed.stderr);
    assert!(failed.stderr.contains("exit code 7"), "{}", failed.stderr);
    assert_eq!(story.get("/").expect("an answer"), (200, "one".to_owned()));
    assert_eq!(story.slipway(&["releases", "--json"]).expect(0).json().as_array().map(Vec::len), Some(1));
    let status = story.status();
    assert_eq!(status["deploys"][0]["status"], "failed");
    assert_eq!(status["deploys"][0]["step"], "build");
}

// proves S4.E2
#[test]
fn a_missing_build_tool_is_named() {
    let story = Story::harbour_with("build = \"no-such-tool install\"", "");
    let failed = story.slipway(&["deploy", "--yes"]).expect(1);
    assert!(failed.stderr.contains("no-such-tool"), "{}", failed.stderr);
    assert!(story.get("/").is_err());
}

// proves S4.P1
#[test]
fn a_declared_output_that_the_build_did_not_make_is_refused() {
    let story = Story::harbour_with("build = \"true\"", "");
    std::fs::remove_file(story.project().join("faults.txt")).expect("it was there");
    let failed = story.slipway(&["deploy", "--yes"]);
    assert_ne!(failed.code, 0);
    assert!(failed.stderr.contains("faults.txt"), "{}", failed.stderr);
}
