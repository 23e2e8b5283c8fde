//! The first stack file, for `slipway init`: what a folder looks like it needs.

use std::{collections::BTreeSet, fmt::Write as _, fs, path::Path};

use crate::{AppName, ResourceName};

mod part;

use part::Part;

/// Why no first file could be written.
#[derive(Debug, thiserror::Error)]
pub enum SketchError {
    /// The folder cannot be read.
    #[error("cannot look into `{folder}`: {source}; give `slipway init` a folder you may read")]
    Unreadable {
        /// The folder, as given.
        folder: String,
        /// What the system said.
        source: std::io::Error,
    },
}

/// Folders that never hold a part of an application.
const PASSED_OVER: [&str; 12] = [
    "node_modules",
    "target",
    "dist",
    "build",
    "out",
    "vendor",
    "venv",
    "__pycache__",
    "coverage",
    "docs",
    "tests",
    "test",
];

/// Most parts a sketch describes: more would be a guess, not a start.
const MOST_PARTS: usize = 12;

/// The text of a first, commented `slipway.toml` for `folder`, which `check` accepts.
///
/// Only looks at a few well-known files of the folder and of the folders one and two levels below it. Fails when the
/// folder cannot be listed; a file that cannot be read counts as absent.
pub fn sketch(folder: &Path) -> Result<String, SketchError> {
    let unreadable = |source| SketchError::Unreadable { folder: folder.display().to_string(), source };
    let whole = fs::canonicalize(folder).map_err(unreadable)?;
    fs::read_dir(&whole).map_err(unreadable)?;
    let app = label(&whole.file_name().unwrap_or_default().to_string_lossy(), "app");
    let mut parts: Vec<Part> = part::look(&whole, ".").into_iter().collect();
    if parts.is_empty() {
        for child in folders(&whole) {
            let below = part::look(&whole.join(&child), &child);
            if below.is_none() {
                // apps/web, services/api, packages/worker
                let grandchildren =
                    folders(&whole.join(&child)).into_iter().map(|grandchild| format!("{child}/{grandchild}"));
                parts.extend(grandchildren.filter_map(|path| part::look(&whole.join(&path), &path)));
            }
            parts.extend(below);
        }
        parts.truncate(MOST_PARTS);
    }
    Ok(write(&app, &whole, &parts))
}

/// The folders directly below, sorted, without hidden ones and those that hold no part of an application.
fn folders(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| !name.starts_with('.') && !PASSED_OVER.contains(&name.as_str()) && part::is_plain(name))
        .collect();
    names.sort();
    names.truncate(100);
    names
}

/// `text` as a name: small letters, digits and `-`; `otherwise` when nothing of it can be used.
fn label(text: &str, otherwise: &str) -> String {
    let mut name = String::new();
    for c in text.chars() {
        match c.to_ascii_lowercase() {
            c @ ('a'..='z' | '0'..='9') => name.push(c),
            _ if name.ends_with('-') || name.is_empty() => {}
            _ => name.push('-'),
        }
    }
    let name: String = name.trim_start_matches(|c: char| !c.is_ascii_lowercase()).chars().take(48).collect();
    let name = name.trim_end_matches('-');
    if ResourceName::new(name).is_ok() && AppName::new(name).is_ok() { name.to_owned() } else { otherwise.to_owned() }
}

fn write(app: &str, whole: &Path, parts: &[Part]) -> String {
    let mut text = format!(
        "# What this application is made of and where it runs. Every key: `slipway schema`, or the reference.\n\
         # `slipway check` tells everything that is wrong with this file.\n\n\
         app = \"{app}\"\n"
    );
    let mut taken = BTreeSet::new();
    let names: Vec<String> = parts.iter().map(|part| free_name(part, &mut taken)).collect();
    let database = find_migrations(whole, parts);
    for (number, (part, name)) in (0u16..).zip(parts.iter().zip(&names)) {
        text += &part.describe(name, 4000 + number, database.is_some());
    }
    if parts.is_empty() {
        text += EMPTY;
    }
    match &database {
        Some((folder, engine)) => {
            // writing to a String cannot fail
            let _ = write!(
                text,
                "\n[database.main]\nengine = \"{engine}\"\nmigrations = \"{folder}\"   # NNN_name.up.sql and NNN_name.down.sql, in order\n\
                 # backup = {{ at = \"03:00\", keep = \"30d 12w 12m\", to = [\"bucket.backups\"] }}\n"
            );
        }
        None => text += NO_DATABASE,
    }
    text += &routes(parts, &names);
    text += CLOSING;
    text
}

/// The part's name, made different from those before it.
fn free_name(part: &Part, taken: &mut BTreeSet<String>) -> String {
    let last = part.dir.rsplit('/').next().unwrap_or_default();
    let wanted = label(if last == "." { "" } else { last }, part.usual_name());
    let mut name = wanted.clone();
    let mut number = 2;
    while !taken.insert(name.clone()) {
        let suffix = format!("-{number}");
        name = format!("{}{suffix}", wanted.chars().take(48 - suffix.len()).collect::<String>().trim_end_matches('-'));
        number += 1;
    }
    name
}

/// A folder of SQL migrations, and the engine they are most likely for.
fn find_migrations(whole: &Path, parts: &[Part]) -> Option<(String, &'static str)> {
    let dirs = [".".to_owned()].into_iter().chain(parts.iter().map(|part| part.dir.clone()));
    let candidates =
        dirs.flat_map(|dir| ["migrations", "db/migrations", "db/migrate"].map(|folder| join(&dir, folder)));
    let holds_sql = |folder: &String| {
        let files = fs::read_dir(whole.join(folder)).into_iter().flatten().flatten();
        files.take(1000).any(|file| file.file_name().to_string_lossy().ends_with(".sql"))
    };
    let folder = candidates.into_iter().find(holds_sql)?;
    let sqlite = parts.iter().any(|part| part.uses_sqlite);
    Some((folder, if sqlite { "sqlite" } else { "postgres:17" }))
}

fn join(dir: &str, path: &str) -> String {
    if dir == "." { path.to_owned() } else { format!("{dir}/{path}") }
}

/// One route: pages at `/`, the first service below `/api`, or at `/` when there are no pages.
fn routes(parts: &[Part], names: &[String]) -> String {
    let find = |site: bool| {
        parts.iter().zip(names).find(|(part, _)| part.answers() && part.is_site() == site).map(|(_, name)| name)
    };
    let lines = match (find(true), find(false)) {
        (None, None) => return String::new(),
        (Some(site), None) => format!("\"/\" = \"site.{site}\"\n"),
        (None, Some(service)) => format!("\"/\" = \"service.{service}\"\n"),
        (Some(site), Some(service)) => format!("\"/\" = \"site.{site}\"\n\"/api\" = \"service.{service}\"\n"),
    };
    format!(
        "\n[route.\"*\"]                         # any host name; write your own, as in [route.\"example.com\"]\n{lines}"
    )
}

const EMPTY: &str = "
# Nothing here was recognised. A service is a long-running process:
#
# [service.web]
# run  = \"./server\"                # it is told its port in PORT
# port = 4000
# health = \"/health\"
#
# A site is a folder of static files:
#
# [site.web]
# build = \"npm ci && npm run build\"
# out   = \"dist\"
";

const NO_DATABASE: &str = "
# [database.main]                   # name it in `needs` of a service to get DATABASE_URL
# engine = \"postgres:17\"            # or \"sqlite\"
# migrations = \"migrations\"
";

const CLOSING: &str = "
# [variable]                        # what must be set where it runs; read it as ${NAME} in `env`
# SESSION_SECRET = { secret = true, min_length = 32 }
# LOG_LEVEL = { one_of = [\"debug\", \"info\", \"warn\"], default = \"info\" }

# [alarm]                           # what should wake somebody, on targets that watch it
# errors = \"http.errors > 5% for 5m\"
# memory = \"memory > 90% for 5m\"

[environment.dev]                   # slipway up
target = \"local\"

[environment.production]            # slipway deploy --env production
target = \"local\"                    # this machine; or \"hosts\" with hosts = [\"deploy@203.0.113.7\"]
listen = \"0.0.0.0:8081\"             # \"0.0.0.0:80\" once the agent may use it
data = \"real\"
";
