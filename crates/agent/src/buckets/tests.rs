//! A bucket without its listeners: what is kept, what a crash leaves, what age does.

use std::{fs, path::Path, sync::Arc, time::Duration};

use futures_util::{TryStreamExt, stream};
use s3s::{S3ErrorCode, S3Result, dto::ETagCondition};

use super::{
    definition::Definition,
    entry::{Entry, Meta},
    fetch::found,
    index::{Condition, Deletion},
    page::{Page, Position},
    receive::{Received, receive},
    send::send,
    store::{Content, Store, Stored, settle},
    sums::{Wanted, hex},
};

fn definition() -> Definition {
    Definition {
        name: "files".parse().unwrap(),
        bucket: "files".to_owned(),
        versions: false,
        public: false,
        archive_after: None,
        delete_after: None,
        cors: Vec::new(),
    }
}

async fn open(folder: &Path, definition: Definition) -> Arc<Store> {
    Arc::new(Store::open(folder.to_owned(), Arc::new(definition)).await.unwrap())
}

async fn put_if(store: &Arc<Store>, key: &str, body: &[u8], condition: Condition) -> S3Result<Stored> {
    let (id, draft) = store.draft();
    let body = stream::iter([Ok(body.to_vec().into())]);
    let Received { draft, size, found } = receive(draft, body, None, Wanted::default().digest()).await?;
    let content = Content { key, size, etag: hex(&found.md5), meta: Meta::default(), condition, upload: None };
    store.put(id, draft, content).await.map(Option::unwrap)
}

async fn put(store: &Arc<Store>, key: &str, body: &[u8]) -> Stored {
    put_if(store, key, body, Condition::default()).await.unwrap()
}

async fn read(store: &Arc<Store>, key: &str, version: Option<&str>) -> Option<Vec<u8>> {
    let entry = found(store, key, version).await.ok()?;
    let (entry, file) = store.file(&entry).await.unwrap();
    let blocks: Vec<bytes::Bytes> = send(file, entry.archived, 0, entry.size).try_collect().await.unwrap();
    Some(blocks.concat())
}

async fn delete(store: &Arc<Store>, key: &str, version: Option<&str>) -> Option<String> {
    let deletion = Deletion { key: key.to_owned(), version: version.map(str::to_owned), ..Deletion::default() };
    store.delete(vec![deletion]).await.unwrap().pop().unwrap().unwrap().version
}

async fn keys(store: &Arc<Store>, all: bool) -> Vec<String> {
    let mut page: Page<Entry> = Page::new("", None, 1_000, Position::at(""));
    store.index.fill(&mut page, "", all).await.unwrap();
    page.items.into_iter().map(|entry| format!("{}{}", entry.key, if entry.marker { "!" } else { "" })).collect()
}

/// Every file below a folder, by its path there without ids.
fn files(folder: &Path) -> Vec<String> {
    let mut all = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for path in fs::read_dir(next).unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                folders.push(path);
            } else {
                let path = path.strip_prefix(folder).unwrap().display().to_string();
                all.push(path.split('~').next().unwrap().to_owned());
            }
        }
    }
    all.sort();
    all
}

// proves S1.16
#[tokio::test]
async fn versions_are_kept_while_the_bucket_keeps_them() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path(), Definition { versions: true, ..definition() }).await;
    let first = put(&store, "a", b"1").await.version.unwrap();
    put(&store, "a", b"2").await;
    let mark = delete(&store, "a", None).await.unwrap();
    assert_eq!(read(&store, "a", None).await, None);
    assert_eq!(read(&store, "a", Some(&first)).await.unwrap(), b"1");
    assert!(keys(&store, false).await.is_empty());
    assert_eq!(keys(&store, true).await, ["a!", "a", "a"]);
    delete(&store, "a", Some(&mark)).await;
    assert_eq!(read(&store, "a", None).await.unwrap(), b"2");
    // From now on it keeps none: the old ones stay, the new ones replace each other.
    store.define(Arc::new(definition()));
    put(&store, "a", b"3").await;
    put(&store, "a", b"4").await;
    assert_eq!(keys(&store, true).await, ["a", "a", "a"]);
    assert_eq!(delete(&store, "a", None).await.unwrap(), "null");
    assert_eq!(keys(&store, true).await, ["a!", "a", "a"]);
    assert_eq!(store.index.total().await.unwrap(), (2, 2));
    store.collect().await.unwrap();
    assert_eq!(files(&folder.path().join("objects")), ["a", "a"]);
}

#[tokio::test]
async fn what_is_overwritten_or_deleted_leaves_no_file_and_no_folder() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path(), definition()).await;
    for key in ["a", "a/b", "a/b/c", "../x", "/"] {
        put(&store, key, b"1").await;
        put(&store, key, b"22").await;
        assert_eq!(read(&store, key, None).await.unwrap(), b"22", "{key}");
    }
    store.collect().await.unwrap();
    assert_eq!(files(&folder.path().join("objects")), ["%/%", "%2E./x", "a", "a/b", "a/b/c"]);
    assert_eq!(store.index.total().await.unwrap(), (5, 10));
    for key in keys(&store, false).await {
        assert_eq!(delete(&store, &key, None).await, None);
    }
    store.collect().await.unwrap();
    assert_eq!(fs::read_dir(folder.path().join("objects")).unwrap().count(), 0);
    assert_eq!(delete(&store, "never", None).await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_writers_of_one_key_each_is_whole_and_one_creates_it() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path(), definition()).await;
    let writers = (0..24u8).map(|number| {
        let store = store.clone();
        tokio::spawn(async move {
            let condition = Condition { if_match: None, if_none_match: Some(ETagCondition::Any) };
            let created = put_if(&store, "once", &[number], condition).await;
            put(&store, "often", &vec![number; 100_000]).await;
            let seen = read(&store, "often", None).await.unwrap();
            assert!(seen.len() == 100_000 && seen.iter().all(|byte| *byte == seen[0]));
            created.map_err(|error| assert_eq!(error.code(), &S3ErrorCode::PreconditionFailed)).is_ok()
        })
    });
    let created = futures_util::future::join_all(writers).await;
    assert_eq!(created.into_iter().filter(|created| *created.as_ref().unwrap()).count(), 1);
    store.collect().await.unwrap();
    assert_eq!(files(&folder.path().join("objects")), ["often", "once"]);
    assert!(files(&folder.path().join("new")).is_empty());
}

#[tokio::test]
async fn a_start_finishes_what_was_committed_and_removes_the_rest() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path(), definition()).await;
    put(&store, "a/b", b"kept").await;
    let entry = found(&store, "a/b", None).await.unwrap();
    let place = folder.path().join("objects").join(&entry.file);
    // As after a kill between the commit and the move, with another upload half done.
    settle(&place, &folder.path().join("new").join(&entry.id)).unwrap();
    assert_eq!(read(&store, "a/b", None).await.unwrap(), b"kept");
    fs::write(folder.path().join("new/half"), b"hal").unwrap();
    fs::create_dir_all(folder.path().join("uploads/gone")).unwrap();
    fs::write(folder.path().join("uploads/gone/1~x"), b"hal").unwrap();
    drop(store);
    let store = open(folder.path(), definition()).await;
    assert!(place.is_file());
    assert_eq!(read(&store, "a/b", None).await.unwrap(), b"kept");
    assert_eq!(files(&folder.path().join("objects")), ["a/b"]);
    assert!(files(&folder.path().join("new")).is_empty() && files(&folder.path().join("uploads")).is_empty());
}

// proves S1.13 S1.15
#[tokio::test]
async fn objects_are_compressed_and_removed_with_age() {
    let folder = tempfile::tempdir().unwrap();
    let aged = Some(Duration::ZERO);
    let store = open(folder.path(), Definition { archive_after: aged, ..definition() }).await;
    let text = b"the same line again\n".repeat(200_000);
    let noise: Vec<u8> = (0..100_000).map(|_| rand::random()).collect();
    put(&store, "log", &text).await;
    put(&store, "noise", &noise).await;
    tokio::time::sleep(Duration::from_millis(5)).await;
    store.age().await.unwrap();
    store.collect().await.unwrap();
    let entry = found(&store, "log", None).await.unwrap();
    assert!(entry.archived && !found(&store, "noise", None).await.unwrap().archived);
    let packed = folder.path().join("objects").join(&entry.file);
    assert!(fs::metadata(&packed).unwrap().len() < 100_000);
    assert_eq!(read(&store, "log", None).await.unwrap(), text);
    assert_eq!(read(&store, "noise", None).await.unwrap(), noise);
    let (entry, file) = store.file(&entry).await.unwrap();
    let part: Vec<bytes::Bytes> = send(file, entry.archived, 2_000_000, 2_000_020).try_collect().await.unwrap();
    assert_eq!(part.concat(), text[2_000_000..2_000_020]);
    assert_eq!(files(&folder.path().join("objects")), ["log", "noise"]);
    drop(store);
    // As after a kill between the commit and the move.
    settle(&packed, &folder.path().join("new").join(super::paths::id(&entry.file))).unwrap();
    let store = open(folder.path(), Definition { delete_after: aged, ..definition() }).await;
    assert!(packed.is_file());
    assert_eq!(read(&store, "log", None).await.unwrap(), text);
    store.age().await.unwrap();
    store.collect().await.unwrap();
    assert!(keys(&store, true).await.is_empty() && files(&folder.path().join("objects")).is_empty());
    assert_eq!(store.index.total().await.unwrap(), (0, 0));
}
