//! A deploy that runs out of room says how much is missing, and the old release goes on.

use std::process::Command;

use stories::Story;

/// A small disk for the agent's home, taken away at the end.
struct Disk(std::path::PathBuf);

impl Disk {
    fn new(path: std::path::PathBuf) -> Self {
        std::fs::create_dir_all(&path).expect("a folder");
        let done = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=120m,mode=0700", "tmpfs"])
            .arg(&path)
            .status()
            .expect("mount runs");
        assert!(done.success(), "this story needs a small disk of its own: run it as root");
        Self(path)
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[test]
fn a_full_disk_changes_nothing() {
    let story = Story::harbour();
    let disk = Disk::new(story.home());
    story.deploy();

    let filler = disk.0.join("filler");
    let free = rustix::fs::statvfs(&disk.0).map(|stat| stat.f_bavail * stat.f_frsize).expect("the disk");
    std::fs::write(&filler, vec![1u8; usize::try_from(free).expect("small") - 64 * 1024]).expect("almost full");

    let noise: Vec<u8> = (0..2_000_000u32).map(|index| index.wrapping_mul(2_654_435_761).to_be_bytes()[0]).collect();
    std::fs::write(story.project().join("marker.txt"), &noise).expect("a big file");
    let failed = story.slipway(&["deploy", "--yes"]).expect(1);
    assert!(failed.stderr.contains("no room") || failed.stderr.contains("free some space"), "{}", failed.stderr);
    assert_eq!(story.get("/").expect("an answer"), (200, "one".to_owned()));

    // not one byte left
    let free = rustix::fs::statvfs(&disk.0).map(|stat| stat.f_bavail * stat.f_frsize).expect("the disk");
    let _ = std::fs::write(disk.0.join("filler2"), vec![1u8; usize::try_from(free).expect("small")]);
    story.mark("two");
    let failed = story.slipway(&["deploy", "--yes"]);
    assert_ne!(failed.code, 0, "{}", failed.stderr);
    assert_eq!(story.get("/").expect("an answer"), (200, "one".to_owned()));

    std::fs::remove_file(disk.0.join("filler2")).expect("it was there");
    std::fs::remove_file(filler).expect("it was there");
    story.deploy();
    assert_eq!(story.get("/").expect("an answer"), (200, "two".to_owned()));
    story.slipway(&["stop", "--everything", "--yes"]).expect(0);
    drop(disk);
}
