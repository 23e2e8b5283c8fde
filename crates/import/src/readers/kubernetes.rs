//! Kubernetes manifests: every document of every file.

use std::collections::BTreeMap;

use super::{data, data::Role};
use crate::{
    cursor::{Cursor, Marks, entries},
    detect::File,
    draft::{Draft, label},
    report::{Entry, Fate},
    text,
    trap::Trap,
    tree,
};

/// What is said of a key that no stack has.
const UNKNOWN: &str = "`slipway render kubernetes` writes what the cluster needs; the stack has no key for this";

/// Reads a file of manifests.
pub(crate) fn read(file: &File, draft: &mut Draft) -> Result<Vec<Entry>, String> {
    let trees = tree::yaml(&file.text)?;
    let mut documents = Vec::new();
    for tree in &trees {
        // a list holds documents of its own
        match tree.find("kind").and_then(tree::Node::scalar).as_deref() {
            Some("List") => match tree.find("items").map(|items| &items.value) {
                Some(tree::Value::List(items)) => documents.extend(items.iter()),
                _ => documents.push(tree),
            },
            _ => documents.push(tree),
        }
    }
    let marks = Marks::default();
    let cursors: Vec<Cursor<'_>> = documents
        .iter()
        .map(|tree| {
            let kind = tree.find("kind").and_then(tree::Node::scalar).unwrap_or_else(|| "document".to_owned());
            let name = tree.find("metadata").and_then(|metadata| metadata.find("name")).and_then(tree::Node::scalar);
            Cursor::document(tree, &marks, format!("{kind}/{}", name.unwrap_or_else(|| "unnamed".to_owned())))
        })
        .collect();
    let mut known = Known::default();
    // what others refer to comes first
    for order in 0..4 {
        for at in &cursors {
            let kind = at.find("kind").and_then(|kind| kind.text()).unwrap_or_default();
            if rank(&kind) == order {
                document(&kind, at, &mut known, draft);
            }
        }
    }
    Ok(cursors.iter().flat_map(|at| entries(&file.name, at, UNKNOWN)).collect())
}

/// What one document says that another needs.
#[derive(Default)]
struct Known {
    configs: BTreeMap<String, Vec<(String, String)>>,
    /// Ports by which a service is reached, by its name.
    targets: BTreeMap<String, String>,
}

fn rank(kind: &str) -> usize {
    match kind {
        "ConfigMap" | "Secret" | "Namespace" | "Service" => 0,
        "StatefulSet" | "Cluster" => 1,
        "Deployment" | "DaemonSet" | "ReplicaSet" | "Pod" | "CronJob" | "Job" => 2,
        _ => 3,
    }
}

fn name_of(at: &Cursor<'_>) -> String {
    at.find_below(&["metadata", "name"]).and_then(|name| name.text()).unwrap_or_default()
}

fn document(kind: &str, at: &Cursor<'_>, known: &mut Known, draft: &mut Draft) {
    at.refused(UNKNOWN);
    for key in ["apiVersion", "kind"] {
        if let Some(at) = at.find(key) {
            at.changed("`slipway render kubernetes` writes it");
        }
    }
    if let Some(metadata) = at.find("metadata") {
        metadata.changed("names and labels are made by `slipway render kubernetes`");
    }
    let name = label(&name_of(at), "service");
    match kind {
        "Namespace" => {
            draft.app.get_or_insert(name_of(at));
            at.changed("the application's name");
        }
        "ConfigMap" => {
            let values: Vec<(String, String)> = at
                .find("data")
                .map(|data| data.entries())
                .unwrap_or_default()
                .into_iter()
                .filter_map(|(key, at)| Some((key.to_owned(), at.text()?)))
                .collect();
            if let Some(data) = at.find("data") {
                for (key, at) in data.entries() {
                    if at.text().is_some_and(|text| text.contains('\n')) {
                        at.refused("put the file into the folder of the service that reads it");
                    } else {
                        at.kept_as(&format!("`env` of whoever read it: {key}"));
                    }
                }
            }
            known.configs.insert(name_of(at), values);
        }
        "Secret" => {
            let mut names = Vec::new();
            for group in ["data", "stringData"] {
                for (key, at) in at.find(group).map(|group| group.entries()).unwrap_or_default() {
                    at.changed(
                        "a secret of the contract; its value is given by the environment, never by the stack file",
                    );
                    names.push((key.to_owned(), format!("${{{key}}}")));
                }
            }
            known.configs.insert(name_of(at), names);
        }
        "Deployment" | "DaemonSet" | "ReplicaSet" | "StatefulSet" | "Pod" => workload(kind, &name, at, known, draft),
        "CronJob" => cron_job(&name, at, known, draft),
        "Job" => {
            let text = name_of(at);
            if text.contains("failover") {
                at.trapped(
                    Trap::FAILOVER_JOB,
                    Fate::Refused,
                    "`failover` of the database: an operator or Patroni decides, with a lease",
                );
            } else if text.contains("migrat") {
                at.changed("`migrate` or `migrations` of the database: before the switch, once");
            } else {
                at.refused("a run without a schedule; `slipway run` runs a command once");
            }
        }
        "Service" => {
            known.targets.insert(
                name_of(at),
                at.find_below(&["spec", "selector", "app"]).and_then(|app| app.text()).unwrap_or_else(|| name_of(at)),
            );
            at.changed("services find each other by `needs`; `slipway render kubernetes` writes it");
        }
        "Ingress" => ingress(at, known, draft),
        "HTTPRoute" => http_route(at, known, draft),
        "Gateway"
        | "GatewayClass"
        | "Certificate"
        | "ClusterIssuer"
        | "Issuer"
        | "PodDisruptionBudget"
        | "PersistentVolumeClaim"
        | "StorageClass"
        | "NetworkPolicy"
        | "ServiceMonitor"
        | "PodMonitor"
        | "ServiceAccount" => at.changed("`slipway render kubernetes` writes it"),
        "HorizontalPodAutoscaler" => autoscaler(at, draft),
        "Kustomization" => at.changed("overlays are [environment.NAME] tables"),
        _ => {}
    }
}

fn workload(kind: &str, name: &str, at: &Cursor<'_>, known: &Known, draft: &mut Draft) {
    let Some(pod) = (if kind == "Pod" { at.find("spec") } else { at.find_below(&["spec", "template", "spec"]) }) else {
        return;
    };
    let containers = pod.find("containers").map(|containers| containers.items()).unwrap_or_default();
    let replicas = at.find_below(&["spec", "replicas"]);
    let image =
        containers.first().and_then(|first| first.find("image")).and_then(|image| image.text()).unwrap_or_default();
    if !matches!(data::role(&image), Role::Program | Role::Proxy) {
        data::declare(&image, name, draft);
        at.changed("Slipway and the operators it renders run data services: user, password, address and disk are their own business");
        let many = replicas
            .as_ref()
            .and_then(super::super::cursor::Cursor::text)
            .and_then(|count| count.parse::<i64>().ok())
            .filter(|count| *count > 1);
        if let (Some(count), Some(replicas)) = (many, &replicas) {
            if data::role(&image) == Role::Database {
                draft.section("database", name).set("replicas", count - 1);
            }
            replicas.trapped(
                Trap::THREE_PRIMARIES,
                Fate::Changed,
                &format!("`replicas = {}` that follow one primary", count - 1),
            );
        }
        if let Some(size) = at
            .find_below(&["spec", "volumeClaimTemplates"])
            .and_then(|claims| claims.items().into_iter().next())
            .and_then(|claim| claim.find_below(&["spec", "resources", "requests", "storage"]))
            && data::role(&image) == Role::Database
            && let Some(storage) = size.text()
        {
            draft.section("database", name).set("storage", storage);
            size.kept_as("`storage`");
        }
        return;
    }
    for key in [
        "selector",
        "strategy",
        "updateStrategy",
        "serviceName",
        "revisionHistoryLimit",
        "minReadySeconds",
        "progressDeadlineSeconds",
        "podManagementPolicy",
    ] {
        if let Some(at) = at.find_below(&["spec", key]) {
            at.changed("`slipway render kubernetes` writes it");
        }
    }
    if let Some(metadata) = at.find_below(&["spec", "template", "metadata"]) {
        metadata.changed("`slipway render kubernetes` writes it");
    }
    if let Some(replicas) = replicas
        && let Some(count) = replicas.text().and_then(|count| count.parse::<i64>().ok())
    {
        draft.section("service", name).put("size", "replicas", count);
        replicas.kept_as("`size.replicas`");
    }
    for (key, at) in pod.entries() {
        match key {
            "initContainers" => at.refused("what must happen before is `migrate` of a database, or part of `build`"),
            "terminationGracePeriodSeconds" => {
                if let Some(period) = at.text().and_then(|text| text::duration(&text)) {
                    draft.section("service", name).set("stop", period);
                    at.kept_as("`stop`");
                }
            }
            "volumes" => at.changed("the folder that SLIPWAY_DATA names outlives releases"),
            "imagePullSecrets" => at.changed("the environment's own sign-in at the image store"),
            "securityContext"
            | "automountServiceAccountToken"
            | "restartPolicy"
            | "topologySpreadConstraints"
            | "affinity"
            | "dnsPolicy"
            | "serviceAccountName" => {
                at.changed("`slipway render kubernetes` writes it, as restricted as it can be");
            }
            _ => {}
        }
    }
    for (index, at) in containers.iter().enumerate() {
        if index == 0 {
            container(("service", name), at, known, draft);
        } else {
            let other = label(&at.find("name").and_then(|name| name.text()).unwrap_or_default(), "sidecar");
            at.changed("a service of its own");
            container(("service", &format!("{name}-{other}").chars().take(48).collect::<String>()), at, known, draft);
        }
    }
}

fn container(owner: (&str, &str), at: &Cursor<'_>, known: &Known, draft: &mut Draft) {
    let (kind, name) = owner;
    let service = kind == "service";
    draft.section(kind, name);
    for (key, at) in at.entries() {
        match key {
            "name" | "imagePullPolicy" | "securityContext" | "terminationMessagePath" | "terminationMessagePolicy" => {
                at.changed("`slipway render kubernetes` writes it");
            }
            "image" => {
                let image = at.text().unwrap_or_default();
                if draft.section(kind, name).get("dockerfile").is_some() {
                    at.changed("it is built here, and named by digest");
                    continue;
                }
                let written = text::template(&image, draft);
                draft.section(kind, name).set("image", written);
                if text::is_latest(&image) && !image.contains('$') {
                    at.trapped(Trap::LATE_MIGRATION, Fate::Kept, "pin a version: what `latest` is changes under you");
                } else {
                    at.kept();
                }
            }
            "ports" if service => {
                for (index, port) in at.items().iter().enumerate() {
                    port.changed("`port`");
                    let number =
                        port.find("containerPort").and_then(|at| at.text()).and_then(|text| text.parse::<i64>().ok());
                    match (index, number) {
                        (0, Some(number)) => drop(draft.section(kind, name).set("port", number)),
                        _ => port.refused("a service has one port; make the other a service of its own"),
                    }
                }
            }
            "resources" => {
                for (group, at) in at.entries() {
                    for (dimension, at) in at.entries() {
                        resource(owner, group, dimension, &at, draft);
                    }
                }
            }
            "livenessProbe" if service => probe(name, &at, "health", draft),
            "readinessProbe" if service => probe(name, &at, "ready", draft),
            "startupProbe" if service => {
                let number =
                    |key: &str| at.find(key).and_then(|at| at.text()).and_then(|text| text.parse::<i64>().ok());
                let seconds =
                    number("failureThreshold").unwrap_or(3).saturating_mul(number("periodSeconds").unwrap_or(10));
                draft.section(kind, name).set("start", format!("{}s", seconds.clamp(1, 3600)));
                at.changed("`start`: how long it may take until it is ready");
            }
            "env" => variables(owner, &at, known, draft),
            "envFrom" => {
                for source in at.items() {
                    let name_of = |key: &str| source.find(key).and_then(|at| at.find("name")).and_then(|at| at.text());
                    let (reference, secret) = match (name_of("configMapRef"), name_of("secretRef")) {
                        (Some(reference), _) => (reference, false),
                        (None, Some(reference)) => (reference, true),
                        _ => continue,
                    };
                    let values = known.configs.get(&reference).cloned().unwrap_or_default();
                    for (variable, value) in values {
                        put(owner, &variable, &value, secret, draft);
                    }
                    source.kept_as("`env`");
                }
            }
            "volumeMounts" => at.changed("the folder that SLIPWAY_DATA names outlives releases"),
            "lifecycle" => {
                at.changed("an instance that leaves gets no new visitors and finishes those it has, by itself");
            }
            _ => {}
        }
    }
    let words: Vec<String> = ["command", "args"]
        .iter()
        .filter_map(|key| at.find(key))
        .flat_map(|list| list.items())
        .filter_map(|item| item.text())
        .collect();
    for key in ["command", "args"] {
        if let Some(at) = at.find(key) {
            at.kept_as("`run`");
        }
    }
    if !words.is_empty() {
        let run = text::template(&text::command(&words).replace('\n', " "), draft);
        draft.section(kind, name).set("run", run);
    }
    if service
        && at.find("livenessProbe").is_none()
        && at.find("readinessProbe").is_none()
        && at.find("ports").is_some()
    {
        at.trapped(
            Trap::LATE_MIGRATION,
            Fate::Changed,
            "it has no probes: give it a path that answers 2xx and write it as `health`",
        );
    }
}

fn put(owner: (&str, &str), variable: &str, value: &str, secret: bool, draft: &mut Draft) {
    let good = !variable.is_empty()
        && variable.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        && !value.contains('\n');
    if !good {
        return;
    }
    let reference = match variable {
        "DATABASE_URL" => Some("database"),
        "REDIS_URL" => Some("cache"),
        "AMQP_URL" | "RABBITMQ_URL" => Some("queue"),
        _ => None,
    };
    if let Some(kind) = reference
        && let Some(first) = draft.names(kind).first()
    {
        let reference = format!("{kind}.{first}");
        draft.section(owner.0, owner.1).add("needs", &reference);
        return;
    }
    if secret || text::is_secret_name(variable) || text::is_secret(value) {
        draft.variable(variable, None, true);
        draft.section(owner.0, owner.1).put("env", variable, format!("${{{variable}}}"));
    } else {
        let value = text::template(value, draft);
        draft.section(owner.0, owner.1).put("env", variable, value);
    }
}

fn variables(owner: (&str, &str), at: &Cursor<'_>, known: &Known, draft: &mut Draft) {
    for at in at.items() {
        let name = at.find("name").and_then(|name| name.text()).unwrap_or_default();
        if let Some(value) = at.find("value").and_then(|value| value.text()) {
            put(owner, &name, &value, false, draft);
            at.kept_as("`env`, or `needs`");
            continue;
        }
        let from = at.find("valueFrom");
        let secret = from.as_ref().and_then(|from| from.find("secretKeyRef"));
        let config = from.as_ref().and_then(|from| from.find("configMapKeyRef"));
        if secret.is_some() {
            put(owner, &name, "", true, draft);
            at.changed("a secret of the contract, or an address given by `needs`");
        } else if let Some(config) = config {
            let key = |key: &str| config.find(key).and_then(|at| at.text()).unwrap_or_default();
            let value = known
                .configs
                .get(&key("name"))
                .and_then(|values| values.iter().find(|(known, _)| *known == key("key")));
            if let Some((_, value)) = value {
                put(owner, &name, value, false, draft);
            } else {
                draft.variable(&name, None, false);
                draft.section(owner.0, owner.1).put("env", &name, format!("${{{name}}}"));
            }
            at.kept_as("`env`");
        } else {
            at.refused("what the cluster knows of a pod; SLIPWAY_INSTANCE and its like tell who it is");
        }
    }
}

fn resource(owner: (&str, &str), group: &str, dimension: &str, at: &Cursor<'_>, draft: &mut Draft) {
    let text = at.text().unwrap_or_default();
    let value = match dimension {
        "cpu" => text::cpu(&text),
        "memory" => text::size(&text),
        _ => return at.refused("only CPU and memory are capped, by `size`"),
    };
    let Some(value) = value else { return at.refused("no amount; write it as `size`") };
    draft.section(owner.0, owner.1).range(dimension, &value, group == "requests");
    at.kept_as(&format!("`size.{dimension}`"));
}

fn probe(name: &str, at: &Cursor<'_>, key: &str, draft: &mut Draft) {
    let Some(path) = at.find_below(&["httpGet", "path"]).and_then(|path| path.text()) else {
        return at.refused("a probe that is no HTTP request; give it a path that answers 2xx and write it as `health`");
    };
    let section = draft.section("service", name);
    if key == "ready" {
        section.set("ready", path.clone());
        if section.get("health").is_none() {
            section.put("health", "path", path);
        }
        return at.changed("`ready`; a new instance is asked several times a second");
    }
    section.put("health", "path", path);
    for (from, to) in [
        ("periodSeconds", "every"),
        ("timeoutSeconds", "timeout"),
        ("failureThreshold", "down"),
        ("successThreshold", "up"),
    ] {
        let Some(value) = at.find(from) else { continue };
        let Some(number) = value.text().and_then(|text| text.parse::<i64>().ok()).filter(|number| *number > 0) else {
            continue;
        };
        if to == "every" || to == "timeout" {
            section.put("health", to, format!("{number}s"));
        } else {
            section.put("health", to, number);
        }
        value.kept_as(&format!("`health.{to}`"));
    }
    if let Some(get) = at.find("httpGet") {
        get.kept_as("`health.path`");
    }
    if let Some(delay) = at.find("initialDelaySeconds") {
        delay.changed("`start` says how long it may take until it is ready");
    }
}

fn cron_job(name: &str, at: &Cursor<'_>, known: &Known, draft: &mut Draft) {
    let Some(spec) = at.find("spec") else { return };
    for (key, at) in spec.entries() {
        let text = at.text().unwrap_or_default();
        match key {
            "schedule" => {
                draft.section("job", name).set("schedule", text);
                at.kept_as("`schedule`");
            }
            "timeZone" => {
                draft.section("job", name).set("time_zone", text);
                at.kept_as("`time_zone`");
            }
            "concurrencyPolicy" => {
                let overlap = match text.as_str() {
                    "Replace" => "replace",
                    "Forbid" => "skip",
                    _ => {
                        at.refused("runs of a job never overlap: `skip`, `queue` or `replace`");
                        continue;
                    }
                };
                draft.section("job", name).set("overlap", overlap);
                at.kept_as("`overlap`");
            }
            "jobTemplate" => {}
            _ => at.changed("Slipway keeps the history of runs"),
        }
    }
    let Some(template) = spec.find("jobTemplate") else { return };
    if let Some(limit) = template.find_below(&["spec", "backoffLimit"])
        && let Some(number) = limit.text().and_then(|text| text.parse::<i64>().ok())
    {
        draft.section("job", name).set("retries", number);
        limit.kept_as("`retries`");
    }
    if let Some(limit) = template.find_below(&["spec", "activeDeadlineSeconds"])
        && let Some(period) = limit.text().and_then(|text| text::duration(&text))
    {
        draft.section("job", name).set("timeout", period);
        limit.kept_as("`timeout`");
    }
    let containers = template
        .find_below(&["spec", "template", "spec", "containers"])
        .map(|containers| containers.items())
        .unwrap_or_default();
    if let Some(first) = containers.first() {
        container(("job", name), first, known, draft);
    }
}

fn service_of(name: &str, known: &Known, draft: &Draft) -> Option<String> {
    let app = known.targets.get(name).map_or(name, String::as_str);
    [app, name].iter().map(|name| label(name, "")).find(|name| draft.has("service", name))
}

fn ingress(at: &Cursor<'_>, known: &Known, draft: &mut Draft) {
    let mut limit = None;
    for (name, annotation) in at.find_below(&["metadata", "annotations"]).map(|all| all.entries()).unwrap_or_default() {
        let text = annotation.text().unwrap_or_default();
        match name {
            "kubernetes.io/ingress.class" => annotation.trapped(
                Trap::INGRESS_NGINX,
                Fate::Changed,
                "`slipway render kubernetes` writes Gateway API routes",
            ),
            "nginx.ingress.kubernetes.io/rate-limit" => {
                limit = text.parse::<u32>().ok();
                annotation.trapped(Trap::INGRESS_NGINX, Fate::Changed, "`limit` of the route, which is kept");
            }
            "nginx.ingress.kubernetes.io/limit-rps" => {
                limit = text.parse::<u32>().ok();
                annotation.changed("`limit` of the route");
            }
            "nginx.ingress.kubernetes.io/ssl-redirect" | "nginx.ingress.kubernetes.io/force-ssl-redirect" => {
                annotation.changed("HTTP is sent to HTTPS");
            }
            _ if name.starts_with("cert-manager.io/") => annotation.changed("certificates are asked for by the target"),
            "nginx.ingress.kubernetes.io/proxy-body-size" => annotation.changed("`max_body` of the route"),
            _ => annotation.refused("an annotation of one controller; write what it does as a key of the route"),
        }
    }
    if let Some(class) = at.find_below(&["spec", "ingressClassName"]) {
        if class.text().as_deref() == Some("nginx") {
            class.trapped(Trap::INGRESS_NGINX, Fate::Changed, "`slipway render kubernetes` writes Gateway API routes");
        } else {
            class.changed("`slipway render kubernetes` writes Gateway API routes");
        }
    }
    if let Some(tls) = at.find_below(&["spec", "tls"]) {
        tls.changed("each host of a route has a certificate");
    }
    for rule in at.find_below(&["spec", "rules"]).map(|rules| rules.items()).unwrap_or_default() {
        let host = rule.find("host").and_then(|host| host.text()).unwrap_or_else(|| "*".to_owned());
        if let Some(host) = rule.find("host") {
            host.kept_as("a [route]");
        }
        for path in rule.find_below(&["http", "paths"]).map(|paths| paths.items()).unwrap_or_default() {
            let prefix = path.find("path").and_then(|path| path.text()).unwrap_or_else(|| "/".to_owned());
            let service = path
                .find_below(&["backend", "service", "name"])
                .or_else(|| path.find_below(&["backend", "serviceName"]))
                .and_then(|name| name.text())
                .unwrap_or_default();
            match service_of(&service, known, draft) {
                Some(name) if prefix.starts_with('/') && !prefix.contains(['(', '*', '?']) => {
                    let route = draft.section("route", &host.to_lowercase());
                    match limit {
                        Some(limit) => drop(
                            route.set(
                                &prefix,
                                toml::Value::Table(
                                    [
                                        ("to".to_owned(), toml::Value::from(format!("service.{name}"))),
                                        ("limit".to_owned(), toml::Value::from(format!("{limit}/s per ip"))),
                                    ]
                                    .into_iter()
                                    .collect(),
                                ),
                            ),
                        ),
                        None => drop(route.set(&prefix, format!("service.{name}"))),
                    }
                    path.kept_as("a path of the route");
                }
                _ => path.refused(
                    "it leads to no service of these files, or is no plain prefix; write it as a path of the route",
                ),
            }
        }
    }
}

fn http_route(at: &Cursor<'_>, known: &Known, draft: &mut Draft) {
    let hosts: Vec<String> = at
        .find_below(&["spec", "hostnames"])
        .map(|hosts| hosts.items())
        .unwrap_or_default()
        .iter()
        .filter_map(Cursor::text)
        .collect();
    if let Some(hosts) = at.find_below(&["spec", "hostnames"]) {
        hosts.kept_as("a [route]");
    }
    if let Some(parents) = at.find_below(&["spec", "parentRefs"]) {
        parents.changed("`slipway render kubernetes` writes it");
    }
    for rule in at.find_below(&["spec", "rules"]).map(|rules| rules.items()).unwrap_or_default() {
        let prefixes: Vec<String> = rule
            .find("matches")
            .map(|matches| matches.items())
            .unwrap_or_default()
            .iter()
            .filter_map(|matched| matched.find_below(&["path", "value"])?.text())
            .collect();
        let prefixes = if prefixes.is_empty() { vec!["/".to_owned()] } else { prefixes };
        let backend = rule
            .find("backendRefs")
            .and_then(|refs| refs.items().into_iter().next())
            .and_then(|backend| backend.find("name")?.text());
        let Some(service) = backend.and_then(|name| service_of(&name, known, draft)) else { continue };
        for host in &hosts {
            for prefix in &prefixes {
                draft.section("route", &host.to_lowercase()).set(prefix, format!("service.{service}"));
            }
        }
        rule.kept_as("paths of the route");
    }
}

fn autoscaler(at: &Cursor<'_>, draft: &mut Draft) {
    let target = at.find_below(&["spec", "scaleTargetRef", "name"]).and_then(|name| name.text()).unwrap_or_default();
    let name = label(&target, "");
    if !draft.has("service", &name) {
        return at.trapped(Trap::FAILOVER_JOB, Fate::Refused, &format!("`{target}` is no deployment of these files; for ECS it would do nothing. Write `size.replicas = \"2..10\"` and `scale_at` of the service"));
    }
    let number = |keys: &[&str]| at.find_below(keys).and_then(|at| at.text()).and_then(|text| text.parse::<i64>().ok());
    let (fewest, most) = (number(&["spec", "minReplicas"]).unwrap_or(1), number(&["spec", "maxReplicas"]));
    if let Some(most) = most {
        draft.section("service", &name).put("size", "replicas", format!("{fewest}..{most}"));
    }
    let mut scale = toml::Table::new();
    for metric in at.find_below(&["spec", "metrics"]).map(|metrics| metrics.items()).unwrap_or_default() {
        let dimension = metric.find_below(&["resource", "name"]).and_then(|name| name.text()).unwrap_or_default();
        let percent = metric
            .find_below(&["resource", "target", "averageUtilization"])
            .and_then(|at| at.text())
            .and_then(|text| text.parse::<i64>().ok());
        match (dimension.as_str(), percent) {
            ("cpu" | "memory", Some(percent)) => {
                scale.insert(dimension, toml::Value::Integer(percent.clamp(1, 100)));
                metric.kept_as("`size.scale_at`");
            }
            _ => metric.refused("only the use of CPU and memory adds replicas"),
        }
    }
    if !scale.is_empty() {
        draft.section("service", &name).put("size", "scale_at", toml::Value::Table(scale));
    }
    if let Some(spec) = at.find("spec") {
        for key in ["minReplicas", "maxReplicas", "scaleTargetRef"] {
            if let Some(at) = spec.find(key) {
                at.kept_as("`size.replicas`");
            }
        }
        if let Some(behavior) = spec.find("behavior") {
            behavior.changed("replicas are added soon and removed slowly");
        }
    }
}
