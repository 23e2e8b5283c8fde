//! A host that only another host leads to: by `ProxyJump`, and by `ProxyCommand`. Whose fault it is when nobody gets there
//! is told with the mend.

use stories::{Hosts, Story, until, visit};

// proves issue 3, item 1: jump hosts
#[test]
fn a_host_behind_another_is_added_deployed_to_and_every_reason_against_it_is_named() {
    let hosts = Hosts::start(2);
    let (jump, far) = (hosts.address(0), hosts.destination(1));
    hosts.hide(1);
    let empty = Story::empty();
    let add = |machine: &str| {
        let said = hosts.slipway(&empty, &["host", "add", "--yes", machine]).expect(1).stderr;
        said.replace('\n', " ")
    };
    assert!(add(&far).contains(&format!("{} refused the connection", hosts.address(1))));

    let through = |user: &str, port: u16| format!("Host {}\n  ProxyJump {user}@{jump}:{port}\n", hosts.address(1));
    let reached = format!("{} is reached through {jump}, and {jump} ", hosts.address(1));
    hosts.configure_ssh(&through("deploy", 1));
    let said = add(&far);
    assert!(said.contains(&format!("{reached}refused the connection")) && said.contains("start sshd there"), "{said}");

    hosts.configure_ssh(&through("pilot", 22));
    let said = add(&far);
    assert!(said.contains(&format!("{reached}lets nobody in")), "{said}");
    assert!(said.contains(&format!("ssh-copy-id ssh://pilot@{jump}:22")), "{said}");

    hosts.configure_ssh(&through("deploy", 22));
    hosts.know(&[1]);
    let said = add(&far);
    assert!(said.contains(&format!("is reached through {jump}, and the key of {jump} is not known here")), "{said}");
    assert!(said.contains(&format!("`ssh-keyscan -H {jump} >> ~/.ssh/known_hosts`")), "{said}");

    hosts.know(&[0]);
    let said = add(&far);
    assert!(said.contains(&format!("the key of {} is not known here", hosts.address(1))), "{said}");
    assert!(said.contains(&format!("`ssh {far}` shows it and asks")), "ssh-keyscan takes no jump host: {said}");

    hosts.know(&[0, 1]);
    let said = add(&format!("pilot@{}", hosts.address(1)));
    assert!(said.contains(&format!("pilot@{0}: {0} lets nobody in", hosts.address(1))), "{said}");
    hosts.run(0, "echo AllowTcpForwarding no > /etc/ssh/sshd_config.d/closed.conf; systemctl reload ssh").expect(0);
    let said = until("sshd with its new configuration", std::time::Duration::from_secs(20), || {
        Some(add(&far)).filter(|said| said.contains("lets nobody through"))
    });
    assert!(said.contains("set `AllowTcpForwarding yes`"), "{said}");
    hosts.run(0, "rm /etc/ssh/sshd_config.d/closed.conf; systemctl reload ssh").expect(0);

    // the way that works
    let story = hosts.harbour("harbour", 2);
    until("sshd with its old configuration", std::time::Duration::from_secs(20), || {
        (hosts.slipway(&empty, &["host", "check", &far]).stdout.contains("kernel")).then_some(())
    });
    hosts.add(&story);
    let listed = hosts.slipway(&story, &["host", "list", "--json"]).expect(0).json();
    assert_eq!(listed[1]["address"], hosts.address(1).to_string(), "where its peers reach it");
    hosts.slipway(&story, &["deploy", "--yes"]).expect(0);
    hosts.slipway(&story, &["status"]).expect(0);
    for index in 0..2 {
        assert_eq!(visit(hosts.edge(index), "harbour.test", "/").map(|answer| answer.0), Ok(200));
        assert_eq!(hosts.processes(index, "harbour").len(), 1);
    }

    // the same by a command
    let config = hosts.ssh_file("config");
    let by = |command: &str| hosts.configure_ssh(&format!("Host {}\n  ProxyCommand {command}\n", hosts.address(1)));
    by("no-such-program %h %p");
    let said = add(&far);
    assert!(said.contains("by the command `no-such-program %h %p`") && said.contains("not found"), "{said}");
    by(&format!("/usr/bin/ssh -F {} -o BatchMode=yes -W %h:%p pilot@{jump}", config.display()));
    let said = add(&far);
    assert!(said.contains(&format!("{reached}lets nobody in")), "{said}");
    by(&format!("/usr/bin/ssh -F {} -o BatchMode=yes -W %h:%p deploy@{jump}", config.display()));
    story.mark("two");
    hosts.slipway(&story, &["deploy", "--yes"]).expect(0);
    let checked = hosts.slipway(&story, &["host", "check", &far]).expect(0).stdout;
    assert!(checked.contains("Slipway's"), "{checked}");
}
