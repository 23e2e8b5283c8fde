//! Each known mistake, written as people write it, is named by its number.

use std::fs;

use import::{Fate, Imported, Trap};

fn imported(files: &[(&str, &str)]) -> Imported {
    let folder = tempfile::tempdir().expect("readable");
    for (name, text) in files {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().expect("readable")).expect("readable");
        fs::write(path, text).expect("readable");
    }
    import::import(folder.path()).expect("readable")
}

/// The trap is met at the key, and nowhere that looks right.
fn meets(trap: Trap, key: &str, files: &[(&str, &str)]) -> Imported {
    let imported = imported(files);
    let found: Vec<&str> = imported
        .report
        .entries
        .iter()
        .filter(|entry| entry.trap == Some(trap))
        .map(|entry| entry.key.as_str())
        .collect();
    assert!(
        found.iter().any(|found| found.contains(key)),
        "{trap} at {key}, found at {found:?}\n{:#?}",
        imported.report
    );
    imported
}

#[test]
fn t1_the_first_aurora_serverless() {
    // proves T1
    let tf = "resource \"aws_rds_cluster\" \"shop\" {\n  engine = \"aurora-postgresql\"\n  engine_mode = \"serverless\"\n  scaling_configuration {\n    min_capacity = 2\n    max_capacity = 8\n    seconds_until_auto_pause = 300\n  }\n}\n";
    let imported = meets(Trap::AURORA_V1, "aws_rds_cluster.shop.engine_mode", &[("main.tf", tf)]);
    assert!(imported.stack.contains("capacity = \"2..8\""), "{}", imported.stack);
}

#[test]
fn t2_prisma_has_no_way_down() {
    // proves T2
    let json = r#"{"name":"x","scripts":{"start":"node .","migrate":"prisma migrate deploy"},"devDependencies":{"prisma":"6"}}"#;
    meets(Trap::PRISMA_DOWN, "scripts.migrate", &[("package.json", json)]);
}

#[test]
fn t3_the_name_of_a_secret_is_not_its_value() {
    // proves T3
    let tf = "resource \"aws_secretsmanager_secret\" \"jwt\" {}\nresource \"aws_lambda_function\" \"api\" {\n  environment {\n    variables = {\n      JWT_SECRET = aws_secretsmanager_secret.jwt.name\n    }\n  }\n}\n";
    let imported = meets(Trap::SECRET_NAME, "JWT_SECRET", &[("main.tf", tf)]);
    assert!(imported.stack.contains("JWT_SECRET = { secret = true }"), "{}", imported.stack);
}

#[test]
fn t4_a_sign_in_host_is_no_origin() {
    // proves T4
    let yaml = "services:\n  api:\n    image: a/b:1\n    environment:\n      ALLOWED_ORIGINS: https://a.example,https://accounts.google.com\n";
    let imported = meets(Trap::CORS_OAUTH, "ALLOWED_ORIGINS", &[("compose.yaml", yaml)]);
    assert!(imported.stack.contains("ALLOWED_ORIGINS = \"https://a.example\""), "{}", imported.stack);
}

#[test]
fn t5_a_waf_in_front_of_an_http_api() {
    // proves T5
    let tf = "resource \"aws_apigatewayv2_api\" \"api\" {\n  protocol_type = \"HTTP\"\n}\nresource \"aws_wafv2_web_acl\" \"main\" {}\nresource \"aws_wafv2_web_acl_association\" \"a\" {\n  resource_arn = aws_apigatewayv2_api.api.arn\n  web_acl_arn  = aws_wafv2_web_acl.main.arn\n}\n";
    meets(Trap::WAF_HTTP_API, "aws_wafv2_web_acl_association", &[("main.tf", tf)]);
}

#[test]
fn t6_a_name_without_a_record() {
    // proves T6
    let cdn = "resource \"aws_cloudfront_distribution\" \"web\" {\n  aliases = [\"app.shop.example\"]\n}\n";
    let dns = "resource \"aws_route53_record\" \"apex\" {\n  name = \"shop.example\"\n}\n";
    meets(Trap::MISSING_NAME, "aliases", &[("cdn.tf", cdn), ("dns.tf", dns)]);
    let good = "resource \"aws_route53_record\" \"app\" {\n  name = \"app.shop.example\"\n}\n";
    assert!(!self::imported(&[("cdn.tf", cdn), ("dns.tf", good)]).report.traps().contains(&Trap::MISSING_NAME));
}

#[test]
fn t7_an_upload_that_starts_the_function_twice() {
    // proves T7
    let twice = "resource \"aws_s3_bucket\" \"files\" {}\nresource \"aws_lambda_function\" \"parse\" {}\nresource \"aws_s3_bucket_notification\" \"n\" {\n  bucket = aws_s3_bucket.files.id\n  lambda_function {\n    lambda_function_arn = aws_lambda_function.parse.arn\n    events = [\"s3:ObjectCreated:*\"]\n  }\n}\nresource \"aws_cloudwatch_event_rule\" \"up\" {\n  event_pattern = jsonencode({ source = [\"aws.s3\"] })\n}\nresource \"aws_cloudwatch_event_target\" \"t\" {\n  rule = aws_cloudwatch_event_rule.up.name\n  arn  = aws_lambda_function.parse.arn\n}\n";
    meets(Trap::TWO_TRIGGERS, "aws_cloudwatch_event_target", &[("main.tf", twice)]);
}

#[test]
fn t8_a_query_cache_that_postgresql_does_not_have() {
    // proves T8
    let tf = "resource \"aws_db_parameter_group\" \"p\" {\n  family = \"postgres15\"\n  parameter {\n    name = \"query_cache_size\"\n    value = \"1000\"\n  }\n}\n";
    meets(Trap::QUERY_CACHE, "parameter", &[("main.tf", tf)]);
}

#[test]
fn t9_replication_of_long_ago() {
    // proves T9
    for line in [
        "pg_basebackup -h db.rds.amazonaws.com -D /data",
        "echo \"standby_mode = 'on'\" >> recovery.conf",
        "trigger_file = '/tmp/t'",
        "wal_keep_segments = 64",
        "host replication replicator 10.0.0.2/32 md5",
    ] {
        meets(Trap::OLD_REPLICATION, &line[..20], &[("pg_hba.conf", line), ("compose.yaml", "services: {}\n")]);
    }
    let good = "wal_keep_size = 1024\nhost replication replicator 10.0.0.2/32 scram-sha-256\n";
    assert_eq!(self::imported(&[("pg_hba.conf", good)]).report.traps(), []);
}

#[test]
fn t10_an_autoscaler_of_nothing_and_a_failover_without_a_lease() {
    // proves T10
    let hpa = "apiVersion: autoscaling/v2\nkind: HorizontalPodAutoscaler\nmetadata: {name: h}\nspec:\n  scaleTargetRef: {kind: Deployment, name: on-ecs}\n  maxReplicas: 20\n";
    meets(Trap::FAILOVER_JOB, "HorizontalPodAutoscaler/h", &[("h.yaml", hpa)]);
    let job = "apiVersion: batch/v1\nkind: Job\nmetadata: {name: postgres-failover}\nspec: {}\n";
    meets(Trap::FAILOVER_JOB, "Job/postgres-failover", &[("j.yaml", job)]);
}

#[test]
fn t11_a_dump_that_stays_and_copies_that_are_never_removed() {
    // proves T11
    let script = "#!/bin/sh\npg_dump -h db shop > dump.sql\naws s3 cp dump.sql s3://x/\nfind . -name 'dump*' -mtime +30 -delete\n";
    let imported = meets(Trap::PLAIN_DUMP, "pg_dump", &[("backup.sh", script)]);
    assert_eq!(imported.report.entries.iter().filter(|entry| entry.trap == Some(Trap::PLAIN_DUMP)).count(), 2);
    let streamed = "#!/bin/sh\npg_dump -h db shop | age -r $KEY | aws s3 cp - s3://x/dump\n";
    assert_eq!(self::imported(&[("backup.sh", streamed)]).report.traps(), []);
}

#[test]
fn t12_three_primaries() {
    // proves T12
    let yaml = "apiVersion: apps/v1\nkind: StatefulSet\nmetadata: {name: db}\nspec:\n  replicas: 3\n  template:\n    spec:\n      containers:\n      - {name: db, image: 'postgres:15'}\n";
    let imported = meets(Trap::THREE_PRIMARIES, "spec.replicas", &[("db.yaml", yaml)]);
    assert!(imported.stack.contains("replicas = 2"), "{}", imported.stack);
}

#[test]
fn t13_three_nodes_of_one_redis() {
    // proves T13
    let tf = "resource \"aws_elasticache_cluster\" \"c\" {\n  engine = \"redis\"\n  engine_version = \"7.0\"\n  node_type = \"cache.t3.medium\"\n  num_cache_nodes = 3\n}\n";
    let imported = meets(Trap::REDIS_NODES, "num_cache_nodes", &[("main.tf", tf)]);
    assert!(imported.stack.contains("replicas = 2"), "{}", imported.stack);
}

#[test]
fn t14_late_migrations_and_their_like() {
    // proves T14
    let workflow = "on: {push: {tags: ['v*']}}\njobs:\n  deploy:\n    steps:\n      - run: kubectl set image deployment/api api=x:1\n      - run: |\n          kubectl rollout status deployment/api\n          kubectl exec -it deployment/api -- npm run migrate\n      - run: |\n          ssh ubuntu@staging.example\n          cd /opt\n";
    let imported = meets(Trap::LATE_MIGRATION, "steps[1].run", &[(".github/workflows/d.yml", workflow)]);
    let steps: Vec<&str> =
        imported.report.entries.iter().filter(|entry| entry.trap.is_some()).map(|entry| entry.key.as_str()).collect();
    assert_eq!(steps, ["jobs.deploy.steps[1].run", "jobs.deploy.steps[2].run"]);
    meets(Trap::LATE_MIGRATION, "image", &[("compose.yaml", "services:\n  a:\n    image: x/y:latest\n")]);
    let bare = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: api}\nspec:\n  template:\n    spec:\n      containers:\n      - {name: api, image: 'x:1', ports: [{containerPort: 4000}]}\n";
    meets(Trap::LATE_MIGRATION, "containers[0]", &[("d.yaml", bare)]);
}

#[test]
fn t15_two_ways_of_migrating() {
    // proves T15
    let yaml = "version: '3.8'\nservices:\n  db:\n    image: postgres:15\n    volumes: ['./migrations:/docker-entrypoint-initdb.d']\n";
    let imported = meets(Trap::TWO_MIGRATIONS, "services.db.volumes[0]", &[("compose.yaml", yaml)]);
    assert!(
        imported.report.entries.iter().any(|entry| entry.key == "version" && entry.trap == Some(Trap::TWO_MIGRATIONS))
    );
    assert!(imported.stack.contains("migrations = \"migrations\""), "{}", imported.stack);
}

#[test]
fn t16_an_ingress_that_was_retired() {
    // proves T16
    let yaml = "apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata:\n  name: i\n  annotations:\n    kubernetes.io/ingress.class: nginx\n    nginx.ingress.kubernetes.io/rate-limit: '100'\nspec:\n  rules:\n  - host: shop.example\n    http:\n      paths:\n      - {path: /, pathType: Prefix, backend: {service: {name: web, port: {number: 80}}}}\n---\napiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\nspec: {template: {spec: {containers: [{name: web, image: 'x:1'}]}}}\n";
    let imported = meets(Trap::INGRESS_NGINX, "rate-limit", &[("i.yaml", yaml)]);
    assert!(imported.stack.contains("limit = \"100/s per ip\""), "{}", imported.stack);
}

#[test]
fn t17_node_that_is_out_of_support() {
    // proves T17
    meets(Trap::FORWARDED_FOR, "FROM", &[("Dockerfile", "FROM node:18-alpine\nEXPOSE 3000\n")]);
    meets(
        Trap::FORWARDED_FOR,
        "engines.node",
        &[("package.json", r#"{"engines":{"node":">=18"},"scripts":{"start":"node ."}}"#)],
    );
    assert_eq!(self::imported(&[("Dockerfile", "FROM node:24-alpine\nEXPOSE 3000\n")]).report.traps(), []);
}

#[test]
fn every_trap_has_a_sentence_and_a_number() {
    for (index, trap) in Trap::ALL.iter().enumerate() {
        assert_eq!(trap.to_string(), format!("T{}", index + 1));
        assert!(trap.about().len() > 30);
    }
}

#[test]
fn no_value_of_a_secret_reaches_the_stack_file_or_the_report() {
    let secret = "hunter2hunter2";
    let imported = imported(&[
        ("compose.yaml", &format!("services:\n  a:\n    image: x:1\n    environment:\n      DB_PASSWORD: {secret}\n")),
        ("b.sh", &format!("export DB_PASSWORD={secret}\ncurl -H 'Authorization: Bearer {secret}' x\n")),
        (".env", &format!("API_TOKEN={secret}\nSMTP_URL=smtp://u:{secret}@mail\n")),
        (
            "s.yaml",
            &format!("apiVersion: v1\nkind: Secret\nmetadata: {{name: s}}\nstringData: {{JWT_SECRET: {secret}}}\n"),
        ),
    ]);
    assert!(!imported.stack.contains(secret), "{}", imported.stack);
    assert!(!format!("{:?}", imported.report).contains(secret));
    assert!(
        imported
            .report
            .entries
            .iter()
            .all(|entry| entry.fate != Fate::Kept || entry.trap.is_none() || !entry.reason.is_empty())
    );
}
