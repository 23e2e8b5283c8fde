//! Hosts that are not Debian with systemd: Amazon Linux with its package manager, and a machine without systemd.

use std::time::Duration;

use stories::{Hosts, Story, until, visit};

// proves issue 3, item 2: package manager differences
#[test]
fn amazon_linux_gets_its_servers_by_dnf_under_their_names_there() {
    let hosts = Hosts::start(1);
    hosts.as_amazon(0);
    let (story, host) = (Story::empty(), hosts.destination(0));
    let checked = hosts.slipway(&story, &["host", "check", &host]).expect(1).stdout;
    assert!(checked.contains("installed: none; --install uses dnf"), "{checked}");

    let plan = hosts.slipway(&story, &["host", "add", &host, "--install", "postgresql", "--dry-run"]).expect(0).stdout;
    assert!(plan.contains("postgresql15-server postgresql16-server"), "{plan}");
    let add = ["host", "add", &host, "--yes", "--install", "docker,postgresql,redis"];
    hosts.slipway(&story, &add).expect(0);
    let installed = hosts.ask(0, "rpm -qa --queryformat '%{NAME}\\n' | sort");
    assert_eq!(installed, "docker\npostgresql16-server\nredis6", "the first of its names that there is");
    let running = "for one in docker postgresql redis6; do systemctl is-active $one; done; :";
    assert_eq!(hosts.ask(0, running), "active\ninactive\ninactive", "the agent runs servers of its own");
    assert_eq!(hosts.ask(0, "id -un redis; id -un postgres"), "redis\npostgres", "as these users");
    let again = hosts.slipway(&story, &add).expect(0).stderr;
    assert!(again.contains("nothing was changed"), "{again}");
    hosts.slipway(&story, &["host", "upgrade", &host]).expect(0);
    let checked = hosts.slipway(&story, &["host", "check", &host]).expect(0).stdout;
    assert!(checked.contains("installed: docker, postgresql, redis"), "{checked}");

    let missing = hosts.slipway(&story, &["host", "add", &host, "--yes", "--install", "rabbitmq"]).expect(1).stderr;
    assert!(missing.contains("have no package of rabbitmq (rabbitmq-server)"), "{missing}");
    hosts.slipway(&story, &["host", "list", &host]).expect(0);
}

// proves issue 3, item 2: a documented fallback where systemd is not
#[test]
fn a_machine_without_systemd_is_a_host_also_after_it_was_started_again() {
    let mut hosts = Hosts::start(1);
    hosts.without_systemd(0);
    assert_eq!(hosts.ask(0, "cat /proc/1/comm; ls -d /run/systemd/system 2>/dev/null; :"), "sshd");
    let story = hosts.harbour("harbour", 1);
    hosts.add(&story);
    let line = hosts.ask(0, "cat /etc/cron.d/slipway");
    assert!(line.contains("@reboot root /usr/local/bin/slipway agent --keep --home /var/lib/slipway"), "{line}");
    let again = hosts.slipway(&story, &["host", "add", &hosts.destination(0), "--yes"]).expect(0).stderr;
    assert!(again.contains("nothing was changed"), "{again}");
    hosts.slipway(&story, &["deploy", "--yes"]).expect(0);
    let serves = |hosts: &Hosts| visit(hosts.edge(0), "harbour.test", "/").is_ok_and(|answer| answer.0 == 200);
    assert!(serves(&hosts));
    let harden = ["host", "harden", &hosts.destination(0), "--ssh", "--firewall", "--yes"];
    hosts.slipway(&story, &harden).expect(0);
    assert!(hosts.slipway(&story, &harden).expect(0).stderr.contains("nothing was changed"));

    // the agent's keeper starts it again
    hosts.run(0, "pkill -KILL -f 'slipway agen[t] --home'").expect(0);
    until("the agent after it was killed", Duration::from_secs(30), || {
        (hosts.slipway(&story, &["host", "list"]).code == 0).then_some(())
    });
    // cron starts everything again
    hosts.reboot(0);
    until("the agent after a power cut", Duration::from_mins(1), || {
        (hosts.slipway(&story, &["host", "list"]).code == 0).then_some(())
    });
    until("the release after a power cut", Duration::from_mins(1), || serves(&hosts).then_some(()));
    assert!(hosts.ask(0, "nft list tables").contains("inet slipway"), "the firewall too");

    hosts.slipway(&story, &["host", "remove", &hosts.destination(0), "--purge", "--yes"]).expect(0);
    let left = "pgrep -a slipway; ls -d /var/lib/slipway /usr/local/lib/slipway /etc/cron.d/slipway* /etc/slipway* 2>/dev/null; nft list tables | grep slipway; :";
    assert_eq!(hosts.ask(0, left), "");
}
