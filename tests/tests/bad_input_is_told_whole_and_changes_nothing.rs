//! Wrong input of every sort: a clear sentence, a mend, the documented exit code.

use stories::Story;

#[test]
fn every_problem_of_the_stack_file_in_one_run() {
    let story = Story::harbour();
    let stack =
        story.read("slipway.toml").replace("port = 4000", "port = 400000\nreplcas = 3\nneeds = [\"database.nowhere\"]");
    story.write("slipway.toml", &stack);
    for command in [&["check"][..], &["deploy", "--yes"], &["build"]] {
        let refused = story.slipway(command).expect(2);
        for part in ["400000", "replcas", "size.replicas", "database.nowhere", "slipway.toml:"] {
            assert!(refused.stderr.contains(part), "{part} in: {}", refused.stderr);
        }
    }
    let rows = story.slipway(&["check", "--json"]).expect(2).json();
    assert!(
        rows.as_array().is_some_and(|rows| rows.len() >= 3 && rows.iter().all(|row| row["line"].is_u64())),
        "{rows}"
    );
    assert!(!story.home().exists(), "nothing was touched");
}

#[test]
fn unknown_names_are_answered_with_the_known_ones() {
    let story = Story::harbour();
    let refused = story.slipway(&["deploy", "--env", "prod", "--yes"]).expect(2);
    assert!(refused.stderr.contains("`prod`") && refused.stderr.contains("`dev`"), "{}", refused.stderr);
    let refused = story.slipway(&["deploy", "--release", "abcdef12", "--yes"]);
    assert_ne!(refused.code, 0);
    assert!(refused.stderr.contains("abcdef12"), "{}", refused.stderr);
    story.slipway(&["frobnicate"]).expect(2);
    story.slipway(&["--file", "nowhere.toml", "check"]).expect(2);
}

#[test]
fn an_address_in_use_is_named_before_anything_is_started() {
    let story = Story::harbour();
    let taken = std::net::TcpListener::bind(story.address).expect("the address is free");
    let refused = story.slipway(&["deploy", "--yes"]);
    assert_eq!(refused.code, 1, "{}", refused.stderr);
    assert!(refused.stderr.contains(&story.address.port().to_string()), "{}", refused.stderr);
    drop(taken);
    story.deploy();
}

#[test]
fn a_missing_program_is_named() {
    let story = Story::harbour();
    let stack = story.read("slipway.toml");
    let run = format!("run = \"{}\"", story.binary("harbour").display());
    story.write("slipway.toml", &stack.replace(&run, "run = \"no-such-program --serve\""));
    let refused = story.slipway(&["deploy", "--yes"]).expect(1);
    assert!(refused.stderr.contains("no-such-program"), "{}", refused.stderr);
}

#[test]
fn a_half_written_journal_line_is_dropped_and_a_damaged_one_is_named() {
    let story = Story::harbour();
    story.deploy();
    let journal = story.home().join("apps/harbour/dev/journal.jsonl");
    story.slipway(&["stop", "--everything", "--yes"]).expect(0);

    // a torn last line: what a power cut leaves
    let whole = std::fs::read(&journal).expect("the journal");
    let mut torn = whole.clone();
    torn.extend_from_slice(b"0badc0de {\"at\":\"2026-01-01T00:0");
    std::fs::write(&journal, &torn).expect("written");
    story.mark("two");
    story.deploy();
    assert_eq!(story.get("/").expect("an answer"), (200, "two".to_owned()));
    story.slipway(&["stop", "--everything", "--yes"]).expect(0);

    // a damaged line in the middle: nobody guesses
    let mut damaged = std::fs::read(&journal).expect("the journal");
    let at = damaged.iter().position(|&byte| byte == b'\n').expect("a line") + 30;
    damaged[at] ^= 0x20;
    std::fs::write(&journal, &damaged).expect("written");
    story.mark("three");
    let refused = story.slipway(&["deploy", "--yes"]);
    assert_ne!(refused.code, 0);
    assert!(refused.stderr.contains("journal.jsonl") && refused.stderr.contains("line 2"), "{}", refused.stderr);
}

#[test]
fn help_shows_an_example_before_the_options() {
    let story = Story::empty();
    let help = story.slipway(&["deploy", "--help"]).expect(0).stdout;
    let (example, options) = (help.find("Examples:").expect("examples"), help.find("Options:").expect("options"));
    assert!(example < options, "{help}");
    for shell in ["bash", "zsh", "fish"] {
        assert!(story.slipway(&["completions", shell]).expect(0).stdout.contains("slipway"));
    }
    assert!(story.slipway(&["man"]).expect(0).stdout.contains(".TH"));
}
