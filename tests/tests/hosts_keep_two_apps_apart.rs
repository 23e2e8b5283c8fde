//! Two applications on one host share its edge, and neither sees the other's files, environment or sockets.

use stories::Hosts;

// proves issue 3, "Bad input": two apps on one host
#[test]
fn neither_app_sees_what_is_the_others() {
    let hosts = Hosts::start(1);
    let (one, two) = (hosts.harbour("one", 1), hosts.harbour("two", 1));
    two.mark("two");
    hosts.add(&one);
    hosts.slipway(&one, &["deploy", "--yes"]).expect(0);
    hosts.slipway(&two, &["deploy", "--yes"]).expect(0);

    let processes = hosts.processes(0, "harbour");
    let users: Vec<&str> = processes.iter().map(|(_, user)| user.as_str()).collect();
    assert!(users.contains(&"slipway-one") && users.contains(&"slipway-two") && users.len() == 2, "{processes:?}");
    let pid = processes.iter().find(|(_, user)| user == "slipway-two").expect("an instance of two").0;

    let as_one = |script: &str| {
        let script = format!("setpriv --reuid slipway-one --regid slipway-one --init-groups sh -c '{script}'");
        hosts.run(0, &script)
    };
    let home = "/var/lib/slipway";
    // its own it sees
    as_one(&format!("cat {home}/store/releases/one/*/tree/*/marker.txt || ls {home}/store/releases/one")).expect(0);
    as_one(&format!("echo kept > {home}/apps/one/production/data/kept && cat {home}/apps/one/production/data/kept"))
        .expect(0);
    // the other's, and the agent's, it does not
    for closed in [
        format!("ls {home}/store/releases/two"),
        format!("ls {home}/store/objects"),
        format!("ls {home}/apps"),
        format!("ls {home}/apps/two/production/data"),
        format!("ls {home}/apps/one/production/values"),
        format!("cat {home}/apps/one/production/state.json"),
        format!("cat {home}/apps/two/production/state.json"),
        format!("ls {home}/edge"),
        format!("test -w {home}/agent.sock"),
        format!("cat /proc/{pid}/environ"),
        format!("ls /proc/{pid}/cwd/"),
        format!("kill -0 {pid}"),
    ] {
        let outcome = as_one(&closed);
        assert_ne!(outcome.code, 0, "`{closed}` is allowed: {}", outcome.stdout);
    }
}
