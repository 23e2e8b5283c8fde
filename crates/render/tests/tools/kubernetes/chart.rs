//! The Helm chart: what Helm makes of it is what the plain manifests are.

use std::{collections::BTreeMap, path::Path, process::Command};

use serde_json::{Value, json};

use crate::{bench::run, kept};

/// What is not the same, and why: Helm keeps the objects, it makes no namespace, and the migration's name has the release's
/// number and not the commit.
fn alike(mut documents: Vec<Value>) -> BTreeMap<String, Value> {
    fn keeper(value: &mut Value) {
        match value {
            Value::Object(map) => {
                if let Some(by) = map.get_mut("app.kubernetes.io/managed-by") {
                    assert!(*by == "Helm" || *by == "slipway", "{by}");
                    *by = Value::Null;
                }
                map.values_mut().for_each(keeper);
            }
            Value::Array(list) => list.iter_mut().for_each(keeper),
            _ => {}
        }
    }
    documents.retain(|document| document["kind"] != "Namespace");
    for document in &mut documents {
        keeper(document);
        if document["kind"] == "Job" {
            let name = document["metadata"]["name"].as_str().expect("a name");
            document["metadata"]["name"] = name.rsplit_once('-').expect("what is new with each release").0.into();
        }
    }
    documents.into_iter().map(|document| (super::name(&document), document)).collect()
}

/// The chart in a folder of its own.
fn written(rendered: &render::Rendered) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    for file in rendered.files.iter().filter(|file| file.path.starts_with("chart/")) {
        let path = folder.path().join(&file.path);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        std::fs::write(path, &file.text).expect("written");
    }
    folder
}

fn helm(folder: &Path, arguments: &[&str]) -> String {
    // no settings of the person who tests
    let homes = ["HELM_CACHE_HOME", "HELM_CONFIG_HOME", "HELM_DATA_HOME"].map(|name| (name, folder));
    run(Command::new(kept::kubernetes("helm")).args(arguments).current_dir(folder).envs(homes))
}

// proves S3.7-S3.12
#[test]
fn helm_makes_of_the_chart_what_the_plain_files_are() {
    for (stack, input) in super::every() {
        let rendered = super::render(&input);
        let folder = written(&rendered);
        helm(folder.path(), &["lint", "--strict", "--quiet", "chart"]);
        let plain = super::documents(&rendered);
        let namespace = plain[0]["metadata"]["name"].as_str().expect("the namespace comes first").to_owned();
        let plain = alike(plain);
        let template = ["template", "app", "chart", "--namespace", &namespace];
        let install = alike(super::read(&helm(folder.path(), &template)));
        assert_eq!(install, plain, "{stack}");
        let upgrade = helm(folder.path(), &[&template[..], &["--is-upgrade"]].concat());
        assert!(!upgrade.contains("<<<") && !upgrade.contains(">>>"), "{stack}");
        let mut upgrade = alike(super::read(&upgrade));
        for (_, step) in upgrade.iter_mut().filter(|(name, _)| name.contains("/migrate-")) {
            let annotations = step["metadata"].as_object_mut().and_then(|meta| meta.remove("annotations"));
            let wanted = json!({ "helm.sh/hook": "pre-upgrade", "helm.sh/hook-delete-policy": "before-hook-creation" });
            assert_eq!(annotations, Some(wanted), "{stack}");
        }
        assert_eq!(upgrade, plain, "{stack}");
    }
}

/// A commit may look like a number; a label and an image's tag are text all the same.
#[test]
fn a_commit_that_looks_like_a_number_stays_text() {
    for tag in ["1234567", "12e4567", "0123456"] {
        let mut input = crate::stacks::input("jobsprint", "production");
        input.options.tag = Some(tag.to_owned());
        let rendered = super::render(&input);
        let folder = written(&rendered);
        let made = super::read(&helm(folder.path(), &["template", "app", "chart"]));
        let find = |name: &str| made.iter().find(|one| super::name(one) == name).expect("it is there");
        let deployment = find("Deployment/api");
        assert_eq!(deployment["metadata"]["labels"]["app.kubernetes.io/version"], tag);
        let image = &deployment["spec"]["template"]["spec"]["containers"][0]["image"];
        assert_eq!(*image, format!("ghcr.io/your-account/jobsprint/api:{tag}"));
    }
}
