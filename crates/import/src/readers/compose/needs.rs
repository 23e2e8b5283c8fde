//! What a service waits for.

use super::scene::{Part, Scene};
use crate::{
    cursor::Cursor,
    draft::{Draft, label},
    readers::data,
};

/// Reads `depends_on`.
pub(crate) fn read(owner: (&str, &str), at: &Cursor<'_>, scene: &Scene, draft: &mut Draft) {
    let names: Vec<(String, Cursor<'_>)> = match at.entries() {
        entries if entries.is_empty() => at.items().into_iter().filter_map(|at| Some((at.text()?, at))).collect(),
        entries => entries.into_iter().map(|(name, at)| (name.to_owned(), at)).collect(),
    };
    for (other, at) in names {
        match scene.is(&other) {
            Some(Part::Proxy) => at.changed("Slipway's edge takes the place of the proxy"),
            Some(Part::Migration(_) | Part::Buckets(_)) => at.changed("migrations end before a release starts"),
            Some(Part::Step | Part::Once | Part::Job | Part::Backup) => {
                at.refused("it waits for something that runs to its end; see there");
            }
            Some(Part::Server(data::Role::Bucket)) => {
                // with several buckets in one server its variables tell which it uses
                if let Some(reference) = data::find(&other, draft) {
                    draft.section(owner.0, owner.1).add("needs", &reference);
                }
                at.changed("`needs` of its buckets, which are there before it starts");
            }
            Some(Part::Server(_) | Part::Program | Part::Base) => {
                let own = label(&other, "service");
                let reference = data::find(&other, draft).unwrap_or_else(|| format!("service.{own}"));
                if reference == format!("{}.{}", owner.0, owner.1) {
                    at.refused("it waits for itself");
                    continue;
                }
                draft.section(owner.0, owner.1).add("needs", &reference);
                waits(&at, &reference);
            }
            None => at.refused("no such service in this file"),
        }
    }
}

/// How it waits: a need is ready before what needs it starts.
fn waits(at: &Cursor<'_>, reference: &str) {
    at.changed(&format!("`needs` {reference}, which is not only started but ready before this starts"));
    let data = !reference.starts_with("service.");
    for (key, at) in at.entries() {
        match key {
            "condition" if data && at.text().as_deref() == Some("service_healthy") => {
                at.kept_as(&format!("`needs` {reference}"));
            }
            "condition" => at.changed(&format!("`needs` {reference}, which is ready before this starts")),
            "restart" => at.changed("a program connects again by itself when what it needs was replaced"),
            "required" => at.changed("what is needed is always there"),
            _ => at.refused(super::UNKNOWN),
        }
    }
}
