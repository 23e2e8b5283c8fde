//! `slipway init`: a first stack file for a folder.

use std::path::PathBuf;

use crate::{
    exit::{Done, Exit, Failure},
    printer::{GOOD, Printer, paint},
};

/// Write a first slipway.toml for a folder.
#[derive(Debug, clap::Args)]
pub(crate) struct Init {
    /// The folder to look at
    #[arg(default_value = ".")]
    folder: PathBuf,
    /// Print it instead of writing it
    #[arg(long)]
    print: bool,
}

/// Looks at the folder and writes the file; never over one that is there.
pub(crate) fn run(command: &Init, printer: Printer) -> Done {
    use std::io::Write;

    let text = stack::sketch(&command.folder).map_err(|error| Failure::usage(error.to_string()))?;
    if command.print {
        printer.data(text.trim_end());
        return Ok(Exit::Done);
    }
    let mut path = command.folder.join("slipway.toml");
    if let Ok(here) = path.strip_prefix(".") {
        path = here.to_owned();
    }
    let written = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(&path)
        .and_then(|mut file| file.write_all(text.as_bytes()));
    match written {
        Ok(()) => {}
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            return Err(Failure::usage(format!("{} is there already", path.display()))
                .hint("slipway check looks whether it is right; slipway init --print shows what a new one would be"));
        }
        Err(error) => return Err(Failure::new(format!("cannot write {}: {error}", path.display()))),
    }
    printer.say(format_args!("{} wrote {}", paint(GOOD, "ok"), path.display()));
    if text.contains("\n[service.") || text.contains("\n[site.") {
        printer.hint("look through it, then: slipway up");
    } else {
        printer.hint("nothing in the folder was recognised: write into it what runs, then: slipway up");
    }
    Ok(Exit::Done)
}
