//! Buckets of an environment, as its programs and visitors use them.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use crate::{
    bed::{Bed, DEADLINE},
    s3::S3,
};

const STACK: &str = r#"
[service.web]
run    = "WEB"
port   = 4000
health = { path = "/health" }
needs  = ["bucket.files", "bucket.assets"]

[bucket.files]
cors = ["https://shop.test"]

[bucket.assets]
name   = "shop-assets"
public = true

[route."shop.test"]
"/" = "service.web"

[route."assets.test"]
"/" = "bucket.assets"
"#;

/// A host that serves [`STACK`] and more, and what its program is given.
async fn serve(bed: &Bed, more: &str) -> (serde_json::Value, S3) {
    let revision = bed.revision(&format!("{STACK}{more}"), &[], &[]).await;
    bed.deploy(&revision).await;
    let (_, env) = bed.get("shop.test", "/env").await.unwrap();
    let env: serde_json::Value = serde_json::from_str(&env).unwrap();
    let s3 = S3::of(&env);
    (env, s3)
}

async fn put(s3: &S3, key: &str, body: &[u8]) -> u16 {
    s3.send("PUT", &format!("/files/{key}"), &[], &[], body).await.map_or(0, |answer| answer.status)
}

async fn get(s3: &S3, key: &str) -> (u16, Vec<u8>) {
    let answer = s3.send("GET", &format!("/files/{key}"), &[], &[], b"").await.unwrap();
    (answer.status, answer.body)
}

/// Files below a folder.
fn count(folder: &Path) -> usize {
    let list = fs::read_dir(folder).into_iter().flatten().flatten();
    list.map(|entry| if entry.path().is_dir() { count(&entry.path()) } else { 1 }).sum()
}

// proves S0.6 S1.13 S1.14 S1.16 S4.6
#[tokio::test(flavor = "multi_thread")]
async fn a_program_uses_the_s3_api_with_what_it_is_given() {
    let bed = Bed::new().await;
    let (env, s3) = serve(&bed, "").await;
    assert_eq!((&env["S3_BUCKET"], &env["FILES_BUCKET"]), (&"files".into(), &"files".into()));
    assert_eq!((&env["ASSETS_BUCKET"], &env["AWS_REGION"]), (&"shop-assets".into(), &"us-east-1".into()));

    for key in ["uploads/17-ada.pdf", "../../../etc/passwd", "/lead//x/", "a", "a/b", "50% & é.txt"] {
        assert_eq!(put(&s3, key, key.as_bytes()).await, 200, "{key}");
        assert_eq!(get(&s3, key).await, (200, key.as_bytes().to_vec()), "{key}");
    }
    assert_eq!(put(&s3, &"x".repeat(1_024), b"").await, 200);
    assert_eq!(put(&s3, &"x".repeat(1_025), b"").await, 400);
    let data = bed.folder().join("data");
    assert_eq!(count(&data.join("bucket-files/objects")), 7);
    assert_eq!(fs::read_dir(&data).unwrap().count(), 2, "nothing is beside the buckets");
    let objects = data.join("bucket-files/objects/uploads");
    let name = fs::read_dir(objects).unwrap().next().unwrap().unwrap().file_name();
    assert!(name.to_str().unwrap().starts_with("17-ada.pdf~"), "{}", name.display());

    let list = |query: &'static [(&'static str, &'static str)]| s3.send("GET", "/files", query, &[], b"");
    let page = list(&[("list-type", "2"), ("delimiter", "/"), ("prefix", "a")]).await.unwrap();
    assert_eq!((page.all("Key"), page.all("Prefix")), (vec!["a".to_owned()], vec!["a".to_owned(), "a/".to_owned()]));
    let page = list(&[("list-type", "2"), ("max-keys", "4")]).await.unwrap();
    assert_eq!((page.all("IsTruncated")[0].as_str(), page.all("Key").len()), ("true", 4));

    // Somebody else's client.
    let curl = |arguments: &[&str]| {
        let user = format!(
            "{}:{}",
            env["AWS_ACCESS_KEY_ID"].as_str().unwrap(),
            env["AWS_SECRET_ACCESS_KEY"].as_str().unwrap()
        );
        let run = Command::new("curl")
            .args(["--silent", "--aws-sigv4", "aws:amz:us-east-1:s3", "--user", &user])
            .args(["--header", "x-amz-content-sha256: UNSIGNED-PAYLOAD"])
            .args(arguments)
            .output()
            .expect("this test needs curl: apt-get install curl");
        String::from_utf8(run.stdout).unwrap()
    };
    let file = bed.path().join("file");
    fs::write(&file, b"by curl").unwrap();
    let url = format!("{}/files/by/curl", env["S3_ENDPOINT"].as_str().unwrap());
    assert_eq!(curl(&["--upload-file", file.to_str().unwrap(), &url]), "");
    assert_eq!(curl(&["--range", "3-", &url]), "curl");

    // Conditions and ranges.
    let etag = s3.send("HEAD", "/files/a", &[], &[], b"").await.unwrap().headers["etag"].clone();
    let conditions = [
        ("if-match", etag.as_str(), 200),
        ("if-match", "\"other\"", 412),
        ("if-none-match", &etag, 304),
        ("range", "bytes=9-", 416),
        ("range", "bytes=0-0", 206),
    ];
    for (name, value, status) in conditions {
        let answer = s3.send("GET", "/files/a", &[], &[(name, value)], b"").await.unwrap();
        assert_eq!(answer.status, status, "{name}: {value}");
    }
    let answer = s3.send("PUT", "/files/a", &[], &[("if-none-match", "*")], b"new").await.unwrap();
    assert_eq!((answer.status, get(&s3, "a").await.1), (412, b"a".to_vec()));
    let answer = s3.send("PUT", "/files/a", &[], &[("content-md5", "AAAAAAAAAAAAAAAAAAAAAA==")], b"new").await;
    assert_eq!((answer.unwrap().status, get(&s3, "a").await.1), (400, b"a".to_vec()));
    assert_eq!(s3.send("DELETE", "/files/a", &[], &[], b"").await.unwrap().status, 204);
    assert_eq!(get(&s3, "a").await.0, 404);
    let (_, health) = bed.client().health(&bed.scope).await.unwrap();
    assert_eq!(health["checks"]["bucket.files"]["status"], "healthy", "{health}");
    assert!(!bed.agent_log().contains(env["AWS_SECRET_ACCESS_KEY"].as_str().unwrap()));
}

// proves S1.13 S1.14 S1.16
#[tokio::test(flavor = "multi_thread")]
async fn visitors_get_what_is_public_or_signed_for_them_and_nothing_else() {
    let bed = Bed::new().await;
    let (_, s3) = serve(&bed, "").await;
    let text = [("content-type", "image/png"), ("cache-control", "max-age=60")];
    assert_eq!(s3.send("PUT", "/shop-assets/logo.png", &[], &text, b"PNG").await.unwrap().status, 200);
    assert_eq!(put(&s3, "cv.pdf", b"secret").await, 200);
    let edge = s3.through(bed.address, "assets.test");
    let visit = |s3: &'static str| edge.plain("GET", s3, &[], b"");
    let logo = visit("/logo.png").await.unwrap();
    assert_eq!((logo.status, logo.text().as_str(), logo.headers["content-type"].as_str()), (200, "PNG", "image/png"));
    assert_eq!(visit("/none.png").await.unwrap().status, 404);
    assert_eq!(visit("/").await.unwrap().status, 403, "nobody lists a public bucket");
    assert_eq!(edge.plain("PUT", "/logo.png", &[], b"GIF").await.unwrap().status, 403);
    for target in ["/files/cv.pdf", "/files?list-type=2", "/"] {
        assert_eq!(s3.plain("GET", target, &[], b"").await.unwrap().status, 403, "{target}");
    }
    // A URL for a stranger, made for the name the stranger uses; and one for a program of this host.
    for door in [&edge, &s3] {
        let url = door.presign("GET", "/files/cv.pdf", 60, 30);
        assert_eq!(door.plain("GET", &url, &[], b"").await.unwrap().text(), "secret");
        let other = url.replace("cv.pdf", "cw.pdf");
        for (target, method) in
            [(other, "GET"), (url.clone(), "PUT"), (door.presign("GET", "/files/cv.pdf", 10, 60), "GET")]
        {
            assert_eq!(door.plain(method, &target, &[], b"").await.unwrap().status, 403, "{method} {target}");
        }
    }
    // A page of the shop uploads; a page of somebody else is not let.
    let url = edge.presign("PUT", "/files/from/page", 60, 0);
    let origin = |origin: &'static str| [("origin", origin), ("access-control-request-method", "PUT")];
    let asked = edge.plain("OPTIONS", &url, &origin("https://shop.test"), b"").await.unwrap();
    assert_eq!((asked.status, asked.headers["access-control-allow-origin"].as_str()), (200, "https://shop.test"));
    assert_eq!(edge.plain("OPTIONS", &url, &origin("https://evil.test"), b"").await.unwrap().status, 403);
    let done = edge.plain("PUT", &url, &[("origin", "https://shop.test")], &vec![7; 300_000]).await.unwrap();
    assert_eq!((done.status, done.headers["access-control-allow-origin"].as_str()), (200, "https://shop.test"));
    assert_eq!(get(&s3, "from/page").await.1.len(), 300_000);
}

// proves S1.19 T7
#[tokio::test(flavor = "multi_thread")]
async fn each_upload_starts_its_function_once() {
    let bed = Bed::new().await;
    let function = r#"
[function.note]
run = "sh -c 'event=$(cat); echo \"$event\" >> $SLIPWAY_DATA/seen'"
on  = { bucket = "files" }
"#;
    let (_, s3) = serve(&bed, function).await;
    assert_eq!(put(&s3, "one", b"1").await, 200);
    assert_eq!(put(&s3, "one", b"22").await, 200);
    let copied = s3.send("PUT", "/files/copy", &[], &[("x-amz-copy-source", "/files/one")], b"").await.unwrap();
    assert_eq!(copied.status, 200, "{}", copied.text());
    let created = s3.send("POST", "/files/parts", &[("uploads", "")], &[], b"").await.unwrap();
    let upload = created.all("UploadId").remove(0);
    let query = [("partNumber", "1"), ("uploadId", upload.as_str())];
    let part = s3.send("PUT", "/files/parts", &query, &[], b"part").await.unwrap();
    let etag = part.headers["etag"].replace('"', "&quot;");
    let complete = format!(
        "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>{etag}</ETag></Part></CompleteMultipartUpload>"
    );
    // A client that missed the answer asks again.
    for _ in 0..2 {
        let done = s3.send("POST", "/files/parts", &[("uploadId", &upload)], &[], complete.as_bytes()).await.unwrap();
        assert_eq!((done.status, done.all("Key")), (200, vec!["parts".to_owned()]), "{}", done.text());
    }
    assert_eq!(put(&s3, "bad", b"").await, 200);
    let refused = s3.send("PUT", "/files/bad", &[], &[("if-none-match", "*")], b"x").await.unwrap();
    assert_eq!(refused.status, 412);
    assert_eq!(s3.send("DELETE", "/files/copy", &[], &[], b"").await.unwrap().status, 204);
    assert_eq!(s3.send("DELETE", "/files/never", &[], &[], b"").await.unwrap().status, 204);
    assert_eq!(put(&s3, "last", b"").await, 200);
    let seen = || {
        let text = fs::read_to_string(bed.folder().join("data/seen")).unwrap_or_default();
        let events = text.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
        let mut counts: BTreeMap<String, usize> = BTreeMap::new();
        for event in events {
            let kind = event["type"].as_str().unwrap().rsplit('-').next().unwrap().to_owned();
            let key = event["data"]["key"].as_str().unwrap();
            assert_eq!(event["subject"], key);
            *counts.entry(format!("{key} {kind} {}", event["data"]["size"])).or_default() += 1;
        }
        counts
    };
    let expected =
        ["bad created 0", "copy created 2", "last created 0", "one created 1", "one created 2", "parts created 4"];
    let began = Instant::now();
    while seen().len() < expected.len() {
        assert!(began.elapsed() < DEADLINE, "{:?}\n{}", seen(), bed.agent_log());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(seen(), expected.map(|one| (one.to_owned(), 1)).into());
}

// proves S1.16 S4.P3
#[tokio::test(flavor = "multi_thread")]
async fn kill_nine_during_uploads_loses_nothing_that_was_acknowledged() {
    let mut bed = Bed::new().await;
    let (_, s3) = serve(&bed, "").await;
    let (s3, stop) = (Arc::new(s3), Arc::new(AtomicBool::new(false)));
    let writers = (0..4u8).map(|writer| {
        let (s3, stop) = (s3.clone(), stop.clone());
        tokio::spawn(async move {
            // What is there: the last that was acknowledged, or the one that was sent after it.
            let (mut kept, mut last) = (Vec::new(), (0u32, 0u32));
            for number in 1u32.. {
                if stop.load(Relaxed) {
                    break;
                }
                let body = number.to_le_bytes().repeat(20_000);
                if put(&s3, &format!("w{writer}/{number}"), &body).await == 200 {
                    kept.push(number);
                }
                last.1 = number;
                if put(&s3, &format!("same/{writer}"), &body).await == 200 {
                    last.0 = number;
                }
            }
            (writer, kept, last)
        })
    });
    let writers: Vec<_> = writers.collect();
    for _ in 0..4 {
        tokio::time::sleep(Duration::from_millis(rand::random::<u64>() % 400 + 100)).await;
        bed.kill_agent();
        bed.start_agent().await;
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    stop.store(true, Relaxed);
    let mut acknowledged = 0;
    let mut keys = BTreeSet::new();
    let began = Instant::now();
    while get_status(&s3).await.is_none_or(|status| status != 404) {
        assert!(began.elapsed() < DEADLINE, "the bucket does not come back:\n{}", bed.agent_log());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    for writer in writers {
        let (writer, kept, (sure, sent)) = writer.await.unwrap();
        for number in &kept {
            let (status, body) = get(&s3, &format!("w{writer}/{number}")).await;
            assert_eq!((status, body), (200, number.to_le_bytes().repeat(20_000)), "w{writer}/{number}");
            keys.insert(format!("w{writer}/{number}"));
        }
        acknowledged += kept.len();
        if sure > 0 {
            let (status, body) = get(&s3, &format!("same/{writer}")).await;
            let number = u32::from_le_bytes(body[..4].try_into().unwrap());
            assert!(status == 200 && (sure..=sent).contains(&number), "{sure} <= {number} <= {sent}");
            assert_eq!(body, number.to_le_bytes().repeat(20_000));
        }
    }
    assert!(acknowledged > 0);
    // One more start, and what is there is what is listed.
    bed.kill_agent();
    bed.start_agent().await;
    while get_status(&s3).await.is_none_or(|status| status != 404) {
        assert!(began.elapsed() < DEADLINE * 2);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let list = s3.send("GET", "/files", &[("list-type", "2")], &[], b"").await.unwrap();
    let listed: BTreeSet<String> = list.all("Key").into_iter().collect();
    assert!(keys.is_subset(&listed) || list.all("IsTruncated")[0] == "true");
    let folder = bed.folder().join("data/bucket-files");
    while list.all("IsTruncated")[0] == "false" && count(&folder.join("objects")) != listed.len() {
        assert!(began.elapsed() < DEADLINE * 2, "{} files, {} objects", count(&folder.join("objects")), listed.len());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(count(&folder.join("new")), 0);
}

async fn get_status(s3: &S3) -> Option<u16> {
    s3.send("GET", "/files/none", &[], &[], b"").await.ok().map(|answer| answer.status)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_object_needs_little_memory() {
    let bed = Bed::new().await;
    let (_, s3) = serve(&bed, "").await;
    let memory = || {
        let status = fs::read_to_string(format!("/proc/{}/status", bed.agent_pid())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap().to_owned();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() >> 10
    };
    let before = memory();
    let body = vec![5; 96 << 20];
    assert_eq!(put(&s3, "large", &body).await, 200);
    let (status, found) = get(&s3, "large").await;
    assert!(status == 200 && found == body);
    let most = memory();
    assert!(most < before + 32, "{before} MiB before, {most} MiB at most");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_refuses_an_upload_and_keeps_what_is_there() {
    let bed = Bed::on_disk_of(40).await;
    let (_, s3) = serve(&bed, "").await;
    assert_eq!(put(&s3, "old", b"old").await, 200);
    let folder = bed.folder().join("data/bucket-files");
    // Refused before it is written, since its length is told.
    let refused = s3.send("PUT", "/files/old", &[], &[], &vec![1; 48 << 20]).await;
    if let Ok(refused) = refused {
        assert_eq!((refused.status, refused.all("Code")), (507, vec!["InsufficientStorage".to_owned()]));
    }
    // Several at once, each of which would fit alone: the disk fills while they are written.
    let body = vec![2; 12 << 20];
    let many = (0..4).map(|number| put_owned(&s3, format!("many/{number}"), &body));
    let statuses = futures_util::future::join_all(many).await;
    assert!(statuses.iter().all(|status| [200, 507, 0].contains(status)), "{statuses:?}");
    assert!(statuses.iter().any(|status| *status != 200), "{statuses:?}");
    let stored = statuses.iter().filter(|status| **status == 200).count();
    assert_eq!(get(&s3, "old").await, (200, b"old".to_vec()));
    assert_eq!((count(&folder.join("new")), count(&folder.join("objects"))), (0, 1 + stored));
    for number in 0..4 {
        s3.send("DELETE", &format!("/files/many/{number}"), &[], &[], b"").await.unwrap();
    }
    assert_eq!(put(&s3, "new", b"new").await, 200);
}

async fn put_owned(s3: &S3, key: String, body: &[u8]) -> u16 {
    put(s3, &key, body).await
}
