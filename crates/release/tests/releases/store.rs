//! Releases in the store: identity, damage, pruning.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::Path,
};

use proptest::prelude::*;
use release::{Content, Store, StoreError};

use crate::project::{Project, app, source, write};

fn service() -> Project {
    let mut project = Project::new();
    project.service("api", source("api", None, &["files"]), "cat files/a");
    project
}

fn with_files<'a>(files: impl Iterator<Item = (&'a String, &'a (Vec<u8>, bool))>) -> Project {
    let project = service();
    for (path, (content, executable)) in files {
        let path = format!("api/files/{path}");
        project.write(&path, content);
        let mode = if *executable { 0o700 } else { 0o600 };
        fs::set_permissions(project.root().join(path), fs::Permissions::from_mode(mode)).unwrap();
    }
    project
}

fn some_files() -> impl Strategy<Value = BTreeMap<String, (Vec<u8>, bool)>> {
    let content = (proptest::collection::vec(any::<u8>(), 0..300), any::<bool>());
    // Folders and files have different names, so that no path is both.
    proptest::collection::btree_map("([d-f]{1,2}/){0,2}[a-c]{1,3}", content, 1..12)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn equal_content_is_one_release_in_any_order_and_reads_back_as_it_was(files in some_files()) {
        let forth = with_files(files.iter());
        let back = with_files(files.iter().rev());
        let (one, two) = (forth.build().unwrap(), back.build().unwrap());
        prop_assert_eq!(&one.release, &two.release);
        forth.store.verify(&app(), &one.release).unwrap();
        let manifest = forth.manifest(&one);
        prop_assert_eq!(manifest.id(), one.release.clone());
        prop_assert_eq!(manifest.trees[0].files.len(), files.len());
        for (path, (content, executable)) in &files {
            let place = forth.folder(&one).join("tree/0/files").join(path);
            prop_assert_eq!(&fs::read(&place).unwrap(), content);
            let mode = fs::metadata(&place).unwrap().permissions().mode() & 0o7777;
            prop_assert_eq!(mode, if *executable { 0o555 } else { 0o444 });
        }
        let again = forth.build().unwrap();
        prop_assert!(!again.is_new && again.record == one.record);
    }

    #[test]
    fn different_content_is_another_release(files in some_files(), pick in any::<prop::sample::Index>()) {
        let project = with_files(files.iter());
        let before = project.build().unwrap();
        let path = files.keys().nth(pick.index(files.len())).unwrap().clone();
        let mut content = files[&path].0.clone();
        content.push(1);
        project.write(&format!("api/files/{path}"), content);
        prop_assert_ne!(project.build().unwrap().release, before.release);
    }
}

#[test]
fn equal_files_are_stored_once() {
    let project = service();
    project.write("api/files/a", "same").write("api/files/b/a", "same").write_executable("api/files/x", "same");
    let first = project.build().unwrap();
    assert_eq!((first.record.bytes, first.record.new_bytes), (12, 8), "once plain, once executable");
    project.write("api/files/c", "other");
    let second = project.build().unwrap();
    assert_eq!(second.record.new_bytes, 5);
    let inode = |folder: &Path, path: &str| fs::metadata(folder.join("tree/0/files").join(path)).unwrap().ino();
    let (old, new) = (project.folder(&first), project.folder(&second));
    assert_eq!(inode(&old, "a"), inode(&new, "b/a"));
    assert_ne!(inode(&old, "a"), inode(&old, "x"));
}

#[test]
fn every_damaged_file_is_reported() {
    let mut project = service();
    project.site("web", source("web", None, &["."]), false).write("web/index.html", "<p>hello</p>".repeat(300));
    for name in ["cut", "gone", "grown", "mode", "same-size", "well"] {
        project.write(&format!("api/files/{name}"), format!("content of {name}"));
    }
    let built = project.build().unwrap();
    let folder = project.folder(&built).join("tree/0/files");
    project.store.check(&app(), &built.release).unwrap();
    project.store.verify(&app(), &built.release).unwrap();
    let spoil = |name: &str, text: &str| {
        let path = folder.join(name);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o444)).unwrap();
    };
    spoil("cut", "");
    spoil("grown", "content of grown and more");
    spoil("same-size", "CONTENT of same-size");
    fs::remove_file(folder.join("gone")).unwrap();
    fs::set_permissions(folder.join("mode"), fs::Permissions::from_mode(0o666)).unwrap();
    fs::remove_file(project.folder(&built).join("site/web/index.html.br")).unwrap();
    let Err(StoreError::Damaged { damage, .. }) = project.store.check(&app(), &built.release) else { panic!() };
    let found: Vec<&str> = damage.iter().map(|damage| damage.path.rsplit('/').next().unwrap()).collect();
    assert_eq!(found, ["cut", "gone", "grown", "mode", "same-size", "index.html.br (br)"]);
    // Building the same again mends it, objects included.
    let mended = project.build().unwrap();
    assert!(!mended.is_new && mended.release == built.release);
    project.store.verify(&app(), &built.release).unwrap();
}

#[test]
fn a_change_that_hides_its_time_is_found_by_reading() {
    let project = service();
    project.write("api/files/a", "content");
    let built = project.build().unwrap();
    let path = project.folder(&built).join("tree/0/files/a");
    let time = fs::metadata(&path).unwrap().modified().unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    fs::write(&path, "CONTENT").unwrap();
    fs::File::options().write(true).open(&path).unwrap().set_modified(time).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o444)).unwrap();
    project.store.check(&app(), &built.release).unwrap();
    let error = project.store.verify(&app(), &built.release).unwrap_err().to_string();
    assert!(error.contains("tree/0/files/a: has other content than was packed"), "{error}");
    fs::remove_file(project.folder(&built).join("release.json")).unwrap();
    assert!(matches!(project.store.check(&app(), &built.release), Err(StoreError::Missing { .. })));
}

#[test]
fn a_prune_keeps_the_newest_the_one_before_and_the_pinned() {
    let project = service();
    let mut built = Vec::new();
    for index in 0..6 {
        project.write("api/files/a", format!("content {index}")).write("api/files/shared", "shared");
        built.push(project.build().unwrap());
    }
    let pinned = [built[1].release.clone()];
    let pruned = project.store.prune(&app(), 1, &pinned).unwrap();
    let mut gone: Vec<_> = [0, 2, 3].map(|index: usize| built[index].release.clone()).to_vec();
    gone.sort();
    assert_eq!((pruned.releases, pruned.objects, pruned.bytes), (gone, 3, 27));
    for index in [1, 4, 5] {
        project.store.verify(&app(), &built[index].release).unwrap();
    }
    assert!(matches!(project.store.check(&app(), &built[0].release), Err(StoreError::Missing { .. })));
    // History stays, and the content can be built again under its old number.
    assert_eq!(project.store.records(&app()).unwrap().len(), 6);
    project.write("api/files/a", "content 0");
    let again = project.build().unwrap();
    assert!(!again.is_new && again.record.number == 1);
    project.store.verify(&app(), &again.release).unwrap();
    assert_eq!(project.store.prune(&app(), 9, &[]).unwrap(), release::Pruned::default());
}

#[test]
fn pruning_one_app_leaves_what_others_share() {
    let project = service();
    project.write("api/files/a", "shared");
    let built = project.build().unwrap();
    let mut other = service();
    other.store = Store::open(project.store.path()).unwrap();
    other.resolved.stack.app = stack::AppName::new("other").unwrap();
    write(&other.root(), "api/files/a", b"shared");
    let others = other.build().unwrap();
    fs::remove_dir_all(project.folder(&built)).unwrap();
    assert_eq!(project.store.prune(&app(), 0, &[]).unwrap().objects, 0);
    other.store.verify(&other.resolved.stack.app, &others.release).unwrap();
    assert!(matches!(other.manifest_of(&others).trees[0].files[0].content, Content::File { .. }));
}

impl Project {
    fn manifest_of(&self, built: &release::Built) -> release::Manifest {
        self.store.manifest(&self.resolved.stack.app, &built.release).unwrap()
    }
}
