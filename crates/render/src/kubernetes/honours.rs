//! What Kubernetes cannot honour, beside what no engine but AWS can.

use std::collections::BTreeMap;

use stack::{DatabaseEngine, Overlap, Problem};

use super::{namespace_name, store};
use crate::{Input, Target, honours::refusal};

/// Everything in the stack that these files cannot carry, and what an operator does by itself.
pub(crate) fn check(input: &Input) -> Vec<Problem> {
    let stack = &input.resolved.stack;
    let target = Target::Kubernetes;
    let mut found = Vec::new();
    for (name, database) in stack.databases.iter().filter(|(_, database)| database.url.is_none()) {
        if database.engine == DatabaseEngine::Sqlite {
            let key = format!("database.{name}.engine");
            found.push(refusal(target, &key, "a file of one host", &["compose", "systemd"]));
        }
        for key in database.settings.keys().filter(|key| store::is_the_operators(key) && *key != store::LIBRARIES) {
            let key = format!("database.{name}.settings.{key}");
            let message = format!("`{key}`: CloudNativePG sets it by itself, so it is no part of these files");
            found.push(Problem::warning("left-to-operator", key, message).with_mend("take it out of this environment"));
        }
    }
    for (name, cache) in stack.caches.iter().filter(|(_, cache)| cache.url.is_none()) {
        if cache.shards == 2 {
            let key = format!("cache.{name}.shards");
            found.push(refusal(target, &key, "two shards, of which neither could outvote the other", &["terraform"]));
        }
    }
    for (name, job) in &stack.jobs {
        if job.overlap == Overlap::Queue {
            let key = format!("job.{name}.overlap");
            found.push(refusal(target, &key, "a run that waits for the last to end", &[]));
        }
    }
    found.extend(names(input));
    found
}

/// Names that would be one name here. These are errors even when what cannot be honoured is left out.
fn names(input: &Input) -> Vec<Problem> {
    let stack = &input.resolved.stack;
    let named = (stack.services.keys().map(|name| ("service", name)))
        .chain(stack.sites.keys().map(|name| ("site", name)))
        .chain(stack.functions.keys().map(|name| ("function", name)))
        .chain(stack.jobs.keys().map(|name| ("job", name)))
        .chain(stack.caches.keys().map(|name| ("cache", name)))
        .chain(stack.queues.keys().map(|name| ("queue", name)));
    let mut seen = BTreeMap::new();
    let mut found = Vec::new();
    for (kind, name) in named {
        if let Some(first) = seen.insert(name, kind) {
            let key = format!("{kind}.{name}");
            let message = format!("`{key}`: in a cluster it would have the same name as `{first}.{name}`");
            found.push(Problem::error("same-name", key, message).with_mend("call one of them otherwise"));
        }
    }
    let namespace = namespace_name(input);
    if namespace.len() > 63 {
        let message = format!("the namespace `{namespace}` is longer than the 63 characters that Kubernetes allows");
        found.push(Problem::error("same-name", "app".to_owned(), message).with_mend("shorten the name of the app"));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(text: &str) -> Vec<String> {
        let dev = stack::EnvironmentName::new("dev").expect("a name");
        let resolved = stack::resolve("slipway.toml", text, &dev).unwrap_or_else(|problems| panic!("{problems}"));
        check(&Input::new(resolved)).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn one_name_for_two_things_is_refused() {
        let text = "app = \"x\"\n[service.api]\nimage = \"a:1\"\nport = 3000\n[cache.api]\nengine = \"redis:7\"\n";
        let said = said(text);
        assert!(matches!(&said[..], [one] if one.contains("same name as `service.api`")), "{said:?}");
    }

    #[test]
    fn what_has_no_word_is_refused_and_what_the_operator_does_is_said() {
        let text = "app = \"x\"\n[service.api]\nimage = \"a:1\"\nport = 3000\n\
                    [job.j]\nservice = \"api\"\nrun = \"x\"\nschedule = \"0 1 * * *\"\noverlap = \"queue\"\n\
                    [cache.c]\nengine = \"redis:7\"\nshards = 2\n\
                    [database.d]\nengine = \"postgres:17\"\nsettings = { archive_mode = \"on\" }\n";
        let said = said(text).join("\n");
        for part in ["job.j.overlap", "two shards", "`database.d.settings.archive_mode`: CloudNativePG"] {
            assert!(said.contains(part), "{part}: {said}");
        }
    }
}
