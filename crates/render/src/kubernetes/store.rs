//! Databases, caches and queues, each by what runs it well: an operator, or a StatefulSet that is one system and not
//! several strangers behind one name (T12).

use serde_json::{Map, Value, json};
use stack::{ByteSize, Database, DatabaseEngine, Kind, ResourceName, ResourceRef};

use super::{Scene, Sheet, addresses::cluster, labels, pod, policy, service};

/// Class of disks: what the stack says, else the cluster's own default.
fn storage_class(scene: &Scene<'_>) -> Value {
    let extras = &scene.input.resolved.stack.extras;
    let mut said = extras.iter().filter(|(need, _)| need.kind == Kind::Cluster);
    said.find_map(|(_, extra)| extra.settings.get("storage_class").cloned()).unwrap_or(Value::Null)
}

/// PostgreSQL by CloudNativePG: one primary, followers that follow, failover by the operator.
pub(crate) fn databases(scene: &Scene<'_>) -> Vec<Sheet> {
    let stack = &scene.input.resolved.stack;
    let wanted = stack.databases.iter().filter(|(_, database)| database.url.is_none());
    wanted
        .filter_map(|(name, database)| match &database.engine {
            DatabaseEngine::Postgres(version) => Some(postgres(scene, name, database, version)),
            DatabaseEngine::Sqlite => None,
        })
        .collect()
}

fn postgres(scene: &Scene<'_>, name: &ResourceName, database: &Database, version: &str) -> Sheet {
    let app = scene.input.resolved.stack.app.as_str();
    let need = ResourceRef { kind: Kind::Database, name: name.clone() };
    let object = cluster(name.as_str());
    let at = format!("databases.{}", super::chart::key(name.as_str()));
    let parameters: Map<String, Value> =
        database.settings.iter().map(|(key, value)| (key.clone(), value.as_str().into())).collect();
    let storage = database.storage.map_or_else(|| "10Gi".to_owned(), |span| span.min.to_string());
    let backed = database.backup.as_ref().filter(|backup| !backup.to.is_empty());
    let instances = scene.form.value(&format!("{at}.instances"), (database.replicas + 1).into());
    let mut documents = vec![json!({
        "apiVersion": "postgresql.cnpg.io/v1",
        "kind": "Cluster",
        "metadata": labels::meta(scene, "database", name.as_str(), &object),
        "spec": {
            "# one primary and its followers": null,
            "instances": instances,
            "imageName": format!("ghcr.io/cloudnative-pg/postgresql:{version}"),
            "primaryUpdateStrategy": "unsupervised",
            "primaryUpdateMethod": "switchover",
            "bootstrap": { "initdb": {
                "database": super::super::compose::database_name(&scene.input.resolved.stack, &need),
                "owner": app.replace('-', "_"),
                "dataChecksums": true,
            } },
            "storage": { "size": scene.form.value(&format!("{at}.storage"), storage.into()), "storageClass": storage_class(scene) },
            "walStorage": backed.map(|_| json!({ "size": "5Gi", "storageClass": storage_class(scene) })),
            "resources": pod::resources(scene, &at, database.size.as_ref()),
            "postgresql": (!parameters.is_empty()).then(|| json!({ "parameters": parameters })),
            "affinity": { "enablePodAntiAffinity": true, "topologyKey": "topology.kubernetes.io/zone", "podAntiAffinityType": "preferred" },
            "monitoring": { "enablePodMonitor": true },
            "plugins": backed.map(|_| json!([{
                "name": "barman-cloud.cloudnative-pg.io",
                "isWALArchiver": true,
                "parameters": { "barmanObjectName": object },
            }])),
        },
    })];
    if let Some(backup) = backed {
        documents.extend(backups(scene, name, &object, backup));
    }
    documents.extend(policy::data(scene, &need, Some(("cnpg-system", &[5432, 8000, 9187])), &[5432, 8000]));
    (format!("database-{name}"), format!("PostgreSQL {version}, kept by CloudNativePG."), documents)
}

/// Days that a retention reaches back: the store keeps every moment of them.
fn days(backup: &stack::Backup) -> u32 {
    backup.keep.map_or(30, |keep| keep.days.max(keep.weeks * 7).max(keep.months * 31))
}

fn backups(scene: &Scene<'_>, name: &ResourceName, object: &str, backup: &stack::Backup) -> Vec<Value> {
    let stack = &scene.input.resolved.stack;
    let bucket = backup.to.first().and_then(|to| stack.buckets.get_key_value(&to.name));
    let bucket = bucket.map_or_else(String::new, |(own, bucket)| {
        bucket.name.clone().unwrap_or_else(|| format!("{}-{own}", stack.app))
    });
    let (hour, minute) = backup.at.as_deref().and_then(|at| at.split_once(':')).unwrap_or(("03", "00"));
    let number = |text: &str| text.parse::<u32>().unwrap_or(0);
    vec![
        json!({
            "apiVersion": "barmancloud.cnpg.io/v1",
            "kind": "ObjectStore",
            "metadata": labels::meta(scene, "database", name.as_str(), object),
            "spec": {
                "# any moment of these days can be restored": null,
                "retentionPolicy": format!("{}d", days(backup)),
                "configuration": {
                    "destinationPath": format!("s3://{bucket}/database/{name}"),
                    "# the account's role, bound to the ServiceAccount of the cluster": null,
                    "s3Credentials": { "inheritFromIAMRole": true },
                    "wal": { "compression": "gzip", "encryption": "AES256" },
                    "data": { "compression": "gzip", "encryption": "AES256" },
                },
            },
        }),
        json!({
            "apiVersion": "postgresql.cnpg.io/v1",
            "kind": "ScheduledBackup",
            "metadata": labels::meta(scene, "database", name.as_str(), object),
            "spec": {
                "# seconds come first": null,
                "schedule": format!("0 {} {} * * *", number(minute), number(hour)),
                "backupOwnerReference": "self",
                "immediate": true,
                "cluster": { "name": object },
                "method": "plugin",
                "pluginConfiguration": { "name": "barman-cloud.cloudnative-pg.io" },
            },
        }),
    ]
}

/// Redis: the first pod is the primary, the others follow it by name.
pub(crate) fn caches(scene: &Scene<'_>) -> Vec<Sheet> {
    let caches = scene.input.resolved.stack.caches.iter().filter(|(_, cache)| cache.url.is_none());
    caches.map(|(name, cache)| redis(scene, name, cache)).collect()
}

/// The password goes by a file: arguments can be read by everybody on the machine.
const REDIS: &str = r#"umask 077; printf 'requirepass %s\nmasterauth %s\n' "$PASSWORD" "$PASSWORD" > /tmp/redis.conf; exec redis-server /tmp/redis.conf --appendonly yes --dir /data LIMIT FOLLOW"#;

fn redis(scene: &Scene<'_>, name: &ResourceName, cache: &stack::Cache) -> Sheet {
    let text = name.as_str();
    let need = ResourceRef { kind: Kind::Cache, name: name.clone() };
    let limit = cache.memory.map_or_else(String::new, |memory| {
        format!("--maxmemory {}mb --maxmemory-policy allkeys-lru", (memory.0 >> 20).max(1))
    });
    let follow = format!(r#"$([ "${{HOSTNAME##*-}}" = 0 ] || echo "--replicaof {text}-0.{text}-pods 6379")"#);
    let follow = if cache.replicas == 0 { String::new() } else { follow };
    let command = REDIS.replace("LIMIT", &limit).replace("FOLLOW", &follow);
    let command = command.split_whitespace().collect::<Vec<_>>().join(" ");
    let ping = json!({ "exec": { "command": ["sh", "-c", "REDISCLI_AUTH=\"$PASSWORD\" redis-cli ping | grep -q PONG"] }, "periodSeconds": 5, "timeoutSeconds": 3 });
    let (engine, version) = cache.engine.split_once(':').unwrap_or(("redis", "7"));
    let memory = cache.memory.map(|memory| ByteSize(memory.0 + memory.0 / 2).to_string());
    let container = json!({
        "name": "redis",
        "image": format!("{engine}:{version}-alpine"),
        "command": ["sh", "-c", command],
        "ports": [{ "name": "redis", "containerPort": 6379 }],
        "env": [{ "name": "PASSWORD", "valueFrom": { "secretKeyRef": { "name": format!("{text}-auth"), "key": "password" } } }],
        "resources": { "requests": { "cpu": "100m", "memory": memory.clone() }, "limits": { "memory": memory } },
        "readinessProbe": ping,
        "livenessProbe": ping,
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
                    "securityContext": {
                        "runAsNonRoot": true, "runAsUser": 999, "runAsGroup": 999, "fsGroup": 999,
                        "seccompProfile": { "type": "RuntimeDefault" },
                    },
                    "topologySpreadConstraints": pod::spread(scene, text),
                    "terminationGracePeriodSeconds": 60,
                    "containers": [container],
                    "volumes": [{ "name": "tmp", "emptyDir": { "medium": "Memory", "sizeLimit": "1Mi" } }],
                },
            },
            "volumeClaimTemplates": [{
                "metadata": { "name": "data" },
                "spec": { "accessModes": ["ReadWriteOnce"], "storageClassName": storage_class(scene), "resources": { "requests": { "storage": "5Gi" } } },
            }],
        },
    });
    let mut primary = labels::select(scene, text);
    primary["# the primary only: the others are read through their own names"] = Value::Null;
    primary["apps.kubernetes.io/pod-index"] = "0".into();
    let port = json!([{ "name": "redis", "port": 6379, "targetPort": "redis" }]);
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
    documents.extend(service::budget(scene, "cache", text, cache.replicas + 1));
    documents.extend(policy::data(scene, &need, None, &[6379]));
    let about = format!(
        "{}: pod 0 is the primary, and the same disk brings it back; {} followers.",
        cache.engine, cache.replicas
    );
    (format!("cache-{name}"), about, documents)
}

/// RabbitMQ by its own operator: members that know each other, a user it makes itself.
pub(crate) fn queues(scene: &Scene<'_>) -> Vec<Sheet> {
    let queues = scene.input.resolved.stack.queues.iter().filter(|(_, queue)| queue.url.is_none());
    queues
        .map(|(name, queue)| {
            let need = ResourceRef { kind: Kind::Queue, name: name.clone() };
            let mut documents = vec![json!({
                "apiVersion": "rabbitmq.com/v1beta1",
                "kind": "RabbitmqCluster",
                "metadata": labels::meta(scene, "queue", name.as_str(), name.as_str()),
                "spec": {
                    "replicas": queue.replicas,
                    "image": format!("{}-management", queue.engine),
                    "resources": { "requests": { "cpu": "250m", "memory": "1Gi" }, "limits": { "cpu": "1", "memory": "1Gi" } },
                    "persistence": { "storage": "10Gi", "storageClassName": storage_class(scene) },
                    "rabbitmq": { "additionalConfig": "cluster_partition_handling = pause_minority\ndefault_queue_type = quorum\n" },
                },
            })];
            documents.extend(service::budget(scene, "queue", name.as_str(), queue.replicas));
            documents.extend(policy::data(scene, &need, Some(("rabbitmq-system", &[15672])), &[4369, 25672, 5672, 15672]));
            (format!("queue-{name}"), format!("{}, kept by the RabbitMQ cluster operator.", queue.engine), documents)
        })
        .collect()
}
