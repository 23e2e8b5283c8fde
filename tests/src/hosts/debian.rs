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
    fs::create_dir_all(FOLDER).expect("a folder for the hosts");
    let lock = File::create(Path::new(FOLDER).join("lock")).expect("a lock");
    lock.lock().expect("the lock");
    let recipe = format!("{PACKAGES}{DOWNLOADED}{SETUP}");
    let number = recipe
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    let folder = Path::new(FOLDER).join(format!("debian-{number:016x}"));
    if folder.is_dir() {
        return folder;
    }
    let new = Path::new(FOLDER).join("debian-new");
    let _ = fs::remove_dir_all(&new);
    let mut bootstrap = Command::new("debootstrap");
    bootstrap.args(["--variant=minbase", &format!("--include={PACKAGES}"), "bookworm"]).arg(&new);
    made(bootstrap.args(mirror()), "debootstrap");
    let chroot = |script: &str| {
        let mut command = Command::new("chroot");
        command.arg(&new).args(["sh", "-c", script]).env("DEBIAN_FRONTEND", "noninteractive");
        made(&mut command, script);
    };
    let resolver = new.join("etc/resolv.conf");
    fs::copy("/etc/resolv.conf", &resolver).expect("names are resolved");
    chroot(&format!("apt-get update -q && apt-get install -y -q --no-install-recommends --download-only {DOWNLOADED}"));
    chroot(SETUP);
    fs::rename(&new, &folder).expect("the new system takes its place");
    folder
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
