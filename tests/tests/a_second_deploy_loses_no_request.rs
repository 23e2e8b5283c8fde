//! Keep-alive connections, slow uploads and WebSockets go on while the release changes under them.

use std::time::Duration;

use stories::{Load, Story, until};

#[test]
fn a_second_deploy_loses_no_request() {
    let story = Story::harbour_with("size = { replicas = 2 }", "");
    story.deploy();
    let load = Load::start(story.address, "harbour.test", 6);
    until("visitors", Duration::from_secs(10), || (load.requests() > 200).then_some(()));
    for marker in ["two", "three", "four"] {
        story.mark(marker);
        story.deploy();
        assert_eq!(story.get("/").expect("an answer"), (200, marker.to_owned()));
        let before = load.requests();
        until("visitors of the new release", Duration::from_secs(10), || {
            (load.requests() > before + 200).then_some(())
        });
    }
    let report = load.stop();
    assert_eq!(report.failures, Vec::<String>::new());
    assert_eq!(report.markers, ["one", "two", "three", "four"]);
    assert!(report.uploads > 0 && report.echoes > 0, "{report:?}");
    assert!(report.goodbyes >= 3, "each old instance says goodbye to its WebSocket: {report:?}");
}
