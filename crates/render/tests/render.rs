//! Each target over stacks after the founding documents: the files as they are, the same every time, without a secret.

use render::{Input, Options, Rendered, Target};
use stack::{EnvironmentName, Resolved};

fn text(stack: &str) -> String {
    std::fs::read_to_string(format!("{}/tests/stacks/{stack}.toml", env!("CARGO_MANIFEST_DIR"))).expect("a stack")
}

fn all(text: &str) -> Vec<Resolved> {
    let names = stack::environments(text);
    names.iter().map(|name| stack::resolve("slipway.toml", text, name).unwrap_or_else(|p| panic!("{p}"))).collect()
}

fn input(stack: &str, environment: &str) -> Input {
    let text = text(stack);
    let all = all(&text);
    let name = EnvironmentName::new(environment).expect("a name");
    let resolved = all.iter().find(|resolved| resolved.name == name).expect("the environment").clone();
    Input { resolved, all, options: Options { leave_out: true, tag: Some("3f9c2a1".to_owned()), ..Options::default() } }
}

fn whole(rendered: &Rendered) -> String {
    let mut text = String::new();
    for problem in &rendered.problems {
        text += &format!("! {problem}\n");
    }
    for file in &rendered.files {
        text += &format!("=== {}\n{}", file.path, file.text);
    }
    text
}

/// Every target that a stack's environment is rendered for.
const CASES: [(&str, &str, &[Target]); 10] = [
    ("jobsprint", "dev", &[Target::Compose]),
    ("jobsprint", "staging", &[Target::Compose, Target::Prometheus]),
    ("jobsprint", "production", &[Target::Kubernetes, Target::Terraform, Target::Prometheus, Target::Grafana, Target::Ci]),
    ("roastify", "production", &[Target::Compose, Target::Kubernetes, Target::Systemd, Target::Nginx, Target::Haproxy]),
    ("jamdung", "production", &[Target::Terraform, Target::Ci]),
    ("jobgraph", "production", &[Target::Terraform, Target::Ci, Target::Runbook]),
    ("roastify-ec2", "production", &[Target::Terraform, Target::Nginx, Target::Systemd, Target::Runbook]),
    ("companion", "cloud", &[Target::Terraform]),
    ("companion", "datacentre", &[Target::Kubernetes, Target::Ansible, Target::Prometheus, Target::Grafana, Target::Runbook]),
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
            assert!(once.files.iter().all(|file| file.text.ends_with('\n') && !file.text.contains("\n\n\n")), "{target}");
        }
    }
}
