//! What can only be judged once everything has been read: references, variables, start order and ports.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use toml::de::DeTable;

use super::notes::{Notes, Reference};
use crate::{
    Kind, Problem, ResourceRef, Service,
    suggest::{listed, suggest},
};

/// Judges the claims noted while reading `document`.
pub(crate) fn check(document: &DeTable<'_>, services: &BTreeMap<crate::ResourceName, Service>, notes: &Notes) {
    let references = notes.references.take();
    check_references(document, services, &references, notes);
    check_cycles(&references, notes);
    check_variables(document, notes);
    check_ports(notes);
}

fn group<'d>(document: &'d DeTable<'_>, kind: &str) -> Option<&'d DeTable<'d>> {
    document.get(kind)?.get_ref().as_table()
}

fn check_references(
    document: &DeTable<'_>,
    services: &BTreeMap<crate::ResourceName, Service>,
    references: &[Reference],
    notes: &Notes,
) {
    for reference in references {
        let ResourceRef { kind, name } = &reference.to;
        let to = &reference.to;
        let problem = |code, message: String| Problem::error(code, reference.key.clone(), message).with_span(reference.span.clone());
        if !group(document, kind.as_str()).is_some_and(|table| table.contains_key(name.as_str())) {
            let problem = problem("unknown-reference", format!("`{to}` does not exist"));
            notes.add(problem.with_mend(mend_unknown(document, to, reference.wants)));
        } else if !reference.wants.is_empty() && !reference.wants.contains(kind) {
            let problem = problem("wrong-reference", format!("`{to}` cannot stand here"));
            notes.add(problem.with_mend(format!("name a {}", listed(reference.wants.iter().map(|kind| kind.as_str())))));
        } else if reference.from.as_ref() == Some(to) {
            notes.add(problem("cycle", format!("`{to}` needs itself")).with_mend("remove it from its own `needs`"));
        } else if reference.wants == super::route::ROUTED
            && *kind == Kind::Service
            && services.get(name).is_some_and(|service| service.port.is_none())
        {
            let problem = problem("route-without-port", format!("visitors cannot reach `{to}`: it has no port"));
            notes.add(problem.with_mend(format!("add `port` to [{to}]")));
        }
    }
}

fn mend_unknown(document: &DeTable<'_>, to: &ResourceRef, wants: &[Kind]) -> String {
    let kinds: Vec<Kind> = if wants.is_empty() { vec![to.kind] } else { wants.to_vec() };
    let mut known: Vec<String> = Vec::new();
    for kind in kinds {
        let names = group(document, kind.as_str()).into_iter().flat_map(|table| table.keys());
        known.extend(names.take(200).map(|name| format!("{kind}.{}", name.get_ref())));
    }
    let text = to.to_string();
    // the same name of another kind is the commonest slip
    let same_name = known.iter().find(|other| other.ends_with(&format!(".{}", to.name)));
    let near = suggest(&text, known.iter().map(String::as_str)).or(same_name.map(String::as_str));
    match near {
        Some(near) => format!("did you mean `{near}`?"),
        None if known.is_empty() => format!("declare it: `[{to}]`"),
        None => format!("declare `[{to}]`, or name {}", listed(known.iter().take(8).map(String::as_str))),
    }
}

/// Services that wait for each other never start. Each ring is reported once.
fn check_cycles(references: &[Reference], notes: &Notes) {
    let mut edges: BTreeMap<&ResourceRef, BTreeMap<&ResourceRef, &Reference>> = BTreeMap::new();
    for reference in references {
        if let Some(from) = reference.from.as_ref().filter(|from| **from != reference.to) {
            edges.entry(from).or_default().insert(&reference.to, reference);
        }
    }
    while let Some(ring) = find_ring(&edges) {
        let first = edges[ring[0]][ring[1 % ring.len()]];
        let path: Vec<String> = ring.iter().chain([&ring[0]]).map(|one| format!("`{one}`")).collect();
        let problem = Problem::error("cycle", first.key.clone(), format!("services need each other in a ring: {}", path.join(" -> ")));
        notes.add(problem.with_span(first.span.clone()).with_mend("remove one of these from `needs`, so that one of them can start first"));
        for member in ring {
            edges.remove(member);
        }
    }
}

/// One ring among the edges, if there is any, found without recursion.
fn find_ring<'r>(edges: &BTreeMap<&'r ResourceRef, BTreeMap<&'r ResourceRef, &Reference>>) -> Option<Vec<&'r ResourceRef>> {
    // take away, again and again, whatever needs nothing that is left: the rest holds a ring
    let mut waits: HashMap<&ResourceRef, usize> = HashMap::new();
    let mut needed_by: HashMap<&ResourceRef, Vec<&'r ResourceRef>> = HashMap::new();
    for (from, targets) in edges {
        let counted = targets.keys().filter(|to| edges.contains_key(*to));
        waits.insert(from, counted.clone().count());
        counted.for_each(|to| needed_by.entry(to).or_default().push(from));
    }
    let mut free: Vec<&ResourceRef> = waits.iter().filter(|(_, left)| **left == 0).map(|(one, _)| *one).collect();
    let mut left: BTreeSet<&'r ResourceRef> = edges.keys().copied().collect();
    while let Some(one) = free.pop() {
        left.remove(one);
        for from in needed_by.remove(one).unwrap_or_default() {
            let count = waits.entry(from).or_default();
            *count = count.saturating_sub(1);
            if *count == 0 {
                free.push(from);
            }
        }
    }
    let mut walk: Vec<&'r ResourceRef> = vec![left.first().copied()?];
    let mut at: HashMap<&ResourceRef, usize> = HashMap::from([(walk[0], 0)]);
    loop {
        let next = edges[walk.last()?].keys().find(|to| left.contains(*to)).copied()?;
        if let Some(start) = at.get(next) {
            return Some(walk.split_off(*start));
        }
        at.insert(next, walk.len());
        walk.push(next);
    }
}

fn check_variables(document: &DeTable<'_>, notes: &Notes) {
    let declared: Vec<&str> =
        group(document, "variable").into_iter().flat_map(|table| table.keys()).map(|name| name.get_ref().as_ref()).collect();
    let known: HashSet<&str> = declared.iter().copied().collect();
    for used in notes.uses.take() {
        if known.contains(used.variable.as_str()) {
            continue;
        }
        let mend = match suggest(&used.variable, declared.iter().copied().take(500)) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("declare it in [variable], for example `{} = {{ secret = true }}`", used.variable),
        };
        let message = format!("the variable `{}` is not declared", used.variable);
        notes.add(Problem::error("unknown-variable", used.key, message).with_span(used.span).with_mend(mend));
    }
}

fn check_ports(notes: &Notes) {
    let mut owners: HashMap<u16, String> = HashMap::new();
    for port in notes.ports.take() {
        if let Some(owner) = owners.get(&port.port) {
            let message = format!("port {} of service `{}` is also the port of service `{owner}`", port.port, port.service);
            notes.add(Problem::error("port-clash", port.key, message).with_span(port.span).with_mend("give each service a port of its own"));
        } else {
            owners.insert(port.port, port.service);
        }
    }
}
