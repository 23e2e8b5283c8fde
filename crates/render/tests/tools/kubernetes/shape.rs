//! The kinds of operators, as far as they are used: what a server takes without the operators' own definitions, and what
//! is read without a server.
//!
//! A shape is written as `{name!:text count:int list:[text] way:a|b size:quantity labels:map}`; `!` is for what must be there.

use serde_json::{Map, Value, json};

/// What a value looks like.
#[derive(Debug, Clone, PartialEq)]
enum Shape {
    Text,
    Int,
    Bool,
    /// A number with a unit, or without.
    Quantity,
    /// Text by name.
    Map,
    /// Quantities by name.
    Quantities,
    Any,
    OneOf(Vec<String>),
    List(Box<Shape>),
    /// Name, whether it must be there, what it is.
    Object(Vec<(String, bool, Shape)>),
}

/// One kind.
pub(super) struct Kind {
    group: &'static str,
    version: &'static str,
    name: &'static str,
    plural: &'static str,
    /// It belongs to the whole cluster.
    cluster: bool,
    spec: &'static str,
}

const fn of(
    group: &'static str,
    version: &'static str,
    name: &'static str,
    plural: &'static str,
    spec: &'static str,
) -> Kind {
    Kind { group, version, name, plural, cluster: false, spec }
}

const GATEWAY: &str = "gateway.networking.k8s.io";
const ENVOY: &str = "gateway.envoyproxy.io";

/// All that are rendered, after the definitions of Gateway API, Envoy Gateway, CloudNativePG and its plugin for Barman Cloud,
/// the operators of RabbitMQ and Redis, and the Prometheus operator.
const KINDS: [Kind; 12] = [
    Kind { cluster: true, ..of(GATEWAY, "v1", "GatewayClass", "gatewayclasses", "{controllerName!:text description:text}") },
    of(
        GATEWAY,
        "v1",
        "Gateway",
        "gateways",
        "{gatewayClassName!:text listeners!:[{name!:text hostname:text port!:int protocol!:HTTP|HTTPS|TLS|TCP|UDP
          tls:{mode:Terminate|Passthrough certificateRefs:[{group:text kind:text name!:text namespace:text}]}
          allowedRoutes:{namespaces:{from:All|Selector|Same}}}]}",
    ),
    of(
        GATEWAY,
        "v1",
        "HTTPRoute",
        "httproutes",
        "{parentRefs:[{group:text kind:text namespace:text name!:text sectionName:text port:int}] hostnames:[text]
          rules:[{name:text
            matches:[{path:{type:Exact|PathPrefix|RegularExpression value:text}
                      headers:[{type:Exact|RegularExpression name!:text value!:text}] method:text}]
            filters:[{type!:RequestHeaderModifier|ResponseHeaderModifier|RequestMirror|RequestRedirect|URLRewrite|ExtensionRef|CORS
                      requestRedirect:{scheme:http|https hostname:text port:int statusCode:int}
                      urlRewrite:{hostname:text path:{type!:ReplaceFullPath|ReplacePrefixMatch replaceFullPath:text replacePrefixMatch:text}}
                      responseHeaderModifier:{set:[{name!:text value!:text}] add:[{name!:text value!:text}] remove:[text]}}]
            backendRefs:[{group:text kind:text namespace:text name!:text port:int weight:int}]
            timeouts:{request:text backendRequest:text}}]}",
    ),
    of(
        ENVOY,
        "v1alpha1",
        "ClientTrafficPolicy",
        "clienttrafficpolicies",
        "{targetRefs:[{group!:text kind!:text name!:text sectionName:text}] tls:{minVersion:Auto|1.0|1.1|1.2|1.3}
          clientIPDetection:{xForwardedFor:{numTrustedHops:int trustedCIDRs:[text]}}
          headers:{lateResponseHeaders:{set:[{name!:text value!:text}] add:[{name!:text value!:text}]
                                        addIfAbsent:[{name!:text value!:text}] remove:[text]}}}",
    ),
    of(
        ENVOY,
        "v1alpha1",
        "BackendTrafficPolicy",
        "backendtrafficpolicies",
        "{targetRefs:[{group!:text kind!:text name!:text sectionName:text}]
          rateLimit:{type:Global|Local global:{rules!:[{
            clientSelectors:[{sourceCIDR:{value!:text type:Exact|Distinct}}]
            limit!:{requests!:int unit!:Second|Minute|Hour|Day|Month|Year} shared:bool}]}}
          loadBalancer:{type!:ConsistentHash|LeastRequest|Random|RoundRobin
            consistentHash:{type!:SourceIP|Header|Headers|Cookie|QueryParams cookie:{name!:text ttl:text attributes:map}}}
          requestBuffer:{limit!:quantity}}",
    ),
    of(
        ENVOY,
        "v1alpha1",
        "SecurityPolicy",
        "securitypolicies",
        "{targetRefs:[{group!:text kind!:text name!:text sectionName:text}]
          cors:{allowOrigins:[text] allowMethods:[text] allowHeaders:[text] exposeHeaders:[text] maxAge:text allowCredentials:bool}}",
    ),
    of(
        "postgresql.cnpg.io",
        "v1",
        "Cluster",
        "clusters",
        "{instances!:int imageName:text primaryUpdateStrategy:unsupervised|supervised primaryUpdateMethod:switchover|restart
          bootstrap:{initdb:{database:text owner:text dataChecksums:bool}}
          storage:{size:text storageClass:text} walStorage:{size:text storageClass:text}
          resources:{requests:quantities limits:quantities}
          postgresql:{parameters:map shared_preload_libraries:[text]}
          affinity:{enablePodAntiAffinity:bool topologyKey:text podAntiAffinityType:preferred|required}
          monitoring:{enablePodMonitor:bool}
          plugins:[{name!:text enabled:bool isWALArchiver:bool parameters:map}]}",
    ),
    of(
        "postgresql.cnpg.io",
        "v1",
        "ScheduledBackup",
        "scheduledbackups",
        "{schedule!:text suspend:bool immediate:bool cluster!:{name!:text} backupOwnerReference:none|self|cluster
          method:barmanObjectStore|volumeSnapshot|plugin pluginConfiguration:{name!:text parameters:map}}",
    ),
    of(
        "barmancloud.cnpg.io",
        "v1",
        "ObjectStore",
        "objectstores",
        "{retentionPolicy:text configuration!:{destinationPath!:text endpointURL:text s3Credentials:{inheritFromIAMRole:bool}
          wal:{compression:bzip2|gzip|lz4|snappy|xz|zstd encryption:AES256|aws:kms maxParallel:int}
          data:{compression:bzip2|gzip|snappy encryption:AES256|aws:kms jobs:int}}}",
    ),
    of(
        "rabbitmq.com",
        "v1beta1",
        "RabbitmqCluster",
        "rabbitmqclusters",
        "{replicas:int image:text resources:{requests:quantities limits:quantities}
          persistence:{storage:quantity storageClassName:text}
          rabbitmq:{additionalConfig:text advancedConfig:text additionalPlugins:[text]} override:{statefulSet:any service:any}}",
    ),
    of(
        "redis.redis.opstreelabs.in",
        "v1beta2",
        "RedisCluster",
        "redisclusters",
        "{clusterSize!:int clusterVersion:text persistenceEnabled:bool podSecurityContext:any port:int
          kubernetesConfig!:{image!:text imagePullPolicy:text resources:{requests:quantities limits:quantities}
            redisSecret:{name:text key:text}}
          redisConfig:{dynamicConfig:[text]}
          redisLeader:{replicas:int securityContext:any terminationGracePeriodSeconds:int affinity:any
            pdb:{enabled:bool minAvailable:int maxUnavailable:int}}
          redisFollower:{replicas:int securityContext:any terminationGracePeriodSeconds:int affinity:any
            pdb:{enabled:bool minAvailable:int maxUnavailable:int}}
          storage:{volumeClaimTemplate:any nodeConfVolume:bool nodeConfVolumeClaimTemplate:any}}",
    ),
    of(
        "monitoring.coreos.com",
        "v1",
        "ServiceMonitor",
        "servicemonitors",
        "{selector!:{matchLabels:map} endpoints!:[{port:text path:text interval:text scheme:http|https}]}",
    ),
];

/// Whether a document is of one of the operators' kinds.
pub(super) fn is_of_operator(document: &Value) -> bool {
    document["apiVersion"].as_str().is_some_and(|version| KINDS.iter().any(|kind| version.starts_with(kind.group)))
}

/// What is wrong with a document of an operator's kind; nothing for other documents.
pub(super) fn wrong(document: &Value) -> Vec<String> {
    if !is_of_operator(document) {
        return Vec::new();
    }
    let known = KINDS.iter().find(|kind| {
        document["kind"] == kind.name && document["apiVersion"] == format!("{}/{}", kind.group, kind.version)
    });
    let Some(kind) = known else { return vec!["this version has no such kind".to_owned()] };
    let mut found = Vec::new();
    check(&parse(kind.spec), &document["spec"], "spec", &mut found);
    found
}

fn check(shape: &Shape, value: &Value, at: &str, found: &mut Vec<String>) {
    let right = match shape {
        Shape::Text => value.is_string(),
        Shape::Int => value.is_i64() || value.is_u64(),
        Shape::Bool => value.is_boolean(),
        Shape::Quantity => value.is_string() || value.is_number(),
        Shape::Map => value.as_object().is_some_and(|map| map.values().all(Value::is_string)),
        Shape::Quantities => {
            value.as_object().is_some_and(|map| map.values().all(|one| one.is_string() || one.is_number()))
        }
        Shape::Any => !value.is_null(),
        Shape::OneOf(known) => value.as_str().is_some_and(|value| known.iter().any(|one| one == value)),
        Shape::List(item) => {
            for (index, value) in value.as_array().into_iter().flatten().enumerate() {
                check(item, value, &format!("{at}[{index}]"), found);
            }
            value.is_array()
        }
        Shape::Object(fields) => {
            for (name, must, shape) in fields {
                match value.get(name) {
                    Some(value) => check(shape, value, &format!("{at}.{name}"), found),
                    None if *must => found.push(format!("{at}.{name} is missing")),
                    None => {}
                }
            }
            for key in value.as_object().into_iter().flat_map(Map::keys) {
                if !fields.iter().any(|(name, ..)| name == key) {
                    found.push(format!("{at} has no {key}"));
                }
            }
            value.is_object()
        }
    };
    if !right {
        found.push(format!("{at} is {value}, expected {shape:?}"));
    }
}

/// Definitions that a server takes: structural, and every field that is not known is refused or taken out.
pub(super) fn definitions() -> Vec<Value> {
    let definition = |kind: &Kind| {
        json!({
            "apiVersion": "apiextensions.k8s.io/v1",
            "kind": "CustomResourceDefinition",
            "metadata": {
                "name": format!("{}.{}", kind.plural, kind.group),
                // a server keeps this group for those whom its makers have heard
                "annotations": { "api-approved.kubernetes.io": "unapproved, for a test" },
            },
            "spec": {
                "group": kind.group,
                "scope": if kind.cluster { "Cluster" } else { "Namespaced" },
                "names": { "kind": kind.name, "plural": kind.plural, "singular": kind.name.to_lowercase() },
                "versions": [{
                    "name": kind.version, "served": true, "storage": true,
                    "schema": { "openAPIV3Schema": {
                        "type": "object", "required": ["spec"], "properties": { "spec": schema(&parse(kind.spec)) },
                    } },
                }],
            },
        })
    };
    KINDS.iter().map(definition).collect()
}

fn schema(shape: &Shape) -> Value {
    let quantity = json!({ "x-kubernetes-int-or-string": true });
    match shape {
        Shape::Text => json!({ "type": "string" }),
        Shape::Int => json!({ "type": "integer" }),
        Shape::Bool => json!({ "type": "boolean" }),
        Shape::Quantity => quantity,
        Shape::Map => json!({ "type": "object", "additionalProperties": { "type": "string" } }),
        Shape::Quantities => json!({ "type": "object", "additionalProperties": quantity }),
        Shape::Any => json!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true }),
        Shape::OneOf(known) => json!({ "type": "string", "enum": known }),
        Shape::List(item) => json!({ "type": "array", "items": schema(item) }),
        Shape::Object(fields) => {
            let properties: Map<String, Value> =
                fields.iter().map(|(name, _, shape)| (name.clone(), schema(shape))).collect();
            let required: Vec<&String> = fields.iter().filter(|(_, must, _)| *must).map(|(name, ..)| name).collect();
            let mut whole = json!({ "type": "object", "properties": properties });
            if !required.is_empty() {
                whole["required"] = json!(required);
            }
            whole
        }
    }
}

fn parse(text: &str) -> Shape {
    let mut rest = text.trim();
    let shape = shape(&mut rest);
    assert_eq!(rest.trim(), "", "the rest of {text}");
    shape
}

fn shape(rest: &mut &str) -> Shape {
    if let Some(inner) = rest.strip_prefix('{') {
        *rest = inner.trim_start();
        let mut fields = Vec::new();
        while !rest.starts_with('}') {
            let (name, after) = rest.split_once(':').expect("a name");
            *rest = after;
            fields.push((name.trim_end_matches('!').to_owned(), name.ends_with('!'), shape(rest)));
            *rest = rest.trim_start();
        }
        *rest = &rest[1..];
        return Shape::Object(fields);
    }
    if let Some(inner) = rest.strip_prefix('[') {
        *rest = inner;
        let item = shape(rest);
        *rest = rest.strip_prefix(']').expect("the end of a list");
        return Shape::List(Box::new(item));
    }
    let end = rest.find(|c: char| c.is_whitespace() || matches!(c, '}' | ']')).unwrap_or(rest.len());
    let (word, after) = rest.split_at(end);
    *rest = after;
    match word {
        "text" => Shape::Text,
        "int" => Shape::Int,
        "bool" => Shape::Bool,
        "quantity" => Shape::Quantity,
        "map" => Shape::Map,
        "quantities" => Shape::Quantities,
        "any" => Shape::Any,
        words => Shape::OneOf(words.split('|').map(str::to_owned).collect()),
    }
}

/// The check is worth what it finds.
#[test]
fn what_an_operator_would_not_take_is_found() {
    let right = json!({
        "apiVersion": "postgresql.cnpg.io/v1",
        "kind": "Cluster",
        "spec": { "instances": 3, "postgresql": { "parameters": { "a": "1" } }, "plugins": [{ "name": "x" }] },
    });
    assert_eq!(wrong(&right), Vec::<String>::new());
    for (at, value, said) in [
        ("/spec/instances", json!("3"), "spec.instances is \"3\""),
        ("/spec/postgresql/parameters/a", json!(1), "spec.postgresql.parameters is"),
        ("/spec/plugins/0", json!({ "enabled": true }), "spec.plugins[0].name is missing"),
        ("/spec/plugins/0", json!({ "name": "x", "on": true }), "spec.plugins[0] has no on"),
        ("/spec", json!({ "instances": 1, "primaryUpdateMethod": "wait" }), "spec.primaryUpdateMethod is"),
        ("/kind", json!("Clutser"), "no such kind"),
    ] {
        let mut one = right.clone();
        *one.pointer_mut(at).expect("it is there") = value;
        assert!(wrong(&one).iter().any(|one| one.contains(said)), "{at}: {:?}", wrong(&one));
    }
}
