//! Making a host harder to break into. Only what was asked for, and never without a way back in.

use agent::members::{DATA_PORTS, EDGE_PORT, PEER_PORT};

use super::{
    Facts,
    plan::{Act, Step, write},
};

/// Slipway's file for sshd. The first value of an option counts, hence the name.
pub const SSHD_FILE: &str = "/etc/ssh/sshd_config.d/00-slipway.conf";

/// Slipway's file for nftables.
pub const NFT_FILE: &str = "/etc/slipway.nft";

/// Loads that file at boot.
const NFT_UNIT: &str = "/etc/systemd/system/slipway-firewall.service";

const SSHD: &str = "# Written by `slipway host harden`, which replaces it.
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
";

/// Lets sshd take keys only. Nothing where it does already. This connection has proven that a key gets in; a new one
/// proves it again afterwards, and otherwise everything is put back.
pub fn sshd(facts: &Facts) -> Option<Step> {
    let is = |name: &str, values: &[&str]| facts.sshd.get(name).is_some_and(|value| values.contains(&value.as_str()));
    let hard = is("passwordauthentication", &["no"])
        && is("kbdinteractiveauthentication", &["no"])
        && is("permitrootlogin", &["no", "without-password", "prohibit-password"]);
    if hard || facts.sshd_file.as_deref() == Some(SSHD) {
        return None;
    }
    let reload =
        "systemctl reload ssh 2>/dev/null || systemctl reload sshd 2>/dev/null || kill -HUP \"$(cat /run/sshd.pid)\"";
    let change = format!(
        "grep -qi '^ *include .*sshd_config\\.d' /etc/ssh/sshd_config || {{ \
         echo 'its sshd reads no folder sshd_config.d; add at the top of /etc/ssh/sshd_config: Include /etc/ssh/sshd_config.d/*.conf' >&2; exit 1; }}\n\
         {}\nsshd -t || {{ rm -f {SSHD_FILE}; exit 1; }}\n{reload}",
        write(SSHD_FILE, SSHD, "644")
    );
    let undo = format!("rm -f {SSHD_FILE}\n{reload}");
    Some(Step { title: "let sshd take keys only, no passwords".to_owned(), act: Act::Guarded { change, undo } })
}

/// Lets in what is asked for by this connection, visitors and other hosts, and nothing else. Nothing where that is so.
pub fn firewall(facts: &Facts) -> Option<Step> {
    let ssh = facts.ssh_port.unwrap_or(22);
    if facts.ufw {
        let change = format!(
            "ufw allow {ssh}/tcp\nufw allow 80/tcp\nufw allow 443/tcp\n\
             for from in 10.0.0.0/8 172.16.0.0/12 192.168.0.0/16 100.64.0.0/10 fc00::/7; do\n  \
             ufw allow proto tcp from $from to any port {PEER_PORT},{EDGE_PORT},{}:{}\ndone\nufw --force enable",
            DATA_PORTS.start(),
            DATA_PORTS.end()
        );
        let title = format!("let in SSH (port {ssh}), visitors and other hosts only, by ufw");
        return Some(Step { title, act: Act::Guarded { change, undo: "ufw --force disable".to_owned() } });
    }
    let rules = rules(ssh);
    if facts.nft_file.as_deref() == Some(&rules) {
        return None;
    }
    let unit = format!(
        "# Written by `slipway host harden`, which replaces it.\n[Unit]\nDescription=Slipway firewall\nDefaultDependencies=no\n\
         Before=network-pre.target\nWants=network-pre.target\n\n[Service]\nType=oneshot\nRemainAfterExit=yes\n\
         ExecStart=/usr/bin/env nft --file {NFT_FILE}\nExecStop=/usr/bin/env nft delete table inet slipway\n\n\
         [Install]\nWantedBy=multi-user.target\n"
    );
    let change = format!(
        "PATH=$PATH:/usr/sbin:/sbin\n{}\nnft --check --file {NFT_FILE} || {{ rm -f {NFT_FILE}; exit 1; }}\n{}\n\
         systemctl daemon-reload\nsystemctl enable --quiet slipway-firewall\nsystemctl restart slipway-firewall",
        write(NFT_FILE, &rules, "644"),
        write(NFT_UNIT, &unit, "644"),
    );
    let undo = format!(
        "PATH=$PATH:/usr/sbin:/sbin\nsystemctl disable --now slipway-firewall\nnft delete table inet slipway 2>/dev/null\n\
         rm -f {NFT_FILE} {NFT_UNIT}"
    );
    let title = format!("let in SSH (port {ssh}), visitors and other hosts only, by nftables");
    Some(Step { title, act: Act::Guarded { change, undo } })
}

/// A table of its own, beside whatever else there is.
fn rules(ssh: u16) -> String {
    let (first, last) = (DATA_PORTS.start(), DATA_PORTS.end());
    format!(
        "# Written by `slipway host harden`, which replaces it.
table inet slipway
delete table inet slipway
table inet slipway {{
  chain input {{
    type filter hook input priority 10; policy drop;
    ct state established,related accept
    iif lo accept
    # ICMP and ICMPv6, by number: a small system knows no names of protocols
    meta l4proto {{ 1, 58 }} accept
    udp dport {{ 68, 546 }} accept
    tcp dport {{ {ssh}, 80, 443 }} accept
    ip saddr {{ 10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16, 100.64.0.0/10 }} tcp dport {{ {PEER_PORT}, {EDGE_PORT}, {first}-{last} }} accept
    ip6 saddr fc00::/7 tcp dport {{ {PEER_PORT}, {EDGE_PORT}, {first}-{last} }} accept
  }}
}}
"
    )
}
