//! The Helm chart: the same manifests, with what a person changes moved to `values.yaml`.

use std::cell::RefCell;

use serde_json::{Map, Value, json};
use stack::Problems;

use super::Scene;
use crate::{File, Input, yaml};

/// Whether a manifest is plain or a template of the chart.
pub(crate) enum Form<'i> {
    Plain(&'i Input),
    Chart {
        input: &'i Input,
        /// Values asked for so far, by their place.
        values: RefCell<Map<String, Value>>,
    },
}

/// Keys that become the lines of a template's condition.
const WHEN: &str = "<<<if";
const END: &str = "<<<end";

/// Stands around a template's expression until the YAML is text.
const OPEN: &str = "<<<";
const CLOSE: &str = ">>>";

fn expression(text: &str) -> String {
    format!("{OPEN}{text}{CLOSE}")
}

/// A name as a key of values: `resume-parser` is `resumeParser`.
pub(crate) fn key(name: &str) -> String {
    let mut words = name.split('-');
    let first = words.next().unwrap_or_default().to_owned();
    words.fold(first, |whole, word| {
        let (head, tail) = word.split_at(word.len().min(1));
        whole + &head.to_ascii_uppercase() + tail
    })
}

impl Form<'_> {
    fn input(&self) -> &Input {
        match self {
            Form::Plain(input) | Form::Chart { input, .. } => input,
        }
    }

    /// A value that a person may change.
    pub(crate) fn value(&self, at: &str, value: Value) -> Value {
        match self {
            Form::Plain(_) => value,
            Form::Chart { values, .. } => {
                let quote = if value.is_string() { " | quote" } else { "" };
                values.borrow_mut().insert(at.to_owned(), value);
                expression(&format!(".Values.{at}{quote}")).into()
            }
        }
    }

    /// Image of what is built under this name.
    pub(crate) fn image(&self, name: &str) -> String {
        match self {
            Form::Plain(input) => input.image(name),
            Form::Chart { input, .. } => {
                let (store, tag) =
                    (expression(".Values.image.store"), expression(".Values.image.tag | default .Chart.AppVersion"));
                format!("{store}/{}/{name}:{tag}", input.resolved.stack.app)
            }
        }
    }

    /// What is deployed.
    pub(crate) fn tag(&self) -> String {
        match self {
            Form::Plain(input) => label(input.tag()),
            Form::Chart { .. } => expression(".Values.image.tag | default .Chart.AppVersion | trunc 63 | quote"),
        }
    }

    /// Who keeps the objects.
    pub(crate) fn manager(&self) -> String {
        match self {
            Form::Plain(_) => "slipway".to_owned(),
            Form::Chart { .. } => expression(".Release.Service"),
        }
    }

    /// Where they are.
    pub(crate) fn namespace(&self) -> String {
        match self {
            Form::Plain(input) => super::namespace_name(input),
            Form::Chart { .. } => expression(".Release.Namespace"),
        }
    }

    /// Name of the GatewayClass, which belongs to the whole cluster.
    pub(crate) fn class(&self) -> String {
        super::namespace_name(self.input())
    }

    /// A name that is new with each release, of at most 63 characters.
    pub(crate) fn once(&self, name: &str) -> String {
        match self {
            Form::Plain(input) => {
                let tag = label(input.tag()).to_ascii_lowercase().replace(['.', '_'], "-");
                let whole: String = format!("{name}-{tag}").chars().take(63).collect();
                whole.trim_end_matches('-').to_owned()
            }
            Form::Chart { .. } => format!("{name}-{}", expression(".Release.Revision")),
        }
    }

    /// Metadata of what runs before an upgrade. At the first install there is nothing yet to run before: it runs beside
    /// the others, which are not ready until it is done.
    pub(crate) fn hooked(&self, mut meta: Value) -> Value {
        if matches!(self, Form::Chart { .. }) {
            meta[WHEN] = ".Release.IsUpgrade".into();
            meta["annotations"] = json!({
                "helm.sh/hook": "pre-upgrade",
                "helm.sh/hook-delete-policy": "before-hook-creation",
            });
            meta[END] = "".into();
        }
        meta
    }
}

/// A text as the value of a label: at most 63 characters of a few kinds.
pub(crate) fn label(text: &str) -> String {
    let plain: String =
        text.chars().map(|c| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '-' }).take(63).collect();
    plain.trim_matches(|c: char| !c.is_ascii_alphanumeric()).to_owned()
}

/// `Chart.yaml`, `values.yaml`, the templates. What is wrong with them is wrong with the plain files, which say it.
pub(crate) fn render(input: &Input) -> Vec<File> {
    let scene = Scene::new(input, Form::Chart { input, values: RefCell::default() });
    let mut files = Vec::new();
    super::sheets(&scene, &mut Problems::new(), &mut |(name, about, documents)| {
        let text = templated(&yaml::documents(&documents));
        files.push(File::new(format!("chart/templates/{name}.yaml"), &about, &text));
    });
    let stack = &input.resolved.stack;
    let version = stack.version.clone().filter(|version| is_semantic(version)).unwrap_or_else(|| "0.1.0".to_owned());
    let chart = json!({
        "apiVersion": "v2",
        "name": stack.app.as_str(),
        "description": format!("{} in the environment {}", stack.app, input.resolved.name),
        "type": "application",
        "version": version.trim_start_matches('v'),
        "appVersion": input.tag(),
        "kubeVersion": ">=1.30.0-0",
    });
    let about = format!(
        "helm upgrade --install {0} . --namespace {0}-{1} --create-namespace --wait",
        stack.app, input.resolved.name
    );
    files.push(File::new("chart/Chart.yaml", &about, &yaml::document(&chart)));
    let Form::Chart { values, .. } = scene.form else { return files };
    let mut whole = Map::new();
    whole.insert(
        "image".to_owned(),
        json!({ "store": input.options.images, "# by default the chart's appVersion": null, "tag": input.tag() }),
    );
    for (at, value) in values.into_inner() {
        put(&mut whole, &at, value);
    }
    let about = "What differs between environments. Secrets are never here: see secrets.example.env beside the chart.";
    files.push(File::new("chart/values.yaml", about, &yaml::document(&whole.into())));
    files
}

fn is_semantic(version: &str) -> bool {
    let numbers: Vec<&str> = version.trim_start_matches('v').split('.').collect();
    numbers.len() == 3 && numbers.iter().all(|part| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit()))
}

fn put(map: &mut Map<String, Value>, at: &str, value: Value) {
    match at.split_once('.') {
        None => {
            map.insert(at.to_owned(), value);
        }
        Some((first, rest)) => {
            let inner = map.entry(first.to_owned()).or_insert_with(|| json!({}));
            if let Value::Object(inner) = inner {
                put(inner, rest, value);
            }
        }
    }
}

/// Puts the expressions in: a scalar that is one expression loses its quotes, a condition becomes a line of its own.
fn templated(text: &str) -> String {
    let mut whole = String::with_capacity(text.len() + text.len() / 8);
    for line in text.lines() {
        if !line.contains(OPEN) && !line.contains("{{") {
            whole.push_str(line);
            whole.push('\n');
            continue;
        }
        if let Some((_, condition)) = line.split_once("<<<if: ") {
            whole.push_str("{{- if ");
            whole.push_str(condition);
            whole.push_str(" }}\n");
            continue;
        }
        if line.contains("<<<end: ") {
            whole.push_str("{{- end }}\n");
            continue;
        }
        // braces of the application's own are no template
        let mut line = line.replace("{{", "{{ `{{` }}");
        for quote in ["\"", "'"] {
            if line.contains(quote) {
                line = line.replace(&[quote, OPEN].concat(), OPEN).replace(&[CLOSE, quote].concat(), CLOSE);
            }
        }
        whole.push_str(&line.replace(OPEN, "{{ ").replace(CLOSE, " }}"));
        whole.push('\n');
    }
    whole
}
