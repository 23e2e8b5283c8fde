//! What is rendered of every stack, as documents.

use std::{collections::BTreeSet, path::Path};

use render::{Input, Options, Rendered, Target};
use serde_json::Value;

/// Every environment of every example, and those of the tests' stacks that no example has, each by what it is called in
/// messages.
pub(super) fn every() -> Vec<(String, Input)> {
    let home = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files: Vec<_> = ["tests/stacks", "../../examples"]
        .iter()
        .flat_map(|folder| std::fs::read_dir(home.join(folder)).expect("a folder"))
        .map(|entry| entry.expect("an entry").path())
        .map(|path| if path.is_dir() { path.join("slipway.toml") } else { path })
        .filter(|path| path.is_file() && path.extension().is_some_and(|ending| ending == "toml"))
        .collect();
    files.sort();
    let (mut every, mut seen) = (Vec::new(), BTreeSet::new());
    for path in files {
        let text = std::fs::read_to_string(&path).expect("a stack");
        let resolve = |name: &_| stack::resolve("slipway.toml", &text, name).unwrap_or_else(|p| panic!("{p}"));
        let all: Vec<_> = stack::environments(&text).iter().map(resolve).collect();
        for resolved in all.iter().filter(|one| seen.insert(format!("{}-{}", one.stack.app, one.name))) {
            let options = Options { leave_out: true, tag: Some("3f9c2a1".to_owned()), ..Options::default() };
            let called = format!("{} in {}", path.strip_prefix(home).unwrap_or(&path).display(), resolved.name);
            every.push((called, Input { resolved: resolved.clone(), all: all.clone(), options }));
        }
    }
    assert!(every.len() > 15, "{} environments", every.len());
    every
}

/// Rendered, with what cannot be honoured left out.
pub(super) fn render(input: &Input) -> Rendered {
    render::render(Target::Kubernetes, input).unwrap_or_else(|problems| panic!("{problems}"))
}

/// The documents of plain manifests, in the order they are applied in.
pub(super) fn documents(rendered: &Rendered) -> Vec<Value> {
    let file = |name: &str| rendered.files.iter().find(|file| file.path == name).expect("it was rendered");
    let list = read(&file("kustomization.yaml").text).remove(0);
    let names = list["resources"].as_array().expect("a list").iter().map(|name| name.as_str().expect("a name"));
    names.flat_map(|name| read(&file(name).text)).collect()
}

/// The documents of a stream.
pub(super) fn read(text: &str) -> Vec<Value> {
    let documents = text.split("\n---\n").map(|document| serde_saphyr::from_str(document).expect("YAML"));
    documents.filter(|document: &Value| !document.is_null()).collect()
}

/// How a document is named in messages.
pub(super) fn name(document: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    format!("{}/{}", text(&document["kind"]), text(&document["metadata"]["name"]))
}

/// The pods of a document: of a workload, a job, or a job on a schedule.
pub(super) fn pod(document: &Value) -> Option<&Value> {
    let spec = &document["spec"];
    match document["kind"].as_str()? {
        "Deployment" | "StatefulSet" | "Job" => Some(&spec["template"]),
        "CronJob" => Some(&spec["jobTemplate"]["spec"]["template"]),
        _ => None,
    }
}
