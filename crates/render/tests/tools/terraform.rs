//! Whether Terraform files say what the provider takes, and name only what is there.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use hcl_edit::{
    expr::{Array, Expression, ForExpr, Traversal, TraversalOperator},
    parser::parse_body,
    structure::{Attribute, Block, BlockLabel, Body, Structure},
    template::ForDirective,
    visit::{self, Visit},
};

use crate::{provider::Provider, terraform_modules};

/// What any resource may have.
const ANYWHERE: [&str; 7] = ["count", "for_each", "provider", "depends_on", "lifecycle", "provisioner", "connection"];

/// The one argument whose names are those of the resource around it.
const IGNORED: &str = "ignore_changes";

/// Names that stand for no block.
const BUILT_IN: [&str; 6] = ["count", "each", "self", "path", "terraform", "module"];

/// Kinds of other providers: that they are there is checked, what they take is not.
const OTHERS: [&str; 1] = ["random_"];

/// Everything that is wrong with the root module in a folder, its modules and its files of values; nothing when they are right.
pub(crate) fn check(provider: &Provider, folder: &Path) -> BTreeSet<String> {
    let mut wrong = BTreeSet::new();
    let mut one = |path: &Path, prefix: &str| {
        let mut check = Check::new(provider, prefix);
        let bodies = check.folder(path);
        if prefix.is_empty() {
            check.values(&path.join("environments"));
        }
        wrong.append(&mut check.wrong);
        bodies
    };
    let root = one(folder, "");
    let modules = terraform_modules::folders(folder)
        .into_iter()
        .map(|(name, path)| {
            let bodies = one(&path, &format!("modules/{name}/"));
            (name, bodies)
        })
        .collect();
    wrong.extend(terraform_modules::check(&root, &modules));
    wrong
}

/// The texts of a folder that end so, parsed.
fn parsed(folder: &Path, ending: &str, mut bad: impl FnMut(&str, &str)) -> BTreeMap<String, Body> {
    let mut files = BTreeMap::new();
    for path in std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path()) {
        if path.extension().is_none_or(|found| found != ending) {
            continue;
        }
        let name = path.file_name().expect("a file").to_string_lossy().into_owned();
        match parse_body(&std::fs::read_to_string(&path).expect("a text")) {
            Ok(body) => drop(files.insert(name, body)),
            Err(error) => bad(&name, &format!("line {}: {}", error.location().line(), error.message())),
        }
    }
    files
}

struct Check<'a> {
    provider: &'a Provider,
    /// Of the files' names.
    prefix: &'a str,
    file: String,
    /// As expressions name them: `aws_lb.main`, `data.aws_region.current`, `var.region`, `local.name`, `aws.global`.
    defined: BTreeSet<String>,
    /// Of those, the ones an expression names.
    used: BTreeSet<String>,
    wrong: BTreeSet<String>,
}

impl<'a> Check<'a> {
    fn new(provider: &'a Provider, prefix: &'a str) -> Self {
        let (defined, used, wrong) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        Self { provider, prefix, file: String::new(), defined, used, wrong }
    }

    fn say(&mut self, what: &str) {
        self.wrong.insert(format!("{}{}: {what}", self.prefix, self.file));
    }

    /// A folder's code, which it gives back.
    fn folder(&mut self, folder: &Path) -> Vec<Body> {
        let code = parsed(folder, "tf", |name, what| {
            name.clone_into(&mut self.file);
            self.say(what);
        });
        assert!(!code.is_empty() || !self.wrong.is_empty(), "{} has no .tf files", folder.display());
        for (name, body) in &code {
            self.file.clone_from(name);
            body.blocks().for_each(|block| self.define(block));
        }
        for (name, body) in &code {
            self.file.clone_from(name);
            body.blocks().for_each(|block| self.arguments(block));
            References { check: &mut *self, bound: Vec::new() }.visit_body(body);
        }
        let mut idle: Vec<String> = self.defined.difference(&self.used).cloned().collect();
        idle.retain(|address| ["var.", "local.", "data."].iter().any(|kind| address.starts_with(kind)));
        self.file.clear();
        for address in idle {
            self.say(&format!("{address} is used nowhere"));
        }
        code.into_values().collect()
    }

    /// The files of values.
    fn values(&mut self, folder: &Path) {
        let values = parsed(folder, "tfvars", |name, what| {
            name.clone_into(&mut self.file);
            self.say(what);
        });
        assert!(!values.is_empty() || !self.wrong.is_empty(), "{} has no values", folder.display());
        for (name, body) in values {
            self.file = format!("environments/{name}");
            body.attributes().for_each(|value| self.is_somewhere(&format!("var.{}", value.key.as_str())));
        }
    }

    fn define(&mut self, block: &Block) {
        let labels: Vec<&str> = block.labels.iter().map(BlockLabel::as_str).collect();
        let addresses = match (block.ident.as_str(), &labels[..]) {
            ("resource", [kind, name]) => vec![format!("{kind}.{name}")],
            ("data", [kind, name]) => vec![format!("data.{kind}.{name}")],
            ("variable", [name]) => vec![format!("var.{name}")],
            ("output", [name]) => vec![format!("output.{name}")],
            ("locals", []) => block.body.attributes().map(|local| format!("local.{}", local.key.as_str())).collect(),
            ("provider", [name]) => match block.body.get_attribute("alias").map(|alias| &alias.value) {
                Some(Expression::String(alias)) => vec![format!("{name}.{}", alias.as_str())],
                _ => vec![format!("provider.{name}")],
            },
            ("terraform", []) => block.body.get_blocks("required_providers").flat_map(aliases).collect(),
            _ => Vec::new(),
        };
        for address in addresses {
            if !self.defined.insert(address.clone()) {
                self.say(&format!("{address} is there twice"));
            }
        }
    }

    fn is_somewhere(&mut self, address: &str) {
        if !self.defined.contains(address) {
            self.say(&format!("{address} is nowhere"));
        }
        self.used.insert(address.to_owned());
    }

    /// The arguments of a resource or of data.
    fn arguments(&mut self, block: &Block) {
        let what = block.ident.as_str();
        let [kind, name] = &block.labels[..] else { return };
        let (kind, name) = (kind.as_str(), name.as_str());
        if !matches!(what, "resource" | "data") || OTHERS.iter().any(|other| kind.starts_with(other)) {
            return;
        }
        let Some(known) = self.provider.find(what == "data", kind) else {
            self.say(&format!("no {what} `{kind}`"));
            return;
        };
        let place = format!("{kind}.{name}");
        self.body(&place, &block.body, &known.body, &ANYWHERE);
        let kept = block.body.get_blocks("lifecycle").find_map(|block| block.body.get_attribute(IGNORED));
        for argument in kept.iter().filter_map(|kept| kept.value.as_array()).flat_map(Array::iter) {
            let argument = argument.as_traversal().map_or(argument, |traversal| &traversal.expr);
            if let Expression::Variable(name) = argument
                && !self.provider.body(&known.body).contains_key(name.as_str())
            {
                self.say(&format!("{place}: no argument `{}` to ignore", name.as_str()));
            }
        }
    }

    fn body(&mut self, place: &str, have: &Body, want: &str, besides: &[&str]) {
        let want = self.provider.body(want);
        let mut seen = BTreeSet::new();
        for structure in have {
            let (key, inside) = match structure {
                Structure::Attribute(attribute) => (attribute.key.as_str(), None),
                Structure::Block(block) => match (block.ident.as_str(), &block.labels[..]) {
                    ("dynamic", [name]) => {
                        (name.as_str(), Some(block.body.get_blocks("content").next().map_or(&block.body, |b| &b.body)))
                    }
                    (name, _) => (name, Some(&block.body)),
                },
            };
            if besides.contains(&key) {
                continue;
            }
            let Some(rule) = want.get(key) else {
                self.say(&format!("{place}: no argument `{key}`"));
                continue;
            };
            match (inside, &rule.body) {
                (None, _) if rule.block => self.say(&format!("{place}: `{key}` is a block, not an argument")),
                (Some(_), None) if !rule.block => self.say(&format!("{place}: `{key}` is an argument, not a block")),
                (Some(inside), Some(body)) => self.body(&format!("{place} {key}"), inside, body, &[]),
                _ => {}
            }
            if !seen.insert(key) && !rule.many {
                self.say(&format!("{place}: `{key}` is there twice"));
            }
        }
        for (key, _) in want.iter().filter(|(key, rule)| rule.required && !seen.contains(key.as_str())) {
            self.say(&format!("{place}: `{key}` is missing"));
        }
    }

    /// `root.names...`, as an expression says it.
    fn reference<'n>(&mut self, root: &'n str, mut names: impl Iterator<Item = &'n str>) {
        let data = root == "data";
        let Some(kind) = (if data { names.next() } else { Some(root) }) else { return };
        let Some(name) = names.next() else { return };
        let address = if data { format!("data.{kind}.{name}") } else { format!("{kind}.{name}") };
        self.is_somewhere(&address);
        if let (Some(known), Some(attribute)) = (self.provider.find(data, kind), names.next())
            && self.defined.contains(&address)
            && !known.attributes.contains(attribute)
            && !self.provider.body(&known.body).contains_key(attribute)
        {
            self.say(&format!("{address} has no `{attribute}`"));
        }
    }
}

/// Providers that a module is handed by name: `configuration_aliases = [aws.global]`.
fn aliases(required: &Block) -> Vec<String> {
    let providers = required.body.attributes().filter_map(|one| one.value.as_object());
    let words = providers.flat_map(|one| {
        one.iter().filter(|(key, _)| key.as_ident().is_some_and(|key| key.as_str() == "configuration_aliases"))
    });
    let aliases = words.filter_map(|(_, value)| value.expr().as_array()).flat_map(Array::iter);
    aliases.map(|alias| alias.to_string().trim().to_owned()).collect()
}

/// Follows every expression.
struct References<'a, 'b> {
    check: &'a mut Check<'b>,
    /// Names that a `for` or a `dynamic` around the expression has given.
    bound: Vec<String>,
}

impl References<'_, '_> {
    fn within(&mut self, names: impl IntoIterator<Item = String>, go: impl FnOnce(&mut Self)) {
        let before = self.bound.len();
        self.bound.extend(names);
        go(self);
        self.bound.truncate(before);
    }
}

impl Visit for References<'_, '_> {
    fn visit_traversal(&mut self, traversal: &Traversal) {
        if let Expression::Variable(root) = &traversal.expr
            && !BUILT_IN.contains(&root.as_str())
            && !self.bound.iter().any(|name| name == root.as_str())
        {
            // an index or a splat between two names changes nothing about them
            let names = traversal.operators.iter().filter_map(|operator| match operator.value() {
                TraversalOperator::GetAttr(name) => Some(name.as_str()),
                _ => None,
            });
            self.check.reference(root.as_str(), names);
        }
        visit::visit_traversal(self, traversal);
    }

    fn visit_attr(&mut self, attribute: &Attribute) {
        if attribute.key.as_str() != IGNORED {
            visit::visit_attr(self, attribute);
        }
    }

    fn visit_block(&mut self, block: &Block) {
        let iterator = (block.ident.as_str() == "dynamic").then(|| block.labels.first()).flatten();
        self.within(iterator.map(|name| name.as_str().to_owned()), |all| visit::visit_block(all, block));
    }

    fn visit_for_expr(&mut self, each: &ForExpr) {
        let names = each.intro.key_var.iter().chain([&each.intro.value_var]).map(ToString::to_string);
        self.within(names, |all| visit::visit_for_expr(all, each));
    }

    fn visit_for_directive(&mut self, each: &ForDirective) {
        let names = each.for_expr.key_var.iter().chain([&each.for_expr.value_var]).map(ToString::to_string);
        self.within(names, |all| visit::visit_for_directive(all, each));
    }
}
