//! What one document says of another: a name, a port, a label. A server takes each by itself; a cluster needs them to fit.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::{name, pod};

/// All documents of one environment.
struct Cluster<'d>(&'d [Value]);

fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// Whether labels have everything that a selector asks for.
fn chosen(selector: &Value, labels: &Value) -> bool {
    selector.as_object().is_some_and(|wanted| wanted.iter().all(|(key, value)| labels[key] == *value))
}

impl<'d> Cluster<'d> {
    fn kind(&self, kind: &'static str) -> impl Iterator<Item = &'d Value> {
        self.0.iter().filter(move |document| document["kind"] == kind)
    }

    fn find(&self, kind: &'static str, name: &Value) -> Option<&'d Value> {
        self.kind(kind).find(|document| document["metadata"]["name"] == *name)
    }

    /// Workloads whose pods have these labels; those that an operator makes are `None`.
    fn workloads(&self, selector: &Value) -> Vec<Option<&'d Value>> {
        let ours = self.0.iter().filter(|one| pod(one).is_some_and(|pod| chosen(selector, &pod["metadata"]["labels"])));
        let mut all: Vec<_> = ours.map(Some).collect();
        let operators = self.0.iter().filter(|one| match text(&one["kind"]) {
            "Cluster" => selector["cnpg.io/cluster"] == one["metadata"]["name"],
            "RabbitmqCluster" => *selector == json!({ "app.kubernetes.io/name": one["metadata"]["name"] }),
            "RedisCluster" => chosen(selector, &one["metadata"]["labels"]),
            _ => false,
        });
        all.extend(operators.map(|_| None));
        all
    }

    /// Everything that does not fit, in sentences.
    fn wrong(&self) -> Vec<String> {
        let mut wrong = Vec::new();
        for document in self.0 {
            let mut found = match text(&document["kind"]) {
                "Deployment" | "StatefulSet" | "Job" | "CronJob" => self.workload(document),
                "Service" => self.service(document),
                "HorizontalPodAutoscaler" => self.scaler(document),
                "PodDisruptionBudget" => self.budget(document),
                "ServiceMonitor" => self.monitor(document),
                "HTTPRoute" => self.route(document),
                "BackendTrafficPolicy" | "SecurityPolicy" => self.targets(document),
                "NetworkPolicy" => self.policy(document),
                _ => Vec::new(),
            };
            wrong.extend(found.drain(..).map(|one| format!("{}: {one}", name(document))));
        }
        let names: Vec<String> =
            self.0.iter().map(|one| format!("{} {}", text(&one["apiVersion"]), name(one))).collect();
        let once: BTreeSet<&String> = names.iter().collect();
        wrong.extend((once.len() < names.len()).then(|| "a document is there twice".to_owned()));
        wrong
    }

    fn workload(&self, document: &Value) -> Vec<String> {
        let mut wrong = Vec::new();
        let Some(pod) = pod(document) else { return wrong };
        let (labels, spec) = (&pod["metadata"]["labels"], &pod["spec"]);
        let selector = &document["spec"]["selector"]["matchLabels"];
        if !selector.is_null() && !chosen(selector, labels) {
            wrong.push("its pods do not have the labels it selects".to_owned());
        }
        let account = &spec["serviceAccountName"];
        if !account.is_null() && self.find("ServiceAccount", account).is_none() {
            wrong.push(format!("no account {account}"));
        }
        let claims = list(&document["spec"]["volumeClaimTemplates"]).iter().map(|claim| &claim["metadata"]["name"]);
        let volumes: Vec<&Value> = list(&spec["volumes"]).iter().map(|volume| &volume["name"]).chain(claims).collect();
        for container in list(&spec["containers"]) {
            let ports: Vec<&Value> = list(&container["ports"]).iter().map(|port| &port["name"]).collect();
            for probe in ["startupProbe", "livenessProbe", "readinessProbe"] {
                for way in ["httpGet", "tcpSocket"] {
                    let port = &container[probe][way]["port"];
                    if !port.is_null() && !ports.contains(&port) {
                        wrong.push(format!("{probe} asks port {port}, which is none"));
                    }
                }
            }
            if document["kind"] == "Deployment" && !ports.is_empty() && container["startupProbe"].is_null() {
                wrong.push("no startup probe".to_owned());
            }
            for mount in list(&container["volumeMounts"]) {
                if !volumes.contains(&&mount["name"]) {
                    wrong.push(format!("no volume {}", mount["name"]));
                }
            }
            for source in list(&container["envFrom"]) {
                if self.find("ConfigMap", &source["configMapRef"]["name"]).is_none() {
                    wrong.push(format!("no ConfigMap {source}"));
                }
            }
            let mut known = BTreeSet::new();
            for variable in list(&container["env"]) {
                let value = text(&variable["value"]).replace("$$", "");
                for used in value.split("$(").skip(1).filter_map(|rest| rest.split_once(')')) {
                    if !known.contains(used.0) {
                        wrong.push(format!("{} uses {} before it is set", variable["name"], used.0));
                    }
                }
                if !known.insert(text(&variable["name"])) {
                    wrong.push(format!("{} is set twice", variable["name"]));
                }
            }
        }
        if document["kind"] == "StatefulSet" {
            let service = self.find("Service", &document["spec"]["serviceName"]);
            if service.is_none_or(|service| service["spec"]["clusterIP"] != "None") {
                wrong.push("no headless Service for its pods".to_owned());
            }
            let release = "app.kubernetes.io/version";
            if labels[release] == "3f9c2a1" {
                wrong.push("a release of the application would restart it".to_owned());
            }
        }
        wrong
    }

    fn service(&self, document: &Value) -> Vec<String> {
        let spec = &document["spec"];
        // what a StatefulSet adds to each of its pods by itself
        let mut selector = spec["selector"].clone();
        selector.as_object_mut().and_then(|map| map.remove("apps.kubernetes.io/pod-index"));
        let workloads = self.workloads(&selector);
        let [Some(workload)] = workloads[..] else { return vec![format!("it selects {} workloads", workloads.len())] };
        let containers = list(&pod(workload).expect("it has pods")["spec"]["containers"]);
        let ports: Vec<&Value> =
            containers.iter().flat_map(|one| list(&one["ports"])).map(|port| &port["name"]).collect();
        let wrong = list(&spec["ports"]).iter().filter(|port| !ports.contains(&&port["targetPort"]));
        wrong.map(|port| format!("no container has the port {}", port["targetPort"])).collect()
    }

    fn scaler(&self, document: &Value) -> Vec<String> {
        let spec = &document["spec"];
        let Some(target) = self.find("Deployment", &spec["scaleTargetRef"]["name"]) else {
            return vec!["it scales nothing".to_owned()];
        };
        let mut wrong = Vec::new();
        if !target["spec"]["replicas"].is_null() {
            wrong.push("every apply would set the replicas back".to_owned());
        }
        let asked = &target["spec"]["template"]["spec"]["containers"][0]["resources"]["requests"];
        for metric in list(&spec["metrics"]) {
            let resource = text(&metric["resource"]["name"]);
            if asked[resource].is_null() {
                wrong.push(format!("it measures by {resource}, of which nothing is asked for"));
            }
        }
        wrong
    }

    fn budget(&self, document: &Value) -> Vec<String> {
        let mut wrong = Vec::new();
        match self.workloads(&document["spec"]["selector"]["matchLabels"])[..] {
            [None] => {}
            [Some(workload)] => {
                let scaled = self.find("HorizontalPodAutoscaler", &workload["metadata"]["name"]);
                let replicas = scaled.map_or(&workload["spec"]["replicas"], |scaler| &scaler["spec"]["minReplicas"]);
                if replicas.as_u64().is_none_or(|replicas| replicas < 2) {
                    wrong.push(format!("{replicas} replicas: a machine could never be emptied"));
                }
            }
            _ => wrong.push("it selects no pods".to_owned()),
        }
        wrong
    }

    fn monitor(&self, document: &Value) -> Vec<String> {
        let selector = &document["spec"]["selector"]["matchLabels"];
        let mut services = self.kind("Service").filter(|service| chosen(selector, &service["metadata"]["labels"]));
        match (services.next(), self.find("RabbitmqCluster", &document["metadata"]["name"])) {
            (None, None) => vec!["it selects no Service".to_owned()],
            (Some(service), _) => {
                let ports: Vec<&Value> = list(&service["spec"]["ports"]).iter().map(|port| &port["name"]).collect();
                let endpoints = list(&document["spec"]["endpoints"]).iter();
                let wrong = endpoints.filter(|endpoint| !ports.contains(&&endpoint["port"]));
                wrong.map(|endpoint| format!("no port {}", endpoint["port"])).collect()
            }
            (None, Some(_)) => Vec::new(),
        }
    }

    fn route(&self, document: &Value) -> Vec<String> {
        let mut wrong = Vec::new();
        let spec = &document["spec"];
        for parent in list(&spec["parentRefs"]) {
            let gateway = self.find("Gateway", &parent["name"]);
            let listeners = gateway.map(|gateway| list(&gateway["spec"]["listeners"])).unwrap_or_default();
            if !listeners.iter().any(|listener| listener["name"] == parent["sectionName"]) {
                wrong.push(format!("no listener {}", parent["sectionName"]));
            }
        }
        for backend in list(&spec["rules"]).iter().flat_map(|rule| list(&rule["backendRefs"])) {
            let service = self.find("Service", &backend["name"]);
            let ports = service.map(|service| list(&service["spec"]["ports"])).unwrap_or_default();
            if !ports.iter().any(|port| port["port"] == backend["port"]) {
                wrong.push(format!("no Service {} with port {}", backend["name"], backend["port"]));
            }
        }
        let names: Vec<&str> =
            list(&spec["rules"]).iter().map(|rule| text(&rule["name"])).filter(|name| !name.is_empty()).collect();
        if names.iter().collect::<BTreeSet<_>>().len() < names.len() {
            wrong.push("two rules have one name".to_owned());
        }
        wrong
    }

    fn targets(&self, document: &Value) -> Vec<String> {
        let targets = list(&document["spec"]["targetRefs"]).iter();
        let missing = targets.filter(|target| {
            let route = self.find("HTTPRoute", &target["name"]);
            let rules = route.map(|route| list(&route["spec"]["rules"])).unwrap_or_default();
            !rules.iter().any(|rule| rule["name"] == target["sectionName"])
        });
        missing.map(|target| format!("no rule {} of {}", target["sectionName"], target["name"])).collect()
    }

    /// Where pods may go, those pods must let them in.
    fn policy(&self, document: &Value) -> Vec<String> {
        let own = &document["spec"]["podSelector"]["matchLabels"];
        let mut wrong = Vec::new();
        for way in list(&document["spec"]["egress"]) {
            for to in list(&way["to"]).iter().map(|to| &to["podSelector"]["matchLabels"]) {
                let external = to.is_null() || !to["k8s-app"].is_null();
                if external || *to == *own {
                    continue;
                }
                for port in list(&way["ports"]) {
                    let lets = self.kind("NetworkPolicy").any(|other| {
                        let spec = &other["spec"];
                        spec["podSelector"]["matchLabels"] == *to
                            && list(&spec["ingress"]).iter().any(|way| {
                                list(&way["ports"]).contains(port)
                                    && list(&way["from"]).iter().any(|from| from["podSelector"]["matchLabels"] == *own)
                            })
                    });
                    if !lets {
                        wrong.push(format!("it may go to {to} by {}, which does not let it in", port["port"]));
                    }
                }
            }
        }
        let everywhere = own.is_null() || !own["acme.cert-manager.io/http01-solver"].is_null();
        if !everywhere && self.workloads(own).is_empty() {
            wrong.push("it selects no pods".to_owned());
        }
        wrong
    }
}

// proves S2.21, S3.7-S3.12
#[test]
fn what_documents_say_of_each_other_fits() {
    for (stack, input) in super::every() {
        for ingress in [false, true] {
            let mut input = input.clone();
            input.options.ingress = ingress;
            let documents = super::documents(&super::render(&input));
            assert_eq!(Cluster(&documents).wrong(), Vec::<String>::new(), "{stack}");
        }
    }
}

/// The check above is worth what it finds.
#[test]
fn what_does_not_fit_is_found() {
    let right = super::documents(&super::render(&crate::stacks::input("jobsprint", "production")));
    let at: BTreeMap<String, usize> = right.iter().enumerate().map(|(at, one)| (name(one), at)).collect();
    for (document, path, value, said) in [
        ("Deployment/api", "/spec/replicas", json!(3), "set the replicas back"),
        (
            "Deployment/api",
            "/spec/template/metadata/labels/app.kubernetes.io~1name",
            json!("apy"),
            "do not have the labels",
        ),
        ("Deployment/api", "/spec/template/spec/serviceAccountName", json!("apy"), "no account"),
        ("Deployment/api", "/spec/template/spec/containers/0/ports/0/name", json!("web"), "asks port"),
        ("Deployment/api", "/spec/template/spec/containers/0/volumeMounts/0/name", json!("x"), "no volume"),
        ("Deployment/api", "/spec/template/spec/containers/0/envFrom/0/configMapRef/name", json!("x"), "no ConfigMap"),
        (
            "Deployment/api",
            "/spec/template/spec/containers/0/env",
            json!([{ "name": "A", "value": "$(B)" }]),
            "before it is set",
        ),
        (
            "Deployment/api",
            "/spec/template/spec/containers/0/resources/requests",
            Value::Null,
            "of which nothing is asked",
        ),
        ("Deployment/api", "/spec/template/spec/containers/0/startupProbe", Value::Null, "no startup probe"),
        ("StatefulSet/redis", "/spec/serviceName", json!("redis"), "no headless Service"),
        ("StatefulSet/redis", "/spec/template/metadata/labels/app.kubernetes.io~1version", json!("3f9c2a1"), "restart"),
        ("Service/api", "/spec/selector/app.kubernetes.io~1name", json!("apy"), "selects 0 workloads"),
        ("Service/api", "/spec/ports/0/targetPort", json!("web"), "no container has the port"),
        ("Service/api", "/spec/ports/0/port", json!(81), "no Service"),
        ("Service/api", "/spec/ports/0/name", json!("web"), "no port"),
        ("HorizontalPodAutoscaler/api", "/spec/scaleTargetRef/name", json!("apy"), "scales nothing"),
        ("HorizontalPodAutoscaler/api", "/spec/minReplicas", json!(1), "never be emptied"),
        (
            "PodDisruptionBudget/api",
            "/spec/selector/matchLabels/app.kubernetes.io~1name",
            json!("x"),
            "selects no pods",
        ),
        ("Gateway/jobsprint", "/spec/listeners/1/name", json!("x"), "no listener"),
        ("HTTPRoute/api-jobsprint-io", "/spec/rules/0/name", json!("x"), "no rule"),
        ("NetworkPolicy/database-main", "/spec/ingress/0/from/0", json!({}), "does not let it in"),
        ("NetworkPolicy/api", "/spec/podSelector/matchLabels/app.kubernetes.io~1name", json!("x"), "selects no pods"),
        ("ServiceAccount/api", "/metadata/name", json!("ai"), "there twice"),
    ] {
        let mut wrong = right.clone();
        let one = &mut wrong[*at.get(document).unwrap_or_else(|| panic!("no {document} in {at:?}"))];
        let (parent, key) = path.rsplit_once('/').expect("a path");
        match one.pointer_mut(parent).unwrap_or_else(|| panic!("{document} has no {parent}")) {
            Value::Array(list) => list[key.parse::<usize>().expect("a number")] = value,
            parent => parent[key.replace("~1", "/")] = value,
        }
        let found = Cluster(&wrong).wrong();
        assert!(found.iter().any(|one| one.contains(said)), "{document} {path}: {found:#?}");
    }
}
