//! The rooms and their arrows: a crate depends only on crates below it (docs/adr/0001-rooms.md).

use std::{collections::BTreeMap, process::Command};

/// From top to bottom.
const ROOMS: [&str; 12] = [
    "slipway", "fleet", "import", "render", "agent", "edge", "engine", "release", "migrate", "secrets", "observe",
    "stack",
];

#[test]
fn crates_only_point_down() {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--no-deps", "--offline"])
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
        .output()
        .expect("cargo metadata");
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let height: BTreeMap<&str, usize> = ROOMS.iter().enumerate().map(|(index, room)| (*room, index)).collect();
    let mut wrong = Vec::new();
    let mut seen = 0;
    for package in metadata["packages"].as_array().expect("packages") {
        let name = package["name"].as_str().expect("a name");
        let manifest = package["manifest_path"].as_str().expect("a path");
        if !manifest.contains("/crates/") {
            continue;
        }
        let Some(from) = height.get(name) else {
            wrong.push(format!(
                "crate `{name}` has no place among the rooms; add it to ROOMS and docs/adr/0001-rooms.md"
            ));
            continue;
        };
        seen += 1;
        for dependency in package["dependencies"].as_array().expect("dependencies") {
            let to = dependency["name"].as_str().expect("a name");
            // tests may look wherever they want
            if dependency["kind"] != "dev" && height.get(to).is_some_and(|to| to <= from) {
                wrong.push(format!("`{name}` depends on `{to}`, which is not below it"));
            }
        }
    }
    assert_eq!(wrong, Vec::<String>::new());
    assert_eq!(seen, ROOMS.len());
}
