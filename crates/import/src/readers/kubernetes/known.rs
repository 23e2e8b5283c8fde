//! What one document says that another needs.

use std::collections::BTreeMap;

use super::{WRITES, name_of};
use crate::{
    cursor::Cursor,
    draft::{Draft, label},
};

/// Gathered over all documents.
#[derive(Default)]
pub(crate) struct Known {
    /// Values of each `ConfigMap`; of Secrets the names of the variables that hold them.
    pub(crate) configs: BTreeMap<String, Vec<(String, String)>>,
    /// Data services by the Secrets that hold their addresses and passwords.
    pub(crate) secrets: BTreeMap<String, String>,
    /// Databases by the objects that keep them and their copies.
    pub(crate) databases: BTreeMap<String, String>,
    /// The program behind a Service, by its name.
    pub(crate) targets: BTreeMap<String, String>,
    /// Services by the image they run.
    pub(crate) images: BTreeMap<String, String>,
    /// Hosts and paths by the route and the rule that say them.
    pub(crate) rules: BTreeMap<(String, String), Vec<(String, String)>>,
}

impl Known {
    /// Reads a ConfigMap.
    pub(crate) fn config(&mut self, at: &Cursor<'_>) {
        let data = at.find("data").map(|data| data.entries()).unwrap_or_default();
        let mut values = Vec::new();
        for (key, at) in data {
            let Some(text) = at.text() else { continue };
            if text.contains('\n') {
                at.refused("put the file into the folder of the service that reads it");
            } else {
                at.kept_as(&format!("`env` of whoever read it: {key}"));
                values.push((key.to_owned(), text));
            }
        }
        self.configs.insert(name_of(at), values);
    }

    /// Reads a Secret: its names alone.
    pub(crate) fn secret(&mut self, at: &Cursor<'_>) {
        let mut names = Vec::new();
        for group in ["data", "stringData"] {
            for (key, at) in at.find(group).map(|group| group.entries()).unwrap_or_default() {
                at.changed("a secret of the contract; its value is given by the environment, never by the stack file");
                names.push((key.to_owned(), String::new()));
            }
        }
        self.configs.insert(name_of(at), names);
    }

    /// Reads a Service.
    pub(crate) fn service(&mut self, at: &Cursor<'_>) {
        let labels = ["app", "app.kubernetes.io/name"];
        let app = labels.iter().find_map(|label| at.find_below(&["spec", "selector", label])?.text());
        self.targets.insert(name_of(at), app.unwrap_or_else(|| name_of(at)));
        at.changed(&format!("services find each other by `needs`; {WRITES}"));
    }

    /// The program behind a Service.
    pub(crate) fn behind(&self, name: &str, draft: &Draft) -> Option<String> {
        let app = self.targets.get(name).map_or(name, String::as_str);
        [app, name].iter().map(|name| label(name, "")).find(|name| draft.has("service", name))
    }
}
