//! `slipway import`: a stack file from what is there already, and what became of each key.

use std::{fs::OpenOptions, io::Write, path::PathBuf};

use comfy_table::{Table, presets};
use import::{Entry, Fate};

use crate::{
    exit::{Done, Exit, Failure},
    printer::{BAD, DIM, GOOD, Printer, STRONG, WARN, paint},
};

/// Write a stack file from the files of other tools.
#[derive(Debug, clap::Args)]
pub(crate) struct Import {
    /// A file, or a folder with all its known files
    #[arg(default_value = ".")]
    path: PathBuf,
    /// Where the stack file is written
    #[arg(long, value_name = "FILE", default_value = "slipway.toml")]
    out: PathBuf,
    /// Print the stack file instead of writing it
    #[arg(long)]
    print: bool,
    /// Tell of every key, also of those that the stack says the same
    #[arg(long)]
    all: bool,
    /// Write over a stack file that is there
    #[arg(long)]
    force: bool,
}

/// Reads, writes, tells. Exit code 1 when something is left to do in the written file.
pub(crate) fn run(command: &Import, printer: Printer) -> Done {
    let imported = import::import(&command.path).map_err(|error| Failure::usage(error.to_string()))?;
    let report = &imported.report;
    if printer.json {
        printer.document(&serde_json::json!({ "stack": imported.stack, "report": report }))?;
    } else if command.print {
        printer.data(imported.stack.trim_end());
    } else {
        printer.data(listing(&report.entries, command.all));
    }
    if !command.print && !printer.json {
        write(command, &imported.stack, printer)?;
    }
    let count = |fate| report.count(fate);
    printer.say(format_args!(
        "{} of {}: {} kept, {} changed, {} refused",
        counted(report.entries.len(), "key"),
        counted(report.files.len(), "file"),
        paint(GOOD, count(Fate::Kept)),
        paint(WARN, count(Fate::Changed)),
        paint(BAD, count(Fate::Refused)),
    ));
    for trap in report.traps() {
        printer.say(format_args!("{} {}", paint(WARN, trap), trap.about()));
    }
    let left = report.entries.iter().filter(|entry| entry.file == "slipway.toml").count();
    if left > 0 {
        printer.hint(format_args!("{left} things are left to do in the stack file; slipway check names them"));
        return Ok(Exit::Failed);
    }
    printer.hint("look through it, then: slipway up");
    Ok(Exit::Done)
}

/// `1 file`, `5 files`.
fn counted(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

fn listing(entries: &[Entry], all: bool) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    for entry in entries.iter().filter(|entry| all || entry.fate != Fate::Kept || entry.trap.is_some()) {
        let line = entry.line.map(|line| format!(":{line}")).unwrap_or_default();
        let style = match entry.fate {
            Fate::Kept => GOOD,
            Fate::Changed => WARN,
            Fate::Refused => BAD,
        };
        let trap = entry.trap.map(|trap| format!("{} ", paint(STRONG, trap))).unwrap_or_default();
        table.add_row([
            paint(style, entry.fate.as_str()),
            paint(DIM, format!("{}{line}", entry.file)),
            entry.key.clone(),
            format!("{trap}{}", entry.reason),
        ]);
    }
    table.to_string()
}

/// Never over a file that is there, unless that was asked for.
fn write(command: &Import, text: &str, printer: Printer) -> Result<(), Failure> {
    let path = &command.out;
    let mut options = OpenOptions::new();
    if command.force {
        options.create(true).truncate(true)
    } else {
        options.create_new(true)
    };
    match options.write(true).open(path).and_then(|mut file| file.write_all(text.as_bytes())) {
        Ok(()) => {
            printer.say(format_args!("{} wrote {}", paint(GOOD, "ok"), path.display()));
            Ok(())
        }
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            Err(Failure::usage(format!("{} is there already", path.display())).hint(
                "slipway import --print shows what would be written; --out names another file; --force writes over it",
            ))
        }
        Err(error) => Err(Failure::new(format!("cannot write {}: {error}", path.display()))),
    }
}
