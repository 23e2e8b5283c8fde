//! What holds for every file: no panic, and environments that change nothing change nothing.

use proptest::prelude::*;
use stack::{EnvironmentName, check, environments, parse, resolve};

const VALID: &str = include_str!("fixtures/jobsprint.toml");
const BAD: &str = include_str!("fixtures/bad.toml");

/// Reads a text in every way there is; each must come back.
fn read_all(text: &str) {
    let problems = check("slipway.toml", text);
    let _ = (problems.to_string(), serde_json::to_string(&problems).expect("plain data"));
    let parsed = parse("slipway.toml", text);
    assert!(parsed.is_ok() || problems.has_errors(), "parse and check disagree about {text:?}");
    for name in environments(text) {
        let resolved = resolve("slipway.toml", text, &name);
        assert!(resolved.is_ok() || problems.has_errors(), "resolve and check disagree about {text:?}");
    }
}

/// One change of a text, by a place from 0 to 1.
#[derive(Debug, Clone)]
enum Change {
    Drop(usize),
    Insert(String),
    Replace(usize, String),
    Repeat(usize),
    DropLine,
    SwapLine,
}

fn change() -> impl Strategy<Value = (f64, Change)> {
    let bit = prop_oneof![
        "[\\[\\]{}=\"'#.,\\n$ ]{1,3}",
        "[a-z0-9_-]{1,6}",
        ".{1,3}",
        Just("\"99999999999999999999\"".to_owned()),
        Just("${X}".to_owned()),
        Just("environment".to_owned()),
        Just("[[".to_owned()),
        Just("\u{0}".to_owned())
    ];
    let change = prop_oneof![
        (1..20usize).prop_map(Change::Drop),
        bit.clone().prop_map(Change::Insert),
        (1..12usize, bit).prop_map(|(length, text)| Change::Replace(length, text)),
        (1..60usize).prop_map(Change::Repeat),
        Just(Change::DropLine),
        Just(Change::SwapLine),
    ];
    (0.0..1.0, change)
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "a place in a short text"
)]
fn changed(text: &str, changes: &[(f64, Change)]) -> String {
    let mut text = text.to_owned();
    for (place, change) in changes {
        let mut at = (place * text.len() as f64) as usize;
        while !text.is_char_boundary(at) {
            at -= 1;
        }
        let end = |length: usize| {
            (at..=text.len()).filter(|end| text.is_char_boundary(*end)).nth(length).unwrap_or(text.len())
        };
        let line = |at: usize| {
            (text[..at].rfind('\n').map_or(0, |n| n + 1), text[at..].find('\n').map_or(text.len(), |n| at + n + 1))
        };
        match change {
            Change::Drop(length) => text.replace_range(at..end(*length), ""),
            Change::Insert(bit) => text.insert_str(at, bit),
            Change::Replace(length, bit) => text.replace_range(at..end(*length), bit),
            Change::Repeat(length) => {
                let piece = text[at..end(*length)].to_owned();
                text.insert_str(at, &piece);
            }
            Change::DropLine => {
                let (start, end) = line(at);
                text.replace_range(start..end, "");
            }
            Change::SwapLine => {
                let (start, end) = line(at);
                let piece = text[start..end].to_owned();
                text.replace_range(start..end, "");
                text.insert_str(0, &piece);
            }
        }
    }
    text
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]

    #[test]
    fn any_text_is_read(text in "\\PC{0,200}") {
        read_all(&text);
    }

    #[test]
    fn any_text_made_of_toml_is_read(parts in proptest::collection::vec(
        prop_oneof!["\\[[a-z.\"]{0,12}\\]\\n", "[a-z.]{1,8} = ", "\"[^\"]{0,8}\"", "[0-9.eE+_-]{1,8}", "[{}\\[\\],=\\n]", "true", "1979-05-27"], 0..30)) {
        read_all(&parts.concat());
        read_all(&format!("app = \"x\"\n{}", parts.concat()));
    }

    #[test]
    fn any_change_of_a_valid_file_is_read(changes in proptest::collection::vec(change(), 1..6)) {
        read_all(&changed(VALID, &changes));
    }

    #[test]
    fn any_change_of_a_bad_file_is_read(changes in proptest::collection::vec(change(), 1..4)) {
        read_all(&changed(BAD, &changes));
    }

    #[test]
    fn an_environment_that_overlays_nothing_is_the_stack_itself(target in prop_oneof!["local", "kubernetes", "aws"], empty: bool) {
        let overlay = if empty { "[environment.same.service.api]\n[environment.same.variable]\n" } else { "" };
        let text = format!("{VALID}\n[environment.same]\ntarget = \"{target}\"\n{overlay}");
        let name = EnvironmentName::new("same").expect("well formed");
        let resolved = resolve("slipway.toml", &text, &name).expect("no problems");
        prop_assert_eq!(resolved.stack, parse("slipway.toml", &text).expect("no problems"));
    }

    #[test]
    fn an_overlay_of_the_same_values_is_the_stack_itself(replicas in 1..50u32, every in 1..60u32) {
        let table = format!("size = {{ replicas = {replicas} }}\nhealth = {{ path = \"/h\", every = \"{every}m\" }}\nport = 4000\n");
        let base = format!("app = \"x\"\n[service.api]\nrun = \"a\"\n{table}[environment.same]\ntarget = \"local\"\n");
        let text = format!("{base}[environment.same.service.api]\n{table}");
        let name = EnvironmentName::new("same").expect("well formed");
        prop_assert_eq!(resolve("s", &text, &name).expect("no problems").stack, parse("s", &text).expect("no problems").clone());
    }
}
