//! What each format becomes: the stack file, and the report's first words.

use std::{fs, time::Duration};

use import::{Fate, ImportError, Imported, import};

fn imported(files: &[(&str, &str)]) -> Imported {
    let folder = tempfile::Builder::new().prefix("shop").tempdir().expect("readable");
    let folder = folder.path().join("shop");
    for (name, text) in files {
        let path = folder.join(name);
        fs::create_dir_all(path.parent().expect("readable")).expect("readable");
        fs::write(path, text).expect("readable");
    }
    let imported = import(&folder).expect("readable");
    let wrong: Vec<_> = imported.report.entries.iter().filter(|entry| entry.file == "slipway.toml").collect();
    assert!(wrong.is_empty(), "{wrong:#?}\n{}", imported.stack);
    assert!(imported.report.entries.iter().all(|entry| entry.fate == Fate::Kept || !entry.reason.is_empty()));
    imported
}

fn table(imported: &Imported) -> String {
    let rows = imported.report.entries.iter().map(|entry| {
        let trap = entry.trap.map(|trap| format!(" {trap}")).unwrap_or_default();
        format!("{:<7} {} {}{trap}", entry.fate.as_str(), entry.file, entry.key)
    });
    format!("{}\n{}", imported.stack, rows.collect::<Vec<_>>().join("\n"))
}

#[test]
fn a_procfile_with_its_variables() {
    let imported = imported(&[
        (
            "Procfile",
            "web: gunicorn app:app --bind 0.0.0.0:$PORT\nworker: celery -A app worker\nrelease: ./manage migrate\n",
        ),
        (
            ".env",
            "# local\nLOG_LEVEL=info\nSECRET_KEY=abcdefgh12345678\nDATABASE_URL=postgres://u:p@localhost/x\nPORT=5000\nbroken\n",
        ),
        (
            "app.json",
            r#"{"name":"shop","env":{"REGION":"eu","JWT_SECRET":{"generator":"secret"}},"addons":["heroku-redis:mini"],"formation":{"web":{"quantity":2,"size":"standard-1x"}}}"#,
        ),
    ]);
    insta::assert_snapshot!(table(&imported));
}

#[test]
fn a_deploy_file_of_kamal() {
    let imported = imported(&[(
        "config/deploy.yml",
        "service: shop\nimage: acme/shop\nservers:\n  web:\n    hosts: [192.0.2.1, 192.0.2.2]\n  jobs:\n    hosts: [192.0.2.3]\n    cmd: bin/jobs\nproxy:\n  ssl: true\n  host: shop.example\n  app_port: 3000\n  healthcheck: {path: /up, interval: 3}\nregistry: {username: acme, password: [KAMAL_REGISTRY_PASSWORD]}\nenv:\n  clear: {RAILS_ENV: production, DB_HOST: shop-db}\n  secret: [RAILS_MASTER_KEY, DATABASE_URL]\nbuilder: {arch: amd64}\naccessories:\n  db: {image: 'postgres:16', host: 192.0.2.4, port: '5432', env: {secret: [POSTGRES_PASSWORD]}, directories: ['data:/var/lib/postgresql/data']}\n  redis: {image: 'redis:7', host: 192.0.2.4}\naliases: {console: app exec}\n",
    )]);
    insta::assert_snapshot!(table(&imported));
}

#[test]
fn an_application_of_fly() {
    let imported = imported(&[(
        "fly.toml",
        "app = 'shop'\nprimary_region = 'fra'\nkill_timeout = 20\n[build]\ndockerfile = 'Dockerfile.fly'\n[env]\nLOG = 'info'\n[deploy]\nrelease_command = 'bin/migrate'\nstrategy = 'rolling'\n[processes]\napp = 'bin/server'\nworker = 'bin/worker'\n[http_service]\ninternal_port = 8080\nforce_https = true\nauto_stop_machines = 'stop'\nmin_machines_running = 2\n[[http_service.checks]]\ninterval = '15s'\ntimeout = '2s'\nmethod = 'GET'\npath = '/health'\n[[vm]]\nmemory = '512mb'\ncpus = 1\ncpu_kind = 'shared'\n[mounts]\nsource = 'data'\ndestination = '/data'\n",
    )]);
    insta::assert_snapshot!(table(&imported));
}

#[test]
fn units_of_systemd() {
    let imported = imported(&[
        (
            "etc/shop.service",
            "[Unit]\nDescription=The shop\nAfter=network.target\n[Service]\nType=simple\nUser=shop\nEnvironment=PORT=4000 LOG=info API_TOKEN=abc123def456\nEnvironmentFile=/etc/shop.env\nExecStart=/opt/shop/bin/server \\\n  --all\nRestart=always\nMemoryMax=512M\nCPUQuota=50%\nTimeoutStopSec=20\nNoNewPrivileges=true\nLimitNOFILE=65536\nFrobnicate=yes\n[Install]\nWantedBy=multi-user.target\n",
        ),
        ("etc/tidy.timer", "[Timer]\nOnCalendar=Mon *-*-* 04:30\nPersistent=true\n[Install]\nWantedBy=timers.target\n"),
        ("etc/tidy.service", "[Service]\nType=oneshot\nExecStart=/opt/shop/bin/tidy\n"),
    ]);
    insta::assert_snapshot!(table(&imported));
}

#[test]
fn manifests_of_kubernetes() {
    let imported = imported(&[(
        "k8s/all.yaml",
        "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop}\n---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: conf}\ndata: {LOG_LEVEL: info}\n---\napiVersion: v1\nkind: Secret\nmetadata: {name: keys}\nstringData: {JWT_SECRET: hidden-hidden-hidden}\n---\napiVersion: apps/v1\nkind: Deployment\nmetadata: {name: api}\nspec:\n  replicas: 3\n  selector: {matchLabels: {app: api}}\n  template:\n    metadata: {labels: {app: api}}\n    spec:\n      terminationGracePeriodSeconds: 45\n      containers:\n      - name: api\n        image: acme/api:1.4\n        args: ['serve', '--fast']\n        ports: [{containerPort: 4000}]\n        envFrom: [{configMapRef: {name: conf}}, {secretRef: {name: keys}}]\n        resources: {requests: {cpu: 250m, memory: 512Mi}, limits: {cpu: '1', memory: 1Gi}}\n        livenessProbe: {httpGet: {path: /health, port: 4000}, periodSeconds: 10, failureThreshold: 3}\n        readinessProbe: {httpGet: {path: /ready, port: 4000}}\n---\napiVersion: autoscaling/v2\nkind: HorizontalPodAutoscaler\nmetadata: {name: api}\nspec:\n  scaleTargetRef: {kind: Deployment, name: api}\n  minReplicas: 3\n  maxReplicas: 20\n  metrics: [{type: Resource, resource: {name: cpu, target: {type: Utilization, averageUtilization: 70}}}]\n---\napiVersion: v1\nkind: Service\nmetadata: {name: api}\nspec: {selector: {app: api}, ports: [{port: 80, targetPort: 4000}]}\n---\napiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {name: api}\nspec:\n  hostnames: [api.shop.example]\n  rules: [{matches: [{path: {type: PathPrefix, value: /v1}}], backendRefs: [{name: api, port: 80}]}]\n---\napiVersion: batch/v1\nkind: CronJob\nmetadata: {name: tidy}\nspec:\n  schedule: '0 3 * * *'\n  timeZone: Europe/Berlin\n  concurrencyPolicy: Forbid\n  jobTemplate: {spec: {backoffLimit: 2, template: {spec: {restartPolicy: Never, containers: [{name: tidy, image: 'acme/api:1.4', command: [tidy]}]}}}}\n",
    )]);
    insta::assert_snapshot!(table(&imported));
}

#[test]
fn resources_of_terraform() {
    let imported = imported(&[
        (
            "tf/data.tf",
            "resource \"aws_db_instance\" \"main\" {\n  engine = \"postgres\"\n  engine_version = \"15.3\"\n  instance_class = \"db.t3.large\"\n  allocated_storage = 100\n  max_allocated_storage = 500\n  multi_az = true\n  backup_retention_period = 30\n  password = var.password\n}\nresource \"aws_db_instance\" \"replica\" {\n  count = 2\n  replicate_source_db = aws_db_instance.main.identifier\n  instance_class = \"db.t3.small\"\n}\nresource \"aws_s3_bucket\" \"files\" {\n  bucket = \"shop-files\"\n}\nresource \"aws_s3_bucket_versioning\" \"files\" {\n  bucket = aws_s3_bucket.files.id\n  versioning_configuration {\n    status = \"Enabled\"\n  }\n}\nresource \"aws_dynamodb_table\" \"left_over\" {\n  name = \"users\"\n  hash_key = \"id\"\n}\n",
        ),
        (
            "tf/net.tf",
            "variable \"password\" {\n  sensitive = true\n}\nresource \"aws_vpc\" \"main\" {\n  cidr_block = \"10.0.0.0/16\"\n}\nresource \"aws_ecs_task_definition\" \"api\" {\n  family = \"api\"\n  cpu = \"512\"\n  memory = \"1024\"\n  container_definitions = jsonencode([{ name = \"api\", image = \"acme/api:2\" }])\n}\nresource \"aws_strange_thing\" \"x\" {\n  a = 1\n}\n",
        ),
    ]);
    insta::assert_snapshot!(table(&imported));
}

#[test]
fn the_layers_of_a_compose_file() {
    let imported = imported(&[(
        "compose.yaml",
        "services:\n  base:\n    environment: {A: '1', LOG: info}\n    deploy: {resources: {limits: {memory: 256M}}}\n  web:\n    extends: base\n    image: acme/web:3\n    environment: {LOG: debug}\n    ports: ['80:8080']\n  cron:\n    extends: {service: base}\n    image: acme/web:3\n    command: cron\n",
    )]);
    insta::assert_snapshot!(table(&imported));
}

#[test]
fn broken_and_hostile_files_are_refused_in_bounded_time() {
    let began = std::time::Instant::now();
    let cycle = "services:\n  a: {extends: b, image: x}\n  b: {extends: a, image: y}\n";
    for (name, text) in [
        ("compose.yaml", "services: [".to_owned()),
        ("compose.yaml", "services:\n  a: &a {b: *a}\n".to_owned()),
        ("compose.yaml", cycle.to_owned()),
        ("compose.yaml", format!("services: {}", "[".repeat(1_000_000))),
        ("main.tf", "resource \"a\" {".to_owned()),
        ("main.tf", format!("a = {}", "[".repeat(1_000_000))),
        ("main.tf", format!("a = {}1", "!".repeat(100_000))),
        ("nginx.conf", format!("proxy_pass server {}", "a {".repeat(1_000_000))),
        ("app.json", "{".repeat(1_000_000)),
        ("fly.toml", format!("a = {}", "[".repeat(1_000_000))),
    ] {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(name), &text).unwrap();
        let error = import(folder.path()).expect_err(&text[..text.len().min(60)]);
        assert!(matches!(error, ImportError::Malformed { .. }), "{error}");
        assert!(error.to_string().len() < 500, "{error}");
    }
    let folder = tempfile::tempdir().unwrap();
    let large = fs::File::create(folder.path().join("compose.yaml")).unwrap();
    large.set_len(100 << 20).unwrap();
    assert!(matches!(import(folder.path()), Err(ImportError::TooLarge { .. })));
    fs::write(folder.path().join("compose.yaml"), [0xff, 0xfe]).unwrap();
    assert!(matches!(import(folder.path()), Err(ImportError::Malformed { .. })));
    fs::remove_file(folder.path().join("compose.yaml")).unwrap();
    assert!(matches!(import(folder.path()), Err(ImportError::Nothing { .. })));
    assert!(matches!(import(&folder.path().join("none")), Err(ImportError::Unreadable { .. })));
    assert!(began.elapsed() < Duration::from_mins(1), "{:?}", began.elapsed());
}

/// Names that lead to names, each inside many brackets, are followed only so far, and no stack overflows.
#[test]
fn hostile_values_of_terraform_end() {
    let began = std::time::Instant::now();
    let mut text = String::from("locals {\n  a0 = \"x\"\n");
    for at in 1..200 {
        let (open, close) = ("[".repeat(30), "]".repeat(30));
        text.extend(["  a", &at.to_string(), " = ", &open, "local.a", &(at - 1).to_string(), close.as_str(), "\n"]);
    }
    text += "  big = [local.big1, local.big1, local.big1]\n";
    for at in 1..30 {
        let next = format!("local.big{}", at + 1);
        text.extend(["  big", &at.to_string(), " = [", &next, ", ", &next, ", ", &next, "]\n"]);
    }
    text += "}\nresource \"aws_s3_bucket\" \"b\" {\n  bucket = \"files\"\n  a = local.a199\n  b = local.big\n}\n";
    let imported = imported(&[("main.tf", &text)]);
    assert!(imported.stack.contains("[bucket.b]"), "{}", imported.stack);
    assert!(began.elapsed() < Duration::from_mins(1), "{:?}", began.elapsed());
}
