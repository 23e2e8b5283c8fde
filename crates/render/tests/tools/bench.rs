//! Rendered files in a folder, and the tools beside it.

use std::fmt::Write as _;

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use render::Target;

use crate::kept::find;

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

/// Expressions of a dashboard.
pub(crate) fn expressions(file: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(file).expect("a dashboard");
    let whole: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let panels = whole["panels"].as_array().expect("panels");
    panels.iter().map(|panel| panel["targets"][0]["expr"].as_str().expect("an expression").to_owned()).collect()
}

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
pub(crate) fn without_pods(path: &Path) {
    let text = std::fs::read_to_string(path).expect("a configuration");
    let mut whole: serde_json::Value = serde_saphyr::from_str(&text).expect("YAML");
    for job in whole["scrape_configs"].as_array_mut().expect("jobs") {
        let found = job.as_object_mut().expect("a job").remove("kubernetes_sd_configs").unwrap_or_default();
        for way in found.as_array().into_iter().flatten() {
            let known = ["role", "namespaces", "selectors"];
            let map = way.as_object().expect("a way to find pods");
            assert!(map.keys().all(|key| known.contains(&key.as_str())) && way["role"] == "pod", "{way}");
        }
    }
    // JSON is YAML too
    std::fs::write(path, whole.to_string()).expect("written");
}
