//! A container engine of a story's own: a real Docker daemon in a temporary folder, with images made on this machine.

use std::{
    net::Ipv4Addr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use crate::{
    Outcome, Story,
    project::{finish, free_port, until},
};

/// A Docker daemon with a bridge, a store and a socket of its own, ended with the story. It changes no firewall rule.
#[derive(Debug)]
pub struct Docker {
    folder: tempfile::TempDir,
    daemon: Child,
    bridge: String,
}

impl Docker {
    /// Starts it. Needs root, and the packages `docker.io` and `iproute2`.
    pub fn start() -> Self {
        let root = rustix::process::geteuid().is_root();
        assert!(root, "the container stories start a Docker daemon of their own and need root");
        let folder = tempfile::Builder::new().prefix("swd").tempdir_in("/tmp").expect("a temporary folder");
        let number: u16 = rand::random_range(0..0x4000);
        let bridge = format!("sw{number:04x}");
        let subnet = format!("10.{}.{}.1/24", 192 + (number >> 8), number & 0xff);
        must(Command::new("ip").args(["link", "add", "name", &bridge, "type", "bridge"]), "apt-get install iproute2");
        must(Command::new("ip").args(["address", "add", &subnet, "dev", &bridge]), "");
        must(Command::new("ip").args(["link", "set", &bridge, "up"]), "");
        let path = |name: &str| folder.path().join(name);
        let log = std::fs::File::create(path("log")).expect("a log");
        let daemon = Command::new("dockerd")
            .arg("--data-root")
            .arg(path("data"))
            .arg("--exec-root")
            .arg(path("exec"))
            .arg("--pidfile")
            .arg(path("pid"))
            .args(["--host", &format!("unix://{}", path("s").display()), "--bridge", &bridge])
            .args(["--iptables=false", "--ip-masq=false", "--ip-forward=false"])
            // the networks of hosts, on which an image store of a story may be
            .args(["--insecure-registry", "10.128.0.0/10"])
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a second handle"))
            .stderr(log)
            .spawn()
            .unwrap_or_else(|error| panic!("dockerd: {error}; apt-get install docker.io"));
        let mut docker = Self { folder, daemon, bridge };
        let log = docker.folder.path().join("log");
        until("a Docker daemon that answers", Duration::from_secs(30), || {
            let ended = docker.daemon.try_wait().is_ok_and(|ended| ended.is_some());
            assert!(!ended, "dockerd ended; its log:\n{}", std::fs::read_to_string(&log).unwrap_or_default());
            docker.command(&["version"]).output().ok().filter(|output| output.status.success())
        });
        docker
    }

    /// `DOCKER_HOST`.
    pub fn host(&self) -> String {
        format!("unix://{}", self.folder.path().join("s").display())
    }

    /// `docker ARGS` as a command that has not started yet.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("docker");
        command
            .args(arguments)
            .env("DOCKER_HOST", self.host())
            .env("DOCKER_CONFIG", self.folder.path().join("config"))
            .stdin(Stdio::null());
        command
    }

    /// What `docker ARGS` prints; panics when it fails.
    #[track_caller]
    pub fn run(&self, arguments: &[&str]) -> String {
        let output = self.command(arguments).output().expect("docker starts");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
        assert!(output.status.success(), "docker {arguments:?}: {}", text(&output.stderr));
        text(&output.stdout)
    }

    /// Names of all containers, running or not, sorted.
    pub fn containers(&self) -> Vec<String> {
        let mut names: Vec<String> =
            self.run(&["ps", "--all", "--format", "{{.Names}}"]).lines().map(str::to_owned).collect();
        names.sort_unstable();
        names
    }

    /// Lets a command find this engine.
    pub fn reach(&self, command: &mut Command) {
        command.env("DOCKER_HOST", self.host()).env("DOCKER_CONFIG", self.folder.path().join("config"));
    }

    /// `slipway ARGS` of a story, with this engine.
    pub fn slipway(&self, story: &Story, arguments: &[&str]) -> Outcome {
        let mut command = story.command(arguments);
        self.reach(&mut command);
        finish(command)
    }

    /// Deploys a story and expects exit code 0.
    #[track_caller]
    pub fn deploy(&self, story: &Story) -> Outcome {
        self.slipway(story, &["deploy", "--yes"]).expect(0)
    }

    /// Makes an image of the `harbour` application; returns its id.
    pub fn harbour(&self, story: &Story, name: &str, marker: &str) -> String {
        let root = self.folder.path().join("root");
        harbour_files(story, &root, marker);
        let tar = Command::new("tar").arg("-C").arg(&root).args(["-c", "."]).stdout(Stdio::piped()).spawn();
        let tar = tar.expect("tar starts").stdout.expect("its output");
        let mut import =
            self.command(&["import", "--change", "WORKDIR /", "--change", "CMD [\"/harbour\"]", "-", name]);
        let output = import.stdin(tar).output().expect("docker starts");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        std::fs::remove_dir_all(&root).expect("the image's files");
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }
}

/// A private image store on this machine, for the user `pilot` with the password `harbour-pilot`.
#[derive(Debug)]
pub struct ImageStore {
    _folder: tempfile::TempDir,
    server: Child,
    /// As in `127.0.0.1:12345`.
    pub address: String,
}

impl ImageStore {
    /// Starts it. Needs the package `docker-registry`.
    pub fn start() -> Self {
        Self::start_at(Ipv4Addr::LOCALHOST)
    }

    /// Starts it at an address of this machine, where others reach it.
    pub fn start_at(address: Ipv4Addr) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = |name: &str| folder.path().join(name).display().to_string();
        let address = format!("{address}:{}", free_port());
        // bcrypt of the password
        let hash = "$2b$05$abcdefghijklmnopqrstuutHR3lsNaqBpRzCnJGGOO3BKD67dHxtu";
        std::fs::write(path("users"), format!("pilot:{hash}\n")).expect("a file");
        let config = format!(
            "version: 0.1\nlog: {{ level: error }}\nstorage: {{ filesystem: {{ rootdirectory: {} }} }}\n\
             http: {{ addr: {address} }}\nauth: {{ htpasswd: {{ realm: harbour, path: {} }} }}\n",
            path("data"),
            path("users"),
        );
        std::fs::write(path("config.yml"), config).expect("a file");
        let log = std::fs::File::create(path("log")).expect("a log");
        let server = Command::new("docker-registry")
            .args(["serve", &path("config.yml")])
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a second handle"))
            .stderr(log)
            .spawn()
            .unwrap_or_else(|error| panic!("docker-registry: {error}; apt-get install docker-registry"));
        let store = Self { _folder: folder, server, address };
        until("an image store that answers", Duration::from_secs(20), || {
            std::net::TcpStream::connect(&store.address).ok()
        });
        store
    }
}

impl Drop for ImageStore {
    fn drop(&mut self) {
        // Both only fail when it has ended already.
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

/// Everything that `harbour` needs to run alone: itself, the libraries it loads, what its release says.
pub fn harbour_files(story: &Story, root: &Path, marker: &str) {
    let program = story.binary("harbour");
    let listed = Command::new("ldd").arg(&program).output().expect("ldd starts");
    let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
    let libraries = listed.split_whitespace().filter(|word| word.starts_with('/')).map(PathBuf::from);
    for (from, to) in libraries.map(|path| (path.clone(), path)).chain([(program, PathBuf::from("/harbour"))]) {
        let to = root.join(to.strip_prefix("/").expect("an absolute path"));
        std::fs::create_dir_all(to.parent().expect("a folder")).expect("a folder");
        std::fs::copy(&from, &to).expect("a copy");
    }
    std::fs::write(root.join("marker.txt"), marker).expect("a file");
    std::fs::write(root.join("faults.txt"), "none").expect("a file");
}

impl Drop for Docker {
    fn drop(&mut self) {
        let left = self.command(&["ps", "--all", "--quiet"]).output();
        let left = left.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
        for id in left.split_whitespace() {
            // A story that failed may leave some.
            let _ = self.command(&["rm", "--force", id]).output();
        }
        if let Some(pid) = i32::try_from(self.daemon.id()).ok().and_then(rustix::process::Pid::from_raw) {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        }
        let _ = self.daemon.wait();
        // Left mounted by the daemon when a container had the host's network.
        let _ = Command::new("umount").arg(self.folder.path().join("exec/netns/default")).output();
        let _ = Command::new("ip").args(["link", "delete", &self.bridge]).output();
    }
}

#[track_caller]
fn must(command: &mut Command, mend: &str) {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}; {mend}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}
