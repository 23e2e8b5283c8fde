//! Each target over stacks after the founding documents: the files as they are, the same every time, without a secret.

#[path = "tools/stacks.rs"]
mod stacks;

use std::fmt::Write as _;

use render::{Rendered, Target};
use stacks::input;

fn whole(rendered: &Rendered) -> String {
    let mut text = String::new();
    for problem in &rendered.problems {
        let _ = writeln!(text, "! {problem}");
    }
    for file in &rendered.files {
        let _ = write!(text, "=== {}\n{}", file.path, file.text);
    }
    text
}

/// Every target that a stack's environment is rendered for.
const CASES: [(&str, &str, &[Target]); 10] = [
    ("jobsprint", "dev", &[Target::Compose]),
    ("jobsprint", "staging", &[Target::Compose, Target::Prometheus]),
    (
        "jobsprint",
        "production",
        &[Target::Kubernetes, Target::Terraform, Target::Prometheus, Target::Grafana, Target::Ci],
    ),
    ("roastify", "production", &[Target::Compose, Target::Kubernetes, Target::Systemd, Target::Nginx, Target::Haproxy]),
    ("jamdung", "production", &[Target::Terraform, Target::Ci]),
    ("jobgraph", "production", &[Target::Terraform, Target::Ci, Target::Runbook]),
    ("roastify-ec2", "production", &[Target::Terraform, Target::Nginx, Target::Systemd, Target::Runbook]),
    ("companion", "cloud", &[Target::Terraform]),
    (
        "companion",
        "datacentre",
        &[Target::Kubernetes, Target::Ansible, Target::Prometheus, Target::Grafana, Target::Runbook],
    ),
    ("companion", "hybrid", &[Target::Haproxy]),
];

#[test]
fn every_target_renders_as_before() {
    for (stack, environment, targets) in CASES {
        for target in targets {
            let rendered = render::render(*target, &input(stack, environment)).unwrap_or_else(|p| panic!("{p}"));
            insta::assert_snapshot!(format!("{stack}_{environment}_{target}"), whole(&rendered));
        }
    }
}

#[test]
fn the_same_stack_gives_the_same_bytes() {
    for (stack, environment, targets) in CASES {
        for target in targets {
            let once = render::render(*target, &input(stack, environment)).expect("rendered");
            assert_eq!(once, render::render(*target, &input(stack, environment)).expect("rendered"));
            assert!(
                once.files.iter().all(|file| file.text.ends_with('\n') && !file.text.contains("\n\n\n")),
                "{target}"
            );
        }
    }
}

/// What a target cannot honour is refused, and the targets that can are named.
#[test]
fn what_cannot_be_honoured_is_refused() {
    let mut input = input("jobgraph", "dev");
    input.options.leave_out = false;
    for target in [Target::Compose, Target::Kubernetes] {
        let refused = render::render(target, &input).expect_err("tables and topics are AWS's");
        insta::assert_snapshot!(format!("refused_{target}"), refused.to_string());
    }
}

/// An Ingress has no words for limits: it says so, and without them it is rendered.
#[test]
fn an_ingress_on_request() {
    let mut input = input("jobsprint", "production");
    input.options.ingress = true;
    let rendered = render::render(Target::Kubernetes, &input).expect("rendered");
    assert!(rendered.problems.iter().any(|problem| problem.key.contains("limit")), "{}", rendered.problems);
    let ingress = rendered.files.iter().find(|file| file.path == "ingress.yaml").expect("an ingress");
    insta::assert_snapshot!(ingress.text);
    assert!(!rendered.files.iter().any(|file| file.path == "gateway.yaml"));
}
