//! Where control groups are of version 2, and systemd hands a part of them to the agent, the kernel holds what services
//! may use; whoever takes more is ended, and it is told why.

use std::{fs, time::Duration};

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

// proves issue 3, 5 and 9: limits of processes, held by control groups of version 2
#[test]
fn a_greedy_service_is_ended_and_a_busy_one_is_slowed() {
    let hosts = Hosts::start_with_kernels(1);
    let story = Story::empty();
    story.write("slipway.toml", &format!("{STACK}hosts = [{}]\n", hosts.listed()));
    story.write("greedy.sh", GREEDY);
    hosts.place(0, &story.binary("slipway"));
    hosts.add(&story);
    hosts.slipway(&story, &["deploy", "--yes"]).expect(0);

    // such a machine is slow to enter: one look at everything
    let seen = hosts.ask(
        0,
        "stat -f -c %T /sys/fs/cgroup; cd /sys/fs/cgroup/system.slice/slipway.service; cat cgroup.subtree_control\n\
         cat slipway-greedy-*/memory.max slipway-busy-*/cpu.max; cut -d' ' -f1 /proc/uptime; cat slipway-busy-*/cpu.stat\n\
         sleep 3; cut -d' ' -f1 /proc/uptime; cat slipway-busy-*/cpu.stat",
    );
    let lines: Vec<&str> = seen.lines().collect();
    assert_eq!(lines[0], "cgroup2fs");
    assert!(lines[1].contains("memory") && lines[1].contains("cpu"), "handed on by the agent: {seen}");
    assert_eq!(lines[2..4], [(24 << 20).to_string().as_str(), "15000 100000"]);
    let numbers = |name: &str| -> Vec<f64> {
        let found = lines.iter().filter_map(|line| line.strip_prefix(name));
        found.map(|number| number.trim().parse().expect("a number")).collect()
    };
    let times: Vec<f64> = lines[4..].iter().filter_map(|line| line.parse().ok()).collect();
    let (used, took) = (numbers("usage_usec "), times[1] - times[0]);
    let share = (used[1] - used[0]) / 1e6 / took;
    println!("the busy service had {:.1} % of the processor over {took:.1} s, and may have 15 %", share * 100.0);
    // alone it would have all of the processor
    assert!(share < 0.19 && numbers("nr_throttled ")[1] > 0.0, "{seen}");

    let home = hosts.root(0).join("var/lib/slipway/apps/limits/production");
    fs::write(home.join("data/go"), "").expect("a file of the host");
    let hungry = || {
        let logs = fs::read_dir(home.join("logs/greedy")).into_iter().flatten().flatten();
        logs.map(|log| fs::read_to_string(log.path()).unwrap_or_default().matches("hungry").count()).sum::<usize>()
    };
    until("the greedy service is started again", LONG, || (hungry() == 2).then_some(()));
    let status = hosts.slipway(&story, &["status", "--json"]).expect(0).json();
    let instances = status["instances"].as_array().expect("instances");
    let of = |service: &str| instances.iter().find(|one| one["service"] == service).expect("an instance");
    assert_eq!((&of("greedy")["restarts"], &of("busy")["restarts"]), (&1.into(), &0.into()), "{status:#}");
    assert!(of("busy")["memory"].as_u64().is_some_and(|bytes| bytes > 0), "what the kernel counts: {status:#}");
    let log = hosts.ask(0, "journalctl --no-pager --unit slipway; cat /sys/fs/cgroup/system.slice/slipway.service/slipway-greedy-*/memory.events");
    assert!(log.contains("it used more memory than its limit"), "{log}");
    assert!(log.contains("oom_kill 0"), "its next start has a control group of its own: {log}");
}
