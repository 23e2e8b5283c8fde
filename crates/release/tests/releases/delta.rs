//! Releases that travel from one store to another.

use std::{collections::BTreeMap, fs, path::Path};

use proptest::prelude::*;
use release::{
    Store, StoreError,
    delta::{Delta, DeltaError},
};
use stack::ReleaseId;

use crate::project::{Project, app, source};

/// A store that received nothing yet.
fn other() -> (tempfile::TempDir, Store) {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path().join("store")).unwrap();
    (dir, store)
}

fn stream(from: &Store, id: &ReleaseId, has: &[ReleaseId]) -> Vec<u8> {
    let mut stream = Vec::new();
    Delta::between(from, &app(), id, has).unwrap().write(&mut stream, 2).unwrap();
    stream
}

fn noise(seed: u8, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    blake3::Hasher::new().update(&[seed]).finalize_xof().fill(&mut bytes);
    bytes
}

/// What lies below a release's folder: path and content.
fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(at) = folders.pop() {
        for entry in fs::read_dir(at).unwrap().flatten() {
            let path = entry.path();
            let name = path.strip_prefix(folder).unwrap().display().to_string();
            if path.is_symlink() {
                found.insert(name, fs::read_link(&path).unwrap().display().to_string().into_bytes());
            } else if path.is_dir() {
                folders.push(path);
            } else {
                found.insert(name, fs::read(&path).unwrap());
            }
        }
    }
    found
}

fn rich() -> Project {
    let mut project = Project::new();
    project.write_executable("api/run.sh", "#!/bin/sh\nexec sleep 1\n");
    project
        .write("api/big.bin", noise(1, 3 << 20))
        .write("api/empty", "")
        .write("api/lib/a.js", "let a = 1;\n".repeat(400));
    std::os::unix::fs::symlink("lib/a.js", project.root().join("api/start.js")).unwrap();
    project
        .write("web/dist/index.html", "<p>harbour</p>\n".repeat(300))
        .write("web/dist/app.js", "var x=1;".repeat(900));
    project.write("db/001_a.up.sql", "CREATE TABLE a (id INTEGER);\n").write("db/001_a.down.sql", "DROP TABLE a;\n");
    project.service("api", source("api", None, &[]), "./run.sh").site("web", source("web/dist", None, &[]), false);
    project.database("main", "db");
    project
}

// proves S4.1
#[test]
fn a_release_arrives_as_it_was_packed_with_its_record() {
    let project = rich();
    let built = project.build().unwrap();
    let (_dir, there) = other();
    let bytes = stream(&project.store, &built.release, &[]);
    assert_eq!(there.receive(&mut bytes.as_slice()).unwrap(), (app(), built.release.clone()));
    there.verify(&app(), &built.release).unwrap();
    assert_eq!(files(&there.folder(&app(), &built.release)), files(&project.folder(&built)));
    assert_eq!(there.records(&app()).unwrap(), vec![built.record.clone()]);
    // again changes nothing
    there.receive(&mut bytes.as_slice()).unwrap();
    assert_eq!(there.records(&app()).unwrap().len(), 1);
}

#[test]
fn only_what_differs_travels_and_small_changes_travel_as_differences() {
    let project = rich();
    let first = project.build().unwrap();
    let (_dir, there) = other();
    let whole = stream(&project.store, &first.release, &[]);
    there.receive(&mut whole.as_slice()).unwrap();
    assert!(whole.len() > 3 << 20);

    project.write("api/lib/a.js", "let a = 2;\n".repeat(400));
    let second = project.build().unwrap();
    let small = stream(&project.store, &second.release, std::slice::from_ref(&first.release));
    assert!(small.len() < 2000, "{} bytes for one line", small.len());
    there.receive(&mut small.as_slice()).unwrap();
    there.verify(&app(), &second.release).unwrap();

    let mut big = noise(1, 3 << 20);
    big.splice(1_000_000..1_000_004, *b"a longer text");
    project.write("api/big.bin", &big);
    let third = project.build().unwrap();
    let small = stream(&project.store, &third.release, &[second.release.clone(), first.release]);
    assert!(small.len() < 4000, "{} bytes for a few in the middle", small.len());
    there.receive(&mut small.as_slice()).unwrap();
    there.verify(&app(), &third.release).unwrap();
    assert_eq!(files(&there.folder(&app(), &third.release)), files(&project.folder(&third)));
}

#[test]
fn a_file_under_a_new_name_is_a_difference_of_the_old_one() {
    let mut project = Project::new();
    let text: String = noise(3, 60_000).iter().map(|byte| char::from(b'a' + byte % 26)).collect();
    project.write("web/dist/index.html", "<p>a</p>").write("web/dist/assets/app-3f9c2a1b.css", &text);
    project.site("web", source("web/dist", None, &[]), false);
    let first = project.build().unwrap();
    fs::remove_file(project.root().join("web/dist/assets/app-3f9c2a1b.css")).unwrap();
    project.write("web/dist/assets/app-99aa00bb.css", format!("{text}!"));
    let second = project.build().unwrap();
    let manifest = |has: &[ReleaseId]| stream(&project.store, &second.release, has).len();
    let (whole, small) = (manifest(&[]), manifest(std::slice::from_ref(&first.release)));
    // the compressed variants travel as they are
    assert!(small + 30_000 < whole, "{small} of {whole}");
}

#[test]
fn what_the_sender_took_for_granted_and_is_missing_is_told() {
    let project = rich();
    let first = project.build().unwrap();
    project.write("api/lib/a.js", "let a = 2;\n".repeat(400));
    let second = project.build().unwrap();
    let (_dir, there) = other();
    let small = stream(&project.store, &second.release, &[first.release]);
    assert!(matches!(there.receive(&mut small.as_slice()), Err(DeltaError::Lacks { .. })));
    assert!(matches!(there.check(&app(), &second.release), Err(StoreError::Missing { .. })));
    assert!(there.records(&app()).unwrap().is_empty());
    there.receive(&mut stream(&project.store, &second.release, &[]).as_slice()).unwrap();
}

#[test]
fn a_damaged_release_is_mended_by_receiving_it_again() {
    let project = rich();
    let built = project.build().unwrap();
    let (_dir, there) = other();
    let bytes = stream(&project.store, &built.release, &[]);
    there.receive(&mut bytes.as_slice()).unwrap();
    let victim = there.folder(&app(), &built.release).join("tree/0/lib/a.js");
    fs::remove_file(&victim).unwrap();
    fs::write(&victim, "other").unwrap();
    there.verify(&app(), &built.release).unwrap_err();
    there.receive(&mut bytes.as_slice()).unwrap();
    there.verify(&app(), &built.release).unwrap();
}

#[test]
fn a_manifest_that_leads_out_of_the_release_is_refused() {
    for (path, link) in [("../../evil", None), ("/etc/evil", None), ("in/../../x", None), ("l", Some("../../../x"))] {
        let project = rich();
        let built = project.build().unwrap();
        let mut manifest = project.manifest(&built);
        let content = match link {
            Some(target) => release::Content::Link { target: target.to_owned() },
            None => manifest.trees[0].files[0].content.clone(),
        };
        manifest.trees[0].files.insert(0, release::FileEntry { path: path.to_owned(), content });
        let evil = manifest.id();
        let folder = project.store.folder(&app(), &evil);
        fs::create_dir_all(folder.join("site")).unwrap();
        fs::write(folder.join("release.json"), manifest.to_json()).unwrap();
        fs::copy(project.folder(&built).join("site/web.index.json"), folder.join("site/web.index.json")).unwrap();
        let (dir, there) = other();
        let refused = there.receive(&mut stream(&project.store, &evil, &[]).as_slice()).unwrap_err();
        assert!(refused.to_string().contains("leads out of the release"), "{refused}");
        assert!(!dir.path().join("evil").exists() && !there.folder(&app(), &evil).exists());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    /// Whatever is done to a stream, nothing but the release itself ever appears, and nothing breaks.
    #[test]
    fn a_damaged_stream_never_gives_a_release(at in any::<proptest::sample::Index>(), bits in 1_u8..=255, cut in any::<bool>()) {
        let mut project = Project::new();
        project.write("api/a.txt", "some text\n".repeat(50)).write("api/b.bin", noise(9, 5000));
        project.service("api", source("api", None, &[]), "sleep 9");
        let built = project.build().unwrap();
        let mut bytes = stream(&project.store, &built.release, &[]);
        let index = at.index(bytes.len());
        if cut { bytes.truncate(index) } else { bytes[index] ^= bits }
        let (_dir, there) = other();
        match there.receive(&mut bytes.as_slice()) {
            Ok((_, id)) => {
                prop_assert_eq!(&id, &built.release);
                there.verify(&app(), &id).unwrap();
            }
            Err(_) => prop_assert!(!there.has(&app(), &built.release)),
        }
    }
}
