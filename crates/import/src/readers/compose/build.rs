//! How a service's image is built.

use super::{UNKNOWN, keys, scene::Scene};
use crate::{cursor::Cursor, draft::Draft, path, report::Fate};

/// Dockerfile and context of a service, relative to what is imported; `None` when nothing here builds it, or when its
/// folder lies elsewhere.
pub(crate) fn of(service: &Cursor<'_>, folder: &str) -> Option<(String, String)> {
    let build = service.find("build")?;
    let get = |key: &str| build.find(key).and_then(|at| at.text());
    let context = build.text().or_else(|| get("context")).unwrap_or_else(|| ".".to_owned());
    let context = path::inside(folder, &context)?;
    let dockerfile = path::inside(&context, &get("dockerfile").unwrap_or_else(|| "Dockerfile".to_owned()))?;
    Some((dockerfile, context))
}

/// Reads `build` of a service.
pub(crate) fn read(owner: (&str, &str), service: &str, at: &Cursor<'_>, scene: &Scene, draft: &mut Draft) {
    if at.text().is_some() {
        at.kept_as("`context` and `dockerfile`");
    }
    for (key, at) in at.entries() {
        match key {
            "context" | "dockerfile" => at.kept_as("`context` and `dockerfile`"),
            _ => match keys::build(key) {
                Some((Fate::Refused, reason)) => at.refused(reason),
                Some((_, reason)) => at.changed(reason),
                None => at.refused(UNKNOWN),
            },
        }
    }
    let section = draft.section(owner.0, owner.1);
    // an image beside a build is only its name
    section.remove("image");
    if let Some((dockerfile, context)) = scene.built(service) {
        section.set("dockerfile", dockerfile.clone()).set("context", context.clone());
    } else {
        section.set("dockerfile", "Dockerfile");
        for at in std::iter::once(at.clone()).chain(["context", "dockerfile"].iter().filter_map(|key| at.find(key))) {
            at.refused(
                "the build's folder lies outside of this one, or is an address; put the stack file above all that it builds",
            );
        }
    }
}
