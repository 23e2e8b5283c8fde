//! Services on ECS.

use super::{keep, plain, referred, resource::All};
use crate::{
    cursor::Cursor,
    draft::{Draft, label},
};

/// What a service of ECS is called.
pub(crate) fn name(resource: &str, at: &Cursor<'_>) -> String {
    label(&plain(at, "name").unwrap_or_default(), &label(resource, "service"))
}

/// Reads a service of ECS: how many of its tasks run.
pub(crate) fn kept(own: &str, at: &Cursor<'_>, draft: &mut Draft) {
    let section = draft.section("service", own);
    if let Some(count) = plain(at, "desired_count").and_then(|text| text.parse::<i64>().ok())
        && section.get("size").and_then(|size| size.get("replicas")).is_none()
    {
        section.put("size", "replicas", count);
    }
    at.changed("[service]");
    keep(at, &["desired_count"], "`size.replicas`");
}

/// Reads how many tasks of a service there may be.
pub(crate) fn scaled(at: &Cursor<'_>, all: &All, draft: &mut Draft) {
    let service = at.find("resource_id").and_then(|at| referred(&at.text()?, "aws_ecs_service"));
    let Some(service) = service.and_then(|name| all.services.get(&name)) else { return };
    let number = |key: &str| plain(at, key).and_then(|text| text.parse::<u32>().ok());
    if let (Some(least), Some(most)) = (number("min_capacity"), number("max_capacity")) {
        let range = if least == most { least.to_string() } else { format!("{least}..{most}") };
        draft.section("service", service).put("size", "replicas", range);
    }
    at.changed("`size.replicas` of the service");
    keep(at, &["min_capacity", "max_capacity"], "`size.replicas`");
}

/// Reads a task definition: the service that runs it.
pub(crate) fn task(resource: &str, at: &Cursor<'_>, all: &All, draft: &mut Draft) {
    let own = match all.tasks.get(resource) {
        Some(service) => service.clone(),
        // without services at all it is all that is known of one
        None if all.tasks.is_empty() => label(resource, "service"),
        None => return at.refused("no service keeps it running: write what starts it, as a [job] or a [function]"),
    };
    let section = draft.section("service", &own);
    if let Some(cpu) = plain(at, "cpu").and_then(|text| text.parse::<u32>().ok()) {
        // 1024 units are one CPU
        section.put("size", "cpu", format!("{}m", u64::from(cpu) * 1000 / 1024));
    }
    if let Some(memory) = plain(at, "memory") {
        section.put("size", "memory", format!("{memory}Mi"));
    }
    let image = at.find("container_definitions").and_then(|at| at.text()).and_then(|text| image_of(&text));
    if let Some(image) = image {
        section.set("image", image);
    } else {
        section.about("say which image or folder it is made of: its task definition does not say it plainly");
    }
    at.changed("[service]: what its containers are given as `env` and `needs`");
    keep(at, &["cpu", "memory"], "`size`");
}

/// The first image that the text of a container definition names plainly.
fn image_of(text: &str) -> Option<String> {
    let rest = text[text.find("image")? + "image".len()..].trim_start_matches(['"', ' ', '=', ':']);
    let image = rest.split(['"', ',', '\n', '}']).next()?.trim();
    (!image.is_empty() && !image.contains(['$', '.', ' ']) || image.contains('/') && !image.contains('$'))
        .then(|| image.to_owned())
}
