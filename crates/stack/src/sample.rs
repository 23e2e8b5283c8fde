//! Generated stack files, for measuring.

use std::fmt::Write as _;

/// A stack file with `services` services (at most 60,000, one port each), a database, a cache, jobs and routes for
/// every tenth of them, and three environments with overlays. `check` finds nothing wrong with it.
pub fn many_services(services: usize) -> String {
    let mut text = String::from(
        "app = \"many\"\n\n[cache.shared]\nengine = \"redis:7\"\n\n[bucket.backups]\ndelete_after = \"90d\"\n\n",
    );
    text += "[variable]\nSESSION_SECRET = { secret = true, min_length = 32 }\nORIGINS = { type = \"url-list\", default = \"https://example.com\" }\n";
    let mut add = |arguments: std::fmt::Arguments<'_>| {
        // writing to a String cannot fail
        let _ = text.write_fmt(arguments);
    };
    for n in 0..services {
        let (port, tenth) = (4000 + n, n / 10);
        add(format_args!(
            r#"
[service.s{n}]
dir = "services/s{n}"
build = "npm ci && npm run build"
run = "node dist/server.js"
port = {port}
health = {{ path = "/health", every = "10s", timeout = "2s" }}
size = {{ cpu = "250m..1", memory = "256Mi..512Mi", replicas = "1..4", scale_at = {{ cpu = 70 }} }}
needs = ["database.d{tenth}", "cache.shared"]
env = {{ LEVEL = "info", SESSION_SECRET = "${{SESSION_SECRET}}" }}
"#
        ));
        if n % 10 == 0 {
            add(format_args!(
                r#"
[database.d{tenth}]
engine = "postgres:17"
migrations = "migrations/d{tenth}"
backup = {{ at = "03:00", keep = "30d 12w 12m", to = ["bucket.backups"] }}

[job.j{tenth}]
run = "node job.js"
service = "s{n}"
schedule = "0 2 * * *"

[route."s{n}.example.com"]
"/" = {{ to = "service.s{n}", limit = "100/s per ip", cors = "ORIGINS" }}
"#
            ));
        }
    }
    for (name, target) in [("dev", "local"), ("staging", "kubernetes"), ("production", "aws")] {
        add(format_args!("\n[environment.{name}]\ntarget = \"{target}\"\n"));
        for n in (0..services).step_by(20) {
            add(format_args!("\n[environment.{name}.service.s{n}]\nsize = {{ replicas = \"2..8\" }}\n"));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sample_has_no_problems() {
        let text = many_services(40);
        let problems = crate::check("slipway.toml", &text);
        assert!(problems.is_empty(), "{problems}");
        assert_eq!(crate::parse("slipway.toml", &text).expect("no problems").services.len(), 40);
    }
}
