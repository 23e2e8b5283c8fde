//! What a service keeps, and what it is lent of the host.

use crate::{cursor::Cursor, draft::Draft};

/// Reads `volumes` of a program.
pub(crate) fn read(owner: (&str, &str), at: &Cursor<'_>, draft: &mut Draft) {
    for volume in at.items() {
        let (source, target) = if let Some(text) = volume.text() {
            match text.split_once(':') {
                Some((source, rest)) => (source.to_owned(), rest.split(':').next().unwrap_or_default().to_owned()),
                None => (String::new(), text),
            }
        } else {
            let get = |key: &str| volume.find(key).and_then(|at| at.text()).unwrap_or_default();
            (get("source"), get("target"))
        };
        if target.ends_with("docker.sock") {
            volume.refused("no instance is given the container engine");
        } else if source.is_empty() {
            volume.changed("what a build makes is in the release");
        } else if source.starts_with(['.', '/', '~', '$']) {
            volume.changed("the release carries the files; `slipway up` rebuilds when they change");
        } else {
            draft
                .section(owner.0, owner.1)
                .about(&format!("what it kept in {target} goes into the folder that SLIPWAY_DATA names"));
            volume.changed("the folder that SLIPWAY_DATA names outlives releases and is shared by all instances");
        }
    }
}
