//! Two hundred compose files of the kinds people write: twenty applications, each in ten ways of writing (long and short
//! forms, anchors, limits, profiles, proxies, secrets). They are ours; their shapes are those of the Compose specification.

/// An application: its services in the short form, `{tag}` for a version.
pub(crate) type Application = (&'static str, &'static [(&'static str, &'static str, &'static str)]);

pub(crate) const APPLICATIONS: [Application; 20] = [
    ("blog", &[("web", "wordpress:{tag}", "80"), ("db", "postgres:15", ""), ("cache", "redis:7", "")]),
    (
        "shop",
        &[
            ("app", "build", "3000"),
            ("worker", "build", ""),
            ("db", "postgres:16-alpine", ""),
            ("redis", "redis:7-alpine", ""),
        ],
    ),
    ("chat", &[("server", "build", "8080"), ("redis", "valkey/valkey:8", "")]),
    ("wiki", &[("wiki", "requarks/wiki:{tag}", "3000"), ("db", "postgis/postgis:15-3.4", "")]),
    ("git", &[("gitea", "gitea/gitea:{tag}", "3000"), ("postgres", "postgres:14", "")]),
    (
        "queue",
        &[
            ("api", "build", "4000"),
            ("consumer", "build", ""),
            ("mq", "rabbitmq:3.12-management", ""),
            ("db", "postgres:15", ""),
        ],
    ),
    ("static", &[("nginx", "nginx:1.27", "80")]),
    ("proxy", &[("web", "build", "5000"), ("traefik", "traefik:v3", "")]),
    ("metrics", &[("prometheus", "prom/prometheus:{tag}", "9090"), ("grafana", "grafana/grafana:{tag}", "3000")]),
    (
        "files",
        &[
            ("nextcloud", "nextcloud:{tag}", "80"),
            ("db", "postgres:15", ""),
            ("redis", "redis:7", ""),
            ("minio", "minio/minio:{tag}", ""),
        ],
    ),
    ("mail", &[("web", "build", "8000"), ("smtp", "axllent/mailpit:{tag}", "8025")]),
    ("flow", &[("n8n", "n8nio/n8n:{tag}", "5678"), ("postgres", "postgres:15", ""), ("redis", "redis:7", "")]),
    (
        "django",
        &[
            ("web", "build", "8000"),
            ("celery", "build", ""),
            ("beat", "build", ""),
            ("db", "postgres:17", ""),
            ("redis", "redis:7", ""),
        ],
    ),
    (
        "rails",
        &[("web", "build", "3000"), ("sidekiq", "build", ""), ("db", "postgres:16", ""), ("redis", "redis:7.2", "")],
    ),
    (
        "social",
        &[
            ("web", "example/social:{tag}", "3000"),
            ("streaming", "example/social:{tag}", "4000"),
            ("db", "postgres:14-alpine", ""),
            ("redis", "redis:7-alpine", ""),
        ],
    ),
    ("search", &[("app", "build", "9200"), ("search", "opensearchproject/opensearch:2", "")]),
    ("mysql", &[("app", "build", "8080"), ("db", "mysql:8", "")]),
    ("mongo", &[("api", "build", "3001"), ("mongo", "mongo:7", "")]),
    (
        "iot",
        &[
            ("broker", "eclipse-mosquitto:2", "1883"),
            ("bridge", "build", ""),
            ("db", "timescale/timescaledb:2.14-pg15", ""),
        ],
    ),
    ("game", &[("server", "example/game:{tag}", "25565"), ("map", "example/map:{tag}", "8123")]),
];

/// Ways in which each is written.
pub(crate) const WAYS: usize = 10;

/// One file: an application in one way of writing.
#[expect(clippy::format_push_string, reason = "a test that reads like what it writes")]
pub(crate) fn compose(application: usize, way: usize) -> String {
    let (name, services) = APPLICATIONS[application];
    let tag = ["1", "latest", "2.4.1"][way % 3];
    let mut text = String::new();
    match way {
        0 => text += "version: \"3.8\"\n",
        1 => text += &format!("name: {name}\n"),
        4 => {
            text += "x-base: &base\n  restart: unless-stopped\n  logging: {driver: json-file, options: {max-size: 10m}}\n  init: true\n";
        }
        _ => {}
    }
    text += "services:\n";
    let data: Vec<&str> = services
        .iter()
        .filter(|(_, image, port)| port.is_empty() && *image != "build")
        .map(|(name, ..)| *name)
        .collect();
    for (service, image, port) in services {
        text += &format!("  {service}:\n");
        if way == 4 {
            text += "    <<: *base\n";
        }
        match (*image, way) {
            ("build", 2 | 6) => {
                text += &format!(
                    "    build:\n      context: ./{service}\n      dockerfile: Dockerfile.prod\n      args:\n        VERSION: '1'\n      target: runtime\n      cache_from: ['example/{service}:cache']\n"
                );
            }
            ("build", _) => text += &format!("    build: ./{service}\n"),
            (image, _) => text += &format!("    image: {}\n", image.replace("{tag}", tag)),
        }
        let program = !data.contains(service);
        if !port.is_empty() {
            text += &match way {
                2 | 6 => format!(
                    "    ports:\n      - target: {port}\n        published: '80'\n        protocol: tcp\n        mode: host\n"
                ),
                3 => format!("    expose: ['{port}']\n"),
                5 => format!("    ports: ['127.0.0.1:8{application:02}{way}:{port}/tcp']\n"),
                _ => format!("    ports:\n      - \"8{application:02}{way}:{port}\"\n"),
            };
        }
        if program {
            text += &environment(way, &data);
        } else {
            text += "    environment:\n      POSTGRES_USER: app\n      POSTGRES_PASSWORD: ${DB_PASSWORD:?set it}\n";
            if way != 8 {
                text += &format!("    volumes: ['{service}_data:/var/lib/{service}']\n");
            }
        }
        if program && !data.is_empty() {
            text += "    depends_on:\n";
            for other in &data {
                text += &if way.is_multiple_of(2) {
                    format!("      - {other}\n")
                } else {
                    format!("      {other}:\n        condition: service_healthy\n        restart: true\n")
                };
            }
        }
        text += &extras(way, service, port);
    }
    text += "volumes:\n";
    for name in data.iter().copied().chain([services[services.len() - 1].0]).collect::<std::collections::BTreeSet<_>>()
    {
        text += &format!("  {name}_data:\n    driver: local\n");
    }
    match way {
        8 => text += "  cache: {}\n",
        2 => {
            text +=
                "networks:\n  front: {}\n  back:\n    internal: true\n    ipam: {config: [{subnet: 172.28.0.0/16}]}\n";
        }
        7 => text += "secrets:\n  api_key:\n    file: ./api_key.txt\nconfigs:\n  conf:\n    content: x\n",
        9 => text += "include:\n  - ./other.yaml\n",
        _ => {}
    }
    text
}

fn environment(way: usize, data: &[&str]) -> String {
    let first = data.first().copied().unwrap_or("nowhere");
    if way.is_multiple_of(2) {
        format!(
            "    environment:\n      - NODE_ENV=production\n      - PORT=3000\n      - DATABASE_URL=postgresql://app:${{DB_PASSWORD}}@{first}:5432/app\n      - LOG_LEVEL=${{LOG_LEVEL:-info}}\n      - SECRET_KEY=changeme12345\n      - EXTRA\n"
        )
    } else {
        format!(
            "    environment:\n      NODE_ENV: production\n      WORKERS: 4\n      DEBUG: 'false'\n      DB_HOST: {first}\n      PUBLIC_URL: https://${{DOMAIN}}/\n    env_file:\n      - .env\n      - path: .env.local\n        required: false\n"
        )
    }
}

fn extras(way: usize, service: &str, port: &str) -> String {
    let balanced = if port.is_empty() {
        String::new()
    } else {
        format!("      - traefik.http.services.{service}.loadbalancer.server.port={port}\n")
    };
    let port = if port.is_empty() { "9000" } else { port };
    match way {
        0 => format!("    restart: always\n    container_name: {service}\n    healthcheck:\n      test: ['CMD', 'curl', '-f', 'http://localhost:{port}/health']\n      interval: 30s\n      timeout: 5s\n      retries: 3\n      start_period: 20s\n"),
        1 => "    deploy:\n      replicas: 2\n      resources:\n        limits: {cpus: '0.50', memory: 512M, pids: 100}\n        reservations: {cpus: '0.25', memory: 128M}\n      restart_policy: {condition: on-failure, max_attempts: 3}\n      update_config: {parallelism: 1, order: start-first}\n      placement: {constraints: ['node.role == worker']}\n      labels: {a: b}\n".to_owned(),
        2 => "    networks: [front, back]\n    user: '1000:1000'\n    working_dir: /app\n    command: [\"./run\", \"--flag\", \"with space\"]\n    stop_grace_period: 1m30s\n    stop_signal: SIGQUIT\n    ulimits: {nofile: {soft: 1024, hard: 2048}}\n    sysctls: {net.core.somaxconn: 1024}\n".to_owned(),
        3 => "    mem_limit: 1g\n    mem_reservation: 256m\n    cpus: 1.5\n    pids_limit: 50\n    read_only: true\n    tmpfs: [/tmp]\n    cap_drop: [ALL]\n    cap_add: [NET_BIND_SERVICE]\n    security_opt: ['no-new-privileges:true']\n    privileged: false\n".to_owned(),
        4 => "    profiles: [extra]\n    labels:\n      com.example.team: web\n".to_owned(),
        5 => format!("    labels:\n      - traefik.enable=true\n      - traefik.http.routers.{service}.rule=Host(`{service}.example.com`) && PathPrefix(`/x`)\n{balanced}    dns: [1.1.1.1]\n    extra_hosts: ['host.docker.internal:host-gateway']\n"),
        6 => "    entrypoint: /docker-entrypoint.sh\n    command: serve --workers ${WORKERS:-2}\n    hostname: box\n    tty: true\n    stdin_open: true\n    platform: linux/amd64\n    pull_policy: always\n    scale: 3\n    gpus: all\n".to_owned(),
        7 => "    secrets:\n      - api_key\n      - source: api_key\n        target: /run/key\n        mode: 0400\n    configs: [conf]\n    develop:\n      watch:\n        - action: sync\n          path: ./src\n          target: /app/src\n".to_owned(),
        8 => "    network_mode: host\n    pid: host\n    ipc: shareable\n    shm_size: 64m\n    devices: ['/dev/ttyUSB0:/dev/ttyUSB0']\n    volumes:\n      - ./src:/app\n      - /var/run/docker.sock:/var/run/docker.sock:ro\n      - type: bind\n        source: ./conf\n        target: /etc/conf\n        read_only: true\n      - cache:/cache\n".to_owned(),
        _ => "    healthcheck:\n      disable: true\n    post_start:\n      - command: ./hook\n    oom_score_adj: -500\n    annotations: {a: b}\n    x-note: kept for people\n    unknown_key: 1\n".to_owned(),
    }
}
