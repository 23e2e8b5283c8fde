//! A full disk.

use std::{fs, path::Path, process::Command};

use release::{BuildError, Store};

use crate::project::{Project, app, snapshot, source};

/// A small file system of its own, unmounted at the end.
struct Mount(tempfile::TempDir);

impl Mount {
    fn new(options: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let status = Command::new("mount").args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(dir.path()).status();
        let mounted = status.is_ok_and(|status| status.success());
        assert!(mounted, "this test mounts a small tmpfs: run it as root (in a container: with CAP_SYS_ADMIN)");
        Self(dir)
    }

    fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        _ = Command::new("umount").arg(self.path()).status();
    }
}

fn noise(size: usize, seed: u8) -> Vec<u8> {
    let mut state = u64::from(seed) + 1;
    let next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state.to_be_bytes()[0]
    };
    std::iter::repeat_with(next).take(size).collect()
}

fn refuse(project: &Project) {
    let before = snapshot(project.store.path());
    let error = project.build().unwrap_err();
    assert!(error.is_full(), "{error}");
    let BuildError::DiskFull { needed, .. } = &error else { panic!("{error}") };
    assert!(*needed > 0 && error.to_string().contains("slipway releases prune"), "{error}");
    assert_eq!(snapshot(project.store.path()), before, "nothing half-written remains");
}

#[test]
fn a_full_disk_is_named_and_leaves_the_store_as_it_was() {
    let mount = Mount::new("size=2m");
    let mut project = Project::new();
    project.store = Store::open(mount.path().join("store")).unwrap();
    project.service("api", source(".", None, &["files"]), "cat files/a").write("files/a", noise(100_000, 1));
    let first = project.build().unwrap();
    // Known to be too large before a byte is written.
    project.write("files/b", noise(3_000_000, 2));
    refuse(&project);
    project.store.verify(&app(), &first.release).unwrap();
    fs::remove_file(project.root().join("files/b")).unwrap();
    project.write("files/c", noise(100_000, 3));
    assert_eq!(project.build().unwrap().record.number, 2);
}

#[test]
fn a_disk_that_fills_up_in_the_middle_leaves_the_store_as_it_was() {
    // Room for the bytes, not for the names.
    let mount = Mount::new("size=8m,nr_inodes=60");
    let mut project = Project::new();
    project.store = Store::open(mount.path().join("store")).unwrap();
    project.service("api", source(".", None, &["files"]), "cat files/0").write("files/0", "small");
    let first = project.build().unwrap();
    for index in 0..80 {
        project.write(&format!("files/{index}"), noise(500, index));
    }
    refuse(&project);
    project.store.verify(&app(), &first.release).unwrap();
    assert_eq!(project.store.records(&app()).unwrap().len(), 1);
}
