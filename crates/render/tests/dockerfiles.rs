//! Every Dockerfile that is rendered for an example, for compose and for a cluster, is read by hadolint.

#[path = "tools/run.rs"]
mod bench;
#[path = "tools/kept.rs"]
#[expect(dead_code, reason = "the tools of other tests; this one needs Python's alone")]
mod kept;

use std::path::Path;

use render::{Input, Options, Target};

#[test]
fn hadolint_finds_nothing_in_the_dockerfiles_of_the_examples() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut files = Vec::new();
    for example in ["companion", "jamdung", "jobgraph", "jobsprint", "roastify"] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../../examples/{example}/slipway.toml"));
        let text = std::fs::read_to_string(path).expect("an example");
        for name in stack::environments(&text) {
            let resolved = stack::resolve("slipway.toml", &text, &name).unwrap_or_else(|problems| panic!("{problems}"));
            let options = Options { leave_out: true, ..Options::default() };
            let input = Input { all: vec![resolved.clone()], resolved, options };
            for target in [Target::Compose, Target::Kubernetes] {
                let rendered = render::render(target, &input).unwrap_or_else(|problems| panic!("{problems}"));
                for file in rendered.files.iter().filter(|file| file.path.ends_with(".Dockerfile")) {
                    let own = folder.path().join(format!("{example}-{name}-{target}-{}", file.path.replace('/', "-")));
                    std::fs::write(&own, &file.text).expect("written");
                    files.push(own);
                }
            }
        }
    }
    assert!(files.len() > 20, "{} Dockerfiles", files.len());
    bench::run(kept::Python::get().command("hadolint").args(["--failure-threshold", "warning"]).args(&files));
}
