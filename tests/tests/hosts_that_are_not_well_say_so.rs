//! `host check` finds what is wrong with a machine, and what is wrong with one of several is named, the others are left as
//! they were, and the next run goes on.

use std::fs;

use stories::{Hosts, Story, visit};

// proves issue 3, item 2: `check` lists clock skew, disk, memory, ports, kernel features
#[test]
fn check_finds_a_wrong_clock_a_full_disk_little_memory_a_taken_port_and_an_old_kernel() {
    let hosts = Hosts::start(1);
    let (story, host) = (Story::empty(), hosts.destination(0));
    let find = |what: &str| {
        let checked = hosts.slipway(&story, &["host", "check", &host, "--json"]).expect(1).json();
        let all = checked[0]["findings"].as_array().expect("findings").clone();
        let found = all.into_iter().find(|finding| finding["what"] == what).expect("a finding");
        let text = |key: &str| found[key].as_str().expect("a text").to_owned();
        (text("verdict"), text("said"))
    };
    for what in ["clock", "kernel", "port 443", "port 7350"] {
        assert_eq!(find(what).0, "good", "{what}");
    }
    // The kernel, its clock and its memory are this machine's own: here the host's programs and files answer as they
    // would with others.
    let answer = |program: &str, script: &str| {
        let path = hosts.root(0).join("usr/local/bin").join(program);
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).expect("a program");
        hosts.run(0, &format!("chmod 755 /usr/local/bin/{program}")).expect(0);
    };
    answer("date", "exec /usr/bin/date -d '-90 seconds' \"$@\"");
    answer("uname", "[ \"$1\" = -r ] && echo 4.18.0-553.el8 || exec /usr/bin/uname \"$@\"");
    hosts
        .run(
            0,
            "mkdir -p /var/lib/slipway && mount -t tmpfs -o size=8m tmpfs /var/lib/slipway
             printf 'MemTotal: 2000000 kB\\nMemAvailable: 50000 kB\\n' > /tmp/meminfo && mount --bind /tmp/meminfo /proc/meminfo
             echo cpu > /tmp/controllers && mount --bind /tmp/controllers /sys/fs/cgroup/cgroup.controllers
             /usr/sbin/sshd -p 443 && /usr/sbin/sshd -p 7350",
        )
        .expect(0);
    let (clock, said) = find("clock");
    assert!(clock == "bad" && said.starts_with("90.") && said.contains("s behind"), "{said}");
    assert!(said.contains("apt-get install chrony"), "{said}");
    let (kernel, said) = find("kernel");
    assert!(kernel == "bad" && said.contains("4.18.0-553.el8; 5.3 is the oldest"), "{said}");
    let (disk, said) = find("disk");
    assert!(disk == "bad" && said.contains("mount a larger disk at /var/lib/slipway"), "{said}");
    let (memory, said) = find("memory");
    assert!(memory == "warn" && said.contains("51.2 MB of 2048.0 MB free; stop something"), "{said}");
    let (limits, said) = find("limits");
    assert!(limits == "warn" && said.contains("no control groups version 2 for memory"), "{said}");
    assert_eq!(find("port 443"), ("bad".to_owned(), "held by `sshd`; stop that".to_owned()));
    assert_eq!(find("port 7350").0, "bad");

    // what cannot be is said at once, and nothing is done
    let said = hosts.slipway(&story, &["host", "add", &host, "--yes"]).expect(1).stderr;
    for problem in [
        "its kernel is 4.18.0-553.el8",
        "there is room for",
        "port 7350, where other hosts reach it, is held by `sshd`",
    ] {
        assert!(said.contains(problem), "{said}");
    }
    assert!(said.contains("3 problems; nothing was changed"), "{said}");
}

// proves issue 3, "Bad input": half-prepared, full, older, foreign
#[test]
fn a_host_that_is_half_prepared_full_older_or_foreign_is_named_and_the_next_run_goes_on() {
    let hosts = Hosts::start(3);
    let story = hosts.harbour("harbour", 3);
    let names: Vec<String> = (0..3).map(|index| hosts.address(index).to_string()).collect();
    let add = |indexes: &[usize]| {
        let machines: Vec<String> = indexes.iter().map(|index| hosts.destination(*index)).collect();
        let mut arguments = vec!["host", "add", "--yes"];
        arguments.extend(machines.iter().map(String::as_str));
        hosts.slipway(&story, &arguments)
    };
    add(&[0]).expect(0);
    // the second has no room, the third was left by a run that was cut short
    hosts.run(1, "mkdir -p -m 711 /var/lib/slipway && mount -t tmpfs -o size=8m tmpfs /var/lib/slipway").expect(0);
    hosts.run(2, "groupadd --system slipway; usermod --append --groups slipway deploy").expect(0);
    let pid = hosts.ask(0, "systemctl show --property MainPID --value slipway");
    let said = add(&[0, 1, 2]).expect(1).stderr;
    assert!(said.contains(&format!("{}: there is room for 8.3 MB", hosts.destination(1))), "{said}");
    assert!(said.contains("1 problem; nothing was changed"), "{said}");
    assert!(!hosts.root(2).join("usr/local/lib/slipway").exists(), "the rest is left as it was");

    let deploy = || hosts.slipway(&story, &["deploy", "--yes"]);
    let said = deploy().expect(1).stderr;
    for name in &names[1..] {
        assert!(said.contains(name), "{name}: {said}");
    }
    assert_eq!(hosts.ask(0, "ls /var/lib/slipway/apps 2>/dev/null; :"), "", "nothing was begun: {said}");

    hosts.run(1, "umount /var/lib/slipway").expect(0);
    let said = add(&[0, 1, 2]).expect(0).stderr;
    assert_eq!(said.matches("make the group").count(), 1, "the third has it: {said}");
    assert_eq!(said.matches("nothing was changed").count(), 1, "{said}");
    assert_eq!(hosts.ask(0, "systemctl show --property MainPID --value slipway"), pid, "the good one was left alone");
    deploy().expect(0);

    // somebody else's fleet of the same application: its hosts know each other by another secret
    let foreign = hosts.harbour("harbour", 3);
    let stack = foreign.read("slipway.toml");
    let listed = format!("hosts = [\"{}\"]", hosts.destination(2));
    let (head, _) = stack.split_once("hosts = [").expect("hosts");
    hosts.slipway(&story, &["host", "remove", &hosts.destination(2), "--purge", "--yes"]).expect(0);
    add(&[2]).expect(0);
    foreign.write("slipway.toml", &format!("{}{listed}\n", head.replace("replicas = 3", "replicas = 1")));
    hosts.slipway(&foreign, &["deploy", "--yes"]).expect(0);
    let before = visit(hosts.edge(0), "harbour.test", "/marker").map(|answer| answer.0);
    story.mark("two");
    let said = deploy().expect(1).stderr;
    assert!(said.contains(&format!("{} belongs to another fleet of harbour/production, alone", names[2])), "{said}");
    assert!(said.contains("slipway host remove"), "{said}");
    assert_eq!(visit(hosts.edge(0), "harbour.test", "/marker").map(|answer| answer.0), before);
    hosts.slipway(&foreign, &["host", "remove", &hosts.destination(2), "--purge", "--yes"]).expect(0);
    add(&[2]).expect(0);
    deploy().expect(0);
}
