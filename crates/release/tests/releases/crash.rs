//! A build that is killed at any moment.

use std::{
    fs,
    io::{BufRead, BufReader},
    path::PathBuf,
    process::{Command, Stdio},
    time::Duration,
};

use release::Store;

use crate::project::{Project, app, source};

/// Tells the child which store and project to use.
const FOLDER: &str = "SLIPWAY_TEST_CRASH_FOLDER";

fn shop(project: &mut Project) {
    project.service("api", source(".", Some("cp in.txt out.txt"), &["out.txt", "many"]), "cat out.txt");
    project.site("web", source("web", None, &["."]), false);
}

/// Not a test of its own: builds one release after the other until it is killed.
#[test]
#[ignore = "run by the crash test as its child"]
fn child() {
    let Ok(folder) = std::env::var(FOLDER).map(PathBuf::from) else { return };
    let mut project = Project::new();
    shop(&mut project);
    let store = Store::open(folder.join("store")).unwrap();
    let root = folder.join("project");
    println!("\nready");
    for round in 0.. {
        let text = format!("{} {round}", std::process::id());
        fs::write(root.join("in.txt"), &text).unwrap();
        fs::write(root.join("many/7"), &text).unwrap();
        fs::write(root.join("web/index.html"), text.repeat(200)).unwrap();
        release::build(&project.resolved, "app", &root, &store, &project.options, &mut |_| {}).unwrap();
    }
}

#[test]
fn a_build_killed_at_any_moment_leaves_whole_releases_or_none() {
    let mut project = Project::new();
    shop(&mut project);
    for index in 0..40 {
        project.write(&format!("many/{index}"), format!("file {index}"));
    }
    project.write("in.txt", "first").write("web/index.html", "first");
    let first = project.build().unwrap();
    let folder = project.root().parent().unwrap().to_owned();
    for round in 0..15_u64 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--ignored", "--exact", "crash::child", "--nocapture"])
            .env(FOLDER, &folder)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        assert!(lines.any(|line| line.is_ok_and(|line| line == "ready")), "the child builds");
        // Any moment is as good as another; these spread over several builds.
        std::thread::sleep(Duration::from_millis(round * 37 % 230));
        child.kill().unwrap();
        child.wait().unwrap();

        let store = Store::open(project.store.path()).unwrap();
        let records = store.records(&app()).unwrap();
        let numbers: Vec<u64> = records.iter().rev().map(|record| record.number).collect();
        assert_eq!(numbers, (1..=records.len() as u64).collect::<Vec<_>>());
        for record in records.iter().take(5) {
            store.verify(&app(), &record.release).unwrap();
        }
        let releases = fs::read_dir(store.path().join("releases/shop")).unwrap().flatten();
        let dead = releases.filter(|entry| entry.file_name().to_string_lossy().starts_with(".build-")).count();
        assert_eq!(dead, 0, "what a dead build left is swept");
    }
    // And the next build goes on where they stopped.
    let newest = project.store.records(&app()).unwrap()[0].clone();
    assert!(newest.number >= first.record.number);
    project.write("in.txt", "last");
    let last = project.build().unwrap().record;
    assert_eq!((last.number, last.previous.as_ref()), (newest.number + 1, Some(&newest.release)));
}
