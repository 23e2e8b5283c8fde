//! Static sites, rule by rule, named by the section of the RFC that asks for it.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use edge::table::{Action, Site, SiteFile, SiteIndex, SiteRoot};

use crate::support::{Answer, Client, Running, rule};

/// Saturday, 1 February 2025, 12:00:00 UTC.
const MODIFIED: i64 = 1_738_411_200;
const MODIFIED_TEXT: &str = "Sat, 01 Feb 2025 12:00:00 GMT";

struct Files {
    folder: tempfile::TempDir,
}

impl Files {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    /// Writes a release's folder: name, content, codings that lie beside it.
    fn release(&self, name: &str, files: &[(&str, &str, &[&str])]) -> PathBuf {
        let folder = self.folder.path().join(name);
        let mut index = SiteIndex::default();
        for (path, content, codings) in files {
            let whole = folder.join(path);
            std::fs::create_dir_all(whole.parent().unwrap()).unwrap();
            std::fs::write(&whole, content).unwrap();
            let mut variants = BTreeMap::new();
            for coding in *codings {
                let suffix = BTreeMap::from([("br", ".br"), ("gzip", ".gz"), ("zstd", ".zst")])[coding];
                // not really compressed: which bytes came is what the tests ask
                let bytes = format!("<{coding}>");
                std::fs::write(folder.join(format!("{path}{suffix}")), &bytes).unwrap();
                variants.insert((*coding).to_owned(), bytes.len() as u64);
            }
            index.files.insert(
                (*path).to_owned(),
                SiteFile {
                    size: content.len() as u64,
                    digest: format!("d{}", content.len()),
                    content_type: match path.rsplit('.').next().unwrap() {
                        "html" => "text/html; charset=utf-8",
                        "js" => "text/javascript; charset=utf-8",
                        _ => "application/octet-stream",
                    }
                    .to_owned(),
                    hashed: path.contains("3f9c2a1b"),
                    variants,
                    modified: MODIFIED,
                },
            );
        }
        let index_path = self.folder.path().join(format!("{name}.index.json"));
        std::fs::write(index_path, serde_json::to_vec(&index).unwrap()).unwrap();
        folder
    }
}

fn serve(edge: &Running, roots: &[(PathBuf, &str, u32)], spa: bool) {
    let mut table = edge.table(vec![rule("/", Action::Site("web".to_owned()))], &[]);
    let roots = roots
        .iter()
        .map(|(folder, revision, weight)| SiteRoot {
            folder: folder.clone(),
            revision: (*revision).to_owned(),
            weight: *weight,
        })
        .collect();
    table.sites.insert("web".to_owned(), Site { roots, spa });
    edge.put(&table);
}

const PAGE: &str = "<!doctype html><title>home</title> and more to be longer than its variants";

fn site(spa: bool) -> (Running, Files) {
    let files = Files::new();
    let folder = files.release(
        "r1",
        &[
            ("index.html", PAGE, &["br", "gzip", "zstd"]),
            ("assets/app.3f9c2a1b.js", "console.log('a script that is long enough')", &["br", "gzip"]),
            ("plain.js", "0123456789", &[]),
            ("docs/index.html", "docs", &[]),
            ("caf\u{e9}/a b.txt", "names", &[]),
            ("empty.txt", "", &[]),
        ],
    );
    let edge = Running::start();
    serve(&edge, &[(folder, "r1", 1)], spa);
    (edge, files)
}

fn get(client: &mut Client, path: &str, extra: &str) -> Answer {
    client.get_with(path, extra)
}

#[test]
fn names_lead_to_files() {
    let (edge, _files) = site(false);
    let mut client = edge.client();
    for (path, status, body) in [
        ("/", 200, PAGE),
        ("/index.html", 200, PAGE),
        ("/?query", 200, PAGE),
        ("/plain.js", 200, "0123456789"),
        ("//plain.js", 200, "0123456789"),
        ("/docs/", 200, "docs"),
        ("/caf%C3%A9/a%20b.txt", 200, "names"),
        ("/empty.txt", 200, ""),
    ] {
        let answer = client.get(path);
        assert_eq!((answer.status, answer.text().as_str()), (status, body), "{path}");
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
    }
    for path in ["/missing", "/assets/", "/docs/x", "/%00", "/%zz", "/plain.js/", "/index.html.br", "/r1.index.json"] {
        assert_eq!(client.get(path).status, 404, "{path}");
    }
}

#[test]
fn nothing_outside_the_folder_is_reached() {
    let (edge, files) = site(true);
    std::fs::write(files.folder.path().join("secret.txt"), "secret").unwrap();
    let mut client = edge.client();
    for path in [
        "/../secret.txt",
        "/%2e%2e/secret.txt",
        "/..%2fsecret.txt",
        "/%2e%2e%2fsecret.txt",
        "/docs/../../secret.txt",
        "/docs/..%2f..%2fsecret.txt",
        "/..%5csecret.txt",
        "/%2fetc%2fpasswd",
        "//etc/passwd",
    ] {
        let answer = client.get(path);
        assert_eq!(answer.status, 404, "{path}: {}", answer.text());
    }
}

#[test]
fn an_index_that_names_a_file_outside_is_refused_whole() {
    let (edge, files) = site(false);
    let folder = files.folder.path().join("bad");
    for name in ["../secret.txt", "/etc/passwd", "a/../../b", ""] {
        let file = SiteFile {
            size: 1,
            digest: "d".to_owned(),
            content_type: "text/plain".to_owned(),
            hashed: false,
            variants: BTreeMap::new(),
            modified: 0,
        };
        let index = SiteIndex { files: BTreeMap::from([(name.to_owned(), file)]) };
        std::fs::write(files.folder.path().join("bad.index.json"), serde_json::to_vec(&index).unwrap()).unwrap();
        let mut table = edge.table(vec![rule("/", Action::Site("web".to_owned()))], &[]);
        let root = SiteRoot { folder: folder.clone(), revision: "r".to_owned(), weight: 1 };
        table.sites.insert("web".to_owned(), Site { roots: vec![root], spa: false });
        let (status, body) = edge.call("PUT", "/table", &serde_json::to_string(&table).unwrap());
        assert!(status == 422 && body.contains("not inside the folder"), "{body}");
    }
    assert_eq!(edge.get("/").status, 200);
}

#[test]
fn a_folder_without_its_slash_is_redirected() {
    let (edge, _files) = site(true);
    let mut client = edge.client();
    let answer = client.get("/docs?a=b");
    assert_eq!((answer.status, answer.header("location")), (308, Some("/docs/?a=b")));
    let answer = client.get("//docs");
    assert_eq!(answer.header("location"), Some("/docs/"), "never to another host");
}

/// RFC 9110 section 9.1 and 15.5.6.
#[test]
fn only_get_and_head_are_allowed() {
    let (edge, _files) = site(false);
    let mut client = edge.client();
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "PATCH"] {
        let answer = client.ask(method, "/", "");
        assert_eq!((answer.status, answer.header("allow")), (405, Some("GET, HEAD")), "{method}");
    }
    let (head, get) = (client.ask("HEAD", "/plain.js", ""), client.get("/plain.js"));
    for name in ["content-length", "content-type", "etag", "last-modified", "cache-control", "accept-ranges"] {
        assert_eq!(head.header(name), get.header(name), "{name}");
    }
    assert_eq!((head.header("content-length"), head.body.len()), (Some("10"), 0));
}

/// RFC 9110 section 12.5.3 and RFC 9111 section 4.1.
#[test]
fn encodings_are_negotiated() {
    let (edge, _files) = site(false);
    let mut client = edge.client();
    for (accept, coding) in [
        ("gzip", Some("gzip")),
        ("gzip, deflate, br, zstd", Some("br")),
        ("gzip, zstd", Some("zstd")),
        ("GZIP", Some("gzip")),
        ("x-unknown", None),
        ("br;q=0.1, gzip;q=0.9", Some("gzip")),
        ("br;q=0.5, gzip;q=0.5", Some("br")),
        ("br;q=0, gzip", Some("gzip")),
        ("br;q=0", None),
        ("*", Some("br")),
        ("*;q=0.5, br;q=0", Some("zstd")),
        ("identity;q=1, br;q=0.5", None),
        ("identity;q=0.5, br", Some("br")),
        ("identity", None),
        ("*;q=0", None),
        ("", None),
    ] {
        let answer = get(&mut client, "/", &format!("Accept-Encoding: {accept}\r\n"));
        assert_eq!(answer.header("content-encoding"), coding, "{accept:?}");
        let body = coding.map_or(PAGE.to_owned(), |coding| format!("<{coding}>"));
        assert_eq!(answer.text(), body, "{accept:?}");
        assert_eq!(answer.header("vary"), Some("Accept-Encoding"), "{accept:?}");
        assert_eq!(answer.header("content-type"), Some("text/html; charset=utf-8"));
        let etag = coding.map_or("\"d74\"".to_owned(), |coding| format!("\"d74-{coding}\""));
        assert_eq!(answer.header("etag"), Some(etag.replace("74", &PAGE.len().to_string()).as_str()), "{accept:?}");
    }
    assert_eq!(client.get("/").header("content-encoding"), None);
    assert_eq!(client.get("/plain.js").header("vary"), None, "there is nothing to choose");
}

// proves S4.P8
/// RFC 9111 section 5.2.
#[test]
fn only_hashed_names_are_cached_for_a_year() {
    let (edge, _files) = site(false);
    let mut client = edge.client();
    for (path, cache) in [
        ("/assets/app.3f9c2a1b.js", "public, max-age=31536000, immutable"),
        ("/", "no-cache"),
        ("/docs/", "no-cache"),
        ("/plain.js", "public, max-age=300"),
    ] {
        assert_eq!(client.get(path).header("cache-control"), Some(cache), "{path}");
    }
}

/// RFC 9110 section 13.
#[test]
fn conditions_are_looked_at_in_their_order() {
    let (edge, _files) = site(false);
    let mut client = edge.client();
    let etag = client.get("/plain.js").header("etag").unwrap().to_owned();
    assert_eq!(client.get("/plain.js").header("last-modified"), Some(MODIFIED_TEXT));
    let (before, after) = ("Fri, 31 Jan 2025 12:00:00 GMT", "Sun, 02 Feb 2025 12:00:00 GMT");
    for (extra, status) in [
        (format!("If-None-Match: {etag}"), 304),
        (format!("If-None-Match: W/{etag}"), 304),
        (format!("If-None-Match: \"x\", {etag}"), 304),
        ("If-None-Match: *".to_owned(), 304),
        ("If-None-Match: \"x\"".to_owned(), 200),
        (format!("If-Modified-Since: {MODIFIED_TEXT}"), 304),
        (format!("If-Modified-Since: {after}"), 304),
        (format!("If-Modified-Since: {before}"), 200),
        ("If-Modified-Since: yesterday".to_owned(), 200),
        (format!("If-None-Match: \"x\"\r\nIf-Modified-Since: {after}"), 200),
        (format!("If-None-Match: {etag}\r\nIf-Modified-Since: {before}"), 304),
        (format!("If-Match: {etag}"), 200),
        ("If-Match: *".to_owned(), 200),
        ("If-Match: \"x\"".to_owned(), 412),
        (format!("If-Match: W/{etag}"), 412),
        (format!("If-Unmodified-Since: {before}"), 412),
        (format!("If-Unmodified-Since: {after}"), 200),
    ] {
        let answer = get(&mut client, "/plain.js", &format!("{extra}\r\n"));
        assert_eq!(answer.status, status, "{extra}");
        if status == 304 {
            // RFC 9110 section 15.4.5
            assert_eq!(answer.header("etag"), Some(etag.as_str()));
            assert_eq!(answer.header("cache-control"), Some("public, max-age=300"));
            assert!(answer.body.is_empty());
            assert_eq!(answer.header("content-type"), None);
        }
    }
    let coded = get(&mut client, "/", "Accept-Encoding: br\r\n").header("etag").unwrap().to_owned();
    let again = get(&mut client, "/", &format!("Accept-Encoding: br\r\nIf-None-Match: {coded}\r\n"));
    assert_eq!((again.status, again.header("vary")), (304, Some("Accept-Encoding")));
    assert_eq!(get(&mut client, "/", &format!("If-None-Match: {coded}\r\n")).status, 200, "another encoding");
}

/// RFC 9110 section 14.
#[test]
fn single_ranges_are_served() {
    let (edge, _files) = site(false);
    let mut client = edge.client();
    let etag = client.get("/plain.js").header("etag").unwrap().to_owned();
    for (range, status, body, content_range) in [
        ("bytes=0-3", 206, "0123", Some("bytes 0-3/10")),
        ("bytes=4-", 206, "456789", Some("bytes 4-9/10")),
        ("bytes=-3", 206, "789", Some("bytes 7-9/10")),
        ("bytes=-30", 206, "0123456789", Some("bytes 0-9/10")),
        ("bytes=8-100", 206, "89", Some("bytes 8-9/10")),
        ("BYTES=9-9", 206, "9", Some("bytes 9-9/10")),
        ("bytes=0-99999999999999999999", 206, "0123456789", Some("bytes 0-9/10")),
        ("bytes=10-", 416, "", Some("bytes */10")),
        ("bytes=-0", 416, "", Some("bytes */10")),
        ("bytes=99999999999999999999-", 416, "", Some("bytes */10")),
        ("bytes=5-2", 200, "0123456789", None),
        ("bytes=0-1,3-4", 200, "0123456789", None),
        ("bytes=a-b", 200, "0123456789", None),
        ("bytes=-", 200, "0123456789", None),
        ("lines=0-1", 200, "0123456789", None),
    ] {
        let answer = get(&mut client, "/plain.js", &format!("Range: {range}\r\n"));
        assert_eq!((answer.status, answer.text().as_str()), (status, body), "{range}");
        assert_eq!(answer.header("content-range"), content_range, "{range}");
        if status != 416 {
            assert_eq!(answer.header("accept-ranges"), Some("bytes"));
        }
    }
    for (condition, status) in [
        (etag.clone(), 206),
        (format!("W/{etag}"), 200),
        ("\"x\"".to_owned(), 200),
        (MODIFIED_TEXT.to_owned(), 206),
        ("Fri, 31 Jan 2025 12:00:00 GMT".to_owned(), 200),
    ] {
        let answer = get(&mut client, "/plain.js", &format!("Range: bytes=0-3\r\nIf-Range: {condition}\r\n"));
        assert_eq!(answer.status, status, "{condition}");
    }
    let answer = get(&mut client, "/", "Accept-Encoding: br\r\nRange: bytes=0-1\r\n");
    assert_eq!((answer.text().as_str(), answer.header("content-range")), ("<b", Some("bytes 0-1/4")));
    assert_eq!(answer.header("content-encoding"), Some("br"));
    assert_eq!(client.ask("HEAD", "/plain.js", "Range: bytes=0-3\r\n").status, 200);
    assert_eq!(get(&mut client, "/empty.txt", "Range: bytes=0-\r\n").status, 416);
}

// proves S0.3
#[test]
fn a_single_page_application_answers_its_own_paths_and_never_a_missing_asset() {
    let (edge, _files) = site(true);
    let mut client = edge.client();
    let browser = "Accept: text/html,application/xhtml+xml,*/*;q=0.8\r\n";
    for (method, path, accept, status) in [
        ("GET", "/jobs/42", browser, 200),
        ("GET", "/jobs/42/", browser, 200),
        ("HEAD", "/jobs/42", browser, 200),
        ("GET", "/jobs/42", "Accept: */*\r\n", 404),
        ("GET", "/jobs/42", "", 404),
        ("GET", "/jobs/42", "Accept: application/json\r\n", 404),
        ("GET", "/jobs/42", "Accept: text/html;q=0, */*\r\n", 404),
        ("GET", "/assets/old.12345678.js", browser, 404),
        ("GET", "/favicon.ico", browser, 404),
        ("POST", "/jobs/42", browser, 405),
    ] {
        let answer = client.ask(method, path, accept);
        assert_eq!(answer.status, status, "{method} {path} {accept}");
        if status == 200 {
            assert_eq!(answer.header("cache-control"), Some("no-cache"), "the page is never pinned");
            assert!(method == "HEAD" || answer.text() == PAGE);
        }
    }
    let (plain, _files) = site(false);
    assert_eq!(plain.client().ask("GET", "/jobs/42", browser).status, 404, "only when the site is one");
}

#[test]
fn a_page_of_the_old_release_still_finds_its_scripts() {
    let files = Files::new();
    let old = files.release("old", &[("index.html", "old page", &[]), ("a.3f9c2a1b.js", "old script", &[])]);
    let new = files.release("new", &[("index.html", "new page!", &[]), ("b.3f9c2a1b.js", "new script", &[])]);
    let edge = Running::start();
    serve(&edge, &[(new.clone(), "new", 1), (old.clone(), "old", 0)], false);
    let mut client = edge.client();
    assert_eq!(client.get("/").text(), "new page!");
    assert_eq!(client.get("/a.3f9c2a1b.js").text(), "old script");
    assert_eq!(client.get("/b.3f9c2a1b.js").text(), "new script");
    serve(&edge, &[(new, "new", 0), (old, "old", 1)], false);
    assert_eq!(client.get("/").text(), "old page");
    let traffic = &edge.status().traffic["web"];
    assert_eq!((traffic["new"].requests, traffic["old"].requests), (2, 2));
}

#[test]
fn what_a_release_left_out_is_gone_but_for_names_that_carry_a_hash() {
    let files = Files::new();
    let old = files.release(
        "old",
        &[
            ("index.html", "old", &[]),
            ("secret.txt", "taken back", &[]),
            ("about/index.html", "an old page", &[]),
            ("app.3f9c2a1b.js", "script", &[]),
        ],
    );
    let new = files.release("new", &[("index.html", "new!", &[])]);
    let edge = Running::start();
    serve(&edge, &[(new, "new", 1), (old, "old", 0)], false);
    let mut client = edge.client();
    assert_eq!(client.get("/app.3f9c2a1b.js").text(), "script");
    for path in ["/secret.txt", "/about/", "/about"] {
        assert_eq!(client.get(path).status, 404, "{path}");
    }
}

#[test]
fn a_site_below_a_prefix_begins_at_its_slash_and_says_how_long_it_may_be_kept() {
    let files = Files::new();
    let folder = files.release("r1", &[("index.html", PAGE, &[]), ("a.3f9c2a1b.js", "script", &[])]);
    let edge = Running::start();
    let mut below = rule("/docs", Action::Site("web".to_owned()));
    below.strip = true;
    below.headers = vec![("cache-control".to_owned(), "no-store".to_owned())];
    let mut table = edge.table(vec![below], &[]);
    let root = SiteRoot { folder, revision: "r1".to_owned(), weight: 1 };
    table.sites.insert("web".to_owned(), Site { roots: vec![root], spa: false });
    edge.put(&table);
    let mut client = edge.client();
    let bare = client.get("/docs?a=1");
    assert_eq!((bare.status, bare.header("location")), (308, Some("/docs/?a=1")));
    let page = client.get("/docs/");
    assert_eq!((page.status, page.header("cache-control")), (200, Some("no-store")));
    let script = client.get("/docs/a.3f9c2a1b.js");
    assert_eq!(script.header("cache-control"), Some("public, max-age=31536000, immutable"));
}

#[test]
fn weights_share_visitors_and_one_visitor_sees_one_release() {
    let files = Files::new();
    let old = files.release("old", &[("index.html", "old", &[])]);
    let new = files.release("new", &[("index.html", "new!", &[])]);
    let edge = Running::start();
    serve(&edge, &[(new, "new", 30), (old, "old", 70)], false);
    let mut fresh = 0;
    for last in 1..=100_u8 {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        let from = std::net::SocketAddr::from(([127, 0, 7, last], 0));
        socket.bind(&from.into()).unwrap();
        socket.connect(&edge.address.into()).unwrap();
        let mut client = Client::from_stream(socket.into());
        let first = client.get("/").text();
        assert!((0..3).all(|_| client.get("/").text() == first));
        fresh += usize::from(first == "new!");
    }
    assert!((15..45).contains(&fresh), "30 of 100, got {fresh}");
}

#[test]
fn large_files_are_streamed_and_missing_ones_are_an_error_of_ours() {
    let files = Files::new();
    let large = "0123456789abcdef".repeat(100_000);
    let folder = files.release("r1", &[("large.bin", &large, &[]), ("gone.bin", "x", &[])]);
    std::fs::remove_file(folder.join("gone.bin")).unwrap();
    let edge = Running::start();
    serve(&edge, &[(folder, "r1", 1)], false);
    let mut client = edge.client();
    assert_eq!(client.get("/large.bin").text(), large);
    let part = client.get_with("/large.bin", "Range: bytes=1000000-1000015\r\n");
    assert_eq!((part.status, part.text().as_str()), (206, "0123456789abcdef"));
    assert_eq!(client.get("/gone.bin").status, 500);
    assert_eq!(client.get("/large.bin").body.len(), large.len(), "the connection is in order");
    let mut leaver = edge.client();
    leaver.write("GET /large.bin HTTP/1.1\r\nHost: a\r\n\r\n");
    leaver.head().unwrap();
    drop(leaver);
    crate::support::eventually("who left is gone", || edge.status().connections == 1);
    std::thread::sleep(Duration::ZERO);
}

#[test]
fn a_site_without_an_index_is_refused_with_the_file_named() {
    let edge = Running::start();
    let mut table = edge.table(vec![rule("/", Action::Site("web".to_owned()))], &[]);
    let root = SiteRoot { folder: "/nowhere/r1".into(), revision: "r".to_owned(), weight: 1 };
    table.sites.insert("web".to_owned(), Site { roots: vec![root], spa: false });
    let (status, body) = edge.call("PUT", "/table", &serde_json::to_string(&table).unwrap());
    assert!(status == 422 && body.contains("/nowhere/r1.index.json"), "{body}");
}
