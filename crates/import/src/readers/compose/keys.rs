//! Every key of the Compose specification that a stack does not carry as it is, and why.
//!
//! Source: the Compose specification, <https://github.com/compose-spec/compose-spec>.

use crate::report::Fate::{self, Changed, Refused};

/// What becomes of a key of a service for which there is nothing more to do.
pub(crate) fn service(key: &str) -> Option<(Fate, &'static str)> {
    Some(match key {
        "container_name" | "hostname" | "domainname" => {
            (Changed, "instances have names of their own; services find each other by `needs`")
        }
        "restart" => (Changed, "Slipway keeps every service running, with growing pauses"),
        "networks" | "links" | "external_links" => {
            (Changed, "each environment is a network of its own; `needs` says who calls whom")
        }
        "network_mode" => (
            Refused,
            "an instance has the host's loopback address as a process and a network of its own as a container; there is no choice of mode",
        ),
        "logging" | "attach" => (Changed, "output is captured, rotated and redacted by Slipway"),
        "init" => (Changed, "each instance has a shim that reaps its children"),
        "pull_policy" => (Changed, "images are pulled by digest before anything is switched"),
        "develop" => (Changed, "`slipway up` rebuilds when a file changes"),
        "stdin_open" | "tty" => (Changed, "`slipway exec` opens a command in a running instance"),
        "labels" | "label_file" | "annotations" => {
            (Refused, "labels are read by programs beside the application; there are none here")
        }
        "privileged" | "cap_add" | "devices" | "device_cgroup_rules" | "gpus" | "security_opt" | "userns_mode" => {
            (Refused, "instances get no rights beyond those of their user")
        }
        "cap_drop" | "read_only" => (Changed, "instances run without further rights, in files that do not change"),
        "pid" | "ipc" | "uts" | "cgroup" | "cgroup_parent" | "isolation" | "runtime" | "credential_spec"
        | "oom_kill_disable" | "oom_score_adj" | "sysctls" | "shm_size" | "storage_opt" | "cpuset"
        | "cpu_rt_period" | "cpu_rt_runtime" | "cpu_count" | "cpu_percent" | "mem_swappiness" | "memswap_limit"
        | "blkio_config" | "mac_address" | "group_add" | "ulimits" | "use_api_socket" | "provider" | "models" => (
            Refused,
            "a setting of the container engine that no target of Slipway has; the service runs with the usual one",
        ),
        "dns" | "dns_opt" | "dns_search" | "extra_hosts" => {
            (Refused, "names are resolved as on the host; put the name into DNS")
        }
        "cpu_shares" | "cpu_period" | "cpu_quota" => (Refused, "write the cap as CPUs: `size = { cpu = \"250m..1\" }`"),
        "pids_limit" => (Refused, "there is no limit on processes; memory and CPU are capped by `size`"),
        "platform" => (Refused, "programs are built for the host they run on"),
        "user" => (Refused, "Slipway chooses an unprivileged user for each application; an image keeps its own"),
        "working_dir" => {
            (Refused, "the command runs in the service's `dir`; begin it with `cd` where it needs another")
        }
        "tmpfs" => (Changed, "/tmp is there; it is empty after a restart of the host"),
        "stop_signal" => (Refused, "an instance is told to end by SIGTERM; let the program take that"),
        "post_start" | "pre_stop" => {
            (Refused, "no commands run inside an instance; the program does this when it starts and on SIGTERM")
        }
        "volumes_from" => (Refused, "instances share one folder, which SLIPWAY_DATA names"),
        "configs" => (Refused, "put the file into the service's folder: it is part of the release"),
        "external" => (Refused, "nothing outside of the stack is taken over"),
        _ => return None,
    })
}

/// What becomes of a key below `build`.
pub(crate) fn build(key: &str) -> Option<(Fate, &'static str)> {
    Some(match key {
        "args" | "target" | "additional_contexts" | "dockerfile_inline" | "ssh" | "secrets" | "entitlements" => (
            Refused,
            "a Dockerfile is built with its defaults; write this into a Dockerfile of its own and name it in `dockerfile`",
        ),
        "cache_from" | "cache_to" | "no_cache" | "no_cache_filter" | "pull" => {
            (Changed, "the engine's own cache is used; `--rebuild` builds anew")
        }
        "tags" | "labels" => (Changed, "images are named by digest"),
        "platforms" | "platform" => (Refused, "programs are built for the host they run on"),
        "network" | "extra_hosts" | "isolation" | "privileged" | "shm_size" | "ulimits" | "sbom" | "provenance"
        | "attestations" => (Refused, "a setting of the builder that Slipway does not pass on"),
        _ => return None,
    })
}

/// What becomes of a key below `deploy`.
pub(crate) fn deploy(key: &str) -> Option<(Fate, &'static str)> {
    Some(match key {
        "restart_policy" => (Changed, "Slipway keeps every service running, with growing pauses"),
        "update_config" => {
            (Changed, "a new release starts beside the old and is switched when it is ready; see `rollout`")
        }
        "rollback_config" => (Changed, "an unhealthy release is taken back by itself"),
        "labels" => (Refused, "labels are read by programs beside the application; there are none here"),
        "mode" => (Changed, "`replicas` says how many; they are spread over the hosts"),
        "placement" => (Refused, "instances are spread evenly over the hosts"),
        "endpoint_mode" => (Changed, "the edge balances over all instances"),
        _ => return None,
    })
}

/// What becomes of a key at the top, other than services, volumes and secrets.
pub(crate) fn top(key: &str) -> Option<(Fate, &'static str)> {
    Some(match key {
        "networks" => (Changed, "each environment is a network of its own; `needs` says who calls whom"),
        "configs" => (Refused, "put the file into the folder of the service that reads it: it is part of the release"),
        "include" => (Refused, "import that file as well: `slipway import` takes a folder"),
        "models" => (Refused, "no target of Slipway runs models"),
        _ => return None,
    })
}
