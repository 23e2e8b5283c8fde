//! Blocks as a root module and modules of their own.
//!
//! Blocks name each other as if they were all in one folder. Here they are dealt out; what names a block of another module
//! becomes a variable of its own module, an output of the other, and a line in the root module between the two.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use super::{
    export::{Export, Form, Many},
    reference::{self, Reference},
    variables::{self, Needs},
};
use crate::{
    File,
    hcl::{self, Block},
};

/// Blocks of one file of a module.
pub(crate) struct Part {
    /// The module's name.
    pub(crate) module: &'static str,
    /// The file's name without its ending.
    pub(crate) file: &'static str,
    /// What is in it.
    pub(crate) about: &'static str,
    /// Its blocks.
    pub(crate) blocks: Vec<Block>,
}

/// The module that a block is in, and how many there are of it.
type Home = (usize, Many);

/// What a module takes and gives.
#[derive(Default)]
struct Border {
    /// Variables of the root module that it is handed as they are, and `name`.
    handed: BTreeSet<String>,
    /// Its other variables, and the modules whose outputs they are.
    taken: BTreeMap<String, (Export, BTreeSet<usize>)>,
    /// Its outputs: by name, the values by label, and what else has to be there first.
    given: BTreeMap<String, Given>,
    /// Data about the account, read by each module that asks.
    data: BTreeSet<String>,
    needs: Needs,
}

struct Given {
    export: Export,
    /// By the label of the resource.
    values: BTreeMap<String, String>,
    after: BTreeSet<String>,
}

/// The modules, in an order in which each takes from those before it.
pub(crate) struct Modules {
    parts: Vec<Part>,
    /// Names in order.
    names: Vec<&'static str>,
    borders: Vec<Border>,
    /// By what expressions call it.
    homes: BTreeMap<String, Home>,
}

impl Modules {
    /// Deals the parts out. Parts of a module stand together, after those they name.
    pub(crate) fn new(parts: Vec<Part>) -> Self {
        let mut parts: Vec<Part> = parts.into_iter().filter(|part| !part.blocks.is_empty()).collect();
        let mut homes: BTreeMap<String, Home> = BTreeMap::new();
        let mut names: Vec<&'static str> = Vec::new();
        for part in &parts {
            if names.last() != Some(&part.module) {
                names.push(part.module);
            }
            for block in &part.blocks {
                if let Some(address) = block.address() {
                    homes.insert(address, (names.len() - 1, Many::of(&block.body)));
                } else if block.words == ["locals"] {
                    let locals = block.body.as_object().into_iter().flatten();
                    homes.extend(locals.map(|(name, _)| (format!("local.{name}"), (names.len() - 1, Many::One))));
                }
            }
        }
        let borders = names.iter().map(|_| Border::default()).collect();
        let mut modules = Self { parts: Vec::new(), names, borders, homes };
        for part in &mut parts {
            let own = modules.names.iter().position(|name| *name == part.module).unwrap_or_default();
            for block in &mut part.blocks {
                modules.block(own, block);
            }
        }
        modules.parts = parts;
        modules
    }

    /// What a block of a module names elsewhere becomes a variable.
    fn block(&mut self, own: usize, block: &mut Block) {
        let elsewhere = self.first(own, block);
        let mut used: BTreeSet<(usize, String)> = BTreeSet::new();
        let border = &mut self.borders[own];
        border.needs.global |= block.body.get("provider").is_some_and(|alias| alias == "= aws.global");
        border.needs.random |= block.words.get(1).is_some_and(|kind| kind.starts_with("random_"));
        let mut body = block.body.take();
        reference::rewrite(&mut body, &mut |reference| {
            if let Some(name) = reference.address.strip_prefix("var.") {
                self.borders[own].handed.insert(name.to_owned());
                return None;
            }
            let Some((from, many)) = self.homes.get(reference.address).copied() else {
                return match reference.address {
                    "local.name" => {
                        self.borders[own].handed.insert("name".to_owned());
                        Some("var.name".to_owned())
                    }
                    data => {
                        self.borders[own].data.insert(data.to_owned());
                        None
                    }
                };
            };
            if from == own {
                return None;
            }
            let export = self.give(from, reference, many);
            let value = export.read(&format!("var.{}", export.name), reference);
            used.insert((from, export.name.clone()));
            self.borders[own]
                .taken
                .entry(export.name.clone())
                .or_insert_with(|| (export, BTreeSet::new()))
                .1
                .insert(from);
            Some(value)
        });
        block.body = body;
        // nothing outside can be waited for by name: the outputs that are used wait instead
        for (from, address) in elsewhere {
            for (_, name) in used.iter().filter(|(module, _)| *module == from) {
                if let Some(given) = self.borders[from].given.get_mut(name) {
                    given.after.insert(address.clone());
                }
            }
        }
    }

    /// Takes what a block waits for in other modules out of it.
    fn first(&self, own: usize, block: &mut Block) -> Vec<(usize, String)> {
        let Some(list) = block.body.get_mut("depends_on").and_then(Value::as_array_mut) else { return Vec::new() };
        let mut elsewhere = Vec::new();
        list.retain(|one| {
            let address = one.as_str().and_then(|text| text.strip_prefix("= ")).unwrap_or_default();
            let from = self.homes.get(address).map_or(own, |(from, _)| *from);
            if from != own {
                elsewhere.push((from, address.to_owned()));
            }
            from == own
        });
        if list.is_empty() {
            block.body["depends_on"] = Value::Null;
        }
        elsewhere
    }

    /// An output of a module for what is read of one of its blocks.
    fn give(&mut self, from: usize, reference: &Reference<'_>, many: Many) -> Export {
        let export = Export::of(reference, many);
        let given = self.borders[from].given.entry(export.name.clone()).or_insert_with(|| Given {
            export: export.clone(),
            values: BTreeMap::new(),
            after: BTreeSet::new(),
        });
        let (label, value) = Export::value(reference, many);
        given.values.insert(label.to_owned(), value);
        export
    }

    /// In an expression of the root module, outputs of modules for what it names.
    pub(crate) fn root(&mut self, value: &mut Value) {
        reference::rewrite(value, &mut |reference| {
            let (from, many) = self.homes.get(reference.address).copied()?;
            let export = self.give(from, reference, many);
            Some(export.read(&format!("module.{}.{}", self.names[from], export.name), reference))
        });
    }

    /// Variables of the root module that are handed on.
    pub(crate) fn handed(&self) -> BTreeSet<&str> {
        self.borders
            .iter()
            .flat_map(|border| &border.handed)
            .map(String::as_str)
            .filter(|name| *name != "name")
            .collect()
    }

    /// What the modules together need of providers.
    pub(crate) fn needs(&self) -> Needs {
        let any = |has: fn(&Needs) -> bool| self.borders.iter().any(|border| has(&border.needs));
        Needs { global: any(|needs| needs.global), random: any(|needs| needs.random) }
    }

    /// The calls of the root module.
    pub(crate) fn calls(&self) -> Vec<Block> {
        let mut blocks = Vec::new();
        for (name, border) in self.names.iter().zip(&self.borders) {
            let mut body = Map::new();
            body.insert("source".to_owned(), format!("./modules/{name}").into());
            if border.needs.global {
                let both = "= {\n    aws        = aws\n    aws.global = aws.global\n  }";
                body.insert("providers".to_owned(), both.into());
            }
            if !border.handed.is_empty() || !border.taken.is_empty() {
                body.insert(hcl::GAP.to_owned(), Value::Null);
            }
            if border.handed.contains("name") {
                body.insert("name".to_owned(), "= local.name".into());
            }
            for one in border.handed.iter().filter(|one| *one != "name") {
                body.insert(one.clone(), format!("= var.{one}").into());
            }
            for (variable, (_, from)) in &border.taken {
                let outputs: Vec<String> =
                    from.iter().map(|from| format!("module.{}.{variable}", self.names[*from])).collect();
                let value =
                    if outputs.len() == 1 { outputs[0].clone() } else { format!("merge({})", outputs.join(", ")) };
                body.insert(variable.clone(), format!("= {value}").into());
            }
            blocks.push(hcl::block(&["module", name], body.into()));
        }
        blocks
    }

    /// The files of the modules. `root` has the variables of the root module.
    pub(crate) fn files(&self, root: &[Block]) -> Vec<File> {
        let mut files = Vec::new();
        for (name, border) in self.names.iter().zip(&self.borders) {
            let mut add = |file: &str, about: &str, blocks: &[Block]| {
                if !blocks.is_empty() {
                    files.push(File::new(format!("modules/{name}/{file}.tf"), about, &hcl::document(blocks)));
                }
            };
            let parts: Vec<&Part> = self.parts.iter().filter(|part| part.module == *name).collect();
            for part in &parts {
                add(if parts.len() == 1 { "main" } else { part.file }, part.about, &part.blocks);
            }
            add("variables", "What it is given.", &border.variables(root));
            add("outputs", "What other modules need to know.", &border.outputs());
            let mut blocks = vec![variables::requirements(border.needs)];
            blocks.extend(border.data.iter().filter_map(|data| {
                let mut names = data.trim_start_matches("data.").split('.');
                Some(hcl::data(names.next()?, names.next()?, json!({})))
            }));
            add("versions", "What it is written for.", &blocks);
        }
        files
    }
}

impl Border {
    fn variables(&self, root: &[Block]) -> Vec<Block> {
        let mut blocks = Vec::new();
        for name in &self.handed {
            if name == "name" {
                let body = json!({ "description": "Beginning of every name: application and environment", "type": "= string" });
                blocks.push(hcl::block(&["variable", "name"], body));
            } else if let Some(known) = root.iter().find(|block| block.words.get(1) == Some(name)) {
                // the root module has the defaults
                let mut block = known.clone();
                block.body["default"] = Value::Null;
                blocks.push(block);
            }
        }
        blocks.extend(self.taken.iter().map(|(name, (export, _))| {
            let body = json!({ "description": export.about, "type": format!("= {}", export.form.kind()) });
            hcl::block(&["variable", name], body)
        }));
        blocks.sort_by(|a, b| a.words.cmp(&b.words));
        blocks
    }

    fn outputs(&self) -> Vec<Block> {
        let outputs = self.given.iter().map(|(name, given)| {
            let value = match given.export.form {
                Form::ByName => given
                    .values
                    .iter()
                    .map(|(label, value)| (label.clone(), Value::from(format!("= {value}"))))
                    .collect(),
                // the others are read of one resource
                _ => given.values.values().next().map_or(Value::Null, |value| format!("= {value}").into()),
            };
            let after: Vec<String> = given.after.iter().map(|address| format!("= {address}")).collect();
            let body = json!({
                "description": given.export.about,
                "value": value,
                "depends_on": (!after.is_empty()).then_some(after),
            });
            hcl::block(&["output", name], body)
        });
        outputs.collect()
    }
}
