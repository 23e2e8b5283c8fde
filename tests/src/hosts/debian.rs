//! The Debian that all hosts of all stories share: made once per machine, never written to afterwards.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// Where it lies, and what the stories put on top of it.
pub(super) const FOLDER: &str = "/var/tmp/slipway-testbed";

/// What is on every host. A real server has more; what Slipway needs must be among it.
const PACKAGES: &str = "systemd,systemd-sysv,dbus,openssh-server,sudo,iproute2,nftables,cron,ca-certificates,procps";

/// What `--install` finds without a network.
const DOWNLOADED: &str = "redis-server";

/// What engines are made of: containers, and a broker of messages.
const ENGINES: &str = "docker.io rabbitmq-server";

/// Lets a Docker daemon run in a machine that is a container itself: its images in memory, as an overlay cannot lie on
/// an overlay, and control groups that have the controllers, which may be with version 1 on this machine. It changes no
/// firewall rule.
const ENGINES_SETUP: &str = r#"
set -eu
mkdir -p /etc/docker /etc/systemd/system/docker.service.d
cat > /etc/docker/daemon.json <<'END'
{ "iptables": false, "ip-masq": false, "ip-forward": false, "insecure-registries": ["10.128.0.0/10"] }
END
cat > /usr/local/sbin/testbed-docker <<'END'
#!/bin/sh
set -e
mkdir -p /var/lib/docker
mount -t tmpfs tmpfs /var/lib/docker
if ! grep -qw memory /sys/fs/cgroup/cgroup.controllers; then
  mount -t tmpfs cgroup /sys/fs/cgroup
  for one in cpu cpuacct cpuset memory devices pids blkio freezer; do
    mkdir /sys/fs/cgroup/$one
    mount -t cgroup -o $one cgroup /sys/fs/cgroup/$one || rmdir /sys/fs/cgroup/$one
  done
fi
exec dockerd --host fd:// --cgroup-parent "/slipway-story-$(hostname)"
END
chmod 755 /usr/local/sbin/testbed-docker
cat > /etc/systemd/system/docker.service.d/testbed.conf <<'END'
[Service]
PrivateMounts=yes
ExecStart=
ExecStart=/usr/local/sbin/testbed-docker
END
systemctl mask containerd.service rabbitmq-server.service epmd.service epmd.socket >/dev/null 2>&1
rm -f /usr/sbin/policy-rc.d /etc/resolv.conf
"#;

/// Changes the fresh system into one that boots in half a second and lets stories in. A change makes a new one.
const SETUP: &str = r"
set -eu
useradd --create-home --shell /bin/bash deploy
useradd --create-home --shell /bin/bash guest
echo 'deploy ALL=(ALL) NOPASSWD: ALL' > /etc/sudoers.d/deploy
for home in /root /home/deploy /home/guest; do
  mkdir -p -m 700 $home/.ssh; touch $home/.ssh/authorized_keys; chmod 600 $home/.ssh/authorized_keys
done
chown -R deploy: /home/deploy; chown -R guest: /home/guest
rm -f /etc/ssh/ssh_host_*
echo 'HostKey /etc/ssh/ssh_host_ed25519_key' > /etc/ssh/sshd_config.d/key.conf
cat > /etc/systemd/system/testbed-network.service <<'END'
[Unit]
DefaultDependencies=no
Before=network-pre.target ssh.service
[Service]
Type=oneshot
RemainAfterExit=yes
EnvironmentFile=/etc/testbed-address
ExecStart=/usr/sbin/ip link set lo up
ExecStart=/usr/sbin/ip address replace ${ADDRESS} dev host0
ExecStart=/usr/sbin/ip link set host0 up
[Install]
WantedBy=multi-user.target
END
ln -s /etc/systemd/system/testbed-network.service /etc/systemd/system/multi-user.target.wants/
systemctl mask systemd-firstboot.service apt-daily.timer apt-daily-upgrade.timer man-db.timer dpkg-db-backup.timer \
  e2scrub_all.timer fstrim.timer e2scrub_reap.service console-getty.service getty.target systemd-networkd.service >/dev/null 2>&1
: > /etc/machine-id
rm -f /etc/resolv.conf
";

/// The folder of the finished system. The first to ask makes it; the others wait.
pub(super) fn debian() -> PathBuf {
    let _lock = lock();
    made_once("debian", &format!("{PACKAGES}{DOWNLOADED}{SETUP}"), |new| {
        let mut bootstrap = Command::new("debootstrap");
        bootstrap.args(["--variant=minbase", &format!("--include={PACKAGES}"), "bookworm"]).arg(new);
        made(bootstrap.args(mirror()), "debootstrap");
        fs::copy("/etc/resolv.conf", new.join("etc/resolv.conf")).expect("names are resolved");
        chroot(
            new,
            &format!("apt-get update -q && apt-get install -y -q --no-install-recommends --download-only {DOWNLOADED}"),
        );
        chroot(new, SETUP);
    })
}

/// The folder of a layer over [`debian`] with a Docker engine and a RabbitMQ server, made the same way.
pub(super) fn engines() -> PathBuf {
    let debian = debian();
    let _lock = lock();
    made_once("engines", &format!("{}{ENGINES}{ENGINES_SETUP}", debian.display()), |new| {
        let [work, root] = ["work", "root"].map(|name| new.with_file_name(format!("engines-{name}")));
        for folder in [new, &work, &root] {
            fs::create_dir_all(folder).expect("a folder");
        }
        let layers = format!("lowerdir={},upperdir={},workdir={}", debian.display(), new.display(), work.display());
        made(Command::new("mount").args(["-t", "overlay", "overlay", "-o", &layers]).arg(&root), "mount");
        fs::copy("/etc/resolv.conf", root.join("etc/resolv.conf")).expect("names are resolved");
        fs::write(root.join("usr/sbin/policy-rc.d"), "#!/bin/sh\nexit 101\n").expect("a file");
        chroot(&root, "chmod 755 /usr/sbin/policy-rc.d; apt-get update -q");
        chroot(&root, &format!("apt-get install -y -q --no-install-recommends {ENGINES}"));
        chroot(&root, ENGINES_SETUP);
        made(Command::new("umount").arg(&root), "umount");
        for folder in [&work, &root] {
            let _ = fs::remove_dir_all(folder);
        }
    })
}

fn lock() -> File {
    fs::create_dir_all(FOLDER).expect("a folder for the hosts");
    let lock = File::create(Path::new(FOLDER).join("lock")).expect("a lock");
    lock.lock().expect("the lock");
    lock
}

/// A folder that is made by its recipe and never changed afterwards.
fn made_once(name: &str, recipe: &str, make: impl FnOnce(&Path)) -> PathBuf {
    let number = recipe
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    let folder = Path::new(FOLDER).join(format!("{name}-{number:016x}"));
    if !folder.is_dir() {
        let new = Path::new(FOLDER).join(format!("{name}-new"));
        let _ = fs::remove_dir_all(&new);
        make(&new);
        fs::rename(&new, &folder).expect("the new system takes its place");
    }
    folder
}

#[track_caller]
fn chroot(root: &Path, script: &str) {
    let mut command = Command::new("chroot");
    command.arg(root).args(["sh", "-c", script]).env("DEBIAN_FRONTEND", "noninteractive");
    made(&mut command, script);
}

/// Where this machine gets its packages from, which is where it can.
fn mirror() -> Option<String> {
    let read = |path: &Path| fs::read_to_string(path).unwrap_or_default();
    let mut lists = read(Path::new("/etc/apt/sources.list"));
    for entry in fs::read_dir("/etc/apt/sources.list.d").into_iter().flatten().flatten() {
        lists += &read(&entry.path());
    }
    let mut words = lists.lines().filter(|line| !line.trim_start().starts_with('#')).flat_map(str::split_whitespace);
    words.find(|word| word.starts_with("http") && word.trim_end_matches('/').ends_with("/debian")).map(str::to_owned)
}

#[track_caller]
fn made(command: &mut Command, what: &str) {
    let output = command.stdin(Stdio::null()).output();
    let output = output.unwrap_or_else(|error| panic!("{what}: {error}; run tests/run, which installs it"));
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    let last: Vec<&str> = said.lines().rev().take(20).collect();
    assert!(output.status.success(), "{what} failed:\n{}", last.into_iter().rev().collect::<Vec<_>>().join("\n"));
}
