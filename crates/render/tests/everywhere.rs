//! All five examples by all renderers: each file as it is, and of the two that are very many the resources in them, whose
//! files `render.rs` keeps whole for stacks after the same documents.

use std::{fmt::Write as _, path::Path};

use render::{Input, Options, Rendered, Target};
use stack::{EnvironmentName, Resolved};

/// The examples, and the environment of each that is for real.
const EXAMPLES: [(&str, &str); 5] = [
    ("companion", "datacentre"),
    ("jamdung", "production"),
    ("jobgraph", "production"),
    ("jobsprint", "production"),
    ("roastify", "production"),
];

fn input(example: &str, environment: &str) -> Input {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../../examples/{example}/slipway.toml"));
    let text = std::fs::read_to_string(path).expect("an example");
    let resolve =
        |name: &EnvironmentName| stack::resolve("slipway.toml", &text, name).unwrap_or_else(|p| panic!("{p}"));
    let all: Vec<Resolved> = stack::environments(&text).iter().map(resolve).collect();
    let resolved = all.iter().find(|one| one.name.as_str() == environment).expect("the environment").clone();
    Input { resolved, all, options: Options { leave_out: true, tag: Some("3f9c2a1".to_owned()), ..Options::default() } }
}

/// Every file as it is.
fn whole(rendered: &Rendered) -> String {
    let mut text = String::new();
    for problem in &rendered.problems {
        let _ = writeln!(text, "! {problem}");
    }
    for file in &rendered.files {
        let _ = write!(text, "=== {}\n{}", file.path, file.text);
    }
    text
}

/// What each file declares: a document's kind and name, or a block's type and name.
fn declared(rendered: &Rendered) -> String {
    let mut text = String::new();
    for problem in &rendered.problems {
        let _ = writeln!(text, "! {problem}");
    }
    for file in &rendered.files {
        let _ = writeln!(text, "=== {}", file.path);
        let mut kind = "";
        for line in file.text.lines() {
            if let Some(found) = line.strip_prefix("kind: ") {
                kind = found;
            } else if let Some(name) = line.strip_prefix("  name: ").filter(|_| !kind.is_empty()) {
                let _ = writeln!(text, "{kind} {name}");
                kind = "";
            } else if ["resource ", "module ", "data ", "variable ", "output "]
                .iter()
                .any(|start| line.starts_with(start))
            {
                let _ = writeln!(text, "{}", line.trim_end_matches([' ', '{', '}']));
            }
        }
    }
    text
}

#[test]
fn every_example_is_rendered_by_everything_as_before() {
    for (example, environment) in EXAMPLES {
        let input = input(example, environment);
        for target in Target::ALL {
            let rendered = render::render(target, &input).unwrap_or_else(|problems| panic!("{target}: {problems}"));
            assert!(!rendered.files.is_empty(), "{target} of {example}");
            let text = match target {
                Target::Kubernetes | Target::Terraform => declared(&rendered),
                _ => whole(&rendered),
            };
            insta::assert_snapshot!(format!("{example}_{target}"), text);
        }
    }
}
