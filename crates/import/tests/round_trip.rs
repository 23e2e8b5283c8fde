//! What is rendered is read back: `import(render(stack))` keeps what the format carries, for every example, every
//! environment, every format, and for stacks that are made up.

#[path = "round_trip/carry.rs"]
mod carry;
#[path = "round_trip/cloud.rs"]
mod cloud;
#[path = "round_trip/fact.rs"]
mod fact;
#[path = "round_trip/made.rs"]
mod made;
#[path = "round_trip/said.rs"]
mod said;
#[path = "round_trip/scene.rs"]
mod scene;

use std::{collections::BTreeSet, fmt::Write as _, fs, path::Path};

use carry::{FORMATS, Format};
use fact::Scene;
use proptest::{
    prelude::*,
    test_runner::{RngSeed, TestRunner},
};
use render::{Input, Options, Target};
use stack::Resolved;

/// Every environment of a stack file.
fn environments(text: &str) -> Vec<Resolved> {
    let names = stack::environments(text);
    names
        .iter()
        .map(|name| stack::resolve("slipway.toml", text, name).unwrap_or_else(|problems| panic!("{problems}\n{text}")))
        .collect()
}

/// Writes what targets render into a folder as `slipway render` does, and reads the folder.
fn there_and_back(targets: &[Target], input: &Input) -> Result<(import::Imported, Vec<Resolved>), String> {
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    for target in targets {
        let rendered = render::render(*target, input).map_err(|problems| problems.to_string())?;
        // the values of one environment are read at a time
        let own = format!("/{}.tfvars", input.resolved.name);
        for file in rendered.files.iter().filter(|file| !file.path.ends_with(".tfvars") || file.path.ends_with(&own)) {
            let path = folder.path().join(target.folder()).join(&file.path);
            fs::create_dir_all(path.parent().ok_or("a folder")?).map_err(|error| error.to_string())?;
            fs::write(path, &file.text).map_err(|error| error.to_string())?;
        }
    }
    let mut imported = import::import(folder.path()).map_err(|error| error.to_string())?;
    if targets.contains(&Target::Terraform) {
        imported.stack = completed(&imported.stack);
    }
    let wrong = stack::check("slipway.toml", &imported.stack);
    if wrong.has_errors() {
        return Err(format!("{wrong}\n{}", imported.stack));
    }
    let all = stack::environments(&imported.stack)
        .iter()
        .map(|name| stack::resolve("slipway.toml", &imported.stack, name).map_err(|problems| problems.to_string()))
        .collect::<Result<Vec<_>, _>>()?;
    Ok((imported, all))
}

/// With an image for each service: a task definition names one that is only known when the repository is there, and the
/// report says that it is to be written.
fn completed(text: &str) -> String {
    let mut table: toml::Table = text.parse().expect("TOML");
    let services = table.get_mut("service").and_then(toml::Value::as_table_mut);
    for (_, service) in services.into_iter().flatten() {
        let service = service.as_table_mut().expect("a table");
        if !service.contains_key("image") {
            service.insert("image".to_owned(), "example/filled-in:1".into());
        }
    }
    table.to_string()
}

/// Everything that one format lost or changed of what it carries; nothing when it is whole.
fn lost(format: &Format, first: &Resolved, all: &[Resolved]) -> String {
    let name = format.name;
    let target = *format.targets.last().expect("a target");
    // Terraform is written for environments on AWS
    if target == Target::Terraform && first.environment.target != stack::TargetKind::Aws {
        return String::new();
    }
    let first = &match target {
        Target::Nginx => proxied(first),
        _ => first.clone(),
    };
    let options = Options { leave_out: true, tag: Some("3f9c2a1".to_owned()), ..Options::default() };
    let input = Input { resolved: first.clone(), all: all.to_vec(), options };
    let (imported, back) = match there_and_back(format.targets, &input) {
        Ok(back) => back,
        Err(error) => return format!("{name} of {}: {error}\n", first.name),
    };
    let same = |one: &&Resolved| one.name == first.name;
    let Some(second) = back.iter().find(same).or(back.first()) else { return "no environment came back".to_owned() };
    let scene = Scene { target, first, back: second, all };
    let mut text = String::new();
    for fact in format.facts {
        let (before, after) = (scene.says(*fact, first, all), scene.says(*fact, second, &back));
        let keys: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
        for key in keys.iter().filter(|key| before.get(**key) != after.get(**key)) {
            let _ = writeln!(text, "{fact:?} {key}: {:?} came back as {:?}", before.get(*key), after.get(*key));
        }
    }
    if text.is_empty() { text } else { format!("{name} of {}:\n{text}{}\n", first.name, imported.stack) }
}

/// With the hosts alone that lead to programs: an nginx without the Dockerfile of its image does not say how pages are made.
fn proxied(first: &Resolved) -> Resolved {
    let mut first = first.clone();
    let services = &first.stack.services;
    let unit = |path: &stack::PathRoute| {
        services.get(&path.to.name).is_some_and(|service| {
            path.to.kind == stack::Kind::Service && matches!(service.source, stack::Source::Folder(_))
        })
    };
    first.stack.routes.retain(|route| route.paths.iter().all(unit));
    first
}

fn examples() -> Vec<(String, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples");
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("examples").map(|entry| entry.expect("an entry").path()) {
        if let Ok(text) = fs::read_to_string(entry.join("slipway.toml")) {
            found.push((entry.file_name().expect("a name").to_string_lossy().into_owned(), text));
        }
    }
    found.sort();
    found
}

#[test]
fn every_example_comes_back_from_every_format() {
    let mut all = String::new();
    let examples = examples();
    assert!(examples.len() >= 5, "{} examples", examples.len());
    for (name, text) in &examples {
        let resolved = environments(text);
        for one in &resolved {
            for format in &FORMATS {
                let lost = lost(format, one, &resolved);
                if !lost.is_empty() {
                    let _ = writeln!(all, "{name}: {lost}");
                }
            }
        }
    }
    assert!(all.is_empty(), "{all}");
}

/// A stack that is made up comes back from every format; the smallest one that does not is shown.
#[test]
fn stacks_that_are_made_up_come_back() {
    let mut config = ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() };
    // named in the failure, so that one command plays it again
    let seed = match config.rng_seed {
        RngSeed::Fixed(seed) => seed,
        RngSeed::Random => std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), 0),
    };
    config.rng_seed = RngSeed::Fixed(seed);
    let numbers = proptest::collection::vec(any::<u8>(), 0..160);
    let result = TestRunner::new(config).run(&numbers, |numbers| {
        let text = made::stack(&mut made::Choices::of(&numbers));
        let problems = stack::check("slipway.toml", &text);
        prop_assert!(!problems.has_errors(), "the generator made a bad stack: {problems}\n{text}");
        let resolved = environments(&text);
        // its environments differ in little: each format has another one
        for (at, format) in FORMATS.iter().enumerate() {
            let one = &resolved[(numbers.len() + at) % resolved.len()];
            let lost = lost(format, one, &resolved);
            prop_assert!(lost.is_empty(), "{lost}\n--- from ---\n{text}");
        }
        Ok(())
    });
    if let Err(error) = result {
        panic!(
            "{error}\nagain: PROPTEST_RNG_SEED={seed} cargo test -p import --test round_trip stacks_that_are_made_up_come_back"
        );
    }
}

/// The guide shows the table that these tests hold the formats to.
#[test]
fn the_guide_says_what_each_format_carries() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/src/guides/import.md");
    let guide = fs::read_to_string(path).expect("the guide");
    let table = carry::table();
    assert!(guide.contains(&table), "the guide lacks this table; put it below \"What comes back\":\n{table}");
}
