//! What is done to hosts while visitors come: upgraded, drained, taken back, removed.

use std::time::Duration;

use stories::{Hosts, Load, until};

// proves S4.9 (the agent is replaced, instances and visitors notice nothing)
#[test]
fn an_upgrade_leaves_instances_and_visitors_alone() {
    let hosts = Hosts::start(2);
    let story = hosts.harbour("harbour", 2);
    hosts.add(&story);
    hosts.slipway(&story, &["deploy", "--yes"]).expect(0);
    let before: Vec<_> = (0..2).map(|index| hosts.processes(index, "harbour")).collect();
    assert!(before.iter().all(|processes| processes.len() == 1), "{before:?}");

    // another program: the same one with a few more bytes
    let other = story.project().join("slipway-next");
    let mut bytes = std::fs::read(story.binary("slipway")).expect("the program");
    bytes.extend(b"next");
    std::fs::write(&other, bytes).expect("a file");
    let other = other.display().to_string();
    let load = Load::start(hosts.edge(0), "harbour.test", 4);
    let said = hosts.slipway(&story, &["host", "upgrade", "--binary", &other]).expect(0).stderr;
    assert!(said.contains("start the agent again; what runs goes on"), "{said}");
    until("visitors after the upgrade", Duration::from_secs(30), || (load.requests() > 200).then_some(()));
    let report = load.stop();
    assert!(report.failures.is_empty(), "{:?}", report.failures);
    let after: Vec<_> = (0..2).map(|index| hosts.processes(index, "harbour")).collect();
    assert_eq!(after, before, "the same processes run on");

    let again = hosts.slipway(&story, &["host", "upgrade", "--binary", &other]).expect(0).stderr;
    assert_eq!(again.matches("nothing was changed").count(), 2, "{again}");
    let kept = hosts.ask(0, "ls /usr/local/lib/slipway | wc -l");
    assert_eq!(kept, "2", "the program before is kept");
}

#[test]
fn a_drained_host_hands_its_work_to_the_others_and_takes_it_back() {
    let hosts = Hosts::start(2);
    let story = hosts.harbour("harbour", 2);
    hosts.add(&story);
    hosts.slipway(&story, &["deploy", "--yes"]).expect(0);
    let load = Load::start(hosts.edge(0), "harbour.test", 4);
    hosts.slipway(&story, &["host", "drain", &hosts.destination(1)]).expect(0);
    assert_eq!(hosts.processes(1, "harbour"), []);
    until("both replicas on the host that is left", Duration::from_secs(30), || {
        (hosts.processes(0, "harbour").len() == 2).then_some(())
    });
    let refused = hosts.slipway(&story, &["host", "drain", &hosts.destination(0)]).expect(1).stderr;
    assert!(refused.contains("is the only host of harbour/production that is not drained"), "{refused}");
    hosts.slipway(&story, &["host", "undrain", &hosts.destination(1)]).expect(0);
    until("a replica on each host", Duration::from_secs(30), || {
        (hosts.processes(0, "harbour").len() == 1 && hosts.processes(1, "harbour").len() == 1).then_some(())
    });
    hosts.slipway(&story, &["host", "remove", &hosts.destination(1), "--yes"]).expect(0);
    until("both replicas on the host that is left", Duration::from_secs(30), || {
        (hosts.processes(0, "harbour").len() == 2).then_some(())
    });
    let report = load.stop();
    assert!(report.failures.is_empty(), "{:?}", report.failures);
    assert_eq!(
        hosts.ask(1, "pgrep -a slipway; ls -d /var/lib/slipway /usr/local/bin/slipway 2>/dev/null; :"),
        "/var/lib/slipway"
    );
}
