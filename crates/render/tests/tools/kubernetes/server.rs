//! A real API server over a real etcd: it takes every document, as it is written, twice.

use std::{
    fmt::Write as _,
    io::Write as _,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::{
    bench::run,
    kept::{self, find},
};

/// The control plane, as far as documents are taken and kept: nothing runs what they ask for.
struct Server {
    folder: tempfile::TempDir,
    programs: Vec<Child>,
}

impl Drop for Server {
    fn drop(&mut self) {
        for program in self.programs.iter_mut().rev() {
            let _ = program.kill();
            let _ = program.wait();
        }
        if std::thread::panicking() {
            let log = std::fs::read_to_string(self.folder.path().join("api.log")).unwrap_or_default();
            let faults: Vec<&str> = log.lines().filter(|line| !line.starts_with('I')).take(60).collect();
            eprintln!("the server said:\n{}", faults.join("\n"));
        }
    }
}

fn free_ports<const N: usize>() -> [u16; N] {
    let held: [TcpListener; N] = std::array::from_fn(|_| TcpListener::bind("127.0.0.1:0").expect("a port"));
    held.map(|one| one.local_addr().expect("an address").port())
}

impl Server {
    fn start(program: &Path) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let at = |name: &str| folder.path().join(name);
        let [client, peer, port] = free_ports();
        let openssl = || Command::new(find("openssl", "openssl"));
        run(openssl().args(["genrsa", "-out"]).arg(at("accounts.key")).arg("2048"));
        run(openssl().args(["rsa", "-pubout", "-in"]).arg(at("accounts.key")).arg("-out").arg(at("accounts.pub")));
        let token = run(openssl().args(["rand", "-hex", "24"]));
        std::fs::write(at("tokens.csv"), format!("{token},admin,admin,system:masters\n")).expect("written");
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "here",
            "clusters": [{ "name": "here", "cluster": { "server": format!("https://127.0.0.1:{port}"), "insecure-skip-tls-verify": true } }],
            "users": [{ "name": "admin", "user": { "token": token } }],
            "contexts": [{ "name": "here", "context": { "cluster": "here", "user": "admin" } }],
        });
        std::fs::write(at("config"), config.to_string()).expect("written");
        let mut server = Self { folder, programs: Vec::new() };
        let [client, peer] = [client, peer].map(|port| format!("http://127.0.0.1:{port}"));
        server.run(
            "etcd",
            &find("etcd", "etcd-server"),
            &[
                "--data-dir=etcd",
                "--unsafe-no-fsync",
                &format!("--listen-client-urls={client}"),
                &format!("--advertise-client-urls={client}"),
                &format!("--listen-peer-urls={peer}"),
                &format!("--initial-advertise-peer-urls={peer}"),
                &format!("--initial-cluster=default={peer}"),
            ],
        );
        server.run(
            "api",
            program,
            &[
                &format!("--etcd-servers={client}"),
                &format!("--secure-port={port}"),
                "--bind-address=127.0.0.1",
                "--cert-dir=certificates",
                "--token-auth-file=tokens.csv",
                "--service-account-issuer=https://accounts.test",
                "--service-account-key-file=accounts.pub",
                "--service-account-signing-key-file=accounts.key",
                "--authorization-mode=RBAC",
                "--service-cluster-ip-range=10.96.0.0/16",
                // what became a matter of course later
                "--feature-gates=TTLAfterFinished=true",
            ],
        );
        let deadline = Instant::now() + Duration::from_mins(3);
        while !server.kubectl().args(["get", "--raw", "/readyz"]).output().is_ok_and(|said| said.status.success()) {
            let log = || std::fs::read_to_string(server.folder.path().join("api.log")).unwrap_or_default();
            assert!(Instant::now() < deadline, "the server is not ready:\n{}", log());
            std::thread::sleep(Duration::from_millis(200));
        }
        server
    }

    fn run(&mut self, name: &str, program: &Path, arguments: &[&str]) {
        let log = std::fs::File::create(self.folder.path().join(format!("{name}.log"))).expect("a log");
        let child = Command::new(program)
            .args(arguments)
            .current_dir(self.folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}", program.display()));
        self.programs.push(child);
    }

    fn kubectl(&self) -> Command {
        let mut kubectl = Command::new(kept::kubernetes("kubectl"));
        kubectl.arg("--kubeconfig").arg(self.folder.path().join("config")).env("HOME", self.folder.path());
        kubectl
    }

    /// Writes documents where `kubectl` reads them.
    fn list(&self, documents: &[Value]) -> PathBuf {
        let path = self.folder.path().join("list.json");
        let list = json!({ "apiVersion": "v1", "kind": "List", "items": documents });
        std::fs::write(&path, list.to_string()).expect("written");
        path
    }

    fn apply(&self, documents: &[Value], arguments: &[&str]) {
        run(self.kubectl().args(["apply", "--server-side"]).args(arguments).arg("-f").arg(self.list(documents)));
    }

    /// The same documents as the server keeps them.
    fn kept(&self, documents: &[Value]) -> Vec<Value> {
        let said = run(self.kubectl().args(["get", "-o", "json", "-f"]).arg(self.list(documents)));
        let list: Value = serde_json::from_str(&said).expect("JSON");
        list["items"].as_array().expect("a list").clone()
    }
}

/// What this old server calls otherwise, or does not know yet.
fn older(mut document: Value) -> Value {
    let version = match (document["apiVersion"].as_str(), document["kind"].as_str()) {
        (Some("autoscaling/v2"), _) => Some("autoscaling/v2beta2"),
        (Some("policy/v1"), _) => Some("policy/v1beta1"),
        (Some("batch/v1"), Some("CronJob")) => Some("batch/v1beta1"),
        _ => None,
    };
    if let Some(version) = version {
        document["apiVersion"] = version.into();
    }
    for key in ["timeZone", "unhealthyPodEvictionPolicy"] {
        document.get_mut("spec").and_then(Value::as_object_mut).and_then(|spec| spec.remove(key));
    }
    let containers = document.pointer_mut("/spec/template/spec/containers").and_then(Value::as_array_mut);
    for container in containers.into_iter().flatten() {
        if let Some(seconds) = container.pointer("/lifecycle/preStop/sleep/seconds") {
            let sleep = json!({ "exec": { "command": ["sleep", seconds.to_string()] } });
            container["lifecycle"]["preStop"] = sleep;
        }
    }
    document
}

/// This old server keeps what is measured in an order of its own.
fn measured_in_order(mut document: Value) -> Value {
    if let Some(metrics) = document.pointer_mut("/spec/metrics").and_then(Value::as_array_mut) {
        metrics.sort_by_key(|metric| metric["resource"]["name"].to_string());
    }
    document
}

/// What was written and is not kept as it was: taken out, or changed.
fn lost(written: &Value, kept: &Value, at: &str, found: &mut String) {
    match (written, kept) {
        (Value::Object(written), _) => {
            for (key, value) in written {
                lost(value, &kept[key], &format!("{at}.{key}"), found);
            }
        }
        (Value::Array(written), Value::Array(kept)) if written.len() == kept.len() => {
            for (index, (written, kept)) in written.iter().zip(kept).enumerate() {
                lost(written, kept, &format!("{at}[{index}]"), found);
            }
        }
        (Value::Array(written), Value::Null) if written.is_empty() => {}
        (written, kept) if written == kept => {}
        (written, kept) => {
            // writing to a String cannot fail
            let _ = writeln!(found, "{at}: {written} became {kept}");
        }
    }
}

// proves S2.8, S3.7-S3.12
#[test]
fn a_real_server_takes_every_document_and_keeps_it_as_it_is() {
    let Some(program) = kept::api_server() else {
        // past what the tests' runner keeps to itself
        let _ = std::io::stderr().write_all(
            b"not run: documents at a real API server; SLIPWAY_LONG=1 builds one once, from Debian's source package\n",
        );
        return;
    };
    let server = Server::start(&program);
    server.apply(&super::shape::definitions(), &[]);
    run(server.kubectl().args(["wait", "--for=condition=established", "--timeout=120s", "crd", "--all"]));
    for (stack, input) in super::every() {
        for (tag, ingress) in [("3f9c2a1", false), ("7d1e0b4", false), ("3f9c2a1", true)] {
            let mut input = input.clone();
            input.options.tag = Some(tag.to_owned());
            input.options.ingress = ingress;
            let documents: Vec<Value> =
                super::documents(&super::render(&input)).into_iter().map(older).map(measured_in_order).collect();
            // what is tried out must have a namespace to be tried out in
            server.apply(&documents[..1], &[]);
            server.apply(&documents, &["--dry-run=server"]);
            // the second release goes over the first: nothing may be changed that cannot be
            server.apply(&documents, &[]);
            let kept: Vec<Value> = server.kept(&documents).into_iter().map(measured_in_order).collect();
            assert_eq!(kept.len(), documents.len(), "{stack}");
            let mut found = String::new();
            for (written, kept) in documents.iter().zip(&kept) {
                lost(written, kept, &super::name(written), &mut found);
            }
            assert_eq!(found, "", "{stack}");
        }
    }
}
