//! What travels to a host, and what becomes of it.

use std::{
    fs,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use agent::{Client, Stream, Taken};
use release::delta::Delta;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::bed::{Bed, eventually};

fn noise(seed: u8, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    blake3::Hasher::new().update(&[seed]).finalize_xof().fill(&mut bytes);
    bytes
}

/// A stream in a file, as the command line makes it.
struct Packed {
    path: PathBuf,
    digest: String,
    size: u64,
    needed: u64,
}

impl Packed {
    fn of(bed: &Bed, release: &stack::ReleaseId, has: &[stack::ReleaseId]) -> Self {
        let delta = Delta::between(&bed.store(), &bed.scope.app, release, has).unwrap();
        let mut bytes = Vec::new();
        delta.write(&mut bytes, 2).unwrap();
        let path = bed.laptop().path().join("stream");
        fs::write(&path, &bytes).unwrap();
        let digest = blake3::hash(&bytes).to_hex().to_string();
        Self { path, digest, size: bytes.len() as u64, needed: delta.needed() }
    }

    fn stream(&self) -> Stream<'_> {
        Stream { path: &self.path, digest: &self.digest, size: self.size, needed: self.needed }
    }
}

/// A socket that leads to another one and breaks after so many bytes.
fn breaking_way(bed: &Bed, to: PathBuf, after: usize) -> Client {
    let path = bed.laptop().path().join("way.sock");
    let listener = tokio::net::UnixListener::bind(&path).unwrap();
    tokio::spawn(async move {
        while let Ok((mut here, _)) = listener.accept().await {
            let mut there = tokio::net::UnixStream::connect(&to).await.unwrap();
            let mut left = after;
            let mut block = vec![0; 4096];
            while let Ok(length) = here.read(&mut block).await {
                if length == 0 || length > left || there.write_all(&block[..length]).await.is_err() {
                    break;
                }
                left -= length;
            }
        }
    });
    Client::over(path, "a".to_owned())
}

// proves S4.E6
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_that_was_cut_goes_on_where_it_was() {
    let bed = Bed::of(1).await;
    let record = bed.build(&[("web/big.bin", &noise(1, 3 << 20))]);
    let packed = Packed::of(&bed, &record.release, &[]);
    let sent = Arc::new(AtomicU64::new(0));
    let way = breaking_way(&bed, bed.hosts[0].home.agent_socket(), 2 << 20);
    way.upload(&packed.stream(), 0, &sent).await.unwrap_err();
    let client = bed.client(0);
    eventually("what arrived is kept", || async {
        match client.uploaded(&packed.digest).await {
            Ok(offset) if offset > 1 << 20 => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    let offset = client.uploaded(&packed.digest).await.unwrap();
    assert!(offset < packed.size);
    // one that begins elsewhere is refused
    let refused = client.upload(&packed.stream(), offset - 1, &sent).await.unwrap_err().to_string();
    assert!(refused.contains("bytes of it are here"), "{refused}");
    let before = sent.load(Ordering::Relaxed);
    client.upload(&packed.stream(), offset, &sent).await.unwrap();
    assert_eq!(sent.load(Ordering::Relaxed) - before, packed.size - offset, "only the rest travels");
    assert_eq!(client.take_in(&packed.digest).await.unwrap(), Taken::Whole);
    bed.host_store(0).verify(&bed.scope.app, &record.release).unwrap();
    assert_eq!(client.shelf(&bed.scope.app).await.unwrap().releases, vec![record.release]);
    assert_eq!(fs::read_dir(bed.hosts[0].home.path().join("uploads")).unwrap().count(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_what_it_is_called_or_too_much_is_refused_and_gone() {
    let bed = Bed::of(1).await;
    let record = bed.build(&[("web/a.txt", b"a")]);
    let packed = Packed::of(&bed, &record.release, &[]);
    let (client, sent) = (bed.client(0), Arc::default());
    let other = blake3::hash(b"other").to_hex().to_string();
    let lie = Stream { digest: &other, ..packed.stream() };
    client.upload(&lie, 0, &sent).await.unwrap();
    let refused = client.take_in(&other).await.unwrap_err().to_string();
    assert!(refused.contains("is not what was sent"), "{refused}");
    assert_eq!(client.uploaded(&other).await.unwrap(), 0);
    let huge = Stream { size: u64::MAX / 2, ..packed.stream() };
    let refused = client.upload(&huge, 0, &sent).await.unwrap_err().to_string();
    assert!(refused.contains("no room for the release") && refused.contains("are free"), "{refused}");
    let small = Stream { size: 10, ..packed.stream() };
    let refused = client.upload(&small, 0, &sent).await.unwrap_err().to_string();
    assert!(refused.contains("more comes than was announced"), "{refused}");
    let escape = Stream { digest: "../../../etc/passwd", ..packed.stream() };
    client.upload(&escape, 0, &sent).await.unwrap_err();
    client.uploaded("%2e%2e%2f%2e%2e").await.unwrap_err();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_that_lost_what_it_should_have_gets_everything_and_old_releases_go() {
    let bed = Bed::of(1).await;
    let fleet = bed.fleet();
    let mut releases = Vec::new();
    for number in 0..8_u8 {
        let record = bed.build(&[("web/big.bin", &noise(1, 200_000)), ("web/n.txt", &[number])]);
        bed.deploy(&fleet, &record, Bed::policy(), |_| {}).await.unwrap();
        releases.push(record.release);
    }
    // the object of the big file is gone behind the agent's back, and its name in the newest release as well
    let digest = blake3::hash(&noise(1, 200_000)).to_hex().to_string();
    let (first, rest) = digest.split_at(2);
    fs::remove_file(bed.hosts[0].home.store().join("objects").join(first).join(rest)).unwrap();
    let record = bed.build(&[("web/n.txt", &[99])]);
    let fleet = bed.fleet();
    bed.deploy(&fleet, &record, Bed::policy(), |_| {}).await.unwrap();
    let sent = fleet.sent();
    assert!(sent[0].bytes > 200_000, "{sent:?}");
    bed.host_store(0).verify(&bed.scope.app, &record.release).unwrap();
    releases.push(record.release);

    let removed = fleet.prune(3).await.remove(0).1.unwrap();
    assert_eq!(removed.releases.len(), 6, "{removed:?}");
    let kept: Vec<bool> = releases.iter().map(|release| bed.has(0, release)).collect();
    assert_eq!(kept, [false, false, false, false, false, false, true, true, true]);
    // what runs and what a rollback would go to stay, however few are to be kept
    fleet.prune(0).await.remove(0).1.unwrap();
    assert!(bed.has(0, &releases[8]) && bed.has(0, &releases[7]) && !bed.has(0, &releases[6]));
}
