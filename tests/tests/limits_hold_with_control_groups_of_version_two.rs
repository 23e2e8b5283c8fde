//! Where control groups are of version 2, and systemd hands a part of them to the agent, the kernel holds what services
//! may use; whoever takes more is ended, and it is told why.

use std::time::Duration;

use serde_json::Value;
use stories::{Hosts, Story, until};

const LONG: Duration = Duration::from_secs(90);

/// Eats memory once it may, until somebody ends it.
const GREEDY: &str = "echo hungry; while [ ! -e $SLIPWAY_DATA/go ]; do sleep 0.1; done; rm $SLIPWAY_DATA/go\n\
                      x=aaaaaaaa; while true; do x=$x$x; done\n";

const STACK: &str = r#"app = "limits"

[service.greedy]
dir = "."
out = ["greedy.sh"]
run = "sh greedy.sh"
size = { memory = "24Mi" }

[service.busy]
dir = "."
run = "sh -c 'while true; do :; done'"
size = { cpu = "150m", memory = "32Mi" }

[environment.production]
target = "hosts"
"#;

/// What `status --json` says of a service's instance.
fn instance(hosts: &Hosts, story: &Story, service: &str) -> Option<Value> {
    let status: Value = serde_json::from_str(&hosts.slipway(story, &["status", "--json"]).stdout).ok()?;
    status["instances"].as_array()?.iter().find(|one| one["service"] == service).cloned()
}

// proves issue 3, 5 and 9: limits of processes, held by control groups of version 2
#[test]
fn a_greedy_service_is_ended_and_a_busy_one_is_slowed() {
    let hosts = Hosts::start_with_kernels(1);
    let story = Story::empty();
    story.write("slipway.toml", &format!("{STACK}hosts = [{}]\n", hosts.listed()));
    story.write("greedy.sh", GREEDY);
    hosts.place(0, &story.binary("slipway"));
    hosts.add(&story);
    assert_eq!(hosts.ask(0, "stat -f -c %T /sys/fs/cgroup"), "cgroup2fs");
    let groups = "/sys/fs/cgroup/system.slice/slipway.service";
    let controllers = hosts.ask(0, &format!("cat {groups}/cgroup.subtree_control"));
    assert!(controllers.contains("memory") && controllers.contains("cpu"), "handed on by the agent: {controllers}");

    hosts.slipway(&story, &["deploy", "--yes"]).expect(0);
    let group = |service: &str| {
        let pid = instance(&hosts, &story, service).expect("it runs")["pid"].as_u64().expect("a process");
        let path = hosts.ask(0, &format!("cut -d: -f3 /proc/{pid}/cgroup"));
        assert!(path.starts_with("/system.slice/slipway.service/slipway-"), "{path}");
        format!("/sys/fs/cgroup{path}")
    };
    let (greedy, busy) = (group("greedy"), group("busy"));
    assert_ne!(greedy, busy);
    let read = |group: &str, file: &str| hosts.ask(0, &format!("cat {group}/{file}"));
    assert_eq!(read(&greedy, "memory.max"), (24 << 20).to_string());
    assert_eq!(read(&busy, "cpu.max"), "15000 100000");

    // it would have all of the processor
    let used = |text: &str| text.lines().find_map(|line| line.strip_prefix("usage_usec ")?.parse::<f64>().ok());
    let measure = format!("cat {busy}/cpu.stat; sleep 3; cat {busy}/cpu.stat; cut -d' ' -f1 /proc/uptime");
    let before = hosts.ask(0, &format!("cut -d' ' -f1 /proc/uptime; {measure}"));
    let lines: Vec<&str> = before.lines().collect();
    let time = |line: Option<&&str>| line.and_then(|line| line.parse::<f64>().ok()).expect("a time");
    let took = time(lines.last()) - time(lines.first());
    let (first, second) = before.split_at(before.rfind("usage_usec").expect("two looks"));
    let share = (used(second).expect("a number") - used(first).expect("a number")) / 1e6 / took;
    println!("the busy service had {:.1} % of the processor over {took:.1} s, and may have 15 %", share * 100.0);
    assert!(share < 0.19, "{before}");
    assert!(!before.contains("nr_throttled 0\n"), "{before}");

    // what is measured is what the kernel counts
    let memory = |service: &str| instance(&hosts, &story, service)?["memory"].as_u64();
    until("the memory of a service", LONG, || memory("busy").filter(|bytes| *bytes > 0));

    hosts.ask(0, "touch /var/lib/slipway/apps/limits/production/data/go");
    let mut told = Vec::new();
    let ended = until("the greedy service is started again", LONG, || {
        let one = instance(&hosts, &story, "greedy")?;
        told.extend(one["state"]["why"].as_str().map(str::to_owned));
        (one["restarts"].as_u64()? > 0 && one["state"]["is"] == "ready").then_some(one)
    });
    assert_eq!(ended["restarts"], 1);
    let why = "it used more memory than its limit";
    let log = hosts.ask(0, "journalctl --no-pager --unit slipway");
    assert!(log.contains(why) || told.iter().any(|told| told.contains(why)), "{told:?}\n{log}");
    let lines = hosts.slipway(&story, &["logs", "greedy"]).expect(0).stdout;
    assert_eq!(lines.matches("hungry").count(), 2, "{lines}");
    let alone = instance(&hosts, &story, "busy").expect("it runs");
    assert_eq!(alone["restarts"], 0, "nobody else was touched");
    assert!(read(&greedy, "memory.events").contains("oom_kill 0"), "its next start has a control group of its own");
}
