//! Rendered Terraform applied in earnest, to an emulator of AWS.

use std::{
    collections::BTreeSet,
    fmt::Write as _,
    path::{Path, PathBuf},
    process::{Child, Stdio},
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::{
    bench::{Bench, run},
    kept,
    older::{Older, json},
};

/// A server that answers like AWS, until it is dropped.
pub(crate) struct Emulator {
    server: Child,
    address: String,
}

impl Emulator {
    /// Starts one on a port of its own.
    pub(crate) fn start() -> Self {
        let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = free.local_addr().expect("an address").port();
        drop(free);
        let mut command = kept::moto("moto_server");
        // policies of AWS are there, and certificates are valid at once
        command.env("MOTO_IAM_LOAD_MANAGED_POLICIES", "true").env("MOTO_ACM_VALIDATION_WAIT", "1");
        command.args(["-H", "127.0.0.1", "-p", &port.to_string()]).stdout(Stdio::null()).stderr(Stdio::null());
        let server = command.spawn().expect("the emulator");
        let emulator = Self { server, address: format!("127.0.0.1:{port}") };
        let deadline = Instant::now() + Duration::from_mins(1);
        while std::net::TcpStream::connect(&emulator.address).is_err() {
            assert!(Instant::now() < deadline, "the emulator does not listen on {}", emulator.address);
            std::thread::sleep(Duration::from_millis(50));
        }
        emulator
    }

    /// Runs a few lines of Python that ask AWS through `client(SERVICE)` and print JSON.
    pub(crate) fn ask(&self, lines: &str) -> Value {
        let script = format!("{ASK}\n{lines}");
        let text = run(kept::moto("python").args(["-c", &script, &format!("http://{}", self.address)]));
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

const ASK: &str = r#"
import sys, json, boto3
def client(service):
    return boto3.client(service, endpoint_url=sys.argv[1], region_name="us-east-1",
                        aws_access_key_id="test", aws_secret_access_key="test")
"#;

/// The zones that a registrar has made.
pub(crate) const ZONES: &str = r#"
for name in ("jamdungjobs.com", "jamdungjob.io"):
    client("route53").create_hosted_zone(Name=name, CallerReference=name)
print("{}")
"#;

/// Everything that was made.
pub(crate) const MADE: &str = include_str!("made.py");

/// Terraform in the folder of a root module that was rewritten for the provider of 2021.
pub(crate) struct Terraform {
    folder: PathBuf,
    settings: PathBuf,
}

impl Terraform {
    /// With its provider and its modules in place.
    pub(crate) fn new(folder: &Path) -> Self {
        let settings = kept::old_provider().join("terraform.rc");
        let terraform = Self { folder: folder.to_owned(), settings };
        terraform.run(&["init", "-input=false", "-no-color"]);
        terraform
    }

    /// What it says; panics when it fails.
    pub(crate) fn run(&self, words: &[&str]) -> String {
        let mut command = kept::terraform();
        command.env("TF_CLI_CONFIG_FILE", &self.settings).env("TF_IN_AUTOMATION", "1");
        run(command.args(words).current_dir(&self.folder))
    }
}

/// What the emulator forgets, or the provider of 2021 has no word for: a second plan would set it again.
pub(crate) const FORGOTTEN: [&str; 3] = [
    // it had no serverless v2, and takes the emulator's answer for v1
    "aws_rds_cluster.main scaling_configuration",
    // not kept for members of a cluster
    "aws_rds_cluster_instance.main performance_insights_enabled",
    // tags of the provider are not kept for addresses
    "aws_eip.nat tags_all",
];

/// A root module of which everything is made in an emulator.
pub(crate) struct Applied {
    terraform: Terraform,
    values: Vec<String>,
}

impl Applied {
    /// The files of a bench without some modules, rewritten for the provider of 2021.
    pub(crate) fn new(emulator: &Emulator, bench: &Bench, values: &[&str], without: &[&str]) -> Self {
        let folder = bench.folder();
        for name in without {
            std::fs::remove_dir_all(folder.join("modules").join(name)).expect("there was such a module");
        }
        leave_out(&folder.join("main.tf"), without);
        let older = Older::get();
        let mut endpoints = String::new();
        for service in &older.services {
            let _ = writeln!(endpoints, "    {service} = \"http://{}\"", emulator.address);
        }
        let provider = std::fs::read_to_string(folder.join("providers.tf")).expect("the providers");
        let own = format!("provider \"aws\" {{\n{TEST}  endpoints {{\n{endpoints}  }}\n");
        std::fs::write(folder.join("providers.tf"), provider.replace("provider \"aws\" {\n", &own)).expect("written");
        older.rewrite(folder);
        let values = values.iter().map(ToString::to_string).collect();
        Self { terraform: Terraform::new(folder), values }
    }

    fn changing(&self, verb: &str) -> String {
        let mut words = vec![verb, "-input=false", "-no-color", "-auto-approve", "-parallelism=20"];
        words.extend(self.values.iter().map(String::as_str));
        self.terraform.run(&words)
    }

    /// Makes everything.
    pub(crate) fn apply(&self) -> String {
        self.changing("apply")
    }

    /// Takes everything away.
    pub(crate) fn destroy(&self) -> String {
        self.changing("destroy")
    }

    /// What a second plan would change, each once: module, address and argument.
    pub(crate) fn drift(&self) -> BTreeSet<String> {
        let plan = self.terraform.folder.join("second.plan");
        let out = format!("-out={}", plan.display());
        let mut words = vec!["plan", "-input=false", "-no-color", &out];
        words.extend(self.values.iter().map(String::as_str));
        self.terraform.run(&words);
        let text = self.terraform.run(&["show", "-json", &plan.to_string_lossy()]);
        let whole: Value = serde_json::from_str(json(&text)).expect("JSON");
        let all = whole["resource_changes"].as_array().cloned().unwrap_or_default();
        all.iter()
            .filter(|change| change["change"]["actions"] != serde_json::json!(["no-op"]))
            .flat_map(|change| {
                let address = change["address"].as_str().unwrap_or_default();
                let address = address.split('[').next().unwrap_or(address).to_owned();
                let (before, after) = (&change["change"]["before"], &change["change"]["after"]);
                let keys: Vec<&String> =
                    before.as_object().into_iter().chain(after.as_object()).flatten().map(|(key, _)| key).collect();
                let differ = keys
                    .into_iter()
                    .filter(|key| before[*key] != after[*key] && change["change"]["after_unknown"][*key].is_null());
                differ.map(|key| format!("{address} {key}")).collect::<Vec<_>>()
            })
            .collect()
    }
}

const TEST: &str = r#"
  access_key                  = "test"
  secret_key                  = "test"
  skip_credentials_validation = true
  skip_metadata_api_check     = true
  s3_force_path_style         = true
  max_retries                 = 2
"#;

/// Takes calls of modules out of the root module.
fn leave_out(path: &Path, without: &[&str]) {
    let text = std::fs::read_to_string(path).expect("the root module");
    let mut whole = String::new();
    let mut out = false;
    for line in text.lines() {
        if line.starts_with("module ") {
            out = without.iter().any(|name| line.contains(&format!("\"{name}\"")));
        }
        if !out {
            whole.push_str(line);
            whole.push('\n');
        }
    }
    std::fs::write(path, whole).expect("written");
}
