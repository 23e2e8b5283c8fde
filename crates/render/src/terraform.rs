//! Terraform (and OpenTofu) for AWS: one noun per file, one file of variables per environment.
//!
//! What runs decides the shape: services of an environment on `aws` are Fargate tasks behind a load balancer, or Lambda
//! functions where an HTTP gateway without a load balancer leads to them; `hosts` are EC2 instances behind a load
//! balancer; `kubernetes` is an EKS cluster. Releases are `slipway deploy`'s: images and code are ignored here.

mod alarm;
mod api;
mod balancer;
mod cdn;
mod cloud;
mod dashboard;
mod data;
mod dns;
mod environment;
mod fargate;
mod function;
mod identity;
mod lambda;
mod log;
mod machines;
mod mail;
mod network;
mod people;
mod role;
mod scanner;
mod secret;
mod storage;
mod table;
mod variables;
mod waf;

use stack::Problems;

use crate::{File, Input};
use cloud::Cloud;

/// One file per noun, `variables.tf`, `NAME.tfvars` for each environment of the same target.
pub(crate) fn render(input: &Input, problems: &mut Problems) -> Vec<File> {
    let cloud = Cloud::new(input);
    let mut files = Vec::new();
    let mut add = |name: &str, about: &str, blocks: Vec<String>| {
        if !blocks.is_empty() {
            files.push(File::new(format!("{name}.tf"), about, &blocks.join("\n")));
        }
    };
    add(
        "versions",
        "What reads these files: Terraform or OpenTofu, and its providers. Majors are pinned.",
        variables::versions(&cloud),
    );
    add(
        "variables",
        "What differs between environments; values are in ENVIRONMENT.tfvars.",
        variables::variables(&cloud),
    );
    add(
        "network",
        "Public subnets for what faces visitors, private ones for what runs, isolated ones for data.",
        network::network(&cloud),
    );
    add("security", "Who may reach whom, from `needs`: nothing else gets through.", network::security(&cloud));
    add("keys", "Keys that encrypt data at rest.", secret::keys(&cloud));
    add(
        "secrets",
        "Secrets: names, never values. Passwords of our own servers are made here and kept in the state, which is encrypted.",
        secret::secrets(&cloud),
    );
    add("database", "PostgreSQL.", data::databases(&cloud));
    add("cache", "Redis, as replication groups: a cluster resource has a single member (T13).", data::caches(&cloud));
    add("queue", "Message brokers.", data::queues(&cloud));
    add("search", "Search domains.", data::searches(&cloud));
    add("tables", "Key-value tables.", table::tables(&cloud));
    add("storage", "Buckets: closed, encrypted, versioned.", storage::buckets(&cloud));
    add("images", "Where images of a release go.", fargate::images(&cloud));
    add("services", "Long-running services on Fargate.", fargate::services(&cloud));
    add("functions", "Functions and jobs on Lambda.", function::functions(&cloud));
    add("lambda_services", "Services that run as functions behind the HTTP gateway.", lambda::services(&cloud));
    add("machines", "Machines that the fleet runs on.", machines::hosts(&cloud));
    add("cluster", "The Kubernetes cluster.", machines::cluster(&cloud));
    add("balancer", "The load balancer.", balancer::balancer(&cloud));
    add("api", "The API gateway.", api::gateways(&cloud, problems));
    add("cdn", "Caches near visitors.", cdn::distributions(&cloud));
    add("dns", "Names and certificates.", dns::names(&cloud));
    add("events", "Events, schedules and topics, each wired once (T7).", function::events(&cloud));
    add("identity", "People who sign in.", identity::pools(&cloud));
    add("mail", "Domains mails come from.", mail::domains(&cloud));
    add("waf", "Filters in front of routes; an HTTP API cannot have one (T5).", waf::filters(&cloud));
    add("roles", "What each program may do: what its `needs` say and no more.", role::roles(&cloud));
    add("logs", "Where output goes and how long it stays.", log::logs(&cloud));
    add("alarms", "Conditions that wake somebody.", alarm::alarms(&cloud));
    add("dashboards", "Pages of charts.", dashboard::dashboards(&cloud));
    add("backup", "A vault of copies that outlives the services.", data::backups(&cloud));
    add("budget", "What the account may cost, and the account's own guards.", people::budget(&cloud));
    add("outputs", "What `slipway deploy` needs to know.", variables::outputs(&cloud));
    files.push(scanner::explained());
    files.extend(variables::values(input, &cloud));
    files
}
