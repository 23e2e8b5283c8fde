//! README's first command and what the guide does after it, with the real example.

use std::{
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use stories::{Story, until};

/// A copy of the example below the workspace's target folder, so that its build shares what is compiled already; its
/// addresses are changed to free ones.
fn copy(story: &Story) -> (String, String) {
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/quickstart");
    let stack = std::fs::read_to_string(example.join("slipway.toml")).expect("the example");
    let (dev, production) =
        (format!("127.0.0.1:{}", stories::free_port()), format!("127.0.0.1:{}", stories::free_port()));
    let stack = stack.replace("127.0.0.1:8080", &dev).replace("127.0.0.1:8090", &production);
    for folder in ["migrations", "site"] {
        let done =
            Command::new("cp").arg("-r").arg(example.join(folder)).arg(story.project()).status().expect("cp runs");
        assert!(done.success());
    }
    std::fs::remove_dir_all(story.project().join("site/dist")).ok();
    story.write("seed.sql", &std::fs::read_to_string(example.join("seed.sql")).expect("the seed"));
    // the same build commands, run by the program that the workspace has built
    let quickstart = story.binary("quickstart").display().to_string();
    story.write("slipway.toml", &stack.replace("cargo run --quiet --locked --", &quickstart));
    (dev, production)
}

fn curl(address: &str, path: &str) -> (u16, String) {
    use std::io::{Read, Write};
    let mut stream = std::net::TcpStream::connect(address).expect("somebody listens");
    stream.set_read_timeout(Some(Duration::from_secs(10))).expect("a socket");
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: quickstart.localhost\r\nAccept: text/html\r\nConnection: close\r\n\r\n"
    )
    .expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer in text");
    let status = answer.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status");
    (status, answer)
}

#[test]
fn the_quickstart_goes_from_development_to_production() {
    let story = Story::empty();
    let (dev, production) = copy(&story);

    // development: in the foreground, seeded, with a made-up secret
    let mut up = story.command(&["up"]).spawn().expect("slipway starts");
    let started = Instant::now();
    until("the development environment", Duration::from_mins(1), || std::net::TcpStream::connect(&dev).ok());
    until("its page", Duration::from_mins(1), || (curl(&dev, "/").0 == 200).then_some(()));
    println!("up after {:?}", started.elapsed());
    let (status, page) = curl(&dev, "/");
    assert_eq!(status, 200, "{page}");
    let (status, entries) = curl(&dev, "/api/entries");
    assert_eq!(status, 200, "{entries}");
    assert!(entries.matches("\"id\"").count() > 0, "the seed is there: {entries}");
    // proves S4.P8
    let asset = page.split('"').find(|part| part.contains(".js")).expect("a script").trim_start_matches('/').to_owned();
    let (status, script) = curl(&dev, &format!("/{asset}"));
    assert_eq!(status, 200);
    assert!(script.to_lowercase().contains("cache-control: public, max-age=31536000, immutable"), "{script}");
    // proves S0.3
    assert_eq!(curl(&dev, "/some/page/of/the/app").0, 200);

    // production refuses to start without its secret, then starts with it
    let refused = story.slipway(&["deploy", "--env", "production", "--yes"]).expect(3);
    assert!(refused.stderr.contains("ADMIN_TOKEN"), "{}", refused.stderr);
    story.write(".env.production", "ADMIN_TOKEN=0123456789abcdef0123456789abcdef\n");
    story.slipway(&["deploy", "--env", "production", "--yes"]).expect(0);
    assert_eq!(curl(&production, "/").0, 200);
    let (_, entries) = curl(&production, "/api/entries");
    assert_eq!(entries.matches("\"id\"").count(), 0, "real data are never seeded: {entries}");
    let status = story.slipway(&["status", "--env", "production", "--json"]).expect(0).json();
    assert_eq!(status["instances"].as_array().map(Vec::len), Some(2));

    // Ctrl-C stops development, and production goes on
    let pid = i32::try_from(up.id()).ok().and_then(rustix::process::Pid::from_raw).expect("a pid");
    rustix::process::kill_process(pid, rustix::process::Signal::INT).expect("it runs");
    assert!(up.wait().expect("it ends").success());
    assert!(std::net::TcpStream::connect(&dev).is_err(), "development is stopped");
    assert_eq!(curl(&production, "/").0, 200);
}

#[test]
fn up_rebuilds_when_a_file_changes() {
    let story = Story::harbour();
    let up = story.command(&["up"]).spawn().expect("slipway starts");
    until("the first release", Duration::from_secs(30), || story.get("/").ok().filter(|(_, body)| body == "one"));
    story.mark("two");
    until("the changed release", Duration::from_secs(30), || story.get("/").ok().filter(|(_, body)| body == "two"));
    // a mistake leaves the last good release running
    let good = story.read("slipway.toml");
    story.write("slipway.toml", &good.replace("port = 4000", "prt = 4000"));
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!(story.get("/").expect("an answer"), (200, "two".to_owned()));
    story.write("slipway.toml", &good);
    story.mark("three");
    until("the mended release", Duration::from_secs(30), || story.get("/").ok().filter(|(_, body)| body == "three"));
    let pid = i32::try_from(up.id()).ok().and_then(rustix::process::Pid::from_raw).expect("a pid");
    rustix::process::kill_process(pid, rustix::process::Signal::INT).expect("it runs");
    let output = up.wait_with_output().expect("it ends");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(String::from_utf8_lossy(&output.stdout).contains("harbour one starts"), "its output was followed");
    // the agent answers that it ends, and then ends
    until("nothing is left running", Duration::from_secs(10), || {
        story.agent_pid().is_none_or(|pid| !Path::new(&format!("/proc/{pid}")).exists()).then_some(())
    });
}
