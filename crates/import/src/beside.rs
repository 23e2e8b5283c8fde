//! What one file says that the reader of another has to know before it begins.

use std::collections::{BTreeMap, BTreeSet};

use crate::detect::File;

/// A line of a crontab that runs a service of a compose file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Scheduled {
    /// Five fields, or an alias.
    pub(crate) cron: String,
    /// IANA name, when the file says one.
    pub(crate) zone: Option<String>,
}

/// What was found in all files before any is read.
#[derive(Debug, Default)]
pub(crate) struct Beside {
    /// When services of compose files are run, by name.
    pub(crate) schedules: BTreeMap<String, Scheduled>,
    /// Dockerfiles that carry the configuration of a proxy, relative to what is imported.
    pub(crate) proxies: BTreeSet<String>,
    /// Applications whose systemd units stand together behind a target of their name.
    pub(crate) targets: BTreeSet<String>,
    /// Pages that such a Dockerfile builds, by the folder of the image they end in.
    pub(crate) pages: BTreeMap<String, Pages>,
}

/// Pages that a stage of a Dockerfile builds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Pages {
    /// The Dockerfile.
    pub(crate) file: String,
    /// The folder they are built from, relative to the context.
    pub(crate) dir: String,
    /// What builds them.
    pub(crate) build: Option<String>,
    /// Where they are then, relative to `dir`.
    pub(crate) out: String,
}

impl Beside {
    /// Looks through all files.
    pub(crate) fn of<'f>(files: impl IntoIterator<Item = &'f File> + Clone) -> Self {
        let mut beside = Self::default();
        for file in files.clone() {
            beside.targets.extend(last(&file.name).strip_suffix(".target").map(str::to_owned));
            if is_crontab(&file.name) {
                beside
                    .schedules
                    .extend(lines(&file.text).into_iter().filter_map(|line| Some((line.service?, line.when))));
            }
        }
        let proxies: BTreeSet<&str> =
            files.clone().into_iter().filter(|file| passes_on(file)).map(|file| file.name.as_str()).collect();
        for file in files {
            let copies = || {
                file.text
                    .lines()
                    .map(str::split_whitespace)
                    .filter_map(|mut words| matches!(words.next()?, "COPY" | "ADD").then(|| words.next()).flatten())
            };
            let carries = |from: &str| {
                let from = from.trim_start_matches("./");
                proxies.iter().any(|proxy| *proxy == from || proxy.ends_with(&format!("/{from}")))
            };
            if is_dockerfile(&file.name) && copies().any(carries) {
                beside.proxies.insert(file.name.clone());
                beside.pages.extend(pages(file));
            }
        }
        beside
    }
}

/// The last part of a path, in small letters.
fn last(path: &str) -> String {
    path.rsplit('/').next().unwrap_or(path).to_ascii_lowercase()
}

/// What follows the last dot of a name.
fn ending(name: &str) -> &str {
    name.rsplit_once('.').map_or("", |(_, ending)| ending)
}

/// Whether a file is a crontab by its name.
pub(crate) fn is_crontab(path: &str) -> bool {
    let name = last(path);
    name == "crontab" || ending(&name) == "cron" || path.split('/').rev().nth(1) == Some("cron.d")
}

/// Whether a file is a Dockerfile by its name.
pub(crate) fn is_dockerfile(path: &str) -> bool {
    let name = last(path);
    name.starts_with("dockerfile") || name.ends_with(".dockerfile")
}

/// Whether a file is the configuration of an nginx that passes requests on, or that serves pages by their host names.
pub(crate) fn passes_on(file: &File) -> bool {
    let named = || {
        let names = file.text.lines().filter_map(|line| line.trim().strip_prefix("server_name "));
        names.flat_map(str::split_whitespace).any(|name| name.contains('.'))
    };
    ending(&last(&file.name)) == "conf" && file.text.contains("server") && (file.text.contains("proxy_pass") || named())
}

/// The image that the last stage of a Dockerfile is built on; `None` when it is an earlier stage.
pub(crate) fn base(text: &str) -> Option<&str> {
    let from = |line: &'_ str| {
        let mut words = line.split_whitespace();
        words.next().is_some_and(|word| word.eq_ignore_ascii_case("from"))
    };
    let last = text.lines().rfind(|line| from(line))?;
    last.split_whitespace().skip(1).find(|word| !word.starts_with("--"))
}

/// The pages that the last stage of a Dockerfile takes from others.
fn pages(file: &File) -> Vec<(String, Pages)> {
    let mut stages: BTreeMap<String, (String, String, Vec<String>)> = BTreeMap::new();
    let (mut stage, mut found) = (String::new(), Vec::new());
    for line in file.text.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        let own = stages.entry(stage.clone()).or_insert_with(|| ("/".to_owned(), ".".to_owned(), Vec::new()));
        match words[..] {
            ["FROM", .., "AS" | "as", name] => name.clone_into(&mut stage),
            ["FROM", ..] => stage.clear(),
            ["WORKDIR", folder] => folder.clone_into(&mut own.0),
            ["RUN", ref words @ ..] => own.2.push(words.join(" ")),
            ["COPY", from, to] if from.starts_with("--") || to.starts_with('/') => {}
            ["COPY", from, _] => from.trim_end_matches('/').clone_into(&mut own.1),
            ["COPY", from, path, to] => {
                let Some((work, dir, runs)) = from.strip_prefix("--from=").and_then(|name| stages.get(name)) else {
                    continue;
                };
                let out = path.strip_prefix(work.as_str()).map_or("", |out| out.trim_matches('/'));
                let out = if out.is_empty() { "." } else { out }.to_owned();
                let build = (!runs.is_empty()).then(|| runs.join(" && "));
                let pages = Pages { file: file.name.clone(), dir: dir.clone(), build, out };
                found.push((to.trim_end_matches('/').to_owned(), pages));
            }
            _ => {}
        }
    }
    found
}

/// One line of a crontab that runs something.
pub(crate) struct Line {
    /// From 1.
    pub(crate) number: usize,
    pub(crate) when: Scheduled,
    /// The service of a compose file that it runs.
    pub(crate) service: Option<String>,
    /// What it runs.
    pub(crate) command: String,
}

/// The lines of a crontab, of a user or of the system.
pub(crate) fn lines(text: &str) -> Vec<Line> {
    let mut found = Vec::new();
    let mut zone = None;
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if let Some((name, value)) = line.split_once('=').map(|(name, value)| (name.trim(), value.trim()))
            && !name.is_empty()
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
        {
            if name == "CRON_TZ" || name == "TZ" {
                zone = Some(value.trim_matches(['"', '\'']).to_owned());
            }
            continue;
        }
        let fields = if line.starts_with('@') { 1 } else { 5 };
        let words: Vec<&str> = line.split_whitespace().collect();
        if line.is_empty() || line.starts_with('#') || words.len() <= fields {
            continue;
        }
        let (cron, command) = words.split_at(fields);
        let when = Scheduled { cron: cron.join(" "), zone: zone.clone() };
        let command = command.join(" ");
        found.push(Line { number: index + 1, when, service: composed(&command), command });
    }
    found
}

/// The service that `docker compose run|exec|start` names in a command line.
fn composed(command: &str) -> Option<String> {
    let at = command.find("docker compose ").or_else(|| command.find("docker-compose "))?;
    let mut words = command[at..].split_whitespace().skip_while(|word| !["run", "exec", "start", "up"].contains(word));
    words.next()?;
    while let Some(word) = words.next() {
        match word {
            "-e" | "--env" | "-v" | "--volume" | "-u" | "--user" | "-w" | "--workdir" | "-p" | "--publish"
            | "--name" | "--entrypoint" | "-l" | "--label" => drop(words.next()),
            _ if word.starts_with('-') => {}
            _ => return Some(word.to_owned()),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(name: &str, text: &str) -> File {
        File { name: name.to_owned(), text: text.to_owned() }
    }

    #[test]
    fn crontabs_say_when_services_run() {
        let text = "# nightly\nMAILTO=ops@example.com\n0 3 * * * root cd /opt/a && docker compose --profile jobs run --rm -T clean\nCRON_TZ=Europe/Berlin\n@daily docker-compose run --rm match\n*/5 * * * * /usr/bin/poll\n";
        let found: Vec<_> =
            lines(text).into_iter().map(|line| (line.when.cron, line.when.zone, line.service)).collect();
        let berlin = Some("Europe/Berlin".to_owned());
        assert_eq!(
            found,
            [
                ("0 3 * * *".to_owned(), None, Some("clean".to_owned())),
                ("@daily".to_owned(), berlin.clone(), Some("match".to_owned())),
                ("*/5 * * * *".to_owned(), berlin, None),
            ]
        );
    }

    #[test]
    fn an_image_with_the_configuration_of_a_proxy_is_one() {
        let files = [
            file("edge/nginx.conf", "server { location / { proxy_pass http://web; } }"),
            file("pages/nginx.conf", "server { root /srv; }"),
            file("edge/Dockerfile", "FROM nginx:1\nCOPY nginx.conf /etc/nginx/nginx.conf\n"),
            file("web.Dockerfile", "FROM nginx:1\nCOPY pages/nginx.conf /etc/nginx/\n"),
        ];
        let beside = Beside::of(&files);
        assert_eq!(beside.proxies, BTreeSet::from(["edge/Dockerfile".to_owned()]));
    }
}
