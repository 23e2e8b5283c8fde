//! What can only be judged once everything has been read: references, variables, start order and ports.

use std::collections::{BTreeMap, HashMap, HashSet};

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
        let problem = |code, message: String| {
            Problem::error(code, reference.key.clone(), message).with_span(reference.span.clone())
        };
        if !reference.wants.is_empty() && !reference.wants.contains(kind) {
            let problem = problem("wrong-reference", format!("`{to}` cannot stand here"));
            notes
                .add(problem.with_mend(format!("name a {}", listed(reference.wants.iter().map(|kind| kind.as_str())))));
        } else if !group(document, kind.as_str()).is_some_and(|table| table.contains_key(name.as_str())) {
            let problem = problem("unknown-reference", format!("`{to}` does not exist"));
            notes.add(problem.with_mend(mend_unknown(document, to, reference.wants)));
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
    let names = |kind: Kind| {
        let names = group(document, kind.as_str()).into_iter().flat_map(|table| table.keys());
        names.take(200).map(move |name| format!("{kind}.{}", name.get_ref()))
    };
    let same_kind: Vec<String> = names(to.kind).collect();
    let known: Vec<String> = same_kind
        .iter()
        .cloned()
        .chain(wants.iter().filter(|kind| **kind != to.kind).flat_map(|kind| names(*kind)))
        .collect();
    let text = to.to_string();
    // the same name of another kind is the commonest slip
    let same_name = known.iter().find(|other| other.ends_with(&format!(".{}", to.name)));
    let near = suggest(&text, known.iter().map(String::as_str)).or(same_name.map(String::as_str));
    match near {
        Some(near) => format!("did you mean `{near}`?"),
        None if same_kind.is_empty() => format!("declare it: `[{to}]`"),
        None => format!("declare `[{to}]`, or name {}", listed(same_kind.iter().take(8).map(String::as_str))),
    }
}

/// From each service to those it needs, with the reference that says so.
type Edges<'r> = BTreeMap<&'r ResourceRef, BTreeMap<&'r ResourceRef, &'r Reference>>;

/// Most rings that are reported.
const MOST_RINGS: usize = 100;

/// Services that wait for each other never start. Each ring is reported once.
fn check_cycles(references: &[Reference], notes: &Notes) {
    let mut edges: Edges<'_> = BTreeMap::new();
    for reference in references {
        if let Some(from) = reference.from.as_ref().filter(|from| **from != reference.to) {
            edges.entry(from).or_default().insert(&reference.to, reference);
        }
    }
    for ring in find_rings(&edges) {
        let first = edges[ring[0]][ring[1 % ring.len()]];
        let message = format!("services need each other in a ring: {}", ring_in_words(&ring));
        let problem = Problem::error("cycle", first.key.clone(), message).with_span(first.span.clone());
        notes.add(problem.with_mend("remove one of these from `needs`, so that one of them can start first"));
    }
}

/// The members of a ring and the first again; of a long ring only some.
fn ring_in_words(ring: &[&ResourceRef]) -> String {
    const SHOWN: usize = 10;
    let mut words: Vec<String> = ring.iter().take(SHOWN).map(|one| format!("`{one}`")).collect();
    if ring.len() > SHOWN {
        words.push(format!("{} more", ring.len() - SHOWN));
    }
    words.push(format!("`{}`", ring[0]));
    words.join(" -> ")
}

/// Rings among the edges, each beginning with its smallest member: at least one for every group of services that wait
/// for each other. A walk in depth, without recursion: each edge is looked at once.
fn find_rings<'r>(edges: &Edges<'r>) -> Vec<Vec<&'r ResourceRef>> {
    let targets = |one: &ResourceRef| edges.get(one).into_iter().flat_map(BTreeMap::keys).copied();
    let mut rings = Vec::new();
    let mut done: HashSet<&ResourceRef> = HashSet::new();
    for start in edges.keys() {
        let mut walk: Vec<&'r ResourceRef> = vec![start];
        let mut at: HashMap<&ResourceRef, usize> = HashMap::from([(*start, 0)]);
        let mut open = vec![targets(start)];
        while let Some(next) = open.last_mut().map(Iterator::next) {
            match next {
                Some(next) if done.contains(next) => {}
                Some(next) => {
                    if let Some(from) = at.get(next) {
                        let mut ring = walk[*from..].to_vec();
                        let smallest = (0..ring.len()).min_by_key(|at| ring[*at]).unwrap_or_default();
                        ring.rotate_left(smallest);
                        rings.push(ring);
                    } else {
                        at.insert(next, walk.len());
                        walk.push(next);
                        open.push(targets(next));
                    }
                }
                None => {
                    open.pop();
                    if let Some(left) = walk.pop() {
                        at.remove(left);
                        done.insert(left);
                    }
                }
            }
            if rings.len() > MOST_RINGS {
                return rings;
            }
        }
    }
    rings
}

fn check_variables(document: &DeTable<'_>, notes: &Notes) {
    let declared: Vec<&str> = group(document, "variable")
        .into_iter()
        .flat_map(|table| table.keys())
        .map(|name| name.get_ref().as_ref())
        .collect();
    let known: HashSet<&str> = declared.iter().copied().collect();
    for used in notes.uses.take() {
        if notes.is_full() {
            return;
        }
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
        if let Some(owner) = owners.get(&port.number) {
            let message =
                format!("port {} of service `{}` is also the port of service `{owner}`", port.number, port.service);
            notes.add(
                Problem::error("port-clash", port.key, message)
                    .with_span(port.span)
                    .with_mend("give each service a port of its own"),
            );
        } else {
            owners.insert(port.number, port.service);
        }
    }
}
