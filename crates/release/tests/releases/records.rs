//! Who built which release, when and from what (S4.7).

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    sync::{Arc, Barrier},
};

use release::{BuildError, Store, StoreError};

use crate::project::{Project, app, source};

fn plain() -> Project {
    let mut project = Project::new();
    project.service("api", source(".", None, &["a.txt"]), "cat a.txt").write("a.txt", "one");
    project
}

// proves S4.7
#[test]
fn each_new_release_has_a_record_with_number_version_commit_builder_time_and_previous() {
    let mut project = plain();
    project.git(&["init", "-q"]);
    project.git(&["add", "."]);
    project.git(&["commit", "-q", "-m", "first"]);
    project.git(&["tag", "v1.4.0"]);
    let first = project.build().unwrap().record;
    let head = project.git(&["rev-parse", "HEAD"]);
    assert_eq!((first.number, first.version.as_str(), first.previous.as_ref()), (1, "v1.4.0", None));
    assert_eq!(first.commit.as_deref(), Some(head.as_str()), "our own folder does not make the tree dirty");
    assert!(first.built_by.contains('@') && (first.bytes, first.new_bytes) == (3, 3));
    assert!(jiff::Timestamp::now().as_second() - first.built_at.as_second() < 300);
    project.write("a.txt", "other");
    let second = project.build().unwrap().record;
    assert_eq!((second.number, second.version.as_str()), (2, "v1.4.0-dirty"));
    assert_eq!(second.commit, Some(format!("{head}-dirty")));
    assert_eq!(second.previous.as_ref(), Some(&first.release));
    project.resolved.stack.version = Some("2.0".to_owned());
    project.write("a.txt", "third");
    let third = project.build().unwrap().record;
    assert_eq!(third.version, "2.0");
    // An older content is the older release, and takes no new number.
    project.write("a.txt", "one");
    let again = project.build().unwrap();
    assert!(!again.is_new && again.record == first);
    assert_eq!(project.store.records(&app()).unwrap(), [third.clone(), second, first.clone()]);
    assert_eq!(project.store.find(&app(), "v1.4.0").unwrap(), first);
    assert_eq!(project.store.find(&app(), &third.release.as_str()[..8]).unwrap(), third);
    assert!(
        matches!(project.store.find(&app(), "v9"), Err(StoreError::Unknown { candidates, .. }) if candidates.len() == 3)
    );
}

#[test]
fn outside_of_git_the_version_is_the_number() {
    let record = plain().build().unwrap().record;
    assert_eq!((record.version.as_str(), record.commit), ("0.1", None));
}

#[test]
fn builds_at_once_do_not_clash() {
    // Four projects of one app into one store, two of them alike, and two builds of each project.
    let base = plain();
    let root = base.root();
    for (name, text) in [("p0", "zero"), ("p1", "one"), ("p2", "one"), ("p3", "three")] {
        base.write(&format!("../{name}/a.txt"), text);
    }
    let barrier = Arc::new(Barrier::new(8));
    let results: Vec<_> = std::thread::scope(|scope| {
        let build = |index: usize| {
            let (barrier, base) = (barrier.clone(), &base);
            let project = root.parent().unwrap().join(format!("p{}", index % 4));
            scope.spawn(move || {
                let store = Store::open(base.store.path()).unwrap();
                barrier.wait();
                release::build(&base.resolved, "app", &project, &store, &base.options, &mut |_| {}).unwrap()
            })
        };
        let threads: Vec<_> = (0..8).map(build).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let mut numbers: Vec<u64> = base.store.records(&app()).unwrap().iter().map(|record| record.number).collect();
    numbers.reverse();
    assert_eq!(numbers, [1, 2, 3]);
    assert_eq!(results.iter().filter(|built| built.is_new).count(), 3);
    for built in &results {
        base.store.verify(&app(), &built.release).unwrap();
    }
}

#[test]
fn the_store_is_for_its_owner_and_a_dead_build_is_swept() {
    let project = plain();
    let built = project.build().unwrap();
    let mode = fs::metadata(project.store.path()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
    let releases = project.store.path().join("releases/shop");
    fs::create_dir_all(releases.join(".build-dead/release/tree")).unwrap();
    fs::write(releases.join(".build-dead/release/tree/half"), "half").unwrap();
    let store = Store::open(project.store.path()).unwrap();
    assert!(!releases.join(".build-dead").exists());
    assert_eq!(store.records(&app()).unwrap(), [built.record]);
}

#[test]
fn a_release_whose_record_was_lost_in_a_crash_gets_one() {
    let project = plain();
    let built = project.build().unwrap();
    fs::remove_file(project.store.path().join("releases/shop/records.jsonl")).unwrap();
    let again = project.build().unwrap();
    assert!(again.is_new && again.release == built.release && again.record.number == 1);
}

#[test]
fn a_bad_record_stops_the_build_and_says_where() {
    let project = plain();
    project.build().unwrap();
    let path = project.store.path().join("releases/shop/records.jsonl");
    let line = fs::read_to_string(&path).unwrap();
    fs::write(&path, format!("oops\n{line}")).unwrap();
    let error = project.build().unwrap_err();
    assert!(matches!(&error, BuildError::Store(StoreError::BadRecord { line: 1, .. })), "{error}");
}
