//! `slipway render compose` of an imported file means the same to `docker compose config`: what the report says was kept is
//! there and equal, and whatever differs is what the report says was changed or refused, key by key.

#[path = "compose/bench.rs"]
mod bench;
#[path = "compose/corpus.rs"]
mod corpus;
#[path = "../../render/tests/tools/kept.rs"]
#[expect(dead_code, reason = "the tools of the renderer's own tests; this one needs Compose alone")]
mod kept;
#[path = "compose/meaning.rs"]
mod meaning;
#[path = "compose/origin.rs"]
mod origin;

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use corpus::{APPLICATIONS, WAYS, compose};
use import::{Fate, Imported, import};
use meaning::Outcome;
use render::{Input, Options, Target};
use serde_json::Value;

/// The Compose tool's reading of one file of a folder.
fn config(tool: &Path, folder: &Path, file: &str) -> Result<Value, String> {
    let output = std::process::Command::new(tool)
        .args(["-f", file, "--profile", "*", "config", "--format", "json"])
        .env("HOME", folder)
        .current_dir(folder)
        .output()
        .map_err(|error| error.to_string())?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    serde_json::from_slice(&output.stdout).map_err(|error| error.to_string())
}

/// Values for every variable that the files ask for.
fn values(example: &str) -> String {
    let mut values = BTreeMap::from([
        ("DB_PASSWORD".to_owned(), "letters-and-digits-20".to_owned()),
        ("DOMAIN".to_owned(), "shop.example.com".to_owned()),
        ("EXTRA".to_owned(), "more".to_owned()),
    ]);
    for name in example.lines().filter_map(|line| line.strip_suffix('=')) {
        values.entry(name.to_owned()).or_insert_with(|| "made-by-slipway-20-long".to_owned());
    }
    let lines: Vec<String> = values.into_iter().map(|(name, value)| format!("{name}={value}")).collect();
    lines.join("\n") + "\n"
}

/// Renders what was imported beside the file it came from.
fn rendered(imported: &Imported, folder: &Path) -> Result<(), String> {
    let dev = stack::environments(&imported.stack).into_iter().next().ok_or("no environment")?;
    let resolved = stack::resolve("slipway.toml", &imported.stack, &dev).map_err(|problems| problems.to_string())?;
    let options =
        Options { project: ".".to_owned(), folder: Some(".".to_owned()), leave_out: true, ..Options::default() };
    let input = Input { all: vec![resolved.clone()], resolved, options };
    let files = render::render(Target::Compose, &input).map_err(|problems| problems.to_string())?.files;
    for file in files.iter().filter(|file| ["compose.yaml", ".env.example"].contains(&file.path.as_str())) {
        let name = if file.path == "compose.yaml" { "rendered.yaml" } else { &file.path };
        std::fs::write(folder.join(name), &file.text).map_err(|error| error.to_string())?;
    }
    Ok(())
}

/// An application in a way of writing, and what was found out about it.
type Compared = ((usize, usize), Result<Outcome, String>);

/// One file, there and back.
fn compared(tool: &Path, application: usize, way: usize) -> Result<Outcome, String> {
    let text = compose(application, way);
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    let write =
        |name: &str, text: &str| std::fs::write(folder.path().join(name), text).map_err(|error| error.to_string());
    write("compose.yaml", &text)?;
    let imported = import(&folder.path().join("compose.yaml")).map_err(|error| error.to_string())?;
    rendered(&imported, folder.path())?;
    let example = std::fs::read_to_string(folder.path().join(".env.example")).map_err(|error| error.to_string())?;
    write(".env", &values(&example))?;
    for name in ["api_key.txt", "other.yaml"] {
        write(name, if name.ends_with("yaml") { "services:\n  included:\n    image: example/other:1\n" } else { "x" })?;
    }
    // what the tool itself refuses to read is in the report as refused
    let accepted: Vec<&str> = text.lines().filter(|line| !origin::refused_by_the_tool(line)).collect();
    write("compose.yaml", &(accepted.join("\n") + "\n"))?;
    let before = config(tool, folder.path(), "compose.yaml")?;
    let after = config(tool, folder.path(), "rendered.yaml")?;
    Ok(meaning::compare(&text, &imported.report, &before, &after))
}

// proves the second bar of the import: the same to the tool that reads it
#[test]
fn what_was_kept_of_two_hundred_files_means_the_same_to_compose() {
    let tool = kept::compose();
    let all: Vec<(usize, usize)> =
        (0..APPLICATIONS.len()).flat_map(|application| (0..WAYS).map(move |way| (application, way))).collect();
    let next = AtomicUsize::new(0);
    let found: Mutex<Vec<Compared>> = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while let Some((application, way)) = all.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let outcome = compared(&tool, *application, *way);
                    found.lock().expect("no thread broke down").push(((*application, *way), outcome));
                }
            });
        }
    });
    let mut found = found.into_inner().expect("no thread broke down");
    found.sort_by_key(|(at, _)| *at);
    let (mut equal, mut keys, mut leaves) = (0, BTreeMap::new(), 0);
    let mut wrong = Vec::new();
    for ((application, way), outcome) in found {
        let name = format!("{} in way {way}", APPLICATIONS[application].0);
        match outcome {
            Ok(outcome) => {
                equal += usize::from(outcome.differences.is_empty());
                leaves += outcome.compared;
                for (fate, count) in outcome.keys {
                    *keys.entry(fate).or_insert(0) += count;
                }
                wrong.extend(outcome.differences.into_iter().map(|one| format!("{name}: {one}")));
            }
            Err(error) => wrong.push(format!("{name}: {error}")),
        }
    }
    let count = |fate| keys.get(&fate).copied().unwrap_or(0);
    println!(
        "{equal} of {} files mean the same; {leaves} values compared; {} keys kept, {} changed, {} refused",
        all.len(),
        count(Fate::Kept),
        count(Fate::Changed),
        count(Fate::Refused)
    );
    assert!(wrong.is_empty(), "{} differences:\n{}", wrong.len(), wrong.join("\n"));
    assert_eq!(equal, all.len());
}
