//! One folder of an application: what its well-known files say about it.

use std::{fmt::Write as _, fs, io::Read as _, path::Path};

use serde_json::Value;

/// Most bytes read of one file.
const MOST_BYTES: u64 = 1 << 20;

/// What was recognised in one folder.
pub(super) struct Part {
    /// Relative to the application's folder; `.` is that folder itself.
    pub(super) dir: String,
    pub(super) uses_sqlite: bool,
    program: Program,
}

/// What kind of thing it is.
pub(super) enum Program {
    /// A folder that is built and run.
    Service { what: &'static str, build: Option<String>, run: String, out: Option<String>, web: bool },
    /// A folder that is built into pages.
    Site { what: &'static str, build: Option<String>, out: &'static str, spa: bool },
    /// A Dockerfile.
    Image,
}

/// Whether a text can stand in quotes and in a path as it is.
pub(super) fn is_plain(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
}

/// Recognises the folder, if it holds anything well known.
pub(super) fn look(folder: &Path, dir: &str) -> Option<Part> {
    let read = |name: &str| read(&folder.join(name));
    let (package, cargo, go) = (read("package.json"), read("Cargo.toml"), read("go.mod"));
    let python = [read("pyproject.toml"), read("requirements.txt"), read("Pipfile")]
        .into_iter()
        .flatten()
        .collect::<Vec<_>>()
        .join("\n");
    let gemfile = read("Gemfile");
    let all = [&package, &cargo, &go, &gemfile]
        .into_iter()
        .flatten()
        .map(String::as_str)
        .chain([python.as_str()])
        .collect::<Vec<_>>()
        .join("\n");
    let uses_sqlite =
        all.contains("sqlite") && !all.contains("postgres") && !all.contains("\"pg\"") && !all.contains("psycopg");
    let program = procfile(folder, &all)
        .or_else(|| package.as_deref().and_then(|text| node(folder, text)))
        .or_else(|| cargo.as_deref().and_then(|text| rust(folder, text)))
        .or_else(|| (!python.is_empty()).then(|| self::python(folder, &python)).flatten())
        .or_else(|| go.as_deref().map(|_| self::go()))
        .or_else(|| gemfile.as_deref().map(ruby))
        .or_else(|| folder.join("Dockerfile").is_file().then_some(Program::Image))
        .or_else(|| {
            folder.join("index.html").is_file().then_some(Program::Site {
                what: "plain pages",
                build: None,
                out: ".",
                spa: false,
            })
        })?;
    Some(Part { dir: dir.to_owned(), uses_sqlite, program })
}

fn read(path: &Path) -> Option<String> {
    let mut text = String::new();
    fs::File::open(path).ok()?.take(MOST_BYTES).read_to_string(&mut text).ok()?;
    Some(text)
}

fn service(what: &'static str, build: Option<&str>, run: impl Into<String>, out: Option<String>) -> Program {
    Program::Service { what, build: build.map(str::to_owned), run: run.into(), out, web: true }
}

/// The `web` line of a Procfile, or its first.
fn procfile(folder: &Path, manifests: &str) -> Option<Program> {
    let text = read(&folder.join("Procfile"))?;
    let lines: Vec<(&str, &str)> = text
        .lines()
        .filter(|line| !line.trim_start().starts_with('#'))
        .filter_map(|line| line.split_once(':'))
        .collect();
    let (name, run) = lines.iter().find(|(name, _)| name.trim() == "web").or(lines.first())?;
    let run = run.trim();
    let clean = !run.is_empty() && !run.chars().any(char::is_control);
    let build = if folder.join("package.json").is_file() {
        Some(npm_build(folder, manifests.contains("\"build\"")))
    } else if folder.join("requirements.txt").is_file() {
        Some(PIP.to_owned())
    } else {
        folder.join("Gemfile").is_file().then(|| "bundle install".to_owned())
    };
    clean.then(|| Program::Service {
        what: "from its Procfile",
        build,
        run: run.to_owned(),
        out: None,
        web: name.trim() == "web",
    })
}

/// How its packages are installed and built.
fn npm_build(folder: &Path, has_build: bool) -> String {
    let has = |file: &str| folder.join(file).is_file();
    let (install, run) = if has("pnpm-lock.yaml") {
        ("pnpm install --frozen-lockfile", "pnpm run build")
    } else if has("yarn.lock") {
        ("yarn install --frozen-lockfile", "yarn build")
    } else if has("package-lock.json") {
        ("npm ci", "npm run build")
    } else {
        ("npm install", "npm run build")
    };
    if has_build { format!("{install} && {run}") } else { install.to_owned() }
}

fn node(folder: &Path, text: &str) -> Option<Program> {
    let package: Value = serde_json::from_str(text).ok()?;
    let uses = |name: &str| ["dependencies", "devDependencies"].iter().any(|group| package[*group].get(name).is_some());
    let script = |name: &str| package["scripts"][name].is_string();
    let build = npm_build(folder, script("build"));
    if uses("next") {
        return Some(service("Next.js", Some(&build), "npx next start -p $PORT", None));
    }
    let server = ["express", "fastify", "koa", "hono", "@nestjs/core", "ws", "socket.io"].iter().any(|name| uses(name));
    if !server && script("build") {
        let pages = [
            ("vite", "Vite", "dist"),
            ("react-scripts", "Create React App", "build"),
            ("astro", "Astro", "dist"),
            ("react", "React", "dist"),
            ("vue", "Vue", "dist"),
        ];
        if let Some((_, what, out)) = pages.into_iter().find(|(name, ..)| uses(name)) {
            return Some(Program::Site { what, build: Some(build), out, spa: what != "Astro" });
        }
    }
    let main = package["main"].as_str().filter(|main| main.split('/').all(is_plain));
    let run = match main {
        _ if script("start") => "npm start".to_owned(),
        Some(main) => format!("node {main}"),
        None => ["server.js", "index.js", "app.js"]
            .iter()
            .find(|file| folder.join(file).is_file())
            .map(|file| format!("node {file}"))?,
    };
    Some(service(if server { "a Node.js server" } else { "a Node.js program" }, Some(&build), run, None))
}

fn rust(folder: &Path, text: &str) -> Option<Program> {
    let manifest: toml::Table = text.parse().ok()?;
    let named = manifest.get("bin").and_then(|bins| bins.get(0)).and_then(|bin| bin.get("name"));
    let package = manifest.get("package").and_then(|package| package.get("name"));
    let program = folder.join("src/main.rs").is_file() || named.is_some();
    let name = named.or(package)?.as_str().filter(|name| program && is_plain(name))?;
    let path = format!("target/release/{name}");
    let in_workspace = folder
        .ancestors()
        .skip(1)
        .take(2)
        .any(|above| read(&above.join("Cargo.toml")).is_some_and(|text| text.contains("[workspace]")));
    // a workspace builds into its own folder, out of reach of this one
    let build = if in_workspace { "cargo build --release --target-dir target" } else { "cargo build --release" };
    Some(service("a Rust program", Some(build), path.clone(), Some(path)))
}

const PIP: &str = "python3 -m venv .venv && .venv/bin/pip install -r requirements.txt";

fn python(folder: &Path, text: &str) -> Option<Program> {
    let build = if folder.join("requirements.txt").is_file() {
        PIP
    } else {
        "python3 -m venv .venv && .venv/bin/pip install ."
    };
    let module = ["main", "app", "server", "wsgi"].into_iter().find(|name| folder.join(format!("{name}.py")).is_file());
    let text = text.to_lowercase();
    if text.contains("django") {
        let project =
            fs::read_dir(folder).into_iter().flatten().flatten().find(|entry| entry.path().join("wsgi.py").is_file());
        let name = project.and_then(|entry| entry.file_name().into_string().ok()).filter(|name| is_plain(name));
        let run = match name {
            Some(name) if text.contains("gunicorn") => format!(".venv/bin/gunicorn {name}.wsgi --bind 127.0.0.1:$PORT"),
            _ => ".venv/bin/python manage.py runserver 127.0.0.1:$PORT".to_owned(),
        };
        return Some(service("Django", Some(build), run, None));
    }
    let module = module?;
    let (what, run) = if text.contains("fastapi") {
        ("FastAPI", format!(".venv/bin/uvicorn {module}:app --port $PORT"))
    } else if text.contains("flask") {
        ("Flask", format!(".venv/bin/flask --app {module} run --port $PORT"))
    } else {
        ("a Python program", format!(".venv/bin/python {module}.py"))
    };
    Some(service(what, Some(build), run, None))
}

fn go() -> Program {
    service("a Go program", Some("go build -o bin/server ."), "bin/server", Some("bin/server".to_owned()))
}

fn ruby(text: &str) -> Program {
    let (what, run) = if text.contains("rails") {
        ("Rails", "bundle exec rails server -p $PORT -e production")
    } else {
        ("a Ruby program", "bundle exec rackup -p $PORT")
    };
    service(what, Some("bundle install"), run, None)
}

impl Part {
    /// The name when the folder itself gives none.
    pub(super) fn usual_name(&self) -> &'static str {
        if self.is_site() { "web" } else { "api" }
    }

    pub(super) fn is_site(&self) -> bool {
        matches!(self.program, Program::Site { .. })
    }

    /// Whether visitors can reach it.
    pub(super) fn answers(&self) -> bool {
        !matches!(self.program, Program::Service { web: false, .. })
    }

    /// Its table.
    pub(super) fn describe(&self, name: &str, port: u16, database: bool) -> String {
        let mut lines = Lines::default();
        let kind = if self.is_site() { "site" } else { "service" };
        let what = match &self.program {
            Program::Service { what, .. } | Program::Site { what, .. } => what,
            Program::Image => "from its Dockerfile",
        };
        lines.add("", "");
        lines.add(&format!("[{kind}.{name}]"), what);
        if self.dir != "." && !matches!(self.program, Program::Image) {
            lines.key("dir", &self.dir);
        }
        match &self.program {
            Program::Site { build, out, spa, .. } => {
                lines.key_if("build", build.as_deref());
                lines.key("out", out);
                if *spa {
                    lines.add("spa = true", "unknown paths get index.html");
                }
            }
            Program::Service { build, run, out, web, .. } => {
                lines.key_if("build", build.as_deref());
                lines.key_if("out", out.as_deref());
                lines.key("run", run);
                if *web {
                    lines.add(&format!("port = {port}"), "each instance is told its own in PORT");
                    lines.add("# health = \"/health\"", "a path that answers 2xx while it is well");
                }
            }
            Program::Image => {
                let nested = format!("{}/Dockerfile", self.dir);
                lines.key("dockerfile", if self.dir == "." { "Dockerfile" } else { &nested });
                lines.key("context", &self.dir);
                lines.add(&format!("port = {port}"), "the port it listens on inside");
            }
        }
        match (self.is_site(), database) {
            (true, _) => {}
            (false, true) => lines.add("needs = [\"database.main\"]", "gives it DATABASE_URL"),
            (false, false) => lines.add("# needs = [\"database.main\"]", "would give it DATABASE_URL"),
        }
        lines.0
    }
}

/// Lines of a stack file whose remarks begin in the same column.
#[derive(Default)]
struct Lines(String);

impl Lines {
    fn add(&mut self, line: &str, remark: &str) {
        // writing to a String cannot fail
        let _ = if remark.is_empty() { writeln!(self.0, "{line}") } else { writeln!(self.0, "{line:<35} # {remark}") };
    }

    fn key_if(&mut self, key: &str, value: Option<&str>) {
        if let Some(value) = value {
            self.key(key, value);
        }
    }

    fn key(&mut self, key: &str, value: &str) {
        self.add(&format!("{key} = {}", toml::Value::from(value)), "");
    }
}
