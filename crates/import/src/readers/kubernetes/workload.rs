//! Programs that always run: a `Deployment`, a `StatefulSet`, a `Pod` and their like.

use super::{WRITES, container, known::Known, number, store};
use crate::{
    cursor::Cursor,
    draft::{Draft, label},
    readers::data::{self, Role},
    text,
};

/// The pod of a workload.
fn pod<'a>(kind: &str, at: &Cursor<'a>) -> Option<Cursor<'a>> {
    if kind == "Pod" { at.find("spec") } else { at.find_below(&["spec", "template", "spec"]) }
}

/// The image of the first container.
pub(crate) fn image(kind: &str, at: &Cursor<'_>) -> String {
    let containers = pod(kind, at).and_then(|pod| pod.find("containers")).map(|containers| containers.items());
    let first = containers.and_then(|containers| containers.into_iter().next());
    first.and_then(|first| first.find("image")?.text()).unwrap_or_default()
}

/// Reads a workload.
pub(crate) fn read(kind: &str, name: &str, at: &Cursor<'_>, known: &mut Known, draft: &mut Draft) {
    let Some(pod) = pod(kind, at) else { return };
    let image = image(kind, at);
    if !matches!(data::role(&image), Role::Program | Role::Proxy | Role::Search) {
        return store::set(name, &image, at, known, draft);
    }
    for key in [
        "selector",
        "strategy",
        "updateStrategy",
        "serviceName",
        "revisionHistoryLimit",
        "minReadySeconds",
        "progressDeadlineSeconds",
        "podManagementPolicy",
    ] {
        if let Some(at) = at.find_below(&["spec", key]) {
            at.changed(WRITES);
        }
    }
    if let Some(metadata) = at.find_below(&["spec", "template", "metadata"]) {
        metadata.changed(WRITES);
    }
    if let Some(count) = number(at, &["spec", "replicas"]) {
        draft.section("service", name).put("size", "replicas", count);
        if let Some(at) = at.find_below(&["spec", "replicas"]) {
            at.kept_as("`size.replicas`");
        }
    }
    known.images.entry(image).or_insert_with(|| name.to_owned());
    let containers = pod.find("containers").map(|containers| containers.items()).unwrap_or_default();
    for (key, at) in pod.entries() {
        match key {
            "initContainers" => at.refused("what must happen before is `migrate` of a database, or part of `build`"),
            "terminationGracePeriodSeconds" => grace(name, &at, containers.first(), draft),
            "volumes" => at.changed("the folder that SLIPWAY_DATA names outlives releases"),
            "imagePullSecrets" => at.changed("the environment's own sign-in at the image store"),
            "securityContext"
            | "automountServiceAccountToken"
            | "restartPolicy"
            | "topologySpreadConstraints"
            | "affinity"
            | "dnsPolicy"
            | "enableServiceLinks"
            | "serviceAccountName" => {
                at.changed("`slipway render kubernetes` writes it, as restricted as it can be");
            }
            _ => {}
        }
    }
    for (index, at) in containers.iter().enumerate() {
        if index == 0 {
            container::read(("service", name), at, known, draft);
        } else {
            let other = label(&at.find("name").and_then(|name| name.text()).unwrap_or_default(), "sidecar");
            at.changed("a service of its own");
            let name = format!("{name}-{other}").chars().take(48).collect::<String>();
            container::read(("service", &name), at, known, draft);
        }
    }
}

/// The time a pod gets to end, but for what it only waits until nobody is sent to it.
fn grace(name: &str, at: &Cursor<'_>, first: Option<&Cursor<'_>>, draft: &mut Draft) {
    let waits = first.and_then(|first| number(first, &["lifecycle", "preStop", "sleep", "seconds"])).unwrap_or(0);
    let Some(whole) = at.text().and_then(|text| text.parse::<i64>().ok()) else { return };
    let Ok(whole) = u64::try_from(whole - waits) else { return };
    let (drain, stop) = text::grace(whole);
    draft.section("service", name).set("drain", format!("{drain}s")).set("stop", format!("{stop}s"));
    at.kept_as("`drain` and `stop`, together as long");
}
