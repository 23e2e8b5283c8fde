//! The metrics of the stack's alarms and dashboards in the words of Prometheus.

use stack::{Resolved, TargetKind};

/// An expression for a metric, in the unit Prometheus counts it: seconds, bytes, percent, per second.
///
/// Services name their metrics as the founding documents do (`http_requests_total`, `http_request_duration_seconds`);
/// the rest are those of the usual exporters.
pub(crate) fn expression(resolved: &Resolved, metric: &str, percent: bool) -> String {
    let cluster = resolved.environment.target == TargetKind::Kubernetes;
    let space = format!("namespace=\"{}-{}\"", resolved.stack.app, resolved.name);
    let latency = |share: &str| quantile(share, "http_request_duration_seconds");
    match metric {
        "http.requests" => "sum(rate(http_requests_total[5m]))".to_owned(),
        "http.errors" if percent => share("http_requests_total{status=~\"5..\"}", "http_requests_total"),
        "http.errors" => "sum(rate(http_requests_total{status=~\"5..\"}[5m]))".to_owned(),
        "http.latency.p50" => latency("0.5"),
        "http.latency" | "http.latency.p95" => latency("0.95"),
        "http.latency.p99" => latency("0.99"),
        "http.limited" if percent => share("http_requests_total{status=\"429\"}", "http_requests_total"),
        "http.limited" => "sum(rate(http_requests_total{status=\"429\"}[5m]))".to_owned(),
        "cpu" if cluster => format!(
            "100 * sum by (pod) (rate(container_cpu_usage_seconds_total{{{space}, container!=\"\"}}[5m])) / \
             sum by (pod) (kube_pod_container_resource_limits{{{space}, resource=\"cpu\"}})"
        ),
        "cpu" => "100 - 100 * avg by (instance) (rate(node_cpu_seconds_total{mode=\"idle\"}[5m]))".to_owned(),
        "memory" if cluster && percent => format!(
            "100 * sum by (pod) (container_memory_working_set_bytes{{{space}, container!=\"\"}}) / \
             sum by (pod) (kube_pod_container_resource_limits{{{space}, resource=\"memory\"}})"
        ),
        "memory" if cluster => format!("sum by (pod) (container_memory_working_set_bytes{{{space}, container!=\"\"}})"),
        "memory" if percent => "100 * (1 - node_memory_MemAvailable_bytes / node_memory_MemTotal_bytes)".to_owned(),
        "memory" => "node_memory_MemTotal_bytes - node_memory_MemAvailable_bytes".to_owned(),
        "disk" if percent => {
            "100 * (1 - node_filesystem_avail_bytes{fstype!~\"tmpfs|overlay\"} / node_filesystem_size_bytes{fstype!~\"tmpfs|overlay\"})".to_owned()
        }
        "disk" => "node_filesystem_size_bytes{fstype!~\"tmpfs|overlay\"} - node_filesystem_avail_bytes{fstype!~\"tmpfs|overlay\"}".to_owned(),
        "restarts" if cluster => format!("sum by (pod) (increase(kube_pod_container_status_restarts_total{{{space}}}[15m]))"),
        "restarts" => "sum(changes(process_start_time_seconds[15m]))".to_owned(),
        "unhealthy" if cluster => format!("sum(kube_deployment_status_replicas_unavailable{{{space}}})"),
        "unhealthy" => "count(up == 0) or vector(0)".to_owned(),
        "backup.age" if cluster => "time() - max(cnpg_collector_last_available_backup_timestamp)".to_owned(),
        "backup.age" => "time() - max(slipway_backup_last_success_timestamp_seconds)".to_owned(),
        "drill.age" => "time() - max(slipway_drill_last_success_timestamp_seconds)".to_owned(),
        "queue.depth" => "sum(rabbitmq_queue_messages_ready)".to_owned(),
        "queue.age" => "time() - min(rabbitmq_queue_head_message_timestamp > 0)".to_owned(),
        "db.connections" if percent => "100 * sum(pg_stat_activity_count) / max(pg_settings_max_connections)".to_owned(),
        "db.connections" => "sum(pg_stat_activity_count)".to_owned(),
        "db.lag" => "max(pg_replication_lag_seconds)".to_owned(),
        "db.size" => "sum(pg_database_size_bytes)".to_owned(),
        "db.latency" => quantile("0.95", "db_query_duration_seconds"),
        "cache.hits" => {
            "100 * sum(rate(redis_keyspace_hits_total[5m])) / (sum(rate(redis_keyspace_hits_total[5m])) + sum(rate(redis_keyspace_misses_total[5m])))".to_owned()
        }
        "cache.memory" if percent => "100 * redis_memory_used_bytes / (redis_memory_max_bytes > 0)".to_owned(),
        "cache.memory" => "redis_memory_used_bytes".to_owned(),
        "bucket.size" => "max by (bucket) (slipway_bucket_bytes)".to_owned(),
        "function.errors" if percent => share("slipway_function_failures_total", "slipway_function_runs_total"),
        "function.errors" => "sum(increase(slipway_function_failures_total[15m]))".to_owned(),
        "function.concurrency" => "sum(slipway_function_running)".to_owned(),
        "job.failures" if cluster => format!("sum(kube_job_status_failed{{{space}}})"),
        "job.failures" => "sum(increase(slipway_job_failures_total[1h]))".to_owned(),
        "job.duration" if cluster => {
            format!("max(time() - (kube_job_status_start_time{{{space}}} unless on (job_name) kube_job_status_completion_time{{{space}}}))")
        }
        "job.duration" => "max(slipway_job_duration_seconds)".to_owned(),
        "certificate.expires" if cluster => format!("min(certmanager_certificate_expiration_timestamp_seconds{{{space}}}) - time()"),
        "certificate.expires" => "min(probe_ssl_earliest_cert_expiry) - time()".to_owned(),
        "deploy.failures" => "max(slipway_deploy_failures)".to_owned(),
        "logs.errors" => "sum(rate(log_errors_total[5m]))".to_owned(),
        // what is no metric of ours is an expression already
        other => other.to_owned(),
    }
}

/// A quantile over all instances: of rates of buckets, added up by their upper ends; never of the bare counter.
pub(crate) fn quantile(share: &str, histogram: &str) -> String {
    format!("histogram_quantile({share}, sum by (le) (rate({histogram}_bucket[5m])))")
}

fn share(part: &str, whole: &str) -> String {
    format!("100 * sum(rate({part}[5m])) / sum(rate({whole}[5m]))")
}
