//! What a Prometheus reads, and how often: the stack's `[scrape]` sections over a default.

use stack::{Kind, ResourceName, Stack};

/// How one resource is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Scrape {
    /// Whether it is read at all.
    pub(crate) wanted: bool,
    pub(crate) path: String,
    pub(crate) every: String,
}

/// How a resource is read. Without any `[scrape]` every one is, each 15 s (S2.17, S3.16).
pub(crate) fn of(stack: &Stack, kind: Kind, name: &ResourceName) -> Scrape {
    let sections: Vec<_> = stack.extras.iter().filter(|(reference, _)| reference.kind == Kind::Scrape).collect();
    let reference = format!("{kind}.{name}");
    let mine = sections.iter().find(|(_, extra)| {
        let of = extra.settings.get("of").and_then(serde_json::Value::as_array);
        of.is_some_and(|of| of.iter().any(|item| item.as_str() == Some(&reference)))
    });
    let text = |key: &str, otherwise: &str| {
        let said = mine.and_then(|(_, extra)| extra.settings.get(key)?.as_str());
        said.unwrap_or(otherwise).to_owned()
    };
    Scrape {
        wanted: mine.is_some() || sections.is_empty(),
        path: text("path", "/metrics"),
        every: text("every", "15s"),
    }
}
