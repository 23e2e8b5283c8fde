//! Caches: one Redis as a StatefulSet that is one system and not several strangers behind one name (T12), or a cluster of
//! shards by an operator, which heals it.

use serde_json::{Value, json};
use stack::{ByteSize, Cache, Kind, ResourceName, ResourceRef};

use super::{Scene, Sheet, chart, labels, pod, policy, policy::Around, service, store::storage_class};

pub(crate) fn sheets(scene: &Scene<'_>) -> Vec<Sheet> {
    let caches = scene.input.resolved.stack.caches.iter().filter(|(_, cache)| cache.url.is_none());
    let sheet = |(name, cache): (_, &Cache)| {
        if cache.shards > 1 { shards(scene, name, cache) } else { primary(scene, name, cache) }
    };
    caches.map(sheet).collect()
}

/// What a member may take, with room for the copies that it makes while it saves.
fn resources(cache: &Cache) -> Value {
    let memory = cache.memory.map(|memory| ByteSize(memory.0 + memory.0 / 2).to_string());
    json!({
        "requests": { "cpu": "100m", "memory": memory },
        "limits": memory.as_ref().map(|memory| json!({ "memory": memory })),
    })
}

/// Its disk: the log of changes, and the new one while it is written.
fn claim(scene: &Scene<'_>, cache: &Cache) -> Value {
    let gigabytes = cache.memory.map_or(0, |memory| (4 * memory.0).div_ceil(1 << 30)).max(5);
    json!({
        "accessModes": ["ReadWriteOnce"],
        "storageClassName": storage_class(scene),
        "resources": { "requests": { "storage": format!("{gigabytes}Gi") } },
    })
}

fn limit(cache: &Cache) -> Option<String> {
    cache.memory.map(|memory| format!("{}mb", (memory.0 >> 20).max(1)))
}

fn closed(user: u32) -> Value {
    json!({
        "runAsNonRoot": true, "runAsUser": user, "runAsGroup": user, "fsGroup": user,
        "seccompProfile": { "type": "RuntimeDefault" },
    })
}

/// The password goes by a file: arguments can be read by everybody on the machine.
const START: &str = r#"umask 077
printf 'requirepass %s\nmasterauth %s\n' "$PASSWORD" "$PASSWORD" > /tmp/redis.conf
"#;

/// The first pod is the primary, the others follow it by name.
fn primary(scene: &Scene<'_>, name: &ResourceName, cache: &Cache) -> Sheet {
    use std::fmt::Write as _;

    let text = name.as_str();
    let need = ResourceRef { kind: Kind::Cache, name: name.clone() };
    let mut command = START.to_owned();
    if cache.replicas > 0 {
        // writing to a String cannot fail
        let _ = writeln!(
            command,
            "if [ \"${{HOSTNAME##*-}}\" != 0 ]; then echo 'replicaof {text}-0.{text}-pods 6379' >> /tmp/redis.conf; fi"
        );
    }
    if let Some(limit) = limit(cache) {
        let _ = writeln!(command, "echo 'maxmemory {limit}' >> /tmp/redis.conf");
        command.push_str("echo 'maxmemory-policy allkeys-lru' >> /tmp/redis.conf\n");
    }
    command.push_str("exec redis-server /tmp/redis.conf --appendonly yes --dir /data\n");
    let ask = |answer: &str| {
        let ask = format!("REDISCLI_AUTH=\"$PASSWORD\" redis-cli ping | grep -qE '{answer}'");
        json!({ "exec": { "command": ["sh", "-c", ask] }, "periodSeconds": 5, "timeoutSeconds": 3 })
    };
    let (engine, version) = cache.engine.split_once(':').unwrap_or(("redis", "7"));
    let container = json!({
        "name": "redis",
        "image": format!("{engine}:{version}-alpine"),
        "command": ["sh", "-c", command],
        "ports": [{ "name": "redis", "containerPort": 6379 }],
        "env": [{ "name": "PASSWORD", "valueFrom": { "secretKeyRef": { "name": format!("{text}-auth"), "key": "password" } } }],
        "resources": resources(cache),
        "readinessProbe": ask("PONG"),
        "# one that still reads its disk is alive": null,
        "livenessProbe": ask("PONG|LOADING"),
        "securityContext": { "allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true, "capabilities": { "drop": ["ALL"] } },
        "volumeMounts": [{ "name": "data", "mountPath": "/data" }, { "name": "tmp", "mountPath": "/tmp" }],
    });
    let set = json!({
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": labels::meta(scene, "cache", text, text),
        "spec": {
            "serviceName": format!("{text}-pods"),
            "replicas": cache.replicas + 1,
            "selector": { "matchLabels": labels::select(scene, text) },
            "template": {
                "metadata": { "labels": labels::all(scene, "cache", text) },
                "spec": {
                    "automountServiceAccountToken": false,
                    "enableServiceLinks": false,
                    "securityContext": closed(999),
                    "topologySpreadConstraints": pod::spread(scene, text),
                    "terminationGracePeriodSeconds": 60,
                    "containers": [container],
                    "volumes": [{ "name": "tmp", "emptyDir": { "medium": "Memory", "sizeLimit": "1Mi" } }],
                },
            },
            "volumeClaimTemplates": [{ "metadata": { "name": "data" }, "spec": claim(scene, cache) }],
        },
    });
    let mut primary = labels::select(scene, text);
    primary["# the primary only: the others are read through their own names"] = Value::Null;
    primary["apps.kubernetes.io/pod-index"] = "0".into();
    let port = json!([{ "name": "redis", "protocol": "TCP", "port": 6379, "targetPort": "redis" }]);
    let mut documents = vec![
        json!({
            "apiVersion": "v1", "kind": "Service",
            "metadata": labels::meta(scene, "cache", text, text),
            "spec": { "selector": primary, "ports": port },
        }),
        json!({
            "apiVersion": "v1", "kind": "Service",
            "metadata": labels::meta(scene, "cache", text, &format!("{text}-pods")),
            "spec": { "clusterIP": "None", "publishNotReadyAddresses": true, "selector": labels::select(scene, text), "ports": port },
        }),
        set,
    ];
    documents.extend(service::budget(scene, "cache", text, &labels::select(scene, text), cache.replicas + 1));
    documents.extend(policy::data(scene, &need, &Around { peers: &[6379], ..Around::default() }));
    let about = format!(
        "{}: pod 0 is the primary, and the same disk brings it back; {} followers.",
        cache.engine, cache.replicas
    );
    (format!("cache-{name}"), about, documents)
}

/// Shards with followers that take over, kept by the Redis operator of the OT-CONTAINER-KIT. A client asks one member and is
/// told of the others.
fn shards(scene: &Scene<'_>, name: &ResourceName, cache: &Cache) -> Sheet {
    let text = name.as_str();
    let need = ResourceRef { kind: Kind::Cache, name: name.clone() };
    let member = |role: &str, replicas: u32| {
        json!({
            "replicas": replicas,
            "securityContext": { "allowPrivilegeEscalation": false, "capabilities": { "drop": ["ALL"] } },
            "terminationGracePeriodSeconds": 60,
            "pdb": { "enabled": replicas > 1, "maxUnavailable": 1 },
            "affinity": { "podAntiAffinity": { "preferredDuringSchedulingIgnoredDuringExecution": [{
                "weight": 100,
                "podAffinityTerm": {
                    "topologyKey": "kubernetes.io/hostname",
                    "labelSelector": { "matchLabels": { "app": format!("{text}-{role}") } },
                },
            }] } },
        })
    };
    let version = match cache.engine.split_once(':').map_or("7", |(_, version)| version) {
        // the operator's images have whole versions
        "6" => "6.2.14",
        "7" => "7.0.15",
        version => version,
    };
    let settings = limit(cache).map(|limit| json!([format!("maxmemory {limit}"), "maxmemory-policy allkeys-lru"]));
    let cluster = json!({
        "apiVersion": "redis.redis.opstreelabs.in/v1beta2",
        "kind": "RedisCluster",
        "metadata": labels::meta(scene, "cache", text, text),
        "spec": {
            "# shards; with the followers of all of them below": null,
            "clusterSize": cache.shards,
            "clusterVersion": format!("v{}", version.split('.').next().unwrap_or(version)),
            "persistenceEnabled": true,
            "podSecurityContext": closed(1000),
            "kubernetesConfig": {
                "image": scene.form.value(&format!("caches.{}.image", chart::key(text)), format!("quay.io/opstree/redis:v{version}").into()),
                "imagePullPolicy": "IfNotPresent",
                "resources": resources(cache),
                "redisSecret": { "name": format!("{text}-auth"), "key": "password" },
            },
            "redisConfig": settings.map(|settings| json!({ "dynamicConfig": settings })),
            "redisLeader": member("leader", cache.shards),
            "redisFollower": member("follower", cache.shards * cache.replicas),
            "storage": {
                "volumeClaimTemplate": { "spec": claim(scene, cache) },
                "# who the members are is kept too": null,
                "nodeConfVolume": true,
                "nodeConfVolumeClaimTemplate": { "spec": {
                    "accessModes": ["ReadWriteOnce"],
                    "storageClassName": storage_class(scene),
                    "resources": { "requests": { "storage": "1Gi" } },
                } },
            },
        },
    });
    let mut documents = vec![cluster];
    let around = Around { operator: Some(("ot-operators", &[6379])), peers: &[6379, 16379], ..Around::default() };
    documents.extend(policy::data(scene, &need, &around));
    let about = format!(
        "{}: {} shards with {} followers each, kept by the Redis operator of the OT-CONTAINER-KIT.",
        cache.engine, cache.shards, cache.replicas
    );
    (format!("cache-{name}"), about, documents)
}
