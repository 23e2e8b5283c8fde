//! An example stack in a folder of its own, on an address of its own.

use std::{
    fs,
    io::{Read, Write},
    path::Path,
    time::Duration,
};

use crate::project::{Story, binary};

/// What a build leaves behind, which a fresh clone does not have.
const RESULTS: [&str; 4] = ["bin", "dist", "node_modules", ".slipway"];

impl Story {
    /// The example `examples/<name>`, with its environment `dev` at this story's address and its programs as they were
    /// built with the stories.
    pub fn example(name: &str) -> Self {
        let story = Self::empty();
        let examples = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../examples"));
        copy(&examples.join(name), &story.project());
        // the example's build calls it beside itself
        let beside = story.project().join("../stand-in/web");
        copy(&examples.join("stand-in/web"), &beside);
        let text = story.read("slipway.toml");
        let (before, rest) = text.split_once("\n[environment.dev]").expect("an environment for development");
        let at = rest.find("listen = [\"").expect("an address") + "listen = [\"".len();
        let end = at + rest[at..].find('"').expect("the address's end");
        let listen = &rest[at..end];
        let text = format!("{before}\n[environment.dev]{rest}").replace(listen, &self::text(&story));
        let pack = format!("{} pack", binary("stand-in").display());
        story.write("slipway.toml", &text.replace("cargo run --quiet --locked --package stand-in -- pack", &pack));
        story
    }

    /// What a visitor of `host` gets: status and body.
    pub fn ask(&self, method: &str, host: &str, path: &str, body: &str) -> (u16, String) {
        let mut stream = std::net::TcpStream::connect(self.address).expect("the edge listens");
        stream.set_read_timeout(Some(Duration::from_secs(30))).expect("a time limit");
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nAccept: */*, text/html\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
        .expect("the request is sent");
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).expect("a whole answer");
        let answer = String::from_utf8_lossy(&answer).into_owned();
        let status = answer.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status line");
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
        let chunked = head.to_lowercase().contains("transfer-encoding: chunked");
        (status, if chunked { joined(body) } else { body.to_owned() })
    }

    /// As [`Story::ask`], with an answer of 200 as JSON.
    #[track_caller]
    pub fn json(&self, method: &str, host: &str, path: &str, body: &str) -> serde_json::Value {
        let (status, text) = self.ask(method, host, path, body);
        assert_eq!(status, 200, "{method} {host}{path}: {text}");
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{method} {host}{path}: no JSON ({error}): {text}"))
    }
}

fn text(story: &Story) -> String {
    story.address.to_string()
}

/// The chunks of a body, together.
fn joined(body: &str) -> String {
    let (mut rest, mut whole) = (body, String::new());
    while let Some((size, after)) = rest.split_once("\r\n") {
        let size = usize::from_str_radix(size.trim(), 16).unwrap_or(0);
        if size == 0 || after.len() < size {
            break;
        }
        whole.push_str(&after[..size]);
        rest = after[size..].trim_start_matches("\r\n");
    }
    whole
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder");
    for entry in fs::read_dir(from).expect("an example").flatten() {
        let name = entry.file_name();
        if entry.path().is_dir() {
            if !RESULTS.iter().any(|result| name == *result) {
                copy(&entry.path(), &to.join(name));
            }
        } else {
            fs::copy(entry.path(), to.join(name)).expect("a copy");
        }
    }
}
