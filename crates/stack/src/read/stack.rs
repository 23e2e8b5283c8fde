//! The whole stack from a whole document.

use std::collections::BTreeMap;

use toml::de::DeTable;

use super::{
    alarm, command, database, environment, extra, extra_keys,
    notes::Notes,
    reference, route,
    section::{Entry, Section, shortened},
    service, store, variable,
};
use crate::{AppName, Kind, Problem, ResourceName, ResourceRef, Stack};

/// Words from other tools and where they live here.
const MOVED: [(&str, &str); 12] = [
    ("name", "app"),
    ("services", "service"),
    ("sites", "site"),
    ("functions", "function"),
    ("jobs", "job"),
    ("databases", "database"),
    ("routes", "route"),
    ("env", "variable"),
    ("variables", "variable"),
    ("environments", "environment"),
    ("alarms", "alarm"),
    ("volumes", "bucket"),
];

/// Reads a document: the stack, complete only when there is no error among the problems.
pub(crate) fn read(document: &DeTable<'_>) -> (Stack, Vec<Problem>) {
    let notes = Notes::default();
    let stack = read_document(Section::root(document, &notes));
    reference::check(document, &stack.services, &notes);
    (stack, notes.take())
}

#[cfg(test)]
pub(crate) fn known_keys(document: &DeTable<'_>) -> BTreeMap<String, std::collections::BTreeSet<&'static str>> {
    let notes = Notes::default();
    read_document(Section::root(document, &notes));
    notes.asked.take()
}

fn read_document(root: Section<'_>) -> Stack {
    let app = root.find("app").and_then(|entry| {
        let text = entry.filled()?;
        AppName::new(text)
            .map_err(|bad| {
                let message = format!("`{}` cannot name an application", shortened(text).escape_debug());
                root.notes.add(entry.problem("bad-name", message).with_mend(bad.reason));
            })
            .ok()
    });
    if !root.has("app") {
        root.missing("app", "write the application's name in the first line, for example `app = \"shop\"`");
    }
    let services = all(&root, Kind::Service, service::read);
    let routes = root.table("route").map(|table| route::read_all(&table)).unwrap_or_default();
    let asked = routes.iter().flat_map(|route| &route.paths).map(|path| &path.to);
    let mut extras = BTreeMap::new();
    for kind in Kind::ALL.into_iter().filter(|kind| !extra_keys::keys(*kind).is_empty()) {
        let read = all(&root, kind, |table| extra::read(table, kind));
        extras.extend(read.into_iter().map(|(name, extra)| (ResourceRef { kind, name }, extra)));
    }
    let asked = asked.cloned().chain(extras.values().flat_map(extra::receivers));
    let asked = asked.filter(|to| to.kind == Kind::Function).map(|to| to.name).collect();
    let functions = all(&root, Kind::Function, |table| command::read_function(table, &services, &asked));
    let jobs = all(&root, Kind::Job, |table| command::read_job(table, &services));
    let databases = all(&root, Kind::Database, |table| database::read(table, &services));
    let environments = root.table("environment").map(|table| environment::read_all(&table)).unwrap_or_default();
    let stack = Stack {
        app: app.unwrap_or_else(|| AppName::new("app").expect("a well-formed constant")),
        version: root.text("version"),
        services,
        sites: all(&root, Kind::Site, service::read_site),
        functions,
        jobs,
        databases,
        caches: all(&root, Kind::Cache, store::read_cache),
        queues: all(&root, Kind::Queue, store::read_queue),
        buckets: all(&root, Kind::Bucket, store::read_bucket),
        extras,
        routes,
        variables: root
            .table("variable")
            .map(|table| table.each().filter_map(|entry| variable::read(&entry)).collect())
            .unwrap_or_default(),
        alarms: root.table("alarm").map(|table| alarm::read_all(&table)).unwrap_or_default(),
        environments: if environments.is_empty() { environment::standard() } else { environments },
    };
    root.finish(&MOVED);
    stack
}

/// Reads every resource of one kind; those with a wrong name are read for their problems and left out.
fn all<T>(root: &Section<'_>, kind: Kind, read: impl Fn(Section<'_>) -> T) -> BTreeMap<ResourceName, T> {
    let Some(group) = root.table(kind.as_str()) else { return BTreeMap::new() };
    let mut found = BTreeMap::new();
    for entry in group.each() {
        let name = name(&entry, &format!("a {kind}"));
        let Some(table) = entry.section() else { continue };
        let resource = read(table);
        found.extend(name.map(|name| (name, resource)));
    }
    found
}

/// The entry's key as a name.
pub(crate) fn name(entry: &Entry<'_>, what: &str) -> Option<ResourceName> {
    let text = entry.path.last();
    ResourceName::new(text)
        .map_err(|bad| {
            let message = format!("`{}` cannot name {what}", shortened(text).escape_debug());
            entry.notes.add(entry.key_problem("bad-name", message).with_mend(bad.reason));
        })
        .ok()
}
