//! Letting in what a host is there for, and nothing else: by `ufw` where that is, by nftables otherwise. What is set is
//! written down, so that it can be taken back, and nothing of anybody else is.

use agent::members::{DATA_PORTS, EDGE_PORT, PEER_PORT};

use super::{
    Facts,
    plan::{Act, Step, write},
};

/// Slipway's file for nftables.
pub const NFT_FILE: &str = "/etc/slipway.nft";

/// What takes back what was set with `ufw`, a line each.
pub const UFW_FILE: &str = "/etc/slipway.ufw";

/// Loads [`NFT_FILE`] at boot, where systemd is.
const NFT_UNIT: &str = "/etc/systemd/system/slipway-firewall.service";

/// Loads [`NFT_FILE`] at boot, where systemd is not.
const NFT_CRON: &str = "/etc/cron.d/slipway-firewall";

/// Addresses that are not of the internet. Source: RFC 1918, RFC 6598, RFC 4193.
const PRIVATE: [&str; 5] = ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7"];

/// Why no firewall can be set there, with the mend.
pub fn problem(facts: &Facts) -> Option<String> {
    let ssh = facts.ssh_port.unwrap_or(22);
    if facts.firewalld {
        let ports = DATA_PORTS;
        return Some(format!(
            "firewalld keeps its firewall, and rules beside it open nothing that it closes; let in there what is needed: \
             firewall-cmd --permanent --add-service=http --add-service=https && for net in 10.0.0.0/8 172.16.0.0/12 \
             192.168.0.0/16; do firewall-cmd --permanent --zone=trusted --add-source=$net; done && firewall-cmd --reload \
             (other hosts come to ports {PEER_PORT}, {EDGE_PORT} and {} to {})",
            ports.start(),
            ports.end()
        ));
    }
    if facts.ufw {
        let denied =
            [format!("deny {ssh}/tcp"), format!("reject {ssh}/tcp"), format!("deny {ssh}"), format!("reject {ssh}")];
        return facts
            .ufw_rules
            .iter()
            .map(|rule| bare(rule))
            .find(|rule| denied.iter().any(|other| other == rule))
            .map(|rule| {
                format!("ufw has the rule `{rule}`, and that is where you come in; remove it: ufw delete {rule}")
            });
    }
    if !facts.nft {
        return Some("it has neither nft nor ufw, so no firewall can be set; install nftables".to_owned());
    }
    (!facts.systemd && !facts.cron).then(|| {
        "it runs neither systemd nor cron, so nothing would load the firewall at boot; install cron".to_owned()
    })
}

/// Lets in what is asked for by this connection, visitors and other hosts, and nothing else. Nothing where that is so.
pub fn step(facts: &Facts) -> Option<Step> {
    if facts.ufw { ufw(facts) } else { nft(facts) }
}

/// Takes back what [`step`] set, whichever way.
pub fn undo() -> String {
    format!(
        "PATH=$PATH:/usr/sbin:/sbin\n\
         if [ -e {UFW_FILE} ]; then sh {UFW_FILE} >/dev/null || :; rm -f {UFW_FILE}; fi\n\
         if [ -e {NFT_FILE} ]; then\n  \
         if [ -d /run/systemd/system ]; then systemctl disable --now slipway-firewall 2>/dev/null || :; fi\n  \
         nft delete table inet slipway 2>/dev/null || :\n  rm -f {NFT_FILE} {NFT_UNIT} {NFT_CRON}\nfi"
    )
}

/// Ports that anybody may come to.
fn public(facts: &Facts) -> Vec<u16> {
    let mut ports = vec![facts.ssh_port.unwrap_or(22), 80, 443];
    ports.extend(facts.visitors.iter().filter(|port| ![80, 443].contains(*port)));
    ports
}

/// Names them in a step's title.
fn title(facts: &Facts, tool: &str) -> String {
    let ssh = facts.ssh_port.unwrap_or(22);
    let more: Vec<String> = public(facts)[3..].iter().map(ToString::to_string).collect();
    let more = if more.is_empty() { String::new() } else { format!(" (also at {})", more.join(", ")) };
    format!("let in SSH (port {ssh}), visitors{more} and other hosts only, by {tool}")
}

/// A rule without its remark.
fn bare(rule: &str) -> &str {
    rule.split(" comment ").next().unwrap_or(rule).trim()
}

/// Adds the rules that are not there yet, whoever added the others, and switches `ufw` on.
fn ufw(facts: &Facts) -> Option<Step> {
    let there: Vec<&str> = facts.ufw_rules.iter().map(|rule| bare(rule)).collect();
    let any = |wanted: &[String]| wanted.iter().any(|rule| there.contains(&rule.as_str()));
    // rules of the host's owner about a port count, whichever way they go
    let ports = public(facts).into_iter().filter(|port| {
        let verbs = ["allow", "limit", "deny", "reject"];
        !any(&verbs.map(|verb| format!("{verb} {port}/tcp"))) && !any(&verbs.map(|verb| format!("{verb} {port}")))
    });
    let peers = PRIVATE.iter().map(|from| {
        format!(
            "allow from {from} to any port {PEER_PORT},{EDGE_PORT},{}:{} proto tcp",
            DATA_PORTS.start(),
            DATA_PORTS.end()
        )
    });
    let missing: Vec<String> = ports
        .map(|port| format!("allow {port}/tcp"))
        .chain(peers.filter(|rule| !there.contains(&rule.as_str())))
        .collect();
    let open = facts.ufw_input.as_deref().filter(|policy| !matches!(*policy, "DROP" | "REJECT"));
    if missing.is_empty() && facts.ufw_active && open.is_none() {
        return None;
    }
    let mut change: Vec<String> = missing.iter().map(|rule| format!("ufw {rule} comment slipway")).collect();
    let mut back: Vec<String> = Vec::new();
    if !facts.ufw_active {
        back.push("ufw --force disable".to_owned());
    }
    if open.is_some() {
        change.push("ufw default deny incoming".to_owned());
        back.push("ufw default allow incoming".to_owned());
    }
    if !facts.ufw_active {
        // last, so that it never keeps out whom it is to let in
        change.push("ufw --force enable".to_owned());
    }
    back.extend(missing.iter().map(|rule| format!("ufw delete {rule}")));
    let before =
        facts.ufw_file.as_deref().unwrap_or("# Written by `slipway host harden`: what takes back what it did.\n");
    let written = write(UFW_FILE, &format!("{before}{}\n", back.join("\n")), "600");
    let path = "PATH=$PATH:/usr/sbin:/sbin";
    let restore = facts.ufw_file.as_deref().map_or(format!("rm -f {UFW_FILE}"), |old| write(UFW_FILE, old, "600"));
    let undo =
        format!("{path}\n{}\n{restore}", back.iter().map(|line| format!("{line} || :")).collect::<Vec<_>>().join("\n"));
    let change = format!("{path}\n{written}\n{}", change.join("\n"));
    Some(Step { title: title(facts, "ufw"), act: Act::Guarded { change, undo } })
}

/// A table of its own, beside whatever else there is.
fn nft(facts: &Facts) -> Option<Step> {
    let rules = rules(&public(facts));
    if facts.nft_file.as_deref() == Some(&rules) {
        return None;
    }
    let load = if facts.systemd {
        let unit = format!(
            "# Written by `slipway host harden`, which replaces it.\n[Unit]\nDescription=Slipway firewall\nDefaultDependencies=no\n\
             Before=network-pre.target\nWants=network-pre.target\n\n[Service]\nType=oneshot\nRemainAfterExit=yes\n\
             ExecStart=/usr/bin/env nft --file {NFT_FILE}\nExecStop=/usr/bin/env nft delete table inet slipway\n\n\
             [Install]\nWantedBy=multi-user.target\n"
        );
        format!(
            "{}\nsystemctl daemon-reload\nsystemctl enable --quiet slipway-firewall\nsystemctl restart slipway-firewall",
            write(NFT_UNIT, &unit, "644")
        )
    } else {
        let line = format!(
            "# Written by `slipway host harden`, which replaces it.\n\
             PATH=/usr/sbin:/usr/bin:/sbin:/bin\n@reboot root nft --file {NFT_FILE}\n"
        );
        format!("{}\nnft --file {NFT_FILE}", write(NFT_CRON, &line, "644"))
    };
    let change = format!(
        "PATH=$PATH:/usr/sbin:/sbin\n{}\nnft --check --file {NFT_FILE}\n{load}",
        write(NFT_FILE, &rules, "644"),
    );
    let undo = match facts.nft_file.as_deref() {
        // what it had before
        Some(old) => format!("PATH=$PATH:/usr/sbin:/sbin\n{}\nnft --file {NFT_FILE}", write(NFT_FILE, old, "644")),
        None => undo(),
    };
    Some(Step { title: title(facts, "nftables"), act: Act::Guarded { change, undo } })
}

fn rules(public: &[u16]) -> String {
    let (first, last) = (DATA_PORTS.start(), DATA_PORTS.end());
    let public: Vec<String> = public.iter().map(ToString::to_string).collect();
    let (four, six) = (PRIVATE[..4].join(", "), PRIVATE[4]);
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
    tcp dport {{ {} }} accept
    ip saddr {{ {four} }} tcp dport {{ {PEER_PORT}, {EDGE_PORT}, {first}-{last} }} accept
    ip6 saddr {six} tcp dport {{ {PEER_PORT}, {EDGE_PORT}, {first}-{last} }} accept
  }}
}}
",
        public.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use super::{super::facts::tests::facts, *};

    fn scripts(more: &str) -> (String, String) {
        match step(&facts(more)).unwrap().act {
            Act::Guarded { change, undo } => (change, undo),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn ufw_gets_what_it_lacks_and_only_that_is_taken_back() {
        let owner =
            "ufw=yes\nufw_active=yes\nufw_input=DROP\nufw_rule=limit 22/tcp\nufw_rule=allow 443/tcp comment 'mine'\n";
        let (change, undo) = scripts(owner);
        assert!(change.contains("ufw allow 80/tcp comment slipway\n"), "{change}");
        assert!(!change.contains("22/tcp comment") && !change.contains("443/tcp comment"), "{change}");
        assert!(!change.contains("enable") && !undo.contains("disable"), "it was on before");
        assert!(undo.contains("ufw delete allow 80/tcp") && !undo.contains("443"), "{undo}");

        let (change, undo) = scripts("ufw=yes\nufw_input=ACCEPT\n");
        assert!(change.ends_with("ufw default deny incoming\nufw --force enable"), "{change}");
        let order = ["ufw --force disable", "ufw default allow incoming", "ufw delete allow 22/tcp"];
        let places: Vec<_> = order.iter().map(|line| undo.find(line).expect(line)).collect();
        assert!(places.is_sorted(), "{undo}");
    }

    #[test]
    fn nothing_is_set_twice() {
        let (change, _) = scripts("ufw=yes\n");
        let rules: String = change
            .lines()
            .filter_map(|line| line.strip_prefix("ufw ")?.strip_suffix(" comment slipway"))
            .fold(String::new(), |text, rule| text + &format!("ufw_rule={rule} comment 'slipway'\n"));
        assert_eq!(step(&facts(&format!("ufw=yes\nufw_active=yes\nufw_input=DROP\n{rules}"))), None);
        let file = super::rules(&[22, 80, 443]).replace('\n', "\\n");
        assert_eq!(step(&facts(&format!("nft=yes\nnft_file={file}\n"))), None);
    }

    #[test]
    fn other_ports_of_visitors_stay_open() {
        let (change, _) = scripts("nft=yes\nvisitors=8443\n");
        assert!(change.contains("tcp dport { 22, 80, 443, 8443 } accept"), "{change}");
        assert!(step(&facts("ufw=yes\nvisitors=8443\n")).unwrap().title.contains("(also at 8443)"));
    }

    #[test]
    fn a_firewall_that_would_keep_you_out_or_is_another_s_is_refused() {
        let denied = problem(&facts("ufw=yes\nufw_rule=deny 22/tcp\n")).unwrap();
        assert!(denied.contains("ufw delete deny 22/tcp"), "{denied}");
        assert!(problem(&facts("ufw=yes\nfirewalld=yes\n")).unwrap().contains("firewall-cmd --permanent"));
        assert!(problem(&facts("")).unwrap().contains("install nftables"));
        assert_eq!(problem(&facts("nft=yes\n")), None);
    }
}
