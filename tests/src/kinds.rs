//! Hosts of other kinds than a plain Debian: with another firewall, with another package manager, without systemd, or
//! only reached through another host.

use std::{
    fmt::Write,
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use crate::Hosts;

/// Where the additions lie that are made once per machine.
const FOLDER: &str = "/var/tmp/slipway-testbed";

/// What they are made of.
const PACKAGES: &str = "ufw dnf rpm createrepo-c";

/// Packages named as those of Amazon Linux 2023, with a server each that does nothing, in a repository on the disk.
/// Not all of those that Slipway asks for are there.
const REPOSITORY: &str = r"
set -eu
mkdir -p /opt/repository /tmp/build && cd /tmp/build
cat > amazon.spec <<'END'
Name: amazon
Version: 1
Release: 1
Summary: Packages of a testbed
License: None
BuildArch: noarch
AutoReqProv: no
%description
As above.
END
for one in docker:docker:docker postgresql16-server:postgresql:initdb redis6:redis6:redis6-server; do
  package=${one%%:*} service=${one#*:}; service=${service%:*} program=${one##*:}
  mkdir -p root/usr/bin root/usr/lib/systemd/system
  printf '#!/bin/sh\n[ $# = 0 ] || { echo 1.0; exit; }\nexec sleep infinity\n' > root/usr/bin/$program
  chmod 755 root/usr/bin/$program
  printf '[Service]\nExecStart=/usr/bin/%s\n[Install]\nWantedBy=multi-user.target\n' $program \
    > root/usr/lib/systemd/system/$service.service
  printf '%%package -n %s\nSummary: %s\nAutoReqProv: no\n%%description -n %s\nAs above.\n%%files -n %s\n/usr/bin/%s\n/usr/lib/systemd/system/%s.service\n' \
    $package $package $package $package $program $service >> amazon.spec
done
printf '%%install\ncp -a /tmp/build/root/. %%{buildroot}/\n' >> amazon.spec
rpmbuild --quiet --define '_rpmdir /opt/repository' -bb amazon.spec
createrepo_c --quiet /opt/repository
mkdir -p /etc/yum.repos.d
printf '[amazonlinux]\nname=Amazon Linux 2023\nbaseurl=file:///opt/repository\ngpgcheck=0\n' > /etc/yum.repos.d/amazonlinux.repo
rm -rf /tmp/build /root/rpmbuild
rm -f /etc/resolv.conf
";

/// Source: `/etc/os-release` of Amazon Linux 2023.
const AMAZON: &str = "NAME=\"Amazon Linux\"\nVERSION=\"2023\"\nID=\"amzn\"\nID_LIKE=\"fedora\"\nVERSION_ID=\"2023\"\n\
    PRETTY_NAME=\"Amazon Linux 2023\"\n";

/// What a machine without systemd starts first.
const PLAIN: &str = "#!/bin/sh
. /etc/testbed-address
ip link set lo up
ip address replace $ADDRESS dev host0
ip link set host0 up
mkdir -p /run/sshd
cron
exec /usr/sbin/sshd -D -e
";

impl Hosts {
    /// Gives a host the firewall `ufw`, switched off.
    pub fn with_ufw(&self, index: usize) {
        self.with_more(index);
        for path in ["usr/bin/dnf", "usr/bin/rpm"] {
            fs::remove_file(self.root(index).join(path)).expect("a program");
        }
    }

    /// Makes a host look like Amazon Linux 2023: `dnf` and a repository with its names, and no `apt-get`.
    pub fn as_amazon(&self, index: usize) {
        self.with_more(index);
        let root = self.root(index);
        for path in ["usr/bin/apt-get", "usr/bin/apt", "usr/sbin/ufw", "etc/os-release"] {
            fs::remove_file(root.join(path)).expect("a file");
        }
        fs::write(root.join("etc/os-release"), AMAZON).expect("a file");
    }

    /// Starts a host again with a first process that is no systemd, but starts cron and sshd.
    pub fn without_systemd(&mut self, index: usize) {
        self.kill(index);
        let first = self.root(index).join("usr/lib/systemd/systemd");
        // it is a file of the layer below, which stays as it is
        fs::remove_file(&first).expect("a systemd");
        fs::write(&first, PLAIN).expect("a file");
        must(Command::new("chmod").arg("755").arg(&first));
        self.reboot(index);
    }

    /// Lets sshd of a host be reached by other hosts only.
    pub fn hide(&self, index: usize) {
        let gateway = self.address(index).octets();
        let gateway = format!("{}.{}.{}.1", gateway[0], gateway[1], gateway[2]);
        let rule = format!("add rule inet hidden input ip saddr {gateway} tcp dport 22 reject with tcp reset");
        let table = "add table inet hidden; add chain inet hidden input { type filter hook input priority 0; }";
        self.run(index, &format!("nft '{table}; {rule}'")).expect(0);
    }

    /// Puts lines before the story's own `ssh` configuration, in place of those of the last call.
    pub fn configure_ssh(&self, lines: &str) {
        let config = self.ssh_file("config");
        let own = self.ssh_file("config-own");
        if !own.exists() {
            fs::copy(&config, &own).expect("a copy");
        }
        let text = fs::read_to_string(&own).expect("a file");
        fs::write(&config, format!("{lines}\nHost *\n{text}")).expect("a file");
    }

    /// A file of the story's `ssh` folder.
    pub fn ssh_file(&self, name: &str) -> PathBuf {
        let folder = self.root(0).parent().and_then(Path::parent).expect("the story's folder");
        folder.join("ssh").join(name)
    }

    /// Knows the keys of these hosts, and of no other.
    pub fn know(&self, indexes: &[usize]) {
        let mut known = String::new();
        for index in indexes {
            let key = self.root(*index).join("etc/ssh/ssh_host_ed25519_key.pub");
            let key = fs::read_to_string(key).expect("a key");
            let _ = writeln!(known, "{} {}", self.address(*index), key.trim());
        }
        fs::write(self.ssh_file("known_hosts"), known).expect("a file");
    }

    fn with_more(&self, index: usize) {
        let below = more(self.root(index));
        must(Command::new("cp").args(["-a", "--"]).arg(below.join(".")).arg(self.root(index)));
        self.run(index, "systemctl daemon-reload").expect(0);
    }
}

/// The files that [`PACKAGES`] and the repository put on the Debian of a host.
fn more(root: &Path) -> PathBuf {
    let lock = File::create(Path::new(FOLDER).join("more-lock")).expect("a lock");
    lock.lock().expect("the lock");
    let debian = debian(root);
    let recipe = format!("{}{PACKAGES}{REPOSITORY}", debian.display());
    let number = recipe
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    let folder = Path::new(FOLDER).join(format!("more-{number:016x}"));
    if folder.is_dir() {
        return folder;
    }
    let [new, work, root] = ["new", "work", "root"].map(|name| Path::new(FOLDER).join(format!("more-{name}")));
    // what a story left that was killed
    let _ = Command::new("umount").arg("--lazy").arg(&root).output();
    for folder in [&new, &work, &root] {
        let _ = fs::remove_dir_all(folder);
        fs::create_dir_all(folder).expect("a folder");
    }
    let layers = format!("lowerdir={},upperdir={},workdir={}", debian.display(), new.display(), work.display());
    must(Command::new("mount").args(["-t", "overlay", "overlay", "-o", &layers]).arg(&root));
    fs::copy("/etc/resolv.conf", root.join("etc/resolv.conf")).expect("names are resolved");
    let install =
        format!("apt-get update -q && apt-get install -y -q --no-install-recommends {PACKAGES}\n{REPOSITORY}");
    must(Command::new("chroot").arg(&root).args(["sh", "-c", &install]).env("DEBIAN_FRONTEND", "noninteractive"));
    must(Command::new("umount").arg(&root));
    for folder in [&work, &root] {
        let _ = fs::remove_dir_all(folder);
    }
    // what was fetched is large, and no host needs it
    for path in ["var/lib/apt/lists", "var/cache/apt"] {
        let _ = fs::remove_dir_all(new.join(path));
    }
    fs::rename(&new, &folder).expect("the additions take their place");
    folder
}

/// The Debian below a host, from where its root is mounted.
fn debian(root: &Path) -> PathBuf {
    let mounts = fs::read_to_string("/proc/self/mounts").expect("mounts");
    let mount =
        mounts.lines().find(|line| line.split(' ').nth(1) == root.to_str()).expect("the host's root is mounted");
    let (_, rest) = mount.split_once("lowerdir=").expect("an overlay");
    PathBuf::from(rest.split(',').next().and_then(|lower| lower.split(':').next_back()).expect("a folder"))
}

#[track_caller]
fn must(command: &mut Command) {
    let output = command.stdin(Stdio::null()).output();
    let output = output.unwrap_or_else(|error| panic!("{command:?}: {error}; run tests/run, which installs it"));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{command:?}: {said}");
}
