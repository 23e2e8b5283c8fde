//! Each requirement of the five founding documents, and each trap in them, has a line in an example stack that carries
//! it: a key or a table with its id in the comment behind it. `docs/src/reference/requirements.md` lists them and is
//! written by `SLIPWAY_WRITE_REFERENCE=1 cargo test --workspace --test every_requirement_has_a_line`.

use std::{collections::BTreeMap, fmt::Write, fs, path::Path};

/// The documents' applications, in the order of their numbers.
const STACKS: [&str; 5] = ["jamdung", "jobgraph", "companion", "jobsprint", "roastify"];

/// Prefix of an id, and how many there are, from 1.
const SERIES: [(&str, u32, &str); 8] = [
    ("S0.", 26, "JamDung Jobs"),
    ("S1.", 47, "JobGraph"),
    ("S2.", 23, "Job Seeker Companion"),
    ("S3.", 19, "Jobsprint"),
    ("S4.", 15, "Roastify"),
    ("S4.P", 12, "Roastify: properties"),
    ("S4.E", 8, "Roastify: failures"),
    ("T", 17, "Traps: where a document was mistaken"),
];

/// Every id, in order.
fn ids(prefix: &str, count: u32) -> Vec<String> {
    let mut ids: Vec<String> = (1..=count).map(|number| format!("{prefix}{number}")).collect();
    if prefix == "S2." {
        ids.insert(1, "S2.1b".to_owned());
    }
    ids
}

/// Where ids stand: stack, line, text of the line.
type Lines = BTreeMap<String, Vec<(&'static str, usize, String)>>;

fn lines(root: &Path) -> Lines {
    let mut found = Lines::new();
    for stack in STACKS {
        let text = fs::read_to_string(root.join(format!("examples/{stack}/slipway.toml"))).expect("a stack file");
        for (index, line) in text.lines().enumerate() {
            // a comment alone carries nothing; the first ` # ` behind a key or a bracket begins one
            let Some((code, comment)) = line.split_once(" # ").filter(|(code, _)| carries(code)) else { continue };
            for word in comment.split(|c: char| !c.is_ascii_alphanumeric() && c != '.') {
                let word = word.trim_end_matches('.');
                let known = SERIES.iter().any(|(prefix, count, _)| ids(prefix, *count).iter().any(|id| id == word));
                if known {
                    let code = code.trim().to_owned();
                    found.entry(word.to_owned()).or_default().push((stack, index + 1, code));
                }
            }
        }
    }
    found
}

/// A line of TOML that says something: a table, a key, or the end of a value.
fn carries(code: &str) -> bool {
    let code = code.trim();
    !code.is_empty() && !code.starts_with('#') && (code.starts_with('[') || code.contains('=') || code.starts_with(']'))
}

#[test]
fn every_requirement_has_a_line() {
    let root = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
    let found = lines(root);
    let all: Vec<String> = SERIES.iter().flat_map(|(prefix, count, _)| ids(prefix, *count)).collect();
    let without: Vec<&String> = all.iter().filter(|id| !found.contains_key(*id)).collect();
    assert!(without.is_empty(), "no line of a stack carries {without:?}");

    let mut page = String::from(
        "# Requirements\n\nFive teams wrote down how they deploy. Each requirement of theirs, and each mistake in what they wrote, has a line \
         in one of the\nexample stacks. This page is generated from the comments in them.\n",
    );
    for (prefix, count, title) in SERIES {
        let _ = write!(page, "\n## {title}\n\n| id | stack | line | what carries it |\n|---|---|---|---|\n");
        for id in ids(prefix, count) {
            for (index, (stack, line, code)) in found[&id].iter().enumerate() {
                let shown: String = code.chars().take(100).collect();
                let shown = if shown.len() < code.len() { format!("{shown}…") } else { shown };
                let id = if index == 0 { id.as_str() } else { "" };
                let shown = shown.replace('|', "\\|");
                let _ = writeln!(page, "| {id} | {stack} | {line} | `{shown}` |");
            }
        }
    }
    let path = root.join("docs/src/reference/requirements.md");
    if std::env::var_os("SLIPWAY_WRITE_REFERENCE").is_some() {
        fs::write(&path, &page).expect("the page is written");
    }
    let kept = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        kept == page,
        "{} is stale; run: SLIPWAY_WRITE_REFERENCE=1 cargo test --workspace --test every_requirement_has_a_line",
        path.display()
    );
}

#[test]
fn every_example_stack_is_good_in_every_environment() {
    let root = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
    for name in STACKS {
        let file = root.join(format!("examples/{name}/slipway.toml"));
        let checked = std::process::Command::new(stories::binary("slipway"))
            .args(["check", "--file"])
            .arg(&file)
            .output()
            .expect("slipway starts");
        assert!(checked.status.success(), "{name}: {}", String::from_utf8_lossy(&checked.stderr));
    }
}
