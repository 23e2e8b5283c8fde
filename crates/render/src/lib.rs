//! Write the stack as the files that other engines read.
//!
//! One job: from a resolved stack to complete, formatted, deterministic files, so that anybody can leave Slipway at any
//! time. This room never reads a clock, a disk or a network, and never writes a secret's value.
//!
//! ```
//! let text = "app = \"shop\"\n[service.api]\nimage = \"acme/shop:1\"\nport = 4000\n";
//! let dev = stack::EnvironmentName::new("dev")?;
//! let resolved = stack::resolve("slipway.toml", text, &dev)?;
//! let input = render::Input::new(resolved);
//! let rendered = render::render(render::Target::Compose, &input)?;
//! assert!(rendered.files.iter().any(|file| file.path == "compose.yaml"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod ansible;
mod binding;
mod ci;
mod compose;
mod dockerfile;
mod edge;
mod file;
mod grafana;
mod hcl;
mod honours;
mod input;
mod kubernetes;
mod measure;
mod program;
mod prometheus;
mod proxies;
mod runbook;
mod scrape;
mod systemd;
mod target;
mod terraform;
mod yaml;

pub use file::File;
pub use input::{Input, Options, Rendered};
pub use target::{Target, UnknownTarget};

use stack::Problems;

/// The files of `target`, ordered by path; the same input always gives the same bytes.
///
/// Fails with every part of the stack that the target cannot honour, each naming the targets that can. With
/// [`Options::leave_out`] those are warnings in [`Rendered::problems`] instead, and the files say what is missing.
pub fn render(target: Target, input: &Input) -> Result<Rendered, Problems> {
    let mut problems = Problems::new();
    problems.extend(honours::check(target, input));
    let mut files = match target {
        Target::Compose => compose::render(input, &mut problems),
        Target::Kubernetes => kubernetes::render(input, &mut problems),
        Target::Terraform => terraform::render(input, &mut problems),
        Target::Ci => ci::render(input),
        Target::Prometheus => prometheus::render(input, &mut problems),
        Target::Grafana => grafana::render(input),
        Target::Systemd => systemd::render(input, &mut problems),
        Target::Nginx => proxies::nginx(input, &mut problems),
        Target::Haproxy => proxies::haproxy(input, &mut problems),
        Target::Ansible => ansible::render(input),
        Target::Runbook => runbook::render(input),
    };
    files = files.into_iter().map(File::ended).collect();
    files.sort_by(|a, b| a.path.cmp(&b.path));
    let problems = input.options.settle(problems);
    if problems.has_errors() { Err(problems) } else { Ok(Rendered { files, problems }) }
}
