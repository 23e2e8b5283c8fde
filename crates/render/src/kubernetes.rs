//! Plain manifests with a kustomization, and a Helm chart of the same.
//!
//! Operators that must be there: CloudNativePG for PostgreSQL, the RabbitMQ cluster operator, a Gateway controller
//! (Envoy Gateway) with cert-manager, the Prometheus operator for ServiceMonitors, the Redis operator of the OT-CONTAINER-KIT
//! for caches with shards.

mod addresses;
mod cache;
mod chart;
mod honours;
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
use stack::{Migrations, Problems, ResourceName, ResourceRef, Source, Stack};

use crate::{File, Input, binding, dockerfile, program, yaml};
use chart::Form;
pub(crate) use honours::check;

/// What of a manifest differs between plain files and a chart is asked of [`Form`].
pub(crate) struct Scene<'i> {
    pub(crate) input: &'i Input,
    pub(crate) form: Form<'i>,
    /// Who needs what: asked for every resource, found out once.
    users: BTreeMap<&'i ResourceRef, Vec<&'i ResourceName>>,
    /// A short name of the contract's values; `None` when it has none.
    contract: Option<String>,
}

impl<'i> Scene<'i> {
    pub(crate) fn new(input: &'i Input, form: Form<'i>) -> Self {
        let mut users: BTreeMap<&ResourceRef, Vec<&ResourceName>> = BTreeMap::new();
        for program in program::all(&input.resolved.stack) {
            for need in program.needs() {
                users.entry(need).or_default().push(program.name);
            }
        }
        let values = contract(&input.resolved.stack);
        let contract = (!values.is_empty()).then(|| File::fingerprint(&Value::from(values).to_string()));
        Self { input, form, users, contract }
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
    // the chart is all of it once more in other words: written at the same time
    std::thread::scope(|scope| {
        let chart = scope.spawn(|| chart::render(input));
        let mut files = plain(input, problems);
        files.extend(chart.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        files
    })
}

fn plain(input: &Input, problems: &mut Problems) -> Vec<File> {
    let scene = Scene::new(input, Form::Plain(input));
    let mut files = Vec::new();
    let mut names = Vec::new();
    sheets(&scene, problems, &mut |(name, about, documents)| {
        let path = format!("{name}.yaml");
        files.push(File::new(path.as_str(), &about, &yaml::documents(&documents)));
        names.push(path);
    });
    files.push(kustomization(input, &names));
    files.push(secrets(input));
    files.extend(images(input, problems));
    files
}

/// Makes one sheet after the other, in the order they are applied in; `put` takes each before the next is made.
pub(crate) fn sheets(scene: &Scene<'_>, problems: &mut Problems, put: &mut impl FnMut(Sheet)) {
    let stack = &scene.input.resolved.stack;
    if matches!(scene.form, Form::Plain(_)) {
        put(("namespace".to_owned(), "Everything lives in this namespace.".to_owned(), vec![namespace(scene)]));
    }
    put(("config".to_owned(), "Values of the contract that are no secrets.".to_owned(), vec![config(scene)]));
    put((
        "network".to_owned(),
        "Nothing may talk to anything unless a policy beside it says so.".to_owned(),
        policy::default(scene),
    ));
    store::databases(scene).into_iter().for_each(&mut *put);
    cache::sheets(scene).into_iter().for_each(&mut *put);
    store::queues(scene).into_iter().for_each(&mut *put);
    job::migrations(scene).into_iter().for_each(&mut *put);
    for (name, service) in &stack.services {
        put(service::sheet(scene, name, service));
    }
    for (name, site) in &stack.sites {
        put(site::sheet(scene, name, site));
    }
    job::crons(scene).into_iter().for_each(&mut *put);
    route::sheets(scene, problems).into_iter().for_each(&mut *put);
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

/// Values of the contract that are no secrets.
fn contract(stack: &Stack) -> Map<String, Value> {
    let values = stack.variables.iter();
    values.filter_map(|(name, variable)| Some((name.clone(), variable.default.clone()?.into()))).collect()
}

fn config(scene: &Scene<'_>) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": labels::meta(scene, "config", "config", "app-config"),
        "data": contract(&scene.input.resolved.stack),
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
        "resources": resources,
        "# tags are commits, never `latest`": null,
        "images": (!images.is_empty()).then_some(images),
    });
    let about = "Schema first, then everything:\n\
                 kubectl apply --filename namespace.yaml, then secrets.example.env, config.yaml, network.yaml, database-*.yaml\n\
                 kubectl apply --filename migrate-*.yaml && kubectl wait --for=condition=complete --timeout=1h job --selector app.kubernetes.io/component=migrate\n\
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
