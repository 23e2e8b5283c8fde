//! Stacks that are made up: from a list of numbers, so that fewer and smaller numbers make a smaller stack.

use std::fmt::Write as _;

/// Numbers that decide; when they are used up, every answer is the first.
pub(crate) struct Choices<'n> {
    numbers: std::slice::Iter<'n, u8>,
}

impl<'n> Choices<'n> {
    pub(crate) fn of(numbers: &'n [u8]) -> Self {
        Self { numbers: numbers.iter() }
    }

    /// A number below `end`.
    fn below(&mut self, end: usize) -> usize {
        self.numbers.next().map_or(0, |number| usize::from(*number) % end)
    }

    fn flag(&mut self) -> bool {
        self.below(2) == 1
    }

    fn one<'v>(&mut self, values: &[&'v str]) -> &'v str {
        values[self.below(values.len())]
    }

    /// Some of the values, in their order.
    fn some<'v>(&mut self, values: &[&'v str]) -> Vec<&'v str> {
        values.iter().copied().filter(|_| self.flag()).collect()
    }
}

const VALUES: [&str; 14] = [
    "info",
    "",
    "yes",
    "0123",
    "1e3 # not a comment",
    "$HOME `id` $(id)",
    "\"quoted\" 'single' \\ back",
    "{{ template }} %{if} $${{",
    "a: b, [c] {d} & *e !f |g >h @i %j",
    " äß✓ ",
    "https://example.com/?a=b&c=d",
    "${GREETING}, ${MODE}!",
    "${TOKEN}",
    "$${NOT_ONE} %h %%",
];

const RUNS: [&str; 7] = [
    "node server.js",
    "serve --flag 'x y'",
    "sh -c 'echo $HOME && ./run'",
    "./run --to=a@b:c,d+e",
    "run \"$PORT\"",
    "cd web && ./run",
    "A=b ./run",
];

/// A whole stack file with four environments.
pub(crate) fn stack(choices: &mut Choices<'_>) -> String {
    let mut text = format!("app = \"{}\"\n", choices.one(&["shop", "a1", "job-board"]));
    let databases = choices.below(3);
    let stores = stores(choices, databases, &mut text);
    let services = 1 + choices.below(3);
    for at in 0..services {
        service(choices, at, &stores, &mut text);
    }
    for at in 0..choices.below(3) {
        job(choices, at, services, &stores, &mut text);
    }
    let site = choices.flag();
    if site {
        let (build, spa) = (choices.one(&["", "npm ci && npm run build"]), choices.flag());
        let build = if build.is_empty() { String::new() } else { format!("build = \"{build}\"\n") };
        let dir = choices.one(&[".", "web/pages"]);
        let _ = write!(
            text,
            "[site.pages]\ndir = \"{dir}\"\n{build}out = \"dist\"\nspa = {spa}\nhashed = {}\n",
            choices.flag()
        );
    }
    routes(choices, services, site, &mut text);
    text += "[variable]\nGREETING = { default = \"hello\" }\nMODE = { one_of = [\"a\", \"b\"], default = \"a\" }\nTOKEN = { secret = true, min_length = 20 }\n";
    text += "ORIGINS = { type = \"url-list\", default = \"https://a.example.com,https://b.example.com\" }\n";
    if choices.flag() {
        text += "REGION_HINT = {}\nMAYBE = { optional = true }\nSIGNING_KEY = { secret = true, optional = true }\n";
    }
    text += "[environment.dev]\ntarget = \"local\"\n[environment.staging]\ntarget = \"hosts\"\nhosts = [\"deploy@a.example.com\"]\n";
    let approve = choices.flag();
    let _ = write!(
        text,
        "[environment.production]\ntarget = \"kubernetes\"\ndata = \"real\"\napprove = {approve}\n[environment.cloud]\ntarget = \"aws\"\n"
    );
    text
}

fn stores(choices: &mut Choices<'_>, databases: usize, text: &mut String) -> Vec<String> {
    let mut found = Vec::new();
    for name in ["main", "audit"].iter().take(databases) {
        let _ = writeln!(text, "[database.{name}]");
        found.push(format!("database.{name}"));
        if choices.below(6) == 5 {
            *text += "engine = \"sqlite\"\n";
            continue;
        }
        let _ = writeln!(text, "engine = \"postgres:{}\"", choices.one(&["17", "15", "16.3"]));
        *text += choices.one(&[
            "",
            "migrations = \"migrations/x\"\n",
            "migrate = { run = \"npx prisma migrate deploy\", service = \"api\" }\n",
        ]);
        *text +=
            choices.one(&["", "settings = { max_connections = 200, work_mem = \"16MB\", search_path = \"a$b\" }\n"]);
        *text += choices.one(&["", "size = { cpu = \"500m..2\", memory = \"1Gi..4Gi\" }\n"]);
        *text += choices.one(&["", "storage = \"20Gi..100Gi\"\nreplicas = 2\n"]);
        *text += choices.one(&[
            "",
            "backup = { at = \"03:30\", keep = \"30d 12w 12m\", to = \"bucket.backups\" }\n",
            "backup = { keep = \"7d\", to = \"bucket.files\" }\n",
        ]);
    }
    for name in choices.some(&["fast", "sessions"]) {
        let _ = writeln!(text, "[cache.{name}]\nengine = \"redis:{}\"", choices.one(&["7", "8"]));
        *text += choices.one(&["", "memory = \"256Mi\"\n"]);
        *text += choices.one(&["", "replicas = 2\n"]);
        found.push(format!("cache.{name}"));
    }
    if choices.flag() {
        let _ = write!(
            text,
            "[queue.mq]\nengine = \"rabbitmq:{}\"\nreplicas = {}\n",
            choices.one(&["4", "3.12"]),
            1 + 2 * choices.below(2)
        );
        found.push("queue.mq".to_owned());
    }
    // a backup needs them
    *text += "[bucket.backups]\n[bucket.files]\n";
    *text += choices.one(&["", "name = \"files-of-the-shop\"\n"]);
    found.extend(["bucket.files".to_owned(), "bucket.backups".to_owned()]);
    found
}

const SERVICES: [&str; 3] = ["api", "web", "search-page"];

fn needs(choices: &mut Choices<'_>, stores: &[String], services: &[&str]) -> String {
    let mut needs: Vec<String> = stores.iter().filter(|_| choices.flag()).map(|need| format!("\"{need}\"")).collect();
    needs.extend(services.iter().filter(|_| choices.flag()).map(|name| format!("\"service.{name}\"")));
    format!("needs = [{}]\n", needs.join(", "))
}

fn env(choices: &mut Choices<'_>) -> String {
    let pairs: Vec<String> = ["LOG_LEVEL", "PUBLIC_URL", "FLAGS"]
        .iter()
        .filter_map(|name| {
            let value = choices.flag().then(|| choices.one(&VALUES))?;
            Some(format!("{name} = {}", serde_json::Value::from(value)))
        })
        .collect();
    format!("env = {{ {} }}\n", pairs.join(", "))
}

fn size(choices: &mut Choices<'_>, replicas: bool) -> String {
    // more replicas are a matter of use, and use is one of something
    let scaled = replicas && choices.below(3) == 2;
    let mut parts: Vec<String> = Vec::new();
    if scaled || choices.flag() {
        parts.push(format!("cpu = \"{}\"", choices.one(&["500m", "250m..1", "100m..1500m"])));
    }
    if scaled || choices.flag() {
        parts.push(format!("memory = \"{}\"", choices.one(&["512Mi", "256Mi..1Gi"])));
    }
    if scaled {
        parts.push(
            choices
                .one(&["replicas = \"2..10\", scale_at = { cpu = 60, memory = 80 }", "replicas = \"1..4\""])
                .to_owned(),
        );
    } else if replicas && choices.flag() {
        parts.push("replicas = 3".to_owned());
    }
    if parts.is_empty() { String::new() } else { format!("size = {{ {} }}\n", parts.join(", ")) }
}

fn service(choices: &mut Choices<'_>, at: usize, stores: &[String], text: &mut String) {
    let name = SERVICES[at];
    let _ = writeln!(text, "[service.{name}]");
    let run = |choices: &mut Choices<'_>| format!("run = {}\n", serde_json::Value::from(choices.one(&RUNS)));
    let source = match choices.below(4) {
        0 => format!("image = \"acme/{name}:1.{at}\"\n"),
        1 => format!("image = \"acme/{name}:1.{at}\"\n{}", run(choices)),
        2 => format!("dir = \"src/{name}\"\nbuild = \"npm ci\"\n{}", run(choices)),
        _ => format!(
            "dockerfile = \"{}\"\ncontext = \"{}\"\n",
            choices.one(&["Dockerfile", "docker/x.Dockerfile"]),
            choices.one(&[".", "docker"])
        ),
    };
    text.push_str(&source);
    let port = choices.below(4) != 3;
    if port {
        let _ = writeln!(text, "port = {}", 4000 + at);
        *text += choices.one(&[
            "",
            "health = \"/up\"\n",
            "health = { path = \"/healthz\", every = \"30s\", timeout = \"5s\", up = 1, down = 5 }\nready = \"/ready\"\n",
        ]);
        *text += choices.one(&["", "start = \"90s\"\n"]);
        *text += choices.one(&["", "drain = \"60s\"\nstop = \"20s\"\n", "drain = \"5s\"\nstop = \"5s\"\n"]);
    }
    *text += &needs(choices, stores, &SERVICES[..at]);
    *text += &size(choices, true);
    *text += &env(choices);
}

fn job(choices: &mut Choices<'_>, at: usize, services: usize, stores: &[String], text: &mut String) {
    let _ = writeln!(text, "[job.{}]", ["tidy", "match"][at]);
    let source = match choices.below(2) {
        0 => format!("service = \"{}\"\n", SERVICES[choices.below(services)]),
        _ => format!("image = \"acme/job:{at}\"\n"),
    };
    text.push_str(&source);
    let _ = writeln!(text, "run = {}", serde_json::Value::from(choices.one(&RUNS)));
    let schedule = choices.one(&[
        "0 2 * * *",
        "@daily",
        "*/15 * * * *",
        "30 4 * * 1",
        "0 9-17 * * 1-5",
        "0 0 1,15 * *",
        "@hourly",
    ]);
    let zone = choices.one(&["", "time_zone = \"Europe/Berlin\"\n"]);
    let overlap = choices.one(&["", "overlap = \"replace\"\n", "overlap = \"queue\"\n"]);
    let retries = choices.one(&["", "retries = 3\n"]);
    let timeout = choices.one(&["", "timeout = \"5m\"\n"]);
    let _ = write!(text, "schedule = \"{schedule}\"\n{zone}{overlap}{retries}{timeout}");
    *text += &needs(choices, stores, &[]);
    *text += &env(choices);
}

fn routes(choices: &mut Choices<'_>, services: usize, site: bool, text: &mut String) {
    // only what has a port can be led to
    let open: Vec<&str> = SERVICES[..services]
        .iter()
        .copied()
        .filter(|name| {
            let table = text.split(&format!("[service.{name}]")).nth(1).unwrap_or_default();
            table.split("\n[").next().is_some_and(|table| table.contains("\nport = "))
        })
        .collect();
    if open.is_empty() {
        return;
    }
    for host in choices.some(&["a.example.com", "b.example.com"]) {
        let _ = writeln!(text, "[route.\"{host}\"]");
        let to =
            if site && choices.flag() { "site.pages".to_owned() } else { format!("service.{}", choices.one(&open)) };
        let _ = writeln!(text, "\"/\" = \"{to}\"");
        for path in choices.some(&["/api", "/api/v1/auth", "/x"]) {
            let mut keys = format!("to = \"service.{}\"", choices.one(&open));
            for key in choices.some(&[
                "limit = \"100/s per ip\"",
                "strip = true",
                "cors = \"ORIGINS\"",
                "max_body = \"10Mi\"",
                "sticky = true",
            ]) {
                keys += ", ";
                keys += key;
            }
            let _ = writeln!(text, "\"{path}\" = {{ {keys} }}");
        }
        *text += choices.one(&["", "redirect_from = [\"www.HOST\"]\n"]).replace("HOST", host).as_str();
    }
}
