//! Build commands: when they run, how they fail.

use std::{
    fmt::Write as _,
    fs,
    path::Path,
    time::{Duration, Instant},
};

use release::{BuildError, BuildEvent, End, Stream};

use crate::project::{Project, app, snapshot, source};

fn shop() -> Project {
    let mut project = Project::new();
    project.service(
        "api",
        source("api", Some("cat in.txt > out.txt; echo ran >> ../runs"), &["out.txt"]),
        "cat out.txt",
    );
    project.write("api/in.txt", "one");
    project
}

// proves S4.E1
#[test]
fn a_failed_build_keeps_the_previous_release_and_every_record() {
    let mut project = shop();
    let first = project.build().unwrap();
    let before = snapshot(project.store.path());
    project.service(
        "api",
        source("api", Some("for i in $(seq 50); do echo line $i; done; echo broken >&2; exit 3"), &["out.txt"]),
        "cat out.txt",
    );
    let mut lines = Vec::new();
    let error = project
        .build_telling(&mut |event| {
            if let BuildEvent::Output { stream, line, wanted } = event {
                assert_eq!(wanted, "service.api");
                lines.push((stream, line));
            }
        })
        .unwrap_err();
    assert_eq!(lines.len(), 51, "all output is told as it comes");
    assert!(lines.contains(&(Stream::Stderr, "broken".to_owned())));
    let text = error.to_string();
    assert!(text.contains("failed in `api` (exit code 3)") && text.contains("previous release is untouched"), "{text}");
    let BuildError::Command(failure) = error else { panic!("{error}") };
    assert_eq!((failure.end, failure.output.len()), (End::Code(3), 40));
    assert!(failure.output.contains(&"line 50".to_owned()) && failure.command.contains("exit 3"));
    assert_eq!(snapshot(project.store.path()), before);
    assert_eq!(project.store.records(&app()).unwrap(), [first.record]);
}

// proves S4.E2
#[test]
fn a_failed_install_points_at_the_manifest_and_shows_the_tools_own_output() {
    let mut project = Project::new();
    project.write_executable("bin/npm", "#!/bin/sh\necho 'npm error code ERESOLVE'\nexit 1\n");
    let path = format!("{}:{}", project.root().join("bin").display(), std::env::var("PATH").unwrap());
    project.options.env.insert("PATH".to_owned(), path);
    project.write("web/package.json", "{}");
    project.service("web", source("web", Some("npm ci"), &[]), "node x.js");
    let error = project.build().unwrap_err();
    let text = error.to_string();
    assert!(text.contains("look at `web/package.json`"), "{text}");
    let BuildError::Command(failure) = error else { panic!("{text}") };
    assert_eq!(failure.output, ["npm error code ERESOLVE"]);
}

// proves S4.E2
#[test]
fn a_dependency_that_cargo_cannot_find_points_at_the_manifest() {
    let mut project = Project::new();
    let manifest = "[package]\nname = \"x\"\nversion = \"0.1.0\"\nedition = \"2024\"\n[workspace]\n\
                    [dependencies]\nlost = { path = \"../lost\" }\n";
    project.write("api/Cargo.toml", manifest).write("api/src/main.rs", "fn main() {}");
    project.service("api", source("api", Some("cargo build --offline"), &["target/debug/x"]), "target/debug/x");
    let error = project.build().unwrap_err();
    let text = error.to_string();
    assert!(text.contains("look at `api/Cargo.toml`"), "{text}");
    let BuildError::Command(failure) = error else { panic!("{text}") };
    assert!(failure.output.iter().any(|line| line.contains("dependency `lost`")), "{:?}", failure.output);
}

#[test]
fn a_missing_program_is_named() {
    let mut project = Project::new();
    project.service("api", source(".", Some("frobnicate --all"), &[]), "x");
    let text = project.build().unwrap_err().to_string();
    assert!(text.contains("the program `frobnicate` is not on this machine"), "{text}");
}

#[test]
fn an_unchanged_project_runs_nothing_and_a_changed_one_does() {
    let mut project = shop();
    let (first, ran) = project.build_counting();
    assert!(first.is_new && ran == 1);
    let (again, ran) = project.build_counting();
    assert!(!again.is_new && ran == 0 && again.record == first.record);
    // The same bytes written again are no change.
    project.write("api/in.txt", "one");
    assert_eq!(project.build_counting().1, 0);
    project.write("api/in.txt", "two");
    let (second, ran) = project.build_counting();
    assert!(second.is_new && ran == 1 && second.record.number == 2);
    assert_eq!(project.build_counting().1, 0);
    // An output somebody touched is made again, and the release is the same.
    project.write("api/out.txt", "tampered");
    let (mended, ran) = project.build_counting();
    assert!(!mended.is_new && ran == 1 && mended.release == second.release);
    project.options.env.insert("MODE".to_owned(), "other".to_owned());
    assert_eq!(project.build_counting().1, 1);
    assert_eq!(project.build_counting().1, 0);
    project.options.rebuild = true;
    assert_eq!(project.build_counting().1, 1);
    assert_eq!(fs::read_to_string(project.root().join("runs")).unwrap().lines().count(), 5);
}

#[test]
fn files_a_build_makes_beside_its_outputs_do_not_make_it_run_again() {
    let mut project = Project::new();
    project.service("api", source(".", Some("date +%s%N > made.txt; cp in.txt copy.txt"), &[]), "cat copy.txt");
    project.write("in.txt", "one");
    let (first, ran) = project.build_counting();
    assert_eq!((ran, project.tree(&first)), (1, vec!["copy.txt".into(), "in.txt".into(), "made.txt".into()]));
    assert_eq!(project.build_counting().1, 0);
    project.write("in.txt", "two");
    assert_eq!(project.build_counting().1, 1);
    assert_eq!(project.build_counting().1, 0);
    project.write("new.txt", "a source");
    assert_eq!(project.build_counting().1, 1);
    // A file edited while its build runs belongs to the next build.
    project.service("api", source(".", Some("sleep 0.1; echo late >> in.txt"), &[]), "cat in.txt");
    assert_eq!(project.build_counting().1, 1);
    assert_eq!(project.build_counting().1, 1);
}

#[test]
fn a_source_folder_called_target_counts_and_a_build_tools_own_does_not() {
    let mut project = Project::new();
    project.service("api", source(".", Some("cat src/target/a > out.txt"), &["out.txt"]), "cat out.txt");
    project.write("Cargo.toml", "").write("target/debug/junk", "1").write("src/target/a", "one");
    project.write("node_modules/m/i.js", "1").build().unwrap();
    project.write("target/debug/junk", "2").write("node_modules/m/i.js", "2").write(".git/index", "2");
    assert_eq!(project.build_counting().1, 0);
    project.write("src/target/a", "two");
    assert_eq!(project.build_counting().1, 1);
}

#[test]
fn equal_sources_build_once_and_share_a_tree() {
    let mut project = shop();
    let shared = source("api", Some("cat in.txt > out.txt; echo ran >> ../runs"), &["out.txt"]);
    project.service("worker", shared.clone(), "cat out.txt");
    let other = source("api", None, &["in.txt"]);
    project.service("other", other.clone(), "cat in.txt");
    let (built, ran) = project.build_counting();
    let manifest = project.manifest(&built);
    assert_eq!((ran, manifest.trees.len()), (1, 2));
    for (source, file) in [(&shared, "out.txt"), (&other, "in.txt")] {
        let tree = project.store.tree_for(&app(), &built.release, source).unwrap().unwrap();
        let text = fs::read_to_string(tree.join(file)).unwrap();
        assert_eq!(text, "one");
    }
    assert_eq!(manifest.tree_index(&source("nowhere", None, &[])), None);
}

#[test]
fn builds_of_separate_folders_run_together_and_of_one_folder_in_turn() {
    let mut project = Project::new();
    // Each waits for the other, so they end only when both run.
    let meet = |mine: &str, other: &str| {
        format!(
            "touch ../{mine}; i=0; while [ ! -e ../{other} ]; do i=$((i+1)); [ $i -lt 500 ] || exit 9; sleep 0.02; done"
        )
    };
    project.write("a/x", "x").write("b/x", "x");
    project.service("a", source("a", Some(&meet("at-a", "at-b")), &["x"]), "cat x");
    project.service("b", source("b", Some(&meet("at-b", "at-a")), &["x"]), "cat x");
    project.build().unwrap();

    let mut project = Project::new();
    project.write("a/x", "x").write("a/sub/x", "x");
    let alone = "mkdir /tmp/$LOCK || exit 9; sleep 0.1; rmdir /tmp/$LOCK";
    let lock = format!("slipway-test-{}", std::process::id());
    project.options.env.insert("LOCK".to_owned(), lock);
    project.service("a", source("a", Some(alone), &["x"]), "cat x");
    project.service("b", source("a/sub", Some(alone), &["x"]), "cat x");
    project.service("c", source("./a", Some(&format!("{alone};")), &["x"]), "cat x");
    assert_eq!(project.build_counting().1, 3);
}

#[test]
fn a_request_to_stop_ends_the_whole_tree_of_processes() {
    let mut project = Project::new();
    project.service("api", source(".", Some("sleep 300 & echo $! > child; echo ready; wait"), &[]), "x");
    let stop = project.options.stop.clone();
    let started = Instant::now();
    let error = project.build_telling(&mut |event| {
        if matches!(&event, BuildEvent::Output { line, .. } if line == "ready") {
            stop.request();
        }
    });
    assert!(matches!(error, Err(BuildError::Stopped)));
    assert!(started.elapsed() < Duration::from_mins(1));
    let child = fs::read_to_string(project.root().join("child")).unwrap();
    assert_gone(child.trim());
}

#[test]
fn a_command_past_its_time_limit_is_ended_even_when_it_ignores_the_request() {
    let mut project = Project::new();
    project.options.timeout = Some(Duration::from_millis(300));
    project.service("api", source(".", Some("trap '' TERM; echo $$ > pid; while :; do sleep 0.1; done"), &[]), "x");
    let error = project.build().unwrap_err();
    let BuildError::Command(failure) = &error else { panic!("{error}") };
    assert_eq!(failure.end, End::Timeout(0));
    assert_gone(fs::read_to_string(project.root().join("pid")).unwrap().trim());
}

/// Waits until a process is gone or only waits to be reaped.
fn assert_gone(pid: &str) {
    let deadline = Instant::now() + Duration::from_secs(20);
    let lives = || {
        let stat = fs::read_to_string(Path::new("/proc").join(pid).join("stat")).unwrap_or_default();
        !stat.is_empty() && !stat.contains(") Z ")
    };
    while lives() {
        assert!(Instant::now() < deadline, "process {pid} still runs");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn secrets_are_in_no_output_no_error_and_no_file() {
    let mut project = Project::new();
    let secret = "correct-horse-battery";
    project.options.env.insert("TOKEN".to_owned(), secret.to_owned());
    project.options.secrets.push(secret.to_owned());
    project.write("a.txt", "text");
    project.service("api", source(".", Some("echo token is $TOKEN"), &["a.txt"]), "cat a.txt");
    let mut told = String::new();
    project.build_telling(&mut |event| _ = write!(told, "{event:?}")).unwrap();
    assert!(told.contains("token is [secret]"), "{told}");
    project.service("api", source(".", Some("echo $TOKEN; exit 1"), &["a.txt"]), "cat a.txt");
    _ = write!(told, "{:?}", project.build().unwrap_err());
    assert!(!told.contains(secret));
    for folder in [project.root().join(".slipway"), project.store.path().to_owned()] {
        let grep = std::process::Command::new("grep").arg("-r").arg(secret).arg(&folder).output().unwrap();
        assert_eq!(grep.status.code(), Some(1), "{}", String::from_utf8_lossy(&grep.stdout));
    }
}

#[test]
fn what_a_command_leaves_running_does_not_hold_the_build() {
    let mut project = Project::new();
    project.write("a.txt", "a");
    project.service("api", source(".", Some("sleep 30 & echo $! > child"), &["a.txt"]), "cat a.txt");
    let started = Instant::now();
    project.build().unwrap();
    assert!(started.elapsed() < Duration::from_secs(25));
    let child = fs::read_to_string(project.root().join("child")).unwrap();
    _ = std::process::Command::new("kill").arg(child.trim()).status();
}

#[test]
fn a_folder_that_is_not_there_is_a_problem_before_anything_runs() {
    let mut project = shop();
    project.service("b", source("missing", Some("true"), &[]), "x").service("c", source("../out", None, &[]), "x");
    let error = project.build().unwrap_err();
    let BuildError::Problems(problems) = &error else { panic!("{error}") };
    assert_eq!(problems.len(), 2);
    assert!(!project.root().join("runs").exists());
}
