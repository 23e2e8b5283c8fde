//! Every target over every example and over generated stacks: it renders, twice the same, well formed, without a secret.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    path::Path,
};

use proptest::prelude::*;
use render::{Input, Options, Target};
use serde_json::Value;

/// Every environment of a stack.
fn inputs(text: &str) -> Vec<Input> {
    let names = stack::environments(text);
    let all: Vec<_> = names
        .iter()
        .map(|name| stack::resolve("slipway.toml", text, name).unwrap_or_else(|problems| panic!("{problems}\n{text}")))
        .collect();
    let options = Options { leave_out: true, ..Options::default() };
    all.iter()
        .map(|resolved| Input { resolved: resolved.clone(), all: all.clone(), options: options.clone() })
        .collect()
}

/// YAML and JSON are read back; every file says whose it is and ends as a file should.
fn well_formed(path: &str, text: &str) -> Result<(), String> {
    let comment = text.contains("rendered by slipway");
    let ended = text.ends_with('\n') && !text.ends_with("\n\n");
    if !comment || !ended {
        return Err(format!("{path}: mark {comment}, end {ended}"));
    }
    let ending = Path::new(path).extension().and_then(|ending| ending.to_str()).unwrap_or_default();
    match ending {
        "json" => drop(serde_json::from_str::<Value>(text).map_err(|error| format!("{path}: {error}"))?),
        // templates of a chart are YAML only when Helm has read them
        "yaml" | "yml" if !path.starts_with("chart/templates/") => {
            for document in text.split("\n---\n") {
                serde_saphyr::from_str::<Value>(document).map_err(|error| format!("{path}: {error}\n{document}"))?;
            }
        }
        _ => {}
    }
    Ok(())
}

fn check(text: &str) -> Result<(), String> {
    for input in inputs(text) {
        for target in Target::ALL {
            let rendered = render::render(target, &input).map_err(|problems| format!("{target}: {problems}"))?;
            if rendered != render::render(target, &input).map_err(|problems| problems.to_string())? {
                return Err(format!("{target}: not the same twice"));
            }
            let mut seen = BTreeSet::new();
            for file in &rendered.files {
                well_formed(&file.path, &file.text).map_err(|wrong| format!("{target}: {wrong}"))?;
                if !seen.insert(&file.path) {
                    return Err(format!("{target}: {} is there twice", file.path));
                }
            }
        }
    }
    Ok(())
}

#[test]
fn every_target_renders_every_example() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples");
    let mut count = 0;
    for entry in std::fs::read_dir(folder).expect("examples") {
        let path = entry.expect("an entry").path().join("slipway.toml");
        let Ok(text) = std::fs::read_to_string(&path) else { continue };
        check(&text).unwrap_or_else(|wrong| panic!("{}: {wrong}", path.display()));
        count += 1;
    }
    assert!(count >= 5, "{count} examples");
}

#[test]
fn a_large_stack_renders() {
    check(&stack::sample::many_services(40)).unwrap_or_else(|wrong| panic!("{wrong}"));
}

/// A value that is awkward for one of the formats.
fn awkward() -> impl Strategy<Value = String> {
    prop_oneof![
        "[ -~äß✓]{0,40}",
        Just("yes".to_owned()),
        Just("$HOME `id` $(id) \"quoted\" 'single' \\\\ back".to_owned()),
        Just("{{ template }} %{if} ${{".to_owned()),
        Just("012 1e3 # not a comment".to_owned()),
        Just("a: b, [c] {d} & *e !f |g >h @i %j".to_owned()),
    ]
}

fn stack_text() -> impl Strategy<Value = (String, BTreeMap<String, String>)> {
    let name = "[a-z][a-z0-9]{0,5}(-[a-z0-9]{1,4})?";
    let values = proptest::collection::btree_map("[A-Z][A-Z0-9_]{1,8}", awkward(), 0..4);
    (name, values, 1..4_u32, any::<[bool; 6]>(), 1..5_u32).prop_map(|(service, values, count, flags, replicas)| {
        let [database, cache, queue, route, site, image] = flags;
        let mut text = String::from("app = \"gen\"\n");
        let mut needs = Vec::new();
        if database {
            text += "[database.main]\nengine = \"postgres:17\"\nmigrations = \"m\"\nbackup = { keep = \"3d\", to = \"bucket.b\" }\n[bucket.b]\n";
            needs.push("\"database.main\"");
        }
        if cache {
            text += "[cache.fast]\nengine = \"redis:7\"\n";
            needs.push("\"cache.fast\"");
        }
        if queue {
            text += "[queue.mq]\nengine = \"rabbitmq:4\"\n";
            needs.push("\"queue.mq\"");
        }
        if site {
            text += "[site.pages]\ndir = \"w\"\nbuild = \"npm run build\"\nout = \"dist\"\nspa = true\n";
        }
        for at in 0..count {
            let source = if image { "image = \"acme/thing:1\"" } else { "dir = \"s\"\nrun = \"node a.js --flag 'x y'\"" };
            let _ = write!(
                text,
                "[service.{service}{at}]\n{source}\nport = {}\nhealth = \"/up\"\nneeds = [{}]\nsize = {{ replicas = {replicas} }}\n[service.{service}{at}.env]\n",
                4000 + at,
                needs.join(", "),
            );
            for (name, value) in &values {
                let escaped = value.replace("${", "$${");
                let _ = writeln!(text, "{name} = {}", Value::from(escaped));
            }
        }
        if route {
            let _ = writeln!(text, "[route.\"a.example.com\"]\n\"/\" = {{ to = \"service.{service}0\", limit = \"5/s per ip\", sticky = true }}");
        }
        text += "[variable]\nTOKEN = { secret = true, min_length = 20 }\n[alarm]\nslow = \"http.latency.p95 > 1s for 5m\"\n";
        for (name, target) in [("dev", "local"), ("cluster", "kubernetes"), ("cloud", "aws")] {
            let _ = writeln!(text, "[environment.{name}]\ntarget = \"{target}\"");
        }
        (text, values)
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn generated_stacks_render_everywhere((text, values) in stack_text()) {
        // a value that looks like a secret, or a name that is taken, is the stack file's own business
        prop_assume!(!stack::check("slipway.toml", &text).has_errors());
        prop_assert_eq!(check(&text), Ok(()));
        let dev = inputs(&text).into_iter().find(|input| input.resolved.name.as_str() == "dev").expect("dev");
        let rendered = render::render(Target::Compose, &dev).expect("rendered");
        let file = rendered.files.iter().find(|file| file.path == "compose.yaml").expect("the compose file");
        let whole: Value = serde_saphyr::from_str(&file.text).expect("YAML");
        for (name, service) in whole["services"].as_object().expect("services") {
            // values survive the quoting of YAML and of compose
            if !name.starts_with("migrate") && service["environment"].get("SLIPWAY_APP").is_some() {
                for (key, value) in values.iter().filter(|(key, _)| key.as_str() != "PORT" && key.as_str() != "HOST") {
                    let there = service["environment"][key].as_str().unwrap_or_default().replace("$$", "$");
                    prop_assert_eq!(&there, value, "{} of {}", key, name);
                }
            }
        }
    }
}
