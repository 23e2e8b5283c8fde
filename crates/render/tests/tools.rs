//! Every rendered file is read by the tool that reads it in earnest.
//!
//! Python and Node tools are installed once into a folder of the target directory; the others are packages of Debian.
//! A missing tool fails and says how to get it.

#[path = "tools/bench.rs"]
mod bench;
#[path = "tools/emulator.rs"]
mod emulator;
#[path = "tools/kept.rs"]
mod kept;
#[path = "tools/kubernetes/mod.rs"]
mod kubernetes;
#[path = "tools/made.rs"]
mod made;
#[path = "tools/mistakes.rs"]
mod mistakes;
#[path = "tools/older.rs"]
mod older;
#[path = "tools/opentofu.rs"]
mod opentofu;
#[path = "tools/postgres.rs"]
mod postgres;
#[path = "tools/provider.rs"]
mod provider;
#[path = "tools/stacks.rs"]
mod stacks;
#[path = "tools/terraform.rs"]
mod terraform;
#[path = "tools/terraform_modules.rs"]
mod terraform_modules;
#[path = "tools/terraformed.rs"]
mod terraformed;

use std::fmt::Write as _;

use bench::{Bench, run};
use kept::Python;
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
    let compose = kept::compose();
    for (stack, environment) in [
        ("jobsprint", "dev"),
        ("jobsprint", "staging"),
        ("roastify", "production"),
        ("jamdung", "staging"),
        ("jobgraph", "dev"),
        ("companion", "dev"),
    ] {
        let bench = Bench::render(stack, environment, Target::Compose);
        values(&bench);
        let config = run(std::process::Command::new(&compose).args(["config", "--quiet"]).current_dir(bench.folder()));
        assert_eq!(config, "", "{stack} {environment}");
        run(Python::get()
            .command("check-jsonschema")
            .args(["--builtin-schema", "vendor.compose-spec"])
            .arg(bench.path("compose.yaml")));
    }
}

#[test]
fn hadolint_finds_nothing_in_the_dockerfiles() {
    for (stack, environment) in
        [("jobsprint", "staging"), ("roastify", "production"), ("jamdung", "staging"), ("jobgraph", "dev")]
    {
        let bench = Bench::render(stack, environment, Target::Compose);
        for file in bench.files(".Dockerfile") {
            run(Python::get().command("hadolint").args(["--failure-threshold", "warning"]).arg(&file));
        }
    }
}

// proves S4.P9, S4.P10
#[test]
fn nginx_accepts_the_edge() {
    for (stack, environment) in
        [("jobsprint", "staging"), ("roastify", "production"), ("jamdung", "staging"), ("jobgraph", "dev")]
    {
        let bench = Bench::render(stack, environment, Target::Compose);
        bench.nginx("edge/nginx.conf");
    }
}

#[test]
fn yamllint_finds_nothing() {
    for (stack, environment, target) in [
        ("jobsprint", "staging", Target::Compose),
        ("jobsprint", "production", Target::Kubernetes),
        ("roastify", "production", Target::Kubernetes),
    ] {
        let bench = Bench::render(stack, environment, target);
        let rules = "{extends: default, rules: {line-length: disable, document-start: disable, comments: disable, comments-indentation: disable}}";
        for file in bench.files(".yaml").iter().filter(|file| !file.to_string_lossy().contains("templates")) {
            run(Python::get().command("yamllint").args(["--strict", "-d", rules]).arg(file));
        }
    }
}

// proves S2.7, S3.6, S3.13, T14
#[test]
fn workflow_linters_find_nothing() {
    for (stack, environment) in
        [("jobsprint", "production"), ("jamdung", "production"), ("jobgraph", "production"), ("companion", "cloud")]
    {
        let bench = Bench::render(stack, environment, Target::Ci);
        let workflows: Vec<_> = bench.files(".yml").into_iter().filter(|file| !file.ends_with("zizmor.yml")).collect();
        run(Python::get()
            .command("check-jsonschema")
            .args(["--builtin-schema", "vendor.github-workflows"])
            .args(&workflows));
        run(Python::get()
            .command("zizmor")
            .args(["--offline", "--no-progress", "--persona", "regular"])
            .arg("--config")
            .arg(bench.path(".github/zizmor.yml"))
            .args(&workflows));
        run(kept::actionlint().args(&workflows));
    }
}

// proves S2.17, S3.16, S3.17
#[test]
fn promtool_reads_configuration_rules_and_panels() {
    let promtool = kept::find("promtool", "prometheus");
    let cases = [
        ("jobsprint", "production"),
        ("jobsprint", "staging"),
        ("companion", "datacentre"),
        ("jobgraph", "production"),
        ("roastify-ec2", "production"),
    ];
    for (stack, environment) in cases {
        let bench = Bench::render(stack, environment, Target::Prometheus);
        // Debian's is built without Kubernetes: what finds pods is taken out, what is done with them is checked
        bench::without_pods(&bench.path("prometheus.yml"));
        run(std::process::Command::new(&promtool)
            .args(["check", "config", "--lint-fatal"])
            .arg(bench.path("prometheus.yml")));
        run(std::process::Command::new(&promtool)
            .args(["check", "rules", "--lint-fatal"])
            .arg(bench.path("rules.yml")));
        let panels = Bench::render(stack, environment, Target::Grafana);
        let mut rules = String::from("groups:\n  - name: panels\n    rules:\n");
        for (at, expression) in panels.files(".json").iter().flat_map(|file| bench::expressions(file)).enumerate() {
            let _ =
                writeln!(rules, "      - record: panel:{at}\n        expr: {}", serde_json::Value::from(expression));
        }
        std::fs::write(panels.path("panels.yml"), rules).expect("written");
        run(std::process::Command::new(&promtool).args(["check", "rules"]).arg(panels.path("panels.yml")));
    }
}

/// The founding document took a quantile of a bare counter, which is nothing; ours must fire, and only when it is slow.
// proves S2.18, S3.17
#[test]
fn the_95th_percentile_is_one() {
    let promtool = kept::find("promtool", "prometheus");
    let bench = Bench::render("jobsprint", "production", Target::Prometheus);
    std::fs::write(bench.path("test.yml"), bench::QUANTILE).expect("written");
    run(std::process::Command::new(&promtool).args(["test", "rules", "test.yml"]).current_dir(bench.folder()));
}

// proves S2.10, S2.11, T9
#[test]
fn ansible_finds_nothing() {
    let bench = Bench::render("companion", "datacentre", Target::Ansible);
    for playbook in bench.files(".yml").iter().filter(|file| !file.ends_with("inventory.yml")) {
        run(Python::get()
            .command("ansible-playbook")
            .args(["--syntax-check"])
            .arg(playbook)
            .current_dir(bench.folder()));
    }
    run(Python::get()
        .command("ansible-lint")
        .args(["--offline", "--strict", "--profile", "production"])
        .current_dir(bench.folder()));
}

#[test]
fn systemd_verifies_the_units() {
    let analyze = kept::find("systemd-analyze", "systemd");
    for stack in ["roastify", "roastify-ec2"] {
        let bench = Bench::render(stack, "production", Target::Systemd);
        let mut units = bench.files(".service");
        units.extend(bench.files(".timer"));
        units.extend(bench.files(".target"));
        let output = std::process::Command::new(&analyze)
            .arg("verify")
            .arg("--man=no")
            .args(&units)
            .output()
            .expect("systemd-analyze");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        // templates are checked as they are, and machines of tests have no programs of the stack
        let ours: Vec<&str> = said.lines().filter(|line| line.contains(&*bench.folder().to_string_lossy())).collect();
        assert!(ours.is_empty() && output.status.success(), "{said}");
    }
}

// proves S4.P8, S4.P9, S4.P10, S4.10, S4.12
#[test]
fn nginx_and_haproxy_accept_their_configuration() {
    for (stack, environment) in [("roastify", "production"), ("roastify-ec2", "production")] {
        Bench::render(stack, environment, Target::Nginx).nginx("nginx.conf");
    }
    for (stack, environment) in [("roastify", "production"), ("companion", "hybrid")] {
        Bench::render(stack, environment, Target::Haproxy).haproxy("haproxy.cfg");
    }
}

/// The step that migrates, in a real database: in order, each once, and nothing of a file that fails.
// proves S4.P2, S4.P3, S4.E3
#[test]
fn the_migration_step_applies_each_file_once() {
    let bench = Bench::render("roastify", "production", Target::Compose);
    let server = postgres::Server::start(&bench.path("pg"));
    let files = bench.path("migrations");
    std::fs::create_dir(&files).expect("made");
    let put = |name: &str, text: &str| std::fs::write(files.join(name), text).expect("written");
    put("001_first.up.sql", "create table a (id int);");
    put("002_second.up.sql", "alter table a add column b int; insert into a values (1, 2);");
    put("002_second.down.sql", "drop table a;");
    put("010_bad.up.sql", "insert into a values (3, 4); insert into nowhere values (1);");
    let script = std::fs::read_to_string(bench.path("docker/migrate.sh")).expect("the script");
    std::fs::write(bench.path("here.sh"), script.replace("/migrations", &files.to_string_lossy())).expect("written");
    let step = || {
        let mut sh = std::process::Command::new("sh");
        sh.arg(bench.path("here.sh")).env("DATABASE_URL", server.url());
        sh.output().expect("a shell")
    };
    let first = step();
    assert!(!first.status.success() && String::from_utf8_lossy(&first.stderr).contains("nowhere"), "{first:?}");
    std::fs::remove_file(files.join("010_bad.up.sql")).expect("removed");
    assert!(step().status.success());
    assert_eq!(server.ask("select version, name from migrations order by version"), "1|first\n2|second");
    assert_eq!(server.ask("select id, b from a"), "1|2");
}
