//! Databases and queues, each by an operator that runs it well.

use serde_json::{Map, Value, json};
use stack::{Database, DatabaseEngine, Kind, ResourceName, ResourceRef};

use super::{Scene, Sheet, addresses::cluster, labels, pod, policy, policy::Around, service};
use crate::scrape;

/// Class of disks: what the stack says, else the cluster's own default.
pub(crate) fn storage_class(scene: &Scene<'_>) -> Value {
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
    let settings = database.settings.iter().filter(|(key, _)| !is_the_operators(key));
    let parameters: Map<String, Value> = settings.map(|(key, value)| (key.clone(), value.as_str().into())).collect();
    let libraries = database.settings.get(LIBRARIES).map(|names| {
        names.split(',').map(str::trim).filter(|name| !name.is_empty()).map(Value::from).collect::<Vec<_>>()
    });
    let measured = scrape::of(&scene.input.resolved.stack, Kind::Database, name).wanted;
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
            "postgresql": (!parameters.is_empty() || libraries.is_some()).then(|| {
                json!({ "shared_preload_libraries": libraries, "parameters": parameters })
            }),
            "affinity": { "enablePodAntiAffinity": true, "topologyKey": "topology.kubernetes.io/zone", "podAntiAffinityType": "preferred" },
            "monitoring": { "enablePodMonitor": measured },
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
    let around = Around {
        operator: Some(("cnpg-system", &[5432, 8000, 9187])),
        peers: &[5432, 8000],
        asks_outside: true,
        measured: measured.then_some(9187),
    };
    documents.extend(policy::data(scene, &need, &around));
    (format!("database-{name}"), format!("PostgreSQL {version}, kept by CloudNativePG."), documents)
}

/// Libraries that the server loads at its start: a list of its own in the operator's words.
pub(crate) const LIBRARIES: &str = "shared_preload_libraries";

/// Settings that CloudNativePG sets by itself: an object that names one is refused.
pub(crate) fn is_the_operators(key: &str) -> bool {
    const KEYS: [&str; 30] = [
        "allow_system_table_mods",
        "archive_cleanup_command",
        "archive_command",
        "archive_mode",
        "bonjour",
        "bonjour_name",
        "cluster_name",
        "config_file",
        "data_directory",
        "data_sync_retry",
        "event_source",
        "external_pid_file",
        "hba_file",
        "hot_standby",
        "ident_file",
        "jit_provider",
        "listen_addresses",
        "logging_collector",
        "port",
        "primary_conninfo",
        "primary_slot_name",
        "promote_trigger_file",
        "restart_after_crash",
        "restore_command",
        LIBRARIES,
        "ssl",
        "stats_temp_directory",
        "synchronous_standby_names",
        "synchronized_standby_slots",
        "temp_tablespaces",
    ];
    const FAMILIES: [&str; 8] = [
        "log_destination",
        "log_directory",
        "log_file",
        "log_rotation_",
        "log_truncate_on_rotation",
        "recovery_",
        "syslog_",
        "unix_socket_",
    ];
    KEYS.contains(&key)
        || FAMILIES.iter().any(|family| key.starts_with(family))
        || (key.starts_with("ssl_") && !key.ends_with("_protocol_version") && key != "ssl_ciphers")
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

/// RabbitMQ by its own operator: members that know each other, a user it makes itself.
pub(crate) fn queues(scene: &Scene<'_>) -> Vec<Sheet> {
    let queues = scene.input.resolved.stack.queues.iter().filter(|(_, queue)| queue.url.is_none());
    queues.map(|(name, queue)| rabbitmq(scene, name, queue)).collect()
}

fn rabbitmq(scene: &Scene<'_>, name: &ResourceName, queue: &stack::Queue) -> Sheet {
    let need = ResourceRef { kind: Kind::Queue, name: name.clone() };
    let rule = scrape::of(&scene.input.resolved.stack, Kind::Queue, name);
    let closed = json!({ "allowPrivilegeEscalation": false, "capabilities": { "drop": ["ALL"] } });
    let mut settings = String::from("cluster_partition_handling = pause_minority\n");
    if knows_default_type(&queue.engine) {
        settings.push_str("default_queue_type = quorum\n");
    }
    let mut documents = vec![json!({
        "apiVersion": "rabbitmq.com/v1beta1",
        "kind": "RabbitmqCluster",
        "metadata": labels::meta(scene, "queue", name.as_str(), name.as_str()),
        "spec": {
            "replicas": queue.replicas,
            "image": format!("{}-management", queue.engine),
            "resources": { "requests": { "cpu": "250m", "memory": "1Gi" }, "limits": { "cpu": "1", "memory": "1Gi" } },
            "persistence": { "storage": "10Gi", "storageClassName": storage_class(scene) },
            "rabbitmq": { "additionalConfig": settings },
            "# the operator's own pods are not as closed as the namespace wants them": null,
            "override": { "statefulSet": { "spec": { "template": { "spec": {
                "securityContext": {
                    "runAsNonRoot": true, "runAsUser": 999, "runAsGroup": 999, "fsGroup": 999,
                    "seccompProfile": { "type": "RuntimeDefault" },
                },
                "initContainers": [{ "name": "setup-container", "securityContext": closed }],
                "containers": [{ "name": "rabbitmq", "securityContext": closed }],
            } } } } },
        },
    })];
    // its pods belong to the operator, by their other labels too
    let pods = json!({ "app.kubernetes.io/name": name.as_str() });
    documents.extend(service::budget(scene, "queue", name.as_str(), &pods, queue.replicas));
    let around = Around {
        operator: Some(("rabbitmq-system", &[15672])),
        peers: &[4369, 25672, 5672, 15672],
        asks_outside: true,
        measured: rule.wanted.then_some(15692),
    };
    documents.extend(policy::data(scene, &need, &around));
    documents.extend(rule.wanted.then(|| {
        json!({
            "apiVersion": "monitoring.coreos.com/v1",
            "kind": "ServiceMonitor",
            "metadata": labels::meta(scene, "queue", name.as_str(), name.as_str()),
            "spec": {
                "selector": { "matchLabels": pods },
                "endpoints": [{ "port": "prometheus", "interval": rule.every }],
            },
        })
    }));
    (format!("queue-{name}"), format!("{}, kept by the RabbitMQ cluster operator.", queue.engine), documents)
}

/// The setting came with 3.13.3, and an older server does not start with it.
fn knows_default_type(engine: &str) -> bool {
    let version = engine.split_once(':').map_or("", |(_, version)| version);
    let mut numbers = version.split(['.', '-']).map_while(|part| part.parse::<u32>().ok());
    let major = numbers.next();
    // a version without its last number is the newest of its line
    let minor = (numbers.next().unwrap_or(u32::MAX), numbers.next().unwrap_or(u32::MAX));
    major.is_none_or(|major| major > 3) || (major == Some(3) && minor >= (13, 3))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_servers_that_know_the_default_type_are_told() {
        for (engine, knows) in [
            ("rabbitmq:3.12", false),
            ("rabbitmq:3.13.2", false),
            ("rabbitmq:3.13.3", true),
            ("rabbitmq:3.13", true),
            ("rabbitmq:3", true),
            ("rabbitmq:4.1", true),
            ("rabbitmq", true),
        ] {
            assert_eq!(knows_default_type(engine), knows, "{engine}");
        }
    }

    #[test]
    fn what_the_operator_sets_is_left_to_it() {
        for key in ["archive_mode", "ssl_ca_file", "unix_socket_group", "recovery_target", "shared_preload_libraries"] {
            assert!(is_the_operators(key), "{key}");
        }
        for key in ["wal_level", "max_connections", "ssl_min_protocol_version", "log_min_duration_statement"] {
            assert!(!is_the_operators(key), "{key}");
        }
    }
}
