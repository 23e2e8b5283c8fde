//! `slipway render`: the stack as the files that other engines read.

use std::{
    collections::BTreeMap,
    io::ErrorKind,
    path::{Component, Path, PathBuf},
};

use render::{File, Input, Options, Rendered, Target};
use stack::Resolved;

use crate::{
    context::{Place, Project},
    draw,
    exit::{Done, Exit, Failure},
    printer::{GOOD, Printer, paint},
};

/// Write the stack as the files that other engines read.
#[derive(Debug, clap::Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag that a person types")]
pub(crate) struct Render {
    /// What to write
    #[arg(value_parser = parse_target)]
    target: Target,
    /// Folder to write to [default: deploy/TARGET beside the stack file]
    #[arg(long, short = 'o', value_name = "DIR")]
    out: Option<PathBuf>,
    /// Print the files instead of writing them
    #[arg(long)]
    stdout: bool,
    /// Write over files that were changed by hand
    #[arg(long)]
    force: bool,
    /// Leave out, with a warning, what the target cannot honour
    #[arg(long)]
    leave_out: bool,
    /// Image store and account that built images go to
    #[arg(long, value_name = "STORE/ACCOUNT", default_value = "ghcr.io/your-account")]
    images: String,
    /// Tag of built images, by custom the commit [default: the stack's version]
    #[arg(long)]
    tag: Option<String>,
    /// Kubernetes: an Ingress instead of a Gateway's routes
    #[arg(long)]
    ingress: bool,
}

fn parse_target(text: &str) -> Result<Target, String> {
    text.parse().map_err(|error: render::UnknownTarget| error.to_string())
}

/// Written beside the files: what each was when it was rendered.
const RECORD: &str = ".slipway-rendered.json";

/// Renders, and writes what changed; never over a file that somebody changed, unless told to.
pub(crate) fn run(command: &Render, place: &Place, printer: Printer) -> Done {
    let project = place.project()?;
    let resolved = place.resolve(&project)?;
    let out = command.out.clone().unwrap_or_else(|| project.folder.join(command.target.folder()));
    let all = every_environment(&project, &resolved)?;
    let options = Options {
        project: way(&out, &project.folder)?,
        folder: Some(way(&project.folder, &out)?),
        images: command.images.trim_end_matches('/').to_owned(),
        tag: command.tag.clone(),
        ingress: command.ingress,
        leave_out: command.leave_out,
    };
    let rendered = render::render(command.target, &Input { resolved, all, options })
        .map_err(|problems| Failure::Problems(problems, Exit::Usage))?;
    if !rendered.problems.is_empty() {
        draw::problems(&rendered.problems, printer);
    }
    if command.stdout || printer.json {
        return show(&rendered, printer);
    }
    write(command, &out, &rendered, printer)
}

fn every_environment(project: &Project, resolved: &Resolved) -> Result<Vec<Resolved>, Failure> {
    let names = stack::environments(&project.text);
    let others = names.iter().map(|name| {
        if *name == resolved.name {
            return Ok(resolved.clone());
        }
        stack::resolve(&project.name, &project.text, name).map_err(|problems| Failure::Problems(problems, Exit::Usage))
    });
    others.collect()
}

/// From one folder to another, with `/`.
fn way(from: &Path, to: &Path) -> Result<String, Failure> {
    let absolute = |path: &Path| {
        let whole = std::path::absolute(path)
            .map_err(|error| Failure::usage(format!("{}: {error}", path.display())).hint("write another --out"))?;
        // `a/../b` is `b`: the folder need not be there yet
        let mut plain = PathBuf::new();
        for part in whole.components() {
            match part {
                Component::ParentDir => drop(plain.pop()),
                Component::CurDir => {}
                part => plain.push(part),
            }
        }
        Ok::<_, Failure>(plain)
    };
    let (from, to) = (absolute(from)?, absolute(to)?);
    let shared = from.components().zip(to.components()).take_while(|(a, b)| a == b).count();
    let up = from.components().skip(shared).map(|_| "..".to_owned());
    let down = to.components().skip(shared).map(|part| part.as_os_str().to_string_lossy().into_owned());
    let way: Vec<String> = up.chain(down).collect();
    Ok(if way.is_empty() { ".".to_owned() } else { way.join("/") })
}

fn show(rendered: &Rendered, printer: Printer) -> Done {
    if printer.json {
        let files: BTreeMap<&str, &str> =
            rendered.files.iter().map(|file| (file.path.as_str(), file.text.as_str())).collect();
        printer.document(&files)?;
        return Ok(Exit::Done);
    }
    for file in &rendered.files {
        if rendered.files.len() > 1 {
            printer.data(format_args!("==> {} <==", file.path));
        }
        printer.data(file.text.trim_end());
    }
    Ok(Exit::Done)
}

fn write(command: &Render, out: &Path, rendered: &Rendered, printer: Printer) -> Done {
    let record_path = out.join(RECORD);
    let mut record: BTreeMap<String, String> = match std::fs::read_to_string(&record_path) {
        Ok(text) => serde_json::from_str(&text).unwrap_or_default(),
        Err(_) => BTreeMap::new(),
    };
    let mut wanted = Vec::new();
    let mut changed = Vec::new();
    for file in &rendered.files {
        match std::fs::read_to_string(out.join(&file.path)) {
            Ok(there) if there == file.text => {}
            Ok(there) => {
                if record.get(&file.path) != Some(&File::fingerprint(&there)) {
                    changed.push(file.path.as_str());
                }
                wanted.push(file);
            }
            Err(error) if error.kind() == ErrorKind::NotFound => wanted.push(file),
            Err(error) => return Err(Failure::new(format!("cannot read {}: {error}", out.join(&file.path).display()))),
        }
        record.insert(file.path.clone(), File::fingerprint(&file.text));
    }
    if !changed.is_empty() && !command.force {
        let list = changed.join(", ");
        if !printer.interactive {
            return Err(Failure::usage(format!("changed by hand in {}: {list}", out.display()))
                .hint("look at them, then add --force; --stdout shows what would be written"));
        }
        printer.confirm(&format!("Changed by hand: {list}. Write over them?"), false)?;
    }
    let failed =
        |path: &Path, error: &std::io::Error| Failure::new(format!("cannot write {}: {error}", path.display()));
    for file in &wanted {
        let path = out.join(&file.path);
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(|error| failed(folder, &error))?;
        }
        std::fs::write(&path, &file.text).map_err(|error| failed(&path, &error))?;
    }
    std::fs::create_dir_all(out).map_err(|error| failed(out, &error))?;
    let text = serde_json::to_string_pretty(&record).unwrap_or_default() + "\n";
    std::fs::write(&record_path, text).map_err(|error| failed(&record_path, &error))?;
    let (total, new) = (rendered.files.len(), wanted.len());
    printer.say(format_args!(
        "{} {} in {}: {total} files, {new} written",
        paint(GOOD, "ok"),
        command.target,
        out.display()
    ));
    Ok(Exit::Done)
}
