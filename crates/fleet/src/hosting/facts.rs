//! What a machine is, asked in one round trip.

use std::{collections::BTreeMap, net::IpAddr, time::Duration};

use jiff::Timestamp;

use super::{
    Program,
    package::{Manager, Package},
};
use crate::ssh::{Ssh, SshError, quoted};

/// How the user of the connection becomes root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Access {
    /// It is root.
    Root,
    /// By `sudo` without a password.
    Sudo,
    /// Not at all; this is what `sudo` said.
    None(String),
}

/// A machine as it was found.
#[derive(Debug, Clone, PartialEq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub struct Facts {
    /// The user of the connection.
    pub user: String,
    /// How it becomes root.
    pub access: Access,
    /// As in `x86_64`.
    pub machine: String,
    /// As in `6.1.0-18-amd64`.
    pub kernel: String,
    /// As in `Debian GNU/Linux 12 (bookworm)`.
    pub system: String,
    /// Its kind and version, as in `amzn 2023`. Source: `os-release(5)`, `ID` and `VERSION_ID`.
    pub distribution: String,
    /// What installs packages.
    pub manager: Option<Manager>,
    /// It runs systemd.
    pub systemd: bool,
    /// It runs cron.
    pub cron: bool,
    /// The loader that was asked for is there, or none was.
    pub loader: bool,
    /// Version of the GNU C library, as in `2.36`.
    pub glibc: Option<String>,
    /// Bytes free for the agent's home.
    pub home_free: u64,
    /// Bytes of the disk with the agent's home.
    pub home_size: u64,
    /// Bytes free for programs.
    pub programs_free: u64,
    /// Bytes of memory.
    pub memory: u64,
    /// Bytes of memory that can be had.
    pub memory_available: u64,
    /// Processes that want to run, over the last minute.
    pub load: f64,
    /// Processor cores.
    pub cores: u32,
    /// How far its clock is ahead, in seconds; negative when it is behind.
    pub skew: f64,
    /// How far `skew` may be off, in seconds: half of a round trip.
    pub skew_error: f64,
    /// Something keeps its clock right; `None` when it does not tell.
    pub clock_kept: Option<bool>,
    /// The address at which this connection reached it.
    pub address: Option<IpAddr>,
    /// Controllers of version 2 control groups; empty where there are none.
    pub controllers: Vec<String>,
    /// What listens on the ports that a host needs: port and program; the program is empty where it cannot be told.
    pub listening: Vec<(u16, String)>,
    /// Version of its container engine.
    pub docker: Option<String>,
    /// Servers that are installed.
    pub installed: Vec<Package>,
    /// Folder of the Slipway that its link leads to, as in `0.1.0-3f9c2a1b7d20`.
    pub program: Option<String>,
    /// The service's file, or the line of cron, as it is there.
    pub unit: Option<String>,
    /// The agent's service runs.
    pub active: bool,
    /// It is started at boot.
    pub enabled: bool,
    /// `host.json` as it is there.
    pub host_file: Option<String>,
    /// There is an agent's home.
    pub home: bool,
    /// The group is there.
    pub group: bool,
    /// The user is in it.
    pub member: bool,
    /// Bytes of a program that was on its way when the connection broke.
    pub part: u64,
    /// What sshd allows, as `sshd -T` says it.
    pub sshd: BTreeMap<String, String>,
    /// This very connection's port on the host.
    pub ssh_port: Option<u16>,
    /// Keys that let the user in.
    pub keys: u32,
    /// Slipway's file for sshd, as it is there.
    pub sshd_file: Option<String>,
    /// Slipway's file for nftables, as it is there.
    pub nft_file: Option<String>,
    /// Ports where its edge lets visitors in from outside.
    pub visitors: Vec<u16>,
    /// `ufw` is there.
    pub ufw: bool,
    /// It is switched on.
    pub ufw_active: bool,
    /// Its rules, as `ufw show added` tells them.
    pub ufw_rules: Vec<String>,
    /// What it does with what no rule is about, as in `DROP`.
    pub ufw_input: Option<String>,
    /// Slipway's file for `ufw`, as it is there.
    pub ufw_file: Option<String>,
    /// firewalld keeps the firewall.
    pub firewalld: bool,
    /// `nft` is there.
    pub nft: bool,
}

/// Prints `name=value` lines. A file's lines are joined by `\n`.
const SCRIPT: &str = r#"
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin
LC_ALL=C; export LC_ALL
say() { printf '%s=' "$1"; shift; printf '%s' "$*" | tr '\n' ' '; echo; }
say began "$(date +%s.%N)"
has() { command -v "$1" >/dev/null 2>&1; }
if [ "$(id -u)" = 0 ]; then say access root; root() { "$@"; }
elif said=$(sudo -n true 2>&1); then say access sudo; root() { sudo -n "$@"; }
else say access "none ${said:-there is no sudo}"; root() { "$@"; }; fi
file() { root test -e "$2" 2>/dev/null || return; printf '%s=' "$1"; root sed 's/$/\\n/' "$2" | tr -d '\n'; echo; }
say user "$(id -un)"
say machine "$(uname -m)"
say kernel "$(uname -r)"
[ -r /etc/os-release ] && { say system "$(. /etc/os-release; echo "$PRETTY_NAME")"
  say distribution "$(. /etc/os-release; echo "$ID $VERSION_ID")"; }
for one in apt-get dnf; do has $one && { say manager $one; break; }; done
[ -d /run/systemd/system ] && say systemd yes
{ has cron || has crond; } && [ -d /etc/cron.d ] && say cron yes
[ -z "$LOADER" ] || [ -e "$LOADER" ] && say loader yes
has getconf && say glibc "$(getconf GNU_LIBC_VERSION 2>/dev/null | sed 's/^glibc //')"
under() { d=$1; while [ ! -d "$d" ]; do d=$(dirname "$d"); done; df -Pk "$d" | tail -1; }
set -- $(under "$HOME_FOLDER"); say home_size "$2"; say home_free "$4"
set -- $(under "$PROGRAMS"); say programs_free "$4"
say memory "$(sed -n 's/^MemTotal: *\([0-9]*\).*/\1/p' /proc/meminfo)"
say memory_available "$(sed -n 's/^MemAvailable: *\([0-9]*\).*/\1/p' /proc/meminfo)"
say load "$(cut -d' ' -f1 /proc/loadavg)"
say cores "$(getconf _NPROCESSORS_ONLN 2>/dev/null || grep -c ^processor /proc/cpuinfo)"
has timedatectl && say clock_kept "$(timedatectl show -p NTPSynchronized --value 2>/dev/null)"
set -- $SSH_CONNECTION; say address "$3"; say ssh_port "$4"
for one in /sys/fs/cgroup /sys/fs/cgroup/unified; do
  [ -e $one/cgroup.controllers ] && { say controllers "$(cat $one/cgroup.controllers)" ; break; }; done
has ss && root ss -Hltnp 2>/dev/null | while read -r _ _ _ at _ users; do
  port=${at##*:}; needed=
  case $port in 80|443|7350|7351) needed=yes ;; *) case $at in 127.*|'[::1]'*) continue ;; esac ;; esac
  pid=${users#*pid=}; pid=${pid%%,*}; name=$(root readlink "/proc/$pid/exe" </dev/null 2>/dev/null); name=${name% (deleted)}
  if [ $needed ]; then echo "listening=$port ${name##*/}"
  elif [ "${name##*/}" = slipway ]; then echo "visitors=$port"; fi; done | sort -u
has docker && say docker "$(root timeout 5 docker version --format '{{.Server.Version}}' 2>/dev/null || echo 'does not answer')"
has docker && say installed docker
{ has initdb || ls /usr/lib/postgresql/*/bin/initdb /usr/pgsql-*/bin/initdb; } >/dev/null 2>&1 && say installed postgresql
{ has redis-server || has redis6-server || has valkey-server; } && say installed redis
{ has rabbitmq-server || [ -e /usr/lib/rabbitmq/bin/rabbitmq-server ]; } && say installed rabbitmq
[ -e "$LINK" ] && say program "$(basename "$(dirname "$(readlink -f "$LINK")")")"
file unit "$UNIT_FILE"; file cron_file "$CRON_FILE"
has systemctl && { [ "$(systemctl is-active slipway 2>/dev/null)" = active ] && say active yes
  [ "$(systemctl is-enabled slipway 2>/dev/null)" = enabled ] && say enabled yes; }
root test -d "$HOME_FOLDER" 2>/dev/null && say home yes
file host_file "$HOME_FOLDER/host.json"
getent group "$GROUP" >/dev/null && say group yes
case " $(id -nG "$(id -un)") " in *" $GROUP "*) say member yes;; esac
[ -n "$PART" ] && root test -e "$PART" 2>/dev/null && say part "$(root stat -c %s "$PART")"
has sshd && root sshd -T 2>/dev/null | sed -n 's/^\(permitrootlogin\|passwordauthentication\|kbdinteractiveauthentication\|pubkeyauthentication\|allowstreamlocalforwarding\|disableforwarding\) /sshd=\1 /p'
say keys "$(cat "$HOME/.ssh/authorized_keys" "$HOME/.ssh/authorized_keys2" 2>/dev/null | grep -c '^[^#]')"
file sshd_file "$SSHD_FILE"; file nft_file "$NFT_FILE"; file ufw_file "$UFW_FILE"
has nft && say nft yes
has ufw && { say ufw yes; root grep -qs '^ENABLED=yes' /etc/ufw/ufw.conf && say ufw_active yes
  say ufw_input "$(root sed -n 's/^DEFAULT_INPUT_POLICY="*\([A-Z]*\).*/\1/p' /etc/default/ufw 2>/dev/null)"
  root ufw show added 2>/dev/null | sed -n 's/^ufw /ufw_rule=/p'; }
has firewall-cmd && root firewall-cmd --state >/dev/null 2>&1 && say firewalld yes
say clock "$(date +%s.%N)"
:
"#;

impl Facts {
    /// Asks a machine, and whether the program that is to run there can, where one is.
    pub async fn ask(ssh: &Ssh, program: Option<&Program>) -> Result<Self, SshError> {
        let part = program.map(|program| super::plan::part(&program.folder())).unwrap_or_default();
        let loader = program.and_then(|program| program.loader.as_deref());
        let variables = [
            ("LOADER", loader.unwrap_or_default()),
            ("PART", &part),
            ("HOME_FOLDER", super::HOME),
            ("PROGRAMS", super::PROGRAMS),
            ("LINK", super::LINK),
            ("GROUP", super::GROUP),
            ("UNIT_FILE", super::unit::FILE),
            ("CRON_FILE", super::unit::CRON_FILE),
            ("SSHD_FILE", super::harden::SSHD_FILE),
            ("NFT_FILE", super::firewall::NFT_FILE),
            ("UFW_FILE", super::firewall::UFW_FILE),
        ]
        .iter()
        .fold(String::new(), |text, (name, value)| text + name + "=" + &quoted(value) + "\n");
        let before = Timestamp::now();
        let text = ssh.run(&(variables + SCRIPT)).await?.text(ssh)?;
        let took = before.duration_until(Timestamp::now()).unsigned_abs();
        Self::parse(&text, before, took).ok_or_else(|| SshError::Failed {
            host: ssh.host().to_owned(),
            code: 0,
            said: "it does not tell its clock".into(),
        })
    }

    /// Reads what the script printed; it began at `before` and took `took`.
    fn parse(text: &str, before: Timestamp, took: Duration) -> Option<Self> {
        let pairs: Vec<(&str, &str)> = text.lines().filter_map(|line| line.split_once('=')).collect();
        let all = |name: &'static str| pairs.iter().filter(move |pair| pair.0 == name).map(|pair| pair.1.trim());
        let one = |name: &'static str| all(name).next().filter(|value| !value.is_empty());
        let word = |name: &'static str| one(name).unwrap_or_default().to_owned();
        let yes = |name: &'static str| one(name) == Some("yes");
        let kilobytes =
            |name: &'static str| one(name).and_then(|value| value.parse::<u64>().ok()).unwrap_or_default() * 1024;
        let file = |name: &'static str| all(name).next().map(|value| value.replace("\\n", "\n"));
        let access = match one("access")?.split_once(' ').map_or((one("access")?, ""), |pair| pair) {
            ("root", _) => Access::Root,
            ("sudo", _) => Access::Sudo,
            (_, said) => Access::None(said.to_owned()),
        };
        // What the script did not take was spent on the way there and back.
        let moment = |name: &'static str| one(name)?.parse::<f64>().ok();
        let (began, ended) = (moment("began")?, moment("clock")?);
        let way = (took.as_secs_f64() - (ended - began)).max(0.0) / 2.0;
        let port = |line: &str| {
            let (port, program) = line.split_once(' ').unwrap_or((line, ""));
            Some((port.parse().ok()?, program.to_owned()))
        };
        Some(Self {
            user: word("user"),
            access,
            machine: word("machine"),
            kernel: word("kernel"),
            system: word("system"),
            distribution: word("distribution"),
            manager: one("manager").and_then(Manager::parse),
            systemd: yes("systemd"),
            cron: yes("cron"),
            loader: yes("loader"),
            glibc: one("glibc").map(str::to_owned),
            home_free: kilobytes("home_free"),
            home_size: kilobytes("home_size"),
            programs_free: kilobytes("programs_free"),
            memory: kilobytes("memory"),
            memory_available: kilobytes("memory_available"),
            load: one("load").and_then(|value| value.parse().ok()).unwrap_or_default(),
            cores: one("cores").and_then(|value| value.parse().ok()).unwrap_or(1),
            skew: began - (before.as_duration().as_secs_f64() + way),
            skew_error: way,
            clock_kept: one("clock_kept").map(|value| value == "yes"),
            address: one("address").and_then(|value| value.parse().ok()),
            controllers: one("controllers").unwrap_or_default().split_whitespace().map(str::to_owned).collect(),
            listening: all("listening").filter_map(port).collect(),
            docker: one("docker").map(str::to_owned),
            installed: all("installed").filter_map(|name| Package::parse(name).ok()).collect(),
            program: one("program").map(str::to_owned),
            unit: file("unit").or_else(|| file("cron_file")),
            active: yes("active"),
            enabled: yes("enabled"),
            host_file: file("host_file"),
            home: yes("home"),
            group: yes("group"),
            member: yes("member"),
            part: one("part").and_then(|value| value.parse().ok()).unwrap_or_default(),
            sshd: all("sshd")
                .filter_map(|line| line.split_once(' '))
                .map(|(a, b)| (a.to_owned(), b.to_owned()))
                .collect(),
            ssh_port: one("ssh_port").and_then(|value| value.parse().ok()),
            keys: one("keys").and_then(|value| value.parse().ok()).unwrap_or_default(),
            sshd_file: file("sshd_file"),
            nft_file: file("nft_file"),
            visitors: {
                let mut ports: Vec<u16> = all("visitors").filter_map(|port| port.parse().ok()).collect();
                ports.retain(|port| !agent::members::DATA_PORTS.contains(port));
                ports.sort_unstable();
                ports.dedup();
                ports
            },
            ufw: yes("ufw"),
            ufw_active: yes("ufw_active"),
            ufw_rules: all("ufw_rule").map(str::to_owned).collect(),
            ufw_input: one("ufw_input").map(str::to_owned),
            ufw_file: file("ufw_file"),
            firewalld: yes("firewalld"),
            nft: yes("nft"),
        })
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A fresh Debian, reached as `deploy`.
    pub(in crate::hosting) const FRESH: &str = "access=sudo\nuser=deploy\nmachine=x86_64\nkernel=6.1.0-18-amd64\n\
        system=Debian GNU/Linux 12 (bookworm)\nmanager=apt-get\nsystemd=yes\nloader=yes\nglibc=2.36\nhome_size=20000000\n\
        home_free=10000000\nprograms_free=10000000\nmemory=2000000\nmemory_available=1500000\nload=0.25\ncores=2\n\
        clock_kept=yes\naddress=10.0.0.7\nssh_port=22\ncontrollers=cpuset cpu io memory pids\nlistening=22 sshd\n\
        sshd=permitrootlogin without-password\nsshd=passwordauthentication yes\nkeys=1\nbegan=1000000000.75\nclock=1000000001.25\n";

    pub(in crate::hosting) fn facts(more: &str) -> Facts {
        let before = Timestamp::from_second(1_000_000_000).unwrap();
        // the first of two lines counts
        Facts::parse(&format!("{more}{FRESH}"), before, Duration::from_secs(1)).unwrap()
    }

    #[test]
    fn a_machine_tells_what_it_is() {
        let fresh = facts("");
        assert_eq!(fresh.access, Access::Sudo);
        assert_eq!(fresh.address, Some([10, 0, 0, 7].into()));
        assert_eq!(fresh.listening, [(22, "sshd".to_owned())]);
        assert!((fresh.skew - 0.5).abs() < 1e-6 && (fresh.skew_error - 0.25).abs() < 1e-6, "{}", fresh.skew);
        assert_eq!(fresh.unit, None);
        assert_eq!(facts("unit=[Unit]\\nA=b\\n\n").unit.as_deref(), Some("[Unit]\nA=b\n"));
        assert_eq!(
            facts("access=none sudo: a password is required\n").access,
            Access::None("sudo: a password is required".into())
        );
    }
}
