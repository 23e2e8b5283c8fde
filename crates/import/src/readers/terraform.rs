//! Terraform files of one folder and its modules, read together: a resource may be in one and what belongs to it in another.

mod cache;
mod database;
mod front;
mod function;
mod resource;
mod scope;
mod service;
mod store;

use toml::Value;

use crate::{
    cursor::{Cursor, Marks, entries},
    detect::File,
    draft::Draft,
    hcl, path,
    report::Entry,
    tree::Node,
};
use resource::{All, Resource};
use scope::{Modules, Sheet};

/// What is said of a key that the stack does not carry.
const UNKNOWN: &str = "`slipway render terraform` writes what the provider needs; the stack has no key for this";

/// Reads all files. Values of variables come from defaults and from `*.tfvars`; where environments have files of their own,
/// from that of production, or else the last.
pub(crate) fn read(files: &[&File], draft: &mut Draft) -> Result<Vec<Entry>, (String, String)> {
    let mut sheets: Vec<Sheet<'_>> = Vec::new();
    let mut given: Vec<Sheet<'_>> = Vec::new();
    for file in files {
        let tree = hcl::read(&file.text).map_err(|reason| (file.name.clone(), reason))?;
        let sheet = Sheet { name: &file.name, tree };
        if is_values(&file.name) { given.push(sheet) } else { sheets.push(sheet) }
    }
    let chosen = chosen(&given);
    let values: Vec<(String, Node)> = chosen
        .iter()
        .filter_map(|at| given.get(*at))
        .map(|sheet| (path::folder(sheet.name).to_owned(), sheet.tree.clone()))
        .collect();
    let modules = Modules::of(&sheets, &values);
    let trees = filled(&sheets, &modules)?;
    let marks: Vec<Marks> = files.iter().map(|_| Marks::default()).collect();
    let mut resources = Vec::new();
    let mut roots = Vec::new();
    for ((name, tree), marks) in trees.iter().zip(&marks) {
        let root = Cursor::root(tree, marks);
        top(&root, path::folder(name), &modules);
        for (kind, at) in root.find("resource").map(|all| all.entries()).unwrap_or_default() {
            for (name, at) in at.entries() {
                resources.push(Resource { kind: kind.to_owned(), name: name.to_owned(), at });
            }
        }
        roots.push((*name, root));
    }
    for (index, (sheet, marks)) in given.iter().zip(&marks[trees.len()..]).enumerate() {
        let root = Cursor::root(&sheet.tree, marks);
        root.changed(if chosen.contains(&index) {
            "values of variables: they are filled in where they are used"
        } else {
            "what differs in another environment: write it as [environment.NAME]"
        });
        roots.push((sheet.name, root));
    }
    let all = All::of(&resources);
    for resource in &resources {
        resource::one(resource, &all, draft);
    }
    Ok(roots.iter().flat_map(|(name, root)| entries(name, root, UNKNOWN)).collect())
}

/// The files with every name replaced by its value: a way of many names through deep values takes a deep stack.
fn filled<'f>(sheets: &[Sheet<'f>], modules: &Modules) -> Result<Vec<(&'f str, Node)>, (String, String)> {
    let fill = || {
        let mut budget = 0;
        sheets.iter().map(|sheet| (sheet.name, modules.filled(sheet, &mut budget))).collect()
    };
    let first = sheets.first().map_or_else(String::new, |sheet| sheet.name.to_owned());
    std::thread::scope(|scope| {
        let filling = std::thread::Builder::new().stack_size(64 << 20).spawn_scoped(scope, fill);
        let filling =
            filling.map_err(|error| (first.clone(), format!("cannot start to read it: {error}; try again")))?;
        let broken = |_| (first, "the reader broke down; import the file it was made from".to_owned());
        filling.join().map_err(broken)
    })
}

/// Whether a file gives values to variables.
pub(crate) fn is_values(name: &str) -> bool {
    name.ends_with(".tfvars")
}

/// The files of values that count: those of every run, and of environments production's or else the last one's.
fn chosen(given: &[Sheet<'_>]) -> Vec<usize> {
    let always = |name: &str| name.ends_with(".auto.tfvars") || name.ends_with("terraform.tfvars");
    let mut found: Vec<usize> = (0..given.len()).filter(|at| always(given[*at].name)).collect();
    let of_one: Vec<usize> = (0..given.len()).filter(|at| !always(given[*at].name)).collect();
    let production = of_one.iter().find(|at| given[**at].name.contains("prod"));
    found.extend(production.or(of_one.last()));
    found
}

/// The blocks of a file that are no resources.
fn top(root: &Cursor<'_>, folder: &str, modules: &Modules) {
    root.refused(UNKNOWN);
    for (key, at) in root.entries() {
        match key {
            "resource" => {}
            "module" => {
                for (name, at) in at.entries() {
                    if modules.follows(folder, name) {
                        at.changed("what it makes is read where it is, with the values that it is given here");
                    } else {
                        at.refused("modules of others are not followed; say what it makes as a resource of the stack");
                    }
                }
            }
            "variable" | "locals" | "output" | "data" => at.changed("`slipway render terraform` has its own"),
            _ => at.changed("`slipway render terraform` writes it, with versions pinned"),
        }
    }
}

/// A block that may stand once or more often.
pub(crate) fn many<'a>(at: &Cursor<'a>, key: &str) -> Vec<Cursor<'a>> {
    match at.find(key) {
        Some(at) if at.entries().is_empty() => at.items(),
        Some(at) => vec![at],
        None => Vec::new(),
    }
}

pub(crate) fn flat(node: &Node) -> String {
    match &node.value {
        crate::tree::Value::Map(map) => {
            map.iter().fold(String::new(), |text, (key, node)| text + key + "=" + &flat(node) + ";")
        }
        crate::tree::Value::List(items) => items.iter().fold(String::new(), |text, item| text + &flat(item) + ","),
        _ => node.scalar().unwrap_or_default(),
    }
}

/// The name of the resource of a kind that an expression refers to.
pub(crate) fn referred(text: &str, kind: &str) -> Option<String> {
    let rest = text.split(&format!("{kind}.")).nth(1)?;
    let name: String = rest.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_' || *c == '-').collect();
    (!name.is_empty()).then_some(name)
}

/// The text of a key when it is plain; expressions are not.
pub(crate) fn plain(at: &Cursor<'_>, key: &str) -> Option<String> {
    at.find(key).and_then(|at| at.text()).filter(|text| !text.contains("${"))
}

pub(crate) fn keep(at: &Cursor<'_>, keys: &[&str], place: &str) {
    for key in keys {
        if let Some(at) = at.find(key) {
            at.kept_as(place);
        }
    }
}

pub(crate) fn days(text: &str) -> Option<Value> {
    text.parse::<u32>().ok().filter(|days| *days > 0).map(|days| Value::from(format!("{days}d")))
}
