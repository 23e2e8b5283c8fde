//! Plain manifests with a kustomization, and a Helm chart of the same.
//!
//! Operators that must be there: CloudNativePG for PostgreSQL, the RabbitMQ cluster operator, a Gateway controller
//! (Envoy Gateway) with cert-manager, the Prometheus operator for ServiceMonitors.

mod addresses;
mod chart;
mod job;
mod labels;
mod pod;
mod policy;
mod route;
mod service;
mod site;
mod store;

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use stack::{Migrations, Problems, ResourceName, ResourceRef, Source};

use crate::{File, Input, binding, dockerfile, program, yaml};
use chart::Form;

/// What of a manifest differs between plain files and a chart is asked of [`Form`].
pub(crate) struct Scene<'i> {
    pub(crate) input: &'i Input,
    pub(crate) form: Form<'i>,
    /// Who needs what: asked for every resource, found out once.
    users: BTreeMap<&'i ResourceRef, Vec<&'i ResourceName>>,
}

impl<'i> Scene<'i> {
    pub(crate) fn new(input: &'i Input, form: Form<'i>) -> Self {
        let mut users: BTreeMap<&ResourceRef, Vec<&ResourceName>> = BTreeMap::new();
        for program in program::all(&input.resolved.stack) {
            for need in program.needs() {
                users.entry(need).or_default().push(program.name);
            }
        }
        Self { input, form, users }
    }

    /// The programs that need a resource, in the order of the stack.
    pub(crate) fn users(&self, need: &ResourceRef) -> &[&'i ResourceName] {
        self.users.get(need).map_or(&[], Vec::as_slice)
    }
}

/// One file of manifests: its name without an ending, what it is, the documents.
pub(crate) type Sheet = (String, String, Vec<Value>);

/// The manifests, `kustomization.yaml`, `secrets.example.env`, Dockerfiles, and the chart below `chart/`.
pub(crate) fn render(input: &Input, problems: &mut Problems) -> Vec<File> {
    let plain = Scene::new(input, Form::Plain(input));
    let sheets = sheets(&plain, problems);
    let mut files: Vec<File> = sheets
        .iter()
        .map(|(name, about, documents)| File::new(format!("{name}.yaml"), about, &yaml::documents(documents)))
        .collect();
    let names: Vec<String> = sheets.iter().map(|(name, ..)| format!("{name}.yaml")).collect();
    files.push(kustomization(input, &names));
    files.push(secrets(input));
    files.extend(images(input, problems));
    files.extend(chart::render(input, &mut Problems::new()));
    files
}

pub(crate) fn sheets(scene: &Scene<'_>, problems: &mut Problems) -> Vec<Sheet> {
    let stack = &scene.input.resolved.stack;
    let mut sheets = Vec::new();
    if matches!(scene.form, Form::Plain(_)) {
        sheets.push(("namespace".to_owned(), "Everything lives in this namespace.".to_owned(), vec![namespace(scene)]));
    }
    sheets.push(("config".to_owned(), "Values of the contract that are no secrets.".to_owned(), vec![config(scene)]));
    sheets.push((
        "network".to_owned(),
        "Nothing may talk to anything unless a policy beside it says so.".to_owned(),
        policy::default(scene),
    ));
    sheets.extend(store::databases(scene));
    sheets.extend(store::caches(scene));
    sheets.extend(store::queues(scene));
    sheets.extend(job::migrations(scene));
    for (name, service) in &stack.services {
        sheets.push(service::sheet(scene, name, service));
    }
    for (name, site) in &stack.sites {
        sheets.push(site::sheet(scene, name, site));
    }
    sheets.extend(job::crons(scene));
    sheets.extend(route::sheets(scene, problems));
    sheets
}

/// Name of a database's cluster object.
pub(crate) fn cluster_name(name: &str) -> String {
    addresses::cluster(name)
}

/// The namespace that files without Helm use.
pub(crate) fn namespace_name(input: &Input) -> String {
    format!("{}-{}", input.resolved.stack.app, input.resolved.name)
}

fn namespace(scene: &Scene<'_>) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {
            "name": namespace_name(scene.input),
            "labels": {
                "app.kubernetes.io/part-of": scene.input.resolved.stack.app.as_str(),
                "# pods that want more than the restricted standard are refused": null,
                "pod-security.kubernetes.io/enforce": "restricted",
                "pod-security.kubernetes.io/warn": "restricted",
            },
        },
    })
}

fn config(scene: &Scene<'_>) -> Value {
    let stack = &scene.input.resolved.stack;
    let data: Map<String, Value> = stack
        .variables
        .iter()
        .filter_map(|(name, variable)| Some((name.clone(), variable.default.clone()?.into())))
        .collect();
    json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": labels::meta(scene, "config", "config", "app-config"),
        "data": data,
    })
}

/// Names of variables that the Secret `app-secrets` and those of caches must hold.
fn outside(input: &Input) -> Vec<String> {
    let stack = &input.resolved.stack;
    let mut names = Vec::new();
    for program in program::all(stack) {
        let env = binding::of(stack, &program, &addresses::Cluster { stack });
        names.extend(binding::outside(env.iter().map(|(_, value)| value)));
    }
    names.sort();
    names.dedup();
    names
}

fn secrets(input: &Input) -> File {
    use std::fmt::Write as _;

    let namespace = namespace_name(input);
    let mut body = String::new();
    for name in outside(input).iter().filter(|name| !name.contains('/')) {
        let variable = input.resolved.stack.variables.get(name);
        let what = variable.map(|variable| variable.form.expected()).unwrap_or_default();
        // writing to a String cannot fail
        let _ = writeln!(body, "# {what}\n{name}=");
    }
    let mut about = format!(
        "Values of the Secret app-secrets, which no rendered file holds. Fill in a copy outside version control, then:\n\
         kubectl --namespace {namespace} create secret generic app-secrets --from-env-file=COPY"
    );
    for name in input.resolved.stack.caches.iter().filter(|(_, cache)| cache.url.is_none()).map(|(name, _)| name) {
        let _ = write!(
            about,
            "\nThe password of {name}:\n\
             kubectl --namespace {namespace} create secret generic {name}-auth --from-literal=password=\"$(openssl rand -hex 24)\""
        );
    }
    File::new("secrets.example.env", &about, &body).ended()
}

fn kustomization(input: &Input, resources: &[String]) -> File {
    let stack = &input.resolved.stack;
    let mut built: Vec<&str> = program::all(stack)
        .iter()
        .map(program::Program::source)
        .filter(|(_, source)| !matches!(source, Source::Image(_)))
        .map(|(name, _)| name.as_str())
        .chain(stack.sites.keys().map(stack::ResourceName::as_str))
        .collect();
    if uses_sql_files(input) {
        built.push("migrate");
    }
    built.sort_unstable();
    built.dedup();
    let images: Vec<Value> = built
        .iter()
        .map(|name| json!({ "name": format!("{}/{}/{name}", input.options.images, stack.app), "newTag": input.tag() }))
        .collect();
    let whole = json!({
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "namespace": namespace_name(input),
        "resources": resources,
        "# tags are commits, never `latest`": null,
        "images": (!images.is_empty()).then_some(images),
    });
    let about = "Schema first, then everything:\n\
                 kubectl apply --filename namespace.yaml, then secrets.example.env, config.yaml, network.yaml, database-*.yaml\n\
                 kubectl apply --filename migrate-*.yaml && kubectl wait --for=condition=complete job --selector app.kubernetes.io/component=migrate\n\
                 kubectl apply --kustomize . && kubectl rollout status deployment --selector app.kubernetes.io/part-of\n\
                 or let `slipway deploy` do the same with a way back.";
    File::new("kustomization.yaml", about, &yaml::document(&whole))
}

fn uses_sql_files(input: &Input) -> bool {
    let databases = &input.resolved.stack.databases;
    databases.values().any(|database| matches!(database.migrations, Some(Migrations::Folder(_))))
}

fn images(input: &Input, problems: &mut Problems) -> Vec<File> {
    let stack = &input.resolved.stack;
    let folder = input.folder(crate::Target::Kubernetes);
    let mut files = Vec::new();
    for program in program::all(stack) {
        if let (name, Source::Folder(source)) = program.source()
            && name == program.name
        {
            let port = program.host.and_then(|(_, service)| service.port);
            files.push(dockerfile::program(name.as_str(), source, program.run().unwrap_or_default(), port));
        }
    }
    if uses_sql_files(input) {
        files.extend(dockerfile::migrate(&folder));
    }
    for (name, site) in &stack.sites {
        files.extend(site::image(input, name, site, &folder, problems));
    }
    files
}
