//! A fresh machine becomes a host by one command, which can be repeated, cut short and continued.

use std::{fs, time::Duration};

use stories::{Hosts, Story, until};

/// Bytes of the program that is on its way to a host.
fn arrived(hosts: &Hosts) -> u64 {
    let folder = hosts.root(0).join("usr/local/lib/slipway");
    let parts = fs::read_dir(folder).into_iter().flatten().flatten();
    let part = parts.filter(|entry| entry.file_name().to_string_lossy().ends_with(".part"));
    part.filter_map(|entry| Some(entry.metadata().ok()?.len())).max().unwrap_or(0)
}

// proves S0.15 and S4.1 (hosts over SSH)
#[test]
fn a_fresh_machine_becomes_a_host_and_a_second_time_changes_nothing() {
    let mut hosts = Hosts::start(1);
    let (story, host) = (Story::empty(), hosts.destination(0));

    let plan = hosts.slipway(&story, &["host", "add", &host, "--dry-run"]).expect(0).stdout;
    assert!(
        plan.contains("make the group `slipway`") && plan.contains("ExecStart=/usr/local/bin/slipway agent"),
        "{plan}"
    );
    assert!(!hosts.root(0).join("usr/local/lib/slipway").exists(), "a dry run does nothing");

    let checked = hosts.slipway(&story, &["host", "check", &host]).expect(1).stdout;
    assert!(checked.contains("not installed; slipway host add"), "{checked}");

    let added = hosts.slipway(&story, &["host", "add", &host, "--yes"]).expect(0).stderr;
    assert!(added.contains(&format!("is the host `{}` at {}", hosts.address(0), hosts.address(0))), "{added}");
    let rights = |path: &str| hosts.ask(0, &format!("stat -c '%a %U %G' {path}"));
    assert_eq!(rights("/var/lib/slipway"), "711 root root");
    assert_eq!(rights("/var/lib/slipway/agent.sock"), "660 root slipway");
    assert_eq!(hosts.ask(0, "systemctl is-active slipway; systemctl is-enabled slipway"), "active\nenabled");
    assert_eq!(hosts.ask(0, "systemd-analyze verify /etc/systemd/system/slipway.service 2>&1"), "");
    hosts.run(0, "su guest -c 'test -w /var/lib/slipway/agent.sock || ls /var/lib/slipway'").expect(2);
    let open = hosts.ask(0, "cd /var/lib/slipway && find . -mindepth 1 -maxdepth 1 -type d -perm /007 ! -perm 711");
    assert_eq!(open, "", "folders that others may look into");

    let pid = hosts.ask(0, "systemctl show --property MainPID --value slipway");
    let again = hosts.slipway(&story, &["host", "add", &host, "--yes"]).expect(0).stderr;
    assert!(again.contains("nothing was changed"), "{again}");
    assert_eq!(again.lines().count(), 1, "{again}");
    assert_eq!(hosts.ask(0, "systemctl show --property MainPID --value slipway"), pid, "nothing was restarted");

    let listed = hosts.slipway(&story, &["host", "list", &host, "--json"]).expect(0).json();
    assert_eq!(listed[0]["agent"], "answers");
    assert_eq!(listed[0]["address"], hosts.address(0).to_string());
    let checked = hosts.slipway(&story, &["host", "check", &host, "--json"]).expect(0).json();
    let finding = |what: &str| {
        let all = checked[0]["findings"].as_array().expect("findings");
        all.iter().find(|finding| finding["what"] == what).cloned().unwrap_or_default()
    };
    for what in ["clock", "kernel", "root", "agent", "port 7350"] {
        assert_eq!(finding(what)["verdict"], "good", "{checked:#}");
    }

    // after a power cut it is there again by itself
    hosts.reboot(0);
    until("the agent after a reboot", Duration::from_mins(1), || {
        let listed = hosts.slipway(&story, &["host", "list", &host, "--json"]);
        (listed.code == 0).then_some(())
    });

    hosts.slipway(&story, &["host", "remove", &host, "--purge", "--yes"]).expect(0);
    let left = hosts.ask(0, "ls -d /var/lib/slipway /usr/local/bin/slipway /usr/local/lib/slipway /etc/systemd/system/slipway* 2>/dev/null; pgrep -a slipway; :");
    assert_eq!(left, "");
}

// proves S4.E6 (a cut is survived)
#[test]
fn what_was_cut_short_is_continued_where_it_ended() {
    let hosts = Hosts::start(1);
    let (story, host) = (Story::empty(), hosts.destination(0));
    hosts.slow(0, 40_000);
    let mut command = story.command(&["host", "add", &host, "--yes"]);
    hosts.reach(&mut command);
    let adding = command.spawn().expect("slipway starts");
    until("a part of the program", Duration::from_mins(1), || (arrived(&hosts) > 4 << 20).then_some(()));
    hosts.cut(0);
    // a host that is gone is noticed within 12 s
    let began = std::time::Instant::now();
    let output = adding.wait_with_output().expect("slipway ends");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("was lost") && said.contains("run the same again to go on"), "{said}");
    assert!(began.elapsed() < Duration::from_secs(30), "noticed after {:?}", began.elapsed());

    hosts.mend(0);
    let there = arrived(&hosts);
    let plan = until("the host behind the mended cable", Duration::from_secs(30), || {
        let plan = hosts.slipway(&story, &["host", "add", &host, "--dry-run"]);
        (plan.code == 0).then_some(plan.stdout)
    });
    assert!(there > 4 << 20 && plan.contains("go on sending Slipway"), "{plan}");
    assert!(!plan.contains("make the group"), "what was done is done: {plan}");
    hosts.slipway(&story, &["host", "add", &host, "--yes"]).expect(0);
    hosts.slipway(&story, &["host", "list", &host]).expect(0);
}

#[test]
fn servers_are_installed_with_the_host_and_the_agent_starts_its_own() {
    let hosts = Hosts::start(1);
    let (story, host) = (Story::empty(), hosts.destination(0));
    hosts.slipway(&story, &["host", "add", &host, "--install", "redis", "--yes"]).expect(0);
    hosts.ask(0, "command -v redis-server");
    assert_eq!(hosts.run(0, "systemctl is-active redis-server").stdout.trim(), "inactive");
    let again = hosts.slipway(&story, &["host", "add", &host, "--install", "redis", "--yes"]).expect(0).stderr;
    assert!(again.contains("nothing was changed"), "{again}");
    let odd = hosts.slipway(&story, &["host", "add", &host, "--install", "mysql"]).expect(2).stderr;
    assert!(odd.contains("use one of docker, postgresql, redis, rabbitmq"), "{odd}");
}
