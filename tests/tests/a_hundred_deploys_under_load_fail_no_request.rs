//! The bar: no failed request over a hundred deploys, with the agent killed now and then.

use std::time::Duration;

use stories::{Load, Story, until};

#[test]
fn a_hundred_deploys_under_load_fail_no_request() {
    let story = Story::harbour();
    story.deploy();
    let load = Load::start(story.address, "harbour.test", 8);
    until("visitors", Duration::from_secs(10), || (load.requests() > 50).then_some(()));
    for round in 1..=100 {
        story.mark(&format!("round-{round}"));
        let deploy = story.command(&["deploy", "--yes"]).spawn().expect("slipway starts");
        if round % 10 == 5 {
            std::thread::sleep(Duration::from_millis(rand::random_range(20..800)));
            if let Some(pid) = story.agent_pid() {
                story.kill(pid);
            }
        }
        let output = deploy.wait_with_output().expect("it ended");
        assert!(output.status.success(), "round {round}: {}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(load.failures(), 0, "after round {round}");
    }
    until("200,000 requests", Duration::from_mins(10), || (load.requests() >= 200_000).then_some(()));
    let report = load.stop();
    println!(
        "{} requests, {} uploads, {} WebSocket messages, {} goodbyes, {} failures over 100 deploys",
        report.requests,
        report.uploads,
        report.echoes,
        report.goodbyes,
        report.failures.len()
    );
    assert_eq!(report.failures, Vec::<String>::new());
    assert_eq!(report.markers.last().map(String::as_str), Some("round-100"));
}
