//! Dockerfiles for what is built in a folder: the tools of its language to build, no more than it needs to run.

use stack::{FolderSource, Site};

use crate::File;

/// Base images by the first word of a command: to build, and to run. Majors are pinned; digests are the builder's.
const LANGUAGES: [(&[&str], &str, &str); 9] = [
    (&["node", "npm", "npx", "yarn", "pnpm", "tsx"], "node:22-bookworm-slim", "node:22-bookworm-slim"),
    (
        &["python", "python3", "pip", "uv", "gunicorn", "uvicorn", "flask", "celery"],
        "python:3.13-slim-bookworm",
        "python:3.13-slim-bookworm",
    ),
    (&["ruby", "bundle", "rails", "rake"], "ruby:3.4-slim-bookworm", "ruby:3.4-slim-bookworm"),
    (&["php", "composer"], "php:8.4-cli-bookworm", "php:8.4-cli-bookworm"),
    (&["java", "mvn", "./mvnw", "gradle", "./gradlew"], "eclipse-temurin:21-jdk-jammy", "eclipse-temurin:21-jre-jammy"),
    (&["bun"], "oven/bun:1-debian", "oven/bun:1-debian"),
    (&["deno"], "denoland/deno:debian-2.5.0", "denoland/deno:debian-2.5.0"),
    (&["cargo"], "rust:1-bookworm", "debian:bookworm-slim"),
    (&["go", "make"], "golang:1-bookworm", "debian:bookworm-slim"),
];

fn images(build: Option<&str>, run: &str) -> (&'static str, &'static str) {
    let first = |text: &str| text.split_whitespace().next().unwrap_or_default().to_owned();
    let find = |word: &str| LANGUAGES.iter().find(|(words, ..)| words.contains(&word));
    let by_run = find(&first(run));
    let by_build = build.and_then(|build| find(&first(build)));
    let runs = by_run.or(by_build).map_or("debian:bookworm-slim", |(_, _, run)| *run);
    let builds = by_build.or(by_run).map_or("debian:bookworm-slim", |(_, build, _)| *build);
    (builds, runs)
}

/// A command as the JSON form of `CMD`: without a shell where none is needed, so that signals reach the program.
pub(crate) fn arguments(run: &str) -> Vec<String> {
    words(run).unwrap_or_else(|| vec!["sh".to_owned(), "-c".to_owned(), format!("exec {run}")])
}

/// The words of a command that a shell would only split; `None` when it would do more.
fn words(run: &str) -> Option<Vec<String>> {
    let mut words: Vec<String> = Vec::new();
    let mut open = false;
    let mut chars = run.chars();
    while let Some(c) = chars.next() {
        if c == ' ' {
            open = false;
            continue;
        }
        if !open {
            words.push(String::new());
            open = true;
        }
        let word = words.last_mut()?;
        match c {
            '\'' | '"' => loop {
                match chars.next()? {
                    end if end == c => break,
                    '$' | '`' | '\\' if c == '"' => return None,
                    inside => word.push(inside),
                }
            },
            c if c.is_ascii_alphanumeric() || "./_-:=@,+%".contains(c) => word.push(c),
            _ => return None,
        }
    }
    // a variable before the program is the shell's
    words.first().is_some_and(|first| !first.is_empty() && !first.contains('=')).then_some(words)
}

fn copy_from(dir: &str) -> String {
    if dir == "." { ".".to_owned() } else { format!("{dir}/") }
}

/// The Dockerfile of a program built in a folder. Its context is the stack file's folder.
pub(crate) fn program(name: &str, source: &FolderSource, run: &str, port: Option<u16>) -> File {
    use std::fmt::Write as _;

    let (builds, runs) = images(source.build.as_deref(), run);
    let mut body = format!("FROM {builds} AS build\nWORKDIR /app\nCOPY {} ./\n", copy_from(&source.dir));
    if let Some(build) = &source.build {
        // writing to a String cannot fail
        let _ = writeln!(body, "RUN {build}");
    }
    let _ = write!(body, "\nFROM {runs}\nENV NODE_ENV=production\nWORKDIR /app\n");
    if !runs.starts_with("node") && !runs.starts_with("oven") {
        body = body.replace("ENV NODE_ENV=production\n", "");
    }
    if source.out.is_empty() {
        body.push_str("COPY --from=build /app ./\n");
    }
    for path in &source.out {
        let _ = writeln!(body, "COPY --from=build /app/{path} ./{path}");
    }
    body.push_str("# not root: 65532 owns nothing in the image\nUSER 65532:65532\n");
    if let Some(port) = port {
        let _ = writeln!(body, "EXPOSE {port}");
    }
    let command = serde_json::to_string(&arguments(run)).unwrap_or_default().replace("\",\"", "\", \"");
    let _ = writeln!(body, "CMD {command}");
    let about = "Build it from the stack file's folder.";
    File::new(format!("docker/{name}.Dockerfile"), about, &body)
}

/// The Dockerfile of the edge: nginx with its configuration and the sites it serves.
pub(crate) fn edge(sites: &[(&str, &Site)], folder: &str) -> File {
    use std::fmt::Write as _;

    let mut body = String::new();
    for (name, site) in sites {
        let (builds, _) = images(site.source.build.as_deref(), "");
        // writing to a String cannot fail
        let _ = write!(body, "FROM {builds} AS {name}\nWORKDIR /app\nCOPY {} ./\n", copy_from(&site.source.dir));
        if let Some(build) = &site.source.build {
            let _ = writeln!(body, "RUN {build}");
        }
        body.push('\n');
    }
    body.push_str("FROM nginxinc/nginx-unprivileged:1.29-alpine\n");
    let _ = writeln!(body, "COPY {folder}/edge/nginx.conf /etc/nginx/nginx.conf");
    for (name, site) in sites {
        let out = site.source.out.first().map_or(".", String::as_str);
        let _ = writeln!(body, "COPY --from={name} /app/{out} /srv/{name}");
    }
    body.push_str("EXPOSE 8080\n");
    File::new("docker/edge.Dockerfile", "Build it from the stack file's folder.", &body)
}

/// The step that migrates a database by SQL files: psql, one transaction per file, in order, never twice
/// (S4.P2, S4.P3), under a lock of the database. It writes the table that `slipway migrate` takes over (S4.3).
pub(crate) fn migrate(folder: &str) -> [File; 2] {
    let image = format!(
        "FROM postgres:17-alpine\nARG FOLDER=migrations\nCOPY ${{FOLDER}}/ /migrations/\n\
         COPY {folder}/docker/migrate.sh /migrate.sh\nUSER 65532:65532\nCMD [\"sh\", \"/migrate.sh\"]\n"
    );
    let script = format!("#!/bin/sh\n# {}\n{SCRIPT}", crate::file::MARK);
    [
        File::new("docker/migrate.Dockerfile", "Build it from the stack file's folder.", &image),
        File { path: "docker/migrate.sh".to_owned(), text: script },
    ]
}

const SCRIPT: &str = r#"set -eu
export PGOPTIONS=--client-min-messages=warning
sql() { psql "$DATABASE_URL" --no-psqlrc --quiet --tuples-only --set ON_ERROR_STOP=1 "$@"; }
sql --command "create table if not exists migrations (id serial primary key, version bigint not null unique, name text not null, applied_at timestamptz not null default now())"
find /migrations -name '*.up.sql' | sort | while read -r file; do
    name=$(basename "$file" .up.sql)
    version=$(echo "${name%%_*}" | sed 's/^0*//')
    echo "$name"
    # the lock, the look and the change are one transaction
    sql --set version="${version:-0}" --set name="${name#*_}" --set file="$file" <<'SQL'
begin;
select pg_advisory_xact_lock(731995) \g /dev/null
select not exists (select from migrations where version = :version) as wanted \gset
\if :wanted
\i :file
insert into migrations (version, name) values (:version, :'name');
\endif
commit;
SQL
done
"#;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shell_runs_only_what_needs_one() {
        for (run, words) in [
            ("node a.js --flag 'x y'", vec!["node", "a.js", "--flag", "x y"]),
            ("sh -c \"a && b\"", vec!["sh", "-c", "a && b"]),
            ("sh -c 'echo $HOME'", vec!["sh", "-c", "echo $HOME"]),
            ("run --empty ''", vec!["run", "--empty", ""]),
            ("A=b run", vec!["sh", "-c", "exec A=b run"]),
            ("run $PORT", vec!["sh", "-c", "exec run $PORT"]),
            ("run \"$PORT\"", vec!["sh", "-c", "exec run \"$PORT\""]),
            ("run 'open", vec!["sh", "-c", "exec run 'open"]),
            ("a && b", vec!["sh", "-c", "exec a && b"]),
        ] {
            assert_eq!(arguments(run), words, "{run}");
        }
    }
}
