//! Whether the modules of rendered Terraform fit together: what one is given is what it asks for, what is read of one is what
//! it gives, nothing is asked for or given in vain, and none waits for another that waits for it.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use hcl_edit::{
    expr::{Expression, Traversal, TraversalOperator},
    structure::{Block, Body},
    visit::{self, Visit},
};

/// What a call of a module may say besides the module's variables.
const BESIDES: [&str; 2] = ["source", "providers"];

/// Everything that does not fit, by the bodies of the root module's files and of each module's.
pub(crate) fn check(root: &[Body], modules: &BTreeMap<String, Vec<Body>>) -> BTreeSet<String> {
    let mut wrong = BTreeSet::new();
    let mut outputs = Outputs { used: BTreeSet::new(), seen: Vec::new() };
    let calls: Vec<&Block> = root.iter().flat_map(|body| body.get_blocks("module")).collect();
    let names: Vec<&str> = calls.iter().map(|call| label(call)).collect();
    for (at, call) in calls.iter().enumerate() {
        let name = label(call);
        let Some(module) = modules.get(name) else {
            wrong.insert(format!("module.{name} has no files"));
            continue;
        };
        outputs.seen.clear();
        outputs.visit_block(call);
        let waits = outputs.seen.iter().filter(|other| !names[..at].contains(&other.as_str()));
        wrong.extend(waits.map(|other| format!("module.{name} names module.{other}, which is not before it")));
        let given: BTreeSet<&str> =
            call.body.attributes().map(|one| one.key.as_str()).filter(|key| !BESIDES.contains(key)).collect();
        let asked: BTreeSet<&str> = blocks(module, "variable").map(label).collect();
        wrong.extend(given.difference(&asked).map(|one| format!("module.{name} has no variable `{one}`")));
        for variable in blocks(module, "variable") {
            if !given.contains(label(variable)) && !variable.body.has_attribute("default") {
                wrong.insert(format!("module.{name}: `{}` is missing", label(variable)));
            }
            for word in ["description", "type"] {
                if !variable.body.has_attribute(word) {
                    wrong.insert(format!("module.{name}: variable `{}` has no {word}", label(variable)));
                }
            }
        }
    }
    for body in root {
        outputs.visit_body(body);
    }
    for name in modules.keys().filter(|name| !names.contains(&name.as_str())) {
        wrong.insert(format!("module.{name} is not called"));
    }
    let there: BTreeSet<(String, String)> = modules
        .iter()
        .flat_map(|(name, module)| blocks(module, "output").map(|one| (name.clone(), label(one).to_owned())))
        .collect();
    wrong.extend(outputs.used.difference(&there).map(|(name, one)| format!("module.{name} has no output `{one}`")));
    wrong.extend(there.difference(&outputs.used).map(|(name, one)| format!("module.{name}: nobody reads `{one}`")));
    wrong
}

fn blocks<'b>(module: &'b [Body], kind: &'b str) -> impl Iterator<Item = &'b Block> {
    module.iter().flat_map(move |body| body.get_blocks(kind))
}

fn label(block: &Block) -> &str {
    block.labels.first().map_or("", |label| label.as_str())
}

/// Outputs that expressions read.
struct Outputs {
    used: BTreeSet<(String, String)>,
    /// Their modules, since it was last emptied.
    seen: Vec<String>,
}

impl Visit for Outputs {
    fn visit_traversal(&mut self, traversal: &Traversal) {
        if let Expression::Variable(root) = &traversal.expr
            && root.as_str() == "module"
        {
            let mut names = traversal.operators.iter().filter_map(|operator| match operator.value() {
                TraversalOperator::GetAttr(name) => Some(name.as_str().to_owned()),
                _ => None,
            });
            let pair = (names.next().unwrap_or_default(), names.next().unwrap_or_default());
            self.seen.push(pair.0.clone());
            self.used.insert(pair);
        }
        visit::visit_traversal(self, traversal);
    }
}

/// The names of a folder's modules, each with its folder.
pub(crate) fn folders(folder: &Path) -> BTreeMap<String, std::path::PathBuf> {
    let entries =
        std::fs::read_dir(folder.join("modules")).expect("modules").map(|entry| entry.expect("an entry").path());
    entries.map(|path| (path.file_name().expect("a name").to_string_lossy().into_owned(), path)).collect()
}
