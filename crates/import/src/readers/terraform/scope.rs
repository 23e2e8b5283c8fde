//! Modules and their variables: every expression that only names a value is replaced by that value.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    path,
    tree::{Node, Value},
};

/// Most values that are filled in for one import: what refers to itself many times over grows without end.
const MOST: usize = 100_000;
/// Longest way from a name to its value, over locals, arguments and outputs.
const LONGEST: usize = 24;
/// Longest text that is made, in bytes.
const LARGEST: usize = 64 << 10;

/// One file with its tree.
pub(crate) struct Sheet<'f> {
    pub(crate) name: &'f str,
    pub(crate) tree: Node,
}

/// All modules, by their folders.
pub(crate) struct Modules {
    folders: BTreeMap<String, Module>,
}

#[derive(Default)]
struct Module {
    /// Values that are given from outside, or by default.
    variables: BTreeMap<String, Node>,
    locals: BTreeMap<String, Node>,
    outputs: BTreeMap<String, Node>,
    /// Blocks `module`, by name: folder and arguments.
    calls: BTreeMap<String, (Option<String>, Node)>,
    /// Who calls it: folder and name of the block.
    caller: Option<(String, String)>,
}

impl Modules {
    /// Gathers what the files say of variables, locals, outputs and modules. `values` are those of the top's variables.
    pub(crate) fn of(sheets: &[Sheet<'_>], values: &[(String, Node)]) -> Self {
        let mut folders: BTreeMap<String, Module> = BTreeMap::new();
        for sheet in sheets {
            let folder = path::folder(sheet.name);
            let module = folders.entry(folder.to_owned()).or_default();
            for (name, block) in map(sheet.tree.find("variable")) {
                if let Some(default) = block.find("default") {
                    module.variables.insert(name.clone(), default.clone());
                }
            }
            for block in blocks(sheet.tree.find("locals")) {
                module.locals.extend(map(Some(block)).cloned());
            }
            for (name, block) in map(sheet.tree.find("output")) {
                module.outputs.extend(block.find("value").map(|value| (name.clone(), value.clone())));
            }
            for (name, block) in map(sheet.tree.find("module")) {
                let source = block.find("source").and_then(Node::scalar).filter(|source| source.starts_with('.'));
                let below = source.and_then(|source| path::inside(folder, &source));
                module.calls.insert(name.clone(), (below, block.clone()));
            }
        }
        let calls: Vec<(String, String, String)> = folders
            .iter()
            .flat_map(|(folder, module)| {
                let below = |(name, (below, _)): (&String, &(Option<String>, Node))| {
                    Some((below.clone()?, folder.clone(), name.clone()))
                };
                module.calls.iter().filter_map(below).collect::<Vec<_>>()
            })
            .collect();
        for (below, folder, name) in calls {
            if let Some(module) = folders.get_mut(&below) {
                // one that is called twice is read as its first caller has it
                module.caller.get_or_insert((folder, name));
            }
        }
        for (folder, value) in values {
            let tops = folders.iter_mut().filter(|(known, module)| {
                module.caller.is_none()
                    && (*known == folder || folder.starts_with(&format!("{known}/")) || *known == ".")
            });
            for (_, module) in tops {
                module.variables.extend(map(Some(value)).cloned());
            }
        }
        Self { folders }
    }

    /// Whether a block `module` of a folder leads to files that are read.
    pub(crate) fn follows(&self, folder: &str, name: &str) -> bool {
        let call = self.folders.get(folder).and_then(|module| module.calls.get(name));
        call.and_then(|(below, _)| below.as_ref()).is_some_and(|below| self.folders.contains_key(below))
    }

    /// A file with every name replaced by its value.
    pub(crate) fn filled(&self, sheet: &Sheet<'_>, budget: &mut usize) -> Node {
        let mut tree = sheet.tree.clone();
        let folder = path::folder(sheet.name);
        if let Value::Map(entries) = &mut tree.value {
            for (_, node) in entries.iter_mut().filter(|(key, _)| key == "resource" || key == "data") {
                *node = self.fill(node, folder, &mut BTreeSet::new(), budget);
            }
        }
        tree
    }

    fn fill(&self, node: &Node, folder: &str, seen: &mut BTreeSet<String>, budget: &mut usize) -> Node {
        if *budget >= MOST {
            return node.clone();
        }
        *budget += 1;
        let value = match &node.value {
            Value::Text(text) if text.contains("${") => match self.text(text, folder, seen, budget) {
                Some(found) => found,
                None => node.value.clone(),
            },
            Value::List(items) => Value::List(items.iter().map(|item| self.fill(item, folder, seen, budget)).collect()),
            Value::Map(map) => {
                Value::Map(map.iter().map(|(key, node)| (key.clone(), self.fill(node, folder, seen, budget))).collect())
            }
            other => other.clone(),
        };
        Node { line: node.line, value }
    }

    /// A text that is a name becomes its value; names inside of one become their texts.
    fn text(&self, text: &str, folder: &str, seen: &mut BTreeSet<String>, budget: &mut usize) -> Option<Value> {
        let inside = text.strip_prefix("${").and_then(|rest| rest.strip_suffix('}'));
        if let Some(name) = inside.filter(|inside| !inside.contains("${")) {
            return self.sum(name.trim(), folder, seen, budget).map(|node| node.value);
        }
        let mut out = String::new();
        let mut rest = text;
        while let Some(at) = rest.find("${") {
            out += &rest[..at];
            let Some((name, after)) = rest[at + 2..].split_once('}') else { break };
            match self.name(name.trim(), folder, seen, budget).and_then(|node| node.scalar()) {
                Some(value) if out.len() + value.len() < LARGEST => out += &value,
                _ => out += &rest[at..=at + 2 + name.len()],
            }
            rest = after;
        }
        out += rest;
        Some(Value::Text(out))
    }

    /// The value of a name, or of one with a number added, as in `var.replicas + 1`.
    fn sum(&self, text: &str, folder: &str, seen: &mut BTreeSet<String>, budget: &mut usize) -> Option<Node> {
        let Some((one, other)) = text.rsplit_once(" + ") else { return self.name(text, folder, seen, budget) };
        let (name, more) = if one.trim().parse::<i64>().is_ok() { (other, one) } else { (one, other) };
        let node = self.name(name.trim(), folder, seen, budget)?;
        let sum = node.scalar()?.parse::<i64>().ok()?.checked_add(more.trim().parse().ok()?)?;
        Some(Node { line: node.line, value: Value::Number(sum.to_string()) })
    }

    /// The value of a name, as `var.databases["main"].class`.
    fn name(&self, name: &str, folder: &str, seen: &mut BTreeSet<String>, budget: &mut usize) -> Option<Node> {
        let parts = parts(name)?;
        let (first, rest) = parts.split_first()?;
        let (second, rest) = rest.split_first()?;
        let module = self.folders.get(folder)?;
        let key = format!("{folder}:{name}");
        if seen.len() >= LONGEST || !seen.insert(key.clone()) {
            return None;
        }
        let found = match first.as_str() {
            "var" => match &module.caller {
                Some((above, call)) => {
                    let argument = self.folders.get(above).and_then(|above| above.calls.get(call)?.1.find(second));
                    match argument {
                        Some(argument) => Some(self.fill(argument, above, seen, budget)),
                        None => module.variables.get(second).map(|node| self.fill(node, folder, seen, budget)),
                    }
                }
                None => module.variables.get(second).cloned(),
            },
            "local" => module.locals.get(second).map(|node| self.fill(node, folder, seen, budget)),
            _ => None,
        };
        let (found, rest) = match (first.as_str(), rest) {
            ("module", [output, rest @ ..]) => {
                let below = module.calls.get(second).and_then(|(below, _)| below.as_deref());
                let value = below.and_then(|below| Some((below, self.folders.get(below)?.outputs.get(output)?)));
                (value.map(|(below, node)| self.fill(node, below, seen, budget)), rest)
            }
            _ => (found, rest),
        };
        seen.remove(&key);
        let mut at = found?;
        for part in rest {
            at = match &at.value {
                Value::List(items) => items.get(part.parse::<usize>().ok()?)?.clone(),
                _ => at.find(part)?.clone(),
            };
        }
        Some(at)
    }
}

/// The entries of a map.
fn map(node: Option<&Node>) -> impl Iterator<Item = &(String, Node)> {
    node.into_iter().flat_map(|node| match &node.value {
        Value::Map(entries) => entries.iter().collect::<Vec<_>>(),
        _ => Vec::new(),
    })
}

/// A block that may stand more than once.
fn blocks(node: Option<&Node>) -> Vec<&Node> {
    match node {
        Some(Node { value: Value::List(items), .. }) => items.iter().collect(),
        Some(node) => vec![node],
        None => Vec::new(),
    }
}

/// The parts of a name: words after dots, and keys in brackets. `None` for what is more than a name.
fn parts(name: &str) -> Option<Vec<String>> {
    let mut parts = Vec::new();
    let mut rest = name;
    loop {
        let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == '-')).unwrap_or(rest.len());
        if end > 0 {
            parts.push(rest[..end].to_owned());
        }
        rest = &rest[end..];
        if rest.is_empty() {
            return Some(parts);
        } else if let Some(after) = rest.strip_prefix("[\"") {
            let (key, after) = after.split_once("\"]")?;
            parts.push(key.to_owned());
            rest = after;
        } else if let Some(after) = rest.strip_prefix('[') {
            let (key, after) = after.split_once(']')?;
            key.parse::<usize>().ok()?;
            parts.push(key.to_owned());
            rest = after;
        } else {
            rest = rest.strip_prefix('.')?;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use super::*;

    #[test]
    fn values_are_followed_through_modules() {
        let sheet = |name, text| Sheet { name, tree: crate::hcl::read(text).expect("Terraform") };
        let sheets = [
            sheet(
                "main.tf",
                "variable \"databases\" {}\nlocals {\n  name = \"shop-${var.stage}\"\n}\nvariable \"stage\" {\n  default = \"dev\"\n}\nmodule \"db\" {\n  source    = \"./modules/db\"\n  name      = local.name\n  databases = var.databases\n  bucket    = module.store.ids[\"files\"]\n}\nmodule \"store\" {\n  source = \"./modules/store\"\n}\n",
            ),
            sheet("modules/store/main.tf", "output \"ids\" {\n  value = { files = aws_s3_bucket.files.id }\n}\n"),
            sheet(
                "modules/db/main.tf",
                "resource \"aws_db_instance\" \"main\" {\n  identifier     = \"${var.name}-main\"\n  instance_class = var.databases[\"main\"].class\n  bucket         = var.bucket\n  other          = var.nowhere\n  count          = var.databases[\"main\"].replicas + 1\n  all            = 1 + var.databases[\"main\"].replicas\n}\n",
            ),
        ];
        let values =
            crate::hcl::read("stage = \"live\"\ndatabases = { main = { class = \"db.t3.small\", replicas = 2 } }\n")
                .unwrap();
        let modules = Modules::of(&sheets, &[("environments".to_owned(), values)]);
        let filled = modules.filled(&sheets[2], &mut 0);
        let main = filled.find("resource").and_then(|all| all.find("aws_db_instance")?.find("main")).unwrap();
        let get = |key: &str| main.find(key).and_then(Node::scalar).unwrap();
        assert_eq!(get("identifier"), "shop-live-main");
        assert_eq!(get("instance_class"), "db.t3.small");
        assert_eq!(get("bucket"), "${aws_s3_bucket.files.id}");
        assert_eq!(get("other"), "${var.nowhere}");
        assert_eq!((get("count"), get("all")), ("3".to_owned(), "3".to_owned()));
        assert!(modules.follows(".", "db") && !modules.follows(".", "none"));
    }

    #[test]
    fn what_refers_to_itself_ends() {
        let mut text = String::from("locals {\n  a0 = \"x\"\n");
        for at in 1..40 {
            let _ = writeln!(text, "  a{at} = \"${{local.a{0}}}${{local.a{0}}}\"", at - 1);
        }
        text += "  round = local.round\n}\nresource \"a\" \"b\" {\n  c = local.a39\n  d = local.round\n}\n";
        let sheets = [Sheet { name: "main.tf", tree: crate::hcl::read(&text).unwrap() }];
        let began = std::time::Instant::now();
        let filled = Modules::of(&sheets, &[]).filled(&sheets[0], &mut 0);
        assert!(began.elapsed() < std::time::Duration::from_mins(1), "{:?}", began.elapsed());
        let d = filled.find("resource").and_then(|all| all.find("a")?.find("b")?.find("d")?.scalar());
        assert_eq!(d.as_deref(), Some("${local.round}"));
    }
}
