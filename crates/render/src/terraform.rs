//! Terraform (and OpenTofu) for AWS: a root module, a module per noun, a file of variables per environment.
//!
//! What runs decides the shape: services of an environment on `aws` are Fargate tasks behind a load balancer, or Lambda
//! functions where an HTTP gateway without a load balancer leads to them; `hosts` are EC2 instances behind a load
//! balancer; `kubernetes` is an EKS cluster. Releases are `slipway deploy`'s: images and code are ignored here.
//!
//! The files below say what there is, as if it all stood in one folder; [`modules`] deals it out.

mod alarm;
mod api;
mod audit;
mod backup;
mod balancer;
mod budget;
mod cache;
mod cdn;
mod cloud;
mod dashboard;
mod database;
mod dns;
mod environment;
mod event;
mod export;
mod fargate;
mod function;
mod identity;
mod lambda;
mod log;
mod machines;
mod mail;
mod modules;
mod network;
mod queue;
mod reference;
mod role;
mod scanner;
mod search;
mod secret;
mod storage;
mod table;
mod variables;
mod waf;

use std::collections::BTreeSet;

use stack::Problems;

use crate::{File, Input, hcl};
use cloud::Cloud;
use modules::{Modules, Part};

/// The root module, the modules a stack needs, and `environments/NAME.tfvars` for each environment of the same target.
pub(crate) fn render(input: &Input, problems: &mut Problems) -> Vec<File> {
    let cloud = Cloud::new(input);
    let mut modules = Modules::new(parts(&cloud, problems));
    let mut outputs = variables::outputs(&cloud);
    for output in &mut outputs {
        modules.root(&mut output.body);
    }
    let mut known: BTreeSet<&str> = modules.handed();
    known.extend(["environment", "region"]);
    let variables: Vec<_> = variables::variables(&cloud)
        .into_iter()
        .filter(|block| block.words.get(1).is_some_and(|name| known.contains(name.as_str())))
        .collect();
    let needs = modules.needs();
    let mut calls = vec![variables::names(&cloud)];
    calls.extend(modules.calls());
    let mut files = modules.files(&variables);
    let mut add = |name: &str, about: &str, blocks: &[hcl::Block]| {
        if !blocks.is_empty() {
            files.push(File::new(format!("{name}.tf"), about, &hcl::document(blocks)));
        }
    };
    add("main", "The modules, and what each is told of the others.", &calls);
    add(
        "versions",
        "What reads these files: Terraform or OpenTofu, and its providers, pinned.",
        &variables::versions(needs),
    );
    add("backend", "Where the state is: encrypted, locked, out of the repository.", &variables::backend(&cloud));
    add("providers", "Where things are made, and the tags of all of them.", &variables::configured(&cloud, needs));
    add("variables", "What differs between environments; values are in environments/ENVIRONMENT.tfvars.", &variables);
    add("outputs", "What `slipway deploy` needs to know.", &outputs);
    files.push(scanner::explained());
    files.extend(variables::values(input, &cloud, &known));
    files
}

/// Everything, by module and file, in an order in which a module names those before it and never one behind it.
fn parts(cloud: &Cloud<'_>, problems: &mut Problems) -> Vec<Part> {
    let part = |module, file, about, blocks| Part { module, file, about, blocks };
    vec![
        part(
            "network",
            "main",
            "Public subnets for what faces visitors, private ones for what runs, isolated ones for data.",
            network::network(cloud),
        ),
        part(
            "network",
            "security",
            "Who may reach whom, from `needs`: nothing else gets through.",
            network::security(cloud),
        ),
        part("keys", "main", "Keys that encrypt data at rest.", secret::keys(cloud)),
        part("secrets", "main", "Secrets of the application: names, never values.", secret::secrets(cloud)),
        part("dns", "main", "Zones, and certificates for every name that is answered.", dns::names(cloud)),
        part(
            "database",
            "main",
            "PostgreSQL. Its passwords are made here and kept in the state, which is encrypted.",
            database::databases(cloud),
        ),
        part("database", "tables", "Key-value tables.", table::tables(cloud)),
        part(
            "cache",
            "main",
            "Redis, as replication groups: a cluster resource has a single member (T13).",
            cache::caches(cloud),
        ),
        part("queue", "main", "Message brokers.", queue::queues(cloud)),
        part("queue", "topics", "Topics.", queue::topics(cloud)),
        part("storage", "main", "Buckets: closed, encrypted, versioned.", storage::buckets(cloud)),
        part("search", "main", "Search domains.", search::searches(cloud)),
        part("mail", "main", "Domains mails come from.", mail::domains(cloud)),
        part("mail", "names", "Signatures, who may send, and what becomes of the forged.", dns::of_mail(cloud)),
        part("identity", "main", "People who sign in.", identity::pools(cloud)),
        part("logs", "main", "Where output goes and how long it stays.", log::logs(cloud)),
        part("roles", "main", "What each program may do: what its `needs` say and no more.", role::roles(cloud)),
        part("compute", "images", "Where images of a release go.", fargate::images(cloud)),
        part("compute", "services", "Long-running services on Fargate.", fargate::services(cloud)),
        part("compute", "functions", "Functions and jobs on Lambda.", function::functions(cloud)),
        part(
            "compute",
            "lambda_services",
            "Services that run as functions behind the HTTP gateway.",
            lambda::services(cloud),
        ),
        part("compute", "machines", "Machines that the fleet runs on.", machines::hosts(cloud)),
        part("compute", "cluster", "The Kubernetes cluster.", machines::cluster(cloud)),
        part("compute", "balancer", "The load balancer.", balancer::balancer(cloud)),
        part("compute", "api", "The API gateway.", api::gateways(cloud, problems)),
        part("compute", "names", "Names that lead here.", dns::of_programs(cloud)),
        part("waf", "main", "Filters in front of routes; an HTTP API cannot have one (T5).", waf::filters(cloud)),
        part("cdn", "main", "Caches near visitors.", cdn::distributions(cloud)),
        part("cdn", "names", "Names that lead here.", dns::of_distributions(cloud)),
        part("events", "main", "Events and schedules, each wired once (T7).", event::events(cloud)),
        part("backup", "main", "A vault of copies that outlives the services.", backup::backups(cloud)),
        part("alarms", "main", "Conditions that wake somebody.", alarm::alarms(cloud)),
        part("dashboards", "main", "Pages of charts.", dashboard::dashboards(cloud)),
        part("budget", "main", "What the account may cost.", budget::budget()),
        part("audit", "main", "The account's own guards.", audit::guards(cloud)),
    ]
}
