//! Real hosts of a story's own: machines with a real systemd, their own address and their own sshd, on a network that
//! can be cut, slowed and made lossy.
//!
//! Each is a `systemd-nspawn` container over one Debian that is made once per machine and shared by all stories. On it
//! are the users `deploy` (who may become root), `guest` (who may not) and `root`; all of them let the story's key in.

mod debian;
mod harbour;
mod machine;

use std::{
    fmt::Write,
    fs::{self, File},
    io::Read,
    net::{Ipv4Addr, TcpStream},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use machine::Machine;

use crate::{Docker, Outcome, Story, project::finish};

/// How long a machine may take until its sshd answers; it takes half a second when nothing else runs.
const BOOT: Duration = Duration::from_mins(1);

/// A network with hosts on it, gone with the story. A machine ends with the thread that switched it on.
#[derive(Debug)]
pub struct Hosts {
    folder: PathBuf,
    /// Held while the story lives, so that others know what is left over.
    _lock: File,
    network: Network,
    machines: Vec<Host>,
    kind: Kind,
}

/// What hosts are besides machines with a systemd.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Plain,
    /// With container engines, and leave to run them.
    Engines,
    /// With a kernel of their own.
    Kernel,
}

#[derive(Debug)]
struct Network {
    bridge: String,
    number: u16,
}

#[derive(Debug)]
struct Host {
    /// Unique on this machine, at most 11 letters: its end of the cable is named after it.
    name: String,
    address: Ipv4Addr,
    /// Its root as this machine sees it.
    root: PathBuf,
    machine: Option<Machine>,
}

impl Hosts {
    /// Starts this many hosts. Needs root, and the packages `systemd-container`, `debootstrap`, `iproute2`, `iptables`
    /// and `openssh-client`; the first time on a machine it takes a minute to make their Debian.
    pub fn start(number: usize) -> Self {
        Self::start_on(number, Kind::Plain)
    }

    /// The same with a real Docker engine on each, and a RabbitMQ server that is installed.
    pub fn start_with_engines(number: usize) -> Self {
        Self::start_on(number, Kind::Engines)
    }

    /// The same with a kernel of its own for each (User-Mode Linux), whose control groups are of version 2 whatever those
    /// of this machine are. Needs the package `user-mode-linux`. They are entered by SSH only, and cannot be slowed.
    pub fn start_with_kernels(number: usize) -> Self {
        Self::start_on(number, Kind::Kernel)
    }

    fn start_on(number: usize, kind: Kind) -> Self {
        let root = rustix::process::geteuid().is_root();
        assert!(root, "the host stories start machines of their own and need root");
        let debian = debian::debian().display().to_string();
        let system = match kind {
            Kind::Engines => format!("{}:{debian}", debian::engines().display()),
            Kind::Plain | Kind::Kernel => debian,
        };
        sweep();
        let folder = debian::FOLDER.to_owned() + &format!("/story-{:08x}", rand::random::<u32>());
        let folder = PathBuf::from(folder);
        fs::create_dir_all(folder.join("ssh")).expect("a folder");
        let lock = File::create(folder.join("lock")).expect("a lock");
        lock.try_lock().expect("a lock of our own");
        let network = Network::lay(&folder);
        let mut hosts = Self { folder, _lock: lock, network, machines: Vec::new(), kind };
        hosts.make_key();
        for index in 0..number {
            let host = hosts.make(index, &system);
            hosts.machines.push(host);
        }
        // they boot at the same time
        for index in 0..number {
            hosts.switch_on(index);
        }
        hosts.write_ssh();
        for index in 0..number {
            hosts.wait_for_ssh(index);
        }
        hosts
    }

    /// What `ssh` and a stack file call a host: `deploy@10.…`.
    pub fn destination(&self, index: usize) -> String {
        format!("deploy@{}", self.machines[index].address)
    }

    /// All of them as a stack file lists them: `"deploy@10.…", "deploy@10.…"`.
    pub fn listed(&self) -> String {
        (0..self.machines.len()).map(|index| format!("\"{}\"", self.destination(index))).collect::<Vec<_>>().join(", ")
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.machines.len()
    }

    /// A host's address.
    pub fn address(&self, index: usize) -> Ipv4Addr {
        self.machines[index].address
    }

    /// This machine's own address on their network.
    pub fn gateway(&self) -> Ipv4Addr {
        self.network.address(1)
    }

    /// A program of this machine that is to run in the network of a host.
    pub fn in_network(&self, index: usize) -> Command {
        self.enter(index, &["--net"])
    }

    /// A host's files as this machine sees them, below a folder.
    pub fn root(&self, index: usize) -> &Path {
        &self.machines[index].root
    }

    /// Lets a command find the hosts: `ssh` reads its configuration, keys and known hosts from the story's folder
    /// instead of the home folder of the user, which it takes from the system and no variable moves.
    pub fn reach(&self, command: &mut Command) {
        let path = std::env::var("PATH").unwrap_or_default();
        command.env("PATH", format!("{}:{path}", self.folder.join("bin").display()));
        command.env_remove("SSH_AUTH_SOCK");
    }

    /// `slipway ARGS` of a story that reaches these hosts.
    pub fn slipway(&self, story: &Story, arguments: &[&str]) -> Outcome {
        let mut command = story.command(arguments);
        self.reach(&mut command);
        finish(command)
    }

    /// The same with a container engine beside the story's project.
    pub fn slipway_with(&self, docker: &Docker, story: &Story, arguments: &[&str]) -> Outcome {
        let mut command = story.command(arguments);
        self.reach(&mut command);
        docker.reach(&mut command);
        finish(command)
    }

    /// Puts Slipway's program where `host add` would send it, for hosts to which that takes long.
    pub fn place(&self, index: usize, program: &Path) {
        let said = |arguments: &[&str]| {
            let output = Command::new(program).args(arguments).output().expect("slipway starts");
            String::from_utf8_lossy(&output.stdout).trim().to_owned()
        };
        let (digest, version) = (said(&["agent", "--digest"]), said(&["--version"]));
        let version = version.rsplit(' ').next().unwrap_or_default();
        let folder = format!("usr/local/lib/slipway/{version}-{}", &digest[..12]);
        let root = &self.machines[index].root;
        fs::create_dir_all(root.join(&folder)).expect("a folder of the host");
        fs::copy(program, root.join(&folder).join("slipway")).expect("a copy of the program");
        let link = root.join("usr/local/bin/slipway");
        std::os::unix::fs::symlink(format!("/{folder}/slipway"), link).expect("a link of the host");
    }

    /// Runs a shell script as root on a host, without SSH where there is another way.
    pub fn run(&self, index: usize, script: &str) -> Outcome {
        if self.kind == Kind::Kernel {
            let mut command = Command::new("ssh");
            self.reach(&mut command);
            command.args(["-o", "BatchMode=yes", &format!("root@{}", self.machines[index].address), script]);
            command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
            return finish(command);
        }
        let mut command = self.enter(index, &["--all"]);
        command.args(["sh", "-c", script]).env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        finish(command)
    }

    /// What the script prints; panics when it fails.
    #[track_caller]
    pub fn ask(&self, index: usize, script: &str) -> String {
        self.run(index, script).expect(0).stdout.trim().to_owned()
    }

    /// Pulls the host's cable.
    pub fn cut(&self, index: usize) {
        must(Command::new("ip").args(["link", "set", &self.machines[index].cable(), "down"]));
    }

    /// Puts the cable back, and takes back what [`slow`](Self::slow) and [`lossy`](Self::lossy) did.
    pub fn mend(&self, index: usize) {
        let cable = self.machines[index].cable();
        // Both fail when there is nothing to take back.
        let _ = Command::new("tc").args(["qdisc", "del", "dev", &cable, "root"]).output();
        let _ = self.enter(index, &["--net"]).args(["tc", "qdisc", "del", "dev", "host0", "root"]).output();
        must(self.enter(index, &["--net"]).args(["iptables", "--flush", "INPUT"]));
        must(self.enter(index, &["--net"]).args(["iptables", "--flush", "OUTPUT"]));
        must(Command::new("ip").args(["link", "set", &cable, "up"]));
    }

    /// Lets at most this many kilobits per second through, each way.
    pub fn slow(&self, index: usize, kilobits: u32) {
        let (rate, cable) = (format!("{kilobits}kbit"), self.machines[index].cable());
        let limit =
            |device| ["qdisc", "replace", "dev", device, "root", "tbf", "rate", rate.as_str()].map(str::to_owned);
        let burst = ["burst", "32kbit", "latency", "400ms"];
        must(Command::new("tc").args(limit(&cable)).args(burst));
        must(self.enter(index, &["--net"]).arg("tc").args(limit("host0")).args(burst));
    }

    /// Loses this share of the packets, from 0 to 1, each way.
    pub fn lossy(&self, index: usize, share: f64) {
        let share = share.to_string();
        for chain in ["INPUT", "OUTPUT"] {
            let rule = ["iptables", "-A", chain, "-m", "statistic", "--mode", "random", "--probability", &share];
            must(self.enter(index, &["--net"]).args(rule).args(["-j", "DROP"]));
        }
    }

    /// Cuts the host's power. Its disk stays.
    pub fn kill(&mut self, index: usize) {
        let cable = self.machines[index].cable();
        if let Some(mut machine) = self.machines[index].machine.take() {
            machine.cut_power(&cable);
        }
    }

    /// Cuts the host's power and switches it on again; returns when its sshd answers.
    pub fn reboot(&mut self, index: usize) {
        self.kill(index);
        self.switch_on(index);
        self.wait_for_ssh(index);
    }

    /// Forgets the keys of all hosts: they are as good as never seen.
    pub fn forget_keys(&self) {
        fs::write(self.folder.join("ssh/known_hosts"), "").expect("a file");
    }

    /// Learns the keys of all hosts.
    pub fn learn_keys(&self) {
        let mut known = String::new();
        for host in &self.machines {
            let key = fs::read_to_string(host.root.join("etc/ssh/ssh_host_ed25519_key.pub")).expect("a key");
            let _ = writeln!(known, "{} {}", host.address, key.trim());
        }
        fs::write(self.folder.join("ssh/known_hosts"), known).expect("a file");
    }

    fn enter(&self, index: usize, namespaces: &[&str]) -> Command {
        let leader = self.machines[index].machine.as_ref().expect("the host is on").leader;
        let leader = leader.expect("a host with a kernel of its own is entered by SSH");
        let mut command = Command::new("nsenter");
        command.arg("--target").arg(leader.to_string()).args(namespaces).arg("--");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn make_key(&self) {
        let key = self.folder.join("ssh/key");
        must(Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-C", "story", "-f"]).arg(key));
    }

    fn make(&self, index: usize, system: &str) -> Host {
        let name = format!("s{:04x}{index}", self.network.number);
        let folder = self.folder.join(&name);
        let root = folder.join("root");
        for part in ["upper", "work", "root"] {
            fs::create_dir_all(folder.join(part)).expect("a folder");
        }
        let layers = format!(
            "lowerdir={system},upperdir={},workdir={}",
            folder.join("upper").display(),
            folder.join("work").display()
        );
        must(Command::new("mount").args(["-t", "overlay", "overlay", "-o", &layers]).arg(&root));
        let address = self.network.address(11 + index);
        let key = fs::read_to_string(self.folder.join("ssh/key.pub")).expect("a key");
        let write = |path: &str, text: &str| fs::write(root.join(path), text).expect("a file of the host");
        write("etc/hostname", &format!("{name}\n"));
        write("etc/hosts", &format!("127.0.0.1 localhost\n127.0.1.1 {name}\n"));
        write("etc/testbed-address", &format!("ADDRESS={address}/24\nGATEWAY={}\n", self.network.address(1)));
        for home in ["root", "home/deploy", "home/guest"] {
            write(&format!("{home}/.ssh/authorized_keys"), &key);
        }
        if self.kind == Kind::Kernel {
            let service = "etc/systemd/system/testbed-network.service.d";
            fs::create_dir_all(root.join(service)).expect("a folder of the host");
            let cable = "[Service]\nExecStartPre=-/usr/sbin/ip link set vec0 name host0\n";
            write(&format!("{service}/cable.conf"), cable);
        }
        let host_key = root.join("etc/ssh/ssh_host_ed25519_key");
        must(Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-C", &name, "-f"]).arg(host_key));
        Host { name, address, root, machine: None }
    }

    fn switch_on(&mut self, index: usize) {
        let bridge = self.network.bridge.clone();
        let log = self.folder.join(format!("console-{index}"));
        let host = &mut self.machines[index];
        host.machine = Some(match self.kind {
            Kind::Kernel => Machine::boot(&host.cable(), &host.root, &bridge, &log),
            kind => Machine::switch_on(&host.name, &host.root, &bridge, &log, kind == Kind::Engines),
        });
    }

    fn wait_for_ssh(&self, index: usize) {
        let address = self.machines[index].address;
        let console = self.folder.join(format!("console-{index}"));
        let started = std::time::Instant::now();
        loop {
            if greets(address) {
                return;
            }
            let said = || fs::read_to_string(&console).unwrap_or_default();
            assert!(
                started.elapsed() < BOOT,
                "host {index} gives no sign of sshd within {BOOT:?}; its console:\n{}",
                said()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// What the story's `ssh` knows.
    fn write_ssh(&self) {
        let ssh = self.folder.join("ssh");
        self.learn_keys();
        let mut config = String::new();
        for (index, host) in self.machines.iter().enumerate() {
            let _ = write!(config, "Host host{index}\n  HostName {}\n  User deploy\n", host.address);
        }
        let (key, known) = (ssh.join("key"), ssh.join("known_hosts"));
        let _ = write!(
            config,
            "Host *\n  IdentityFile {}\n  IdentitiesOnly yes\n  UserKnownHostsFile {}\n  GlobalKnownHostsFile none\n",
            key.display(),
            known.display()
        );
        fs::write(ssh.join("config"), config).expect("a file");
        let bin = self.folder.join("bin");
        fs::create_dir_all(&bin).expect("a folder");
        let program = format!("#!/bin/sh\nexec /usr/bin/ssh -F {} \"$@\"\n", ssh.join("config").display());
        fs::write(bin.join("ssh"), program).expect("a file");
        must(Command::new("chmod").arg("755").arg(bin.join("ssh")));
    }
}

impl Drop for Hosts {
    fn drop(&mut self) {
        for index in 0..self.machines.len() {
            if std::thread::panicking() && self.machines[index].machine.is_some() {
                let journal = self.run(
                    index,
                    "journalctl --no-pager --lines 60 2>&1; tail -n 40 /var/lib/slipway/agent/log/*.log 2>&1",
                );
                eprintln!("--- host {index}\n{}", journal.stdout);
            }
            self.kill(index);
        }
        clear(&self.folder);
    }
}

impl Host {
    /// Its end of the cable on this machine.
    fn cable(&self) -> String {
        format!("vb-{}", self.name)
    }
}

impl Network {
    /// A bridge with an address of its own.
    fn lay(folder: &Path) -> Self {
        for _ in 0..20 {
            let network = rand::random_range(0..0x4000);
            let network = Self { bridge: format!("sn{network:04x}"), number: network };
            // Written first, so that it is found if the story is killed.
            fs::write(folder.join("bridge"), &network.bridge).expect("a file");
            let made = Command::new("ip").args(["link", "add", "name", &network.bridge, "type", "bridge"]).output();
            let made = made.unwrap_or_else(|error| panic!("ip: {error}; apt-get install iproute2"));
            // Another story may have the number.
            if made.status.success() {
                let address = format!("{}/24", network.address(1));
                must(Command::new("ip").args(["address", "add", &address, "dev", &network.bridge]));
                must(Command::new("ip").args(["link", "set", &network.bridge, "up"]));
                return network;
            }
        }
        panic!("no network can be laid: `ip link add type bridge` failed 20 times");
    }

    /// 10.128.0.0 to 10.191.255.255: containers of other stories have those above.
    fn address(&self, host: usize) -> Ipv4Addr {
        let [high, low] = self.number.to_be_bytes();
        Ipv4Addr::new(10, 128 + high, low, u8::try_from(host).expect("at most 200 hosts"))
    }
}

/// Whether an sshd says its name.
fn greets(address: Ipv4Addr) -> bool {
    let Ok(mut stream) = TcpStream::connect_timeout(&(address, 22).into(), Duration::from_secs(1)) else {
        return false;
    };
    let mut greeting = [0; 4];
    stream.set_read_timeout(Some(Duration::from_secs(5))).is_ok()
        && stream.read_exact(&mut greeting).is_ok()
        && &greeting == b"SSH-"
}

/// Clears away what stories left that were killed.
fn sweep() {
    for entry in fs::read_dir(debian::FOLDER).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with("story-")
            && let Ok(lock) = File::open(entry.path().join("lock"))
            && lock.try_lock().is_ok()
        {
            clear(&entry.path());
        }
    }
}

/// Unmounts and removes everything of a story.
fn clear(folder: &Path) {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let root = entry.path().join("root");
        if root.is_dir() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let _ = Command::new("ip").args(["link", "delete", &format!("vb-{name}")]).output();
            names.push(name);
            // The kernel lets go of it when the last process of the machine is gone.
            let _ = Command::new("umount").arg("--lazy").arg(&root).output();
        }
    }
    for name in names {
        let _ = fs::remove_dir_all(Path::new("/run/systemd/nspawn/propagate").join(&name));
        let below = fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten().map(|entry| entry.path());
        for base in [PathBuf::from("/sys/fs/cgroup")].into_iter().chain(below) {
            remove_groups(&base.join(format!("slipway-story-{name}")));
        }
    }
    if let Ok(bridge) = fs::read_to_string(folder.join("bridge")) {
        let _ = Command::new("ip").args(["link", "delete", &bridge]).output();
    }
    let _ = fs::remove_dir_all(folder);
}

fn remove_groups(group: &Path) {
    for entry in fs::read_dir(group).into_iter().flatten().flatten() {
        if entry.path().is_dir() {
            remove_groups(&entry.path());
        }
    }
    // The kernel refuses while a process is in it; it is empty soon, and costs nothing.
    let _ = fs::remove_dir(group);
}

#[track_caller]
fn must(command: &mut Command) {
    let output =
        command.output().unwrap_or_else(|error| panic!("{command:?}: {error}; run tests/run, which installs it"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}
