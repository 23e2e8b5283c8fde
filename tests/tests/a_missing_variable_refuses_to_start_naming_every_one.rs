//! The environment contract is checked before anything is touched.

use stories::Story;

// proves S4.P6
#[test]
fn a_missing_variable_refuses_to_start_naming_every_one() {
    let tables = r#"
[variable]
API_SECRET = { secret = true, min_length = 32 }
MAIL_FROM  = { type = "email" }
LOG_LEVEL  = { one_of = ["debug", "info"], default = "info" }
"#;
    let story = Story::harbour_with("", tables);
    let stack = story.read("slipway.toml").replace("target = \"local\"", "target = \"local\"\ndata = \"real\"");
    story.write("slipway.toml", &stack);
    let refused = story.slipway(&["deploy", "--yes"]).expect(3);
    assert!(refused.stderr.contains("API_SECRET") && refused.stderr.contains("MAIL_FROM"), "{}", refused.stderr);
    assert!(story.get("/").is_err(), "nothing was started");

    let short = "k3eping-watch";
    let refused = story
        .slipway(&[
            "deploy",
            "--yes",
            "--set",
            &format!("API_SECRET={short}"),
            "--set",
            "MAIL_FROM=nobody",
            "--set",
            "LOG_LEVEL=loud",
        ])
        .expect(3);
    assert!(
        refused.stderr.contains("variable `API_SECRET` is 13 characters in environment `dev`, expected at least 32"),
        "{}",
        refused.stderr
    );
    assert!(refused.stderr.contains("MAIL_FROM") && refused.stderr.contains("LOG_LEVEL"), "{}", refused.stderr);
    assert!(!refused.stderr.contains(short) && !refused.stdout.contains(short), "a secret is never shown");

    story.write(".env.dev", "API_SECRET=0123456789abcdef0123456789abcdef\nMAIL_FROM=crew@harbour.test\n");
    story.deploy();
    assert_eq!(story.get("/").expect("an answer"), (200, "one".to_owned()));
}

// proves S4.P7
#[test]
fn a_secret_appears_in_no_log_and_on_no_command_line() {
    let secret = "Xo9-quite-secret-harbour-key-77-4421";
    let story =
        Story::harbour_with("env = { API_SECRET = \"${API_SECRET}\" }", "[variable]\nAPI_SECRET = { secret = true }\n");
    story.write(".env.dev", &format!("API_SECRET={secret}\n"));
    story.deploy();
    // the application itself printed it
    let logs = story.slipway(&["logs", "web"]).expect(0);
    assert!(logs.stdout.contains("starts with secret"), "{}", logs.stdout);
    assert!(!logs.stdout.contains(secret), "{}", logs.stdout);
    let (mut searched, mut folders) = (0, vec![story.home()]);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("a folder").flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.is_file() && !path.components().any(|part| part.as_os_str() == "values") {
                searched += 1;
                let bytes = std::fs::read(&path).unwrap_or_default();
                assert!(
                    !bytes.windows(secret.len()).any(|window| window == secret.as_bytes()),
                    "{} holds the secret",
                    path.display()
                );
            }
        }
    }
    assert!(searched > 5);
    for entry in std::fs::read_dir("/proc").expect("proc").flatten() {
        let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        assert!(
            !line.windows(secret.len()).any(|window| window == secret.as_bytes()),
            "{} shows the secret",
            entry.path().display()
        );
    }
}

// proves S4.P7
#[test]
fn a_secret_that_a_build_prints_is_not_shown() {
    let secret = "Tz4-another-secret-harbour-key-31-9087";
    let build = "build = \"echo built with $API_SECRET\"\nenv = { API_SECRET = \"${API_SECRET}\" }";
    let story = Story::harbour_with(build, "[variable]\nAPI_SECRET = { secret = true }\n");
    let output = story.command(&["deploy", "--yes"]).env("API_SECRET", secret).output().expect("slipway runs");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    assert!(stderr.contains("built with") && !stderr.contains(secret), "{stderr}");
}
