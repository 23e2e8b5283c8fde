//! A project in a temporary folder, and stacks written by hand.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
};

use release::{BuildError, BuildEvent, BuildOptions, Built, Manifest, Store};
use stack::{
    AppName, DataClass, Database, DatabaseEngine, Environment, EnvironmentName, Failover, FolderSource, Migrations,
    Period, Resolved, ResourceName, Rollout, Service, Site, Size, Source, Span, Stack, TargetKind,
};

pub(crate) struct Project {
    dir: tempfile::TempDir,
    pub(crate) store: Store,
    pub(crate) options: BuildOptions,
    pub(crate) resolved: Resolved,
}

impl Project {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path().join("store")).unwrap();
        fs::create_dir(dir.path().join("project")).unwrap();
        Self { dir, store, options: BuildOptions { jobs: 2, ..BuildOptions::default() }, resolved: resolved() }
    }

    pub(crate) fn root(&self) -> PathBuf {
        self.dir.path().join("project")
    }

    pub(crate) fn write(&self, path: &str, text: impl AsRef<[u8]>) -> &Self {
        write(&self.root(), path, text.as_ref());
        self
    }

    pub(crate) fn write_executable(&self, path: &str, text: &str) -> &Self {
        self.write(path, text);
        fs::set_permissions(self.root().join(path), fs::Permissions::from_mode(0o755)).unwrap();
        self
    }

    pub(crate) fn service(&mut self, name: &str, source: FolderSource, run: &str) -> &mut Self {
        self.resolved.stack.services.insert(ResourceName::new(name).unwrap(), service(source, run));
        self
    }

    pub(crate) fn site(&mut self, name: &str, source: FolderSource, hashed: bool) -> &mut Self {
        let site = Site { source, spa: false, hashed, headers: BTreeMap::new() };
        self.resolved.stack.sites.insert(ResourceName::new(name).unwrap(), site);
        self
    }

    pub(crate) fn database(&mut self, name: &str, migrations: &str) -> &mut Self {
        let database = Database {
            engine: DatabaseEngine::Sqlite,
            url: None,
            migrations: Some(Migrations::Folder(migrations.to_owned())),
            seed: None,
            replicas: 0,
            failover: Failover::None,
            backup: None,
            objective: None,
            settings: BTreeMap::new(),
            size: None,
            storage: None,
            cloud: serde_json::Map::default(),
        };
        self.resolved.stack.databases.insert(ResourceName::new(name).unwrap(), database);
        self
    }

    pub(crate) fn build(&self) -> Result<Built, BuildError> {
        self.build_telling(&mut |_| {})
    }

    pub(crate) fn build_telling(&self, events: &mut dyn FnMut(BuildEvent)) -> Result<Built, BuildError> {
        release::build(&self.resolved, "app = \"shop\"\n", &self.root(), &self.store, &self.options, events)
    }

    /// Builds, and says how many commands ran.
    pub(crate) fn build_counting(&self) -> (Built, usize) {
        let mut ran = 0;
        let built = self.build_telling(&mut |event| ran += usize::from(matches!(event, BuildEvent::Started { .. })));
        (built.unwrap(), ran)
    }

    pub(crate) fn folder(&self, built: &Built) -> PathBuf {
        self.store.folder(&app(), &built.release)
    }

    pub(crate) fn manifest(&self, built: &Built) -> Manifest {
        self.store.manifest(&app(), &built.release).unwrap()
    }

    /// Paths of the first tree.
    pub(crate) fn tree(&self, built: &Built) -> Vec<String> {
        self.manifest(built).trees[0].files.iter().map(|entry| entry.path.clone()).collect()
    }

    pub(crate) fn git(&self, arguments: &[&str]) -> String {
        let output = Command::new("git")
            .arg("-C")
            .arg(self.root())
            .args(["-c", "user.name=Ada", "-c", "user.email=ada@example.org", "-c", "init.defaultBranch=main"])
            .args(arguments)
            .output()
            .expect("git is needed: apt-get install git");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }
}

pub(crate) fn write(root: &Path, path: &str, text: &[u8]) {
    let path = root.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

pub(crate) fn app() -> AppName {
    AppName::new("shop").unwrap()
}

pub(crate) fn source(dir: &str, build: Option<&str>, out: &[&str]) -> FolderSource {
    FolderSource {
        dir: dir.to_owned(),
        build: build.map(str::to_owned),
        out: out.iter().map(|path| (*path).to_owned()).collect(),
    }
}

/// Everything below a folder as text: path, mode, content.
pub(crate) fn snapshot(folder: &Path) -> Vec<String> {
    let mut all = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(at) = folders.pop() {
        for entry in fs::read_dir(at).unwrap().flatten() {
            let path = entry.path();
            let meta = fs::symlink_metadata(&path).unwrap();
            if meta.is_dir() {
                folders.push(path.clone());
            }
            // Lock files only say who was here last.
            let is_lock = matches!(entry.file_name().to_str(), Some("lock" | ".lock"));
            let content = if meta.is_file() && !is_lock { fs::read(&path).unwrap() } else { Vec::new() };
            let digest = blake3_of(&content);
            all.push(format!(
                "{} {:o} {digest}",
                path.strip_prefix(folder).unwrap().display(),
                meta.permissions().mode()
            ));
        }
    }
    all.sort();
    all
}

fn blake3_of(content: &[u8]) -> String {
    use std::hash::{DefaultHasher, Hash, Hasher};
    let mut hasher = DefaultHasher::new();
    content.hash(&mut hasher);
    format!("{:x}", hasher.finish())
}

fn service(source: FolderSource, run: &str) -> Service {
    let size = Size { cpu: None, memory: None, replicas: Span { min: 1, max: 1 }, scale_at: None };
    Service {
        source: Source::Folder(source),
        run: Some(run.to_owned()),
        port: None,
        health: None,
        ready: None,
        size,
        needs: Vec::new(),
        env: BTreeMap::new(),
        start: period(60),
        drain: period(30),
        stop: period(10),
    }
}

fn period(seconds: u64) -> Period {
    Period::from_secs(seconds)
}

fn resolved() -> Resolved {
    Resolved {
        stack: Stack {
            app: app(),
            version: None,
            services: BTreeMap::new(),
            sites: BTreeMap::new(),
            functions: BTreeMap::new(),
            jobs: BTreeMap::new(),
            databases: BTreeMap::new(),
            caches: BTreeMap::new(),
            queues: BTreeMap::new(),
            buckets: BTreeMap::new(),
            extras: BTreeMap::new(),
            routes: Vec::new(),
            variables: BTreeMap::new(),
            alarms: BTreeMap::new(),
            environments: BTreeMap::new(),
        },
        name: EnvironmentName::new("dev").unwrap(),
        environment: Environment {
            target: TargetKind::Local,
            hosts: Vec::new(),
            listen: Vec::new(),
            data: DataClass::Seed,
            approve: false,
            rollout: Rollout::default(),
            max_fail: 0,
            health: None,
            trusted_proxies: Vec::new(),
            overlays: Vec::new(),
        },
    }
}
