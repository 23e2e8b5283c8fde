//! Which key of a compose file a value of `docker compose config` comes from: the tool writes every short form long.

use serde_json::Value;

/// Lines of the files that the tool refuses, with all that it reads.
pub(crate) fn refused_by_the_tool(line: &str) -> bool {
    line.trim_start().starts_with("unknown_key:")
}

/// Where a value comes from.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// A key of the file, as the report writes it, or one above it.
    Key(String),
    /// The tool's own default: no key says it.
    Default,
}

/// The origin of the value at a path of the tool's document; `source` is the file as it was written.
pub(crate) fn of(source: &Value, path: &[String]) -> Origin {
    let words: Vec<&str> = path.iter().map(String::as_str).collect();
    if let ["services", service, rest @ ..] = &words[..] {
        if source["services"].get(service).is_none() {
            return Origin::Key("include".to_owned());
        }
        return of_service(source, service, rest);
    }
    match words[..] {
        ["name"] if source.get("name").is_none() => Origin::Default,
        // what the tool names after the project, and the folder it looks in
        ["networks", "default", ..] | ["volumes" | "networks" | "secrets" | "configs", _, "name" | "file"] => {
            Origin::Default
        }
        _ => Origin::Key(joined(&words)),
    }
}

fn of_service(source: &Value, service: &str, rest: &[&str]) -> Origin {
    let own = &source["services"][service];
    let base = format!("services.{service}");
    let in_list = |key: &str, wanted: &dyn Fn(&str) -> bool| {
        let items = own[key].as_array()?;
        let at = items.iter().position(|item| item.as_str().is_some_and(wanted))?;
        Some(Origin::Key(format!("{base}.{key}[{at}]")))
    };
    match rest {
        // without a list of its own a service is in the default network
        ["networks", "default", ..] if own.get("networks").is_none() => Origin::Default,
        ["command" | "entrypoint"] if own.get(rest[0]).is_none() => Origin::Default,
        ["environment", name, ..] => {
            let pair = format!("{name}=");
            in_list("environment", &|text| text == *name || text.starts_with(&pair)).unwrap_or_else(|| {
                if own["environment"].get(*name).is_some() {
                    Origin::Key(format!("{base}.environment.{name}"))
                } else {
                    Origin::Key(format!("{base}.env_file"))
                }
            })
        }
        ["depends_on", other, inner @ ..] => {
            let listed = in_list("depends_on", &|text| text == *other);
            if inner == ["required"] && own["depends_on"].get(*other).and_then(|at| at.get("required")).is_none() {
                return Origin::Default;
            }
            listed.unwrap_or_else(|| Origin::Key(format!("{base}.{}", joined(rest))))
        }
        ["networks", name, ..] => {
            in_list("networks", &|text| text == *name).unwrap_or_else(|| Origin::Key(format!("{base}.networks")))
        }
        ["labels", name, ..] => {
            let pair = format!("{name}=");
            in_list("labels", &|text| text.starts_with(&pair)).unwrap_or_else(|| Origin::Key(format!("{base}.labels")))
        }
        ["build", key, ..] if own["build"].is_string() || own["build"].get(*key).is_none() => {
            Origin::Key(format!("{base}.build"))
        }
        // a command is compared as a whole
        ["command" | "entrypoint", ..] => Origin::Key(format!("{base}.{}", rest[0])),
        _ => Origin::Key(format!("{base}.{}", joined(rest))),
    }
}

/// A path as the report writes it.
fn joined(words: &[&str]) -> String {
    let mut text = String::new();
    for word in words {
        if !word.is_empty() && word.bytes().all(|b| b.is_ascii_digit()) && !text.is_empty() {
            text.extend(["[", word, "]"]);
            continue;
        }
        if !text.is_empty() {
            text.push('.');
        }
        if word.contains('.') {
            text.extend(["\"", word, "\""]);
        } else {
            text += word;
        }
    }
    text
}
