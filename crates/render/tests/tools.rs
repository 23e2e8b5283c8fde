//! Every rendered file is read by the tool that reads it in earnest.
//!
//! Python and Node tools are installed once into a folder of the target directory; the others are packages of Debian.
//! A missing tool fails and says how to get it.

#[path = "tools/bench.rs"]
mod bench;
#[path = "tools/stacks.rs"]
mod stacks;

use bench::{Bench, Python, run};
use render::Target;

/// A `.env` with a value for every name.
fn values(bench: &Bench) {
    let example = std::fs::read_to_string(bench.path(".env.example")).expect("the example");
    let filled: String = example
        .lines()
        .map(|line| if line.ends_with('=') { format!("{line}aaaaaaaaaaaaaaaaaaaaaaaa\n") } else { format!("{line}\n") })
        .collect();
    std::fs::write(bench.path(".env"), filled).expect("written");
}

// proves S3.2, S3.5, T15
#[test]
fn compose_reads_what_is_rendered() {
    let compose = bench::compose();
    for (stack, environment) in [("jobsprint", "dev"), ("jobsprint", "staging"), ("roastify", "production")] {
        let bench = Bench::render(stack, environment, Target::Compose);
        values(&bench);
        let config = run(std::process::Command::new(&compose).args(["config", "--quiet"]).current_dir(bench.folder()));
        assert_eq!(config, "", "{stack} {environment}");
        run(Python::get().command("check-jsonschema").args(["--builtin-schema", "vendor.compose-spec"]).arg(bench.path("compose.yaml")));
    }
}

#[test]
fn hadolint_finds_nothing_in_the_dockerfiles() {
    for (stack, environment) in [("jobsprint", "staging"), ("roastify", "production")] {
        let bench = Bench::render(stack, environment, Target::Compose);
        for file in bench.files(".Dockerfile") {
            run(Python::get().command("hadolint").args(["--failure-threshold", "warning"]).arg(&file));
        }
    }
}

// proves S4.P9, S4.P10
#[test]
fn nginx_accepts_the_edge() {
    for (stack, environment) in [("jobsprint", "staging"), ("roastify", "production")] {
        let bench = Bench::render(stack, environment, Target::Compose);
        bench.nginx("edge/nginx.conf");
    }
}
