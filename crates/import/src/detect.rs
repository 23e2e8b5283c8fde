//! Which files there are, in which order they are read, and what is made of them together.

use std::{
    fs,
    io::Read,
    path::{Path, PathBuf},
};

use crate::{
    Imported, beside,
    beside::Beside,
    draft::Draft,
    error::ImportError,
    readers,
    report::{Entry, Fate, Report},
};

/// Largest file that is read, in bytes.
const MOST_BYTES: u64 = 4 << 20;
/// Most files of one import.
const MOST_FILES: usize = 2000;

/// A file that is read.
pub(crate) struct File {
    /// Relative to what is imported.
    pub(crate) name: String,
    /// What is in it.
    pub(crate) text: String,
}

type Reader = fn(&File, &mut Draft) -> Result<Vec<Entry>, String>;
/// Reads files whose parts refer to each other; fails with the file that is wrong, and why.
type Together = fn(&[&File], &mut Draft) -> Result<Vec<Entry>, (String, String)>;

/// What a person is told can be imported.
const KNOWN: &str = "compose files, Procfile, .env, Dockerfile, package.json, Kubernetes YAML, Terraform, GitHub workflows, systemd units, \
                     crontabs, configurations of nginx, Kamal's deploy.yml, fly.toml and app.json";

/// Reads a file, or all known files of a folder, into a stack.
///
/// Nothing is run, called or written. Files larger than 4 MiB, deeper than 64 levels, or made to be expanded without end are
/// refused. What one file cannot say is never invented: the report has an entry for every key of every file.
///
/// Fails when something cannot be read or is malformed, and when nothing there is known.
pub fn import(path: &Path) -> Result<Imported, ImportError> {
    let unreadable = |source| ImportError::Unreadable { path: path.display().to_string(), source };
    let about = fs::metadata(path).map_err(unreadable)?;
    let (folder, names) = if about.is_dir() {
        (path.to_owned(), list(path)?)
    } else {
        let folder = path.parent().map_or_else(PathBuf::new, Path::to_owned);
        (folder, vec![path.file_name().unwrap_or_default().to_string_lossy().into_owned()])
    };
    let mut draft = Draft::default();
    let mut report = Report::default();
    let mut found: Vec<(usize, File, Reader)> = Vec::new();
    let (mut terraform, mut manifests): (Vec<File>, Vec<File>) = (Vec::new(), Vec::new());
    for name in names {
        let file = File { text: read(&folder.join(&name))?, name };
        if ends_with(&file.name, &[".tf", ".tfvars"]) {
            terraform.push(file);
        } else if is_manifest(&file) {
            manifests.push(file);
        } else if let Some((rank, reader)) = reader(&file) {
            found.push((rank, file, reader));
        }
    }
    draft.beside = Beside::of(found.iter().map(|(_, file, _)| file));
    found.sort_by(|one, other| (one.0, &one.1.name).cmp(&(other.0, &other.1.name)));
    // what declares services comes first: compose files, then manifests
    let rest = found.iter().position(|(rank, ..)| *rank > 0).unwrap_or(found.len());
    one_by_one(&found[..rest], &mut draft, &mut report)?;
    together(readers::kubernetes::read, &manifests, &mut draft, &mut report)?;
    one_by_one(&found[rest..], &mut draft, &mut report)?;
    together(readers::terraform::read, &terraform, &mut draft, &mut report)?;
    if report.files.is_empty() {
        return Err(ImportError::Nothing { path: path.display().to_string(), known: KNOWN.to_owned() });
    }
    if draft.app.is_none() {
        let whole = fs::canonicalize(&folder).unwrap_or_else(|_| folder.clone());
        draft.app = whole.file_name().map(|name| name.to_string_lossy().into_owned());
    }
    finish(&mut draft);
    let stack = draft.write(&report.files);
    // what the written file itself lacks belongs into the report as well
    for problem in &stack::check("slipway.toml", &stack) {
        report.entries.push(Entry {
            file: "slipway.toml".to_owned(),
            line: problem.span.as_ref().map(|span| stack[..span.start.min(stack.len())].matches('\n').count() + 1),
            key: if problem.key.is_empty() { ".".to_owned() } else { problem.key.clone() },
            fate: Fate::Refused,
            reason: match &problem.mend {
                Some(mend) => format!("to do: {}; {mend}", problem.message),
                None => format!("to do: {}", problem.message),
            },
            trap: None,
        });
    }
    Ok(Imported { stack, report })
}

fn one_by_one(files: &[(usize, File, Reader)], draft: &mut Draft, report: &mut Report) -> Result<(), ImportError> {
    for (_, file, reader) in files {
        let entries =
            reader(file, draft).map_err(|reason| ImportError::Malformed { path: file.name.clone(), reason })?;
        report.files.push(file.name.clone());
        report.entries.extend(entries);
    }
    Ok(())
}

/// Reads files whose parts refer to each other.
fn together(reader: Together, files: &[File], draft: &mut Draft, report: &mut Report) -> Result<(), ImportError> {
    let all: Vec<&File> = files.iter().collect();
    let entries = reader(&all, draft).map_err(|(path, reason)| ImportError::Malformed { path, reason })?;
    report.files.extend(files.iter().map(|file| file.name.clone()));
    report.entries.extend(entries);
    Ok(())
}

/// Whether a file holds manifests of Kubernetes.
fn is_manifest(file: &File) -> bool {
    let starts = |start: &str| file.text.lines().any(|line| line.starts_with(start));
    ends_with(&file.name, &[".yml", ".yaml"])
        && !file.name.contains(".github/workflows/")
        && starts("apiVersion:")
        && starts("kind:")
}

/// What every stack needs and no file said.
fn finish(draft: &mut Draft) {
    if draft.open {
        readers::compose::route::standard(draft);
    }
    if draft.names("environment").is_empty() {
        draft.section("environment", "dev").set_with("target", "local", "slipway up");
    }
}

/// Known files of a folder and of the folders that usually hold them, relative and sorted.
fn list(root: &Path) -> Result<Vec<String>, ImportError> {
    let mut names = Vec::new();
    let mut folders = vec![(String::new(), 0usize)];
    while let Some((folder, depth)) = folders.pop() {
        let here = root.join(&folder);
        // templates of a chart are YAML only when Helm has read them
        if here.join("Chart.yaml").is_file() {
            continue;
        }
        let entries = fs::read_dir(&here)
            .map_err(|source| ImportError::Unreadable { path: here.display().to_string(), source })?;
        for entry in entries.flatten() {
            let Ok(name) = entry.file_name().into_string() else { continue };
            let path = if folder.is_empty() { name.clone() } else { format!("{folder}/{name}") };
            let Ok(kind) = entry.file_type() else { continue };
            let passed = [
                "node_modules",
                "target",
                ".git",
                "vendor",
                ".terraform",
                "dist",
                "build",
                ".venv",
                "__pycache__",
                "charts",
            ];
            if kind.is_dir() && depth < 4 && !passed.contains(&name.as_str()) {
                folders.push((path, depth + 1));
            } else if kind.is_file() && promising(&path) {
                names.push(path);
            }
            if names.len() > MOST_FILES {
                let reason = format!("more than {MOST_FILES} files; import a folder with fewer");
                return Err(ImportError::Malformed { path: here.display().to_string(), reason });
            }
        }
    }
    names.sort();
    Ok(names)
}

fn read(path: &Path) -> Result<String, ImportError> {
    let unreadable = |source| ImportError::Unreadable { path: path.display().to_string(), source };
    let mut file = fs::File::open(path).map_err(unreadable)?;
    let bytes = file.metadata().map_err(unreadable)?.len();
    if bytes > MOST_BYTES {
        return Err(ImportError::TooLarge { path: path.display().to_string(), bytes, most: MOST_BYTES });
    }
    let mut text = Vec::new();
    // it may grow while it is read
    file.by_ref().take(MOST_BYTES + 1).read_to_end(&mut text).map_err(unreadable)?;
    if text.len() as u64 > MOST_BYTES {
        return Err(ImportError::TooLarge {
            path: path.display().to_string(),
            bytes: text.len() as u64,
            most: MOST_BYTES,
        });
    }
    String::from_utf8(text).map_err(|_| ImportError::Malformed {
        path: path.display().to_string(),
        reason: "this is not UTF-8 text; import the file it was made from".to_owned(),
    })
}

fn ends_with(name: &str, ends: &[&str]) -> bool {
    let name = name.to_ascii_lowercase();
    ends.iter().any(|end| name.ends_with(end))
}

/// Whether a name of a folder's file is worth a look.
fn promising(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path).to_ascii_lowercase();
    ends_with(&name, &[".yml", ".yaml", ".tf", ".tfvars", ".service", ".timer", ".target", ".sh"])
        || name.starts_with(".env")
        || beside::is_dockerfile(path)
        || beside::is_crontab(path)
        || ends_with(&name, &[".conf"])
        || ["procfile", "package.json", "app.json", "fly.toml", "postgresql.conf", "pg_hba.conf", "recovery.conf"]
            .contains(&name.as_str())
}

/// The reader for a file, and its rank: what declares data services comes first.
fn reader(file: &File) -> Option<(usize, Reader)> {
    let name = file.name.rsplit('/').next().unwrap_or(&file.name).to_ascii_lowercase();
    let starts = |start: &str| file.text.lines().any(|line| line.starts_with(start));
    if ends_with(&name, &[".yml", ".yaml"]) {
        let on = starts("on:") || starts("\"on\":") || starts("'on':");
        if file.name.contains(".github/workflows/") || (starts("jobs:") && on) {
            return Some((7, readers::workflow::read));
        }
        if name == "deploy.yml" && starts("service:") && (starts("servers:") || starts("image:")) {
            return Some((2, readers::platforms::kamal));
        }
        let compose = name.starts_with("compose") || name.starts_with("docker-compose") || starts("services:");
        return compose.then_some((0, readers::compose::read as Reader));
    }
    Some(match name.as_str() {
        "procfile" => (3, readers::plain::procfile),
        "fly.toml" => (2, readers::platforms::fly),
        "app.json" => (4, readers::plain::heroku),
        "package.json" => (6, readers::plain::package),
        "postgresql.conf" | "pg_hba.conf" | "recovery.conf" => (8, readers::script::read),
        _ if name.starts_with(".env") => (5, readers::plain::dotenv),
        _ if beside::is_dockerfile(&file.name) => (5, readers::plain::dockerfile),
        _ if beside::passes_on(file) => (7, readers::nginx::read),
        _ if beside::is_crontab(&file.name) => (9, readers::crontab::read),
        _ if ends_with(&name, &[".target"]) => (3, readers::systemd::target),
        _ if ends_with(&name, &[".timer"]) => (3, readers::systemd::read),
        _ if ends_with(&name, &[".service"]) => (4, readers::systemd::read),
        _ if ends_with(&name, &[".sh"]) => (8, readers::script::read),
        _ => return None,
    })
}
