//! What a stack says must be so before a deploy changes anything, and after all visitors are on the new release.

use std::{
    io::Write,
    process::{Command, Stdio},
    time::Duration,
};

use rustix::process::Signal;
use serde_json::Value;
use stories::{Fleet, Load, Story, until};

const PATIENCE: Duration = Duration::from_secs(30);

/// The harbour with gates; `marker.txt` says what serves.
fn with_gates(gates: &str) -> Story {
    Story::harbour_with("", gates)
}

/// What visitors get.
#[track_caller]
fn serves(story: &Story, marker: &str) {
    assert_eq!(story.get("/").expect("an answer"), (200, marker.to_owned()));
}

fn checks(deploy: &Value) -> Vec<(String, bool)> {
    let checks = deploy["checks"].as_array().expect("a list");
    let one = |check: &Value| (check["check"].as_str().unwrap_or_default().to_owned(), check["passed"] == true);
    checks.iter().map(one).collect()
}

// proves S4.14, S0.22
#[test]
fn a_gate_before_that_fails_changes_nothing() {
    let story = with_gates("[gate.tests]\nwhen = \"before\"\nrun = \"sh tests.sh\"\n");
    story.write("tests.sh", "echo \"all of $SLIPWAY_APP in $SLIPWAY_ENVIRONMENT are well\"");
    story.deploy();
    story.mark("two");
    story.write("tests.sh", "echo 'expected 3, got 4' >&2; exit 17");
    let failed = story.slipway(&["deploy", "--yes"]).expect(1);
    for part in ["gate `tests`", "`sh tests.sh` ended with exit code 17", "expected 3, got 4", "visitors saw nothing"] {
        assert!(failed.stderr.contains(part), "{part} in {}", failed.stderr);
    }
    serves(&story, "one");
    let status = story.status();
    let last = &status["deploys"][0];
    assert_eq!((&last["status"], &last["step"]), (&"failed".into(), &"gate".into()));
    assert!(last["reason"].as_str().expect("a reason").contains("expected 3, got 4"), "{last}");
    assert_eq!(checks(last), [("`sh tests.sh` succeeds".to_owned(), false)]);
    assert!(!last["steps"].to_string().contains("ship"), "nothing was brought anywhere: {last}");
    story.write("tests.sh", "true");
    story.deploy();
    serves(&story, "two");
}

// proves S3.13, S0.24
#[test]
fn a_gate_after_that_fails_takes_the_deploy_back() {
    let gates = r#"
[gate.smoke]
when = "after"
run = "sh smoke.sh"
checks = ["instances are ready", "/health answers within 2s", "http://harbour.test/ answers", "http.errors < 50%"]
"#;
    let story = with_gates(gates);
    story.write("smoke.sh", "true");
    story.deploy();
    let first = story.status();
    assert_eq!(checks(&first["deploys"][0]).len(), 5, "{first}");
    let load = Load::start(story.address, "harbour.test", 2);
    until("visitors", PATIENCE, || (load.requests() > 50).then_some(()));
    story.mark("two");
    // all visitors are on the new release when it runs
    story.write("smoke.sh", "cp marker.txt seen.txt; echo 'the crane is stuck'; exit 3");
    let back = story.slipway(&["deploy", "--yes"]).expect(4);
    for part in ["gate `smoke`", "`sh smoke.sh` ended with exit code 3", "the crane is stuck", "rolled back"] {
        assert!(back.stderr.contains(part), "{part} in {}", back.stderr);
    }
    assert_eq!(story.read("seen.txt"), "two");
    serves(&story, "one");
    assert_eq!(load.stop().failures, Vec::<String>::new());
    let status = story.status();
    assert_eq!(status["deploys"][0]["kind"], "automatic-rollback");
    assert_eq!(status["deploys"][1]["status"], "rolled-back");
    assert_eq!(checks(&status["deploys"][1]), [("`sh smoke.sh` succeeds".to_owned(), false)]);
    let shown = story.slipway(&["status", "-n", "2"]).expect(0).stdout;
    assert!(shown.contains("rolled-back"), "{shown}");

    // what can be looked at does the same
    story.write("smoke.sh", "true");
    story.write("slipway.toml", &story.read("slipway.toml").replace("/health answers", "/nowhere answers"));
    let back = story.slipway(&["deploy", "--yes"]).expect(4);
    assert!(back.stderr.contains("\"/nowhere answers within 2s\" is not so"), "{}", back.stderr);
    assert!(back.stderr.contains("answered 404"), "{}", back.stderr);
    serves(&story, "one");
}

#[test]
fn a_command_of_a_gate_has_its_time() {
    let story = with_gates("[gate.slow]\nwhen = \"before\"\nrun = \"sh slow.sh\"\ntimeout = \"1s\"\n");
    story.write("slow.sh", "true");
    story.deploy();
    story.mark("two");
    story.write("slow.sh", "echo waits; sleep 600 & echo $! > pid; wait");
    let failed = story.slipway(&["deploy", "--yes"]).expect(1);
    assert!(failed.stderr.contains("did not end within 1s") && failed.stderr.contains("waits"), "{}", failed.stderr);
    let pid = story.read("pid").trim().to_owned();
    until("what it started has ended", PATIENCE, || {
        (!std::path::Path::new("/proc").join(&pid).join("cwd").exists()).then_some(())
    });
    serves(&story, "one");
}

/// `deploy` on a terminal, with these answers typed.
fn on_a_terminal(story: &Story, arguments: &str, answers: &str) -> (i32, String) {
    let command = format!("{} deploy {arguments}", story.binary("slipway").display());
    let mut child = Command::new("script")
        .args(["--quiet", "--return", "--flush", "--command", &command, "/dev/null"])
        .current_dir(story.project())
        .env("SLIPWAY_HOME", story.home())
        .env("TERM", "xterm")
        .env_remove("CI")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("`script` runs: apt-get install bsdutils");
    let mut typing = child.stdin.take().expect("a way in");
    typing.write_all(answers.as_bytes()).expect("typed");
    let output = child.wait_with_output().expect("it ends");
    drop(typing);
    (output.status.code().unwrap_or(-1), String::from_utf8_lossy(&output.stdout).into_owned())
}

// proves S4.14, S3.14
#[test]
fn what_only_a_person_knows_is_asked_and_kept_with_their_name() {
    let gates = r#"
[gate.plan]
when = "before"
checks = ["the plan was read"]

[gate.visit]
when = "after"
checks = ["sign-in works"]
"#;
    let story = with_gates(gates);
    story.write(
        "slipway.toml",
        &story.read("slipway.toml").replace("target = \"local\"", "target = \"local\"\napprove = true"),
    );
    // nobody is here: nothing is begun
    let refused = story.slipway(&["deploy"]).expect(2);
    for part in ["the plan was read", "sign-in works", "--yes"] {
        assert!(refused.stderr.contains(part), "{part} in {}", refused.stderr);
    }
    assert!(!story.home().exists(), "nothing was started");

    story.deploy();
    let status = story.status();
    let made = status["deploys"][0]["checks"].as_array().expect("a list").clone();
    let what: Vec<&str> = made.iter().filter_map(|check| check["check"].as_str()).collect();
    assert_eq!(what, ["the environment's approval", "the plan was read", "sign-in works"]);
    assert!(made.iter().all(|check| check["by"] == status["deploys"][0]["by"]), "{made:?}");
    assert_eq!(made[1]["detail"], "by --yes");

    story.mark("two");
    let (code, said) = on_a_terminal(&story, "", "y\nn\n");
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("the plan was read") && said.contains("the answer was no"), "{said}");
    serves(&story, "one");
    let (code, said) = on_a_terminal(&story, "", "y\ny\nn\n");
    assert_eq!(code, 4, "{said}");
    serves(&story, "one");
    let (code, said) = on_a_terminal(&story, "", "n\n");
    assert!(code == 1 && said.contains("nothing was changed"), "{code}: {said}");
    let (code, said) = on_a_terminal(&story, "", "y\ny\ny\n");
    assert_eq!(code, 0, "{said}");
    serves(&story, "two");
    let shown = story.slipway(&["status"]).expect(0).stdout;
    assert!(shown.contains("visit: sign-in works"), "{shown}");
}

#[test]
fn an_approval_without_gates_is_refused_where_nobody_is() {
    let story = Story::harbour();
    story.write(
        "slipway.toml",
        &story.read("slipway.toml").replace("target = \"local\"", "target = \"local\"\napprove = true"),
    );
    let refused = story.slipway(&["deploy"]).expect(2);
    assert!(refused.stderr.contains("--yes"), "{}", refused.stderr);
    assert!(!story.home().exists(), "nothing was started");
    story.deploy();
    assert_eq!(story.status()["deploys"][0]["checks"][0]["check"], "the environment's approval");
}

/// Deploys with a gate that never ends, and does `then` to the command while it waits in it.
fn interrupted(when: &str, signal: Signal) -> (Story, i32) {
    let story = with_gates(&format!("[gate.endless]\nwhen = \"{when}\"\nrun = \"sh endless.sh\"\n"));
    story.write("endless.sh", "true");
    story.deploy();
    story.write("endless.sh", "touch begun; sleep 600");
    story.mark("two");
    let mut deploy = story.command(&["deploy", "--yes", "--lease", "2s"]).spawn().expect("slipway starts");
    until("the gate", PATIENCE, || story.project().join("begun").exists().then_some(()));
    let pid = i32::try_from(deploy.id()).ok().and_then(rustix::process::Pid::from_raw).expect("a pid");
    rustix::process::kill_process(pid, signal).expect("it runs");
    let code = deploy.wait().expect("it ends").code().unwrap_or(-1);
    (story, code)
}

/// The last deploys have an outcome, and visitors are where they were.
#[track_caller]
fn settled(story: &Story, statuses: &[&str]) {
    until("an outcome", PATIENCE, || (story.status()["deploys"][0]["status"] != "running").then_some(()));
    let deploys = story.status()["deploys"].as_array().expect("a list").clone();
    let found: Vec<&str> = deploys.iter().filter_map(|deploy| deploy["status"].as_str()).collect();
    assert_eq!(found, statuses, "{deploys:?}");
    until("the old release", PATIENCE, || story.get("/").ok().filter(|answer| answer.1 == "one").map(drop));
    story.write("endless.sh", "true");
    story.deploy();
    serves(story, "two");
}

#[test]
fn a_dead_laptop_in_a_gate_before_leaves_everything_as_it_was() {
    let (story, _) = interrupted("before", Signal::KILL);
    settled(&story, &["failed", "succeeded"]);
}

#[test]
fn a_dead_laptop_in_a_gate_after_takes_visitors_back() {
    let (story, _) = interrupted("after", Signal::KILL);
    until("the hosts go back", PATIENCE, || {
        (story.status()["deploys"][0]["kind"] == "automatic-rollback").then_some(())
    });
    let reason = story.status()["deploys"][1]["reason"].clone();
    let said = "stopped in step bake before its gate `endless` was passed";
    assert!(reason.as_str().is_some_and(|reason| reason.contains(said)), "{reason}");
    settled(&story, &["succeeded", "rolled-back", "succeeded"]);
}

#[test]
fn ctrl_c_in_a_gate_goes_back_at_once() {
    let (story, code) = interrupted("before", Signal::INT);
    assert_eq!(code, 1);
    settled(&story, &["failed", "succeeded"]);
    let (story, code) = interrupted("after", Signal::INT);
    assert_eq!(code, 4);
    settled(&story, &["succeeded", "rolled-back", "succeeded"]);
}

#[test]
fn a_dry_run_says_who_finds_out_what() {
    let gates = "[gate.smoke]\nwhen = \"after\"\nrun = \"sh smoke.sh\"\nchecks = [\"/health answers\", \"the logs\"]\n";
    let story = with_gates(gates);
    let plan = story.slipway(&["deploy", "--dry-run"]).expect(0).stdout;
    for part in ["pass the gate `smoke`", "run   sh smoke.sh", "look  /health answers", "ask   the logs"] {
        assert!(plan.contains(part), "{part} in {plan}");
    }
    let plan = story.slipway(&["deploy", "--dry-run", "--json"]).expect(0).json();
    assert!(plan["steps"].to_string().contains(r#""gates":["smoke"]"#), "{plan}");
}

// commands run where the deploy does, addresses are asked at the edge of each host
#[test]
fn gates_stand_around_a_deploy_to_hosts() {
    let fleet = Fleet::start(2);
    let gates = r#"
[gate.smoke]
when = "after"
run = "sh smoke.sh"
checks = ["all instances are ready", "/health answers", "http.errors < 50%"]

[environment.production]"#;
    let stack = fleet.story.read("slipway.toml").replace("[environment.production]", gates);
    fleet.story.write("slipway.toml", &stack);
    fleet.story.write("smoke.sh", "cp marker.txt seen.txt");
    fleet.story.mark("two");
    fleet.slipway(&["deploy", "--yes"]).expect(0);
    fleet.level("two");
    assert_eq!(fleet.story.read("seen.txt"), "two");
    let last = fleet.status().expect("a status")["deploys"][0].clone();
    assert!(checks(&last).iter().all(|(_, passed)| *passed) && checks(&last).len() == 4, "{last}");

    let load = fleet.load(&[0, 1]);
    fleet.story.mark("three");
    fleet.story.write("smoke.sh", "echo 'the crane is stuck'; exit 3");
    let back = fleet.slipway(&["deploy", "--yes"]).expect(4);
    assert!(back.stderr.contains("the crane is stuck"), "{}", back.stderr);
    fleet.level("two");
    assert_eq!(load.stop().failures, Vec::<String>::new());

    // nobody is left who could pass it: the hosts go back
    fleet.story.write("smoke.sh", "touch begun; sleep 600");
    let mut deploy = fleet.command(&["deploy", "--yes", "--lease", "3s"]).spawn().expect("slipway starts");
    until("the gate", PATIENCE * 2, || fleet.story.project().join("begun").exists().then_some(()));
    deploy.kill().expect("it runs");
    deploy.wait().expect("it ends");
    assert_eq!(fleet.settled(), "two");
}
