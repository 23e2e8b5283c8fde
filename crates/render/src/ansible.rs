//! Bare machines: a Kubernetes cluster by kubeadm, and PostgreSQL with followers, each as a playbook that may run again.
//!
//! What the founding document got wrong is right here: no `recovery.conf` (12), no `wal_keep_segments` (13), no md5, no copy
//! from a cloud's own service by `pg_basebackup` (T9), and no failover by a script without a lease (T10).

use std::fmt::Write as _;

use serde_json::{Map, Value, json};
use stack::{Database, DatabaseEngine, Extra, Kind, ResourceName};

use crate::{File, Input, yaml};

pub(crate) fn render(input: &Input) -> Vec<File> {
    let stack = &input.resolved.stack;
    let cluster = stack.extras.iter().find(|(need, _)| need.kind == Kind::Cluster).map(|(_, extra)| extra);
    let databases: Vec<(&ResourceName, &Database, &str)> = stack
        .databases
        .iter()
        .filter(|(_, database)| database.url.is_none())
        .filter_map(|(name, database)| match &database.engine {
            DatabaseEngine::Postgres(version) => Some((name, database, version.as_str())),
            DatabaseEngine::Sqlite => None,
        })
        .collect();
    let mut files = vec![inventory(input, cluster, &databases), cluster_playbook(cluster), settings()];
    for (name, database, version) in databases {
        files.push(database_playbook(input, name, database, version));
    }
    files
}

fn said<'e>(cluster: Option<&'e Extra>, key: &str) -> Option<&'e str> {
    cluster.and_then(|extra| extra.settings.get(key)?.as_str())
}

fn settings() -> File {
    File::new(
        "ansible.cfg",
        "ansible-playbook cluster.yml",
        "[defaults]\ninventory = inventory.yml\nhost_key_checking = True\ninterpreter_python = /usr/bin/python3\n\n[privilege_escalation]\nbecome = True\n",
    )
}

fn hosts(names: impl IntoIterator<Item = String>) -> Value {
    let hosts: Map<String, Value> = names.into_iter().map(|name| (name, json!({}))).collect();
    json!({ "hosts": hosts })
}

fn inventory(input: &Input, cluster: Option<&Extra>, databases: &[(&ResourceName, &Database, &str)]) -> File {
    let stack = &input.resolved.stack;
    let domain = format!("{}.internal", stack.app);
    let nodes = cluster.and_then(|extra| extra.settings.get("nodes")?.as_i64()).unwrap_or(3).max(1);
    let control = if nodes >= 6 { 3 } else { 1 };
    let name = |kind: &str, at: i64| format!("{kind}{at}.{domain}");
    let mut children = Map::new();
    children.insert("control".to_owned(), hosts((1..=control).map(|at| name("control", at))));
    children.insert("workers".to_owned(), hosts((1..=(nodes - control).max(0)).map(|at| name("worker", at))));
    let mut whole = Map::new();
    whole.insert("kubernetes".to_owned(), json!({ "children": children }));
    for (own, database, _) in databases {
        let group = own.as_str().replace('-', "_");
        let mut parts = Map::new();
        parts.insert(format!("{group}_primary"), hosts([format!("{own}-primary.{domain}")]));
        parts.insert(
            format!("{group}_replicas"),
            hosts((1..=database.replicas).map(|at| format!("{own}-replica{at}.{domain}"))),
        );
        whole.insert(format!("database_{group}"), json!({ "children": parts }));
    }
    whole.insert("backup".to_owned(), hosts([format!("backup.{domain}")]));
    let about = "The machines, by names that a resolver of the data centre knows.";
    File::new("inventory.yml", about, &yaml::document(&json!({ "all": { "children": whole } })))
}

fn task(name: &str, module: &str, arguments: Value) -> Value {
    let mut task = Map::new();
    task.insert("name".to_owned(), name.into());
    task.insert(format!("ansible.builtin.{module}"), arguments);
    task.into()
}

fn with(mut task: Value, more: Value) -> Value {
    if let (Value::Object(task), Value::Object(more)) = (&mut task, more) {
        task.extend(more);
    }
    task
}

#[expect(clippy::too_many_lines, reason = "one resource after another, in the order of the file")]
fn cluster_playbook(cluster: Option<&Extra>) -> File {
    let version = said(cluster, "version").unwrap_or("1.34");
    let pods = said(cluster, "pods").unwrap_or("10.244.0.0/16");
    let package = match said(cluster, "runtime") {
        Some("docker") | None => "containerd",
        Some(other) => other,
    };
    let repository = format!("https://pkgs.k8s.io/core:/stable:/v{version}/deb");
    let prepare = json!([
        task("Turn swap off now", "command", json!({ "cmd": "swapoff --all" })),
        task(
            "Keep swap off",
            "replace",
            json!({ "path": "/etc/fstab", "regexp": "^([^#].*\\sswap\\s.*)$", "replace": "# \\1" })
        ),
        task(
            "Load the modules of pod networks",
            "copy",
            json!({ "dest": "/etc/modules-load.d/kubernetes.conf", "content": "overlay\nbr_netfilter\n", "mode": "0644" })
        ),
        task("Load them now", "command", json!({ "cmd": "modprobe --all overlay br_netfilter" })),
        task(
            "Let packets of pods through",
            "copy",
            json!({
                "dest": "/etc/sysctl.d/90-kubernetes.conf",
                "content": "net.bridge.bridge-nf-call-iptables = 1\nnet.bridge.bridge-nf-call-ip6tables = 1\nnet.ipv4.ip_forward = 1\n",
                "mode": "0644",
            })
        ),
        task("Apply it now", "command", json!({ "cmd": "sysctl --system" })),
        task(
            "Install the container runtime",
            "apt",
            json!({ "name": [package, "gpg", "ca-certificates"], "update_cache": true, "cache_valid_time": 3600 })
        ),
        task(
            "Make a folder for its settings",
            "file",
            json!({ "path": "/etc/containerd", "state": "directory", "mode": "0755" })
        ),
        task(
            "Let it use the cgroups of systemd",
            "copy",
            json!({
                "dest": "/etc/containerd/config.toml",
                "content": "version = 2\n[plugins.\"io.containerd.grpc.v1.cri\".containerd.runtimes.runc]\n  runtime_type = \"io.containerd.runc.v2\"\n  [plugins.\"io.containerd.grpc.v1.cri\".containerd.runtimes.runc.options]\n    SystemdCgroup = true\n",
                "mode": "0644",
            })
        ),
        task(
            "Fetch the key of the packages",
            "get_url",
            json!({ "url": format!("{repository}/Release.key"), "dest": "/etc/apt/keyrings/kubernetes.asc", "mode": "0644" })
        ),
        task(
            "Know where the packages are",
            "copy",
            json!({
                "dest": "/etc/apt/sources.list.d/kubernetes.list",
                "content": format!("deb [signed-by=/etc/apt/keyrings/kubernetes.asc] {repository}/ /\n"),
                "mode": "0644",
            })
        ),
        task("Install the tools", "apt", json!({ "name": ["kubeadm", "kubelet", "kubectl"], "update_cache": true })),
        with(
            task(
                "Keep their version until somebody upgrades",
                "dpkg_selections",
                json!({ "name": "{{ item }}", "selection": "hold" })
            ),
            json!({ "loop": ["kubeadm", "kubelet", "kubectl"] }),
        ),
        with(
            task(
                "Start the services",
                "systemd_service",
                json!({ "name": "{{ item }}", "enabled": true, "state": "started" })
            ),
            json!({ "loop": [package, "kubelet"] }),
        ),
    ]);
    let prepare: Vec<Value> = prepare.as_array().cloned().unwrap_or_default().into_iter().map(quiet).collect();
    let network = match said(cluster, "cni") {
        Some("calico") => "https://raw.githubusercontent.com/projectcalico/calico/v3.31.0/manifests/calico.yaml",
        _ => "https://github.com/flannel-io/flannel/releases/download/v0.27.4/kube-flannel.yml",
    };
    let config = json!({ "KUBECONFIG": "/etc/kubernetes/admin.conf" });
    let begin = json!([
        task(
            "Make the cluster",
            "command",
            json!({
                "cmd": format!("kubeadm init --control-plane-endpoint {{{{ groups['control'][0] }}}} --upload-certs --pod-network-cidr={pods}"),
                "creates": "/etc/kubernetes/admin.conf",
            })
        ),
        task(
            "Fetch the network of pods, at a fixed version",
            "get_url",
            json!({ "url": network, "dest": "/etc/kubernetes/network.yaml", "mode": "0644" })
        ),
        with(
            task(
                "Write its address range into it",
                "replace",
                json!({ "path": "/etc/kubernetes/network.yaml", "regexp": "10\\.244\\.0\\.0/16", "replace": pods })
            ),
            json!({}),
        ),
        with(
            task("Start it", "command", json!({ "cmd": "kubectl apply --filename /etc/kubernetes/network.yaml" })),
            json!({ "environment": config, "register": "cluster_network", "changed_when": "'created' in cluster_network.stdout or 'configured' in cluster_network.stdout" }),
        ),
    ]);
    let join = json!([
        with(
            task("Ask how to join", "command", json!({ "cmd": "kubeadm token create --ttl 1h --print-join-command" })),
            json!({ "delegate_to": "{{ groups['control'][0] }}", "run_once": true, "register": "cluster_join", "changed_when": false, "no_log": true }),
        ),
        task(
            "Join",
            "command",
            json!({ "cmd": "{{ cluster_join.stdout }}", "creates": "/etc/kubernetes/kubelet.conf" })
        ),
    ]);
    let plays = json!([
        { "name": "Prepare every machine", "hosts": "kubernetes", "tasks": prepare },
        { "name": "Begin with the first machine", "hosts": "control[0]", "tasks": begin },
        { "name": "Let the others join", "hosts": "workers", "tasks": join },
    ]);
    let about = "A Kubernetes cluster on bare machines. It may run again: what is done stays as it is.\nMore control machines join by hand, with the certificate key that `kubeadm init` printed.";
    File::new("cluster.yml", about, &yaml::folded(&plays, 120))
}

/// Commands that change nothing when they run again are no change.
fn quiet(task: Value) -> Value {
    let name = task["name"].as_str().unwrap_or_default().to_owned();
    let always = ["Turn swap off now", "Load them now", "Apply it now"].contains(&name.as_str());
    if always { with(task, json!({ "changed_when": false })) } else { task }
}

#[expect(clippy::too_many_lines, reason = "one resource after another, in the order of the file")]
fn database_playbook(input: &Input, name: &ResourceName, database: &Database, version: &str) -> File {
    let major = version.split('.').next().unwrap_or("17");
    let group = name.as_str().replace('-', "_");
    let domain = format!("{}.internal", input.resolved.stack.app);
    let data = format!("/var/lib/postgresql/{major}/main");
    let etc = format!("/etc/postgresql/{major}/main");
    let replicas: Vec<String> = (1..=database.replicas).map(|at| format!("{name}-replica{at}.{domain}")).collect();
    let mut settings = String::from("listen_addresses = '*'\nwal_level = replica\n");
    let _ = writeln!(
        settings,
        "max_wal_senders = {}\nmax_replication_slots = {}",
        database.replicas.max(1) + 3,
        database.replicas.max(1) + 3
    );
    // segments became a size: 64 of 16 MB
    settings += "wal_keep_size = 1GB\nmax_slot_wal_keep_size = 20GB\nhot_standby = on\npassword_encryption = scram-sha-256\narchive_mode = on\n";
    let _ = writeln!(
        settings,
        "archive_command = 'rsync --archive --ignore-existing %p postgres@backup.{domain}:/srv/archive/{name}/%f'"
    );
    let fixed = [
        "listen_addresses",
        "wal_level",
        "max_wal_senders",
        "max_replication_slots",
        "wal_keep_size",
        "hot_standby",
        "password_encryption",
        "archive_mode",
        "archive_command",
    ];
    for (key, value) in database.settings.iter().filter(|(key, _)| !fixed.contains(&key.as_str())) {
        let _ = writeln!(settings, "{key} = '{}'", value.replace('\'', "''"));
    }
    let mut rules = String::new();
    for host in &replicas {
        let _ = writeln!(rules, "hostssl replication replicator {host} scram-sha-256");
    }
    let restart = json!({ "notify": "Restart PostgreSQL" });
    let handlers = json!([task(
        "Restart PostgreSQL",
        "systemd_service",
        json!({ "name": format!("postgresql@{major}-main"), "state": "restarted" })
    )]);
    let install = vec![
        task(
            "Install PostgreSQL",
            "apt",
            json!({ "name": [format!("postgresql-{major}"), "rsync", "acl"], "update_cache": true, "cache_valid_time": 3600 }),
        ),
        with(
            task(
                "Write its settings",
                "copy",
                json!({ "dest": format!("{etc}/conf.d/90-slipway.conf"), "content": settings, "owner": "postgres", "group": "postgres", "mode": "0640" }),
            ),
            restart.clone(),
        ),
        with(
            task(
                "Let followers in, by SCRAM over TLS",
                "blockinfile",
                json!({ "path": format!("{etc}/pg_hba.conf"), "marker": "# {mark} slipway", "block": rules }),
            ),
            restart,
        ),
    ];
    let as_postgres = json!({ "become": true, "become_user": "postgres" });
    let mut primary = install.clone();
    primary.push(json!({ "name": "Restart it now when it must be", "ansible.builtin.meta": "flush_handlers" }));
    primary.push(with(
        with(task("Look for the role of followers", "command", json!({ "cmd": "psql --no-psqlrc --tuples-only --no-align --command \"select 1 from pg_roles where rolname = 'replicator'\"" })), as_postgres.clone()),
        json!({ "register": "database_role", "changed_when": false }),
    ));
    primary.push(with(
        with(
            task("Make the role of followers", "command", json!({
                "cmd": "psql --no-psqlrc --set ON_ERROR_STOP=1",
                "# by standard input: arguments can be read by everybody on the machine": null,
                "stdin": "create role replicator with replication login password '{{ replication_password | replace(\"'\", \"''\") }}'",
            })),
            as_postgres.clone(),
        ),
        json!({ "when": "database_role.stdout != '1'", "changed_when": true, "no_log": true }),
    ));
    for at in 1..=database.replicas {
        let slot = format!("{group}_replica{at}");
        primary.push(with(
            with(
                task(&format!("Keep what follower {at} has not read"), "command", json!({
                    "cmd": format!("psql --no-psqlrc --tuples-only --no-align --command \"select pg_create_physical_replication_slot('{slot}') where not exists (select from pg_replication_slots where slot_name = '{slot}')\""),
                })),
                as_postgres.clone(),
            ),
            json!({ "register": "database_slot", "changed_when": "database_slot.stdout != ''" }),
        ));
    }
    let primary_host = format!("{name}-primary.{domain}");
    let mut follow = install;
    follow.push(task("Look whether it follows already", "stat", json!({ "path": format!("{data}/standby.signal") })));
    if let Some(last) = follow.last_mut() {
        last["register"] = "database_standby".into();
    }
    let fresh = json!({ "when": "not database_standby.stat.exists" });
    follow.push(with(
        task("Stop it", "systemd_service", json!({ "name": format!("postgresql@{major}-main"), "state": "stopped" })),
        fresh.clone(),
    ));
    follow.push(with(
        task("Put the empty cluster away", "file", json!({ "path": data, "state": "absent" })),
        fresh.clone(),
    ));
    follow.push(with(
        with(
            with(
                task("Copy the primary and follow it", "command", json!({
                    "cmd": format!("pg_basebackup --host={primary_host} --username=replicator --pgdata={data} --wal-method=stream --checkpoint=fast --write-recovery-conf --slot={group}_replica{{{{ groups['{group}_replicas'].index(inventory_hostname) + 1 }}}}"),
                    "creates": format!("{data}/standby.signal"),
                })),
                json!({ "environment": { "PGPASSWORD": "{{ replication_password }}", "PGSSLMODE": "require" } }),
            ),
            as_postgres,
        ),
        json!({ "when": "not database_standby.stat.exists", "no_log": true }),
    ));
    follow.push(with(
        task(
            "Start it",
            "systemd_service",
            json!({ "name": format!("postgresql@{major}-main"), "state": "started", "enabled": true }),
        ),
        json!({}),
    ));
    let plays = json!([
        { "name": format!("The primary of {name}"), "hosts": format!("{group}_primary"), "tasks": primary, "handlers": handlers },
        { "name": format!("The followers of {name}"), "hosts": format!("{group}_replicas"), "serial": 1, "tasks": follow, "handlers": handlers },
    ]);
    let about = format!(
        "PostgreSQL {major}: a primary and {} followers by streaming. The password is asked of ansible-vault:\n\
         ansible-playbook database-{name}.yml --extra-vars @vault.yml   (vault.yml holds replication_password)\n\
         Data come out of a cloud's own service by logical replication and a copy of the sequences; pg_basebackup cannot do it.\n\
         A follower is promoted by a person, or by Patroni, which holds a lease: never by a script that cannot know who else is primary.",
        database.replicas
    );
    File::new(format!("database-{name}.yml"), &about, &yaml::folded(&plays, 120))
}
