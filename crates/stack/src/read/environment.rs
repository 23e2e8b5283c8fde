//! `[environment.x]`: where an environment is and how careful to be. Its overlay is read after it was applied.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
};

use super::{
    section::{Section, shortened},
    service,
};
use crate::{DataClass, Environment, EnvironmentName, Kind, ResourceName, Rollout, TargetKind, suggest::suggest};

/// Most environments a file may declare: each is a reading of the whole stack.
const MOST_ENVIRONMENTS: usize = 32;

const MOVED: [(&str, &str); 7] = [
    ("host", "hosts"),
    ("driver", "target"),
    ("port", "listen"),
    ("address", "listen"),
    ("approval", "approve"),
    ("variables", "variable"),
    ("proxies", "trusted_proxies"),
];

/// The environment of a stack that declares none: `dev` on this machine.
pub(crate) fn standard() -> BTreeMap<EnvironmentName, Environment> {
    let name = EnvironmentName::new("dev").expect("a well-formed constant");
    BTreeMap::from([(name, bare(TargetKind::Local))])
}

fn bare(target: TargetKind) -> Environment {
    let (listen, data) = match target {
        TargetKind::Local => (vec![SocketAddr::from(([127, 0, 0, 1], 8080))], DataClass::Seed),
        TargetKind::Hosts => (vec![SocketAddr::from(([0, 0, 0, 0], 80))], DataClass::Real),
        TargetKind::Kubernetes | TargetKind::Aws => (Vec::new(), DataClass::Real),
    };
    Environment {
        target,
        hosts: Vec::new(),
        listen,
        data,
        approve: false,
        rollout: Rollout::default(),
        max_fail: 0,
        health: None,
        trusted_proxies: Vec::new(),
        overlays: Vec::new(),
    }
}

/// Reads every environment.
pub(crate) fn read_all(section: &Section<'_>) -> BTreeMap<EnvironmentName, Environment> {
    let mut environments = BTreeMap::new();
    if section.table.len() > MOST_ENVIRONMENTS {
        let message = format!("the stack has {} environments", section.table.len());
        let mend = format!("declare at most {MOST_ENVIRONMENTS}");
        section.notes.add(section.problem("too-many-environments", message).with_mend(mend));
    }
    for entry in section.each().take(MOST_ENVIRONMENTS) {
        let name = EnvironmentName::new(entry.path.last());
        if let Err(bad) = &name {
            let message = format!("`{}` cannot name an environment", shortened(&bad.value).escape_debug());
            section.notes.add(entry.key_problem("bad-name", message).with_mend(bad.reason));
        }
        let Some(table) = entry.section() else { continue };
        let environment = read(table);
        if let Ok(name) = name {
            environments.insert(name, environment);
        }
    }
    environments
}

fn read(section: Section<'_>) -> Environment {
    let targets = [
        ("local", TargetKind::Local),
        ("hosts", TargetKind::Hosts),
        ("kubernetes", TargetKind::Kubernetes),
        ("aws", TargetKind::Aws),
    ];
    let target = section.choice("target", &targets);
    if !section.has("target") {
        section.missing("target", "write where it runs: `local`, `hosts`, `kubernetes` or `aws`");
    }
    let standard = bare(target.unwrap_or(TargetKind::Local));
    let classes = [("seed", DataClass::Seed), ("anonymised", DataClass::Anonymised), ("real", DataClass::Real)];
    let listen = read_listen(&section);
    let hosts = read_hosts(&section, target);
    let environment = Environment {
        target: standard.target,
        max_fail: read_max_fail(&section, target, hosts.len()),
        hosts,
        listen: if section.has("listen") { listen } else { standard.listen },
        data: section.choice("data", &classes).unwrap_or(standard.data),
        approve: section.flag("approve", false),
        rollout: section.parse("rollout").unwrap_or_default(),
        health: section.find("health").and_then(|entry| service::url_path(&entry)),
        trusted_proxies: read_networks(&section),
        overlays: read_overlays(&section),
    };
    for key in ["variable", "route", "alarm"] {
        section.table(key);
    }
    section.finish(&MOVED);
    environment
}

fn read_hosts(section: &Section<'_>, target: Option<TargetKind>) -> Vec<String> {
    let mut hosts = Vec::new();
    for entry in section.texts("hosts") {
        let Some(text) = entry.filled() else { continue };
        let clean = text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-@:[]".contains(&b)) && text.len() <= 300;
        let whole = text.split('@').all(|part| !part.is_empty()) && text.matches('@').count() <= 1;
        if !clean || !whole || text.starts_with('-') || text.contains("@-") {
            let message = format!("{}: `{}` is no SSH destination", entry.path.place(), shortened(text).escape_debug());
            section.notes.add(
                entry
                    .problem("bad-host", message)
                    .with_mend("write it as `user@host`, `host`, or a name from your SSH configuration"),
            );
        } else if hosts.iter().any(|other| other == text) {
            let message = format!("{} names `{text}` twice", entry.path.place());
            section.notes.add(entry.problem("repeated", message).with_mend("remove one of them"));
        } else {
            hosts.push(text.to_owned());
        }
    }
    let empty =
        section.find("hosts").is_none_or(|entry| entry.value.get_ref().as_array().is_some_and(|list| list.is_empty()));
    if target == Some(TargetKind::Hosts) && empty {
        let message = format!("{} has the target `hosts` but no hosts", section.path.place());
        section.notes.add(
            section.problem("hosts-missing", message).with_mend("write for example `hosts = [\"deploy@203.0.113.7\"]`"),
        );
    }
    if let Some(entry) = section.find("hosts").filter(|_| target.is_some_and(|target| target != TargetKind::Hosts)) {
        let message = format!("{} has `hosts`, which only the target `hosts` uses", section.path.place());
        section
            .notes
            .add(entry.key_problem("hosts-unused", message).with_mend("remove `hosts`, or write `target = \"hosts\"`"));
    }
    hosts
}

fn read_max_fail(section: &Section<'_>, target: Option<TargetKind>, hosts: usize) -> u8 {
    let max_fail = section.whole("max_fail", 0..=99).unwrap_or(0);
    let Some(entry) = section.find("max_fail").filter(|_| max_fail > 0) else { return 0 };
    if target.is_some_and(|target| target != TargetKind::Hosts) {
        let message = format!("{} has `max_fail`, which only the target `hosts` uses", section.path.place());
        let mend = "remove `max_fail`, or write `target = \"hosts\"`";
        section.notes.add(entry.key_problem("max-fail-unused", message).with_mend(mend));
    }
    // more than half of the hosts are needed for everything
    let most = hosts.saturating_sub(1) / 2;
    if target == Some(TargetKind::Hosts) && hosts > 0 && usize::from(max_fail) > most {
        let message = format!("{}: `max_fail` is {max_fail} of {hosts} hosts", section.path.place());
        let mend = match most {
            0 => "remove `max_fail`: more than half of the hosts are needed, so none of one or two may be lost"
                .to_owned(),
            most => format!("write at most {most}: more than half of the hosts are needed"),
        };
        section.notes.add(entry.problem("max-fail-too-large", message).with_mend(mend));
    }
    max_fail
}

fn read_listen(section: &Section<'_>) -> Vec<SocketAddr> {
    let mut listen: Vec<SocketAddr> = Vec::new();
    for entry in section.texts("listen") {
        let Some(text) = entry.filled() else { continue };
        let Ok(address) = text.parse::<SocketAddr>() else {
            let message =
                format!("{}: `{}` is no address to listen on", entry.path.place(), shortened(text).escape_debug());
            section.notes.add(
                entry
                    .problem("bad-address", message)
                    .with_mend("write an IP address and a port, for example `0.0.0.0:80` or `[::]:80`"),
            );
            continue;
        };
        let clash = listen.iter().find(|other| {
            let covers = other.ip() == address.ip()
                || (other.is_ipv4() == address.is_ipv4()
                    && (other.ip().is_unspecified() || address.ip().is_unspecified()));
            other.port() == address.port() && address.port() != 0 && covers
        });
        if let Some(other) = clash {
            let message = format!("{}: `{address}` and `{other}` are the same port", entry.path.place());
            section.notes.add(entry.problem("listen-clash", message).with_mend("remove one of them"));
        }
        listen.push(address);
    }
    if let Some(entry) =
        section.find("listen").filter(|entry| entry.value.get_ref().as_array().is_some_and(|list| list.is_empty()))
    {
        let message = format!("{} is empty", entry.path.place());
        section.notes.add(
            entry
                .problem("empty-value", message)
                .with_mend("write an address, for example `0.0.0.0:80`, or remove the key"),
        );
    }
    listen
}

fn read_networks(section: &Section<'_>) -> Vec<String> {
    let mut networks = Vec::new();
    for entry in section.texts("trusted_proxies") {
        let Some(text) = entry.filled() else { continue };
        let (address, bits) = text.split_once('/').map_or((text, None), |(address, bits)| (address, Some(bits)));
        let most = match address.parse::<IpAddr>() {
            Ok(IpAddr::V4(_)) => Some(32),
            Ok(IpAddr::V6(_)) => Some(128),
            Err(_) => None,
        };
        let fits = |bits: &str| {
            bits.bytes().all(|b| b.is_ascii_digit()) && bits.parse::<u8>().ok().is_some_and(|n| Some(n) <= most)
        };
        if most.is_some() && bits.is_none_or(fits) {
            networks.push(text.to_owned());
        } else {
            let message = format!("{}: `{}` is no network", entry.path.place(), shortened(text).escape_debug());
            section.notes.add(
                entry
                    .problem("bad-network", message)
                    .with_mend("write an IP address or a network such as `10.0.0.0/8`"),
            );
        }
    }
    networks
}

fn read_overlays(section: &Section<'_>) -> Vec<(Kind, ResourceName)> {
    let mut overlays = Vec::new();
    for kind in Kind::ALL {
        let Some(group) = section.table(kind.as_str()) else { continue };
        overlays.extend(group.each().filter_map(|entry| Some((kind, ResourceName::new(entry.path.last()).ok()?))));
    }
    overlays
}

/// How to mend the name of an environment that does not exist.
pub(crate) fn mend_unknown<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    let known: Vec<&str> = known.into_iter().collect();
    match suggest(name, known.iter().copied()) {
        Some(near) => format!("did you mean `{near}`? The stack has {}", known.join(", ")),
        None => format!("the stack has {}", known.join(", ")),
    }
}
