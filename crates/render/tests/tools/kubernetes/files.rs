//! Plain manifests: the schemas of the API, and kustomize.

use std::{path::PathBuf, process::Command};

use crate::{
    bench::{Bench, run},
    kept::{self, Python},
};

/// The version whose schemas are read: the oldest that is still kept.
const VERSION: &str = "1.33";

// proves S2.8, S3.7-S3.12
#[test]
fn every_document_is_one_of_the_api() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut files: Vec<PathBuf> = Vec::new();
    for (stack, input) in super::every() {
        let documents = super::documents(&super::render(&input));
        for document in &documents {
            assert_eq!(super::shape::wrong(document), Vec::<String>::new(), "{stack}: {}", super::name(document));
        }
        let ours: Vec<String> = documents
            .iter()
            .filter(|document| !super::shape::is_of_operator(document))
            .map(ToString::to_string)
            .collect();
        files.push(folder.path().join(format!("{}.yaml", stack.replace('/', "-"))));
        std::fs::write(files.last().expect("one"), ours.join("\n---\n")).expect("written");
    }
    // a kind that the API does not have is only warned of
    let mut validate = Python::get().command("kubernetes-validate");
    let output = validate.args(["--strict", "--quiet", "-k", VERSION]).args(&files).output().expect("it runs");
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    assert!(output.status.success() && said.trim().is_empty(), "{said}");
}

#[test]
fn kustomize_builds_what_is_rendered() {
    for (stack, environment) in [("jobsprint", "production"), ("companion", "datacentre"), ("jobgraph", "production")] {
        let bench = Bench::render(stack, environment, render::Target::Kubernetes);
        let built = run(Command::new(kept::kubernetes("kubectl")).arg("kustomize").arg(bench.folder()));
        let sorted = |mut documents: Vec<serde_json::Value>| {
            documents.sort_by_cached_key(super::name);
            documents
        };
        let plain = super::documents(&super::render(&crate::stacks::input(stack, environment)));
        // labels, names and images are right before: there is nothing for it to change
        assert_eq!(sorted(super::read(&built)), sorted(plain), "{stack}");
    }
}
